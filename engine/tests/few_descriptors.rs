//! Engines in processes that may open few files: nothing fails for that, and the RPC answers.

use ringseed::Engine;
use ringseed_handle::{AddTorrent, TorrentState};
use ringseed_proto::hash::digest;
use ringseed_proto::metainfo::Metainfo;
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[path = "support/mod.rs"]
mod support;
use support::engines;
use support::process::Process;
use support::{rpc, until};

/// Bytes of each torrent: one piece.
const LENGTH: usize = 40_000;

/// A torrent of one file, and where it is.
struct Sample {
    torrent: PathBuf,
    dir: PathBuf,
    name: String,
    metainfo: Arc<Metainfo>,
}

/// Torrents of one file, each in a directory of its own.
fn samples(below: &Path, count: usize) -> Vec<Sample> {
    let sample = |number: usize| {
        let (name, dir) = (format!("file {number:03}"), below.join(number.to_string()));
        fs::create_dir(&dir).unwrap();
        let data: Vec<u8> = (0..LENGTH).map(|at| (at / 7 + at * (number + 1)) as u8).collect();
        fs::write(dir.join(&name), &data).unwrap();
        let head = format!("d4:infod6:lengthi{LENGTH}e4:name8:{name}12:piece lengthi65536e6:pieces20:");
        let bytes = [head.as_bytes(), &digest(&data), b"ee"].concat();
        let torrent = below.join(format!("{number}.torrent"));
        fs::write(&torrent, &bytes).unwrap();
        Sample { torrent, dir, name, metainfo: Arc::new(Metainfo::parse(&bytes).unwrap()) }
    };
    (0..count).map(sample).collect()
}

/// Our program in a process that may open `limit` files.
fn limited(limit: usize) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_ringseed")]);
    command
}

fn engine() -> Engine {
    Engine::start(engines::config()).unwrap()
}

fn add(engine: &Engine, samples: &[Sample], dir: impl Fn(&Sample) -> PathBuf, peers: &[SocketAddr]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for sample in samples {
        let torrent = AddTorrent {
            data_dir: Some(dir(sample)),
            peers: peers.to_vec(),
            ..AddTorrent::new(sample.metainfo.clone())
        };
        runtime.block_on(engine.handle().add(torrent)).unwrap();
    }
}

fn wait_for_seeding(engine: &Engine, count: usize) {
    until("all torrents to be complete", || {
        let snapshot = engine.handle().snapshot();
        let complete = snapshot.torrents.iter().filter(|torrent| torrent.state == TorrentState::Seeding);
        (complete.count() == count).then_some(())
    });
}

fn seeds_all_and_answers(limit: usize) {
    let [source, target, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let samples = samples(source.path(), 200);
    let mut command = limited(limit);
    command.args(["serve", "--port", "0", "--listen", "127.0.0.1", "--no-pin", "--shards", "2"]);
    command.args(["--rpc", "127.0.0.1:0", "--state-dir"]).arg(state.path());
    let mut daemon = Process::start("daemon", command.arg("--download-dir").arg(source.path()));
    let port = daemon.wait_for("listening on port").rsplit(' ').next().unwrap().parse::<u16>().unwrap();
    let peers = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let line = daemon.wait_for("RPC on http://");
    let rpc: SocketAddr = line.split(['/', ' ']).find_map(|part| part.parse().ok()).unwrap();
    for sample in &samples {
        rpc::call(rpc, "torrent-add", json!({"filename": sample.torrent, "download-dir": sample.dir}));
    }
    // As many connections as the process may have files, and more.
    let crowd: Vec<TcpStream> =
        (0..limit.min(700) + 100).filter_map(|_| TcpStream::connect(peers).ok()).collect();
    let fields = json!({"fields": ["error", "errorString", "status", "percentDone"]});
    until("200 seeding torrents", || {
        let answer = rpc::call(rpc, "torrent-get", fields.clone());
        let torrents = answer["torrents"].as_array().unwrap();
        let failed = torrents.iter().find(|torrent| torrent["error"] != 0);
        assert!(failed.is_none(), "{failed:?}");
        (torrents.iter().filter(|torrent| torrent["status"] == 6).count() == samples.len()).then_some(())
    });
    drop(crowd);
    let leech = engine();
    add(&leech, &samples, |_| target.path().to_path_buf(), &[peers]);
    wait_for_seeding(&leech, samples.len());
    let answer = rpc::call(rpc, "torrent-get", fields);
    assert!(answer["torrents"].as_array().unwrap().iter().all(|torrent| torrent["error"] == 0), "{answer}");
    assert!(daemon.is_running());
}

#[test]
fn hundreds_of_torrents_are_seeded_with_256_descriptors() {
    seeds_all_and_answers(256);
}

#[test]
fn hundreds_of_torrents_are_seeded_with_1024_descriptors() {
    seeds_all_and_answers(1024);
}

#[test]
fn hundreds_of_torrents_are_downloaded_with_256_descriptors() {
    let [source, target, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let samples = samples(source.path(), 200);
    let seed = engine();
    add(&seed, &samples, |sample| sample.dir.clone(), &[]);
    wait_for_seeding(&seed, samples.len());
    let mut command = limited(256);
    command.args(["get", "--port", "0", "--no-pin", "--shards", "2", "--quiet", "--state-dir"]);
    command.arg(state.path()).arg("-o").arg(target.path());
    command
        .arg("--peer")
        .arg(SocketAddr::from((Ipv4Addr::LOCALHOST, seed.handle().listen_port())).to_string());
    command.args(samples.iter().map(|sample| &sample.torrent));
    Process::start("get", &mut command).wait_success();
    for sample in &samples {
        let (here, there) = (sample.dir.join(&sample.name), target.path().join(&sample.name));
        assert!(fs::read(here).unwrap() == fs::read(there).unwrap(), "{}", sample.name);
    }
}
