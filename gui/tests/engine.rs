//! The controller with a real engine process over its RPC: add, pause, resume, remove, and an engine that is
//! killed and comes back.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_api::AddArgs;
use ringseed_gui::rpc::{self, Event, Link};
use ringseed_gui::torrents::{Click, Column, State};
use ringseed_gui::{App, Connection};
use std::time::{Duration, Instant};
use support::{Engine, PATIENCE, sample};

struct Desk {
    app: App,
    link: Link,
    notices: Vec<String>,
}

impl Desk {
    fn at(engine: &Engine) -> Desk {
        let link = rpc::start(engine.endpoint(), || {}).unwrap();
        Desk { app: App::new(&engine.endpoint(), link.sender()), link, notices: Vec::new() }
    }

    /// Takes news until `condition` holds.
    fn until(&mut self, what: &str, condition: impl Fn(&Desk) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}; notices: {:?}", self.notices);
            if let Some(event) = self.link.next_within(Duration::from_millis(200)) {
                self.take(event);
            }
        }
    }

    fn take(&mut self, event: Event) {
        let redraw = self.app.on_event(event);
        self.notices.extend(redraw.notice.map(|notice| notice.text));
    }

    fn is_connected(&self) -> bool {
        *self.app.connection() == Connection::Connected
    }

    fn state(&self) -> Option<State> {
        self.app.table().row(0).map(|row| row.state)
    }
}

#[test]
fn a_torrent_is_added_paused_resumed_and_removed_with_its_data_kept() {
    let engine = Engine::start();
    let sample = sample(engine.directory());
    let mut desk = Desk::at(&engine);
    desk.until("the engine", Desk::is_connected);
    assert!(desk.app.session().unwrap().version.contains("ringseed"));

    let folder = sample.data.parent().unwrap().to_str().unwrap().to_owned();
    let args = AddArgs { download_dir: Some(folder), ..AddArgs::default() };
    desk.app.add(sample.torrent.to_str().unwrap(), &args);
    desk.until("a seed", |desk| desk.state() == Some(State::Seeding));
    let row = desk.app.table().row(0).unwrap();
    assert_eq!((row.cells[Column::Name.index()].as_str(), row.progress), ("sample.txt", 1.0));

    desk.app.add(sample.torrent.to_str().unwrap(), &args);
    desk.until("the duplicate", |desk| {
        desk.notices.iter().any(|notice| notice.contains("already in the list"))
    });

    desk.app.click(0, Click::default());
    desk.app.pause();
    desk.until("the pause", |desk| desk.state() == Some(State::Done));
    desk.app.resume();
    desk.until("the seed", |desk| desk.state() == Some(State::Seeding));
    desk.app.verify();
    desk.until("the verified seed", |desk| desk.state() == Some(State::Seeding));
    desk.app.remove(false);
    desk.until("an empty table", |desk| desk.app.table().is_empty());
    assert!(sample.data.exists(), "the data stays");
}

#[test]
fn an_engine_that_is_killed_is_missed_and_found_again() {
    let mut engine = Engine::start();
    let sample = sample(engine.directory());
    let mut desk = Desk::at(&engine);
    desk.until("the engine", Desk::is_connected);
    let args = AddArgs { paused: true, ..AddArgs::default() };
    desk.app.add(sample.torrent.to_str().unwrap(), &args);
    desk.until("the torrent", |desk| desk.state() == Some(State::Paused));

    engine.kill();
    desk.until("the loss", |desk| {
        matches!(desk.app.connection(), Connection::Lost { nobody_there: true, .. })
    });
    desk.app.click(0, Click::default());
    desk.app.resume();
    desk.until("the refusal", |desk| desk.notices.iter().any(|notice| notice.contains("not connected")));
    assert_eq!(desk.app.table().len(), 1, "the list stays to be read");

    engine.start_again();
    desk.app.retry();
    desk.until("the engine", Desk::is_connected);
    desk.until("the torrent", |desk| desk.state() == Some(State::Paused));
}

#[test]
fn what_is_no_torrent_is_refused_with_a_reason() {
    let engine = Engine::start();
    let mut desk = Desk::at(&engine);
    desk.until("the engine", Desk::is_connected);
    let file = engine.directory().join("no.torrent");
    std::fs::write(&file, "no torrent").unwrap();
    desk.app.add(file.to_str().unwrap(), &AddArgs::default());
    desk.until("the refusal", |desk| desk.notices.iter().any(|notice| notice.starts_with("Could not add")));
    desk.app.add("/nowhere/at-all.torrent", &AddArgs::default());
    desk.until("the reason", |desk| {
        desk.notices.iter().any(|notice| notice.contains("/nowhere/at-all.torrent"))
    });
    assert!(desk.is_connected(), "a refusal breaks no connection");
}
