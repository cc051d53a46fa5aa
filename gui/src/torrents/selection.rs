//! Which rows are selected, as file lists do it: a click, Ctrl and Shift with it, arrow keys.

use std::collections::HashSet;

/// A click on a row, or what a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Click {
    /// Add or take away this one.
    pub toggle: bool,
    /// Everything from the last plain click to here.
    pub range: bool,
}

/// A move of the current row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This many rows down, or up when negative.
    By(i32),
    /// The first row.
    First,
    /// The last row.
    Last,
}

/// Selected torrents by id, so that they stay selected when the order changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) ids: HashSet<u32>,
    /// The row of the keyboard.
    pub(super) current: Option<u32>,
    /// Where ranges start.
    anchor: Option<u32>,
}

impl Selection {
    pub(super) fn click(&mut self, id: u32, click: Click, shown: &[u32]) {
        if click.range {
            let place =
                |wanted: Option<u32>| wanted.and_then(|id| shown.iter().position(|shown| *shown == id));
            let to = place(Some(id)).unwrap_or(0);
            let from = place(self.anchor).unwrap_or(to);
            if !click.toggle {
                self.ids.clear();
            }
            let (low, high) = (from.min(to), from.max(to));
            self.ids.extend(shown.get(low..=high).unwrap_or_default());
        } else if click.toggle {
            if !self.ids.remove(&id) {
                self.ids.insert(id);
            }
            self.anchor = Some(id);
        } else {
            self.ids.clear();
            self.ids.insert(id);
            self.anchor = Some(id);
        }
        self.current = Some(id);
    }

    pub(super) fn all(&mut self, shown: &[u32]) {
        self.ids = shown.iter().copied().collect();
    }

    pub(super) fn clear(&mut self) {
        *self = Selection::default();
    }

    pub(super) fn is_clear(&self) -> bool {
        self.ids.is_empty() && self.current.is_none() && self.anchor.is_none()
    }

    /// Forgets torrents that are not shown.
    pub(super) fn keep_only(&mut self, shown: &HashSet<u32>) {
        self.ids.retain(|id| shown.contains(id));
        self.current = self.current.filter(|id| shown.contains(id));
        self.anchor = self.anchor.filter(|id| shown.contains(id));
    }

    /// The row that a step leads to.
    pub(super) fn target(&self, step: Step, shown: &[u32]) -> Option<usize> {
        let last = shown.len().checked_sub(1)?;
        let at = self.current.and_then(|id| shown.iter().position(|shown| *shown == id));
        Some(match (step, at) {
            (Step::First, _) | (Step::By(_), None) => 0,
            (Step::Last, _) => last,
            (Step::By(rows), Some(at)) => at.saturating_add_signed(rows as isize).min(last),
        })
    }
}
