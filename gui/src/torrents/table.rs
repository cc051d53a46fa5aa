//! All torrents of the engine, and the rows that are shown of them.

use super::change::TableChange;
use super::column::{Column, Order};
use super::entry::Entry;
use super::filter::Filter;
use super::row::Row;
use super::selection::{Click, Selection, Step};
use super::sidebar::{self, Choice, Counts, SidebarItem};
use crate::rpc::Listed;
use std::collections::{HashMap, HashSet, hash_map};
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes ids, which the engine counts up, so that ten thousand are looked up in no time.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn write_u32(&mut self, number: u32) {
        // An odd number of which all bits are mixed: the golden ratio's.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type ById<V> = HashMap<u32, V, BuildHasherDefault<IdHasher>>;
type Ids = HashSet<u32, BuildHasherDefault<IdHasher>>;

/// The table.
#[derive(Debug, Default)]
pub struct Table {
    entries: ById<Entry>,
    counts: Counts,
    shown: Vec<u32>,
    filter: Filter,
    order: Order,
    selection: Selection,
}

impl Table {
    /// Takes a complete list. Torrents that are not in it are gone.
    pub fn replace(&mut self, torrents: Vec<Listed>) -> TableChange {
        let mut before = std::mem::take(&mut self.entries);
        self.counts = Counts::default();
        let mut changed = Ids::default();
        for listed in torrents {
            let id = listed.id;
            let entry = match before.remove(&id) {
                Some(entry) if entry.listed == listed => entry,
                old => {
                    changed.insert(id);
                    let place = old.map(|entry| entry.place).unwrap_or_default();
                    Entry { place, ..Entry::new(listed) }
                }
            };
            self.counts.add(&entry);
            self.entries.insert(id, entry);
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
        let words = self.filter.words();
        let mut changed = Ids::default();
        let mut moved = false;
        for listed in torrents {
            let id = listed.id;
            match self.entries.entry(id) {
                hash_map::Entry::Occupied(mut known) => {
                    let entry = known.get_mut();
                    let renewed = entry.renew(listed, &mut self.counts);
                    if renewed.changed {
                        changed.insert(id);
                        moved |=
                            renewed.texts || entry.place(&self.filter, &words, self.order) != entry.place;
                    }
                }
                hash_map::Entry::Vacant(free) => {
                    self.counts.add(free.insert(Entry::new(listed)));
                    changed.insert(id);
                    moved = true;
                }
            }
        }
        for id in removed {
            // An id is never used again, so news of it in the same answer would be a contradiction.
            if !changed.contains(id)
                && let Some(entry) = self.entries.remove(id)
            {
                self.counts.remove(&entry);
                moved = true;
            }
        }
        if moved {
            return self.relist(&changed);
        }
        let rows = (0..).zip(&self.shown).filter(|(_, id)| changed.contains(id)).map(|(row, _)| row);
        let changed = if changed.is_empty() { Vec::new() } else { rows.collect() };
        TableChange { changed, old_len: self.shown.len(), new_len: self.shown.len() }
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
        self.relist(&Ids::default())
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
        self.relist(&Ids::default())
    }

    /// Follows a click on a heading.
    pub fn click_heading(&mut self, column: Column) -> TableChange {
        self.set_order(self.order.clicked(column))
    }

    /// Lines of the side bar.
    pub fn sidebar(&self) -> Vec<SidebarItem> {
        sidebar::items(&self.counts, &self.filter)
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
    fn relist(&mut self, changed: &Ids) -> TableChange {
        let words = self.filter.words();
        // In the order of before, which most news leave nearly as it is, and so does the sort.
        let mut new = Vec::new();
        for entry in self.entries.values_mut() {
            let before = entry.place.fits;
            entry.place = entry.place(&self.filter, &words, self.order);
            if entry.place.fits && !before {
                new.push(entry.listed.id);
            }
        }
        let known = self.shown.iter().chain(&new).filter_map(|id| self.entries.get(id));
        let mut fitting: Vec<(u64, &Entry)> =
            known.filter(|entry| entry.place.fits).map(|entry| (entry.place.key, entry)).collect();
        fitting.sort_by(|(one_key, one), (other_key, other)| {
            one_key.cmp(other_key).then_with(|| self.order.compare_rest(one, other))
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
