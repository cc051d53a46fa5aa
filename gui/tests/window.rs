//! The window itself on a display that is not there, driven by keys and clicks against a real engine: how torrents
//! come in, and how they go. What comes of it is seen at the engine, with a controller of the test's own.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::torrents::State;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::display::{Display, Window, command};
use support::drag::Source;
use support::screen::Screen;
use support::witness::{Witness, first};
use support::{Engine, PATIENCE, sample};

/// Colour of messages about what went wrong, in the dark theme.
const ERROR: (u8, u8, u8) = (0x5b, 0x25, 0x26);
/// A place where such a message has no text: it is above the line at the bottom.
const MESSAGE: (i16, i16) = (228, 580);

fn open<'a>(display: &'a Display, engine: &Engine, arguments: &[&str]) -> Window<'a> {
    let endpoint = engine.endpoint();
    let always = ["--theme", "dark", "--connect", endpoint.url()];
    Window::open(display, engine.directory(), &[&always, arguments].concat())
}

#[test]
fn a_torrent_is_added_by_argument_and_paused_resumed_verified_and_removed_by_keys() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(&engine.directory().join("downloads"));
    // Where the engine looks for data of torrents without a folder.
    let data = engine.directory().join("downloads/sample.txt");
    std::fs::copy(&sample.data, &data).unwrap();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &[sample.torrent.to_str().unwrap()]);
    witness.until("the added torrent", |app| first(app) == Some(State::Seeding));

    witness.until_pressed(&window, &["Down", "ctrl+p"], Some(State::Done));
    // Broken data is found by a check only.
    std::fs::write(&data, "something else").unwrap();
    witness.until_pressed(&window, &["ctrl+r"], Some(State::Paused));
    std::fs::copy(&sample.data, &data).unwrap();
    witness.until_pressed(&window, &["ctrl+r"], Some(State::Done));
    witness.until_pressed(&window, &["ctrl+s"], Some(State::Seeding));
    witness.until_pressed(&window, &["Delete", "Return"], None);
    assert!(data.exists(), "data stays unless the user ticks that it should go");
}

#[test]
fn a_torrent_file_is_added_through_the_dialog() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &[]);
    let deed = || {
        // The dialog opens once the window is connected.
        window.keys(&["Escape", "ctrl+shift+o"]);
        window.types(sample.torrent.to_str().unwrap());
        window.keys(&["Return"]);
    };
    witness.until_done("the dialog", deed, |app| !app.table().is_empty());
}

#[test]
fn the_desktops_file_chooser_gives_a_torrent_file() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    // The chooser of a desktop without a portal, with a user who has made up his mind.
    let programs = engine.directory().join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let chooser = programs.join("zenity");
    std::fs::write(&chooser, format!("#!/bin/sh\necho '{}'\n", sample.torrent.display())).unwrap();
    std::fs::set_permissions(&chooser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut program = command(&display, engine.directory());
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    program.args(["--connect", engine.endpoint().url()]).env("PATH", path);
    let window = Window::open_with(&display, program);
    window.place(0, 0, 1000, 640);
    let deed = || {
        window.keys(&["Escape", "ctrl+o"]);
        // The dialog comes when the chooser has ended.
        std::thread::sleep(Duration::from_secs(1));
        window.keys(&["Return"]);
    };
    witness.until_done("the chosen file", deed, |app| !app.table().is_empty());
}

#[test]
fn a_magnet_link_comes_in_or_the_window_says_why_not() {
    let engine = Engine::start();
    let witness = Witness::of(&engine);
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &["magnet:?xt=urn:btih:0123456789012345678901234567890123456789"]);
    // This engine takes none: the reason it gives is shown in red, and kept in the log.
    Screen::of(&display).until_colour("the refusal", MESSAGE.0, MESSAGE.1, ERROR);
    assert!(witness.app().table().is_empty());
    drop(window);
}

#[test]
fn files_and_links_are_dropped_on_the_window() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &[]);
    let source = Source::on(&display);
    assert!(!source.drop_on(window.id(), "image/png", ""), "pictures are no torrents");
    assert!(!source.drop_on(window.id(), "text/plain", "words without a link"));
    let list = format!("file://{}\r\n", sample.torrent.display());
    assert!(source.drop_on(window.id(), "text/uri-list", &list));
    witness.until("the dropped torrent", |app| app.table().len() == 1);
    assert!(source.drop_on(window.id(), "text/plain;charset=utf-8", "magnet:?xt=urn:btih:00"));
    let (x, y) = MESSAGE;
    Screen::of(&display).until_colour("the refusal of the dropped link", x, y, ERROR);
}

#[test]
fn a_link_is_pasted_into_the_window() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &[]);
    let deed = || {
        // The path is copied out of the dialog's input, and pasted where torrents are.
        window.keys(&["Escape", "ctrl+shift+o"]);
        window.types(sample.torrent.to_str().unwrap());
        window.keys(&["ctrl+a", "ctrl+c", "Escape", "ctrl+v"]);
    };
    witness.until_done("the paste", deed, |app| !app.table().is_empty());
}

#[test]
fn a_second_start_hands_its_torrent_to_the_first_and_ends() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let mut window = open(&display, &engine, &[]);
    let torrent = Path::new("sample/sample.torrent");
    assert!(sample.torrent.ends_with(torrent));
    let second =
        command(&display, engine.directory()).arg(torrent).current_dir(engine.directory()).status().unwrap();
    assert!(second.success());
    witness.until("the torrent of the second", |app| app.table().len() == 1);
    assert!(window.ended().is_none());
}

#[test]
fn data_is_deleted_only_after_it_was_ticked_and_confirmed() {
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    let sample = sample(&engine.directory().join("downloads"));
    let data = engine.directory().join("downloads/sample.txt");
    std::fs::copy(&sample.data, &data).unwrap();
    let display = Display::start(1000, 640);
    let window = open(&display, &engine, &[sample.torrent.to_str().unwrap()]);
    witness.until("the added torrent", |app| first(app) == Some(State::Seeding));
    witness.until_pressed(&window, &["Down", "ctrl+p"], Some(State::Done));
    // Tab goes to the tick, and from there to the buttons.
    window.keys(&["Delete", "Tab", "space", "Tab", "Tab", "space"]);
    // The second question: a button to go back, and one that deletes.
    window.keys(&["Tab", "Tab", "space"]);
    witness.until("the deletion", |app| app.table().is_empty());
    let start = Instant::now();
    while data.exists() {
        assert!(start.elapsed() < PATIENCE, "the data is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn without_a_display_it_says_so_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(support::program("ringseed-gui"))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env("HOME", directory.path())
        .env("XDG_RUNTIME_DIR", directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot open a window"));
}

#[test]
fn debug_tells_what_happens_inside() {
    let engine = Engine::start();
    let display = Display::start(1000, 640);
    let log = engine.directory().join("log");
    let mut program = command(&display, engine.directory());
    program.args(["--debug", "--connect", engine.endpoint().url()]).stderr(File::create(&log).unwrap());
    let _window = Window::open_with(&display, program);
    let start = Instant::now();
    let said = || std::fs::read_to_string(&log).unwrap();
    while !said().contains("connected") {
        assert!(start.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(said().contains("DEBUG"), "{}", said());
}
