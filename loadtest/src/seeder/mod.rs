//! Seeders of any make as processes: started on one torrent, awaited until they offer all of it.

mod commands;

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use ringseed_proto::hashes::SwarmHash;
use serde::{Deserialize, Serialize};

use crate::{
    data::TestTorrent,
    ports::free_address,
    skim::{FAST_BIT, HANDSHAKE_LEN, Item, PROTOCOL, Skimmer},
};

/// Longest wait for a seeder that hashes its data first.
const START_MAX: Duration = Duration::from_secs(120);

/// How Ringseed seeds, with the places that [`Launch::ringseed_args`] fills in.
pub(crate) const RINGSEED_ARGS: &str =
    "seed {torrent} --data {data} --port {port} --state-dir {state}/engine --quiet";

/// Who seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    /// Ringseed.
    Ringseed,
    /// libtorrent (Rasterbar) through python3-libtorrent.
    Libtorrent,
    /// rTorrent.
    Rtorrent,
    /// transmission-daemon.
    Transmission,
    /// qbittorrent-nox.
    Qbittorrent,
    /// aria2.
    Aria2,
}

/// How seeders are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Cores of the seeder, as `taskset -c` takes them: `0` or `0,1`; `None` leaves it to the scheduler.
    pub cpus: Option<String>,
    /// The `ringseed` binary.
    pub ringseed: PathBuf,
    /// Its arguments; `{torrent}`, `{data}`, `{port}` and `{state}` are replaced.
    pub ringseed_args: Vec<String>,
    /// Whether seeders take encrypted connections, beside others.
    pub encrypted: bool,
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
            cpus: Some(cpus.into()),
            ringseed: beside("ringseed", ringseed)?,
            ringseed_args: arguments.split_whitespace().map(str::to_owned).collect(),
            encrypted: false,
            scratch: dir.join("state"),
        })
    }

    /// Starts a seeder of `torrent` called `name` and waits until it offers every piece. `arguments` appends the program
    /// and what it is given: the port to listen on and a directory of its own are told to it.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not seeding after two minutes; its last words are in the message.
    pub fn start(
        &self,
        name: &str,
        torrent: &TestTorrent,
        arguments: impl FnOnce(u16, &Path) -> io::Result<Vec<OsString>>,
    ) -> io::Result<Running> {
        let addr = free_address()?;
        let state = self.scratch.join(name);
        // The state of an earlier run must not help a later one.
        let _ = std::fs::remove_dir_all(&state);
        std::fs::create_dir_all(&state)?;
        let mut words: Vec<OsString> = match &self.cpus {
            Some(cpus) => vec!["taskset".into(), "-c".into(), cpus.into()],
            None => Vec::new(),
        };
        words.extend(arguments(addr.port(), &state)?);
        let log = state.join("log");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.env("HOME", &state).env("XDG_STATE_HOME", &state).env("XDG_CONFIG_HOME", &state);
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let file = std::fs::File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| {
            let program = words[0].to_string_lossy();
            io::Error::new(error.kind(), format!("{name}: cannot start {program}: {error}"))
        })?;
        let mut running = Running { child, addr };
        running.wait_until_seeding(torrent).map_err(|error| {
            let words = std::fs::read(&log).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let tail: Vec<&str> = words.lines().rev().take(5).collect();
            io::Error::other(format!("{name}: {error}: {}", tail.join(" / ")))
        })?;
        Ok(running)
    }
}

/// The program `name` beside the running one, unless another is named. A test's program is one directory further down.
///
/// # Errors
/// The running program's path is not known.
pub fn beside(name: &str, named: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe()?;
    let found = own.with_file_name(name);
    let above = own.parent().and_then(Path::parent).map(|dir| dir.join(name));
    Ok(match above {
        Some(above) if !found.exists() && above.exists() => above,
        _ => found,
    })
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

    fn wait_until_seeding(&mut self, torrent: &TestTorrent) -> io::Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            match offers_everything(self.addr, &torrent.info_hash, torrent.pieces()) {
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

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Maker {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Maker::Ringseed => "ringseed",
            Maker::Libtorrent => "libtorrent",
            Maker::Rtorrent => "rtorrent",
            Maker::Transmission => "transmission",
            Maker::Qbittorrent => "qbittorrent",
            Maker::Aria2 => "aria2",
        }
    }

    /// Its version, as it says itself; `None` when it is not installed.
    pub fn version(self, launch: &Launch) -> Option<String> {
        let [program, arguments @ ..] = &commands::version(self, launch)[..] else { return None };
        let output = Command::new(program).args(arguments).output().ok()?;
        // transmission-daemon says it on its standard error.
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let text = String::from_utf8_lossy(&text);
        text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// Starts it and waits until it offers every piece of `torrent`.
    ///
    /// # Errors
    /// See [`Launch::start`].
    pub fn start(self, torrent: &TestTorrent, launch: &Launch) -> io::Result<Running> {
        launch.start(self.name(), torrent, |port, state| commands::seed(self, torrent, launch, port, state))
    }
}

/// Shakes hands and looks whether the seeder has all `pieces` of a torrent.
///
/// # Errors
/// It does not answer, or not with the protocol.
pub fn offers_everything(addr: SocketAddr, info_hash: &SwarmHash, pieces: u32) -> io::Result<bool> {
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
