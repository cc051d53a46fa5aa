//! Counters of the tracker and the pages that show them.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::announce_service::Held;

/// A kind of request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// UDP connect.
    UdpConnect,
    /// UDP announce.
    UdpAnnounce,
    /// UDP scrape.
    UdpScrape,
    /// A datagram that is none of these.
    UdpOther,
    /// HTTP announce.
    HttpAnnounce,
    /// HTTP scrape.
    HttpScrape,
    /// Statistics, metrics or health.
    HttpPage,
    /// Any other HTTP request.
    HttpOther,
}

/// What became of a request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Answered,
    /// It could be read, but makes no sense or is not allowed.
    Refused,
    /// It could not be read.
    Malformed,
    /// UDP: without a valid connection id.
    Unproven,
}

const REQUESTS: [(Request, &str, &str); 8] = [
    (Request::UdpConnect, "udp", "connect"),
    (Request::UdpAnnounce, "udp", "announce"),
    (Request::UdpScrape, "udp", "scrape"),
    (Request::UdpOther, "udp", "other"),
    (Request::HttpAnnounce, "http", "announce"),
    (Request::HttpScrape, "http", "scrape"),
    (Request::HttpPage, "http", "page"),
    (Request::HttpOther, "http", "other"),
];

/// Seconds; a reply takes some microseconds, and a millisecond is too long.
const LATENCY_BUCKETS: [f64; 9] = [10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 3e-3, 10e-3, 100e-3, 1.0];

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Answered, "answered"),
    (Outcome::Refused, "refused"),
    (Outcome::Malformed, "malformed"),
    (Outcome::Unproven, "unproven"),
];

/// Counts of one thread that are not with the others yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: [[u32; OUTCOMES.len()]; REQUESTS.len()],
    pub(crate) peers_given: u64,
    pub(crate) not_remembered: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, request: Request, outcome: Outcome) {
        self.requests[request as usize][outcome as usize] += 1;
    }
}

/// What the tracker has counted since it started, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerStats {
    /// Torrents, counted once per address family that they have peers in.
    pub torrents: u64,
    /// Peers of both address families.
    pub peers: u64,
    /// Of those the ones that have everything.
    pub seeders: u64,
    /// Announces answered, over HTTP and UDP.
    pub announces: u64,
    /// Scrapes answered, over HTTP and UDP.
    pub scrapes: u64,
    /// Requests that were refused, not readable or without a valid connection id.
    pub rejected: u64,
    /// HTTP connections now.
    pub http_connections: u64,
}

/// The tracker's metrics. All are atomic: any thread may read them at any time.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: [[IntCounter; OUTCOMES.len()]; REQUESTS.len()],
    torrents: [IntGauge; 2],
    peers: [IntGauge; 2],
    seeders: IntGauge,
    memory: IntGauge,
    /// Seconds from taking a request out of its socket to its reply; the whole batch's for one of a batch.
    pub(crate) http_seconds: Histogram,
    pub(crate) udp_seconds: Histogram,
    pub(crate) peers_given: IntCounter,
    pub(crate) peers_expired: IntCounter,
    pub(crate) not_remembered: IntCounter,
    pub(crate) http_connections: IntGauge,
    pub(crate) http_accepted: IntCounter,
    pub(crate) http_evicted: IntCounter,
    pub(crate) http_accept_errors: IntCounter,
    pub(crate) udp_receive_errors: IntCounter,
    pub(crate) udp_send_errors: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("ringseed_tracker_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |opts: Opts| {
            let gauge = IntGauge::with_opts(opts)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by_family = |name: &str, help: &str| {
            let of = |family| gauge(Opts::new(name, help).const_label("family", family));
            Ok::<_, prometheus::Error>([of("ipv4")?, of("ipv6")?])
        };
        let seconds = |transport| {
            let name = "ringseed_tracker_request_seconds";
            let help =
                "Time from taking a request to its reply; for UDP that of its batch, once for each batch.";
            let opts = HistogramOpts::new(name, help).const_label("transport", transport);
            let histogram = Histogram::with_opts(opts.buckets(LATENCY_BUCKETS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let requests = IntCounterVec::new(
            Opts::new("ringseed_tracker_requests_total", "Requests by transport, kind and result."),
            &["transport", "kind", "result"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Metrics {
            requests: REQUESTS.map(|(_, transport, kind)| {
                OUTCOMES.map(|(_, result)| requests.with_label_values(&[transport, kind, result]))
            }),
            torrents: by_family("ringseed_tracker_torrents", "Torrents that have peers.")?,
            peers: by_family("ringseed_tracker_peers", "Peers.")?,
            seeders: gauge(Opts::new("ringseed_tracker_seeders", "Peers that have everything."))?,
            memory: gauge(Opts::new("ringseed_tracker_resident_bytes", "Memory of the process."))?,
            http_seconds: seconds("http")?,
            udp_seconds: seconds("udp")?,
            peers_given: counter("peers_given_total", "Peers named in replies to announces.")?,
            peers_expired: counter("peers_expired_total", "Peers forgotten because they did not come back.")?,
            not_remembered: counter(
                "announces_not_remembered_total",
                "Announces that were answered although the tracker had no room for the peer.",
            )?,
            http_connections: gauge(Opts::new(
                "ringseed_tracker_http_connections",
                "Open HTTP connections.",
            ))?,
            http_accepted: counter("http_connections_accepted_total", "HTTP connections accepted.")?,
            http_evicted: counter(
                "http_connections_evicted_total",
                "HTTP connections closed to make room for new ones.",
            )?,
            http_accept_errors: counter("http_accept_errors_total", "HTTP connections that failed to open.")?,
            udp_receive_errors: counter("udp_receive_errors_total", "Errors of receiving datagrams.")?,
            udp_send_errors: counter("udp_send_errors_total", "Replies that the kernel refused to send.")?,
            registry,
        })
    }

    pub(crate) fn count(&self, request: Request, outcome: Outcome) {
        self.requests[request as usize][outcome as usize].inc();
    }

    /// Takes over what was counted elsewhere and sets that to zero.
    pub(crate) fn add(&self, tally: &mut Tally) {
        for (counters, counts) in self.requests.iter().zip(&mut tally.requests) {
            for (counter, count) in counters.iter().zip(counts) {
                if *count > 0 {
                    counter.inc_by(u64::from(std::mem::take(count)));
                }
            }
        }
        self.peers_given.inc_by(std::mem::take(&mut tally.peers_given));
        if tally.not_remembered > 0 {
            self.not_remembered.inc_by(std::mem::take(&mut tally.not_remembered));
        }
    }

    pub(crate) fn set_held(&self, held: &Held) {
        let set = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.torrents[0], held.torrents_v4);
        set(&self.torrents[1], held.torrents_v6);
        set(&self.peers[0], held.peers_v4);
        set(&self.peers[1], held.peers_v6);
        set(&self.seeders, held.seeders);
    }

    fn requests(&self, requests: &[Request], outcomes: &[Outcome]) -> u64 {
        let counters = requests.iter().map(|&request| &self.requests[request as usize]);
        counters.flat_map(|of| outcomes.iter().map(|&outcome| of[outcome as usize].get())).sum()
    }

    pub(crate) fn stats(&self) -> TrackerStats {
        let value = |gauge: &IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        let all = REQUESTS.map(|(request, ..)| request);
        TrackerStats {
            torrents: self.torrents.iter().map(value).sum(),
            peers: self.peers.iter().map(value).sum(),
            seeders: value(&self.seeders),
            announces: self.requests(&[Request::UdpAnnounce, Request::HttpAnnounce], &[Outcome::Answered]),
            scrapes: self.requests(&[Request::UdpScrape, Request::HttpScrape], &[Outcome::Answered]),
            rejected: self.requests(&all, &[Outcome::Refused, Outcome::Malformed, Outcome::Unproven]),
            http_connections: value(&self.http_connections),
        }
    }

    /// The page for Prometheus, in its text format.
    pub(crate) fn prometheus_page(&self) -> Vec<u8> {
        self.memory.set(resident_bytes());
        let mut page = Vec::new();
        // Writing to a vector fails only for metrics without names.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut page);
        page
    }

    /// The page for people.
    pub(crate) fn stats_page(&self, uptime: Duration) -> String {
        let stats = self.stats();
        let mut page = format!("ringseed-tracker {}\n\n", env!("CARGO_PKG_VERSION"));
        let rows = [
            ("running for", format!("{} s", uptime.as_secs())),
            ("torrents", stats.torrents.to_string()),
            ("  with IPv4 peers", self.torrents[0].get().to_string()),
            ("  with IPv6 peers", self.torrents[1].get().to_string()),
            ("peers", stats.peers.to_string()),
            ("  IPv4", self.peers[0].get().to_string()),
            ("  IPv6", self.peers[1].get().to_string()),
            ("  seeders", stats.seeders.to_string()),
            ("announces", stats.announces.to_string()),
            ("  over HTTP", self.requests(&[Request::HttpAnnounce], &[Outcome::Answered]).to_string()),
            ("  over UDP", self.requests(&[Request::UdpAnnounce], &[Outcome::Answered]).to_string()),
            ("scrapes", stats.scrapes.to_string()),
            ("requests rejected", stats.rejected.to_string()),
            ("memory, MiB", (resident_bytes() >> 20).to_string()),
            ("HTTP connections", stats.http_connections.to_string()),
        ];
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "{name:<20} {value:>12}");
        }
        page
    }
}

/// Resident memory of this process; 0 when the kernel does not tell.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<i64>().map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_their_enums() {
        for (n, (request, ..)) in REQUESTS.iter().enumerate() {
            assert_eq!(*request as usize, n);
        }
        for (n, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, n);
        }
    }

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.count(Request::UdpAnnounce, Outcome::Answered);
        metrics.count(Request::HttpAnnounce, Outcome::Answered);
        metrics.count(Request::UdpScrape, Outcome::Unproven);
        metrics.set_held(&Held { torrents_v4: 3, peers_v4: 7, peers_v6: 1, seeders: 2, ..Held::default() });
        let stats = metrics.stats();
        assert_eq!((stats.announces, stats.rejected), (2, 1));
        assert_eq!((stats.torrents, stats.peers, stats.seeders), (3, 8, 2));
        let page = String::from_utf8(metrics.prometheus_page()).unwrap();
        for line in [
            "ringseed_tracker_requests_total{kind=\"announce\",result=\"answered\",transport=\"udp\"} 1",
            "ringseed_tracker_peers{family=\"ipv4\"} 7",
            "ringseed_tracker_seeders 2",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(metrics.stats_page(Duration::from_secs(61)).contains("61 s"));
    }
}
