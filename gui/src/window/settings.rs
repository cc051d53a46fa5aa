//! The dialogs for the engine's address and for settings, and what is remembered between runs.

use super::context::Context;
use super::generated::{ConnectAdapter, Dialog, MainWindow, PreferencesAdapter, WindowAdapter};
use ringseed_api::SessionSetArgs;
use ringseed_gui::endpoint::{Endpoint, SignIn};
use ringseed_gui::rpc::Command;
use ringseed_gui::settings::Settings;
use ringseed_gui::theme::Theme;
use serde_json::Value;
use slint::{ComponentHandle, SharedString};
use std::rc::Rc;

/// The engine that the settings remember.
pub(super) fn endpoint(settings: &Settings) -> Option<Endpoint> {
    let endpoint = Endpoint::parse(settings.engine.as_deref()?).ok()?;
    Some(sign_in(endpoint, &settings.user, &settings.password))
}

fn sign_in(endpoint: Endpoint, user: &str, password: &str) -> Endpoint {
    if user.is_empty() && password.is_empty() {
        return endpoint;
    }
    endpoint.with_sign_in(Some(SignIn { user: user.to_owned(), password: password.to_owned() }))
}

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<WindowAdapter>();
    let own = context.clone();
    adapter.on_connect(move || open_connect(&own));
    let own = context.clone();
    adapter.on_preferences(move || open_preferences(&own));
    let own = context.clone();
    adapter.on_theme_chosen(move |index| {
        if let Some(window) = own.window.upgrade() {
            let theme = theme(index);
            super::set_theme(&window, theme);
            own.remember(|settings| settings.theme = theme);
        }
    });
    let connect = window.global::<ConnectAdapter>();
    let own = context.clone();
    connect.on_accepted(move || accept_connect(&own));
    let own = context.clone();
    connect.on_start_local(move || {
        if let Some(window) = own.window.upgrade() {
            super::close_dialog(&window);
        }
        own.start_engine();
    });
    let own = context.clone();
    window.global::<PreferencesAdapter>().on_accepted(move || accept_preferences(&own));
}

fn open_connect(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<ConnectAdapter>();
    let settings = context.settings.borrow();
    adapter.set_url(settings.engine.as_deref().unwrap_or(context.app.borrow().host()).into());
    adapter.set_user(settings.user.as_str().into());
    adapter.set_password(settings.password.as_str().into());
    adapter.set_problem(SharedString::new());
    window.global::<WindowAdapter>().set_dialog(Dialog::Connect);
}

fn accept_connect(context: &Rc<Context>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<ConnectAdapter>();
    let (url, user, password) = (adapter.get_url(), adapter.get_user(), adapter.get_password());
    match Endpoint::parse(&url) {
        Ok(endpoint) => {
            context.remember(|settings| {
                settings.engine = Some(url.to_string());
                settings.user = user.to_string();
                settings.password = password.to_string();
            });
            super::close_dialog(&window);
            context.act(|app| app.connect(sign_in(endpoint, &user, &password)));
        }
        Err(why) => adapter.set_problem(why.into()),
    }
}

fn open_preferences(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<PreferencesAdapter>();
    let app = context.app.borrow();
    let session = app.session();
    let number = |rate: u64| i32::try_from(rate).unwrap_or(i32::MAX);
    adapter.set_limit_down(session.is_some_and(|session| session.speed_limit_down_enabled));
    adapter.set_limit_up(session.is_some_and(|session| session.speed_limit_up_enabled));
    adapter.set_down(session.map_or(0, |session| number(session.speed_limit_down)));
    adapter.set_up(session.map_or(0, |session| number(session.speed_limit_up)));
    adapter.set_folder(session.map(|session| session.download_dir.as_str()).unwrap_or_default().into());
    adapter.set_connection(session.map_or_else(
        || "No engine is connected.".into(),
        |session| {
            let on = |on: bool| if on { "on" } else { "off" };
            slint::format!(
                "Port {} for peers, encryption {}, DHT {}, peer exchange {}, local discovery {}, uTP {}. At most {} \
                 connections, {} for one torrent.",
                session.peer_port,
                session.encryption,
                on(session.dht_enabled),
                on(session.pex_enabled),
                on(session.lpd_enabled),
                on(session.utp_enabled),
                session.peer_limit_global,
                session.peer_limit_per_torrent
            )
        },
    ));
    let settings = context.settings.borrow();
    adapter.set_theme(super::row_number(settings.theme.index()));
    adapter.set_notify(settings.notify);
    adapter.set_keep_engine(settings.keep_engine);
    adapter.set_problem(SharedString::new());
    window.global::<WindowAdapter>().set_dialog(Dialog::Preferences);
}

fn accept_preferences(context: &Rc<Context>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<PreferencesAdapter>();
    let theme = theme(adapter.get_theme());
    super::set_theme(&window, theme);
    context.remember(|settings| {
        settings.theme = theme;
        settings.notify = adapter.get_notify();
        settings.keep_engine = adapter.get_keep_engine();
    });
    // Only what was changed is sent, so that an engine that cannot set one thing still sets the others.
    let mut changes = SessionSetArgs::default();
    if let Some(session) = context.app.borrow().session() {
        let rate = |rate: i32| u64::try_from(rate).unwrap_or(0);
        let changed = |new: bool, old: bool| (new != old).then_some(new);
        let changed_rate = |new: u64, old: u64| (new != old).then_some(new);
        changes.speed_limit_down_enabled =
            changed(adapter.get_limit_down(), session.speed_limit_down_enabled);
        changes.speed_limit_down = changed_rate(rate(adapter.get_down()), session.speed_limit_down);
        changes.speed_limit_up_enabled = changed(adapter.get_limit_up(), session.speed_limit_up_enabled);
        changes.speed_limit_up = changed_rate(rate(adapter.get_up()), session.speed_limit_up);
    }
    if changes != SessionSetArgs::default() {
        context.act(|app| app.command(Command::SetSession(changes)));
    }
    let folder = adapter.get_folder().trim().to_owned();
    let old = context.app.borrow().session().map(|session| session.download_dir.clone());
    if old.is_some_and(|old| old != folder) && !folder.is_empty() {
        let mut changes = SessionSetArgs::default();
        changes.other.insert("download-dir".to_owned(), Value::String(folder));
        context.act(|app| app.command(Command::SetSession(changes)));
    }
    super::close_dialog(&window);
}

fn theme(index: i32) -> Theme {
    usize::try_from(index).ok().and_then(|index| Theme::ALL.get(index)).copied().unwrap_or_default()
}
