//! A tracker with a million peers: what they cost in memory, and how long a reply takes while it is busy and while it
//! forgets them.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ringseed_benches::{
    exit_code, process,
    results::{Measurement, Results, Target, Wanted},
    trackers::{Contestant, Trackers, Transport},
};
use ringseed_loadtest::{affinity::pin_to, spread::median};
use ringseed_proto::{
    tracker::{
        AnnounceEvent, AnnounceRequest, Family,
        udp::{Request, Response},
    },
    units::{InfoHash, PeerId},
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
    /// Directory for logs
    #[arg(long, default_value = "/var/tmp/ringseed-trackers")]
    dir: PathBuf,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// Requests under way when the most is looked for.
const WINDOW: u32 = 64;
/// How long a peer lives at the least, whatever the interval.
const LIFETIME: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&plan.dir)?;
    let ours = match &plan.ringseed {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("ringseed-tracker"),
    };
    let mut trackers = Trackers {
        dir: plan.dir.clone(),
        programs: BTreeMap::from([("ringseed-tracker", ours)]),
        whitelist: PathBuf::new(),
        cpu: plan.tracker_cpu,
        arguments: Vec::new(),
    };
    pin_to(plan.load_cpu)?;
    let case = format!("{} peers in {} swarms", plan.swarms * plan.peers, plan.swarms);
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for run in 1..=plan.runs {
        let mut keep = |what, value: f64| {
            eprintln!("run {run}: {value:.1} {what}");
            values.entry(what).or_default().push(value);
        };
        trackers.arguments.clear();
        let (tracker, address) = trackers.start(Contestant::Ringseed, Transport::Udp)?;
        let empty = process::memory(tracker.pid())?.anon;
        let mut client = Client::connect(plan, address)?;
        client.fill(plan)?;
        let held = process::memory(tracker.pid())?.anon - empty;
        keep("bytes/peer", held as f64 / f64::from(plan.swarms * plan.peers));
        let most = client.most(Duration::from_secs(plan.seconds.min(5)))?;
        keep("responses/s at most", most);
        let rate = most * plan.load;
        let times = client.paced(rate, Duration::from_secs(plan.seconds))?;
        keep("p50 us", times.percentile(0.5));
        keep("p99 us", times.percentile(0.99));
        keep("p99.9 us", times.percentile(0.999));
        keep("% unanswered", times.unanswered * 100.0);
        drop(tracker);

        // Again with peers that live for a minute: those that the load does not reach in time are forgotten meanwhile.
        trackers.arguments = vec!["--interval".into(), "1".into()];
        let (tracker, address) = trackers.start(Contestant::Ringseed, Transport::Udp)?;
        let mut client = Client::connect(plan, address)?;
        client.fill(plan)?;
        std::thread::sleep(LIFETIME - Duration::from_secs(5));
        client.renew()?;
        let times = client.paced(rate, Duration::from_secs(plan.seconds + 5))?;
        keep("p99 us while peers expire", times.percentile(0.99));
        drop(tracker);
    }
    let mut results = Results::new("tracker_full");
    results.versions.insert("ringseed-tracker".into(), env!("CARGO_PKG_VERSION").into());
    let mut goals = Vec::new();
    for (what, bound) in [("bytes/peer", 64.0), ("p99 us", 1000.0), ("p99 us while peers expire", 1000.0)] {
        let value = values.get(what).and_then(|runs| median(runs)).unwrap_or(f64::NAN);
        goals.push(Target::new(what, Wanted::AtMost, bound, value));
    }
    for (what, runs) in values {
        results.measurements.push(Measurement::new("ringseed-tracker", &case, what, runs));
    }
    results.targets = goals;
    Ok(results.conclude(&plan.results)?)
}

/// Times of replies.
struct Times {
    /// Microseconds from when a request was due to its reply, in ascending order.
    sorted: Vec<f32>,
    /// Share of requests without a reply.
    unanswered: f64,
}

impl Times {
    fn percentile(&self, share: f64) -> f64 {
        let at = (self.sorted.len() as f64 * share) as usize;
        self.sorted.get(at).copied().map_or(f64::NAN, f64::from)
    }
}

/// One UDP client that announces for all peers: they differ by their port.
struct Client {
    socket: UdpSocket,
    swarms: u32,
    peers: u32,
    connection_id: u64,
    datagram: Vec<u8>,
    random: u64,
}

impl Client {
    fn connect(plan: &Plan, address: SocketAddr) -> io::Result<Client> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        let mut client = Client {
            socket,
            swarms: plan.swarms,
            peers: plan.peers,
            connection_id: 0,
            datagram: Vec::new(),
            random: 1,
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
            info_hash: InfoHash(hash),
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

    /// The transaction of the next reply to an announce, if one is there.
    fn receive(&mut self) -> io::Result<Option<u32>> {
        let mut reply = [0; 2048];
        match self.socket.recv(&mut reply) {
            Ok(count) if count >= 20 && reply[..4] == [0, 0, 0, 1] => {
                Ok(Some(u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]])))
            }
            Ok(count) => Err(io::Error::other(format!(
                "not an answer to an announce: {}",
                String::from_utf8_lossy(&reply[..count])
            ))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
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
        let began = Instant::now();
        let (mut sent, mut answered) = (0u32, 0u32);
        while began.elapsed() < time {
            while sent - answered < WINDOW {
                let peer = self.random_peer();
                if !self.send(sent, peer)? {
                    break;
                }
                sent += 1;
            }
            while self.receive()?.is_some() {
                answered += 1;
            }
        }
        Ok(f64::from(answered) / began.elapsed().as_secs_f64())
    }

    /// Asks `rate` times a second, whether answers come or not.
    fn paced(&mut self, rate: f64, time: Duration) -> io::Result<Times> {
        std::thread::sleep(Duration::from_millis(100));
        while self.receive()?.is_some() {}
        let all = (rate * time.as_secs_f64()) as u32;
        let mut sorted = Vec::with_capacity(all as usize);
        let began = Instant::now();
        let mut sent = 0;
        let end = time + Duration::from_millis(500);
        while began.elapsed() < end && sorted.len() < all as usize {
            let due = ((began.elapsed().as_secs_f64() * rate) as u32).min(all);
            // A few at most, so that replies are not left lying.
            for _ in 0..(due - sent).min(8) {
                let peer = self.random_peer();
                if self.send(sent, peer)? {
                    sent += 1;
                }
            }
            while let Some(transaction) = self.receive()? {
                let was_due = f64::from(transaction) / rate;
                sorted.push(((began.elapsed().as_secs_f64() - was_due) * 1e6) as f32);
            }
        }
        sorted.sort_unstable_by(f32::total_cmp);
        let unanswered = 1.0 - sorted.len() as f64 / f64::from(all.max(1));
        Ok(Times { sorted, unanswered })
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
    fn percentiles_are_of_the_sorted_times() {
        let times = Times { sorted: (0..1000).map(|n| n as f32).collect(), unanswered: 0.0 };
        assert_eq!((times.percentile(0.5), times.percentile(0.99)), (500.0, 990.0));
        assert!(Times { sorted: Vec::new(), unanswered: 1.0 }.percentile(0.5).is_nan());
    }
}
