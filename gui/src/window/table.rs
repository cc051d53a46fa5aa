//! The torrent table.

use super::context::Context;
use super::generated::{MainWindow, TableAdapter};
use ringseed_api::AddArgs;
use ringseed_gui::App;
use ringseed_gui::add::links;
use ringseed_gui::torrents::{Click, Column, Step};
use slint::ComponentHandle;
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    context.columns.connect(window);
    let adapter = window.global::<TableAdapter>();
    let own = context.clone();
    adapter.on_row_clicked(move |row, control, shift| {
        own.act(|app| app.click(index(row), Click { toggle: control, range: shift }));
    });
    let own = context.clone();
    adapter.on_row_pointed(move |row| own.act(|app| app.point(index(row))));
    let own = context.clone();
    adapter.on_step(move |rows, shift| own.act(|app| app.step(Step::By(rows), shift)));
    let own = context.clone();
    adapter.on_step_to_end(move |last, shift| {
        own.act(|app| app.step(if last { Step::Last } else { Step::First }, shift));
    });
    let own = context.clone();
    adapter.on_select_all(move || own.act(App::select_all));
    let own = context.clone();
    adapter.on_select_none(move || own.act(App::select_none));
    let own = context.clone();
    adapter.on_heading_clicked(move |id| {
        if let Some(column) = column(id) {
            own.act(|app| app.click_heading(column));
        }
    });
    let own = context.clone();
    adapter.on_column_resized(move |id, width| {
        if let (Some(column), Some(window)) = (column(id), own.window.upgrade()) {
            own.columns.resize(&window, column, width);
        }
    });
    let own = context.clone();
    adapter.on_column_toggled(move |id| {
        if let (Some(column), Some(window)) = (column(id), own.window.upgrade()) {
            own.columns.toggle(&window, column);
            own.remember(|settings| settings.columns = own.columns.settings());
        }
    });
    let own = context.clone();
    adapter.on_resized(move || own.remember(|settings| settings.columns = own.columns.settings()));
    let own = context.clone();
    adapter.on_row_activated(move |_| own.act(App::toggle_running));
    let own = context.clone();
    adapter.on_pasted(move |text| paste(&own, &text));
    let weak = window.as_weak();
    adapter.on_heading_pointed(move |x, y| {
        if let Some(window) = weak.upgrade() {
            window.invoke_show_columns_menu(x, y);
        }
    });
    let weak = window.as_weak();
    adapter.on_context_menu(move |x, y| {
        if let Some(window) = weak.upgrade() {
            window.invoke_show_menu(x, y);
        }
    });
}

/// Adds the files and links of a text.
fn paste(context: &Context, text: &str) {
    let links = links(text);
    if let (true, Some(window)) = (links.is_empty(), context.window.upgrade()) {
        super::say(&window, "There is no link and no path of a torrent in the clipboard.", true);
    }
    for link in links {
        context.act(|app| app.add(&link, &AddArgs::default()));
    }
}

pub(super) fn show(window: &MainWindow, app: &App) {
    let adapter = window.global::<TableAdapter>();
    adapter.set_current_row(app.table().current_row().map_or(-1, super::row_number));
    let (title, text) = if app.table().total() == 0 {
        ("No torrents yet", "Add a torrent file or a magnet link to start.")
    } else {
        ("Nothing fits", "No torrent fits the filter and the search.")
    };
    adapter.set_empty_title(title.into());
    adapter.set_empty_text(text.into());
}

pub(super) fn show_order(window: &MainWindow, app: &App) {
    let adapter = window.global::<TableAdapter>();
    let order = app.table().order();
    adapter.set_sort_column(super::row_number(order.column.index()));
    adapter.set_sort_descending(order.descending);
}

fn index(row: i32) -> usize {
    usize::try_from(row).unwrap_or(usize::MAX)
}

fn column(id: i32) -> Option<Column> {
    Column::ALL.get(index(id)).copied()
}
