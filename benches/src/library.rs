//! A library of many torrents that are all there: sparse files of zeros, whose hashes are true, and the resume
//! store of a daemon that has seeded them before.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ringseed_proto::{
    bitfield::Bitfield,
    create::{CreateOptions, CreatePlan},
    metainfo::Metainfo,
};
use ringseed_storage::{ResumeStore, StoreConfig, StoreLimits, TorrentRecord, TorrentStore};
use sha1::{Digest, Sha1};

/// Records that are entered in one transaction.
const RECORDS_AT_ONCE: usize = 500;

/// The shape of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Torrents, of one file each.
    pub count: u32,
    /// Pieces per torrent.
    pub pieces: u32,
    /// Bytes per piece.
    pub piece_length: u32,
    /// Announce URL of every torrent, if any.
    pub tracker: Option<String>,
}

/// A library on disk.
#[derive(Debug, Clone)]
pub struct Library {
    /// Its shape.
    pub shape: Shape,
    root: PathBuf,
}

impl Library {
    /// The library of `shape` below `dir`, made unless it is there.
    ///
    /// # Errors
    /// The directory cannot be written, or is full.
    pub fn prepare(dir: &Path, shape: Shape) -> io::Result<Library> {
        let tracked = shape.tracker.as_deref().map_or("", |_| "-tracked");
        let name = format!("library-{}-{}x{}{tracked}", shape.count, shape.pieces, shape.piece_length);
        let library = Library { shape, root: fs::canonicalize(dir).or_else(|_| make(dir))?.join(name) };
        // Written last: with it everything is there.
        let mark = library.root.join("complete");
        let content = format!("{:?}, with copies beside the store", library.shape);
        if !fs::read_to_string(&mark).is_ok_and(|text| text == content) {
            let _ = fs::remove_dir_all(&library.root);
            library.make()?;
            fs::write(mark, content)?;
        }
        Ok(library)
    }

    /// Directory of the data files.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Directory of the torrent files.
    pub fn torrents(&self) -> PathBuf {
        self.root.join("torrents")
    }

    /// The torrent file number `number`.
    pub fn torrent(&self, number: u32) -> PathBuf {
        self.torrents().join(format!("{}.torrent", file_name(number)))
    }

    /// State directory of a daemon that seeds it.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    fn make(&self) -> io::Result<()> {
        let Shape { count, pieces, piece_length, tracker } = &self.shape;
        for directory in [self.data(), self.torrents(), self.state()] {
            fs::create_dir_all(directory)?;
        }
        let hashes: Vec<[u8; 20]> =
            vec![Sha1::digest(vec![0u8; *piece_length as usize]).into(); *pieces as usize];
        let length = u64::from(*pieces) * u64::from(*piece_length);
        let limits = StoreLimits::new(&StoreConfig::default());
        // Each entry of a torrent waits for the disk; in memory that costs nothing.
        let scratch = tempdir_in_memory()?;
        let resume = ResumeStore::open(&scratch.join("resume.redb")).map_err(io::Error::other)?;
        let mut records = Vec::new();
        for number in 0..*count {
            let name = file_name(number);
            fs::File::create(self.data().join(&name))?.set_len(length)?;
            let plan =
                CreatePlan::file(name.as_ref(), length, Some(*piece_length)).map_err(io::Error::other)?;
            let tiers = tracker.iter().map(|url| vec![url.clone()]).collect();
            let options = CreateOptions { tiers, ..CreateOptions::default() };
            let bytes = plan.finish(&hashes, options).map_err(io::Error::other)?.to_bytes();
            fs::write(self.torrent(number), &bytes)?;
            let metainfo = Metainfo::parse(&bytes).map_err(io::Error::other)?;
            let store =
                TorrentStore::open(&self.data(), metainfo.info.clone(), &limits).map_err(io::Error::other)?;
            let record = TorrentRecord {
                have: Bitfield::full(*pieces),
                stamps: store.stamps_on_disk(),
                finished_at: Some(std::time::SystemTime::now()),
                ..TorrentRecord::new(metainfo.id(), bytes, self.data(), *pieces)
            };
            records.push(record);
            if records.len() == RECORDS_AT_ONCE || number + 1 == *count {
                resume.put_all(&std::mem::take(&mut records)).map_err(io::Error::other)?;
            }
        }
        keep_beside(resume, &scratch, *count)?;
        copy(&scratch, &self.state())?;
        fs::remove_dir_all(scratch)
    }
}

fn make(dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    fs::canonicalize(dir)
}

/// Has the store write what a daemon keeps beside it: two files for each torrent, each of which waits for the disk.
fn keep_beside(resume: ResumeStore, directory: &Path, torrents: u32) -> io::Result<()> {
    let written = || -> io::Result<usize> {
        let below = fs::read_dir(directory)?.filter_map(|entry| fs::read_dir(entry.ok()?.path()).ok());
        Ok(below.map(Iterator::count).sum())
    };
    std::thread::scope(|scope| {
        let keeping = scope.spawn(|| resume.keep_beside());
        while written()? < 2 * torrents as usize && !keeping.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        resume.stop_beside();
        Ok(())
    })
}

/// Copies all files below a directory.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => _ = fs::copy(entry.path(), to)?,
        }
    }
    Ok(())
}

fn file_name(number: u32) -> String {
    format!("{number:05}.bin")
}

fn tempdir_in_memory() -> io::Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let path = base.join(format!("ringseed-library-{}", std::process::id()));
    fs::create_dir_all(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_true_and_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { count: 3, pieces: 4, piece_length: 16_384, tracker: None };
        let library = Library::prepare(dir.path(), shape.clone()).unwrap();
        let metainfo = Metainfo::parse(&fs::read(library.torrent(2)).unwrap()).unwrap();
        let data = fs::read(library.data().join(&metainfo.info.name)).unwrap();
        let first: [u8; 20] = Sha1::digest(&data[..16_384]).into();
        assert_eq!(metainfo.info.piece_hashes()[0], first);
        let loaded = ResumeStore::open(&library.state().join("resume.redb")).unwrap().load_all().unwrap();
        assert_eq!(loaded.records.len(), 3);
        assert!(loaded.records.iter().all(|record| record.have.is_full() && record.stamps.len() == 1));
        let made = fs::metadata(library.torrent(2)).and_then(|m| m.modified()).unwrap();
        Library::prepare(dir.path(), shape).unwrap();
        assert_eq!(fs::metadata(library.torrent(2)).and_then(|m| m.modified()).unwrap(), made);
    }
}
