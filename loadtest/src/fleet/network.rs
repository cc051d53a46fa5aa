//! Addresses for the programs of a run: of the loopback network, or in network namespaces of their own whose links
//! have a delay, a loss, a rate, and can be parted.
//!
//! Namespaces are held by descriptors of this process and by nothing else, so that none is left however it ends.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

/// Most addresses of a run: one network of 254 each.
const NUMBERS_MAX: u32 = 250;
/// Network of the links; nobody routes to it.
const LINKS: [u8; 3] = [10, 213, 76];
const BRIDGE: &str = "rs-swarm";
/// Of the slowest kernels; a token bucket gives no more than its burst per tick.
const TICKS_PER_SECOND: f64 = 100.0;
/// One send of a veth pair can be this large before it is cut.
const BURST_BYTES_MIN: f64 = 65_536.0;
/// Where links are put that are parted from the others.
const OTHER_SIDE: &str = "rs-parted";

/// What a link is like, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkShape {
    /// Delay of each packet that an engine sends, milliseconds.
    pub delay_ms: f64,
    /// Packets that are lost, percent.
    pub loss_percent: f64,
    /// Rate, megabits per second; 0 is none.
    pub rate_mbit: f64,
}

impl LinkShape {
    /// Whether a link is left as it is.
    pub fn is_plain(&self) -> bool {
        *self == LinkShape::default()
    }

    /// What `tc` is told. A rate alone takes no netem, which fewer kernels have.
    fn arguments(&self, device: &str) -> Vec<String> {
        let only_rate = LinkShape { rate_mbit: 0.0, ..*self }.is_plain();
        let kind = if only_rate { "tbf" } else { "netem" };
        let words = ["qdisc", "add", "dev", device, "root", kind];
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let mut add = |key: &str, value: f64, unit: &str| {
            if value > 0.0 {
                words.extend([key.to_owned(), format!("{value}{unit}")]);
            }
        };
        add("delay", self.delay_ms, "ms");
        add("loss", self.loss_percent, "%");
        add("rate", self.rate_mbit, "mbit");
        if only_rate {
            // What a token bucket has besides: at least a tick's worth of tokens, and as long a queue as a usual router.
            let burst = (self.rate_mbit * 1e6 / 8.0 / TICKS_PER_SECOND).max(BURST_BYTES_MIN);
            words.extend(["burst".to_owned(), format!("{}", burst as u64)]);
            words.extend(["latency".to_owned(), "50ms".to_owned()]);
        }
        words
    }
}

/// Where the programs of a run are.
#[derive(Debug)]
pub struct Network {
    base: [u8; 3],
    /// A namespace for each number from 1; empty on loopback.
    namespaces: Vec<Namespace>,
}

impl Network {
    /// Addresses of the loopback network, one for each program: 127.A.B.1 and up.
    ///
    /// # Errors
    /// More than 250 are wanted.
    pub fn loopback(count: u32) -> io::Result<Network> {
        check_count(count)?;
        // Runs side by side have other networks; what listens takes free ports all the same.
        let id = std::process::id();
        let base = [127, 16 + (id / 250 % 46) as u8, (id % 250) as u8 + 1];
        Ok(Network { base, namespaces: Vec::new() })
    }

    /// A namespace for each program, all linked by a bridge in this one, which must be one of our own ([`isolate`]).
    ///
    /// # Errors
    /// `ip` or, for a shape, `tc` (iproute2) is missing or refuses, or more than 250 are wanted.
    pub fn links(count: u32, shape: &LinkShape) -> io::Result<Network> {
        check_count(count)?;
        for (bridge, number) in [(BRIDGE, 0), (OTHER_SIDE, 254)] {
            ip(&["link", "add", bridge, "type", "bridge"], None)?;
            if number == 0 {
                ip(&["address", "add", &format!("{}/24", address(LINKS, 0)), "dev", bridge], None)?;
            }
            ip(&["link", "set", bridge, "up"], None)?;
        }
        let mut namespaces = Vec::new();
        for number in 1..=count {
            let namespace = Namespace::new()?;
            let (near, far) = (device(number), "link0");
            let place = format!("/proc/{}/fd/{}", std::process::id(), namespace.0.as_raw_fd());
            ip(&["link", "add", &near, "type", "veth", "peer", "name", far, "netns", &place], None)?;
            ip(&["link", "set", &near, "master", BRIDGE, "up"], None)?;
            let own = format!("{}/24", address(LINKS, number));
            ip(&["address", "add", &own, "dev", far], Some(&namespace))?;
            ip(&["link", "set", far, "up"], Some(&namespace))?;
            ip(&["link", "set", "lo", "up"], Some(&namespace))?;
            if !shape.is_plain() {
                let words = shape.arguments(far);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                run("tc", &words, Some(&namespace)).map_err(|error| {
                    io::Error::other(format!(
                        "{error} (the kernel needs sch_netem for delay and loss, sch_tbf for a rate alone)"
                    ))
                })?;
            }
            namespaces.push(namespace);
        }
        Ok(Network { base: LINKS, namespaces })
    }

    /// Address of program `number`; 0 is the tracker's.
    pub fn address(&self, number: u32) -> Ipv4Addr {
        address(self.base, number)
    }

    /// Has `command` run where program `number` belongs.
    pub fn place(&self, number: u32, command: &mut Command) {
        if let Some(namespace) = number.checked_sub(1).and_then(|at| self.namespaces.get(at as usize)) {
            namespace.enter(command);
        }
    }

    /// Parts programs from all others and from the tracker; among themselves they stay linked.
    ///
    /// # Errors
    /// On loopback, or when `ip` refuses.
    pub fn part(&self, numbers: &[u32]) -> io::Result<()> {
        self.plug(numbers, OTHER_SIDE)
    }

    /// Links them to all others again.
    ///
    /// # Errors
    /// On loopback, or when `ip` refuses.
    pub fn join(&self, numbers: &[u32]) -> io::Result<()> {
        self.plug(numbers, BRIDGE)
    }

    fn plug(&self, numbers: &[u32], bridge: &str) -> io::Result<()> {
        if self.namespaces.is_empty() {
            return Err(io::Error::other("the loopback network cannot be parted"));
        }
        for number in numbers {
            ip(&["link", "set", &device(*number), "master", bridge], None)?;
        }
        Ok(())
    }
}

fn check_count(count: u32) -> io::Result<()> {
    if count > NUMBERS_MAX {
        return Err(io::Error::other(format!("a run has at most {NUMBERS_MAX} programs")));
    }
    Ok(())
}

fn address(base: [u8; 3], number: u32) -> Ipv4Addr {
    // At most `NUMBERS_MAX`.
    Ipv4Addr::new(base[0], base[1], base[2], number as u8 + 1)
}

fn device(number: u32) -> String {
    format!("rs-{number}")
}

/// A network namespace that lives as long as this descriptor or a process in it.
#[derive(Debug)]
struct Namespace(OwnedFd);

impl Namespace {
    fn new() -> io::Result<Namespace> {
        // A thread of its own: the namespace of the others must not change.
        let made = std::thread::spawn(|| {
            unshare(libc::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
        });
        let made = made.join().map_err(|_| io::Error::other("the thread for a namespace panicked"))?;
        made.map(Namespace).map_err(not_allowed)
    }

    fn enter(&self, command: &mut Command) {
        let fd: RawFd = self.0.as_raw_fd();
        let before_exec = move || {
            // SAFETY: a system call without pointers, allowed between fork and exec. The descriptor is open: the
            // command is run while the network that owns it is borrowed.
            if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(before_exec) };
    }
}

/// Gives this thread, and what it starts from now on, a network and mounts of its own, with nothing in that network but
/// loopback.
///
/// # Errors
/// The user may not: it takes root, or `unshare --user --map-root-user`.
pub fn isolate() -> io::Result<()> {
    unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS).map_err(not_allowed)?;
    // What is mounted here is nobody else's business.
    run("mount", &["--make-rprivate", "/"], None)?;
    ip(&["link", "set", "lo", "up"], None)
}

/// A file system in memory, for this run only ([`isolate`]); dropped, it is gone from its directory.
#[derive(Debug)]
pub struct MemoryDisk(PathBuf);

impl MemoryDisk {
    /// Mounts one of `bytes` on the directory `at`.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn mount(at: &Path, bytes: u64) -> io::Result<MemoryDisk> {
        let size = format!("size={bytes}");
        run("mount", &["-t", "tmpfs", "-o", &size, "ringseed-loadtest", &at.to_string_lossy()], None)?;
        Ok(MemoryDisk(at.to_owned()))
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        // Lazily, for somebody may have files open; it ends with this process's namespace at the latest.
        let _ = run("umount", &["--lazy", &self.0.to_string_lossy()], None);
    }
}

fn not_allowed(error: io::Error) -> io::Error {
    let text = "namespaces need root, or `unshare --user --map-root-user` before the command";
    io::Error::new(error.kind(), format!("cannot make a namespace: {error}: {text}"))
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: a system call without pointers; it changes only what the calling thread sees.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn ip(arguments: &[&str], inside: Option<&Namespace>) -> io::Result<()> {
    run("ip", arguments, inside)
}

fn run(program: &str, arguments: &[&str], inside: Option<&Namespace>) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(namespace) = inside {
        namespace.enter(&mut command);
    }
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), words.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_gives_everybody_an_address_and_no_partition() {
        let network = Network::loopback(31).unwrap();
        let addresses: Vec<Ipv4Addr> = (0..=31).map(|number| network.address(number)).collect();
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        assert!(addresses.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(network.part(&[1]).is_err());
        assert!(Network::loopback(251).is_err());
    }

    #[test]
    fn a_shape_is_told_to_tc() {
        let shape = LinkShape { delay_ms: 20.0, loss_percent: 0.5, rate_mbit: 100.0 };
        let words = shape.arguments("link0").join(" ");
        assert_eq!(words, "qdisc add dev link0 root netem delay 20ms loss 0.5% rate 100mbit");
        assert!(LinkShape::default().is_plain() && !shape.is_plain());
        let slow = LinkShape { rate_mbit: 80.0, ..LinkShape::default() }.arguments("link0").join(" ");
        assert_eq!(slow, "qdisc add dev link0 root tbf rate 80mbit burst 100000 latency 50ms");
    }
}
