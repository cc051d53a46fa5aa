//! The window's table, side bar, search and theme, driven by keys and clicks against a real engine. Deeds on what is
//! shown are seen at the engine.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_api::AddArgs;
use ringseed_gui::torrents::State;
use std::process::{Command, Stdio};
use support::display::{Display, Window, places};
use support::screen::Screen;
use support::witness::{Witness, named};
use support::{Engine, program};

/// Colours of the menu bar.
const DARK: (u8, u8, u8) = (0x1d, 0x20, 0x25);
const LIGHT: (u8, u8, u8) = (0xf3, 0xf5, 0xf8);

/// An engine with three seeding torrents: alpha is the largest, beta the smallest and has a label.
fn library() -> (Engine, Witness) {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    for (name, size, labels) in [("alpha", 300, None), ("beta", 100, Some("films")), ("gamma", 200, None)] {
        let data = engine.directory().join("downloads").join(name);
        std::fs::write(&data, name.repeat(size << 7)).unwrap();
        let torrent = engine.directory().join(format!("{name}.torrent"));
        let mut create = Command::new(program("ringseed"));
        create
            .args(["create", "--tracker", "http://127.0.0.1:1/announce", "--output"])
            .arg(&torrent)
            .arg(&data);
        assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let labels = labels.map(str::to_owned).into_iter().collect();
        witness.add(torrent.to_str().unwrap(), &AddArgs { labels, ..AddArgs::default() });
    }
    witness.until("three seeds", |app| named(app, State::Seeding).len() == 3);
    (engine, witness)
}

fn open<'a>(display: &'a Display, engine: &Engine) -> Window<'a> {
    let endpoint = engine.endpoint();
    let window = Window::open(display, engine.directory(), &["--theme", "dark", "--connect", endpoint.url()]);
    window.place(0, 0, 1000, 640);
    window
}

#[test]
fn what_is_filtered_sorted_and_searched_is_what_deeds_are_for() {
    let (engine, mut witness) = library();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    let pause_first = || {
        window.click(places::FIRST_ROW, "1");
        window.keys(&["ctrl+p"]);
    };
    let resume_all = |witness: &mut Witness| {
        let deed = || {
            window.click(places::FIRST_ROW, "1");
            window.keys(&["ctrl+a", "ctrl+s"]);
        };
        witness.until_done("all seed again", deed, |app| named(app, State::Seeding).len() == 3);
    };

    // The side bar: only what has the label is paused, though all that is shown is selected.
    let deed = || {
        window.click(places::SECOND_LABEL, "1");
        window.click(places::FIRST_ROW, "1");
        window.keys(&["ctrl+a", "ctrl+p"]);
    };
    witness.until_done("the label", deed, |app| named(app, State::Done) == ["beta"]);
    window.click(places::ALL_LABELS, "1");
    // By state: what is paused is one, and resumed.
    let deed = || {
        window.click(places::PAUSED, "1");
        window.click(places::FIRST_ROW, "1");
        window.keys(&["ctrl+a", "ctrl+s"]);
    };
    witness.until_done("the state", deed, |app| named(app, State::Seeding).len() == 3);
    window.click(places::ALL, "1");

    // By size: the first click has the largest first, the second the smallest.
    window.click(places::SIZE, "1");
    witness.until_done("the largest", pause_first, |app| named(app, State::Done) == ["alpha"]);
    resume_all(&mut witness);
    window.click(places::SIZE, "1");
    witness.until_done("the smallest", pause_first, |app| named(app, State::Done) == ["beta"]);
    resume_all(&mut witness);

    window.keys(&["ctrl+f"]);
    window.types("GAM");
    witness.until_done("the search", pause_first, |app| named(app, State::Done) == ["gamma"]);
}

#[test]
fn names_and_limits_are_set_for_the_selected() {
    let (engine, mut witness) = library();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    let deed = || {
        // The menu of the torrent, its seventh line, the first tick there, and its button.
        window.keys(&["Escape"]);
        window.click(places::FIRST_ROW, "3");
        window.click((places::FIRST_ROW.0 + 40, places::FIRST_ROW.1 + 213), "1");
        window.keys(&["Tab", "space"]);
        window.click(places::LIMITS_BUTTON, "1");
    };
    witness.watch_first();
    let is_limited = |app: &ringseed_gui::App| {
        app.details()
            .news()
            .is_some_and(|news| (news.torrent.download_limited, news.torrent.download_limit) == (true, 1000))
    };
    witness.until_done("a limit", deed, is_limited);
    let deed = || {
        window.keys(&["Escape", "Home", "F2"]);
        window.types("omega");
        window.keys(&["Return"]);
    };
    let is_there = |app: &ringseed_gui::App| named(app, State::Seeding).iter().any(|name| name == "omega");
    witness.until_done("another name", deed, is_there);
}

#[test]
fn the_theme_changes_at_once_and_is_remembered() {
    let (engine, _witness) = library();
    let display = Display::start(1000, 640);
    let screen = Screen::of(&display);
    let window = open(&display, &engine);
    screen.until_colour("the dark theme", 900, 18, DARK);
    // Menu View, its third line Theme, and there the second.
    window.click((138, 18), "1");
    window.keys(&["Down", "Down", "Down", "Right", "Down", "Return"]);
    screen.until_colour("the light theme", 900, 18, LIGHT);
    drop(window);
    let endpoint = engine.endpoint();
    let _again = Window::open(&display, engine.directory(), &["--connect", endpoint.url()]);
    screen.until_colour("the light theme of last time", 900, 18, LIGHT);
}
