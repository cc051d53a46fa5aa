//! Other daemons with a library of many torrents: imported once, then started again as after any reboot.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use ringseed_proto::{hashes::SwarmHash, metainfo::Metainfo};

use crate::{library::Library, ports::free_address, seeder::offers_everything};

/// Torrents that are asked for to see whether all are seeded.
const SAMPLES: u32 = 25;

/// Who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// transmission-daemon
    Transmission,
    /// rTorrent
    Rtorrent,
}

/// One of them at work; dropped, it is killed.
pub struct RivalDaemon {
    rival: Rival,
    child: Child,
    started: Instant,
    peers: SocketAddr,
    pieces: u32,
    samples: Vec<SwarmHash>,
}

impl Rival {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Rival::Transmission => "transmission",
            Rival::Rtorrent => "rtorrent",
        }
    }

    /// Its version as it says itself.
    pub fn version(self) -> String {
        let output = match self {
            Rival::Transmission => Command::new("transmission-daemon").arg("--version").output(),
            Rival::Rtorrent => Command::new("rtorrent").arg("-h").output(),
        };
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }

    fn command(
        self,
        library: &Library,
        state: &Path,
        peers: SocketAddr,
        import: bool,
    ) -> io::Result<Command> {
        let mut command;
        match self {
            Rival::Transmission => {
                command = Command::new("transmission-daemon");
                command.args(["--foreground", "--no-portmap", "--no-dht", "--no-lpd", "--no-utp"]);
                command.args(["--no-global-seedratio", "--no-auth", "--rpc-bind-address", "127.0.0.1"]);
                command.args(["--port", &free_address()?.port().to_string()]);
                command.args(["--peerport", &peers.port().to_string()]);
                command.arg("--config-dir").arg(state).arg("--download-dir").arg(library.data());
                if import {
                    command.arg("--watch-dir").arg(library.torrents());
                } else {
                    command.arg("--no-watch-dir");
                }
            }
            Rival::Rtorrent => {
                let session = state.join("session");
                fs::create_dir_all(&session)?;
                let mut text = format!(
                    "system.daemon.set = true\n\
                     network.bind_address.set = 127.0.0.1\n\
                     network.local_address.set = 127.0.0.1\n\
                     network.port_range.set = {0}-{0}\n\
                     network.port_random.set = no\n\
                     protocol.encryption.set = none\n\
                     protocol.pex.set = no\n\
                     dht.mode.set = disable\n\
                     trackers.use_udp.set = no\n\
                     session.path.set = {1}\n\
                     directory.default.set = {2}\n",
                    peers.port(),
                    session.display(),
                    library.data().display(),
                );
                if import {
                    let files = library.torrents().join("*.torrent");
                    text += &format!("schedule2 = load, 0, 0, \"load.start={}\"\n", files.display());
                }
                let config = state.join("rtorrent.rc");
                fs::write(&config, text)?;
                command = Command::new("rtorrent");
                command.args(["-n", "-o"]).arg(format!("import={}", config.display()));
            }
        }
        Ok(command)
    }
}

impl RivalDaemon {
    /// Starts a daemon on `library`; its state below `base` is made first if there is none.
    ///
    /// # Errors
    /// It cannot be started, or does not come to seed what it imports.
    pub fn start(rival: Rival, library: &Library, base: &Path) -> io::Result<RivalDaemon> {
        let shape = &library.shape;
        let state: PathBuf =
            base.join(format!("{}-{}-{}x{}", rival.name(), shape.count, shape.pieces, shape.piece_length));
        fs::create_dir_all(&state)?;
        let mark = state.join("imported");
        if !mark.exists() {
            let running = RivalDaemon::spawn(rival, library, &state, true)?;
            running.wait_until_seeding(Duration::from_secs(1800))?;
            running.stop()?;
            fs::write(mark, "")?;
        }
        RivalDaemon::spawn(rival, library, &state, false)
    }

    fn spawn(rival: Rival, library: &Library, state: &Path, import: bool) -> io::Result<RivalDaemon> {
        let count = library.shape.count;
        let numbers = (0..SAMPLES).map(|sample| sample * (count - 1) / (SAMPLES - 1));
        let mut samples = Vec::new();
        for number in numbers {
            let bytes = fs::read(library.torrent(number))?;
            samples.push(Metainfo::parse(&bytes).map_err(io::Error::other)?.hashes.swarm_hash());
        }
        samples.dedup();
        let peers = free_address()?;
        let mut command = rival.command(library, state, peers, import)?;
        let log = File::create(state.join("log"))?;
        command.env("HOME", state).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn()?;
        Ok(RivalDaemon { rival, child, started, peers, pieces: library.shape.pieces, samples })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Seconds from its start until every sampled torrent is offered whole.
    ///
    /// # Errors
    /// Not all are within `limit`.
    pub fn wait_until_seeding(&self, limit: Duration) -> io::Result<f64> {
        for info_hash in &self.samples {
            while !offers_everything(self.peers, info_hash, self.pieces).unwrap_or(false) {
                if self.started.elapsed() > limit {
                    let text = format!("{} does not seed {info_hash}", self.rival.name());
                    return Err(io::Error::other(text));
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(self.started.elapsed().as_secs_f64())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// It does not within two minutes.
    pub fn stop(mut self) -> io::Result<()> {
        let began = Instant::now();
        // SAFETY: kill has no memory effects; the child is ours and not reaped yet, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > Duration::from_secs(120) {
                return Err(io::Error::other("it does not stop"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for RivalDaemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
