//! The dialog for the engine's address, and which engine is remembered.

use super::context::Context;
use super::generated::{ConnectAdapter, Dialog, MainWindow, WindowAdapter};
use ringseed_gui::endpoint::{Endpoint, SignIn};
use ringseed_gui::settings::Settings;
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
