//! A run against a tracker: growth, mix, and what both took.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    TrackerConfig,
    client::{Answer, Client},
    crowd::{Crowd, Question},
};
use crate::{
    affinity,
    blast::source_of,
    fleet::{TrackerProcess, TrackerUse},
    histogram::{Histogram, Quantiles},
    limits::RING_ENTRIES,
    progress::Progress,
    report::{Chart, Report, Series},
    swarm::{Announce, RunError, Tools},
};

/// How often the counters are looked at for the chart.
const SAMPLE: Duration = Duration::from_millis(250);
/// Different refusals that are told.
const REASONS_MAX: usize = 10;

/// What all connections count together.
#[derive(Default)]
struct Board {
    answered: Cell<u64>,
    latency: RefCell<Histogram>,
    refused: RefCell<BTreeMap<String, u64>>,
    failed: Cell<u64>,
}

impl Board {
    fn note(&self, outcome: io::Result<Answer>, took: Duration) {
        let reason = match outcome {
            Ok(Answer::Good) => {
                self.answered.set(self.answered.get() + 1);
                self.latency.borrow_mut().record(took.as_micros() as u64);
                return;
            }
            Ok(Answer::Refused(reason)) => reason,
            Err(error) => error.to_string(),
        };
        self.failed.set(self.failed.get() + 1);
        let mut refused = self.refused.borrow_mut();
        if refused.len() < REASONS_MAX || refused.contains_key(&reason) {
            *refused.entry(reason).or_default() += 1;
        }
    }
}

/// A part of a run.
struct Part {
    seconds: f64,
    answered: u64,
    latency: Quantiles,
    rates: Vec<(f64, f64)>,
}

/// What the load thread gives back.
struct Found {
    growth: Part,
    mix: Part,
    failed: u64,
    refused: BTreeMap<String, u64>,
    repeated: u64,
    reopened: u64,
    used: [Option<TrackerUse>; 3],
}

/// Runs it; ours is started unless another tracker is named.
///
/// # Errors
/// The scenario cannot run, or nothing could be started. Refusals are part of the report.
pub fn run(config: &TrackerConfig, tools: &Tools, progress: &Progress) -> Result<Report, RunError> {
    config.check()?;
    let home = tools.run_dir()?;
    let own = match config.addr {
        Some(_) => None,
        None => Some(start(config, tools, home.path())?),
    };
    // One of them is there.
    let addr = config.addr.or_else(|| own.as_ref().map(TrackerProcess::addr));
    let addr = addr.ok_or(RunError::NoTracker)?;
    let found = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            if let Some(cpu) = config.load_cpu {
                affinity::pin_to(cpu).map_err(RunError::doing(format!("run on core {cpu}")))?;
            }
            let mut ring = tokio_uring::uring_builder();
            ring.setup_coop_taskrun().setup_cqsize(RING_ENTRIES * 4);
            let mut builder = tokio_uring::builder();
            builder.entries(RING_ENTRIES).uring_builder(&ring);
            let runtime = tokio_uring::Runtime::new(&builder);
            let runtime = runtime.map_err(RunError::doing("start the load thread's io_uring"))?;
            runtime.block_on(load(config, addr, own.as_ref(), progress))
        });
        load.join().map_err(|_| RunError::LoadPanicked)?
    })?;
    let mut report = report(config, &found);
    if own.is_some() {
        report.versions.insert("ringseed-tracker".into(), Tools::version(&tools.tracker));
    }
    progress.done();
    Ok(report)
}

fn start(config: &TrackerConfig, tools: &Tools, home: &std::path::Path) -> Result<TrackerProcess, RunError> {
    let mut program = tools.tracker.clone();
    let mut arguments = config.tracker_args.clone();
    if let Some(cpu) = config.tracker_cpu {
        // A script of one line keeps the way a tracker is started the same everywhere.
        program = home.join("tracker-on-core");
        let script = format!("#!/bin/sh\nexec taskset -c {cpu} \"{}\" \"$@\"\n", tools.tracker.display());
        write_script(&program, &script).map_err(RunError::doing("write a script"))?;
    }
    arguments.extend(["--interval".to_owned(), "1800".into()]);
    TrackerProcess::start(&program, Ipv4Addr::LOCALHOST, &arguments, home)
        .map_err(RunError::doing("start the tracker"))
}

fn write_script(path: &std::path::Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

async fn load(
    config: &TrackerConfig,
    addr: SocketAddr,
    own: Option<&TrackerProcess>,
    progress: &Progress,
) -> Result<Found, RunError> {
    let mut pairs = Vec::new();
    for number in 0..config.connections {
        let source = config.spreads_sources().then(|| source_of(number));
        let client = match config.transport {
            Announce::Udp => Client::udp(addr, source).map_err(RunError::doing("open a socket"))?,
            Announce::Http => Client::http(addr, source),
        };
        pairs.push((client, Crowd::new(config, number)));
    }
    let used = || own.and_then(|tracker| tracker.used().ok());
    let before = used();
    let board = Rc::new(Board::default());
    let limit = Instant::now() + Duration::from_secs_f64(config.growth_limit_s);
    let show = |answered: u64| {
        progress.show(answered * 1000 / config.peers.max(1), format!("{answered} peers announced"));
    };
    let (growth, pairs) = phase(pairs, &board, limit, Crowd::newcomer, show).await;
    let grown = used();
    let until = Instant::now() + Duration::from_secs_f64(config.seconds);
    let show = |answered: u64| progress.show(1000, format!("{answered} requests of the mix answered"));
    let (mix, pairs) = phase(pairs, &board, until, Crowd::anything, show).await;
    let mixed = used();
    // Whoever is away returns; this is not measured.
    let far = Instant::now() + Duration::from_secs(60);
    let (_, pairs) = phase(pairs, &board, far, Crowd::returning, |_| ()).await;
    let repeated = pairs.iter().map(|(client, _)| client.repeated).sum();
    let reopened = pairs.iter().map(|(client, _)| client.reopened).sum();
    let last = used().or(mixed);
    let peers_at_end = last.map(|last| last.peers);
    let mixed = mixed.map(|used| TrackerUse { peers: peers_at_end.unwrap_or(used.peers), ..used });
    let (failed, refused) = (board.failed.get(), board.refused.take());
    Ok(Found { growth, mix, failed, refused, repeated, reopened, used: [before, grown, mixed] })
}

/// Has all connections ask what `next` gives until it gives nothing or the time is over.
async fn phase(
    pairs: Vec<(Client, Crowd)>,
    board: &Rc<Board>,
    until: Instant,
    next: fn(&mut Crowd) -> Option<Question>,
    show: impl Fn(u64),
) -> (Part, Vec<(Client, Crowd)>) {
    board.answered.set(0);
    board.latency.replace(Histogram::default());
    let began = Instant::now();
    let working = Rc::new(Cell::new(pairs.len()));
    let finished = Rc::new(Cell::new(began));
    let mut tasks = Vec::new();
    for (mut client, mut crowd) in pairs {
        let (board, working, finished) = (board.clone(), working.clone(), finished.clone());
        tasks.push(tokio_uring::spawn(async move {
            while Instant::now() < until
                && let Some(question) = next(&mut crowd)
            {
                let asked = Instant::now();
                let outcome = client.ask(&question).await;
                board.note(outcome, asked.elapsed());
            }
            working.set(working.get() - 1);
            finished.set(Instant::now());
            (client, crowd)
        }));
    }
    let (mut rates, mut last) = (Vec::new(), (0.0, 0));
    while working.get() > 0 {
        tokio::time::sleep(SAMPLE).await;
        let now = (began.elapsed().as_secs_f64(), board.answered.get());
        rates.push((now.0, (now.1 - last.1) as f64 / (now.0 - last.0)));
        last = now;
        show(now.1);
    }
    let seconds = (finished.get() - began).as_secs_f64();
    let mut pairs = Vec::new();
    for task in tasks {
        // A task does not panic by itself; one that did has no connection to give back.
        if let Ok(pair) = task.await {
            pairs.push(pair);
        }
    }
    let latency = board.latency.borrow().quantiles();
    (Part { seconds, answered: board.answered.get(), latency, rates }, pairs)
}

fn report(config: &TrackerConfig, found: &Found) -> Report {
    let mut report = Report::new("tracker", &config.name, config);
    let grown = found.growth.answered;
    report.check("every peer is announced", grown == config.peers, format!("{grown} of {}", config.peers));
    let reasons: Vec<String> = found.refused.iter().map(|(why, count)| format!("{count} x {why}")).collect();
    let detail = if reasons.is_empty() { "none".to_owned() } else { reasons.join("; ") };
    report.check("no request is refused or lost", found.failed == 0, detail);
    for (name, part) in [("growth", &found.growth), ("mix", &found.mix)] {
        let label = [("part", name)];
        let rate = part.answered as f64 / part.seconds.max(1e-9);
        report.labelled("requests_answered", "Requests that were answered.", &label, part.answered as f64);
        report.labelled("requests_per_second", "Answers per second.", &label, rate);
        for (quantile, us) in
            [("0.5", part.latency.p50), ("0.99", part.latency.p99), ("0.999", part.latency.p999)]
        {
            let labels = [("part", name), ("quantile", quantile)];
            report.labelled("request_seconds", "From question to answer.", &labels, us as f64 / 1e6);
        }
    }
    report.number("requests_repeated", "Datagrams sent again for lack of an answer.", found.repeated as f64);
    report.number("connections_reopened", "HTTP connections that were closed.", found.reopened as f64);
    if let [Some(before), Some(grown), Some(mixed)] = &found.used {
        let expected = config.peers as f64;
        report.check(
            "the tracker knows every peer",
            mixed.peers == expected,
            format!("{} of {expected}", mixed.peers),
        );
        for (name, from, to, part) in
            [("growth", before, grown, &found.growth), ("mix", grown, mixed, &found.mix)]
        {
            let used = (to.cpu_seconds - from.cpu_seconds) / (part.answered as f64).max(1.0);
            report.labelled(
                "tracker_cpu_seconds_per_request",
                "CPU of the tracker.",
                &[("part", name)],
                used,
            );
        }
        report.number("tracker_peers", "Peers that the tracker knows at the end.", mixed.peers);
        report.number(
            "tracker_bytes_per_peer",
            "Growth of the tracker's anonymous memory by each peer.",
            (grown.anon - before.anon) / grown.peers.max(1.0),
        );
    }
    let growth = Series::new("growth", &found.growth.rates);
    let shifted: Vec<(f64, f64)> =
        found.mix.rates.iter().map(|(at, rate)| (at + found.growth.seconds, *rate)).collect();
    let series = vec![growth, Series::new("mix", &shifted)];
    report.charts.push(Chart::lines("Answers", "seconds", "per second", series));
    report
}
