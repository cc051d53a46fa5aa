//! A torrent that is really transferred: a tracker and an engine that seeds it, as processes.

use super::witness::Witness;
use super::{Engine, program};
use ringseed_api::{AddArgs, SessionSetArgs};
use ringseed_gui::rpc::Command as EngineCommand;
use ringseed_gui::torrents::State;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `ringseed-tracker` at a free port. It ends with this value.
pub struct Tracker {
    child: Child,
    announce: String,
}

impl Tracker {
    /// Starts one and waits until it serves.
    pub fn start() -> Tracker {
        let mut child = Command::new(program("ringseed-tracker"))
            .args(["--host", "127.0.0.1", "--port", "0", "--no-udp", "--interval", "5"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url =
            line.split_whitespace().find(|word| word.starts_with("http://")).expect("the tracker's URL");
        let announce = format!("{}/announce", url.trim_end_matches("/announce").trim_end_matches('/'));
        Tracker { child, announce }
    }

    /// Its announce URL.
    pub fn announce(&self) -> &str {
        &self.announce
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A swarm with one seeder.
pub struct Swarm {
    tracker: Tracker,
    seeder: Engine,
    torrent: PathBuf,
}

/// Name of the torrent: long enough and in several scripts.
pub const NAME: &str = "Sommer 2026 – 夏の写真";

impl Swarm {
    /// A folder of two files, of which each peer gets at most `rate` kB/s.
    pub fn start(rate: u64) -> Swarm {
        let tracker = Tracker::start();
        let seeder = Engine::start();
        let data = seeder.directory().join("downloads").join(NAME);
        std::fs::create_dir_all(&data).unwrap();
        write(&data.join("film.mkv"), 5 << 20);
        write(&data.join("notes.txt"), 300 << 10);
        let torrent = seeder.directory().join("film.torrent");
        let made = Command::new(program("ringseed"))
            .args(["create", "--piece-size", "64K", "--tracker", tracker.announce(), "--output"])
            .arg(&torrent)
            .arg(&data)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let mut witness = Witness::of(&seeder);
        witness.command(EngineCommand::SetSession(Box::new(SessionSetArgs {
            speed_limit_up: Some(rate),
            speed_limit_up_enabled: Some(true),
            ..SessionSetArgs::default()
        })));
        witness.add(torrent.to_str().unwrap(), &AddArgs::default());
        witness.until("the seeder", |app| super::witness::first(app) == Some(State::Seeding));
        Swarm { tracker, seeder, torrent }
    }

    /// The torrent file.
    pub fn torrent(&self) -> &Path {
        &self.torrent
    }

    /// The tracker.
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Lets everything through.
    pub fn lift_limit(&self) {
        let args = SessionSetArgs { speed_limit_up_enabled: Some(false), ..SessionSetArgs::default() };
        let mut witness = Witness::of(&self.seeder);
        witness.command(EngineCommand::SetSession(Box::new(args)));
        witness.until("the new limit", |app| {
            app.session().is_some_and(|session| !session.speed_limit_up_enabled)
        });
    }
}

/// Writes bytes that do not repeat soon.
fn write(path: &Path, size: usize) {
    let mut state = 0x9e37_79b9_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(size)
    .collect();
    std::fs::write(path, bytes).unwrap();
}
