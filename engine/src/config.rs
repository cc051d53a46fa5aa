//! Settings of an engine: defaults, then what the TOML file, the environment and the flags say.

use crate::limits;
pub use ringseed_net::listener::ListenPort;
use ringseed_proto::mse::Encryption;
use ringseed_proto::socks5::ProxyUrl;
use std::net::IpAddr;
use std::path::PathBuf;

/// How many peers of a torrent are unchoked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadSlots {
    /// From the measured capacity.
    Auto,
    /// This many.
    Fixed(u32),
}

/// Settings of one engine, valid as they stand: [`EngineConfig::default`] runs.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// TCP port for peers.
    pub listen_port: ListenPort,
    /// Addresses to listen on. Empty: all IPv4 and, where the host has it, all IPv6.
    pub listen_addresses: Vec<IpAddr>,
    /// Interface that peers and trackers are spoken to over, and no other.
    pub bind_interface: Option<String>,
    /// Proxy that connects to peers and trackers for us.
    pub proxy: Option<ProxyUrl>,
    /// Encryption of connections to peers.
    pub encryption: Encryption,
    /// PEM file of certificates that vouch for trackers, beside the built-in ones and the system's.
    pub tracker_ca: Option<PathBuf>,
    /// Shards (cores) that serve peers; `None` is one per core this process may use.
    pub shards: Option<usize>,
    /// Whether shards are pinned to their cores.
    pub pin: bool,
    /// Where the resume store lives; `None` keeps nothing between runs.
    pub state_dir: Option<PathBuf>,
    /// Upload limit of the whole engine in bytes per second.
    pub upload_rate_max: Option<u64>,
    /// Download limit of the whole engine in bytes per second.
    pub download_rate_max: Option<u64>,
    /// Unchoked peers per torrent.
    pub upload_slots: UploadSlots,
    /// Connections of the whole engine.
    pub connections_max: usize,
    /// Connections of one torrent.
    pub torrent_connections_max: usize,
    /// Bytes written to files but not yet on disk at which receiving waits.
    pub dirty_bytes_max: u64,
    /// Bytes of unfinished pieces one downloading torrent may hold in memory.
    pub open_piece_bytes_max: u64,
    /// Bytes of unfinished pieces, and of those on their way to disk, of all torrents together; `None` is a quarter of
    /// what this process may use.
    pub piece_memory_max: Option<u64>,
    /// Address of the RPC listener; `None` starts none.
    pub rpc: Option<std::net::SocketAddr>,
    /// Unix socket of the RPC; `None` makes none.
    pub rpc_socket: Option<PathBuf>,
    /// Certificate chain and key of the RPC in PEM files; without them it is not encrypted.
    pub rpc_tls: Option<(PathBuf, PathBuf)>,
    /// `name:password` for the RPC; with it, clients on this machine need it, too.
    pub rpc_auth: Option<String>,
    /// File whose token lets clients of the RPC in; without it a random one is made in the state directory.
    pub rpc_token_file: Option<PathBuf>,
    /// Names under which the RPC may be reached, beside `localhost` and addresses.
    pub rpc_hosts: Vec<String>,
    /// Networks that clients of the RPC may come from beside this machine, as text; all when empty.
    pub rpc_networks: Vec<String>,
    /// Proxies that are believed about the addresses of their clients, as text.
    pub rpc_proxies: Vec<String>,
    /// Whether torrents may be fetched over the RPC from addresses of this machine and its networks.
    pub rpc_fetch_local: bool,
    /// Directories below which torrents may be made over the RPC, beside the download directory.
    pub rpc_create_dirs: Vec<PathBuf>,
    /// Folder whose torrent files are added.
    pub watch_dir: Option<PathBuf>,
    /// Trackers for every public torrent that is added.
    pub default_trackers: Vec<String>,
    /// Directory for torrents added without one.
    pub download_dir: PathBuf,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            listen_port: ListenPort::Usual,
            listen_addresses: Vec::new(),
            bind_interface: None,
            proxy: None,
            encryption: Encryption::default(),
            tracker_ca: None,
            shards: None,
            pin: true,
            state_dir: None,
            upload_rate_max: None,
            download_rate_max: None,
            upload_slots: UploadSlots::Auto,
            connections_max: limits::CONNECTIONS_MAX,
            torrent_connections_max: ringseed_net::limits::TORRENT_CONNECTIONS_MAX,
            dirty_bytes_max: 256 << 20,
            open_piece_bytes_max: 128 << 20,
            piece_memory_max: None,
            rpc: None,
            watch_dir: None,
            rpc_socket: None,
            rpc_tls: None,
            rpc_auth: None,
            rpc_token_file: None,
            rpc_hosts: Vec::new(),
            rpc_networks: Vec::new(),
            rpc_proxies: Vec::new(),
            rpc_fetch_local: false,
            rpc_create_dirs: Vec::new(),
            default_trackers: Vec::new(),
            download_dir: PathBuf::from("."),
        }
    }
}
