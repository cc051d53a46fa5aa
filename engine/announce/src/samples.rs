//! What the tests of both kinds of tracker clients use.

use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::tracker::{AnnounceEvent, AnnounceRequest};
use ringseed_proto::units::PeerId;
use std::time::Duration;
use tokio::time::timeout;

/// Runs a test on a thread like the control thread, within a time.
pub(crate) fn run_within<F: Future<Output = ()>>(seconds: u64, test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { timeout(Duration::from_secs(seconds), test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, limited);
}

/// The first announce of a torrent.
pub(crate) fn a_start(info_hash: SwarmHash) -> AnnounceRequest {
    AnnounceRequest {
        info_hash,
        peer_id: PeerId(*b"-RS0010-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        numwant: Some(200),
        key: Some(7),
    }
}
