//! Where an engine's settings come from: a TOML file, `RINGSEED_*` variables over it, flags over both.
//!
//! One struct is the file's schema and the flags at once, so that the three cannot drift apart: a key of
//! the file is the long flag without its dashes.

use crate::cli::quantity::{Bytes, SizeError};
use crate::config::{EngineConfig, ListenPort, UploadSlots};
use crate::limits::PIECE_MEMORY_MIN;
use ringseed_proto::mse::{Encryption, Methods, Mode};
use ringseed_proto::socks5::ProxyUrl;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Settings that were given somewhere; `None` or empty where not.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "Engine")]
pub struct Settings {
    /// TCP port for peers; 0 lets the system choose [default: first free of 6881 to 6889].
    // Not RINGSEED_PORT: Kubernetes sets that one for a service called `ringseed`.
    #[arg(long, value_name = "N", env = "RINGSEED_LISTEN_PORT", hide_env = true)]
    pub port: Option<u16>,
    /// Address to listen on for peers; may be repeated [default: all IPv4 and IPv6].
    #[arg(long, value_name = "ADDR", env = "RINGSEED_LISTEN", value_delimiter = ',', hide_env = true)]
    #[serde(default)]
    pub listen: Vec<IpAddr>,
    /// Interface for all peer and tracker traffic, for example a VPN. While it is missing nothing is sent.
    #[arg(long, value_name = "NAME", env = "RINGSEED_BIND_INTERFACE", hide_env = true)]
    pub bind_interface: Option<String>,
    /// Proxy for peers and HTTP trackers: socks5://host:port or socks5://name:password@host:port. UDP trackers are then
    /// skipped.
    #[arg(long, value_name = "URL", env = "RINGSEED_PROXY", hide_env = true, hide_env_values = true)]
    #[serde(default, deserialize_with = "text_or_number")]
    pub proxy: Option<ProxyUrl>,
    /// Encryption of peer connections: disabled, tolerate, prefer or require [default: prefer].
    #[arg(long, value_name = "MODE", env = "RINGSEED_ENCRYPTION", hide_env = true)]
    pub encryption: Option<Mode>,
    /// How encrypted connections go on after their handshake: plain, rc4 or both [default: both].
    #[arg(long, value_name = "METHODS", env = "RINGSEED_ENCRYPTION_METHODS", hide_env = true)]
    pub encryption_methods: Option<Methods>,
    /// PEM file of certificate authorities for HTTPS trackers, in addition to the built-in ones and the system's.
    #[arg(long, value_name = "FILE", env = "RINGSEED_TRACKER_CA", hide_env = true)]
    pub tracker_ca: Option<PathBuf>,
    /// Cores that serve peers [default: all].
    #[arg(long, value_name = "N", env = "RINGSEED_SHARDS", hide_env = true, value_parser = shard_count)]
    pub shards: Option<usize>,
    /// Do not pin threads to cores.
    #[arg(long, env = "RINGSEED_NO_PIN", hide_env = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "BOOL", hide_possible_values = true)]
    pub no_pin: Option<bool>,
    /// Directory for the state.
    #[arg(long, value_name = "DIR", env = "RINGSEED_STATE_DIR", hide_env = true)]
    pub state_dir: Option<PathBuf>,
    /// Upload limit in bytes per second, such as 500K or 10M; 0 is no limit.
    #[arg(long, value_name = "RATE", env = "RINGSEED_UPLOAD_LIMIT", hide_env = true)]
    #[serde(default, deserialize_with = "text_or_number")]
    pub upload_limit: Option<Bytes>,
    /// Download limit in bytes per second, such as 500K or 10M; 0 is no limit.
    #[arg(long, value_name = "RATE", env = "RINGSEED_DOWNLOAD_LIMIT", hide_env = true)]
    #[serde(default, deserialize_with = "text_or_number")]
    pub download_limit: Option<Bytes>,
    /// Upload slots per torrent: auto or a number [default: auto].
    #[arg(long, value_name = "auto|N", env = "RINGSEED_UPLOAD_SLOTS", hide_env = true)]
    #[serde(default, deserialize_with = "text_or_number")]
    pub upload_slots: Option<Slots>,
    /// Maximum peer connections of the engine.
    #[arg(long, value_name = "N", env = "RINGSEED_MAX_CONNECTIONS", hide_env = true)]
    pub max_connections: Option<usize>,
    /// Additional tracker for each added torrent that is not private; may be repeated. In the variable, separate URLs by
    /// spaces.
    #[arg(long, value_name = "URL", env = "RINGSEED_DEFAULT_TRACKER", value_delimiter = ' ', hide_env = true,
        value_parser = announce_url)]
    #[serde(default, deserialize_with = "announce_urls")]
    pub default_tracker: Vec<String>,
    /// Memory for pieces being downloaded, such as 256M [default: a quarter of the machine's or cgroup's, at most 1G].
    #[arg(long, value_name = "SIZE", env = "RINGSEED_MEMORY", hide_env = true, value_parser = memory_size)]
    #[serde(default, deserialize_with = "text_or_number")]
    pub memory: Option<Memory>,
    /// Address of the RPC, for serve [default: 127.0.0.1:9091].
    #[arg(skip)]
    pub rpc: Option<SocketAddr>,
    /// Default directory for added torrents, for serve.
    #[arg(skip)]
    pub download_dir: Option<PathBuf>,
    /// Folder to add torrent files from, for serve.
    #[arg(skip)]
    pub watch_dir: Option<PathBuf>,
    /// Unix socket of the RPC, for serve.
    #[arg(skip)]
    pub rpc_socket: Option<PathBuf>,
    /// Name and password of the RPC as `name:password`, for serve.
    #[arg(skip)]
    pub rpc_auth: Option<String>,
    /// File with the token of the RPC, for serve.
    #[arg(skip)]
    pub rpc_token_file: Option<PathBuf>,
    /// Host names that clients may use for the RPC, for serve.
    #[arg(skip)]
    #[serde(default)]
    pub rpc_hosts: Vec<String>,
    /// Networks that may use the RPC, for serve.
    #[arg(skip)]
    #[serde(default)]
    pub rpc_networks: Vec<String>,
    /// Proxies whose X-Forwarded-For is trusted, for serve.
    #[arg(skip)]
    #[serde(default)]
    pub rpc_proxies: Vec<String>,
    /// Certificate chain of the RPC, for serve.
    #[arg(skip)]
    pub rpc_tls_cert: Option<PathBuf>,
    /// Key of that certificate, for serve.
    #[arg(skip)]
    pub rpc_tls_key: Option<PathBuf>,
    /// Whether the RPC may fetch torrents from local addresses, for serve.
    #[arg(skip)]
    pub rpc_fetch_local: Option<bool>,
    /// Directories below which the RPC may create torrents, for serve.
    #[arg(skip)]
    #[serde(default)]
    pub rpc_create_dirs: Vec<PathBuf>,
}

/// [`UploadSlots`] as text: `auto` or a number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots(pub UploadSlots);

/// A text that is not a number of upload slots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither 'auto' nor a number from 1")]
pub struct NotSlots(String);

impl std::str::FromStr for Slots {
    type Err = NotSlots;

    fn from_str(text: &str) -> Result<Self, NotSlots> {
        match (text, text.parse::<u32>()) {
            ("auto", _) => Ok(Self(UploadSlots::Auto)),
            (_, Ok(count @ 1..)) => Ok(Self(UploadSlots::Fixed(count))),
            _ => Err(NotSlots(text.to_owned())),
        }
    }
}

/// A size of memory for pieces, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub u64);

/// A text that is not a size of memory for pieces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// It is not a size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// No download would go on with that.
    #[error("'{0}' is too little memory for pieces: use at least 1M")]
    TooLittle(String),
}

impl std::str::FromStr for Memory {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self, MemoryError> {
        match text.parse::<Bytes>()?.0 {
            bytes if bytes >= PIECE_MEMORY_MIN => Ok(Self(bytes)),
            _ => Err(MemoryError::TooLittle(text.to_owned())),
        }
    }
}

fn memory_size(text: &str) -> Result<Memory, MemoryError> {
    text.parse()
}

/// A number of shards from 1 to 1024, which is more than any machine this runs on has cores.
fn shard_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a number from 1 to 1024".into()),
    }
}

/// An announce URL of a kind that can be announced to.
fn announce_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    match ringseed_proto::tracker::is_announce_url(text) && !text.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' is not an http, https or udp announce URL")),
    }
}

fn announce_urls<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let urls = Vec::<String>::deserialize(deserializer)?;
    urls.iter().map(|url| announce_url(url).map_err(serde::de::Error::custom)).collect()
}

/// Reads a value that is written as text or as a number through its `FromStr`.
fn text_or_number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number or text")]
    enum Value {
        Number(i64),
        Text(String),
    }
    let text = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text,
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Why a configuration file cannot be used; the text names the file and, where there is one, the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML, has an unknown key or a value that does not fit.
    #[error("{path}, line {line}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl Settings {
    /// Reads a configuration file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigFileError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigFileError::Unreadable {
            path: shown.clone(),
            reason: crate::cli::failure::io_reason(&error),
        })?;
        let invalid = |line, reason| ConfigFileError::Invalid { path: shown.clone(), line, reason };
        let settings: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            invalid(line, error.message().replace("unknown field", "unknown key").replace('\n', " "))
        })?;
        if let Some(shards) = settings.shards {
            shard_count(&shards.to_string()).map_err(|reason| invalid(1, format!("shards: {reason}")))?;
        }
        Ok(settings)
    }

    /// These settings, with `lower` where they say nothing.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            port: self.port.or(lower.port),
            listen: if self.listen.is_empty() { lower.listen } else { self.listen },
            bind_interface: self.bind_interface.or(lower.bind_interface),
            proxy: self.proxy.or(lower.proxy),
            encryption: self.encryption.or(lower.encryption),
            encryption_methods: self.encryption_methods.or(lower.encryption_methods),
            tracker_ca: self.tracker_ca.or(lower.tracker_ca),
            shards: self.shards.or(lower.shards),
            no_pin: self.no_pin.or(lower.no_pin),
            state_dir: self.state_dir.or(lower.state_dir),
            upload_limit: self.upload_limit.or(lower.upload_limit),
            download_limit: self.download_limit.or(lower.download_limit),
            upload_slots: self.upload_slots.or(lower.upload_slots),
            max_connections: self.max_connections.or(lower.max_connections),
            default_tracker: match self.default_tracker.is_empty() {
                true => lower.default_tracker,
                false => self.default_tracker,
            },
            memory: self.memory.or(lower.memory),
            rpc: self.rpc.or(lower.rpc),
            download_dir: self.download_dir.or(lower.download_dir),
            watch_dir: self.watch_dir.or(lower.watch_dir),
            rpc_socket: self.rpc_socket.or(lower.rpc_socket),
            rpc_auth: self.rpc_auth.or(lower.rpc_auth),
            rpc_token_file: self.rpc_token_file.or(lower.rpc_token_file),
            rpc_hosts: if self.rpc_hosts.is_empty() { lower.rpc_hosts } else { self.rpc_hosts },
            rpc_networks: if self.rpc_networks.is_empty() { lower.rpc_networks } else { self.rpc_networks },
            rpc_proxies: if self.rpc_proxies.is_empty() { lower.rpc_proxies } else { self.rpc_proxies },
            rpc_tls_cert: self.rpc_tls_cert.or(lower.rpc_tls_cert),
            rpc_tls_key: self.rpc_tls_key.or(lower.rpc_tls_key),
            rpc_fetch_local: self.rpc_fetch_local.or(lower.rpc_fetch_local),
            rpc_create_dirs: match self.rpc_create_dirs.is_empty() {
                true => lower.rpc_create_dirs,
                false => self.rpc_create_dirs,
            },
        }
    }

    /// The engine settings they amount to: what they do not say is the default.
    pub fn to_config(&self) -> EngineConfig {
        let limit = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.0).filter(|bytes| *bytes > 0);
        let default = EngineConfig::default();
        EngineConfig {
            listen_port: self.port.map_or(default.listen_port, ListenPort::Exact),
            listen_addresses: self.listen.clone(),
            bind_interface: self.bind_interface.clone(),
            proxy: self.proxy.clone(),
            encryption: Encryption {
                mode: self.encryption.unwrap_or_default(),
                methods: self.encryption_methods.unwrap_or_default(),
            },
            tracker_ca: self.tracker_ca.clone(),
            shards: self.shards,
            pin: !self.no_pin.unwrap_or(false),
            state_dir: self.state_dir.clone(),
            upload_rate_max: limit(self.upload_limit),
            download_rate_max: limit(self.download_limit),
            upload_slots: self.upload_slots.map_or(default.upload_slots, |slots| slots.0),
            connections_max: self.max_connections.unwrap_or(default.connections_max),
            default_trackers: self.default_tracker.clone(),
            piece_memory_max: self.memory.map(|memory| memory.0),
            rpc: self.rpc,
            download_dir: self.download_dir.clone().unwrap_or(default.download_dir),
            watch_dir: self.watch_dir.clone(),
            rpc_socket: self.rpc_socket.clone(),
            rpc_tls: self.rpc_tls_cert.clone().zip(self.rpc_tls_key.clone()),
            rpc_auth: self.rpc_auth.clone(),
            rpc_token_file: self.rpc_token_file.clone(),
            rpc_hosts: self.rpc_hosts.clone(),
            rpc_networks: self.rpc_networks.clone(),
            rpc_proxies: self.rpc_proxies.clone(),
            rpc_fetch_local: self.rpc_fetch_local.unwrap_or(false),
            rpc_create_dirs: self.rpc_create_dirs.clone(),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ringseed.toml");
        std::fs::write(&path, text).expect("written");
        (dir, path)
    }

    #[test]
    fn a_full_file_is_read() {
        let (_dir, path) = written(
            "port = 7000\nlisten = [\"127.0.0.1\", \"::1\"]\nshards = 2\nencryption = \"require\"\nencryption-methods = \"rc4\"\nno-pin = true\nstate-dir = \"/s\"\n\
             upload-limit = \"10M\"\ndownload-limit = 4096\nupload-slots = 12\nmax-connections = 5\nmemory = \"96M\"\n\
             rpc = \"127.0.0.1:0\"\ndownload-dir = \"/d\"\ndefault-tracker = [\"udp://t:1\"]\n",
        );
        let config = Settings::from_file(&path).expect("valid").to_config();
        assert_eq!(config.listen_port, ListenPort::Exact(7000));
        assert_eq!(config.listen_addresses.len(), 2);
        assert_eq!((config.shards, config.pin), (Some(2), false));
        assert_eq!(config.encryption, Encryption { mode: Mode::Require, methods: Methods::Rc4 });
        assert_eq!((config.upload_rate_max, config.download_rate_max), (Some(10 << 20), Some(4096)));
        assert_eq!(config.upload_slots, UploadSlots::Fixed(12));
        assert_eq!((config.connections_max, config.piece_memory_max), (5, Some(96 << 20)));
        assert_eq!(config.rpc, Some("127.0.0.1:0".parse().expect("address")));
        assert_eq!(config.download_dir, PathBuf::from("/d"));
        assert_eq!(config.default_trackers, ["udp://t:1"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_line() {
        let (_dir, path) = written("port = 1\nuplaod-limit = 3\n");
        let text = Settings::from_file(&path).expect_err("unknown key").to_string();
        assert!(text.contains("unknown key `uplaod-limit`"), "{text}");
        assert!(text.contains("ringseed.toml, line 2"), "{text}");
    }

    #[test]
    fn wrong_values_are_refused() {
        for text in [
            "port = 70000",
            "upload-limit = \"fast\"",
            "upload-limit = -1",
            "upload-slots = 0",
            "encryption = \"always\"",
            "memory = \"100K\"",
            "shards = 0",
            "port",
            "listen = [\"localhost\"]",
            "default-tracker = [\"ftp://t/x\"]",
        ] {
            let (_dir, path) = written(text);
            assert!(Settings::from_file(&path).is_err(), "{text}");
        }
        let missing = Settings::from_file(Path::new("/nonexistent/r.toml")).expect_err("missing").to_string();
        assert!(missing.contains("/nonexistent/r.toml"), "{missing}");
    }

    #[test]
    fn higher_layers_win_key_by_key() {
        let file = Settings { port: Some(1), shards: Some(1), ..Settings::default() };
        let flags = Settings { port: Some(2), upload_limit: Some(Bytes(0)), ..Settings::default() };
        let both = flags.over(file);
        assert_eq!((both.port, both.shards), (Some(2), Some(1)));
        assert_eq!(both.to_config().upload_rate_max, None, "0 is no limit");
    }
}
