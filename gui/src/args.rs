//! The command line.

use crate::theme::Theme;
use clap::Parser;

/// A desktop window for a Ringseed engine on this machine or another.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringseed-gui", version)]
pub struct Args {
    /// Torrent files and magnet links to add.
    #[arg(value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Engine to connect to: a URL, or host and port [default: the engine used last, or 127.0.0.1:9091].
    #[arg(long, value_name = "URL", env = "RINGSEED_GUI_CONNECT", hide_env = true)]
    pub connect: Option<String>,
    /// Colours of the window [default: those used last, or auto].
    #[arg(long, value_enum)]
    pub theme: Option<Theme>,
    /// Write debug logs to standard error.
    #[arg(long)]
    pub debug: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_come_beside_flags() {
        let args = Args::try_parse_from([
            "ringseed-gui",
            "--theme",
            "dark",
            "--connect",
            "box:9091",
            "a.torrent",
            "magnet:?xt=urn:btih:00",
        ])
        .unwrap();
        assert_eq!(args.theme, Some(Theme::Dark));
        assert_eq!(args.connect.as_deref(), Some("box:9091"));
        assert_eq!(args.torrents, ["a.torrent", "magnet:?xt=urn:btih:00"]);
        assert!(Args::try_parse_from(["ringseed-gui", "--theme", "pink"]).is_err());
    }
}
