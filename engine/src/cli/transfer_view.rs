//! How transfers are shown: one bar per torrent on a terminal, plain lines elsewhere.

use super::quantity::{eta, printable, rate, size, span};
use super::screen;
use indicatif::{ProgressBar, ProgressStyle};
use ringseed_handle::{EngineSnapshot, TorrentState, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time between plain lines of a torrent whose state stays the same.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Bars shown at once: more would not fit on a screen, and drawing them costs time.
const BARS_MAX: usize = 20;

/// Shows the torrents of snapshots as they come.
pub struct TransferView {
    shown: Shown,
}

enum Shown {
    Nothing,
    Bars(HashMap<TorrentId, ProgressBar>),
    Lines(HashMap<TorrentId, LastLine>),
}

struct LastLine {
    state: &'static str,
    text: String,
    at: Instant,
}

impl TransferView {
    /// A view that fits the terminal, or its absence.
    pub fn new(quiet: bool) -> Self {
        let shown = if quiet {
            Shown::Nothing
        } else if screen::is_terminal() {
            Shown::Bars(HashMap::new())
        } else {
            Shown::Lines(HashMap::new())
        };
        Self { shown }
    }

    /// Shows what changed.
    pub fn update(&mut self, snapshot: &EngineSnapshot, now: Instant) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bars(bars) => {
                for torrent in &snapshot.torrents {
                    if bars.len() < BARS_MAX || bars.contains_key(&torrent.torrent_id()) {
                        draw(bars.entry(torrent.torrent_id()).or_insert_with(|| bar(torrent)), torrent);
                    }
                }
            }
            Shown::Lines(lines) => {
                for torrent in &snapshot.torrents {
                    if let Some(text) = due_line(lines, torrent, now) {
                        screen::note(&text);
                    }
                }
            }
        }
    }
}

impl Drop for TransferView {
    fn drop(&mut self) {
        if let Shown::Bars(bars) = &self.shown {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

/// The line to print for a torrent now, if any: at once when its state changes, else at intervals.
fn due_line(
    lines: &mut HashMap<TorrentId, LastLine>,
    torrent: &TorrentStatus,
    now: Instant,
) -> Option<String> {
    let state = state_name(&torrent.state);
    let last = lines.get(&torrent.torrent_id());
    if last.is_some_and(|last| last.state == state && now.duration_since(last.at) < LINE_INTERVAL) {
        return None;
    }
    let text = format!("{}: {state} {}", printable(&torrent.metainfo.info.name), figures(torrent));
    let changed = last.is_none_or(|last| last.text != text);
    lines.insert(torrent.torrent_id(), LastLine { state, text: text.clone(), at: now });
    changed.then_some(text)
}

fn state_name(state: &TorrentState) -> &'static str {
    match state {
        TorrentState::Paused => "paused",
        TorrentState::Queued => "queued",
        TorrentState::Moving(_) => "moving",
        TorrentState::Checking(_) => "checking",
        TorrentState::Downloading => "downloading",
        TorrentState::Seeding => "seeding",
        TorrentState::Failed(_) => "failed",
        TorrentState::Missing(_) => "missing data",
    }
}

/// The numbers that matter in the torrent's state.
fn figures(torrent: &TorrentStatus) -> String {
    let peers = match torrent.peers.len() {
        1 => "1 peer".to_owned(),
        count => format!("{count} peers"),
    };
    match &torrent.state {
        TorrentState::Checking(done) => {
            format!("{:.0} % of {}", percent(f64::from(*done)), size(torrent.wanted))
        }
        TorrentState::Downloading => {
            let left = eta(torrent.left, torrent.download_rate).map_or("-".into(), span);
            format!(
                "{:.1} % of {}, {} down, {} up, ETA {left}, {peers}",
                percent(torrent.progress()),
                size(torrent.wanted),
                rate(torrent.download_rate),
                rate(torrent.upload_rate),
            )
        }
        TorrentState::Seeding => format!(
            "{}, {} up, {} sent, ratio {:.2}, {peers}",
            size(torrent.wanted),
            rate(torrent.upload_rate),
            size(torrent.uploaded),
            torrent.ratio().get().unwrap_or(0.0),
        ),
        TorrentState::Moving(done) => {
            format!("{:.0} % of {}", percent(f64::from(*done)), size(torrent.wanted))
        }
        TorrentState::Paused | TorrentState::Queued => {
            format!("{:.1} % of {}", percent(torrent.progress()), size(torrent.wanted))
        }
        TorrentState::Failed(reason) | TorrentState::Missing(reason) => printable(reason),
    }
}

/// A share in percent, rounded down: 100 is shown only for all of it.
fn percent(share: f64) -> f64 {
    (share.clamp(0.0, 1.0) * 1000.0).floor() / 10.0
}

fn bar(torrent: &TorrentStatus) -> ProgressBar {
    let bar = ProgressBar::new(torrent.wanted);
    // The templates are constants that a test parses.
    if let Ok(style) = ProgressStyle::with_template(BAR_TEMPLATE) {
        bar.set_style(style.progress_chars("=> "));
    }
    let name = printable(&torrent.metainfo.info.name);
    let short: String = name.chars().take(24).collect();
    bar.set_prefix(if short == name { short } else { format!("{short}…") });
    screen::progress().add(bar)
}

const BAR_TEMPLATE: &str = "{prefix:<25} [{bar:20}] {wide_msg}";

fn draw(bar: &ProgressBar, torrent: &TorrentStatus) {
    bar.set_length(torrent.wanted.max(1));
    let done = match torrent.state {
        TorrentState::Checking(done) => (torrent.wanted as f64 * f64::from(done)) as u64,
        _ => torrent.wanted.saturating_sub(torrent.left),
    };
    bar.set_position(if torrent.wanted == 0 { 1 } else { done });
    bar.set_message(match &torrent.state {
        TorrentState::Downloading => figures(torrent),
        state => format!("{} {}", state_name(state), figures(torrent)),
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ringseed_proto::bitfield::Bitfield;
    use ringseed_proto::hashes::InfoHashes;
    use ringseed_proto::layout::Layout;
    use ringseed_proto::metainfo::{Info, Metainfo};
    use std::sync::Arc;
    use std::time::SystemTime;

    pub(in crate::cli) fn torrent(state: TorrentState, left: u64) -> TorrentStatus {
        let layout = Layout::single("a\u{1b}b", 16_384, 1000).expect("layout");
        let info = Info::new("a\u{1b}b".into(), layout, vec![[0; 20]], false).expect("info");
        TorrentStatus {
            id: 1,
            metainfo: Arc::new(Metainfo {
                hashes: InfoHashes::from_v1([7; 20]),
                info: Arc::new(info),
                info_bytes: Arc::from(&b""[..]),
                tiers: Vec::new(),
                web_seeds: Vec::new(),
                comment: None,
                created_by: None,
                creation_date: None,
            }),
            data_dir: ".".into(),
            state,
            have: Arc::new(Bitfield::new(1)),
            left,
            wanted: 1000,
            downloaded: 0,
            uploaded: 0,
            download_rate: 100,
            upload_rate: 0,
            banned: Vec::new(),
            waits_for_memory: false,
            wasted: 0,
            added_at: SystemTime::UNIX_EPOCH,
            finished_at: None,
            seeds: 0,
            connected: 0,
            peers: Vec::new(),
            trackers: Vec::new(),
            warning: None,
            settings: Default::default(),
            forced: false,
            active_at: 0,
            running_since: None,
            changed_at: Instant::now(),
            upload_limit: Default::default(),
            download_limit: Default::default(),
            sequential: false,
        }
    }

    #[test]
    fn lines_come_on_changes_and_at_intervals() {
        let mut lines = HashMap::new();
        let start = Instant::now();
        let first = due_line(&mut lines, &torrent(TorrentState::Downloading, 500), start);
        assert_eq!(
            first.as_deref(),
            Some("a\u{fffd}b: downloading 50.0 % of 1000 B, 100 B/s down, 0 B/s up, ETA 5s, 0 peers")
        );
        let soon = start + LINE_INTERVAL / 2;
        assert_eq!(due_line(&mut lines, &torrent(TorrentState::Downloading, 400), soon), None);
        let later = start + LINE_INTERVAL;
        assert!(due_line(&mut lines, &torrent(TorrentState::Downloading, 400), later).is_some());
        assert!(due_line(&mut lines, &torrent(TorrentState::Seeding, 0), later).is_some());
        let much_later = later + LINE_INTERVAL;
        assert_eq!(due_line(&mut lines, &torrent(TorrentState::Seeding, 0), much_later), None, "nothing new");
    }

    #[test]
    fn a_hundred_percent_is_all() {
        assert_eq!(percent(0.999_999), 99.9);
        assert_eq!(percent(1.0), 100.0);
    }

    #[test]
    fn the_bar_template_is_valid() {
        assert!(ProgressStyle::with_template(BAR_TEMPLATE).is_ok());
    }
}
