//! A torrent of the table with what is worked out of it once.

use super::column::Order;
use super::filter::{Filter, Fits, StateFilter};
use super::row::State;
use super::sidebar::Counts;
use crate::rpc::Listed;

/// A torrent with what is worked out once.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) listed: Listed,
    /// The name in lower case.
    pub(super) name_key: String,
    /// Hosts of its trackers, each once.
    pub(super) hosts: Vec<String>,
    pub(super) states: Fits,
    /// Where it was when the rows were last worked out.
    pub(super) place: Place,
}

/// What a torrent's row depends on, beside its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Whether it is shown.
    pub(super) fits: bool,
    /// See [`Order::key`].
    pub(super) key: u64,
}

/// What news of a torrent changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Renewed {
    /// Anything.
    pub(super) changed: bool,
    /// A text by which rows are ordered, or what filters look at.
    pub(super) texts: bool,
}

impl Entry {
    pub(super) fn new(listed: Listed) -> Entry {
        let mut entry = Entry {
            name_key: listed.name.to_lowercase(),
            hosts: hosts(&listed),
            states: Fits::default(),
            place: Place::default(),
            listed,
        };
        entry.states = entry.fitting_states();
        entry
    }

    /// Takes news, and moves the torrent to where it counts now. What news leave out about trackers stays as it was.
    pub(super) fn renew(&mut self, listed: Listed, counts: &mut Counts) -> Renewed {
        let mut old = std::mem::replace(&mut self.listed, listed);
        // They are left out most of the time, so they are moved, not copied.
        let trackers = if self.listed.tracker_stats.is_none() { old.tracker_stats.take() } else { None };
        let changed = old != self.listed;
        let mut texts = old.labels != self.listed.labels || old.download_dir != self.listed.download_dir;
        if old.labels != self.listed.labels {
            counts.move_labels(&old.labels, &self.listed.labels);
        }
        if trackers.is_some() {
            self.listed.tracker_stats = trackers;
        } else if old.tracker_stats != self.listed.tracker_stats {
            let old = std::mem::replace(&mut self.hosts, hosts(&self.listed));
            if old != self.hosts {
                counts.move_hosts(&old, &self.hosts);
                texts = true;
            }
        }
        if old.name != self.listed.name {
            self.name_key = self.listed.name.to_lowercase();
            texts = true;
        }
        let states = self.fitting_states();
        if states != self.states {
            counts.move_states(&self.states, &states);
            self.states = states;
        }
        Renewed { changed, texts }
    }

    fn fitting_states(&self) -> Fits {
        let state = self.state();
        StateFilter::ALL.map(|filter| filter.fits(self, state))
    }

    /// Its place under this filter, whose words are `words`, and order.
    pub(super) fn place(&self, filter: &Filter, words: &[String], order: Order) -> Place {
        Place { fits: filter.fits(self, words), key: order.key(self) }
    }

    pub(super) fn state(&self) -> State {
        State::of(self)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.listed.left_until_done == 0
            && self.listed.metadata_percent_complete.is_none_or(|share| share >= 1.0)
    }

    /// Seeders of the swarm as the best informed tracker counts them.
    pub(super) fn seeds(&self) -> Option<i64> {
        let counts = self.listed.tracker_stats.iter().flatten().map(|tracker| tracker.seeder_count);
        counts.max().filter(|count| *count >= 0)
    }
}

/// Hosts of the trackers of a torrent, each once.
fn hosts(listed: &Listed) -> Vec<String> {
    let trackers = listed.tracker_stats.iter().flatten();
    let mut hosts: Vec<String> = trackers.map(|tracker| host_name(&tracker.host).to_owned()).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// `tracker.example.org` of `http://tracker.example.org:80`.
fn host_name(host: &str) -> &str {
    let name = host.split_once("://").map_or(host, |(_, name)| name);
    match name.rsplit_once(':') {
        Some((before, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => before,
        _ => name,
    }
}
