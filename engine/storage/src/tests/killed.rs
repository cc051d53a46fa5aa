//! A process that downloads is killed at random moments: what its resume file claims is on disk.
//!
//! The child is this test program itself, running only [`child`].

use super::*;
use crate::{PieceUpdate, ResumeStore, TorrentRecord};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DIRECTORY: &str = "RINGSEED_TEST_KILLED_IN";
const HASH: TorrentId = TorrentId([7; 20]);
const PIECES: u32 = 96;

fn sample_in() -> Sample {
    Sample::new(65536, vec![file("s/x", 33 * 65536 + 5), file("s/dir/y", 62 * 65536 + 65531)])
}

/// Writes pieces, syncs, claims, and tells its parent after each claim, until all are there.
#[test]
#[ignore = "run by the test below, as another process"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let sample = sample_in();
    let resume = ResumeStore::open(&directory.join("resume.redb")).unwrap();
    let mut have = match resume.load_all().unwrap().records.pop() {
        Some(record) => record.have,
        None => {
            let record = TorrentRecord::new(HASH, b"torrent".to_vec(), directory.clone(), PIECES);
            resume.put(&record).unwrap();
            record.have
        }
    };
    let store = TorrentStore::open_or_create(&directory, Arc::clone(&sample.info), &sample.limits).unwrap();
    on_shard(async |shard| {
        let missing: Vec<_> = have.iter_zeros().collect();
        for batch in missing.chunks(3) {
            for &piece in batch {
                let piece = PieceIndex(piece);
                store
                    .write_piece(&shard.ring, piece, sample.piece_buf(piece), WritePath::Cached)
                    .await
                    .unwrap();
            }
            store.sync_dirty(&shard.ring).await.unwrap();
            batch.iter().for_each(|&piece| _ = have.set(piece));
            let update =
                PieceUpdate { torrent_id: HASH, have: &have, uploaded: 0, downloaded: 0, stamps: None };
            resume.set_pieces(&[update]).unwrap();
            println!("claimed {}", have.count_ones());
        }
    });
    println!("complete");
}

#[test]
fn no_piece_is_claimed_that_is_not_on_disk() {
    let sample = sample_in();
    assert_eq!(sample.info.layout.piece_count(), PIECES);
    let directory = tempfile::tempdir().unwrap();
    let mut complete = false;
    for run in 0u64..200 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::killed::child", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed after one or two claims, and then some random part of the next round.
        let claims = 1 + usize::from(noise(1, run + 1)[0]) % 2;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told: Vec<_> = lines
            .filter(|line| line.contains("claimed ") || line.contains("complete"))
            .take(claims)
            .collect();
        complete = told.iter().any(|line| line.contains("complete"));
        for _ in 0..usize::from(noise(2, run + 1)[1]) * 400 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let resume = ResumeStore::open(&directory.path().join("resume.redb")).unwrap();
        let loaded = resume.load_all().unwrap();
        assert!(loaded.damaged.is_empty());
        let have = loaded.records.first().map_or(Bitfield::new(PIECES), |record| record.have.clone());
        let told_last = told.iter().rev().find_map(|line| line.rsplit("claimed ").next()?.parse().ok());
        assert!(have.count_ones() >= told_last.unwrap_or(0), "run {run} lost a claim");
        let store = TorrentStore::open(directory.path(), Arc::clone(&sample.info), &sample.limits).unwrap();
        let mut good = Bitfield::new(PIECES);
        store
            .verify_blocking(1, |piece, is_good| {
                if is_good {
                    good.set(piece.0);
                }
                true
            })
            .unwrap();
        assert!(have.iter_ones().all(|piece| good.get(piece)), "run {run} claims what is not there");
        if complete {
            assert!(have.is_full());
            break;
        }
    }
    assert!(complete, "the download never ended");
}
