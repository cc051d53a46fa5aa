//! Flags that say which programs take part and where they work.

use std::path::PathBuf;

use clap::Args;

use crate::swarm::{RunError, Tools};

/// Programs and places.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Programs")]
pub struct ToolArgs {
    /// Engine binary [default: next to this program]
    #[arg(long, value_name = "PATH", env = "RINGSEED_BIN")]
    pub ringseed: Option<PathBuf>,
    /// Tracker binary [default: next to this program]
    #[arg(long, value_name = "PATH", env = "RINGSEED_TRACKER_BIN")]
    pub ringseed_tracker: Option<PathBuf>,
    /// Directory for data and state. Use a short path: it contains control sockets
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/ringseed-loadtest")]
    pub dir: PathBuf,
    /// Keep the data, state and logs of the run
    #[arg(long)]
    pub keep: bool,
}

impl ToolArgs {
    /// The programs and places these flags name.
    ///
    /// # Errors
    /// A program is not there.
    pub fn tools(&self) -> Result<Tools, RunError> {
        let (ringseed, tracker) = (self.ringseed.clone(), self.ringseed_tracker.clone());
        let tools = Tools::find(ringseed, tracker, self.dir.clone())?;
        Ok(Tools { keep: self.keep, ..tools })
    }
}
