//! The command line: what can be said, with its help texts.

use super::quantity::{Bytes, SizeError};
use super::remote::args::{Login, Remote};
use crate::config_file::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A fast BitTorrent seeder and client for Linux servers.
#[derive(Debug, Parser)]
#[command(name = "ringseed", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to print.
    #[command(flatten)]
    pub output: Output,
}

/// How much is printed and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Log what happens inside, to standard error.
    #[arg(long, global = true, env = "RINGSEED_DEBUG", hide_env = true)]
    pub debug: bool,
    /// Format of log lines [default: human on a terminal, also elsewhere].
    #[arg(long, global = true, value_name = "FORMAT", env = "RINGSEED_LOG_FORMAT", hide_env = true)]
    pub log_format: Option<LogFormat>,
    /// Print results and errors only, no progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download torrents.
    Get(Get),
    /// Seed data that is there already.
    Seed(Seed),
    /// Run as a daemon that is driven over its RPC.
    Serve(Box<Serve>),
    /// Make a torrent of a file or directory.
    Create(Create),
    /// Print what a torrent says.
    Show(Show),
    /// Compare files with their torrent.
    Verify(Verify),
    /// Seed and download generated data on this machine, and print the rate.
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Commands to a running daemon.
    #[command(flatten)]
    Remote(Remote),
}

/// Settings of commands that run an engine.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    /// Settings that the configuration file may have as well.
    #[command(flatten)]
    pub settings: Settings,
    /// Configuration file; flags go over it, and variables named RINGSEED_ and a key in capitals.
    #[arg(long, value_name = "FILE", env = "RINGSEED_CONFIG", hide_env = true)]
    #[arg(help_heading = "Engine")]
    pub config: Option<PathBuf>,
}

/// Download torrents; exits when everything is here and the wanted ratio is reached.
#[derive(Debug, Args)]
pub struct Get {
    /// Torrent files or http(s) URLs of them.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Directory that the files go into.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Seed after the download until this many times its size was uploaded.
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub seed_ratio: Option<f64>,
    /// Fetch pieces in order, to read the files while they come in.
    #[arg(long)]
    pub sequential: bool,
    /// Address of a peer to try, may be repeated.
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<SocketAddr>,
    /// Engine settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Seed until Ctrl+C.
#[derive(Debug, Args)]
pub struct Seed {
    /// Torrent files or http(s) URLs of them.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Directory that holds the file or directory the torrent names.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Engine settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Run until told to stop by SIGTERM, SIGINT or the RPC.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of the RPC [default: 127.0.0.1:9091].
    #[arg(long, value_name = "ADDR", env = "RINGSEED_RPC", hide_env = true)]
    pub rpc: Option<SocketAddr>,
    /// Directory for torrents that are added without one [default: the current one].
    #[arg(long, value_name = "DIR", env = "RINGSEED_DOWNLOAD_DIR", hide_env = true)]
    pub download_dir: Option<PathBuf>,
    /// Folder whose torrent files are added.
    #[arg(long, value_name = "DIR", env = "RINGSEED_WATCH_DIR", hide_env = true)]
    pub watch_dir: Option<PathBuf>,
    /// Unix socket of the RPC.
    #[arg(long, value_name = "PATH", env = "RINGSEED_RPC_SOCKET", hide_env = true)]
    pub rpc_socket: Option<PathBuf>,
    /// Name and password of the RPC; clients on this machine need them, too. Better in the environment or the
    /// configuration file than on the command line, which others can read.
    #[arg(
        long,
        value_name = "NAME:PASSWORD",
        env = "RINGSEED_RPC_AUTH",
        hide_env = true,
        hide_env_values = true
    )]
    pub rpc_auth: Option<String>,
    /// File with a token that lets clients of the RPC in, to be shared with them [default: a random one is made as
    /// rpc-token in the state directory].
    #[arg(long, value_name = "FILE", env = "RINGSEED_TOKEN_FILE", hide_env = true)]
    pub rpc_token_file: Option<PathBuf>,
    /// Name under which the RPC may be reached, may be repeated.
    #[arg(long, value_name = "NAME", env = "RINGSEED_RPC_HOSTS", value_delimiter = ',', hide_env = true)]
    pub rpc_host: Vec<String>,
    /// Network that may reach the RPC beside this machine, may be repeated [default: all, with credentials].
    #[arg(
        long,
        value_name = "NETWORK",
        env = "RINGSEED_RPC_NETWORKS",
        value_delimiter = ',',
        hide_env = true
    )]
    pub rpc_network: Vec<String>,
    /// Proxy that is believed about the addresses of its clients (X-Forwarded-For), as an address or a network, may be
    /// repeated.
    #[arg(
        long,
        value_name = "NETWORK",
        env = "RINGSEED_RPC_PROXIES",
        value_delimiter = ',',
        hide_env = true
    )]
    pub rpc_proxy: Vec<String>,
    /// Certificate chain of the RPC as a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        env = "RINGSEED_RPC_TLS_CERT",
        hide_env = true,
        requires = "rpc_tls_key"
    )]
    pub rpc_tls_cert: Option<PathBuf>,
    /// Key of that certificate as a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        env = "RINGSEED_RPC_TLS_KEY",
        hide_env = true,
        requires = "rpc_tls_cert"
    )]
    pub rpc_tls_key: Option<PathBuf>,
    /// Fetch torrents over the RPC also from addresses of this machine and its networks.
    #[arg(long, env = "RINGSEED_RPC_FETCH_LOCAL", hide_env = true)]
    pub rpc_fetch_local: bool,
    /// Directory below which torrents may be made over the RPC, beside the download directory, may be repeated.
    #[arg(
        long,
        value_name = "DIR",
        env = "RINGSEED_RPC_CREATE_DIRS",
        value_delimiter = ',',
        hide_env = true
    )]
    pub rpc_create_dir: Vec<PathBuf>,
    /// Engine settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Make a torrent.
#[derive(Debug, Args)]
pub struct Create {
    /// The file or directory to share.
    pub path: PathBuf,
    /// The torrent file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Announce URL; repeat it for more tiers, or separate the URLs of one tier by commas.
    #[arg(long, value_name = "URL", required = true)]
    pub tracker: Vec<String>,
    /// Piece length: auto, or a power of two such as 256K or 1M.
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub piece_size: PieceSize,
    /// Peers come from the trackers only (BEP 27).
    #[arg(long)]
    pub private: bool,
    /// URL that serves the same data over HTTP (BEP 19), may be repeated.
    #[arg(long, value_name = "URL")]
    pub web_seed: Vec<String>,
    /// Text for people.
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Creation date in seconds since 1970; 0 writes none [default: $SOURCE_DATE_EPOCH or now].
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env = true)]
    pub creation_date: Option<u64>,
    /// Replace the torrent file if it exists.
    #[arg(long, short)]
    pub force: bool,
    /// Have a running daemon make it of what is at PATH on its machine: HOST:PORT, http://HOST:PORT or unix:/PATH. The
    /// torrent file is written here.
    #[arg(long, value_name = "WHERE")]
    pub connect: Option<String>,
    /// Who asks it.
    #[command(flatten)]
    pub login: Login,
}

/// Piece length of a new torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceSize {
    /// Chosen from the total size.
    Auto,
    /// This many bytes.
    Fixed(u32),
}

impl PieceSize {
    /// The bytes, when they were given.
    pub fn fixed(self) -> Option<u32> {
        match self {
            Self::Auto => None,
            Self::Fixed(bytes) => Some(bytes),
        }
    }
}

/// A text that does not say how large pieces are to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PieceSizeError {
    /// It is not a size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// No piece can have it.
    #[error("'{0}' is too large for a piece")]
    TooLarge(String),
}

impl std::str::FromStr for PieceSize {
    type Err = PieceSizeError;

    fn from_str(text: &str) -> Result<Self, PieceSizeError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let bytes: Bytes = text.parse()?;
        u32::try_from(bytes.0).map(Self::Fixed).map_err(|_| PieceSizeError::TooLarge(text.to_owned()))
    }
}

/// Print what a torrent says.
#[derive(Debug, Args)]
pub struct Show {
    /// A torrent file or an http(s) URL of one.
    #[arg(value_name = "FILE")]
    pub torrent: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Compare files with their torrent; exit code 0 when all is there.
#[derive(Debug, Args)]
pub struct Verify {
    /// A torrent file or an http(s) URL of one.
    #[arg(value_name = "FILE")]
    pub torrent: String,
    /// Directory that holds the file or directory the torrent names.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Seed and download generated data on this machine.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct Demo {
    /// How much data.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub size: Bytes,
    /// Directory for a temporary directory with the data [default: the system's].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Cores for each of the two engines.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
}

/// A ratio: a finite number from 0.
fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("a number such as 1.5 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn piece_sizes() {
        assert_eq!("auto".parse(), Ok(PieceSize::Auto));
        assert_eq!("256K".parse(), Ok(PieceSize::Fixed(262_144)));
        assert!("4G".parse::<PieceSize>().is_err());
        assert!("many".parse::<PieceSize>().is_err());
    }

    #[test]
    fn flags_of_get() {
        let line = CommandLine::try_parse_from([
            "ringseed",
            "get",
            "a.torrent",
            "-o",
            "out",
            "--seed-ratio",
            "1.5",
            "--peer",
            "127.0.0.1:1",
            "--port",
            "0",
            "--no-pin",
            "--upload-limit",
            "10M",
            "--listen",
            "127.0.0.1",
            "--listen",
            "::1",
            "--quiet",
        ])
        .expect("valid");
        let Command::Get(get) = line.command else { panic!("not get") };
        assert_eq!(get.engine.settings.port, Some(0));
        assert_eq!(get.engine.settings.no_pin, Some(true));
        assert_eq!(get.engine.settings.listen.len(), 2);
        assert_eq!(get.seed_ratio, Some(1.5));
        assert!(line.output.quiet);
    }
}
