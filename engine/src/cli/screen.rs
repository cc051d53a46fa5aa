//! What a command prints: result lines on standard output, everything else on standard error, and
//! neither through the middle of a progress bar.

use indicatif::MultiProgress;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// The bars of this process; lines are printed above them.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// The group that progress bars are added to.
pub fn progress() -> &'static MultiProgress {
    bars()
}

/// Whether progress can be shown as bars.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Prints a result line on standard output. A reader that went away is not an error.
pub fn say(line: &str) {
    bars().suspend(|| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    });
}

/// Prints a line on standard error.
pub fn note(line: &str) {
    bars().suspend(|| {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    });
}

/// Prints an error line.
pub fn complain(text: &str) {
    note(&format!("error: {text}"));
}

/// Writes log lines to standard error, above the bars.
#[derive(Debug, Clone, Copy)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        bars().suspend(|| std::io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
