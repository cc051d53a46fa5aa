//! Rate limits that are set over the RPC, on transfers between two engines.

#[path = "support/mod.rs"]
mod support;

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{TorrentState, TorrentStatus};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use support::content::{Content, assert_same, single};
use support::engines::{self, add, address};
use support::{rpc, until};

fn config() -> EngineConfig {
    EngineConfig { rpc: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), ..engines::config() }
}

fn status(engine: &Engine) -> Arc<TorrentStatus> {
    until("the torrent", || engine.handle().snapshot().torrents.first().cloned())
}

fn seed(content: &Content, config: EngineConfig) -> (Engine, SocketAddr) {
    let engine = Engine::start(config).unwrap();
    add(&engine.handle(), content, &content.dir, Vec::new());
    until("the seed", || (status(&engine).state == TorrentState::Seeding).then_some(()));
    let address = address(&engine);
    (engine, address)
}

/// Waits for `wanted` more bytes; no more may come than `rate` allows for the time that this takes, and `ahead`,
/// which were on their way already. A slow machine only makes the time longer.
fn assert_limited(leech: &Engine, wanted: u64, rate: u64, ahead: u64) {
    let (start, before) = (Instant::now(), status(leech).downloaded);
    let received = || status(leech).downloaded - before;
    let got = until("bytes under the limit", || Some(received()).filter(|got| *got >= wanted));
    let most = (rate as f64 * start.elapsed().as_secs_f64()) as u64 + rate / 5 + ahead;
    assert!(got <= most, "{got} bytes came where {most} were allowed");
}

/// Far more than fits into [`support::PATIENCE`] at the rates below: it ends in time only without them.
const LARGE: u64 = 256 << 20;

#[test]
fn a_torrents_limits_hold_and_are_lifted_while_it_runs() {
    let [source, target] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(source.path(), LARGE, "256K", "http://127.0.0.1:9/announce");
    let (seed, address) = seed(&content, config());
    let leech = Engine::start(config()).unwrap();
    let (seed_rpc, leech_rpc) = (seed.rpc_address().unwrap(), leech.rpc_address().unwrap());

    // The upload of one side, before it begins.
    rpc::call(seed_rpc, "torrent-set", json!({"ids": [1], "uploadLimit": 1000, "uploadLimited": true}));
    add(&leech.handle(), &content, target.path(), vec![address]);
    assert_limited(&leech, 4_000_000, 1_000_000, 0);

    // The download of the other, by transmission-remote; then it alone.
    rpc::remote(leech_rpc, &["-t", "1", "-d", "2000"]);
    rpc::remote(seed_rpc, &["-t", "1", "-U"]);
    assert_limited(&leech, 8_000_000, 2_000_000, 2 << 20);
    let fields = json!({"fields": ["downloadLimit", "downloadLimited", "uploadLimited"]});
    assert_eq!(
        rpc::call(leech_rpc, "torrent-get", fields)["torrents"][0],
        json!({"downloadLimit": 2000, "downloadLimited": true, "uploadLimited": false})
    );
    assert!(status(&leech).left > LARGE / 2, "most is still to come");
    rpc::call(leech_rpc, "torrent-set", json!({"downloadLimited": false}));
    until("the download", || (status(&leech).state == TorrentState::Seeding).then_some(()));
    leech.stop();
    seed.stop();
    assert_same(&content, target.path());
}

#[test]
fn a_torrents_limit_holds_after_a_restart_and_the_engines_own_beside_it() {
    let [source, target, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(source.path(), LARGE, "256K", "http://127.0.0.1:9/announce");
    let stored = || EngineConfig { state_dir: Some(state.path().to_path_buf()), ..config() };
    let (first, _) = seed(&content, stored());
    let change =
        json!({"uploadLimit": 1000, "uploadLimited": true, "downloadLimit": 77, "sequentialDownload": true});
    rpc::call(first.rpc_address().unwrap(), "torrent-set", change);
    first.stop();

    let seed = Engine::start(stored()).unwrap();
    let address = address(&seed);
    let seed_rpc = seed.rpc_address().unwrap();
    until("the seed", || (status(&seed).state == TorrentState::Seeding).then_some(()));
    let fields = ["uploadLimit", "uploadLimited", "downloadLimit", "downloadLimited", "sequentialDownload"];
    assert_eq!(
        rpc::call(seed_rpc, "torrent-get", json!({"fields": fields}))["torrents"][0],
        json!({"uploadLimit": 1000, "uploadLimited": true, "downloadLimit": 77, "downloadLimited": false,
            "sequentialDownload": true})
    );
    let leech = Engine::start(config()).unwrap();
    add(&leech.handle(), &content, target.path(), vec![address]);
    assert_limited(&leech, 3_000_000, 1_000_000, 0);

    rpc::remote(seed_rpc, &["-u", "2000"]);
    rpc::call(seed_rpc, "torrent-set", json!({"uploadLimited": false}));
    assert_limited(&leech, 6_000_000, 2_000_000, 2 << 20);
    assert!(status(&leech).left > LARGE / 2, "most is still to come");
    rpc::call(seed_rpc, "session-set", json!({"speed-limit-up-enabled": false}));
    until("the download", || (status(&leech).state == TorrentState::Seeding).then_some(()));
    leech.stop();
    seed.stop();
    assert_same(&content, target.path());
}
