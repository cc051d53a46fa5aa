//! One row of the table: a torrent's state, and its cells as texts.

use super::column::Column;
use super::entry::Entry;
use crate::quantity;
use ringseed_api::Status;

/// What a torrent is doing, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Error,
    Metadata,
    Downloading,
    DownloadQueued,
    Seeding,
    SeedQueued,
    Checking,
    CheckQueued,
    /// Stopped before it was complete.
    Paused,
    /// Stopped and complete.
    Done,
}

impl State {
    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            State::Error => "Error",
            State::Metadata => "Metadata",
            State::Downloading => "Downloading",
            State::DownloadQueued | State::SeedQueued => "Queued",
            State::Seeding => "Seeding",
            State::Checking => "Checking",
            State::CheckQueued => "Will check",
            State::Paused => "Paused",
            State::Done => "Completed",
        }
    }

    /// Its place in the order of states.
    pub fn rank(self) -> u8 {
        self as u8
    }

    pub(super) fn of(entry: &Entry) -> State {
        let listed = &entry.listed;
        let is = |status: Status| listed.status == status as u8;
        if listed.error == 3 {
            State::Error
        } else if is(Status::Check) {
            State::Checking
        } else if is(Status::CheckWait) {
            State::CheckQueued
        } else if is(Status::Seed) {
            State::Seeding
        } else if is(Status::SeedWait) {
            State::SeedQueued
        } else if is(Status::Stopped) {
            if entry.is_complete() { State::Done } else { State::Paused }
        } else if listed.metadata_percent_complete.is_some_and(|share| share < 1.0) {
            State::Metadata
        } else if is(Status::Download) {
            State::Downloading
        } else {
            State::DownloadQueued
        }
    }
}

/// A row as a window shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The torrent.
    pub id: u32,
    /// Text of each column of [`Column::ALL`].
    pub cells: Vec<String>,
    /// Filled share of the progress bar.
    pub progress: f32,
    /// Its state, for colours.
    pub state: State,
    /// A tracker has something to say.
    pub warning: bool,
    /// It is selected.
    pub selected: bool,
    /// It has the keyboard's attention.
    pub current: bool,
}

impl Row {
    pub(super) fn of(entry: &Entry, selected: bool, current: bool) -> Row {
        let state = entry.state();
        Row {
            id: entry.listed.id,
            cells: Column::ALL.iter().map(|column| cell(*column, entry, state)).collect(),
            progress: progress(entry, state) as f32,
            state,
            warning: matches!(entry.listed.error, 1 | 2),
            selected,
            current,
        }
    }
}

fn progress(entry: &Entry, state: State) -> f64 {
    match state {
        State::Checking => entry.listed.recheck_progress,
        State::Metadata => entry.listed.metadata_percent_complete.unwrap_or(0.0),
        _ => entry.listed.percent_done,
    }
}

fn cell(column: Column, entry: &Entry, state: State) -> String {
    let listed = &entry.listed;
    match column {
        Column::Queue => (listed.queue_position + 1).to_string(),
        Column::Name => listed.name.clone(),
        Column::Size if state == State::Metadata => String::new(),
        Column::Size => quantity::bytes(listed.size_when_done),
        Column::Progress => quantity::percent(progress(entry, state)),
        Column::State => state.title().to_owned(),
        Column::Down => quantity::rate(listed.rate_download),
        Column::Up => quantity::rate(listed.rate_upload),
        Column::Eta if state != State::Downloading => String::new(),
        Column::Eta => quantity::span(listed.eta),
        Column::Ratio => quantity::ratio(listed.upload_ratio),
        Column::Peers => listed.peers_connected.to_string(),
        Column::Seeds => entry.seeds().map_or_else(String::new, |seeds| seeds.to_string()),
        Column::Added => quantity::date(listed.added_date),
        Column::Label => listed.labels.join(", "),
        Column::Downloaded => quantity::bytes(listed.downloaded_ever),
        Column::Uploaded => quantity::bytes(listed.uploaded_ever),
        Column::Done => quantity::date(listed.done_date),
        Column::Folder => listed.download_dir.clone(),
    }
}
