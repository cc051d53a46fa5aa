//! Which torrents are shown.

use super::entry::Entry;
use super::row::State;

/// By what a torrent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum StateFilter {
    #[default]
    All,
    Downloading,
    Seeding,
    Completed,
    Paused,
    Active,
    Inactive,
    Checking,
    Errored,
}

/// Which of [`StateFilter::ALL`] a torrent fits.
pub(super) type Fits = [bool; StateFilter::ALL.len()];

impl StateFilter {
    /// All, in the order of the side bar.
    pub const ALL: [StateFilter; 9] = [
        StateFilter::All,
        StateFilter::Downloading,
        StateFilter::Seeding,
        StateFilter::Completed,
        StateFilter::Paused,
        StateFilter::Active,
        StateFilter::Inactive,
        StateFilter::Checking,
        StateFilter::Errored,
    ];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            StateFilter::All => "All",
            StateFilter::Downloading => "Downloading",
            StateFilter::Seeding => "Seeding",
            StateFilter::Completed => "Completed",
            StateFilter::Paused => "Paused",
            StateFilter::Active => "Active",
            StateFilter::Inactive => "Inactive",
            StateFilter::Checking => "Checking",
            StateFilter::Errored => "Errors",
        }
    }

    /// `state` is the torrent's.
    pub(super) fn fits(self, entry: &Entry, state: State) -> bool {
        let listed = &entry.listed;
        let moving = listed.rate_download > 0 || listed.rate_upload > 0;
        match self {
            StateFilter::All => true,
            StateFilter::Downloading => {
                matches!(state, State::Downloading | State::DownloadQueued | State::Metadata)
            }
            StateFilter::Seeding => matches!(state, State::Seeding | State::SeedQueued),
            StateFilter::Completed => entry.is_complete(),
            StateFilter::Paused => matches!(state, State::Paused | State::Done),
            StateFilter::Active => moving,
            StateFilter::Inactive => !moving,
            StateFilter::Checking => matches!(state, State::Checking | State::CheckQueued),
            StateFilter::Errored => listed.error != 0,
        }
    }
}

/// What a torrent must fit to be shown: all of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// What it is doing.
    pub state: StateFilter,
    /// A label that it has; the empty text stands for none at all.
    pub label: Option<String>,
    /// Host of a tracker that it has; the empty text stands for none at all.
    pub tracker: Option<String>,
    /// Words that are in its name.
    pub search: String,
}

impl Filter {
    /// The words to be looked for.
    pub(super) fn words(&self) -> Vec<String> {
        self.search.split_whitespace().map(str::to_lowercase).collect()
    }

    pub(super) fn fits(&self, entry: &Entry, words: &[String]) -> bool {
        entry.states[self.state as usize]
            && self.label.as_ref().is_none_or(|label| {
                if label.is_empty() {
                    entry.listed.labels.is_empty()
                } else {
                    entry.listed.labels.contains(label)
                }
            })
            && self.tracker.as_ref().is_none_or(|tracker| {
                if tracker.is_empty() { entry.hosts.is_empty() } else { entry.hosts.contains(tracker) }
            })
            && words.iter().all(|word| entry.name_key.contains(word))
    }
}
