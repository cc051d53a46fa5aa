//! What the window and the desktop tell each other over the session bus: completed downloads, and dark or light.

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]
#![allow(missing_docs, reason = "of what a macro makes of a signal")]

mod support;

use ringseed_api::AddArgs;
use ringseed_gui::torrents::State;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use support::bus::{Bus, Ending};
use support::display::{Display, Window, command};
use support::screen::{DARK, LIGHT, Screen};
use support::swarm::{NAME, Swarm};
use support::witness::{Witness, first};
use support::{Engine, PATIENCE};

#[test]
fn a_completed_download_is_told_to_the_desktop() {
    let bus = Bus::start();
    let mut ear = Command::new("dbus-monitor")
        .args(["--address", bus.address(), "interface='org.freedesktop.Notifications'"])
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
    program.args(["--connect", engine.endpoint().url()]).env("DBUS_SESSION_BUS_ADDRESS", bus.address());
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

/// The part of a desktop portal that says whether the desktop is dark, 1, or light, 2.
struct Portal(u32);

#[zbus::interface(name = "org.freedesktop.portal.Settings")]
impl Portal {
    #[zbus(name = "ReadOne")]
    fn read_one(&self, namespace: &str, key: &str) -> zbus::fdo::Result<zbus::zvariant::OwnedValue> {
        match (namespace, key) {
            ("org.freedesktop.appearance", "color-scheme") => Ok(self.0.into()),
            _ => Err(zbus::fdo::Error::Failed("no such setting".to_owned())),
        }
    }

    #[zbus(signal, name = "SettingChanged")]
    async fn setting_changed(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        namespace: &str,
        key: &str,
        value: zbus::zvariant::Value<'_>,
    ) -> zbus::Result<()>;
}

#[test]
fn the_theme_is_that_of_the_desktop_and_follows_it() {
    const PATH: &str = "/org/freedesktop/portal/desktop";
    let bus = Bus::start();
    let portal = zbus::blocking::connection::Builder::address(bus.address())
        .and_then(|portal| portal.name("org.freedesktop.portal.Desktop"))
        .and_then(|portal| portal.serve_at(PATH, Portal(2)))
        .and_then(zbus::blocking::connection::Builder::build)
        .unwrap();
    let engine = Engine::start();
    let display = Display::start(1000, 640);
    let screen = Screen::of(&display);
    let mut program = command(&display, engine.directory());
    program.args(["--theme", "auto", "--connect", engine.endpoint().url()]);
    program.env("DBUS_SESSION_BUS_ADDRESS", bus.address());
    let window = Window::open_with(&display, program);
    window.place(0, 0, 1000, 640);
    screen.until_colour("the light desktop", 900, 18, LIGHT);
    portal
        .emit_signal(
            None::<&str>,
            PATH,
            "org.freedesktop.portal.Settings",
            "SettingChanged",
            &("org.freedesktop.appearance", "color-scheme", zbus::zvariant::Value::from(1u32)),
        )
        .unwrap();
    screen.until_colour("the desktop that became dark", 900, 18, DARK);
}
