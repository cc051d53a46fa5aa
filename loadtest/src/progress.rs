//! Progress on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One bar, or silence.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of `length` steps; it is drawn on terminals only.
    pub fn new(quiet: bool, length: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(
            Some(length),
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        // A template of ours that is wrong would fail in the test below; the plain bar does as well.
        let style = ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {percent:>3}% {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Progress(bar)
    }

    /// No bar.
    pub fn silent() -> Progress {
        Progress::new(true, 1)
    }

    /// Where it is, and what happens.
    pub fn show(&self, position: u64, message: String) {
        self.0.set_position(position);
        self.0.set_message(message);
    }

    /// What happens, while nobody knows how long it takes.
    pub fn say(&self, message: &str) {
        self.0.set_message(message.to_owned());
        self.0.tick();
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_one() {
        assert!(
            indicatif::ProgressStyle::with_template("{elapsed:>5} [{bar:30}] {percent:>3}% {msg}").is_ok()
        );
    }
}
