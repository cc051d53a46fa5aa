//! What a swarm came to: every byte compared, and the report.

use std::time::{Duration, Instant};

use super::{Action, SwarmConfig, same_bytes, seat::Seat, world::World};
use crate::{
    fleet::Traffic,
    report::{Chart, Report, Series},
    scenario::Kind,
    spread::Spread,
};

/// What engines say of a full disk.
const NO_SPACE: &str = "no space left";
/// Engines publish what they count a few times a second while they work, and the last of it a little later.
const PUBLISHED_MAX: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

/// Ends the engines, compares what they have, and writes down all that was seen in `seconds`.
pub(super) fn report(config: &SwarmConfig, world: &mut World, seconds: f64) -> Report {
    let kind = if config.kind == Kind::Chaos { "chaos" } else { "swarm" };
    let mut report = Report::new(kind, &config.name, config);
    let all_complete = world.all_complete();
    let began = Instant::now();
    while !world.all_counted() && began.elapsed() < PUBLISHED_MAX {
        std::thread::sleep(LOOK);
        world.look(seconds + began.elapsed().as_secs_f64());
    }
    let traffic: Vec<Traffic> = world.seats.iter().map(moved).collect();
    let tracker = world.tracker_used();
    world.stop_all();
    checks(&mut report, world, all_complete, seconds);
    times(&mut report, world);
    costs(&mut report, world, &traffic, seconds);
    match tracker {
        Ok(used) => {
            report.number("tracker_announces", "Announces that the tracker answered.", used.announces);
            report.number("tracker_refused", "Requests that the tracker refused.", used.refused);
            report.number("tracker_cpu_seconds", "CPU seconds of the tracker.", used.cpu_seconds);
        }
        Err(error) => report.check("the tracker answers", false, error.to_string()),
    }
    table(&mut report, world, &traffic);
    charts(&mut report, world);
    report
}

/// What an engine used and moved. Its metrics count from the first look at them, what it says of the torrent from the
/// beginning but not what a kill took from its store: the larger one is nearer.
fn moved(seat: &Seat) -> Traffic {
    let traffic = seat.engine.settled_traffic().unwrap_or_default();
    Traffic {
        payload_received: traffic.payload_received.max(seat.last.received as f64),
        payload_sent: traffic.payload_sent.max(seat.last.sent as f64),
        ..traffic
    }
}

fn checks(report: &mut Report, world: &World, all_complete: bool, seconds: f64) {
    let peers = world.config.peers;
    let complete = world.peers().filter(|seat| seat.complete.is_some()).count();
    let detail = format!("{complete} of {peers} in {seconds:.1} s");
    report.check("every peer has everything", all_complete, detail);
    let original = world.torrent.file();
    let mut exact = 0;
    let mut wrong = Vec::new();
    for seat in world.peers() {
        let name = &seat.engine.spec.name;
        match same_bytes(&original, &seat.engine.spec.data.join(&world.torrent.name)) {
            Ok(None) => exact += 1,
            Ok(Some(at)) => wrong.push(format!("{name} differs at byte {at}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    let detail = if wrong.is_empty() {
        format!("{exact} of {peers} files of {} bytes are as the original", world.torrent.total)
    } else {
        wrong.join("; ")
    };
    report.check("byte-exact", wrong.is_empty(), detail);
    let incidents = &world.incidents;
    let detail = if incidents.is_empty() { "none".to_owned() } else { incidents.join("; ") };
    report.check(
        "no engine ended by itself, forgot its torrent or stopped badly",
        incidents.is_empty(),
        detail,
    );
    for event in world.config.event.iter().filter(|event| event.action == Action::DiskFull) {
        let names = event.peers.iter().map(|number| format!("peer {number}"));
        let silent: Vec<String> = names
            .filter(|name| {
                let seat = world.peers().find(|seat| seat.engine.spec.name == *name);
                !seat.is_some_and(|seat| seat.complaints.iter().any(|what| what.contains(NO_SPACE)))
            })
            .collect();
        let detail = if silent.is_empty() {
            "by every peer that had one".to_owned()
        } else {
            format!("nothing from {}", silent.join(", "))
        };
        report.check("a full disk is told", silent.is_empty(), detail);
    }
}

/// Seconds that each peer took from its arrival, sorted.
fn durations(world: &World) -> Vec<f64> {
    let mut taken: Vec<f64> = world.peers().filter_map(|seat| Some(seat.complete? - seat.joined?)).collect();
    taken.sort_by(f64::total_cmp);
    taken
}

fn times(report: &mut Report, world: &World) {
    let taken = durations(world);
    let peers = world.config.peers as usize;
    for (label, share) in [("50", 0.5), ("90", 0.9), ("100", 1.0)] {
        let needed = ((peers as f64 * share).ceil() as usize).max(1);
        if let Some(seconds) = taken.get(needed - 1) {
            report.labelled(
                "time_to_complete_seconds",
                "Seconds from their arrival in which so many percent of the peers had everything.",
                &[("percent", label)],
                *seconds,
            );
        }
    }
    let last = world.peers().filter_map(|seat| seat.complete).fold(0.0, f64::max);
    if taken.len() == peers && last > 0.0 {
        let total = world.torrent.total as f64 * peers as f64;
        report.number(
            "swarm_bytes_per_second",
            "Content of all peers over the time until the last.",
            total / last,
        );
        let slowest = taken.last().copied().unwrap_or(last);
        let rate = world.torrent.total as f64 / slowest.max(1e-9);
        report.number("slowest_peer_bytes_per_second", "Mean rate of the slowest peer.", rate);
        // As integers of microseconds, for the index that all scenarios use.
        let micros: Vec<u64> = taken.iter().map(|seconds| (seconds * 1e6) as u64).collect();
        report.number(
            "time_fairness",
            "Jain's index of the peers' times: 1 is even.",
            Spread::of(&micros).jain,
        );
    }
}

fn costs(report: &mut Report, world: &World, traffic: &[Traffic], seconds: f64) {
    let of_peers = |value: fn(&Traffic) -> f64| -> f64 {
        world.seats.iter().zip(traffic).filter(|(seat, _)| !seat.seed).map(|(_, used)| value(used)).sum()
    };
    let content = world.torrent.total as f64 * f64::from(world.config.peers);
    let received = of_peers(|used| used.payload_received);
    report.number("duration_seconds", "Length of the run.", seconds);
    report.number("content_bytes", "Bytes of the torrent times peers.", content);
    report.number("payload_received_bytes", "Payload that peers received.", received);
    report.number(
        "payload_overhead_ratio",
        "Payload received over content: 1 is nothing twice.",
        received / content,
    );
    let wire = of_peers(|used| used.wire_received);
    report.number(
        "wire_overhead_ratio",
        "Bytes received from peers, protocol and requests of others included, over content.",
        wire / content,
    );
    report.number(
        "wasted_bytes",
        "Payload that failed its hash or came twice.",
        of_peers(|used| used.wasted),
    );
    let cpu: f64 = traffic.iter().map(|used| used.cpu_seconds).sum();
    report.number("engines_cpu_seconds", "CPU seconds of all engines.", cpu);
    report.number(
        "engines_cpu_seconds_per_gb",
        "CPU seconds of all engines, sending and receiving, per 10^9 bytes of content.",
        cpu / (content / 1e9),
    );
    let sent_by_seeds: f64 = world
        .seats
        .iter()
        .zip(traffic)
        .filter(|(seat, _)| seat.seed)
        .map(|(_, used)| used.payload_sent)
        .sum();
    report.number(
        "seed_copies",
        "Copies of the torrent that the seeds sent.",
        sent_by_seeds / world.torrent.total as f64,
    );
    let sent: Vec<u64> = world
        .seats
        .iter()
        .zip(traffic)
        .filter(|(seat, _)| !seat.seed)
        .map(|(_, used)| used.payload_sent as u64)
        .collect();
    report.number("upload_fairness", "Jain's index of what peers sent: 1 is even.", Spread::of(&sent).jain);
    let memory = traffic.iter().map(|used| used.anon_peak).fold(0.0, f64::max);
    report.number("anonymous_memory_peak_bytes", "Most anonymous memory of one engine.", memory);
}

fn table(report: &mut Report, world: &World, traffic: &[Traffic]) {
    let mb = |bytes: f64| format!("{:.1}", bytes / 1e6);
    let seconds = |at: Option<f64>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.1}"));
    let rows = world.seats.iter().zip(traffic).map(|(seat, used)| {
        let Seat { engine, joined, complete, .. } = seat;
        let took = complete.zip(*joined).filter(|_| !seat.seed).map(|(end, start)| end - start);
        vec![
            engine.spec.name.clone(),
            seconds(*joined),
            seconds(took),
            mb(used.payload_received),
            mb(used.payload_sent),
            format!("{:.2}", used.cpu_seconds),
            mb(used.anon_peak),
            seat.complaints.join("; "),
        ]
    });
    let columns =
        ["engine", "came s", "took s", "received MB", "sent MB", "CPU s", "memory MB", "complaints"];
    report.table("Engines", &columns, rows.collect());
}

fn charts(report: &mut Report, world: &World) {
    let line = |name: &str, value: &dyn Fn(&super::world::Moment) -> f64| {
        let points: Vec<(f64, f64)> = world.moments.iter().map(|moment| (moment.at, value(moment))).collect();
        Series::new(name, &points)
    };
    let mut add = |mut chart: Chart| {
        chart.marks.clone_from(&world.marks);
        report.charts.push(chart);
    };
    add(Chart::lines(
        "Peers that have everything",
        "seconds",
        "peers",
        vec![line("complete", &|moment| f64::from(moment.complete))],
    ));
    let part = |moment: &super::world::Moment, place: usize| 100.0 * moment.parts.get(place).unwrap_or(&0.0);
    let last = world.config.peers as usize - 1;
    add(Chart::lines(
        "What peers have",
        "seconds",
        "percent",
        vec![
            line("most", &|moment| part(moment, last)),
            line("median", &|moment| part(moment, last / 2)),
            line("least", &|moment| part(moment, 0)),
        ],
    ));
    let rate = |pair: &[super::world::Moment]| {
        let bytes = pair[1].received.saturating_sub(pair[0].received) as f64;
        (pair[1].at, bytes / 1e6 / (pair[1].at - pair[0].at).max(1e-3))
    };
    // Over a second or so: counters are published four times a second.
    let step = (1000 / world.config.sample_ms.max(1)).max(1) as usize;
    let thinned: Vec<_> = world.moments.iter().step_by(step).cloned().collect();
    let points: Vec<(f64, f64)> = thinned.windows(2).map(rate).collect();
    add(Chart::lines("Payload received by all peers", "seconds", "MB/s", vec![Series::new("rate", &points)]));
    if world.config.peers > 1 {
        let bars = world
            .peers()
            .filter_map(|seat| Some((seat.engine.spec.name.clone(), seat.complete? - seat.joined?)))
            .collect();
        report.charts.push(Chart::bars("Time of each peer", "peers", "seconds", bars));
    }
}
