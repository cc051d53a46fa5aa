//! Sees what an engine has, with a controller of the test's own beside the window.

use super::display::Window;
use super::{Engine, PATIENCE};
use ringseed_gui::endpoint::Endpoint;
use ringseed_gui::rpc::{self, Command, Link};
use ringseed_gui::torrents::{Click, Column, State};
use ringseed_gui::{App, Connection};
use std::time::{Duration, Instant};

/// Time after which keys are pressed again: a window that has just been opened may not take the first.
const AGAIN: Duration = Duration::from_secs(6);

/// A second client of the engine.
pub struct Witness {
    app: App,
    link: Link,
}

impl Witness {
    /// Connects to an engine.
    pub fn of(engine: &Engine) -> Witness {
        Witness::at(&engine.endpoint())
    }

    /// Connects to the engine at an address, once it answers.
    pub fn at(endpoint: &Endpoint) -> Witness {
        let link = rpc::start(endpoint.clone(), || {}).unwrap();
        let mut witness = Witness { app: App::new(endpoint, link.sender()), link };
        witness.until("the engine", |app| *app.connection() == Connection::Connected);
        witness
    }

    /// What is known by now.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Sends a command to the engine.
    pub fn command(&mut self, command: Command) {
        assert!(self.app.command(command).notice.is_none());
    }

    /// Adds a torrent.
    pub fn add(&mut self, torrent: &str, args: &ringseed_api::AddArgs) {
        assert!(self.app.add(torrent, args).notice.is_none());
    }

    /// Watches the details of the first torrent.
    pub fn watch_first(&mut self) {
        self.app.click(0, Click::default());
    }

    /// Takes news for at most this long; returns whether the condition came true.
    fn within(&mut self, time: Duration, condition: &impl Fn(&App) -> bool) -> bool {
        let start = Instant::now();
        while !condition(&self.app) {
            if start.elapsed() > time {
                return false;
            }
            if let Some(event) = self.link.next_within(Duration::from_millis(100)) {
                self.app.on_event(event);
            }
        }
        true
    }

    /// Takes news until the engine shows what is expected.
    pub fn until(&mut self, what: &str, condition: impl Fn(&App) -> bool) {
        assert!(self.within(PATIENCE, &condition), "waited in vain for {what}; there is: {}", self.summary());
    }

    /// Does something with the window until the engine shows what is expected.
    pub fn until_done(&mut self, what: &str, deed: impl Fn(), condition: impl Fn(&App) -> bool) {
        let start = Instant::now();
        loop {
            deed();
            if self.within(AGAIN, &condition) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "tried in vain: {what}; there is: {}", self.summary());
        }
    }

    /// Presses keys until the first torrent is in this state, or gone.
    pub fn until_pressed(&mut self, window: &Window, keys: &[&str], state: Option<State>) {
        let what = format!("{keys:?} for {state:?}");
        self.until_done(&what, || window.keys(keys), |app| first(app) == state);
    }

    fn summary(&self) -> String {
        let row = |index| self.app.table().row(index).map(|row| format!("{:?} {:?}", row.state, row.cells));
        (0..5).filter_map(row).collect::<Vec<_>>().join("; ")
    }
}

/// State of the first torrent.
pub fn first(app: &App) -> Option<State> {
    app.table().row(0).map(|row| row.state)
}

/// Names of torrents in this state.
pub fn named(app: &App, state: State) -> Vec<String> {
    let rows = (0..app.table().len()).filter_map(|index| app.table().row(index));
    rows.filter(|row| row.state == state).map(|row| row.cells[Column::Name.index()].clone()).collect()
}
