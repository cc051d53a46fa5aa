//! Which engine a window talks to: one that the user names, or one of its own, which it ends or leaves as the user
//! chose.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::endpoint::{Endpoint, SignIn};
use ringseed_gui::rpc::Command;
use ringseed_gui::settings::Settings;
use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::display::{Display, Window, command};
use support::witness::Witness;
use support::{Engine, PATIENCE, program, sample};

/// Settings of a window whose engine of last time does not run: nobody listens at port 1.
fn remember(home: &Path, more: &str) {
    let folder = home.join("config/ringseed");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("gui.json"), format!(r#"{{"engine":"127.0.0.1:1"{more}}}"#)).unwrap();
}

/// Where the engine with this state answers, as its log says.
fn address(state: &Path) -> Option<Endpoint> {
    let log = std::fs::read_to_string(state.join("gui-engine.log")).ok()?;
    let url = log.split("RPC on ").nth(1)?.split_whitespace().next()?;
    Some(Endpoint::parse(url).unwrap())
}

/// Waits for a window's engine, whose state is in this folder, and says where it answers.
fn engine_in(state: &Path) -> Endpoint {
    let start = Instant::now();
    loop {
        if let Some(endpoint) = address(state) {
            return endpoint;
        }
        assert!(start.elapsed() < PATIENCE, "no engine in {}", state.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Only one of these tests at a time looks for a free port, also where each is a process of its own.
fn alone() -> File {
    let lock = File::create(std::env::temp_dir().join("ringseed-gui-ports.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// Ends the engines of windows that are killed because a test failed.
struct Engines(PathBuf);

impl Engines {
    fn states(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        for state in self.states() {
            if let Some(endpoint) = address(&state).filter(answers) {
                Witness::at(&endpoint).command(Command::Shutdown);
            }
        }
    }
}

fn quit(mut window: Window) {
    let start = Instant::now();
    while window.ended().is_none() {
        assert!(start.elapsed() < PATIENCE, "the window does not close");
        window.focus();
        window.keys(&["ctrl+q"]);
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn answers(endpoint: &Endpoint) -> bool {
    TcpStream::connect(endpoint.host()).is_ok()
}

#[test]
fn an_engine_is_named_signed_in_to_and_remembered() {
    let engine = Engine::start_for(Some("me:secret"));
    let sign_in = SignIn { user: "me".to_owned(), password: "secret".to_owned() };
    let mut witness = Witness::at(&engine.endpoint().with_sign_in(Some(sign_in)));
    let sample = sample(engine.directory());
    let display = Display::start(1000, 640);
    let window = Window::open(&display, engine.directory(), &["--connect", "127.0.0.1:1"]);
    let deed = || {
        // The fourth line of the first menu.
        window.keys(&["Escape"]);
        window.click((24, 18), "1");
        window.click((60, 165), "1");
        window.keys(&["ctrl+a"]);
        window.types(engine.endpoint().host());
        window.keys(&["Tab", "ctrl+a"]);
        window.types("me");
        window.keys(&["Tab", "ctrl+a"]);
        window.types("secret");
        window.keys(&["Return", "ctrl+shift+o"]);
        window.types(sample.torrent.to_str().unwrap());
        window.keys(&["Return"]);
    };
    witness.until_done("a torrent through the named engine", deed, |app| !app.table().is_empty());
    drop(window);
    let settings = Settings::load(&engine.directory().join("config/ringseed/gui.json"));
    assert_eq!(settings.engine.as_deref(), Some(engine.endpoint().host()));
    // Without a name, it is the one of last time.
    let second = engine.directory().join("second.torrent");
    let data = engine.directory().join("downloads/second");
    std::fs::write(&data, "two").unwrap();
    let mut create = std::process::Command::new(program("ringseed"));
    create.args(["create", "--tracker", "http://127.0.0.1:1/announce", "--output"]).arg(&second).arg(&data);
    assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let _window = Window::open(&display, engine.directory(), &[second.to_str().unwrap()]);
    witness.until("a torrent through the engine of last time", |app| app.table().len() == 2);
}

#[test]
fn an_engine_that_a_window_starts_ends_with_it() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    remember(home.path(), "");
    let display = Display::start(1000, 640);
    let _engines = Engines(home.path().join("state"));
    let window = Window::open(&display, home.path(), &[]);
    let endpoint = engine_in(&home.path().join("state/ringseed"));
    Witness::at(&endpoint);
    quit(window);
    assert!(!answers(&endpoint), "it has ended when the window has");
}

#[test]
fn an_engine_is_left_running_when_the_user_chose_so() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    remember(home.path(), r#","keep-engine":true"#);
    let display = Display::start(1000, 640);
    let _engines = Engines(home.path().join("state"));
    let window = Window::open(&display, home.path(), &[]);
    let endpoint = engine_in(&home.path().join("state/ringseed"));
    let mut witness = Witness::at(&endpoint);
    quit(window);
    let runs = answers(&endpoint);
    witness.command(Command::Shutdown);
    let start = Instant::now();
    while answers(&endpoint) {
        assert!(start.elapsed() < PATIENCE, "the engine does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(runs, "it goes on when the window is closed");
}

#[test]
fn several_windows_have_an_engine_each() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let display = Display::start(1000, 640);
    let open = || {
        let mut program = command(&display, home.path());
        program.env("RINGSEED_GUI_ALLOW_MULTIPLE", "1");
        Window::open_with(&display, program)
    };
    let started = Engines(home.path().join("state"));
    let states = || started.states();
    let first = open();
    let start = Instant::now();
    while states().is_empty() {
        assert!(start.elapsed() < PATIENCE, "no engine was started");
        std::thread::sleep(Duration::from_millis(50));
    }
    let one = engine_in(&states()[0]);
    let second = open();
    while states().len() < 2 {
        assert!(start.elapsed() < PATIENCE * 2, "no second engine was started");
        std::thread::sleep(Duration::from_millis(50));
    }
    let engines: Vec<Endpoint> = states().iter().map(|state| engine_in(state)).collect();
    assert_ne!(engines[0], engines[1]);
    assert!(engines.len() == 2 && engines.contains(&one) && engines.iter().all(answers));
    quit(second);
    assert!(answers(&one), "each window ends its own");
    quit(first);
    assert!(!engines.iter().any(answers));
}
