//! The settings file: TOML, every key with a default, unknown keys are errors.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringseed_tracker::limits::{
    ANNOUNCES_PER_MINUTE_DEFAULT, EXEMPT_DEFAULT, HTTP_CONNECTIONS_MAX_DEFAULT,
    HTTP_CONNECTIONS_PER_CLIENT_DEFAULT, INTERVAL_DEFAULT, NEW_TORRENTS_PER_MINUTE_DEFAULT,
    PEERS_MAX_DEFAULT, PORTS_PER_CLIENT_DEFAULT, SWARM_PEERS_MAX_DEFAULT, TORRENTS_MAX_DEFAULT,
};
use ringseed_tracker::{AccessConfig, Account, AccountError, Endpoint, Network, TrackerConfig};
use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) http: bool,
    pub(crate) udp: bool,
    pub(crate) interval_s: u64,
    pub(crate) workers: usize,
    pub(crate) proxies: Vec<String>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) access: AccessSettings,
    pub(crate) limits: LimitSettings,
}

/// Who may announce what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessSettings {
    pub(crate) allow_list: Option<PathBuf>,
    pub(crate) deny_list: Option<PathBuf>,
    pub(crate) keys: Option<PathBuf>,
}

/// What is kept at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitSettings {
    pub(crate) torrents: usize,
    pub(crate) peers: usize,
    pub(crate) peers_per_swarm: usize,
    pub(crate) http_connections: usize,
    pub(crate) http_connections_per_client: usize,
    pub(crate) announces_per_minute: u32,
    pub(crate) new_torrents_per_minute: u32,
    pub(crate) ports_per_client: usize,
    pub(crate) exempt: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            port: 6969,
            hosts: Vec::new(),
            http: true,
            udp: true,
            interval_s: INTERVAL_DEFAULT.as_secs(),
            workers: 0,
            proxies: Vec::new(),
            state: None,
            user: None,
            access: AccessSettings::default(),
            limits: LimitSettings::default(),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> LimitSettings {
        LimitSettings {
            torrents: TORRENTS_MAX_DEFAULT,
            peers: PEERS_MAX_DEFAULT,
            peers_per_swarm: SWARM_PEERS_MAX_DEFAULT,
            http_connections: HTTP_CONNECTIONS_MAX_DEFAULT,
            http_connections_per_client: HTTP_CONNECTIONS_PER_CLIENT_DEFAULT,
            announces_per_minute: ANNOUNCES_PER_MINUTE_DEFAULT,
            new_torrents_per_minute: NEW_TORRENTS_PER_MINUTE_DEFAULT,
            ports_per_client: PORTS_PER_CLIENT_DEFAULT,
            exempt: EXEMPT_DEFAULT.map(str::to_owned).to_vec(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the settings {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    #[error("the settings {0} are wrong: {1}")]
    Parse(PathBuf, #[source] toml::de::Error),
    #[error("{0} {1:?} is not an IP address or a network like 10.0.0.0/8")]
    Network(&'static str, String),
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Settings {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Settings, SettingsError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| SettingsError::Read(path.to_owned(), error))?;
        toml::from_str(&text).map_err(|error| SettingsError::Parse(path.to_owned(), error))
    }

    /// Whether the addresses are left to us.
    pub(crate) fn listens_everywhere(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The configuration that listens on the given hosts, or on all addresses.
    pub(crate) fn config(&self) -> Result<TrackerConfig, SettingsError> {
        match self.listens_everywhere() {
            true => self.config_for(&[Ipv6Addr::UNSPECIFIED.into()]),
            false => self.config_for(&self.hosts),
        }
    }

    /// The configuration for a machine without IPv6.
    pub(crate) fn config_without_ipv6(&self) -> Result<TrackerConfig, SettingsError> {
        self.config_for(&[Ipv4Addr::UNSPECIFIED.into()])
    }

    fn config_for(&self, hosts: &[IpAddr]) -> Result<TrackerConfig, SettingsError> {
        let addresses = || hosts.iter().map(|&host| SocketAddr::new(host, self.port));
        let http = addresses().map(Endpoint::Http).filter(|_| self.http);
        let udp = addresses().map(Endpoint::Udp).filter(|_| self.udp);
        let networks = |what, texts: &[String]| {
            let parse = |text: &String| text.parse().map_err(|_| SettingsError::Network(what, text.clone()));
            texts.iter().map(parse).collect::<Result<Vec<Network>, _>>()
        };
        let config = TrackerConfig {
            more: http.chain(udp).collect(),
            workers: self.workers,
            proxies: networks("the proxy", &self.proxies)?,
            access: AccessConfig {
                allow: self.access.allow_list.clone(),
                deny: self.access.deny_list.clone(),
                keys: self.access.keys.clone(),
            },
            announces_per_minute_max: self.limits.announces_per_minute,
            new_torrents_per_minute_max: self.limits.new_torrents_per_minute,
            http_connections_max: self.limits.http_connections,
            http_connections_per_client_max: self.limits.http_connections_per_client,
            state: self.state.clone(),
            account: self.user.as_deref().map(Account::named).transpose()?,
            ..TrackerConfig::default()
        };
        let mut config = config.with_interval(Duration::from_secs(self.interval_s));
        config.service.ports_per_client_max = self.limits.ports_per_client;
        config.service.exempt = networks("the exempt network", &self.limits.exempt)?;
        config.service.torrents_max = self.limits.torrents;
        config.service.peers_max = self.limits.peers;
        config.service.swarm_peers_max = self.limits.peers_per_swarm;
        Ok(config)
    }

    /// As a file that [`Settings::read`] takes.
    pub(crate) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracker.toml");
        std::fs::write(&path, text).unwrap();
        Settings::read(&path)
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let settings = Settings {
            port: 1,
            hosts: vec!["::1".parse().unwrap()],
            state: Some("/a b".into()),
            access: AccessSettings { keys: Some("k".into()), ..AccessSettings::default() },
            ..Settings::default()
        };
        for settings in [settings, Settings::default()] {
            assert_eq!(read(&settings.to_toml().unwrap()).unwrap(), settings);
        }
        assert_eq!(read("").unwrap(), Settings::default());
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_errors() {
        for text in
            ["prot = 1", "port = 70000", "[limits]\npeer = 1", "hosts = [\"a\"]", "[access]\nallow = 1"]
        {
            let error = read(text).unwrap_err();
            assert!(matches!(error, SettingsError::Parse(..)), "{text}: {error}");
        }
        let wrong = Settings { proxies: vec!["x".into()], ..Settings::default() };
        assert!(matches!(wrong.config(), Err(SettingsError::Network(..))));
        let wrong = Settings { user: Some("no such user".into()), ..Settings::default() };
        assert!(matches!(wrong.config(), Err(SettingsError::Account(_))));
    }
}
