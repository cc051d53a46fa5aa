//! All that the callbacks of the views need.

use super::generated::{DetailsAdapter, MainWindow};
use super::rows::Rows;
use super::{columns, details, notify, sidebar, status, table};
use ringseed_gui::local_engine::LocalEngine;
use ringseed_gui::rpc::Event;
use ringseed_gui::settings::Settings;
use ringseed_gui::{App, Redraw};
use slint::ComponentHandle;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

pub(super) struct Context {
    pub(super) window: slint::Weak<MainWindow>,
    pub(super) app: RefCell<App>,
    pub(super) rows: Rc<Rows>,
    pub(super) columns: columns::Columns,
    pub(super) settings: RefCell<Settings>,
    settings_path: Option<PathBuf>,
    engine: RefCell<Option<LocalEngine>>,
    /// An engine is started when nobody answers, once.
    pub(super) may_start_engine: Cell<bool>,
    /// A started engine has a state of its own.
    apart: Cell<bool>,
}

impl Context {
    pub(super) fn new(
        window: &MainWindow,
        app: App,
        settings: Settings,
        settings_path: Option<PathBuf>,
    ) -> Rc<Context> {
        Rc::new_cyclic(|weak: &std::rc::Weak<Context>| Context {
            window: window.as_weak(),
            app: RefCell::new(app),
            rows: Rc::new(Rows::new(weak.clone())),
            columns: columns::Columns::new(settings.columns.clone()),
            settings: RefCell::new(settings),
            settings_path,
            engine: RefCell::new(None),
            may_start_engine: Cell::new(false),
            apart: Cell::new(false),
        })
    }

    pub(super) fn keep_apart(&self) {
        self.apart.set(true);
    }

    /// Does something with the controller and shows what came of it.
    pub(super) fn act(&self, deed: impl FnOnce(&mut App) -> Redraw) {
        let redraw = deed(&mut self.app.borrow_mut());
        self.show(&redraw);
    }

    /// Takes news of the engine.
    pub(super) fn on_event(&self, event: Event) {
        let nobody_there = matches!(event, Event::Lost { nobody_there: true, .. });
        self.act(|app| app.on_event(event));
        if !nobody_there {
            return;
        }
        if let Some(ended) = self.engine.borrow_mut().take_if(|engine| !engine.is_running())
            && let Some(window) = self.window.upgrade()
        {
            let text = format!("The engine of this window has ended; its log is {}", ended.log().display());
            super::say(&window, &text, true);
        }
        if self.may_start_engine.replace(false) {
            self.start_engine();
        }
    }

    /// Starts an engine on this machine and talks to it.
    pub(super) fn start_engine(&self) {
        let Some(window) = self.window.upgrade() else { return };
        match LocalEngine::start(self.apart.get()) {
            Ok(engine) => {
                let endpoint = engine.endpoint().clone();
                super::say(
                    &window,
                    &format!("Started an engine on this machine at {}", endpoint.host()),
                    false,
                );
                *self.engine.borrow_mut() = Some(engine);
                self.act(|app| app.connect(endpoint));
            }
            Err(why) => super::say(&window, &format!("Could not start an engine: {why}"), true),
        }
    }

    pub(super) fn show(&self, redraw: &Redraw) {
        let Some(window) = self.window.upgrade() else { return };
        self.rows.changed(&redraw.table);
        let app = self.app.borrow();
        if redraw.sidebar {
            sidebar::show(&window, &app);
        }
        if redraw.order {
            table::show_order(&window, &app);
        }
        if redraw.status {
            status::show(&window, &app);
        }
        if redraw.status || !redraw.table.is_empty() {
            table::show(&window, &app);
        }
        if redraw.details {
            details::show(&window, &app);
        }
        if redraw.speed && !redraw.details {
            details::show_speed_if_open(&window, &app);
        }
        if let Some(notice) = &redraw.notice {
            details::show_log(&window, app.details());
            super::say(&window, &notice.text, notice.is_error);
            if notice.for_desktop && self.settings.borrow().notify {
                notify::tell_desktop(&notice.text);
            }
        }
    }

    /// Changes what is remembered, and writes it down.
    pub(super) fn remember(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings.borrow_mut());
        let Some(path) = &self.settings_path else { return };
        if let Err(error) = self.settings.borrow().save(path) {
            tracing::warn!(%error, path = %path.display(), "cannot write the settings");
        }
    }

    /// Makes the window as it was last time.
    pub(super) fn restore(&self, window: &MainWindow) {
        let settings = self.settings.borrow().clone();
        super::set_theme(window, settings.theme);
        if let Some(size) = settings.size {
            super::set_size(window, size);
        }
        window.global::<DetailsAdapter>().set_height(settings.details_height);
        self.app.borrow_mut().set_order(settings.order);
    }

    /// The window is closed: writes down how it was, and ends an engine that is not to be left running.
    pub(super) fn leave(&self, window: &MainWindow) {
        let size = window.window().size().to_logical(window.window().scale_factor());
        let order = self.app.borrow().table().order();
        self.remember(|settings| {
            settings.size = Some((size.width, size.height));
            settings.order = order;
        });
        if let Some(engine) = self.engine.borrow_mut().take()
            && !self.settings.borrow().keep_engine
        {
            engine.stop();
        }
    }
}
