//! Progress of work on local files, such as hashing: a bar on a terminal, a line every 2 s elsewhere.

use super::quantity::{eta, rate, size, span};
use super::screen;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Progress over a number of bytes. Any thread may advance it.
pub struct WorkBar {
    what: &'static str,
    total: u64,
    done: AtomicU64,
    begun: Instant,
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    /// When the last line was printed.
    Lines(Mutex<Instant>),
}

const LINE_INTERVAL: Duration = Duration::from_secs(2);
const TEMPLATE: &str =
    "{prefix} [{bar:30}] {percent:>3} % of {binary_total_bytes}, {binary_bytes_per_sec}, ETA {eta}";

impl WorkBar {
    /// Work called `what` on `total` bytes begins.
    pub fn new(what: &'static str, total: u64, quiet: bool) -> Self {
        let begun = Instant::now();
        let shown = if quiet {
            Shown::Nothing
        } else if screen::is_terminal() {
            let bar = screen::progress().add(ProgressBar::new(total));
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(what);
            Shown::Bar(bar)
        } else {
            Shown::Lines(Mutex::new(begun))
        };
        Self { what, total, done: AtomicU64::new(0), begun, shown }
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(last) => {
                // Whoever finds it locked leaves the line to the other thread.
                if let Ok(mut last) = last.try_lock()
                    && last.elapsed() >= LINE_INTERVAL
                {
                    *last = Instant::now();
                    screen::note(&line(self.what, done, self.total, self.begun.elapsed()));
                }
            }
        }
    }

    /// The work is over; the bar goes away.
    pub fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let speed = (done as f64 / elapsed.as_secs_f64().max(1e-3)) as u64;
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let left = eta(total.saturating_sub(done), speed).map_or("-".into(), span);
    format!("{what}: {percent} % of {}, {}, ETA {left}", size(total), rate(speed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_template() {
        assert_eq!(
            line("hashing", 1 << 20, 4 << 20, Duration::from_secs(1)),
            "hashing: 25 % of 4.00 MiB, 1.00 MiB/s, ETA 3s"
        );
        assert_eq!(line("hashing", 0, 0, Duration::ZERO), "hashing: 100 % of 0 B, 0 B/s, ETA -");
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
