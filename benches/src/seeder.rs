//! The seeders under measurement, each as a process of its own pinned to one core.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use ringseed_loadtest::skim::{FAST_BIT, HANDSHAKE_LEN, Item, PROTOCOL, Skimmer};
use ringseed_proto::units::InfoHash;
use serde::Serialize;

use crate::{daemon, data::TestTorrent, ports::free_address};

/// Who seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seeder {
    /// The bare ring sender of this crate.
    Floor,
    /// Ringseed.
    Ringseed,
    /// libtorrent (Rasterbar) through python3-libtorrent.
    Libtorrent,
    /// rTorrent.
    Rtorrent,
}

/// How the seeders are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Cores of the seeder, as `taskset -c` takes them: `0` or `0,1`.
    pub cpus: String,
    /// The `ringseed` binary.
    pub ringseed: PathBuf,
    /// Its arguments; `{torrent}`, `{data}` and `{port}` are replaced.
    pub ringseed_args: Vec<String>,
    /// Directory for the state of seeders.
    pub scratch: PathBuf,
}

impl Launch {
    /// On the cores `cpus`, with state below `dir`; `ringseed` is by default the binary beside this program, started
    /// with the words of `arguments`.
    ///
    /// # Errors
    /// The path of this program is not known.
    pub fn new(cpus: &str, dir: &Path, ringseed: Option<&Path>, arguments: &str) -> io::Result<Launch> {
        Ok(Launch {
            cpus: cpus.into(),
            ringseed: daemon::program(ringseed)?,
            ringseed_args: arguments.split_whitespace().map(str::to_owned).collect(),
            scratch: dir.join("state"),
        })
    }
}

/// A running seeder; dropped, it is killed.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Running {
    /// Process id of the seeder.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seeder {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Seeder::Floor => "floor",
            Seeder::Ringseed => "ringseed",
            Seeder::Libtorrent => "libtorrent",
            Seeder::Rtorrent => "rtorrent",
        }
    }

    /// Its version, as it says itself; `None` when it is not installed.
    pub fn version(self, launch: &Launch) -> Option<String> {
        let mut command = match self {
            Seeder::Floor => return Some(env!("CARGO_PKG_VERSION").into()),
            Seeder::Ringseed => {
                let mut command = Command::new(&launch.ringseed);
                command.arg("--version");
                command
            }
            Seeder::Libtorrent => {
                let mut command = Command::new("/usr/bin/python3");
                command.args(["-c", "import libtorrent; print(libtorrent.version)"]);
                command
            }
            Seeder::Rtorrent => {
                let mut command = Command::new("rtorrent");
                command.arg("-h");
                command
            }
        };
        let output = command.stderr(Stdio::null()).output().ok().filter(|o| o.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// Starts the seeder and waits until it offers every piece of `torrent`.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not seeding after two minutes; its last words are in the message.
    pub fn start(self, torrent: &TestTorrent, launch: &Launch) -> io::Result<Running> {
        let addr = free_address()?;
        let state = launch.scratch.join(self.name());
        // The state of an earlier run must not help a later one.
        let _ = std::fs::remove_dir_all(&state);
        std::fs::create_dir_all(&state)?;
        let log = state.join("log");
        let mut command = Command::new("taskset");
        command.args(["-c", &launch.cpus]);
        self.arguments(&mut command, torrent, launch, addr.port(), &state)?;
        command.env("HOME", &state).env("XDG_STATE_HOME", &state).env("XDG_CONFIG_HOME", &state);
        command.stdin(Stdio::null());
        let file = std::fs::File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let mut running = Running { child: command.spawn()?, addr };
        running.wait_until_seeding(torrent).map_err(|error| {
            let words = std::fs::read_to_string(&log).unwrap_or_default();
            let tail: Vec<&str> = words.lines().rev().take(5).collect();
            io::Error::other(format!("{}: {error}: {}", self.name(), tail.join(" / ")))
        })?;
        Ok(running)
    }

    fn arguments(
        self,
        command: &mut Command,
        torrent: &TestTorrent,
        launch: &Launch,
        port: u16,
        state: &Path,
    ) -> io::Result<()> {
        match self {
            Seeder::Floor => {
                command.arg(std::env::current_exe()?).arg("floor").arg(torrent.file());
                command.args([torrent.piece_length.to_string(), port.to_string()]);
            }
            Seeder::Ringseed => {
                command.arg(&launch.ringseed);
                command.args(launch.ringseed_args.iter().map(|arg| {
                    arg.replace("{torrent}", &torrent.metainfo.to_string_lossy())
                        .replace("{data}", &torrent.dir.to_string_lossy())
                        .replace("{port}", &port.to_string())
                }));
            }
            Seeder::Libtorrent => {
                let script = state.join("seed.py");
                std::fs::write(&script, include_str!("seed_libtorrent.py"))?;
                command.arg("/usr/bin/python3").arg(script).arg(&torrent.metainfo).arg(&torrent.dir);
                command.arg(port.to_string());
            }
            Seeder::Rtorrent => {
                let config = state.join("rtorrent.rc");
                std::fs::write(&config, rtorrent_config(torrent, port))?;
                command.args(["rtorrent", "-n", "-o"]);
                command.arg(format!("import={}", config.display()));
            }
        }
        Ok(())
    }
}

/// rTorrent without a terminal, one port, no encryption, every peer served.
fn rtorrent_config(torrent: &TestTorrent, port: u16) -> String {
    format!(
        "system.daemon.set = true\n\
         network.bind_address.set = 127.0.0.1\n\
         network.local_address.set = 127.0.0.1\n\
         network.port_range.set = {port}-{port}\n\
         network.port_random.set = no\n\
         network.max_open_sockets.set = 4096\n\
         network.listen.backlog.set = 1024\n\
         protocol.encryption.set = none\n\
         protocol.pex.set = no\n\
         dht.mode.set = disable\n\
         trackers.use_udp.set = no\n\
         throttle.global_up.max_rate.set_kb = 0\n\
         throttle.max_uploads.set = 10000\n\
         throttle.max_uploads.global.set = 10000\n\
         throttle.max_peers.normal.set = 10000\n\
         throttle.max_peers.seed.set = 10000\n\
         network.send_buffer.size.set = 4M\n\
         pieces.memory.max.set = 6G\n\
         directory.default.set = {}\n\
         schedule2 = load, 0, 0, \"load.start={}\"\n",
        torrent.dir.display(),
        torrent.metainfo.display()
    )
}

impl Running {
    fn wait_until_seeding(&mut self, torrent: &TestTorrent) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            match offers_everything(self.addr, &torrent.info_hash, pieces_of(torrent)) {
                Ok(true) => return Ok(()),
                outcome if Instant::now() > deadline => {
                    let why = outcome.err().map(|e| format!(" ({e})")).unwrap_or_default();
                    return Err(io::Error::other(format!("is not seeding after two minutes{why}")));
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

fn pieces_of(torrent: &TestTorrent) -> u32 {
    torrent.total.div_ceil(u64::from(torrent.piece_length)) as u32
}

/// Shakes hands and looks whether the seeder has all `pieces` of a torrent.
///
/// # Errors
/// It does not answer, or not with the protocol.
pub fn offers_everything(addr: SocketAddr, info_hash: &InfoHash, pieces: u32) -> io::Result<bool> {
    // From an address that no peer of the load uses.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 63, 0, 1), 0)).into())?;
    socket.connect_timeout(&addr.into(), Duration::from_secs(2))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut stream: std::net::TcpStream = socket.into();
    let mut hello = Vec::with_capacity(HANDSHAKE_LEN);
    hello.extend_from_slice(PROTOCOL);
    hello.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, FAST_BIT]);
    hello.extend_from_slice(&info_hash.0);
    hello.extend_from_slice(b"-RL0100-probe-probe-");
    stream.write_all(&hello)?;
    let mut skimmer = Skimmer::new(pieces);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(false);
        }
        let mut input = &buffer[..n];
        while let Some(item) = skimmer.next(&mut input).map_err(io::Error::other)? {
            match item {
                Item::HaveAll => return Ok(true),
                Item::Bitfield(bits) => {
                    return Ok(bits.iter().map(|b| b.count_ones()).sum::<u32>() == pieces);
                }
                Item::HaveNone | Item::Payload { .. } => return Ok(false),
                _ => {}
            }
        }
    }
}
