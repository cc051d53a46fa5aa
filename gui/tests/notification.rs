//! A completed download is told to the desktop: a bus of the test's own hears it.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_api::AddArgs;
use ringseed_gui::torrents::State;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use support::display::{Display, Window, command};
use support::swarm::{NAME, Swarm};
use support::witness::{Witness, first};
use support::{Engine, PATIENCE};

/// Ends a process with its value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_completed_download_is_told_to_the_desktop() {
    let mut bus = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--print-address"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("dbus-daemon is needed: engine/tests/run.sh installs it");
    let mut address = String::new();
    BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let _bus = Ending(bus);
    let mut ear = Command::new("dbus-monitor")
        .args(["--address", address.trim(), "interface='org.freedesktop.Notifications'"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(ear.stdout.take().unwrap()).lines();
    let _ear = Ending(ear);
    let (hear, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if hear.send(line).is_err() {
                return;
            }
        }
    });
    // It listens once it has been told its own name.
    heard.recv_timeout(PATIENCE).unwrap();

    let swarm = Swarm::start(500);
    let engine = Engine::start();
    let mut witness = Witness::of(&engine);
    witness.add(swarm.torrent().to_str().unwrap(), &AddArgs::default());
    witness.until("the download", |app| first(app) == Some(State::Downloading));
    let display = Display::start(1000, 640);
    let mut program = command(&display, engine.directory());
    program.args(["--connect", engine.endpoint().url()]).env("DBUS_SESSION_BUS_ADDRESS", address.trim());
    let window = Window::open_with(&display, program);
    // What was complete when the window first saw it is no news: its keys work once it has the list.
    witness.until_pressed(&window, &["Home", "ctrl+p"], Some(State::Paused));
    witness.until_pressed(&window, &["ctrl+s"], Some(State::Downloading));
    swarm.lift_limit();
    witness.until("the end of the download", |app| first(app) == Some(State::Seeding));

    let mut said = String::new();
    while !said.contains(&format!("{NAME} is complete")) {
        said.push_str(&heard.recv_timeout(PATIENCE).expect("a notification"));
        said.push('\n');
    }
    assert!(said.contains("member=Notify") && said.contains("Download complete"), "{said}");
}
