//! The pane's controller: what is known of the watched torrent, rates over time, and what went wrong.

use super::files::{FileRow, FileTree, Priority};
use super::overview::{Fact, overview};
use super::peers::{PeerRow, peers};
use super::pieces::{PieceMap, piece_map};
use super::speed::{Sample, SpeedHistory};
use super::trackers::{TrackerRow, trackers};
use crate::rpc::{Command, DetailsNews};
use ringseed_api::SetArgs;
use std::collections::VecDeque;

/// Messages that are kept.
const LOG_MAX: usize = 500;

/// A message with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Seconds since 1970.
    pub at: i64,
    /// What happened.
    pub text: String,
    /// It went wrong.
    pub is_error: bool,
}

/// The controller.
#[derive(Debug, Default)]
pub struct Details {
    watched: Option<u32>,
    news: Option<DetailsNews>,
    tree: FileTree,
    all: SpeedHistory,
    one: SpeedHistory,
    log: VecDeque<LogEntry>,
}

impl Details {
    /// Another torrent is watched, or none. Returns whether that is new.
    pub(crate) fn watch(&mut self, id: Option<u32>) -> bool {
        if self.watched == id {
            return false;
        }
        self.watched = id;
        self.news = None;
        self.tree.clear();
        self.one.clear();
        true
    }

    /// Takes news. Those of a torrent that is not watched any more are old.
    pub(crate) fn take(&mut self, news: DetailsNews) -> bool {
        if self.watched != Some(news.torrent.id) {
            return false;
        }
        self.tree.set(&news.torrent.files, &news.torrent.file_stats);
        self.one.push(Sample { down: news.torrent.rate_download, up: news.torrent.rate_upload });
        self.news = Some(news);
        true
    }

    pub(crate) fn sample(&mut self, sample: Sample) {
        self.all.push(sample);
    }

    pub(crate) fn note(&mut self, entry: LogEntry) {
        if self.log.len() == LOG_MAX {
            self.log.pop_back();
        }
        self.log.push_front(entry);
    }

    /// The torrent that is shown, once something is known of it.
    pub fn news(&self) -> Option<&DetailsNews> {
        self.news.as_ref()
    }

    /// Whether a torrent is watched.
    pub fn has_torrent(&self) -> bool {
        self.watched.is_some()
    }

    /// Which pieces are here, in at most `room` steps.
    pub fn pieces(&self, room: usize) -> PieceMap {
        self.news.as_ref().map_or_else(PieceMap::default, |news| {
            piece_map(&news.torrent.pieces, news.torrent.piece_count, room)
        })
    }

    /// Facts about the transfer and about the torrent.
    pub fn facts(&self, pieces_here: u32) -> (Vec<Fact>, Vec<Fact>) {
        self.news.as_ref().map_or_else(Default::default, |news| overview(news, pieces_here))
    }

    /// What is wrong with the torrent; empty when nothing is.
    pub fn problem(&self) -> &str {
        self.news.as_ref().map_or("", |news| news.torrent.error_string.as_str())
    }

    /// Lines of the file tree.
    pub fn files(&self) -> Vec<FileRow> {
        self.tree.rows()
    }

    /// Opens or closes a folder of the tree.
    pub fn toggle(&mut self, path: &str) {
        self.tree.toggle(path);
    }

    /// The command that gives files of the watched torrent a priority.
    pub fn set_priority(&self, files: &[usize], priority: Priority) -> Option<Command> {
        let files = files.to_vec();
        let mut args = SetArgs::default();
        match priority {
            Priority::Skip => args.files_unwanted = Some(files),
            chosen => {
                args.files_wanted = Some(files.clone());
                *match chosen {
                    Priority::Low => &mut args.priority_low,
                    Priority::High => &mut args.priority_high,
                    _ => &mut args.priority_normal,
                } = Some(files);
            }
        }
        Some(Command::Set(vec![self.watched?], Box::new(args)))
    }

    /// Connected peers.
    pub fn peers(&self) -> Vec<PeerRow> {
        self.news.as_ref().map_or_else(Vec::new, |news| peers(&news.torrent.peers))
    }

    /// Trackers, at the time `now` (seconds since 1970).
    pub fn trackers(&self, now: i64) -> Vec<TrackerRow> {
        self.news.as_ref().map_or_else(Vec::new, |news| trackers(&news.torrent.tracker_stats, now))
    }

    /// Rates of the watched torrent, or of all when none is.
    pub fn speed(&self) -> &SpeedHistory {
        if self.has_torrent() { &self.one } else { &self.all }
    }

    /// Messages, the newest first.
    pub fn log(&self) -> impl ExactSizeIterator<Item = &LogEntry> {
        self.log.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_api::Torrent;
    use serde_json::json;

    fn news(id: u32) -> DetailsNews {
        DetailsNews { torrent: Torrent { id, ..Torrent::default() }, ..DetailsNews::default() }
    }

    #[test]
    fn news_of_a_torrent_that_is_not_watched_any_more_are_not_shown() {
        let mut details = Details::default();
        assert!(details.watch(Some(1)) && !details.watch(Some(1)));
        assert!(details.take(news(1)));
        details.watch(Some(2));
        assert!(!details.take(news(1)) && details.news().is_none() && details.has_torrent());
    }

    #[test]
    fn a_priority_is_set_by_the_names_of_the_wire() {
        let mut details = Details::default();
        assert_eq!(details.set_priority(&[0], Priority::High), None);
        details.watch(Some(7));
        let wire = |priority| match details.set_priority(&[1, 2], priority) {
            Some(Command::Set(ids, args)) => {
                assert_eq!(ids, [7]);
                serde_json::to_value(args).unwrap()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(wire(Priority::Skip), json!({"files-unwanted": [1, 2]}));
        assert_eq!(wire(Priority::High), json!({"files-wanted": [1, 2], "priority-high": [1, 2]}));
    }

    #[test]
    fn the_log_is_bounded_and_its_newest_is_first() {
        let mut details = Details::default();
        for at in 0..600 {
            details.note(LogEntry { at, text: String::new(), is_error: false });
        }
        assert_eq!((details.log().len(), details.log().next().unwrap().at), (LOG_MAX, 599));
    }
}
