//! Which columns are shown, and how wide.

use super::generated::{ColumnChoice, ColumnInfo, MainWindow, TableAdapter};
use ringseed_gui::settings::ColumnSetting;
use ringseed_gui::torrents::Column;
use slint::{ComponentHandle, ModelRc, VecModel};
use std::cell::RefCell;
use std::rc::Rc;

pub(super) struct Columns {
    chosen: RefCell<Vec<ColumnSetting>>,
    model: Rc<VecModel<ColumnInfo>>,
    choices: Rc<VecModel<ColumnChoice>>,
}

impl Columns {
    pub(super) fn new(columns: Vec<ColumnSetting>) -> Columns {
        Columns { chosen: RefCell::new(columns), model: Rc::default(), choices: Rc::default() }
    }

    pub(super) fn connect(&self, window: &MainWindow) {
        let adapter = window.global::<TableAdapter>();
        adapter.set_columns(ModelRc::from(self.model.clone()));
        adapter.set_choices(ModelRc::from(self.choices.clone()));
        let number = |column: Column| super::row_number(column.index());
        adapter.set_name_column(number(Column::Name));
        adapter.set_state_column(number(Column::State));
        adapter.set_down_column(number(Column::Down));
        adapter.set_up_column(number(Column::Up));
        adapter.set_progress_column(number(Column::Progress));
        self.show(window);
    }

    /// Gives a column another width.
    pub(super) fn resize(&self, window: &MainWindow, column: Column, width: f32) {
        self.change(column, |setting| setting.width = width.clamp(32.0, 2000.0));
        self.show(window);
    }

    /// Shows a column, or hides it. Names stay.
    pub(super) fn toggle(&self, window: &MainWindow, column: Column) {
        self.change(column, |setting| setting.shown = !setting.shown || column == Column::Name);
        self.show(window);
    }

    /// All, for the settings.
    pub(super) fn settings(&self) -> Vec<ColumnSetting> {
        self.chosen.borrow().clone()
    }

    fn change(&self, column: Column, change: impl Fn(&mut ColumnSetting)) {
        self.chosen.borrow_mut().iter_mut().filter(|setting| setting.column == column).for_each(change);
    }

    fn show(&self, window: &MainWindow) {
        let mut x = 0.0;
        let mut behind = false;
        let mut columns = Vec::new();
        let chosen = self.chosen.borrow();
        for setting in chosen.iter().filter(|setting| setting.shown) {
            let column = setting.column;
            let flexible = column == Column::Name;
            columns.push(ColumnInfo {
                id: super::row_number(column.index()),
                title: column.title().into(),
                x,
                width: setting.width,
                right: column.is_number() && column != Column::Progress,
                flexible,
                behind,
            });
            x += setting.width;
            behind |= flexible;
        }
        super::fill(&self.model, columns);
        let choice = |setting: &ColumnSetting| ColumnChoice {
            id: super::row_number(setting.column.index()),
            title: if setting.column == Column::Queue {
                "Queue".into()
            } else {
                setting.column.title().into()
            },
            shown: setting.shown,
        };
        super::fill(&self.choices, chosen.iter().map(choice).collect());
        window.global::<TableAdapter>().set_columns_width(x);
    }
}
