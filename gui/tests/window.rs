//! The window itself on a display that is not there, driven by keys and clicks against a real engine. What comes of
//! it is seen at the engine, with a controller of the test's own.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::rpc::{self, Link};
use ringseed_gui::torrents::State;
use ringseed_gui::{App, Connection};
use std::path::Path;
use std::time::{Duration, Instant};
use support::display::{Display, Window, command};
use support::{Engine, PATIENCE, sample};

/// Sees what the engine has.
struct Witness {
    app: App,
    link: Link,
}

impl Witness {
    fn of(engine: &Engine) -> Witness {
        let link = rpc::start(engine.endpoint(), || {}).unwrap();
        let mut witness = Witness { app: App::new(&engine.endpoint(), link.sender()), link };
        witness.until("the engine", |app| *app.connection() == Connection::Connected);
        witness
    }

    fn until(&mut self, what: &str, condition: impl Fn(&App) -> bool) {
        let start = Instant::now();
        while !condition(&self.app) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
            if let Some(event) = self.link.next_within(Duration::from_millis(200)) {
                self.app.on_event(event);
            }
        }
    }

    fn until_state(&mut self, what: &str, state: Option<State>) {
        self.until(what, |app| app.table().row(0).map(|row| row.state) == state);
    }
}

fn arguments(engine: &Engine) -> [String; 2] {
    ["--connect".to_owned(), engine.endpoint().url().to_owned()]
}

/// Presses keys until the engine shows what is expected: a window that has just been opened may not take the first.
fn press_until(window: &Window, keys: &[&str], witness: &mut Witness, what: &str, state: Option<State>) {
    let start = Instant::now();
    loop {
        window.keys(keys);
        let pressed = Instant::now();
        while pressed.elapsed() < Duration::from_secs(5) {
            if let Some(event) = witness.link.next_within(Duration::from_millis(200)) {
                witness.app.on_event(event);
            }
            if witness.app.table().row(0).map(|row| row.state) == state {
                return;
            }
        }
        assert!(start.elapsed() < PATIENCE, "pressed {keys:?} in vain for {what}");
    }
}

#[test]
fn a_torrent_is_added_by_argument_and_paused_resumed_and_removed_by_keys() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(&engine.directory().join("downloads"));
    // Where the engine looks for data of torrents without a folder.
    let data = engine.directory().join("downloads/sample.txt");
    std::fs::copy(&sample.data, &data).unwrap();
    let display = Display::start(1000, 640);
    let [flag, url] = arguments(&engine);
    let window = Window::open(&display, engine.directory(), &[&flag, &url, sample.torrent.to_str().unwrap()]);
    witness.until_state("the added torrent", Some(State::Seeding));

    press_until(&window, &["Down", "ctrl+p"], &mut witness, "the pause", Some(State::Done));
    press_until(&window, &["ctrl+s"], &mut witness, "the seed", Some(State::Seeding));
    press_until(&window, &["Delete", "Return"], &mut witness, "the removal", None);
    assert!(data.exists(), "data stays unless the user ticks that it should go");
}

#[test]
fn a_torrent_file_is_added_through_the_dialog() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let [flag, url] = arguments(&engine);
    let window = Window::open(&display, engine.directory(), &[&flag, &url]);
    let start = Instant::now();
    // The dialog opens once the window is connected.
    while witness.app.table().is_empty() {
        assert!(start.elapsed() < PATIENCE, "the dialog added nothing");
        window.keys(&["Escape", "ctrl+shift+o"]);
        window.types(sample.torrent.to_str().unwrap());
        window.keys(&["Return"]);
        let typed = Instant::now();
        while typed.elapsed() < Duration::from_secs(5) && witness.app.table().is_empty() {
            if let Some(event) = witness.link.next_within(Duration::from_millis(200)) {
                witness.app.on_event(event);
            }
        }
    }
}

#[test]
fn a_second_start_hands_its_torrent_to_the_first_and_ends() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let [flag, url] = arguments(&engine);
    let mut window = Window::open(&display, engine.directory(), &[&flag, &url]);
    let torrent = Path::new("sample/sample.torrent");
    assert!(sample.torrent.ends_with(torrent));
    let second =
        command(&display, engine.directory()).arg(torrent).current_dir(engine.directory()).status().unwrap();
    assert!(second.success());
    witness.until("the torrent of the second", |app| app.table().len() == 1);
    assert!(window.ended().is_none());
}

#[test]
fn without_a_display_it_says_so_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(support::program("ringseed-gui"))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env("HOME", directory.path())
        .env("XDG_RUNTIME_DIR", directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot open a window"));
}
