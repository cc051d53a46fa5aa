//! The side bar: states, labels and trackers with how many torrents each has.

use super::filter::{Filter, StateFilter};
use super::table::Entry;
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

pub(super) fn items<'a>(entries: impl Iterator<Item = &'a Entry>, filter: &Filter) -> Vec<SidebarItem> {
    let mut states = [0usize; StateFilter::ALL.len()];
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = 0;
    for entry in entries {
        all += 1;
        for (count, state) in states.iter_mut().zip(StateFilter::ALL) {
            *count += usize::from(state.fits(entry));
        }
        for label in &entry.listed.labels {
            *labels.entry(label).or_default() += 1;
        }
        if entry.listed.labels.is_empty() {
            *labels.entry("").or_default() += 1;
        }
        for host in &entry.hosts {
            *hosts.entry(host).or_default() += 1;
        }
        if entry.hosts.is_empty() {
            *hosts.entry("").or_default() += 1;
        }
    }
    let mut items: Vec<SidebarItem> = StateFilter::ALL
        .iter()
        .zip(states)
        .map(|(state, count)| SidebarItem {
            section: Section::States,
            title: state.title().to_owned(),
            count,
            chosen: filter.state == *state,
            choice: Choice::State(*state),
        })
        .collect();
    let mut group = |section, chosen: &Option<String>, counts: BTreeMap<&str, usize>, none: &str| {
        let choice = |name: Option<String>| match section {
            Section::Labels => Choice::Label(name),
            _ => Choice::Tracker(name),
        };
        items.push(SidebarItem {
            section,
            title: "All".to_owned(),
            count: all,
            chosen: chosen.is_none(),
            choice: choice(None),
        });
        for (name, count) in counts {
            items.push(SidebarItem {
                section,
                title: if name.is_empty() { none.to_owned() } else { name.to_owned() },
                count,
                chosen: chosen.as_deref() == Some(name),
                choice: choice(Some(name.to_owned())),
            });
        }
    };
    group(Section::Labels, &filter.label, labels, "No label");
    group(Section::Trackers, &filter.tracker, hosts, "No tracker");
    items
}
