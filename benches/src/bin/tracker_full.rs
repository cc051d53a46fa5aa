//! A tracker with a million peers: what they cost in memory, and how long a reply takes while it is busy and while it
//! forgets them.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use clap::Parser;
use ringseed_benches::{
    datagrams, exit_code, process,
    results::{Measurement, Results, Target, Wanted},
    stalls::{Stall, Witness, with_what_waited},
    trackers::{Contestant, Trackers, Transport},
};
use ringseed_loadtest::{affinity::pin_to, spread::median};
use ringseed_proto::{
    hashes::SwarmHash,
    tracker::{
        AnnounceEvent, AnnounceRequest, Family,
        udp::{Request, Response},
    },
    units::PeerId,
};

/// Fills a tracker with peers and measures memory, the most it can answer, and the times of replies below that.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Swarms
    #[arg(long, default_value_t = 100_000)]
    swarms: u32,
    /// Peers of each
    #[arg(long, default_value_t = 10)]
    peers: u32,
    /// Load, as a share of the most the tracker can answer
    #[arg(long, default_value_t = 0.8)]
    load: f64,
    /// Seconds of one measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs; medians are reported
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Core of the tracker
    #[arg(long, default_value_t = 0)]
    tracker_cpu: usize,
    /// Core of the load
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// The tracker; by default beside this program
    #[arg(long)]
    ringseed: Option<PathBuf>,
    /// Directory of aquatic's programs, to measure it beside ours
    #[arg(long)]
    aquatic: Option<PathBuf>,
    /// Be the floor: answer at this address
    #[arg(long, hide = true)]
    answer_at: Option<SocketAddr>,
    /// Directory for logs
    #[arg(long, default_value = "/var/tmp/ringseed-trackers")]
    dir: PathBuf,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// Requests under way when the most is looked for: several batches of any tracker, so that it always has something to do.
const WINDOW: u32 = 256;
/// What a machine can do changes within seconds when it is a virtual one: the most is looked for again and again, for so
/// long, and the load is a share of what was found a moment ago.
const LOOK: Duration = Duration::from_millis(50);
/// How long a load lasts between two looks.
const SPELL: Duration = Duration::from_millis(200);
/// A spell counts when the load was no more than this share of the most after it, too.
const LOAD_MAX: f64 = 0.9;
/// How long a peer lives at the least, whatever the interval.
const LIFETIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    if let Some(address) = plan.answer_at {
        return Ok(datagrams::answer_at(address)?);
    }
    fs::create_dir_all(&plan.dir)?;
    let ours = match &plan.ringseed {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("ringseed-tracker"),
    };
    let mut trackers = Trackers {
        dir: plan.dir.clone(),
        programs: BTreeMap::from([("ringseed-tracker", ours), ("floor", std::env::current_exe()?)]),
        whitelist: PathBuf::new(),
        cpu: plan.tracker_cpu,
        arguments: Vec::new(),
    };
    pin_to(plan.load_cpu)?;
    let _urgent = process::become_urgent()?;
    let case = format!("{} peers in {} swarms", plan.swarms * plan.peers, plan.swarms);
    let mut contestants = vec![Contestant::Floor, Contestant::Ringseed];
    if let Some(directory) = &plan.aquatic {
        trackers.programs.insert("aquatic_udp", directory.join("aquatic_udp"));
        contestants.push(Contestant::AquaticUring);
    }
    let mut values: BTreeMap<(Contestant, &str), Vec<f64>> = BTreeMap::new();
    for run in 1..=plan.runs {
        for &who in &contestants {
            let mut keep = |what, value: f64| {
                eprintln!("run {run}, {}: {value:.1} {what}", who.name());
                values.entry((who, what)).or_default().push(value);
            };
            trackers.arguments.clear();
            let (tracker, address) = trackers.start(who, Transport::Udp)?;
            let empty = process::memory(tracker.pid())?.anon;
            let mut client = Client::connect(plan, address)?;
            client.fill(plan)?;
            let held = process::memory(tracker.pid())?.anon.saturating_sub(empty);
            keep("bytes/peer", held as f64 / f64::from(plan.swarms * plan.peers));
            let (time, before) =
                (Duration::from_secs(plan.seconds.min(5)), process::cpu_seconds(tracker.pid())?);
            keep("responses/s at most", client.most(time)?);
            let used = process::cpu_seconds(tracker.pid())? - before;
            keep("% busy at most", used / time.as_secs_f64() * 100.0);
            let times = client.paced(plan, tracker.pid(), Duration::from_secs(plan.seconds))?;
            keep("% busy", times.busy * 100.0);
            keep("p50 us", times.percentile(0.5));
            keep("p99 us", times.percentile(0.99));
            keep("p99.9 us", times.percentile(0.999));
            keep("p99 us of all", percentile(&times.all, 0.99));
            keep("% disturbed", times.left_out() * 100.0);
            keep("% unanswered", times.unanswered * 100.0);
            drop(tracker);
            if who != Contestant::Ringseed {
                continue;
            }

            // Again with peers that live for a minute: those that the load does not reach in time are forgotten meanwhile.
            trackers.arguments = vec!["--interval".into(), "1".into()];
            let (tracker, address) = trackers.start(who, Transport::Udp)?;
            let mut client = Client::connect(plan, address)?;
            client.fill(plan)?;
            std::thread::sleep(LIFETIME - Duration::from_secs(5));
            client.renew()?;
            let times = client.paced(plan, tracker.pid(), Duration::from_secs(plan.seconds + 5))?;
            keep("p99 us while peers expire", times.percentile(0.99));
            keep("p99 us of all while peers expire", percentile(&times.all, 0.99));
            drop(tracker);
        }
    }
    let mut results = Results::new("tracker_full");
    results.versions.insert("ringseed-tracker".into(), env!("CARGO_PKG_VERSION").into());
    let mut goals = Vec::new();
    for (what, bound) in [("bytes/peer", 40.0), ("p99 us", 1000.0), ("p99 us while peers expire", 1000.0)] {
        let found = values.get(&(Contestant::Ringseed, what)).and_then(|runs| median(runs));
        goals.push(Target::new(what, Wanted::AtMost, bound, found.unwrap_or(f64::NAN)));
    }
    for ((who, what), runs) in values {
        results.measurements.push(Measurement::new(who.name(), &case, what, runs));
    }
    results.targets = goals;
    Ok(results.conclude(&plan.results)?)
}

/// Times of replies, in microseconds from when a request was sent to when its reply reached the client's socket, as the
/// kernel noted it: what the client itself is late with does not count. It never waits for a reply before it sends, so a
/// stall of the tracker counts for all requests that wait.
#[derive(Default)]
struct Times {
    /// Of all requests, in ascending order.
    all: Vec<f32>,
    /// Of those that did not wait for the host of this machine, in ascending order.
    undisturbed: Vec<f32>,
    /// Share of requests without a reply.
    unanswered: f64,
    /// Share of a core that the tracker used.
    busy: f64,
}

/// A time of load.
struct Spell {
    began: Instant,
    seconds: f64,
    asked: u32,
    /// When a request was sent, in seconds after the beginning, and the microseconds to its reply.
    replies: Vec<(f64, f32)>,
    /// The load did not become too much meanwhile.
    steady: bool,
    /// CPU seconds of the tracker.
    used: f64,
}

impl Times {
    fn new(spells: Vec<Spell>, stalls: &[Stall]) -> Times {
        let mut times = Times::default();
        let (mut asked, mut seconds, mut used) = (0, 0.0, 0.0);
        for spell in spells {
            asked += spell.asked;
            seconds += spell.seconds;
            used += spell.used;
            for (sent, took) in spell.replies {
                times.all.push(took);
                let sent = spell.began + Duration::from_secs_f64(sent);
                let next = stalls.partition_point(|stall| stall.until < sent);
                if spell.steady && stalls.get(next).is_none_or(|stall| sent < stall.from) {
                    times.undisturbed.push(took);
                }
            }
        }
        times.all.sort_unstable_by(f32::total_cmp);
        times.undisturbed.sort_unstable_by(f32::total_cmp);
        times.unanswered = 1.0 - times.all.len() as f64 / f64::from(asked.max(1));
        times.busy = used / seconds;
        times
    }

    fn percentile(&self, share: f64) -> f64 {
        percentile(&self.undisturbed, share)
    }

    /// Share of requests that waited for the host.
    fn left_out(&self) -> f64 {
        1.0 - self.undisturbed.len() as f64 / self.all.len().max(1) as f64
    }
}

fn percentile(sorted: &[f32], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at).copied().map_or(f64::NAN, f64::from)
}

/// One UDP client that announces for all peers: they differ by their port.
struct Client {
    socket: UdpSocket,
    swarms: u32,
    peers: u32,
    connection_id: u64,
    datagram: Vec<u8>,
    random: u64,
    /// The next transaction.
    next: u32,
}

impl Client {
    fn connect(plan: &Plan, address: SocketAddr) -> io::Result<Client> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an integer that lives on this stack frame, and its own size is passed.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut client = Client {
            socket,
            swarms: plan.swarms,
            peers: plan.peers,
            connection_id: 0,
            datagram: Vec::new(),
            random: 1,
            next: 0,
        };
        client.renew()?;
        Ok(client)
    }

    /// Asks for a connection id, which is good for two minutes.
    fn renew(&mut self) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        self.socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut datagram = Vec::new();
        Request::Connect { transaction_id: u32::MAX }.encode(&mut datagram);
        self.socket.send(&datagram)?;
        let mut reply = [0; 2048];
        loop {
            let count = self.socket.recv(&mut reply)?;
            // Late replies of the load before may come first.
            if let Ok(Response::Connect { connection_id, .. }) = Response::decode(&reply[..count], Family::V4)
            {
                self.connection_id = connection_id;
                return self.socket.set_nonblocking(true);
            }
        }
    }

    /// Announces peer `n` of all.
    fn send(&mut self, transaction_id: u32, n: u32) -> io::Result<bool> {
        let (swarm, peer) = (n % self.swarms, n / self.swarms % self.peers);
        let mut hash = [0; 20];
        // The tracker cuts by one byte of the hash; real ones are as random.
        let mixed = u64::from(swarm).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash[..8].copy_from_slice(&mixed.to_be_bytes());
        hash[8..12].copy_from_slice(&swarm.to_be_bytes());
        let announce = AnnounceRequest {
            info_hash: SwarmHash(hash),
            peer_id: PeerId([1; 20]),
            port: 1024 + peer as u16,
            uploaded: 0,
            downloaded: 0,
            left: u64::from(peer % 4),
            event: AnnounceEvent::None,
            numwant: Some(30),
            key: None,
        };
        self.datagram.clear();
        let connection_id = self.connection_id;
        Request::Announce { connection_id, transaction_id, announce, url_data: Vec::new() }
            .encode(&mut self.datagram);
        match self.socket.send(&self.datagram) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The transaction of the next reply to an announce, if one is there, and when it came.
    fn receive(&mut self) -> io::Result<Option<(u32, SystemTime)>> {
        let mut reply = [0u8; 2048];
        let mut control = [0u64; 8];
        let mut buffer = libc::iovec { iov_base: reply.as_mut_ptr().cast(), iov_len: reply.len() };
        // SAFETY: zeros are a valid header: null pointers with lengths of zero.
        let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
        head.msg_iov = &raw mut buffer;
        head.msg_iovlen = 1;
        head.msg_control = control.as_mut_ptr().cast();
        head.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to a buffer, its vector and a control buffer, all alive and ours for the call.
        let count = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut head, 0) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        };
        if count < 20 || reply[..4] != [0, 0, 0, 1] {
            let text = String::from_utf8_lossy(&reply[..count]);
            return Err(io::Error::other(format!("not an answer to an announce: {text}")));
        }
        let mut came = SystemTime::now();
        // SAFETY: the kernel has filled in the header; the macros stay inside what it says is there.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(&raw const head);
            if !message.is_null() && (*message).cmsg_type == libc::SCM_TIMESTAMPNS {
                let at = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                came = SystemTime::UNIX_EPOCH + Duration::new(at.tv_sec as u64, at.tv_nsec as u32);
            }
        }
        Ok(Some((u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]]), came)))
    }

    fn random_peer(&mut self) -> u32 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as u32 % (self.swarms * self.peers)
    }

    /// Announces every peer once, a window at a time.
    fn fill(&mut self, plan: &Plan) -> io::Result<()> {
        let all = plan.swarms * plan.peers;
        let mut sent = 0;
        while sent < all {
            let window = WINDOW.min(all - sent);
            for n in sent..sent + window {
                while !self.send(n, n)? {}
            }
            let deadline = Instant::now() + Duration::from_secs(2);
            let mut answered = 0;
            while answered < window {
                answered += u32::from(self.receive()?.is_some());
                if Instant::now() > deadline {
                    return Err(io::Error::other("a reply was lost"));
                }
            }
            sent += window;
        }
        Ok(())
    }

    /// Replies per second when there is always something to answer.
    fn most(&mut self, time: Duration) -> io::Result<f64> {
        let first = self.begin()?;
        let began = Instant::now();
        let (mut sent, mut answered) = (0u32, 0u32);
        while began.elapsed() < time {
            while sent - answered < WINDOW {
                let peer = self.random_peer();
                if !self.send(first + sent, peer)? {
                    break;
                }
                sent += 1;
            }
            while let Some((transaction, _)) = self.receive()? {
                answered += u32::from(transaction >= first);
            }
        }
        self.next = first + sent;
        Ok(f64::from(answered) / began.elapsed().as_secs_f64())
    }

    /// Lets what is under way end; the first transaction from now on.
    fn begin(&mut self) -> io::Result<u32> {
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(2) {
            if self.receive()?.is_some() {
                quiet = Instant::now();
            }
        }
        Ok(self.next)
    }

    /// Asks again and again at a share of the most, whether answers come or not.
    fn paced(&mut self, plan: &Plan, tracker: u32, time: Duration) -> io::Result<Times> {
        let witness = Witness::start(&[plan.tracker_cpu, plan.load_cpu])?;
        let began = Instant::now();
        let mut spells = Vec::new();
        let mut most = self.most(LOOK)?;
        while began.elapsed() < time {
            let rate = most * plan.load;
            let before = process::cpu_seconds(tracker)?;
            let mut spell = self.spell(rate)?;
            spell.used = process::cpu_seconds(tracker)? - before;
            most = self.most(LOOK)?;
            spell.steady = rate <= most * LOAD_MAX;
            spells.push(spell);
        }
        let stalls = with_what_waited(&witness.stop(), plan.load);
        Ok(Times::new(spells, &stalls))
    }

    /// Asks `rate` times a second for a while.
    fn spell(&mut self, rate: f64) -> io::Result<Spell> {
        let first = self.begin()?;
        let asked = (rate * SPELL.as_secs_f64()) as u32;
        let mut replies = Vec::with_capacity(asked as usize);
        let mut sent_at = Vec::with_capacity(asked as usize);
        let (began, zero) = (Instant::now(), SystemTime::now());
        let after = |at: SystemTime| at.duration_since(zero).unwrap_or_default().as_secs_f64();
        let mut sent = 0;
        while began.elapsed() < SPELL * 3 && replies.len() < asked as usize {
            let due = ((began.elapsed().as_secs_f64() * rate) as u32).min(asked);
            // A few at most, so that replies are not left lying.
            for _ in 0..(due - sent).min(8) {
                let peer = self.random_peer();
                sent_at.truncate(sent as usize);
                sent_at.push(after(SystemTime::now()));
                if self.send(first + sent, peer)? {
                    sent += 1;
                }
            }
            while let Some((transaction, came)) = self.receive()? {
                let n = transaction.checked_sub(first).map(|n| n as usize);
                let Some(sent) = n.and_then(|n| sent_at.get(n)).copied() else { continue };
                replies.push((sent, ((after(came) - sent) * 1e6) as f32));
            }
        }
        self.next = first + sent;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Spell { began, seconds, asked, replies, steady: true, used: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Plan::command().debug_assert();
    }

    #[test]
    fn percentiles_are_of_the_undisturbed_times() {
        let began = Instant::now();
        let replies: Vec<_> = (0..1000).map(|n| (f64::from(n) / 1000.0, n as f32)).collect();
        let ms = Duration::from_millis;
        let spell = |steady, began| Spell {
            began,
            seconds: 1.0,
            asked: 1500,
            replies: replies.clone(),
            steady,
            used: 0.7,
        };
        let stall = Stall { from: began + ms(900) + ms(1) / 2, until: began + ms(2000), lasted: ms(1000) };
        let times = Times::new(vec![spell(true, began), spell(false, began + ms(3000))], &[stall]);
        assert_eq!((times.percentile(0.5), percentile(&times.all, 0.99)), (450.0, 990.0));
        assert!((times.unanswered - 1.0 / 3.0).abs() < 1e-9);
        assert!((times.left_out() - 0.5495).abs() < 1e-9);
        assert!((times.busy - 0.7).abs() < 1e-9);
        assert!(Times::new(Vec::new(), &[]).percentile(0.5).is_nan());
    }
}
