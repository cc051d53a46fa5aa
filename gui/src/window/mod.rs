//! Between Slint and the controller: one module per view, each with its global adapter.

mod add;
mod columns;
mod connection;
mod context;
mod create;
mod details;
mod dropped;
mod generated;
mod limits;
mod notify;
mod preferences;
mod rows;
mod sidebar;
mod status;
mod table;
mod toolbar;

use context::Context;
use generated::{
    AboutAdapter, ColorScheme, DetailsAdapter, Dialog, MainWindow, Palette, StatusAdapter, TableAdapter,
    WindowAdapter,
};
use ringseed_api::AddArgs;
use ringseed_gui::args::Args;
use ringseed_gui::endpoint::Endpoint;
use ringseed_gui::instance::{self, Instance};
use ringseed_gui::settings::Settings;
use ringseed_gui::theme::Theme;
use ringseed_gui::{App, Redraw, quantity, rpc};
use slint::{ComponentHandle, LogicalSize, Model, ModelRc};
use std::rc::Rc;

/// Opens the window and runs until it is closed.
///
/// # Errors
/// There is no display, or the arguments cannot be used. For people.
pub fn run(args: &Args) -> Result<(), String> {
    let path = ringseed_gui::settings::default_path();
    let mut remembered = path.as_deref().map(Settings::load).unwrap_or_default();
    let alone = std::env::var_os("RINGSEED_GUI_ALLOW_MULTIPLE").is_none_or(|value| value != "1");
    let torrents = instance::absolute(&args.torrents);
    let first = match alone.then(|| instance::enter(&instance::default_directory(), &torrents)).transpose() {
        Ok(Some(Instance::Second)) => return Ok(()),
        Ok(Some(Instance::First(first))) => Some(first),
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "other windows cannot be told from this one");
            None
        }
    };
    let given = args.connect.as_deref().map(Endpoint::parse).transpose()?;
    let remote = given.is_some();
    let endpoint = given.or_else(|| connection::endpoint(&remembered)).unwrap_or_else(Endpoint::local);
    if let Some(theme) = args.theme {
        remembered.theme = theme;
    }

    let window = MainWindow::new().map_err(|error| format!("cannot open a window: {error}"))?;
    // The engine's thread wakes the window; the news are taken one by one on the window's own thread.
    let awake = window.as_weak();
    let link = rpc::start(endpoint.clone(), move || {
        // Fails only while the window is being closed.
        let _ = awake.upgrade_in_event_loop(|window| window.global::<WindowAdapter>().invoke_news());
    })
    .map_err(|error| format!("cannot start the engine's thread: {error}"))?;

    let app = App::new(&endpoint, link.sender());
    let context = Context::new(&window, app, remembered, path);
    if !alone {
        // Each of several windows has an engine of its own.
        context.keep_apart();
    }
    // One of several windows starts its own at once, whoever answers.
    context.may_start_engine.set(alone && !remote && endpoint.is_local());
    window.global::<TableAdapter>().set_rows(ModelRc::from(context.rows.clone()));
    table::connect(&window, &context);
    sidebar::connect(&window, &context);
    details::connect(&window, &context);
    toolbar::connect(&window, &context);
    status::connect(&window, &context);
    add::connect(&window, &context);
    create::connect(&window, &context);
    dropped::connect(&context);
    connection::connect(&window, &context);
    preferences::connect(&window, &context);
    limits::connect(&window, &context);
    connect_window(&window, &context);

    let news = context.clone();
    window.global::<WindowAdapter>().on_news(move || {
        while let Some(event) = link.try_next() {
            tracing::trace!(?event, "news");
            news.on_event(event);
        }
    });
    if let Some(first) = first {
        let weak = window.as_weak();
        let listening = first.listen(move |handed| {
            // Fails only while the window is being closed.
            let _ = weak.upgrade_in_event_loop(move |window| {
                for torrent in handed.torrents {
                    window.global::<WindowAdapter>().invoke_handed_over(torrent.into());
                }
            });
        });
        if let Err(error) = listening {
            tracing::warn!(%error, "torrents of other windows will not be taken");
        }
    }
    for torrent in &torrents {
        context.act(|app| app.add(torrent, &AddArgs::default()));
    }
    context.restore(&window);
    context.show(&Redraw { sidebar: true, status: true, order: true, details: true, ..Redraw::default() });
    if !alone && !remote {
        context.start_engine();
    }
    let outcome = window.run().map_err(|error| format!("the window failed: {error}"));
    context.leave(&window);
    outcome
}

fn connect_window(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<WindowAdapter>();
    adapter.on_quit(|| {
        // Fails only when the event loop is gone already.
        let _ = slint::quit_event_loop();
    });
    let weak = window.as_weak();
    adapter.on_about(move || {
        if let Some(window) = weak.upgrade() {
            window.global::<AboutAdapter>().set_version(env!("CARGO_PKG_VERSION").into());
            window.global::<WindowAdapter>().set_dialog(Dialog::About);
        }
    });
    let own = context.clone();
    adapter.on_handed_over(move |torrent| own.act(|app| app.add(&torrent, &AddArgs::default())));
    let own = context.clone();
    window.global::<DetailsAdapter>().on_height_changed(move || {
        if let Some(window) = own.window.upgrade() {
            let height = window.global::<DetailsAdapter>().get_height();
            own.remember(|settings| settings.details_height = height);
        }
    });
}

fn set_theme(window: &MainWindow, theme: Theme) {
    window.global::<WindowAdapter>().set_theme(row_number(theme.index()));
    window.global::<Palette>().set_color_scheme(match theme {
        Theme::Auto => ColorScheme::Unknown,
        Theme::Light => ColorScheme::Light,
        Theme::Dark => ColorScheme::Dark,
    });
}

fn set_size(window: &MainWindow, size: (f32, f32)) {
    window.window().set_size(LogicalSize::new(size.0, size.1));
}

/// Closes the dialog that is open and gives the keyboard back to the table.
fn close_dialog(window: &MainWindow) {
    window.global::<WindowAdapter>().set_dialog(Dialog::None);
    window.invoke_focus_table_now();
}

/// Shows a message for a while.
fn say(window: &MainWindow, text: &str, is_error: bool) {
    let adapter = window.global::<StatusAdapter>();
    adapter.set_notice(text.into());
    adapter.set_notice_is_error(is_error);
}

/// Does something on the window's thread that waits in between.
fn spawn(future: impl Future<Output = ()> + 'static) {
    if let Err(error) = slint::spawn_local(future) {
        tracing::warn!(%error, "the window is closing");
    }
}

/// What is selected, for people; `None` when nothing is.
fn selection(app: &App) -> Option<String> {
    match app.table().selected().as_slice() {
        [] => None,
        [id] => app.table().listed(*id).map(|torrent| format!("“{}”", torrent.name)),
        many => Some(quantity::count(many.len(), "torrent")),
    }
}

/// A number as a spin box has it.
fn spin(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A number of a spin box.
fn number(spin: i32) -> u32 {
    u32::try_from(spin).unwrap_or(0)
}

/// Number of rows as Slint counts them.
fn row_number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// Makes a model hold these items; rows that are equal before and after are left alone.
fn fill<T: Clone + PartialEq + 'static>(model: &slint::VecModel<T>, items: Vec<T>) {
    let old = model.row_count();
    let new = items.len();
    for (index, item) in items.into_iter().enumerate() {
        if index >= old {
            model.push(item);
        } else if model.row_data(index).as_ref() != Some(&item) {
            model.set_row_data(index, item);
        }
    }
    for index in (new..old).rev() {
        model.remove(index);
    }
}
