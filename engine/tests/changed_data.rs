//! Files that somebody changes while the whole engine downloads them.

#[path = "support/mod.rs"]
mod support;

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{TorrentState, TorrentStatus};
use ringseed_proto::metainfo::Metainfo;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use support::content::{Content, assert_same, single};
use support::engines::{self, add, address, block_on, load, wait};
use support::until;
use tempfile::TempDir;

/// A seed and a download from it that is in its middle.
struct Download {
    source: TempDir,
    target: TempDir,
    state: TempDir,
    content: Content,
    seed: Engine,
    leech: Engine,
    metainfo: Arc<Metainfo>,
}

impl Download {
    fn begin() -> Download {
        let [source, target, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let content = single(source.path(), 24 << 20, "64K", "http://127.0.0.1:9/announce");
        let metainfo = load(&content);
        let seed = engines::start(EngineConfig { upload_rate_max: Some(4 << 20), ..engines::config() });
        add(&seed.handle(), &content, source.path(), Vec::new());
        wait(&seed.handle(), "the seed", |status| status.state == TorrentState::Seeding);
        let leech = engines::start(engines::stored(state.path()));
        add(&leech.handle(), &content, target.path(), vec![address(&seed)]);
        let download = Download { content, metainfo, seed, leech, source, target, state };
        wait(&download.leech.handle(), "some pieces", |status| status.have.count_ones() > 16);
        download
    }

    fn file(&self) -> PathBuf {
        self.target.path().join(&self.content.name)
    }

    /// Ends the downloading engine and starts it again on its state.
    fn restart(self) -> Download {
        self.leech.stop();
        let leech = engines::start(engines::stored(self.state.path()));
        Download { leech, ..self }
    }

    /// The download goes on and ends with the right bytes.
    fn ends_well(self) {
        let handle = self.leech.handle();
        block_on(handle.add_peers(self.metainfo.id(), vec![address(&self.seed)])).unwrap();
        wait(&handle, "the end of the download", |status| status.state == TorrentState::Seeding);
        self.leech.stop();
        self.seed.stop();
        assert_same(&self.content, self.target.path());
        drop(self.source);
    }
}

/// Went on writing to a file without a name, said "seeding", and was trusted at the next start.
#[test]
fn a_file_that_is_deleted_during_its_download_is_missing_now_and_after_a_restart() {
    let download = Download::begin();
    fs::remove_file(download.file()).unwrap();
    let is_missing = |status: &TorrentStatus| matches!(status.state, TorrentState::Missing(_));
    let status = wait(&download.leech.handle(), "the missing file", is_missing);
    assert!(status.state.error().unwrap().contains(download.file().to_str().unwrap()));
    let download = download.restart();
    let handle = download.leech.handle();
    let status = wait(&handle, "the missing file", is_missing);
    assert!(status.have.count_ones() > 0 && !download.file().exists());
    // Fetched again because the user says so.
    block_on(handle.verify(download.metainfo.id())).unwrap();
    wait(&handle, "the download", |status| status.state == TorrentState::Downloading);
    download.ends_well();
}

#[test]
fn a_file_that_is_rewritten_during_its_download_stops_it_and_is_hashed_after_a_restart() {
    let download = Download::begin();
    let file = fs::OpenOptions::new().write(true).open(download.file()).unwrap();
    // Not seen while one of our own writes is in flight, so more than once.
    let status = until("the changed file", || {
        file.write_all_at(&[7; 5000], 100).unwrap();
        let snapshot = download.leech.handle().snapshot();
        snapshot.torrents.first().filter(|status| status.state.error().is_some()).cloned()
    });
    let TorrentState::Failed(reason) = &status.state else { panic!("{:?}", status.state) };
    assert!(reason.contains("was changed by another program"), "{reason}");
    let download = download.restart();
    // The first piece is wrong, and is found to be.
    wait(&download.leech.handle(), "the download", |status| {
        status.state == TorrentState::Downloading && !status.have.get(0)
    });
    download.ends_well();
}

#[test]
fn a_file_that_is_replaced_during_its_download_stops_it() {
    let download = Download::begin();
    let other = download.target.path().join("other");
    fs::write(&other, vec![1; 24 << 20]).unwrap();
    fs::rename(&other, download.file()).unwrap();
    let status = wait(&download.leech.handle(), "the replaced file", |status| status.state.error().is_some());
    assert!(status.state.error().unwrap().contains("replaced"), "{:?}", status.state);
    download.leech.stop();
    download.seed.stop();
}
