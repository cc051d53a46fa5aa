//! The command line, with its help texts.

use super::quantity::{Bytes, SizeError};
use super::remote::args::{Login, Remote};
use crate::config_file::Settings;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A fast BitTorrent seeder and client for Linux servers.
#[derive(Debug, Parser)]
#[command(name = "ringseed", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 wrong usage.")]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to print.
    #[command(flatten)]
    pub output: Output,
}

/// Amount and format of output.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Write debug logs to standard error.
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
    /// Seed existing data.
    Seed(Seed),
    /// Run the daemon, which clients control over its RPC.
    Serve(Box<Serve>),
    /// Create a torrent from a file or directory.
    Create(Create),
    /// Print the contents of a torrent file.
    Show(Show),
    /// Check files against their torrent.
    Verify(Verify),
    /// Seed and download generated data on this machine, and print the rate.
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Print a shell completion script.
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
    /// Settings that the configuration file may also have.
    #[command(flatten)]
    pub settings: Settings,
    /// Configuration file. Flags override variables (RINGSEED_ and the key in capitals), and both override the file.
    #[arg(long, value_name = "FILE", env = "RINGSEED_CONFIG", hide_env = true)]
    #[arg(help_heading = "Engine")]
    pub config: Option<PathBuf>,
}

/// Download torrents. Exits when all are complete and have reached --seed-ratio.
#[derive(Debug, Args)]
pub struct Get {
    /// Torrent files or http(s) URLs of torrent files.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Directory to download to.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Continue to seed until this share ratio is reached.
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub seed_ratio: Option<f64>,
    /// Download pieces in order, to read files before they are complete.
    #[arg(long)]
    pub sequential: bool,
    /// Address of a peer to connect to; may be repeated.
    #[arg(long, value_name = "ADDR")]
    pub peer: Vec<SocketAddr>,
    /// Engine settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Seed until Ctrl+C.
#[derive(Debug, Args)]
pub struct Seed {
    /// Torrent files or http(s) URLs of torrent files.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Directory that contains the torrent's file or directory.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Engine settings.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Run the daemon until SIGTERM, SIGINT or the RPC stops it.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of the RPC [default: 127.0.0.1:9091].
    #[arg(long, value_name = "ADDR", env = "RINGSEED_RPC", hide_env = true)]
    pub rpc: Option<SocketAddr>,
    /// Default directory for added torrents [default: the current directory].
    #[arg(long, value_name = "DIR", env = "RINGSEED_DOWNLOAD_DIR", hide_env = true)]
    pub download_dir: Option<PathBuf>,
    /// Folder to add torrent files from.
    #[arg(long, value_name = "DIR", env = "RINGSEED_WATCH_DIR", hide_env = true)]
    pub watch_dir: Option<PathBuf>,
    /// Unix socket for the RPC.
    #[arg(long, value_name = "PATH", env = "RINGSEED_RPC_SOCKET", hide_env = true)]
    pub rpc_socket: Option<PathBuf>,
    /// Name and password for the RPC; clients on this machine then need them, too. Prefer the variable or the
    /// configuration file: other users can read the command line.
    #[arg(
        long,
        value_name = "NAME:PASSWORD",
        env = "RINGSEED_RPC_AUTH",
        hide_env = true,
        hide_env_values = true
    )]
    pub rpc_auth: Option<String>,
    /// File with the token that gives clients access to the RPC [default: a random token, created as rpc-token in the
    /// state directory].
    #[arg(long, value_name = "FILE", env = "RINGSEED_TOKEN_FILE", hide_env = true)]
    pub rpc_token_file: Option<PathBuf>,
    /// Host name that clients may use for the RPC; may be repeated.
    #[arg(long, value_name = "NAME", env = "RINGSEED_RPC_HOSTS", value_delimiter = ',', hide_env = true)]
    pub rpc_host: Vec<String>,
    /// Network that may use the RPC in addition to this machine; may be repeated [default: all, with credentials].
    #[arg(
        long,
        value_name = "NETWORK",
        env = "RINGSEED_RPC_NETWORKS",
        value_delimiter = ',',
        hide_env = true
    )]
    pub rpc_network: Vec<String>,
    /// Proxy whose X-Forwarded-For is trusted, as an address or a network; may be repeated.
    #[arg(
        long,
        value_name = "NETWORK",
        env = "RINGSEED_RPC_PROXIES",
        value_delimiter = ',',
        hide_env = true
    )]
    pub rpc_proxy: Vec<String>,
    /// PEM file with the certificate chain of the RPC.
    #[arg(
        long,
        value_name = "FILE",
        env = "RINGSEED_RPC_TLS_CERT",
        hide_env = true,
        requires = "rpc_tls_key"
    )]
    pub rpc_tls_cert: Option<PathBuf>,
    /// PEM file with the key of that certificate.
    #[arg(
        long,
        value_name = "FILE",
        env = "RINGSEED_RPC_TLS_KEY",
        hide_env = true,
        requires = "rpc_tls_cert"
    )]
    pub rpc_tls_key: Option<PathBuf>,
    /// Allow the RPC to fetch torrents from URLs on this machine and in its networks.
    #[arg(long, env = "RINGSEED_RPC_FETCH_LOCAL", hide_env = true)]
    pub rpc_fetch_local: bool,
    /// Directory below which the RPC may create torrents, in addition to the download directory; may be repeated.
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

/// Create a torrent.
#[derive(Debug, Args)]
pub struct Create {
    /// The file or directory to share.
    pub path: PathBuf,
    /// The torrent file to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Announce URL. Repeat it for more tiers; separate the URLs of one tier by commas.
    #[arg(long, value_name = "URL", required = true)]
    pub tracker: Vec<String>,
    /// Piece length: auto, or a power of two such as 256K or 1M.
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub piece_size: PieceSize,
    /// Private torrent: peers come from the trackers only (BEP 27).
    #[arg(long)]
    pub private: bool,
    /// Web seed: URL of the same data over HTTP (BEP 19); may be repeated.
    #[arg(long, value_name = "URL")]
    pub web_seed: Vec<String>,
    /// Comment.
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Creation date in seconds since 1970; 0 omits it [default: $SOURCE_DATE_EPOCH or now].
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env = true)]
    pub creation_date: Option<u64>,
    /// Replace the torrent file if it exists.
    #[arg(long, short)]
    pub force: bool,
    /// Create the torrent with a running daemon, from PATH on its machine: HOST:PORT, http://HOST:PORT or unix:/PATH.
    /// The torrent file is written on this machine.
    #[arg(long, value_name = "WHERE")]
    pub connect: Option<String>,
    /// Credentials.
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

/// Print the contents of a torrent file.
#[derive(Debug, Args)]
pub struct Show {
    /// A torrent file or an http(s) URL of one.
    #[arg(value_name = "FILE")]
    pub torrent: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Check files against their torrent. Exit code 0 if all data is present.
#[derive(Debug, Args)]
pub struct Verify {
    /// A torrent file or an http(s) URL of one.
    #[arg(value_name = "FILE")]
    pub torrent: String,
    /// Directory that contains the torrent's file or directory.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Seed and download generated data on this machine.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct Demo {
    /// Amount of data.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub size: Bytes,
    /// Parent of the temporary directory [default: the system's].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Cores of each of the two engines.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
}

/// A ratio: a finite number from 0.
fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err("expected a number such as 1.5".into()),
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
