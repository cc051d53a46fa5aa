//! All torrents of the engine, and the rows that are shown of them.

use super::change::TableChange;
use super::column::{Column, Order};
use super::filter::Filter;
use super::row::{Row, State};
use super::selection::{Click, Selection, Step};
use super::sidebar::{self, Choice, SidebarItem};
use crate::rpc::Listed;
use std::collections::{HashMap, HashSet, hash_map};

/// A torrent with what is worked out once.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) listed: Listed,
    /// The name in lower case.
    pub(super) name_key: String,
    /// Hosts of its trackers, each once.
    pub(super) hosts: Vec<String>,
}

impl Entry {
    pub(super) fn new(listed: Listed) -> Entry {
        Entry { name_key: listed.name.to_lowercase(), hosts: hosts(&listed), listed }
    }

    /// Takes news; what they leave out about trackers stays as it was. Returns whether they are new.
    fn renew(&mut self, listed: Listed) -> bool {
        let mut old = std::mem::replace(&mut self.listed, listed);
        // They are left out most of the time, so they are moved, not copied.
        let trackers = if self.listed.tracker_stats.is_none() { old.tracker_stats.take() } else { None };
        let changed = old != self.listed;
        if trackers.is_some() {
            self.listed.tracker_stats = trackers;
        } else if old.tracker_stats != self.listed.tracker_stats {
            self.hosts = hosts(&self.listed);
        }
        if old.name != self.listed.name {
            self.name_key = self.listed.name.to_lowercase();
        }
        changed
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

/// The table.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<u32, Entry>,
    shown: Vec<u32>,
    filter: Filter,
    order: Order,
    selection: Selection,
}

impl Table {
    /// Takes a complete list. Torrents that are not in it are gone.
    pub fn replace(&mut self, torrents: Vec<Listed>) -> TableChange {
        let mut before = std::mem::take(&mut self.entries);
        let mut changed = HashSet::new();
        for listed in torrents {
            let id = listed.id;
            match before.remove(&id) {
                Some(entry) if entry.listed == listed => drop(self.entries.insert(id, entry)),
                _ => {
                    changed.insert(id);
                    self.entries.insert(id, Entry::new(listed));
                }
            }
        }
        self.relist(&changed)
    }

    /// Forgets everything: another engine has other torrents.
    pub fn clear(&mut self) -> TableChange {
        self.selection.clear();
        self.replace(Vec::new())
    }

    /// Takes news of some torrents. What news leave out about trackers stays as it was.
    pub fn update(&mut self, torrents: Vec<Listed>, removed: &[u32]) -> TableChange {
        let mut changed = HashSet::new();
        let mut gone = false;
        for listed in torrents {
            let id = listed.id;
            let is_news = match self.entries.entry(id) {
                hash_map::Entry::Occupied(mut known) => known.get_mut().renew(listed),
                hash_map::Entry::Vacant(free) => {
                    free.insert(Entry::new(listed));
                    true
                }
            };
            if is_news {
                changed.insert(id);
            }
        }
        for id in removed {
            // An id is never used again, so news of it in the same answer would be a contradiction.
            if !changed.contains(id) {
                gone |= self.entries.remove(id).is_some();
            }
        }
        if changed.is_empty() && !gone {
            return TableChange { changed: Vec::new(), old_len: self.shown.len(), new_len: self.shown.len() };
        }
        self.relist(&changed)
    }

    /// How many torrents the engine has.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// How many rows are shown.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether no row is shown.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// A shown row.
    pub fn row(&self, index: usize) -> Option<Row> {
        let id = self.shown.get(index)?;
        let entry = self.entries.get(id)?;
        Some(Row::of(entry, self.selection.ids.contains(id), self.selection.current == Some(*id)))
    }

    /// A torrent.
    pub fn listed(&self, id: u32) -> Option<&Listed> {
        self.entries.get(&id).map(|entry| &entry.listed)
    }

    /// What is shown.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows what fits `filter`.
    pub fn set_filter(&mut self, filter: Filter) -> TableChange {
        self.filter = filter;
        self.relist(&HashSet::new())
    }

    /// Follows a click in the side bar.
    pub fn choose(&mut self, choice: Choice) -> TableChange {
        let mut filter = self.filter.clone();
        match choice {
            Choice::State(state) => filter.state = state,
            Choice::Label(label) => filter.label = label,
            Choice::Tracker(tracker) => filter.tracker = tracker,
        }
        self.set_filter(filter)
    }

    /// The order of rows.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Orders the rows.
    pub fn set_order(&mut self, order: Order) -> TableChange {
        self.order = order;
        self.relist(&HashSet::new())
    }

    /// Follows a click on a heading.
    pub fn click_heading(&mut self, column: Column) -> TableChange {
        self.set_order(self.order.clicked(column))
    }

    /// Lines of the side bar.
    pub fn sidebar(&self) -> Vec<SidebarItem> {
        sidebar::items(self.entries.values(), &self.filter)
    }

    /// Ids of the selected torrents in the order of their rows.
    pub fn selected(&self) -> Vec<u32> {
        self.shown.iter().copied().filter(|id| self.selection.ids.contains(id)).collect()
    }

    /// The one torrent that details are shown of.
    pub fn current(&self) -> Option<u32> {
        self.selection.current.filter(|id| self.selection.ids.contains(id)).or_else(|| {
            let selected = self.selected();
            (selected.len() == 1).then(|| selected[0])
        })
    }

    /// Row of the keyboard.
    pub fn current_row(&self) -> Option<usize> {
        let current = self.selection.current?;
        self.shown.iter().position(|id| *id == current)
    }

    /// Follows a click on a row.
    pub fn click(&mut self, index: usize, click: Click) -> TableChange {
        let Some(id) = self.shown.get(index).copied() else {
            return self.selection_change(&HashSet::new(), None);
        };
        let (ids, current) = (self.selection.ids.clone(), self.selection.current);
        self.selection.click(id, click, &self.shown);
        self.selection_change(&ids, current)
    }

    /// Follows a right click: a selected row keeps the selection, another one replaces it.
    pub fn point(&mut self, index: usize) -> TableChange {
        let selected = self.shown.get(index).is_some_and(|id| self.selection.ids.contains(id));
        if selected {
            self.selection_change(&self.selection.ids.clone(), self.selection.current)
        } else {
            self.click(index, Click::default())
        }
    }

    /// Follows an arrow key; `extend` is Shift.
    pub fn step(&mut self, step: Step, extend: bool) -> TableChange {
        match self.selection.target(step, &self.shown) {
            Some(index) => self.click(index, Click { toggle: false, range: extend }),
            None => self.selection_change(&HashSet::new(), None),
        }
    }

    /// Selects every row.
    pub fn select_all(&mut self) -> TableChange {
        let (ids, current) = (self.selection.ids.clone(), self.selection.current);
        self.selection.all(&self.shown);
        self.selection_change(&ids, current)
    }

    /// Selects none.
    pub fn select_none(&mut self) -> TableChange {
        let (ids, current) = (self.selection.ids.clone(), self.selection.current);
        self.selection.clear();
        self.selection_change(&ids, current)
    }

    /// Rows whose selection is not what it was.
    fn selection_change(&self, before: &HashSet<u32>, current: Option<u32>) -> TableChange {
        let now = &self.selection;
        let differs = |id: &u32| {
            before.contains(id) != now.ids.contains(id)
                || (current == Some(*id)) != (now.current == Some(*id))
        };
        TableChange {
            changed: (0..).zip(&self.shown).filter(|(_, id)| differs(id)).map(|(index, _)| index).collect(),
            old_len: self.shown.len(),
            new_len: self.shown.len(),
        }
    }

    /// Works out the rows anew, and how they differ from those before.
    fn relist(&mut self, changed: &HashSet<u32>) -> TableChange {
        let words = self.filter.words();
        // In the order of before, which most news leave nearly as it is, and so does the sort.
        let mut fitting: Vec<(u64, &Entry)> = Vec::with_capacity(self.entries.len());
        let mut add = |entry| {
            if self.filter.fits(entry, &words) {
                fitting.push((self.order.key(entry), entry));
            }
        };
        self.shown.iter().filter_map(|id| self.entries.get(id)).for_each(&mut add);
        if self.shown.len() < self.entries.len() {
            let shown: HashSet<u32> = self.shown.iter().copied().collect();
            self.entries.values().filter(|entry| !shown.contains(&entry.listed.id)).for_each(&mut add);
        }
        fitting.sort_by(|(one_key, one), (other_key, other)| {
            one_key.cmp(other_key).then_with(|| self.order.compare(one, other))
        });
        let shown: Vec<u32> = fitting.into_iter().map(|(_, entry)| entry.listed.id).collect();
        let before = std::mem::replace(&mut self.shown, shown);
        if before != self.shown && !self.selection.is_clear() {
            self.selection.keep_only(&self.shown.iter().copied().collect());
        }
        let differs = |(_, (old, new)): &(usize, (&u32, &u32))| old != new || changed.contains(*new);
        TableChange {
            changed: before
                .iter()
                .zip(&self.shown)
                .enumerate()
                .filter(differs)
                .map(|(index, _)| index)
                .collect(),
            old_len: before.len(),
            new_len: self.shown.len(),
        }
    }
}
