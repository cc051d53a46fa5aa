//! The commands for a running daemon, with their help texts.

use crate::cli::quantity::{Bytes, SizeError};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The daemon and the credentials.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connect {
    /// The daemon's RPC: HOST:PORT, http://HOST:PORT or unix:/PATH [default: the address in RINGSEED_RPC, or
    /// 127.0.0.1:9091].
    #[arg(long, value_name = "WHERE", env = "RINGSEED_CONNECT", hide_env = true)]
    pub connect: Option<String>,
    /// Credentials.
    #[command(flatten)]
    pub login: Login,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Credentials for a daemon's RPC.
#[derive(Debug, Clone, Args)]
pub struct Login {
    /// Name and password for the RPC, as NAME:PASSWORD.
    #[arg(
        long,
        value_name = "NAME:PASSWORD",
        env = "RINGSEED_AUTH",
        hide_env = true,
        hide_env_values = true
    )]
    pub auth: Option<String>,
    /// File with the daemon's token [default: rpc-token in the state directory (RINGSEED_STATE_DIR), if readable].
    #[arg(long, value_name = "FILE", env = "RINGSEED_TOKEN_FILE", hide_env = true)]
    pub token_file: Option<PathBuf>,
}

/// Torrents of a daemon.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Torrents, by number or info-hash, or `all`.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Add torrents to a running daemon.
    Add(Add),
    /// List the torrents of a running daemon.
    List(List),
    /// Show details of torrents of a running daemon.
    Info(Info),
    /// Pause torrents of a running daemon.
    Pause(Plain),
    /// Start torrents of a running daemon.
    Resume(Resume),
    /// Remove torrents from a running daemon.
    Remove(Remove),
    /// Move the files of torrents of a running daemon.
    Move(Move),
    /// Limit the rates of a running daemon or of its torrents.
    Limit(Limit),
    /// Show statistics of a running daemon.
    Stats(Only),
    /// Check the health of a daemon: exit code 0 if it answers. Needs no credentials.
    Health(Health),
    /// Add the torrents of another client to a running daemon.
    Import(Import),
    /// Watch a running daemon.
    Top(Only),
}

/// Add torrents.
#[derive(Debug, Args)]
pub struct Add {
    /// Torrent files, http(s) URLs of torrent files, or `-` for standard input.
    #[arg(required = true, value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Directory on the daemon's machine to download to.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Add without starting.
    #[arg(long)]
    pub paused: bool,
    /// Download pieces in order.
    #[arg(long)]
    pub sequential: bool,
    /// Label; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub label: Vec<String>,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// List torrents.
#[derive(Debug, Args)]
pub struct List {
    /// Only torrents with this label.
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Show details of torrents.
#[derive(Debug, Args)]
pub struct Info {
    /// Which torrents.
    #[command(flatten)]
    pub which: Which,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Torrents and nothing else.
#[derive(Debug, Args)]
pub struct Plain {
    /// Which torrents.
    #[command(flatten)]
    pub which: Which,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Start torrents.
#[derive(Debug, Args)]
pub struct Resume {
    /// Which torrents.
    #[command(flatten)]
    pub which: Which,
    /// Start even if the queue is full.
    #[arg(long)]
    pub now: bool,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Remove torrents.
#[derive(Debug, Args)]
pub struct Remove {
    /// Which torrents.
    #[command(flatten)]
    pub which: Which,
    /// Delete their data, too.
    #[arg(long)]
    pub delete_data: bool,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Move files.
#[derive(Debug, Args)]
pub struct Move {
    /// Which torrents.
    #[command(flatten)]
    pub which: Which,
    /// The new directory on the daemon's machine.
    #[arg(long, value_name = "DIR", required_unless_present = "cancel", conflicts_with = "cancel")]
    pub to: Option<PathBuf>,
    /// The files are already there: find and verify them instead of moving them.
    #[arg(long, conflicts_with = "cancel")]
    pub found: bool,
    /// Cancel a running move and undo it.
    #[arg(long)]
    pub cancel: bool,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Limit rates.
#[derive(Debug, Args)]
pub struct Limit {
    /// Torrents, by number or info-hash; without any, the whole daemon.
    #[arg(value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Upload limit in bytes per second, such as 500K or 10M, or `none`.
    #[arg(long, value_name = "RATE")]
    pub up: Option<Rate>,
    /// Download limit in bytes per second, such as 500K or 10M, or `none`.
    #[arg(long, value_name = "RATE")]
    pub down: Option<Rate>,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Add the torrents of another client. Their data is verified in place.
#[derive(Debug, Args)]
pub struct Import {
    /// Transmission's configuration directory, or qBittorrent's BT_backup.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Check the health of a daemon.
#[derive(Debug, Args)]
pub struct Health {
    /// Succeed only if all torrents are loaded, too.
    #[arg(long)]
    pub ready: bool,
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// Nothing but a connection.
#[derive(Debug, Args)]
pub struct Only {
    /// Connection.
    #[command(flatten)]
    pub connect: Connect,
}

/// A rate, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// No limit.
    None,
    /// Kilobytes of 1000 bytes per second, at least 1.
    Kilobytes(u64),
}

impl std::str::FromStr for Rate {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        if text == "none" {
            return Ok(Self::None);
        }
        let bytes: Bytes = text.parse()?;
        Ok(Self::Kilobytes((bytes.0 / 1000).max(1)))
    }
}
