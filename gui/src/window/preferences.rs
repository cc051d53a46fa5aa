//! The dialog for settings of the engine and of this window.

use super::context::Context;
use super::generated::{Dialog, MainWindow, PreferencesAdapter, ToolbarAdapter, WindowAdapter};
use ringseed_api::Session;
use ringseed_gui::preferences::{self, EngineSettings, Switch};
use ringseed_gui::theme::Theme;
use slint::{ComponentHandle, SharedString};
use std::rc::Rc;

/// The page with limits, and the one of this window.
const LIMITS: i32 = 0;
const THIS_WINDOW: i32 = 4;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<WindowAdapter>();
    let own = context.clone();
    adapter.on_preferences(move || open(&own, None));
    let own = context.clone();
    window.global::<ToolbarAdapter>().on_limits(move || open(&own, Some(LIMITS)));
    let own = context.clone();
    adapter.on_theme_chosen(move |index| {
        if let Some(window) = own.window.upgrade() {
            let theme = theme(index);
            super::set_theme(&window, theme);
            own.remember(|settings| settings.theme = theme);
        }
    });
    let own = context.clone();
    window.global::<PreferencesAdapter>().on_accepted(move || accept(&own));
}

fn open(context: &Context, page: Option<i32>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<PreferencesAdapter>();
    let app = context.app.borrow();
    adapter.set_has_engine(app.session().is_some());
    adapter.set_page(match page {
        Some(page) => page,
        None if app.session().is_none() => THIS_WINDOW,
        None => adapter.get_page(),
    });
    if let Some(session) = app.session() {
        show_engine(&adapter, session);
    }
    let settings = context.settings.borrow();
    adapter.set_theme(super::row_number(settings.theme.index()));
    adapter.set_notify(settings.notify);
    adapter.set_keep_engine(settings.keep_engine);
    adapter.set_problem(SharedString::new());
    window.global::<WindowAdapter>().set_dialog(Dialog::Preferences);
}

fn show_engine(adapter: &PreferencesAdapter, session: &Session) {
    let engine = EngineSettings::of(session);
    let spin = super::spin;
    adapter.set_limit_down(engine.down.on);
    adapter.set_down(spin(engine.down.value));
    adapter.set_limit_up(engine.up.on);
    adapter.set_up(spin(engine.up.value));
    adapter.set_alternative(engine.alternative);
    adapter.set_alternative_down(spin(engine.alternative_down));
    adapter.set_alternative_up(spin(engine.alternative_up));
    adapter.set_ratio_on(engine.ratio_on);
    adapter.set_ratio(slint::format!("{}", engine.ratio));
    adapter.set_idle_on(engine.idle.on);
    adapter.set_idle(spin(engine.idle.value));
    adapter.set_download_queue_on(engine.download_queue.on);
    adapter.set_download_queue(spin(engine.download_queue.value));
    adapter.set_seed_queue_on(engine.seed_queue.on);
    adapter.set_seed_queue(spin(engine.seed_queue.value));
    adapter.set_folder(engine.folder.into());
    adapter.set_start_added(engine.start_added);
    adapter.set_port(i32::from(engine.port));
    let on = |on: bool| if on { "on" } else { "off" };
    adapter.set_connection(slint::format!(
        "At most {} connections, {} for one torrent.\nEncryption {}, DHT {}, peer exchange {}, local discovery {}, \
         uTP {}.\nThese are set where the engine is started.",
        session.peer_limit_global,
        session.peer_limit_per_torrent,
        session.encryption,
        on(session.dht_enabled),
        on(session.pex_enabled),
        on(session.lpd_enabled),
        on(session.utp_enabled),
    ));
}

fn read_engine(adapter: &PreferencesAdapter) -> Result<EngineSettings, String> {
    let switch = |on, value| Switch { on, value: super::number(value) };
    let folder = adapter.get_folder().trim().to_owned();
    if !folder.starts_with('/') {
        return Err("The folder must be an absolute path on the engine's machine.".to_owned());
    }
    Ok(EngineSettings {
        down: switch(adapter.get_limit_down(), adapter.get_down()),
        up: switch(adapter.get_limit_up(), adapter.get_up()),
        alternative: adapter.get_alternative(),
        alternative_down: super::number(adapter.get_alternative_down()),
        alternative_up: super::number(adapter.get_alternative_up()),
        ratio_on: adapter.get_ratio_on(),
        ratio: preferences::ratio(&adapter.get_ratio())?,
        idle: switch(adapter.get_idle_on(), adapter.get_idle()),
        download_queue: switch(adapter.get_download_queue_on(), adapter.get_download_queue()),
        seed_queue: switch(adapter.get_seed_queue_on(), adapter.get_seed_queue()),
        folder,
        start_added: adapter.get_start_added(),
        port: u16::try_from(adapter.get_port()).map_err(|_| "Ports are from 1 to 65535.".to_owned())?,
    })
}

fn accept(context: &Rc<Context>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<PreferencesAdapter>();
    if adapter.get_has_engine() {
        match read_engine(&adapter) {
            Ok(engine) => context.act(|app| app.set_engine(&engine)),
            Err(why) => {
                adapter.set_problem(why.into());
                return;
            }
        }
    }
    let theme = theme(adapter.get_theme());
    super::set_theme(&window, theme);
    context.remember(|settings| {
        settings.theme = theme;
        settings.notify = adapter.get_notify();
        settings.keep_engine = adapter.get_keep_engine();
    });
    super::close_dialog(&window);
}

fn theme(index: i32) -> Theme {
    usize::try_from(index).ok().and_then(|index| Theme::ALL.get(index)).copied().unwrap_or_default()
}
