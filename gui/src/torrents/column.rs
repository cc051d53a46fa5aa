//! Columns of the table, and the order of rows by one of them.

use super::entry::Entry;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Column {
    Queue,
    Name,
    Size,
    Progress,
    State,
    Down,
    Up,
    Eta,
    Ratio,
    Peers,
    Seeds,
    Added,
    Label,
    Downloaded,
    Uploaded,
    Done,
    Folder,
}

impl Column {
    /// All, in the order in which they stand.
    pub const ALL: [Column; 17] = [
        Column::Queue,
        Column::Name,
        Column::Size,
        Column::Progress,
        Column::State,
        Column::Down,
        Column::Up,
        Column::Eta,
        Column::Ratio,
        Column::Peers,
        Column::Seeds,
        Column::Added,
        Column::Label,
        Column::Downloaded,
        Column::Uploaded,
        Column::Done,
        Column::Folder,
    ];

    /// Its place in [`Column::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Heading.
    pub fn title(self) -> &'static str {
        match self {
            Column::Queue => "#",
            Column::Name => "Name",
            Column::Size => "Size",
            Column::Progress => "Progress",
            Column::State => "State",
            Column::Down => "Down",
            Column::Up => "Up",
            Column::Eta => "ETA",
            Column::Ratio => "Ratio",
            Column::Peers => "Peers",
            Column::Seeds => "Seeds",
            Column::Added => "Added",
            Column::Label => "Label",
            Column::Downloaded => "Downloaded",
            Column::Uploaded => "Uploaded",
            Column::Done => "Completed",
            Column::Folder => "Folder",
        }
    }

    /// Width in logical pixels at first.
    pub fn width(self) -> f32 {
        match self {
            Column::Queue => 40.0,
            Column::Name => 230.0,
            Column::Progress => 100.0,
            Column::Size => 84.0,
            Column::State => 106.0,
            Column::Down | Column::Up => 90.0,
            Column::Eta | Column::Label | Column::Downloaded | Column::Uploaded => 92.0,
            Column::Ratio | Column::Peers | Column::Seeds => 60.0,
            Column::Added | Column::Done => 138.0,
            Column::Folder => 200.0,
        }
    }

    /// Whether it is shown at first.
    pub fn shown(self) -> bool {
        !matches!(self, Column::Queue | Column::Downloaded | Column::Uploaded | Column::Done | Column::Folder)
    }

    /// Whether it holds numbers, which stand at the right.
    pub fn is_number(self) -> bool {
        !matches!(
            self,
            Column::Name | Column::State | Column::Label | Column::Added | Column::Done | Column::Folder
        )
    }

    /// The way of the first click on its heading: large numbers are looked for more often than small ones.
    fn starts_descending(self) -> bool {
        self.is_number() && !matches!(self, Column::Queue | Column::Eta) || self == Column::Added
    }
}

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// By this column.
    pub column: Column,
    /// Largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Order {
        Order { column: Column::Name, descending: false }
    }
}

impl Order {
    /// The order after a click on a heading: the same column turns round, another one starts its own way.
    #[must_use]
    pub fn clicked(self, column: Column) -> Order {
        let descending = if self.column == column { !self.descending } else { column.starts_descending() };
        Order { column, descending }
    }

    /// A number in the order of the rows, as far as 64 bits tell: of two torrents whose numbers differ, the one with the
    /// smaller comes first. It spares most of a sort the torrents themselves, of which ten thousand are far apart.
    pub(super) fn key(self, entry: &Entry) -> u64 {
        let key = key(self.column, entry);
        if self.descending { !key } else { key }
    }

    /// Compares two torrents of the same [`Order::key`], which says all but the rest of texts. Ties go by name, then by id,
    /// so that rows never jump.
    pub(super) fn compare_rest(self, one: &Entry, other: &Entry) -> Ordering {
        let by_text = match self.column {
            Column::Name => one.name_key.cmp(&other.name_key),
            Column::Label => one.listed.labels.cmp(&other.listed.labels),
            Column::Folder => one.listed.download_dir.cmp(&other.listed.download_dir),
            _ => Ordering::Equal,
        };
        let by_text = if self.descending { by_text.reverse() } else { by_text };
        by_text
            .then_with(|| one.name_key.cmp(&other.name_key))
            .then_with(|| one.listed.id.cmp(&other.listed.id))
    }
}

fn key(column: Column, entry: &Entry) -> u64 {
    let listed = &entry.listed;
    match column {
        Column::Queue => signed_key(listed.queue_position),
        Column::Name => text_key(&entry.name_key),
        Column::Size => listed.size_when_done,
        Column::Progress => float_key(listed.percent_done),
        Column::State => entry.state().rank().into(),
        Column::Down => listed.rate_download,
        Column::Up => listed.rate_upload,
        // What never ends comes last.
        Column::Eta => eta_key(listed.eta),
        Column::Ratio => float_key(listed.upload_ratio),
        Column::Peers => listed.peers_connected.into(),
        Column::Seeds => entry.seeds().map_or(0, signed_key),
        Column::Added => signed_key(listed.added_date),
        Column::Label => listed.labels.first().map_or(0, |label| text_key(label)),
        Column::Downloaded => listed.downloaded_ever,
        Column::Uploaded => listed.uploaded_ever,
        Column::Done => signed_key(listed.done_date),
        Column::Folder => text_key(&listed.download_dir),
    }
}

/// In the order of signed numbers.
fn signed_key(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

/// In the order of [`f64::total_cmp`].
fn float_key(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

/// The first eight bytes.
fn text_key(text: &str) -> u64 {
    let mut start = [0; 8];
    let length = text.len().min(8);
    start[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(start)
}

fn eta_key(eta: i64) -> u64 {
    u64::try_from(eta).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Listed, ListedTracker};

    /// Torrents that differ in everything, with many ties and all signs.
    fn torrents() -> Vec<Entry> {
        let mut state = 1u64;
        let mut draw = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let texts = [
            "",
            "a",
            "a\0",
            "ab",
            "Torrent 00001",
            "torrent 00002",
            "Torrent 1",
            "ünïcode",
            "zz",
            "\u{10ffff}",
        ];
        (0..200)
            .map(|id| {
                let mut text = || texts[draw(texts.len() as u64) as usize].to_owned();
                let (name, download_dir, label, other) = (text(), text(), text(), text());
                let mut number = || [0, 1, 255, 256, u64::MAX >> 1, u64::MAX][draw(6) as usize];
                let (size_when_done, rate_download, rate_upload) = (number(), number(), number());
                let (downloaded_ever, uploaded_ever) = (number(), number());
                let mut signed = || [i64::MIN, -2, -1, 0, 1, 256, i64::MAX][draw(7) as usize];
                let (eta, queue_position, added_date, done_date) = (signed(), signed(), signed(), signed());
                let seeder_count = signed();
                let mut float = || [-1.0, -0.5, 0.0, -0.0, 0.5, 1.0, 1e9][draw(7) as usize];
                let (percent_done, upload_ratio) = (float(), float());
                let labels = [vec![], vec![label.clone()], vec![label, other]];
                Entry::new(Listed {
                    id,
                    name,
                    download_dir,
                    labels: labels[draw(3) as usize].clone(),
                    status: draw(7) as u8,
                    size_when_done,
                    rate_download,
                    rate_upload,
                    downloaded_ever,
                    uploaded_ever,
                    eta,
                    queue_position,
                    added_date,
                    done_date,
                    percent_done,
                    upload_ratio,
                    peers_connected: draw(3) as u32,
                    tracker_stats: Some(vec![ListedTracker { seeder_count, ..ListedTracker::default() }]),
                    ..Listed::default()
                })
            })
            .collect()
    }

    /// What the columns mean, without numbers.
    fn plain(column: Column, one: &Entry, other: &Entry) -> Ordering {
        let (a, b) = (&one.listed, &other.listed);
        match column {
            Column::Queue => a.queue_position.cmp(&b.queue_position),
            Column::Name => one.name_key.cmp(&other.name_key),
            Column::Size => a.size_when_done.cmp(&b.size_when_done),
            Column::Progress => a.percent_done.total_cmp(&b.percent_done),
            Column::State => one.state().rank().cmp(&other.state().rank()),
            Column::Down => a.rate_download.cmp(&b.rate_download),
            Column::Up => a.rate_upload.cmp(&b.rate_upload),
            // What never ends comes last.
            Column::Eta => eta_key(a.eta).cmp(&eta_key(b.eta)),
            Column::Ratio => a.upload_ratio.total_cmp(&b.upload_ratio),
            Column::Peers => a.peers_connected.cmp(&b.peers_connected),
            Column::Seeds => one.seeds().cmp(&other.seeds()),
            Column::Added => a.added_date.cmp(&b.added_date),
            Column::Label => a.labels.cmp(&b.labels),
            Column::Downloaded => a.downloaded_ever.cmp(&b.downloaded_ever),
            Column::Uploaded => a.uploaded_ever.cmp(&b.uploaded_ever),
            Column::Done => a.done_date.cmp(&b.done_date),
            Column::Folder => a.download_dir.cmp(&b.download_dir),
        }
    }

    /// The order of rows: by column, then by name, then by id.
    fn compare(order: Order, one: &Entry, other: &Entry) -> Ordering {
        let by_column = plain(order.column, one, other);
        let by_column = if order.descending { by_column.reverse() } else { by_column };
        by_column
            .then_with(|| one.name_key.cmp(&other.name_key))
            .then_with(|| one.listed.id.cmp(&other.listed.id))
    }

    #[test]
    fn keys_never_contradict_the_order() {
        let torrents = torrents();
        for column in Column::ALL {
            for descending in [false, true] {
                let order = Order { column, descending };
                for (one, other) in
                    torrents.iter().flat_map(|one| torrents.iter().map(move |other| (one, other)))
                {
                    let (by_key, all) = (order.key(one).cmp(&order.key(other)), compare(order, one, other));
                    assert!(by_key == Ordering::Equal || by_key == all, "{order:?}: {one:?}, {other:?}");
                    let both = by_key.then_with(|| order.compare_rest(one, other));
                    assert_eq!(both, all, "{order:?}: {one:?}, {other:?}");
                }
            }
        }
    }
}
