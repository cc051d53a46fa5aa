//! The side bar: states, labels and trackers with how many torrents each has.

use super::entry::Entry;
use super::filter::{Filter, Fits, StateFilter};
use std::collections::BTreeMap;

/// A part of the side bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Section {
    States,
    Labels,
    Trackers,
}

/// What a click on an item chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Torrents that do this.
    State(StateFilter),
    /// Torrents with this label, any, or none (empty text).
    Label(Option<String>),
    /// Torrents with a tracker at this host, any, or none (empty text).
    Tracker(Option<String>),
}

/// One line of the side bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidebarItem {
    /// Part that it is in.
    pub section: Section,
    /// Text.
    pub title: String,
    /// How many torrents.
    pub count: usize,
    /// Whether it is chosen.
    pub chosen: bool,
    /// What it chooses.
    pub choice: Choice,
}

/// How many torrents fit what, kept up to date by each that comes, changes or goes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: usize,
    states: [usize; StateFilter::ALL.len()],
    /// The empty label or host stands for none.
    labels: BTreeMap<String, usize>,
    hosts: BTreeMap<String, usize>,
}

impl Counts {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.all += 1;
        self.move_states(&Fits::default(), &entry.states);
        add_names(&mut self.labels, &entry.listed.labels);
        add_names(&mut self.hosts, &entry.hosts);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.all -= 1;
        self.move_states(&entry.states, &Fits::default());
        remove_names(&mut self.labels, &entry.listed.labels);
        remove_names(&mut self.hosts, &entry.hosts);
    }

    pub(super) fn move_states(&mut self, from: &Fits, to: &Fits) {
        for ((count, from), to) in self.states.iter_mut().zip(from).zip(to) {
            *count = *count + usize::from(*to) - usize::from(*from);
        }
    }

    pub(super) fn move_labels(&mut self, from: &[String], to: &[String]) {
        remove_names(&mut self.labels, from);
        add_names(&mut self.labels, to);
    }

    pub(super) fn move_hosts(&mut self, from: &[String], to: &[String]) {
        remove_names(&mut self.hosts, from);
        add_names(&mut self.hosts, to);
    }
}

fn or_none(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).chain(names.is_empty().then_some(""))
}

fn add_names(counts: &mut BTreeMap<String, usize>, names: &[String]) {
    for name in or_none(names) {
        match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(counts.insert(name.to_owned(), 1)),
        }
    }
}

fn remove_names(counts: &mut BTreeMap<String, usize>, names: &[String]) {
    for name in or_none(names) {
        if let Some(count) = counts.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                counts.remove(name);
            }
        }
    }
}

pub(super) fn items(counts: &Counts, filter: &Filter) -> Vec<SidebarItem> {
    let mut items: Vec<SidebarItem> = StateFilter::ALL
        .iter()
        .zip(counts.states)
        .map(|(state, count)| SidebarItem {
            section: Section::States,
            title: state.title().to_owned(),
            count,
            chosen: filter.state == *state,
            choice: Choice::State(*state),
        })
        .collect();
    let mut group = |section, chosen: &Option<String>, names: &BTreeMap<String, usize>, none: &str| {
        let choice = |name: Option<String>| match section {
            Section::Labels => Choice::Label(name),
            _ => Choice::Tracker(name),
        };
        items.push(SidebarItem {
            section,
            title: "All".to_owned(),
            count: counts.all,
            chosen: chosen.is_none(),
            choice: choice(None),
        });
        for (name, &count) in names {
            items.push(SidebarItem {
                section,
                title: if name.is_empty() { none } else { name }.to_owned(),
                count,
                chosen: chosen.as_ref() == Some(name),
                choice: choice(Some(name.clone())),
            });
        }
    };
    group(Section::Labels, &filter.label, &counts.labels, "No label");
    group(Section::Trackers, &filter.tracker, &counts.hosts, "No tracker");
    items
}
