//! The piece store of one torrent: what shards call to serve and to keep its data.

use super::confined::{Root, SizeCheck};
use super::error::StorageError;
use super::files::Files;
use super::limits::StoreLimits;
use super::loaded::LoadedPieces;
use super::residency::{CHUNK_BYTES, Residency, SeenChunks};
use super::write::DirtyFiles;
use arc_swap::ArcSwapOption;
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_proto::metainfo::Info;
use ringseed_proto::units::Block;
use ringseed_ring::SendList;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How the bytes of a torrent get from disk into a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// From read-only maps: nothing is copied.
    Mapped,
    /// Read by the ring into memory of our own: for file systems where maps are bad.
    RingRead,
}

/// The data of one torrent. Shared by all shards; see the module for who calls what.
#[derive(Debug)]
pub struct TorrentStore {
    pub(super) files: Arc<Files>,
    pub(super) access: Access,
    pub(super) seen: SeenChunks,
    pub(super) loaded: LoadedPieces,
    pub(super) dirty: Mutex<DirtyFiles>,
    /// Pieces of which the writing has begun.
    pub(super) writes: AtomicU64,
    /// The file that [`TorrentStore::check_in_use`] looks at next.
    pub(super) next_look: AtomicUsize,
    /// Files that are not written, because another torrent has them as well.
    pub(super) compared: ArcSwapOption<BTreeSet<usize>>,
}

/// Zeros for padding files (BEP 47), which are not stored. A block is seldom longer.
static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

impl TorrentStore {
    /// A store in an existing directory. Opens the directory and nothing in it.
    ///
    /// # Errors
    /// [`StorageError::DirectoryMissing`] when it does not exist: seeding from a disk that is not mounted
    /// must not begin a download to where it should be.
    pub fn open(
        directory: &Path,
        info: Arc<Info>,
        limits: &Arc<StoreLimits>,
    ) -> Result<Arc<TorrentStore>, StorageError> {
        Ok(TorrentStore::with_root(limits.directories.open(directory, &limits.descriptors)?, info, limits))
    }

    /// Stands for a torrent whose directory could not be opened, so that it can be listed with the reason: no
    /// file of it is there, and everything that needs one gives `error`.
    pub fn absent(
        directory: &Path,
        info: Arc<Info>,
        limits: &Arc<StoreLimits>,
        error: StorageError,
    ) -> Arc<TorrentStore> {
        TorrentStore::with_root(Arc::new(Root::absent(directory, error)), info, limits)
    }

    /// Why the directory could not be opened, when it could not ([`TorrentStore::absent`]).
    pub fn absence(&self) -> Option<&StorageError> {
        self.files.root.absence()
    }

    fn with_root(root: Arc<Root>, info: Arc<Info>, limits: &Arc<StoreLimits>) -> Arc<TorrentStore> {
        let access = match limits.ring_read_always || root.maps_are_bad() {
            true => Access::RingRead,
            false => Access::Mapped,
        };
        let layout = &info.layout;
        let seen = SeenChunks::new(layout.piece_count(), layout.piece_length);
        Arc::new(TorrentStore {
            files: Files::new(root, info, Arc::clone(limits)),
            access,
            seen,
            loaded: LoadedPieces::default(),
            dirty: Mutex::default(),
            writes: AtomicU64::new(0),
            next_look: AtomicUsize::new(0),
            compared: ArcSwapOption::empty(),
        })
    }

    /// As [`TorrentStore::open`], making the directory and those above it first: for a new download.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open_or_create(
        directory: &Path,
        info: Arc<Info>,
        limits: &Arc<StoreLimits>,
    ) -> Result<Arc<TorrentStore>, StorageError> {
        std::fs::create_dir_all(directory)
            .map_err(|error| StorageError::from_io(&error, "create the directory", directory))?;
        TorrentStore::open(directory, info, limits)
    }

    /// The torrent.
    pub fn info(&self) -> &Arc<Info> {
        &self.files.info
    }

    /// Its pieces and files.
    pub fn layout(&self) -> &Layout {
        self.files.layout()
    }

    /// The directory its files are below.
    pub fn directory(&self) -> &Path {
        self.files.root.path()
    }

    /// The budgets it takes from.
    pub fn limits(&self) -> &Arc<StoreLimits> {
        self.files.limits()
    }

    /// How its data is read.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Gathers a block that is resident. Never reads a map; never waits for a disk except to open and map a
    /// file that is not.
    ///
    /// On an error nothing of the block is in the list.
    ///
    /// # Errors
    /// The file's error when it has failed; [`StorageError::NotLoaded`] when a ring-read piece went away
    /// since [`TorrentStore::residency`] said otherwise a second ago; [`StorageError::OutOfRange`].
    pub fn push_block(&self, block: &Block, list: &mut SendList) -> Result<(), StorageError> {
        if !self.layout().contains(block) {
            return Err(StorageError::OutOfRange(*block));
        }
        if self.access == Access::RingRead {
            return self.loaded.push_block(block, list);
        }
        let mut spans = self.layout().spans(block.piece, block.begin, block.length);
        // Nearly every block lies in one file.
        let (Some(first), None) = (spans.next(), spans.next()) else {
            return self.push_split_block(block, list);
        };
        if first.padding {
            push_zeros(first.length, list);
            return Ok(());
        }
        let map = self.files.map(first.file)?;
        let pushed = map.as_ref().is_some_and(|map| map.push(first.offset, first.length, list));
        if !pushed {
            // Another shard evicted the map in this very moment.
            return self.push_split_block(block, list);
        }
        Ok(())
    }

    /// As [`TorrentStore::push_block`]: gets hold of all maps first, so that an error leaves the list as it was.
    fn push_split_block(&self, block: &Block, list: &mut SendList) -> Result<(), StorageError> {
        let spans = || self.layout().spans(block.piece, block.begin, block.length);
        let maps = spans()
            .map(|span| (!span.padding).then(|| self.files.map_owned(span.file)).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        for (span, map) in spans().zip(maps) {
            match map {
                None => push_zeros(span.length, list),
                // A map covers all of its file, so it has every span.
                Some(map) => _ = map.push(span.offset, span.length, list),
            }
        }
        Ok(())
    }

    /// Whether a block can be sent without waiting for a disk. Cheap: remembered for a while, then asked of the
    /// kernel, which does not wait either.
    pub fn residency(&self, block: &Block) -> Residency {
        if self.access == Access::RingRead {
            return self.loaded.residency(block.piece);
        }
        let now = self.limits().residency.now();
        let last = Block { begin: block.end().saturating_sub(1) as u32, length: 1, ..*block };
        let one_chunk = block.begin / CHUNK_BYTES == last.begin / CHUNK_BYTES;
        if self.seen.is_believed(block.piece.0, block.begin, now)
            && (one_chunk || self.seen.is_believed(block.piece.0, last.begin, now))
        {
            return Residency::Resident;
        }
        if !self.is_in_memory(block) {
            return Residency::Cold;
        }
        // The rest of the chunk is worth a look when it is not a single block that somebody asked for. Blocks that
        // cross from one chunk into the next are rare, and looked at each time.
        let chunk = self.chunk(block);
        if one_chunk && self.is_in_memory(&neighbour(block, &chunk)) && self.is_in_memory(&chunk) {
            self.seen.saw(block.piece.0, block.begin, now);
        }
        Residency::Resident
    }

    fn is_in_memory(&self, range: &Block) -> bool {
        let spans = self.layout().spans(range.piece, range.begin, range.length);
        spans.filter(|span| !span.padding).all(|span| {
            // A failed file is not cold: `push_block` tells what is wrong with it.
            match self.files.map_owned(span.file) {
                Ok(map) => map.is_resident(span.offset, span.length),
                // A read waits until it can be opened; the peer waits for that.
                Err(error) => !error.is_shortage(),
            }
        })
    }

    /// The chunk of the piece that a block begins in: at most 1 MiB.
    fn chunk(&self, block: &Block) -> Block {
        let begin = block.begin - block.begin % CHUNK_BYTES;
        let length = self.layout().piece_len(block.piece).saturating_sub(begin).min(CHUNK_BYTES);
        Block { piece: block.piece, begin, length }
    }

    /// What to bring in for a block that is cold: all that will be asked for soon and costs one read. For a peer
    /// that asks for one block after the other that is the chunk around it; for one that does not, the block.
    pub fn extent(&self, block: &Block, in_sequence: bool) -> Block {
        if self.access == Access::RingRead {
            let length = self.layout().piece_len(block.piece);
            return Block { piece: block.piece, begin: 0, length };
        }
        if !in_sequence && self.can_tell(block) {
            return *block;
        }
        let last = Block { begin: block.end().saturating_sub(1) as u32, length: 1, ..*block };
        let (begin, end) = (self.chunk(block).begin, self.chunk(&last).end());
        Block { begin, length: (end - u64::from(begin)) as u32, ..*block }
    }

    /// Whether the kernel tells what is in memory of the files of this block; else only what was brought in is
    /// known, by the chunk.
    fn can_tell(&self, block: &Block) -> bool {
        let spans = self.layout().spans(block.piece, block.begin, block.length);
        spans
            .filter(|span| !span.padding)
            .all(|span| self.files.map_owned(span.file).map_or(true, |map| map.mincore_is_true))
    }

    /// Remembers that all of this part of a piece is in memory.
    pub(super) fn saw(&self, part: &Block) {
        let now = self.limits().residency.now();
        let mut begin = part.begin.next_multiple_of(CHUNK_BYTES);
        while u64::from(begin) < part.end() {
            let chunk = self.chunk(&Block { begin, ..*part });
            if chunk.end() <= part.end() {
                self.seen.saw(part.piece.0, begin, now);
            }
            begin += CHUNK_BYTES;
        }
    }

    /// The files that have failed, with the reason, by index.
    pub fn failures(&self) -> Vec<(usize, StorageError)> {
        self.files.failures()
    }

    /// Forgets all failures and everything that was open: the user resumes the torrent.
    pub fn forgive(&self) {
        self.files.forgive();
        self.seen.forget_all();
        self.loaded.clear();
        self.forget_loss();
    }

    /// Compares the sizes of all files with the torrent. Metadata only.
    ///
    /// # Errors
    /// When a file cannot be looked at, for example because a symbolic link is in the way.
    pub fn check_sizes(&self) -> Result<Vec<SizeCheck>, StorageError> {
        (0..self.layout().files.len()).map(|file| self.files.check_size(file)).collect()
    }

    /// How many pieces were, or are being, written through this store. Stamps that are taken while it stays the same
    /// show no write of ours that began in between.
    pub fn writes_begun(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Gives files that carry [`super::PARTIAL_SUFFIX`] their own name when all their pieces are in `have`, which are
    /// durable. One rename for each, once; nothing for files that were not seen with it.
    ///
    /// # Errors
    /// The first that cannot be renamed.
    pub fn finish_names(&self, have: &Bitfield) -> Result<(), StorageError> {
        let layout = self.layout();
        self.files.finish_names(|file| layout.pieces_of_file(file).all(|piece| have.get(piece)))
    }
}

/// As many bytes of `chunk` after `block` as it has, or those before it at the end of the chunk.
fn neighbour(block: &Block, chunk: &Block) -> Block {
    let after = (chunk.end() - block.end()).min(block.length.into()) as u32;
    if after > 0 {
        // Inside the chunk, so inside the piece.
        return Block { begin: block.begin + block.length, length: after, ..*block };
    }
    let before = (block.begin - chunk.begin).min(block.length);
    Block { begin: block.begin - before, length: before, ..*block }
}

/// Gathers zeros from static memory.
pub(super) fn push_zeros(mut length: u64, list: &mut SendList) {
    while length > 0 {
        let part = length.min(ZEROS.len() as u64) as usize;
        list.push_bytes(&ZEROS[..part]);
        length -= part as u64;
    }
}
