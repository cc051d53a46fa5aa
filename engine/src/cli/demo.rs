//! `demo`: the whole thing on one machine. A tracker, a seeding engine and a downloading engine move generated
//! data from one directory to another; the copy is compared byte by byte.

use super::args::{Demo, Output, PieceSize};
use super::create::torrent_of;
use super::failure::{Failure, io_reason};
use super::quantity::{printable, rate, size};
use super::scratch::Scratch;
use super::screen;
use super::session::{ForegroundEngine, Watched, find};
use super::signals::Stop;
use super::work_bar::WorkBar;
use crate::config::{EngineConfig, ListenPort};
use ringseed_create::Content;
use ringseed_handle::{AddTorrent, EngineSnapshot, TorrentState, TorrentStatus};
use ringseed_proto::create::CreateOptions;
use ringseed_proto::metainfo::Metainfo;
use ringseed_tracker::{Tracker, TrackerConfig};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Bytes written or compared at once.
const CHUNK: usize = 1 << 20;

/// What the disk must hold beside the data and its copy.
const SPARE_BYTES: u64 = 64 << 20;

/// Time the seeding engine gets to be known to the tracker, which is on the same machine.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(args: &Demo, output: &Output) -> Result<(), Failure> {
    let total = args.size.0;
    if total == 0 {
        return Err(Failure::usage("--size 0: there has to be something to transfer"));
    }
    let stop = Stop::install()?;
    // Dropped last: after the engines that have files open in it.
    let scratch = Scratch::new(args.dir.as_deref(), &stop)?;
    scratch.require_space(total.saturating_mul(2).saturating_add(SPARE_BYTES))?;
    let (original, copy) = (scratch.directory("original")?, scratch.directory("copy")?);
    screen::say(&format!("ringseed demo: {} of generated data in {}", size(total), scratch.path().display()));
    let data = original.join("demo.bin");
    fill(&data, total, &stop, output.quiet)?;

    let nowhere = SocketAddr::new(LOOPBACK, 0);
    let config = TrackerConfig { http: Some(nowhere), udp: Some(nowhere), ..TrackerConfig::default() };
    let tracker = Tracker::start(config)
        .map_err(|error| Failure::failed(format!("the tracker did not start: {error}")))?;
    let urls = [
        tracker.http_addr().map(|address| format!("http://{address}/announce")),
        tracker.udp_addr().map(|address| format!("udp://{address}/announce")),
    ];
    let tiers: Vec<_> = urls.into_iter().flatten().map(|url| vec![url]).collect();
    screen::say(&format!("ringseed demo: tracker on {}", tiers.concat().join(" and ")));
    let options = CreateOptions { tiers, ..CreateOptions::default() };
    let metainfo =
        Arc::new(torrent_of(&Content::find(&data)?, PieceSize::Auto, options, &stop, output.quiet)?);

    let engine = EngineConfig {
        listen_port: ListenPort::Exact(0),
        listen_addresses: vec![LOOPBACK],
        shards: Some(args.shards.into()),
        // Both engines would choose the same cores.
        pin: false,
        ..EngineConfig::default()
    };
    let mut seeder = ForegroundEngine::start("demo: seeder", engine.clone(), &stop, true)?;
    seeder.add(AddTorrent { data_dir: Some(original), ..AddTorrent::new(metainfo.clone()) })?;
    let begun = Instant::now();
    wait(&mut seeder, &metainfo, |status| {
        let announced = status.trackers.iter().any(|tracker| tracker.ok);
        match &status.state {
            TorrentState::Seeding if announced => Some(Ok(())),
            TorrentState::Seeding if begun.elapsed() > ANNOUNCE_TIMEOUT => {
                let said = status.trackers.first().map_or("", |tracker| &tracker.last_result);
                Some(Err(format!("its tracker does not answer: {}", printable(said))))
            }
            _ => None,
        }
    })?;
    let mut downloader = ForegroundEngine::start("demo: downloader", engine, &stop, output.quiet)?;
    let cpu_before = cpu_time();
    downloader.add(AddTorrent { data_dir: Some(copy.clone()), ..AddTorrent::new(metainfo.clone()) })?;
    let begun = Instant::now();
    let mut took = None;
    wait(&mut downloader, &metainfo, |status| {
        let done = status.state == TorrentState::Seeding;
        // Snapshots come a few times a second; the engine's own times are exact.
        let exact = status.finished_at.and_then(|end| end.duration_since(status.added_at).ok());
        took = took.or_else(|| done.then(|| exact.unwrap_or_else(|| begun.elapsed())));
        done.then_some(Ok(()))
    })?;
    let cpu = cpu_before.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
    downloader.finish();
    seeder.finish();
    tracker.shutdown();

    compare(&data, &copy.join("demo.bin"), total, &stop, output.quiet)?;
    screen::say("verified: the copy is identical to the original");
    let seconds = took.unwrap_or_else(|| begun.elapsed()).as_secs_f64().max(1e-3);
    screen::say(&format!("{} in {seconds:.2} s: {}", size(total), rate((total as f64 / seconds) as u64)));
    if let Some(cpu) = cpu {
        let cpu = cpu.as_secs_f64();
        let per_gigabyte = cpu / (total as f64 / 1e9);
        screen::say(&format!("CPU time {cpu:.2} s, both engines and tracker: {per_gigabyte:.2} s per GB"));
    }
    Ok(())
}

/// Watches the torrent until `enough` has a verdict.
fn wait(
    session: &mut ForegroundEngine,
    metainfo: &Metainfo,
    mut enough: impl FnMut(&TorrentStatus) -> Option<Result<(), String>>,
) -> Result<(), Failure> {
    let mut verdict = None;
    let watched = session.watch(|snapshot: &EngineSnapshot| {
        verdict = find(snapshot, metainfo.id()).and_then(|status| match status.state.error() {
            Some(reason) => Some(Err(reason.to_owned())),
            None => enough(status),
        });
        verdict.is_some()
    });
    match (watched, verdict) {
        (Watched::Done, Some(Err(reason))) => Err(Failure::failed(printable(&reason))),
        (Watched::Done, _) => Ok(()),
        (Watched::Interrupted, _) => Err(Failure::failed("interrupted")),
        (Watched::EngineGone, _) => Err(Failure::failed("the engine ended")),
    }
}

/// Writes `total` bytes that look random and are the same each time.
fn fill(path: &Path, total: u64, stop: &Stop, quiet: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {}", path.display(), io_reason(&error)))
    };
    let bar = WorkBar::new("generating", total, quiet);
    let mut file = BufWriter::with_capacity(CHUNK, File::create_new(path).map_err(failed)?);
    let mut chunk = vec![0; CHUNK];
    let mut state = 0;
    let mut left = total;
    while left > 0 {
        if stop.requested() {
            return Err(Failure::failed("interrupted"));
        }
        let length = left.min(CHUNK as u64);
        scramble(&mut state, &mut chunk);
        file.write_all(&chunk[..length as usize]).map_err(failed)?;
        left -= length;
        bar.advance(length);
    }
    file.flush().map_err(failed)?;
    bar.finish();
    Ok(())
}

/// Fills `bytes` with the next values of the SplitMix64 sequence.
fn scramble(state: &mut u64, bytes: &mut [u8]) {
    for word in bytes.chunks_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = *state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
}

/// Compares two files that should have `total` bytes each.
fn compare(original: &Path, copy: &Path, total: u64, stop: &Stop, quiet: bool) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        Failure::failed(format!("cannot read {}: {}", path.display(), io_reason(error)))
    };
    let open = |path: &Path| File::open(path).map_err(|error| failed(path, &error));
    let (mut one, mut other) = (open(original)?, open(copy)?);
    let length = other.metadata().map_err(|error| failed(copy, &error))?.len();
    if length != total {
        return Err(Failure::failed(format!("the copy has {length} bytes instead of {total}")));
    }
    let bar = WorkBar::new("comparing", total, quiet);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    while at < total {
        if stop.requested() {
            return Err(Failure::failed("interrupted"));
        }
        let length = (total - at).min(CHUNK as u64) as usize;
        one.read_exact(&mut left[..length]).map_err(|error| failed(original, &error))?;
        other.read_exact(&mut right[..length]).map_err(|error| failed(copy, &error))?;
        if let Some(offset) =
            left[..length].iter().zip(&right[..length]).position(|(one, other)| one != other)
        {
            return Err(Failure::failed(format!(
                "the copy differs from the original at byte {}",
                at + offset as u64
            )));
        }
        at += length as u64;
        bar.advance(length as u64);
    }
    bar.finish();
    Ok(())
}

/// User and system time of all threads of this process, ended ones included, to 10 ms (proc_pid_stat(5)).
fn cpu_time() -> Option<Duration> {
    parse_cpu_time(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses, with anything inside.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    // USER_HZ is 100 on every architecture this runs on.
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu_time("7 (a) S 1"), None);
        assert!(cpu_time().is_some());
    }

    #[test]
    fn generated_data_is_the_same_each_time_and_has_no_period() {
        let (mut first, mut second) = (vec![0; 64], vec![0; 64]);
        scramble(&mut 0, &mut first);
        scramble(&mut 0, &mut second);
        assert_eq!(first, second);
        let mut state = 0;
        scramble(&mut state, &mut first);
        scramble(&mut state, &mut second);
        assert_ne!(first, second);
    }
}
