//! Log lines: what the engine traces, to standard error.

use super::args::{LogFormat, Output};
use super::screen::{LogWriter, is_terminal};
use tracing_subscriber::EnvFilter;

/// Starts logging. Without `--debug` warnings are shown, and for a daemon what it does; `RINGSEED_LOG` may
/// hold a filter in the syntax of `tracing_subscriber::EnvFilter` instead.
pub fn start(output: &Output, daemon: bool) {
    let level = match (output.debug, output.quiet, daemon) {
        (true, _, _) => "info,ringseed=debug,ringseed_ring=debug,ringseed_proto=debug,ringseed_tracker=debug",
        (false, true, _) => "error",
        (false, false, true) => "warn,ringseed=info",
        (false, false, false) => "warn",
    };
    let filter = std::env::var("RINGSEED_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogWriter);
    // The first logger of a process stays; there is no other one in the binary.
    let _ = match output.log_format.unwrap_or(LogFormat::Human) {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.with_ansi(is_terminal()).try_init(),
    };
}
