//! The window's table, side bar, search and theme, driven by keys and clicks against a real engine. Deeds on what is
//! shown are seen at the engine.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_api::AddArgs;
use ringseed_gui::settings::Settings;
use ringseed_gui::torrents::{Column, State};
use std::process::{Command, Stdio};
use support::display::{Display, Window, places};
use support::screen::{DARK, LIGHT, Screen};
use support::witness::{Witness, named};
use support::{Engine, program};

/// A full progress bar.
const GREEN: (u8, u8, u8) = (0x2f, 0x8a, 0x4a);

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

/// What the window remembers by now.
fn remembered(engine: &Engine) -> Settings {
    Settings::load(&engine.directory().join("config/ringseed/gui.json"))
}

fn column(settings: &Settings, column: Column) -> (f32, bool) {
    let setting = settings.columns.iter().find(|setting| setting.column == column).unwrap();
    (setting.width, setting.shown)
}

#[test]
fn columns_are_made_wider_chosen_and_remembered() {
    let (engine, mut witness) = library();
    let display = Display::start(1000, 640);
    let screen = Screen::of(&display);
    let window = open(&display, &engine);
    // In the bar of the progress, before and after the column before it was made wider by 60, and the first was shown.
    const BAR_AT: [i16; 3] = [522, 582, 622];
    let before = Settings::default();
    let (size, progress) = (column(&before, Column::Size).0, column(&before, Column::Progress));
    screen.until_colour("the bar", BAR_AT[0], 128, GREEN);
    let is_wider = |_: &ringseed_gui::App| {
        // Only the one before the edge.
        let settings = remembered(&engine);
        column(&settings, Column::Size).0 == size + 60.0 && column(&settings, Column::Progress) == progress
    };
    // The edge after the sizes; a little beside it counts as well.
    witness.until_done("a wider column", || window.drag((512, 103), (572, 103)), is_wider);
    screen.until_colour("the bar further right", BAR_AT[1], 128, GREEN);
    assert_ne!(screen.colour(BAR_AT[0], 128), GREEN);

    // The menu of the headings, its first line.
    let deed = || {
        window.keys(&["Escape"]);
        window.click((600, 103), "3");
        window.click((640, 107), "1");
    };
    witness.until_done("another column", deed, |_| column(&remembered(&engine), Column::Queue).1);
    screen.until_colour("the bar beside one column more", BAR_AT[2], 128, GREEN);

    drop(window);
    let _again = open(&display, &engine);
    screen.until_colour("the columns of last time", BAR_AT[2], 128, GREEN);
    assert_ne!(screen.colour(BAR_AT[0], 128), GREEN);
}

#[test]
fn preferences_are_for_the_engine_and_for_the_window() {
    let (engine, mut witness) = library();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    let open_preferences = || {
        window.keys(&["Escape", "Escape"]);
        // Menu File, its line before the last.
        window.click((21, 18), "1");
        window.keys(&["Up", "Up", "Return"]);
    };
    // A limit of the engine, by its tick and its number.
    let deed = || {
        open_preferences();
        window.click(places::PREFERENCES_LIMIT, "1");
        window.click(places::PREFERENCES_NUMBER, "1");
        window.keys(&["ctrl+a"]);
        window.types("77");
        window.click(places::PREFERENCES_SAVE, "1");
    };
    // The settings are asked for seldom: somebody new has those of now.
    let is_limited = |_: &ringseed_gui::App| {
        let new = Witness::of(&engine);
        let session = new.app().session().unwrap();
        session.speed_limit_down_enabled && session.speed_limit_down == 77
    };
    witness.until_done("the limit", deed, is_limited);
    // The page of the window: its theme stays, the notification goes.
    let deed = || {
        open_preferences();
        window.click(places::PREFERENCES_WINDOW, "1");
        window.click(places::PREFERENCES_NOTIFY, "1");
        window.click(places::PREFERENCES_SAVE, "1");
    };
    witness.until_done("no notification", deed, |_| !remembered(&engine).notify);
}

#[test]
fn the_keyboard_stays_in_a_dialog() {
    let (engine, mut witness) = library();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    window.click(places::FIRST_ROW, "1");
    // However often Tab is pressed, no key reaches what is behind: nothing is paused, and Escape leaves all as it was.
    for tabs in 1..=8 {
        window.keys(&["Delete"]);
        window.keys(&vec!["Tab"; tabs]);
        window.keys(&["ctrl+p", "Escape"]);
    }
    let pause = || {
        window.keys(&["Escape"]);
        window.click(places::FIRST_ROW, "1");
        window.keys(&["Down", "ctrl+p"]);
    };
    witness.until_done("the second is paused", pause, |app| named(app, State::Done) == ["beta"]);
    assert_eq!(named(witness.app(), State::Seeding), ["alpha", "gamma"]);
}
