//! The status bar, and the banner of a lost connection.

use super::context::Context;
use super::generated::{AboutAdapter, LinkState, MainWindow, StatusAdapter, ToolbarAdapter};
use ringseed_gui::{App, Connection};
use slint::ComponentHandle;
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let own = context.clone();
    window.global::<StatusAdapter>().on_retry(move || own.act(App::retry));
}

pub(super) fn show(window: &MainWindow, app: &App) {
    let adapter = window.global::<StatusAdapter>();
    let line = app.status();
    adapter.set_engine(line.engine.into());
    adapter.set_torrents(line.torrents.into());
    adapter.set_free_space(line.free_space.into());
    adapter.set_down(line.down.into());
    adapter.set_up(line.up.into());
    let (link, banner) = match app.connection() {
        Connection::Connecting => (LinkState::Connecting, String::new()),
        Connection::Connected => (LinkState::Connected, String::new()),
        Connection::Lost { why, retry_in_ms, .. } => {
            let seconds = retry_in_ms.div_ceil(1000);
            (
                LinkState::Lost,
                format!("No connection to {}: {why}. Trying again every {seconds} s.", app.host()),
            )
        }
    };
    adapter.set_link(link);
    adapter.set_banner(banner.into());
    let toolbar = window.global::<ToolbarAdapter>();
    toolbar.set_connected(*app.connection() == Connection::Connected);
    toolbar.set_has_selection(!app.table().selected().is_empty());
    let engine = app.session().map(|session| format!("Engine: {}", session.version)).unwrap_or_default();
    window.global::<AboutAdapter>().set_engine(engine.into());
}
