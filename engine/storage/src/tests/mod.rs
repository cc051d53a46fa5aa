//! The store on real files, through a real ring inside a glommio executor.

mod changed;
mod confinement;
mod full_disk;
mod killed;
mod partial_names;
mod pulled_away;
mod serving;
mod verifying;
mod writing;

use super::{PieceBuf, StorageError, StoreConfig, StoreLimits, TorrentStore, WritePath};
use glommio::io::{PollState, PollableFd};
use ringseed_proto::layout::{FileSpec, Layout};
use ringseed_proto::metainfo::Info;
use ringseed_proto::units::{Block, PieceIndex};
use ringseed_ring::executor::{Executor, give_way};
use ringseed_ring::{Completion, Event, IoBuf, Ring, RingConfig, SendList};
use sha1::{Digest, Sha1};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tempfile::TempDir;

/// A ring that is being driven, and the completions that nobody took yet.
#[derive(Clone)]
pub(super) struct Driven {
    pub(super) ring: Ring,
    completions: Rc<RefCell<Vec<Completion>>>,
}

struct Watch(RawFd);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Claims one range of pieces for a verification.
pub(super) fn once(range: std::ops::Range<u32>) -> impl FnMut() -> Option<std::ops::Range<u32>> {
    let mut range = Some(range);
    move || range.take()
}

/// Runs a test on a shard-like executor with its data ring.
pub(super) fn on_shard<T>(test: impl AsyncFnOnce(&Driven) -> T) -> T {
    let executor = Executor::new(glommio::Placement::Unbound).expect("glommio starts");
    executor.run(async move {
        let ring = Ring::new(&RingConfig::default()).expect("io_uring is there");
        let driven = Driven { ring: ring.clone(), completions: Rc::default() };
        let driver = glommio::spawn_local(drive(driven.clone()));
        let value = test(&driven).await;
        driver.cancel().await;
        value
    })
}

async fn drive(driven: Driven) {
    let ring = &driven.ring;
    let readable = PollableFd::new(Watch(ring.as_raw_fd())).unwrap();
    let mut registration = PollState::new();
    loop {
        ring.submit().unwrap();
        ring.drain(&mut driven.completions.borrow_mut());
        if ring.needs_turn() || !driven.completions.borrow().is_empty() {
            give_way().await;
            continue;
        }
        poll_fn(|cx| match ring.poll_queued(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => readable.poll_readable(cx, &mut registration),
        })
        .await
        .unwrap();
    }
}

impl Driven {
    /// Sends a whole list over a socket pair; the bytes that came out, or the error that `send` gave.
    pub(super) async fn send(&self, mut list: SendList) -> Result<Vec<u8>, std::io::Error> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut received = Vec::new();
        while !list.is_empty() {
            self.ring.send(near.as_raw_fd(), 1, list);
            let event = loop {
                if let Some(completion) = self.completions.borrow_mut().pop() {
                    break completion.event;
                }
                give_way().await;
            };
            match event {
                Event::Sent { bytes, list: mut rest } => {
                    let mut part = vec![0; bytes];
                    far.read_exact(&mut part).unwrap();
                    received.extend_from_slice(&part);
                    rest.advance(bytes);
                    list = rest;
                }
                Event::SendError { error, .. } => return Err(error),
                other => panic!("unexpected {other:?}"),
            }
        }
        Ok(received)
    }
}

/// A torrent with its data.
pub(super) struct Sample {
    pub(super) directory: TempDir,
    pub(super) info: Arc<Info>,
    /// All bytes of the torrent, padding included.
    pub(super) data: Vec<u8>,
    pub(super) limits: Arc<StoreLimits>,
}

pub(super) fn file(path: impl Into<PathBuf>, length: u64) -> FileSpec {
    FileSpec { path: path.into(), length, padding: false }
}

pub(super) fn padding(length: u64) -> FileSpec {
    FileSpec { path: ".pad/0".into(), length, padding: true }
}

/// Bytes that do not repeat where pieces or pages do.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

impl Sample {
    pub(super) fn new(piece_length: u32, files: Vec<FileSpec>) -> Sample {
        Sample::with(piece_length, files, &StoreConfig::default())
    }

    pub(super) fn with(piece_length: u32, files: Vec<FileSpec>, config: &StoreConfig) -> Sample {
        let layout = Layout::new(piece_length, files).unwrap();
        let mut data = noise(layout.total_length as usize, 7);
        for entry in layout.files.iter().filter(|entry| entry.padding) {
            data[entry.offset as usize..][..entry.length as usize].fill(0);
        }
        let hashes = data.chunks(piece_length as usize).map(|piece| Sha1::digest(piece).into()).collect();
        let info = Arc::new(Info::new("sample".into(), layout, hashes, false).unwrap());
        Sample { directory: tempfile::tempdir().unwrap(), info, data, limits: StoreLimits::new(config) }
    }

    /// Empty, spread, nested and oddly named files with padding, and pieces that begin and end inside files.
    pub(super) fn varied(config: &StoreConfig) -> Sample {
        use std::os::unix::ffi::OsStringExt;
        let not_utf8 = PathBuf::from(std::ffi::OsString::from_vec(b"s/caf\xe9 \xff.bin".to_vec()));
        let files = vec![
            file("s/a", 1),
            file("s/empty", 0),
            file("s/nested/deep/er/b.bin", 40_000),
            file("s/日本語/ファイル.dat", 70_001),
            padding(5_000),
            file(not_utf8, 33_333),
            file("s/nested/empty too", 0),
            file("s/last", 200_000),
        ];
        Sample::with(32_768, files, config)
    }

    pub(super) fn path(&self, file: usize) -> PathBuf {
        self.directory.path().join(&self.info.layout.files[file].path)
    }

    pub(super) fn file_data(&self, file: usize) -> &[u8] {
        let entry = &self.info.layout.files[file];
        &self.data[entry.offset as usize..][..entry.length as usize]
    }

    /// Puts all files on disk with plain calls.
    pub(super) fn put_files(&self) {
        for (file, entry) in self.info.layout.files.iter().enumerate() {
            if !entry.padding {
                std::fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
                std::fs::write(self.path(file), self.file_data(file)).unwrap();
            }
        }
    }

    pub(super) fn open(&self) -> Arc<TorrentStore> {
        TorrentStore::open(self.directory.path(), Arc::clone(&self.info), &self.limits).unwrap()
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.info.layout.piece_count()).map(PieceIndex)
    }

    pub(super) fn piece_data(&self, piece: PieceIndex) -> &[u8] {
        let start = self.info.layout.piece_offset(piece) as usize;
        &self.data[start..][..self.info.layout.piece_len(piece) as usize]
    }

    pub(super) fn piece_buf(&self, piece: PieceIndex) -> Rc<PieceBuf> {
        Rc::new(PieceBuf::from_bytes(IoBuf::from_slice(self.piece_data(piece))))
    }

    /// A whole piece as one block, which is allowed to the store.
    pub(super) fn whole(&self, piece: PieceIndex) -> Block {
        Block { piece, begin: 0, length: self.info.layout.piece_len(piece) }
    }

    pub(super) fn block_data(&self, block: &Block) -> &[u8] {
        &self.piece_data(block.piece)[block.begin as usize..block.end() as usize]
    }

    pub(super) async fn write_all(&self, store: &TorrentStore, ring: &Ring) -> Result<(), StorageError> {
        for piece in self.pieces() {
            store.write_piece(ring, piece, self.piece_buf(piece), WritePath::Cached).await?;
        }
        Ok(())
    }
}

/// A file system of its own below a temporary directory, unmounted when dropped. `None` where this user may
/// not mount.
pub(super) struct Mounted(TempDir);

impl Mounted {
    pub(super) fn tmpfs(options: &str) -> Option<Mounted> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "ringseed-test"], directory.path());
        mounted.then_some(Mounted(directory))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.path()));
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let status = std::process::Command::new("mount")
        .args(arguments)
        .arg(at)
        .stderr(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
