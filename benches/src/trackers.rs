//! Trackers as processes on one core: ours and the ones that operators choose between.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;

use crate::ports::free_address;

/// A tracker to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Contestant {
    /// Ours.
    Ringseed,
    /// aquatic 0.9 on its io_uring back end (UDP only).
    AquaticUring,
    /// aquatic 0.9 on mio (UDP), on glommio (HTTP).
    Aquatic,
    /// Debian's opentracker.
    Opentracker,
    /// Nothing but the kernel's work, by a program that is given `--answer-at ADDRESS`.
    #[value(skip)]
    Floor,
}

impl Contestant {
    /// As it stands in results.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Ringseed => "ringseed-tracker",
            Contestant::AquaticUring => "aquatic, io_uring",
            Contestant::Aquatic => "aquatic",
            Contestant::Opentracker => "opentracker",
            Contestant::Floor => "floor",
        }
    }
}

/// Which protocol is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// BEP 15.
    Udp,
    /// BEP 3 with keep-alive.
    Http,
}

/// Where the programs are and what they are given.
#[derive(Debug)]
pub struct Trackers {
    /// Where configurations are written.
    pub dir: PathBuf,
    /// Programs by name, beside `PATH`.
    pub programs: BTreeMap<&'static str, PathBuf>,
    /// Info-hashes for a tracker that serves only those it knows.
    pub whitelist: PathBuf,
    /// The core that the tracker has for itself.
    pub cpu: usize,
    /// Further arguments for ours.
    pub arguments: Vec<String>,
}

/// A tracker that runs; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Trackers {
    /// Starts one that serves `transport` at a free port of 127.0.0.1, and waits until it answers.
    ///
    /// # Errors
    /// It is not there, ends, or does not answer in ten seconds.
    pub fn start(&self, who: Contestant, transport: Transport) -> io::Result<(Running, SocketAddr)> {
        let address = free_address()?;
        let mut command = match who {
            Contestant::Ringseed => self.ringseed(address, transport),
            Contestant::Aquatic | Contestant::AquaticUring => self.aquatic(who, address, transport)?,
            Contestant::Opentracker => self.opentracker(address)?,
            Contestant::Floor => {
                let mut command = self.command("floor");
                command.args(["--answer-at", &address.to_string()]);
                command
            }
        };
        let log = fs::File::create(self.dir.join("tracker.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Running(command.spawn()?);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers(address, transport) {
            if let Some(status) = running.0.try_wait()? {
                let log = fs::read_to_string(self.dir.join("tracker.log")).unwrap_or_default();
                return Err(io::Error::other(format!("{} ended with {status}: {log}", who.name())));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} does not answer", who.name())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok((running, address))
    }

    fn command(&self, program: &'static str) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cpu.to_string()]);
        command.arg(self.programs.get(program).map_or(OsString::from(program), |path| path.into()));
        command
    }

    fn ringseed(&self, address: SocketAddr, transport: Transport) -> Command {
        let mut command = self.command("ringseed-tracker");
        command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.arg(if transport == Transport::Udp { "--no-http" } else { "--no-udp" });
        command.args(&self.arguments);
        command
    }

    fn aquatic(&self, who: Contestant, address: SocketAddr, transport: Transport) -> io::Result<Command> {
        let path = self.dir.join("aquatic.toml");
        let mut text = format!("[network]\naddress = \"{address}\"\n");
        let mut command = match transport {
            Transport::Udp => {
                text += &format!("use_io_uring = {}\n", who == Contestant::AquaticUring);
                self.command("aquatic_udp")
            }
            Transport::Http => self.command("aquatic_http"),
        };
        fs::write(&path, text)?;
        command.arg("-c").arg(path);
        Ok(command)
    }

    /// It does not run as root, and its Debian build serves listed torrents only.
    fn opentracker(&self, address: SocketAddr) -> io::Result<Command> {
        const NOBODY: u32 = 65534;
        let path = self.dir.join("opentracker.conf");
        let (ip, port) = (address.ip(), address.port());
        let list = self.whitelist.display();
        fs::write(&path, format!("listen.tcp_udp {ip}:{port}\naccess.whitelist {list}\n"))?;
        let mut command = self.command("opentracker");
        command.arg("-f").arg(path).arg("-d").arg(&self.dir);
        // SAFETY: asks for the user, nothing else.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }
}

/// Writes the list that opentracker wants, readable for everybody.
///
/// # Errors
/// It cannot be written.
pub fn write_whitelist(path: &Path, hashes: impl Iterator<Item = [u8; 20]>) -> io::Result<()> {
    let mut text = String::new();
    for hash in hashes {
        for byte in hash {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
        text.push('\n');
    }
    fs::write(path, text)
}

fn answers(address: SocketAddr, transport: Transport) -> bool {
    match transport {
        Transport::Http => TcpStream::connect(address).is_ok(),
        Transport::Udp => ask_to_connect(address).is_ok(),
    }
}

/// One connect request (BEP 15).
fn ask_to_connect(address: SocketAddr) -> io::Result<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.connect(address)?;
    socket.send(&[0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 1, 2, 3, 4])?;
    socket.recv(&mut [0; 64])
}
