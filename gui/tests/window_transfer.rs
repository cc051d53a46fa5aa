//! The window while a torrent is really transferred: files left out, details, priorities, an engine that is killed.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::details::Priority;
use ringseed_gui::torrents::State;
use support::Engine;
use support::display::{Display, Window, places};
use support::screen::{Area, Screen};
use support::swarm::Swarm;
use support::witness::{Witness, first};

/// The details below their tabs.
const DETAILS: Area = Area { x: 200, y: 392, width: 780, height: 210 };
/// Colour of the banner in the dark theme, and a place in it.
const BANNER: (u8, u8, u8) = (0x4a, 0x3a, 0x12);
const IN_BANNER: (i16, i16) = (500, 91);

fn open<'a>(display: &'a Display, engine: &Engine) -> Window<'a> {
    let endpoint = engine.endpoint();
    let window = Window::open(display, engine.directory(), &["--theme", "dark", "--connect", endpoint.url()]);
    window.place(0, 0, 1000, 640);
    window
}

/// Adds the swarm's torrent through the dialog, without its third line of files, with a label.
fn add(window: &Window, swarm: &Swarm, witness: &mut Witness) {
    let deed = || {
        window.keys(&["Escape", "ctrl+shift+o"]);
        window.types(swarm.torrent().to_str().unwrap());
        window.keys(&["Return"]);
    };
    witness.until_done("the dialog", deed, |app| first(app) == Some(State::Downloading));
    witness.until("bytes", |app| app.table().listed(1).is_some_and(|torrent| torrent.rate_download > 0));
}

#[test]
fn a_download_is_paused_and_resumed_and_its_details_are_shown() {
    let swarm = Swarm::start(60);
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let display = Display::start(1000, 640);
    let screen = Screen::of(&display);
    let window = open(&display, &engine);
    add(&window, &swarm, &mut witness);

    witness.until_pressed(&window, &["Home", "ctrl+p"], Some(State::Paused));
    witness.until_pressed(&window, &["ctrl+s"], Some(State::Downloading));
    witness
        .until("bytes again", |app| app.table().listed(1).is_some_and(|torrent| torrent.rate_download > 0));

    // Each tab shows something else.
    let mut seen = vec![screen.pixels(DETAILS)];
    for tab in &places::TABS[1..] {
        window.click(*tab, "1");
        let before = seen.clone();
        seen.push(screen.until("another tab", DETAILS, |now| before.iter().all(|before| before != now)));
    }

    // The priority of the third line of the files, by its menu, whose last entry is to skip it.
    window.click(places::TABS[1], "1");
    witness.watch_first();
    let deed = || {
        window.click(places::THIRD_FILE, "3");
        window.keys(&["Up", "Return"]);
    };
    let skipped = |app: &ringseed_gui::App| {
        let files = app.details().files();
        files.iter().any(|file| file.name == "notes.txt" && file.priority == Some(Priority::Skip))
    };
    witness.until_done("a skipped file", deed, skipped);
    assert_eq!(first(witness.app()), Some(State::Downloading), "it lasts that long");

    witness.until_pressed(&window, &["Escape", "Home"], Some(State::Downloading));
    window.click(places::FIRST_ROW, "1");
    witness.until_pressed(&window, &["Delete", "Return"], None);
    let data = engine.directory().join("downloads").join(support::swarm::NAME);
    assert!(data.is_dir(), "what was downloaded stays");
}

#[test]
fn files_are_left_out_and_a_label_is_given_before_a_torrent_is_added() {
    let swarm = Swarm::start(2000);
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    let screen = Screen::of(&display);
    // The place of the tick of the third file, and its colour when it is ticked.
    let (x, y) = places::ADD_THIRD_TICK;
    let ticked = (0x5a, 0xa2, 0xff);
    window.keys(&["ctrl+shift+o"]);
    window.types(swarm.torrent().to_str().unwrap());
    screen.until_colour("the files", x, y, ticked);
    window.click((x.into(), y.into()), "1");
    screen.until("the tick to go", Area { x, y, width: 1, height: 1 }, |pixel| pixel[0] != 0xff);
    window.click(places::ADD_LABELS, "1");
    window.types("summer");
    window.keys(&["Return"]);
    witness.until("the torrent", |app| !app.table().is_empty());
    assert_eq!(witness.app().table().listed(1).unwrap().labels, ["summer"]);
    witness.until("its end", |app| first(app) == Some(State::Seeding));
    let data = engine.directory().join("downloads").join(support::swarm::NAME);
    assert_eq!(std::fs::metadata(data.join("film.mkv")).unwrap().len(), 5 << 20);
    witness.watch_first();
    witness.until("the files", |app| !app.details().files().is_empty());
    let files = witness.app().details().files();
    let notes = files.iter().find(|file| file.name == "notes.txt").unwrap();
    assert_eq!(notes.priority, Some(Priority::Skip));
}

#[test]
fn an_engine_that_is_killed_is_missed_and_found_again() {
    let swarm = Swarm::start(60);
    let mut engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let display = Display::start(1000, 640);
    let screen = Screen::of(&display);
    let window = open(&display, &engine);
    add(&window, &swarm, &mut witness);
    let no_banner = screen.colour(IN_BANNER.0, IN_BANNER.1);
    assert_ne!(no_banner, BANNER);

    engine.kill();
    screen.until_colour("the banner", IN_BANNER.0, IN_BANNER.1, BANNER);
    engine.start_again();
    screen.until_colour("the end of the banner", IN_BANNER.0, IN_BANNER.1, no_banner);
    let mut witness = Witness::of(&engine);
    witness.until("the download goes on", |app| first(app) == Some(State::Downloading));
    // The window drives the engine that came back.
    witness.until_pressed(&window, &["Home", "ctrl+p"], Some(State::Paused));
}

#[test]
fn a_torrent_is_made_and_seeded() {
    let swarm = Swarm::start(60);
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let data = engine.directory().join("downloads/holiday.tar");
    std::fs::write(&data, "sand and sea ".repeat(100_000)).unwrap();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine);
    let deed = || {
        window.keys(&["Escape", "ctrl+n", "ctrl+a"]);
        window.types(data.to_str().unwrap());
        window.click(places::CREATE_TRACKERS, "1");
        window.keys(&["ctrl+a"]);
        window.types(swarm.tracker().announce());
        window.click(places::CREATE_BUTTON, "1");
    };
    witness.until_done("the made torrent", deed, |app| first(app) == Some(State::Seeding));
    assert!(engine.directory().join("downloads/holiday.tar.torrent").exists());
}
