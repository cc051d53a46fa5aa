//! The command line of `ringseed-tracker`, with its environment variables. Other values come from the settings file, and
//! from defaults.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, ValueEnum};
use ringseed_tracker::Network;

use crate::settings::Settings;

/// HTTP and UDP BitTorrent tracker
#[derive(Debug, Parser)]
#[command(name = "ringseed-tracker", version, about)]
pub(crate) struct Arguments {
    /// Settings file (TOML); `--print-config` prints one
    #[arg(long, env = "RINGSEED_TRACKER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print the resulting settings as a settings file and exit
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Check the health of the tracker that runs with these settings and exit; exit code 0 if it is healthy
    #[arg(long)]
    pub(crate) health: bool,

    /// Print the manual page and exit
    #[arg(long)]
    pub(crate) man: bool,

    /// Print a shell completion script and exit
    #[arg(long, value_name = "SHELL")]
    pub(crate) completions: Option<clap_complete::Shell>,

    /// Port for HTTP (TCP) and UDP; 0 selects free ports [default: 6969]
    #[arg(long, env = "RINGSEED_TRACKER_PORT")]
    port: Option<u16>,

    /// Address to listen on; may be repeated [default: all, IPv6 and IPv4]
    #[arg(long = "host", visible_alias = "bind", env = "RINGSEED_TRACKER_HOST", value_delimiter = ',')]
    hosts: Vec<IpAddr>,

    /// Seconds between a peer's announces [default: 1800]
    #[arg(long, env = "RINGSEED_TRACKER_INTERVAL", value_name = "SECONDS")]
    interval: Option<u64>,

    /// Serve HTTP only
    #[arg(long, env = "RINGSEED_TRACKER_NO_UDP", conflicts_with = "no_http")]
    no_udp: bool,

    /// Serve UDP only
    #[arg(long, env = "RINGSEED_TRACKER_NO_HTTP")]
    no_http: bool,

    /// Threads for HTTP and as many for UDP; 0 is one per core [default: 0]
    #[arg(long, env = "RINGSEED_TRACKER_WORKERS")]
    workers: Option<usize>,

    /// Serve only the info-hashes in this file; reloaded when it changes and on SIGHUP
    #[arg(long, env = "RINGSEED_TRACKER_ALLOW_LIST", value_name = "FILE")]
    allow_list: Option<PathBuf>,

    /// Do not serve the info-hashes in this file; reloaded when it changes and on SIGHUP
    #[arg(long, env = "RINGSEED_TRACKER_DENY_LIST", value_name = "FILE")]
    deny_list: Option<PathBuf>,

    /// Serve only clients that announce to /KEY/announce with a key in this file
    #[arg(long, env = "RINGSEED_TRACKER_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Proxy whose X-Forwarded-For is trusted, such as 127.0.0.1 or 10.0.0.0/8; may be repeated
    #[arg(long = "proxy", env = "RINGSEED_TRACKER_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    proxies: Vec<Network>,

    /// Maximum announces per minute of one IPv4 address or IPv6 /64; 0 is no limit [default: 6000]
    #[arg(long, env = "RINGSEED_TRACKER_ANNOUNCES_PER_MINUTE", value_name = "COUNT")]
    announces_per_minute: Option<u32>,

    /// Maximum new torrents per minute of one IPv4 address or IPv6 /64; 0 is no limit [default: 1000]
    #[arg(long, env = "RINGSEED_TRACKER_NEW_TORRENTS_PER_MINUTE", value_name = "COUNT")]
    new_torrents_per_minute: Option<u32>,

    /// Maximum ports of one IPv4 address or IPv6 /64 in one swarm; 0 is no limit [default: 16]
    #[arg(long, env = "RINGSEED_TRACKER_PORTS_PER_CLIENT", value_name = "COUNT")]
    ports_per_client: Option<usize>,

    /// Network without these limits; may be repeated [default: 127.0.0.0/8 and ::1]
    #[arg(long, env = "RINGSEED_TRACKER_EXEMPT", value_name = "NETWORK", value_delimiter = ',')]
    exempt: Vec<Network>,

    /// File that keeps the swarms across restarts
    #[arg(long, env = "RINGSEED_TRACKER_STATE", value_name = "FILE")]
    state: Option<PathBuf>,

    /// User to switch to after the ports are bound
    #[arg(long, env = "RINGSEED_TRACKER_USER")]
    user: Option<String>,

    /// Log every connection and every invalid request
    #[arg(long, env = "RINGSEED_TRACKER_DEBUG")]
    pub(crate) debug: bool,

    /// Format of the ready line and of the log on standard error
    #[arg(long, env = "RINGSEED_TRACKER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub(crate) log_format: LogFormat,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl Arguments {
    /// The text that `--man` or `--completions` print.
    pub(crate) fn reference(&self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let mut command = Arguments::command();
        match self.completions {
            Some(shell) => clap_complete::generate(shell, &mut command, "ringseed-tracker", &mut text),
            None if self.man => clap_mangen::Man::new(command).render(&mut text)?,
            None => return Ok(None),
        }
        Ok(Some(text))
    }

    /// Overrides the settings with the given arguments.
    pub(crate) fn override_settings(&self, settings: &mut Settings) {
        fn put<T: Clone>(place: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                place.clone_from(given);
            }
        }
        put(&mut settings.port, &self.port);
        put(&mut settings.interval_s, &self.interval);
        put(&mut settings.workers, &self.workers);
        put(&mut settings.limits.announces_per_minute, &self.announces_per_minute);
        put(&mut settings.limits.new_torrents_per_minute, &self.new_torrents_per_minute);
        put(&mut settings.limits.ports_per_client, &self.ports_per_client);
        if !self.exempt.is_empty() {
            settings.limits.exempt = self.exempt.iter().map(Network::to_string).collect();
        }
        if !self.hosts.is_empty() {
            settings.hosts.clone_from(&self.hosts);
        }
        if !self.proxies.is_empty() {
            settings.proxies = self.proxies.iter().map(Network::to_string).collect();
        }
        if self.no_udp {
            (settings.udp, settings.http) = (false, true);
        }
        if self.no_http {
            (settings.udp, settings.http) = (true, false);
        }
        let some = |place: &mut Option<PathBuf>, given: &Option<PathBuf>| {
            if given.is_some() {
                place.clone_from(given);
            }
        };
        some(&mut settings.access.allow_list, &self.allow_list);
        some(&mut settings.access.deny_list, &self.deny_list);
        some(&mut settings.access.keys, &self.keys);
        some(&mut settings.state, &self.state);
        if self.user.is_some() {
            settings.user.clone_from(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringseed_tracker::{Endpoint, TrackerConfig};
    use std::time::Duration;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<TrackerConfig, clap::Error> {
        let arguments = Arguments::try_parse_from([&["ringseed-tracker"], arguments].concat())?;
        let mut settings = Settings::default();
        arguments.override_settings(&mut settings);
        Ok(settings.config().unwrap())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn all_addresses_and_the_usual_port_are_the_default() {
        let config = parse(&[]).unwrap();
        let any = "[::]:6969".parse().unwrap();
        assert_eq!(config.more, [Endpoint::Http(any), Endpoint::Udp(any)]);
        assert_eq!(config.interval, Duration::from_secs(1800));
        assert_eq!(config, Settings::default().config().unwrap());
    }

    #[test]
    fn hosts_repeat_and_transports_can_be_left_out() {
        let config = parse(&["--host", "127.0.0.1", "--bind", "::1", "--port", "0", "--no-udp"]).unwrap();
        let expected = ["127.0.0.1:0", "[::1]:0"].map(|text| Endpoint::Http(text.parse().unwrap()));
        assert_eq!(config.more, expected);
        assert!(parse(&["--no-udp", "--no-http"]).is_err());
        assert!(parse(&["--host", "not an address"]).is_err());
        assert!(parse(&["--proxy", "10.0.0.0/40"]).is_err());
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let config = parse(&[
            "--workers",
            "3",
            "--allow-list",
            "a",
            "--deny-list",
            "d",
            "--keys",
            "k",
            "--state",
            "s",
            "--proxy",
            "10.0.0.0/8",
            "--announces-per-minute",
            "7",
            "--new-torrents-per-minute",
            "8",
            "--ports-per-client",
            "9",
            "--exempt",
            "192.168.0.0/16",
            "--interval",
            "60",
        ])
        .unwrap();
        assert_eq!((config.workers, config.announces_per_minute_max), (3, 7));
        assert_eq!((config.new_torrents_per_minute_max, config.service.ports_per_client_max), (8, 9));
        assert_eq!(config.service.exempt, ["192.168.0.0/16".parse().unwrap()]);
        assert_eq!(config.access.allow, Some("a".into()));
        assert_eq!(config.access.deny, Some("d".into()));
        assert_eq!(config.access.keys, Some("k".into()));
        assert_eq!(config.state, Some("s".into()));
        assert_eq!(config.proxies, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(config.interval, Duration::from_secs(60));
    }
}
