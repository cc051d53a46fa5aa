//! The rows of the table as a model that makes a row only when it is looked at: of ten thousand torrents, some
//! thirty are in view.

use super::context::Context;
use super::generated::{StateKind, TorrentRow};
use ringseed_gui::torrents::{Row, State, TableChange};
use slint::{Model, ModelNotify, ModelRc, ModelTracker, SharedString, VecModel};
use std::cell::Cell;
use std::rc::Weak;

pub(super) struct Rows {
    context: Weak<Context>,
    count: Cell<usize>,
    notify: ModelNotify,
}

impl Rows {
    pub(super) fn new(context: Weak<Context>) -> Rows {
        Rows { context, count: Cell::new(0), notify: ModelNotify::default() }
    }

    /// Tells the views what changed. The controller must not be borrowed.
    pub(super) fn changed(&self, change: &TableChange) {
        if change.is_empty() {
            return;
        }
        self.count.set(change.new_len);
        if change.new_len > change.old_len {
            self.notify.row_added(change.old_len, change.new_len - change.old_len);
        } else if change.new_len < change.old_len {
            self.notify.row_removed(change.new_len, change.old_len - change.new_len);
        }
        for index in &change.changed {
            self.notify.row_changed(*index);
        }
    }
}

impl Model for Rows {
    type Data = TorrentRow;

    fn row_count(&self) -> usize {
        self.count.get()
    }

    fn row_data(&self, row: usize) -> Option<TorrentRow> {
        let context = self.context.upgrade()?;
        let app = context.app.try_borrow().ok()?;
        app.table().row(row).map(shown)
    }

    fn model_tracker(&self) -> &dyn ModelTracker {
        &self.notify
    }
}

fn shown(row: Row) -> TorrentRow {
    let cells: Vec<SharedString> = row.cells.into_iter().map(SharedString::from).collect();
    TorrentRow {
        cells: ModelRc::new(VecModel::from(cells)),
        progress: row.progress,
        kind: match row.state {
            State::Error => StateKind::Error,
            State::Metadata | State::Downloading => StateKind::Downloading,
            State::Seeding => StateKind::Seeding,
            State::Done => StateKind::Done,
            State::Paused => StateKind::Paused,
            State::Checking => StateKind::Checking,
            State::DownloadQueued | State::SeedQueued | State::CheckQueued => StateKind::Waiting,
        },
        warning: row.warning,
        selected: row.selected,
        current: row.current,
    }
}
