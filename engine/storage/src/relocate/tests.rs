//! Tests of moving, renaming and deleting on real file systems.

use super::super::confined::Purpose;
use super::*;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::layout::FileSpec;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

const TORRENT: TorrentId = TorrentId([7; 20]);

fn layout() -> Layout {
    let file = |path: &str, length| FileSpec { path: path.into(), length, padding: false };
    Layout::new(16384, vec![file("t/a", 3), file("t/sub/b", 4), file("t/missing", 5)]).unwrap()
}

fn fill(dir: &Path) {
    fs::create_dir_all(dir.join("t/sub")).unwrap();
    fs::write(dir.join("t/a"), "aaa").unwrap();
    fs::write(dir.join("t/sub/b"), "bbbb").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    for name in ["t/a", "t/sub/b"] {
        fs::File::options().write(true).open(dir.join(name)).unwrap().set_modified(time).unwrap();
    }
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    dir
}

/// A filled directory on another file system than [`tempfile::tempdir`] gives; `None` on a machine without one.
fn elsewhere() -> Option<tempfile::TempDir> {
    let here = tempfile::tempdir().unwrap().path().metadata().unwrap().dev();
    let dir = tempfile::tempdir_in("/dev/shm").ok()?;
    fill(dir.path());
    let other = dir.path().metadata().unwrap().dev() != here;
    if !other {
        eprintln!("skipped: /dev/shm is no other file system");
    }
    other.then_some(dir)
}

fn move_with(from: &Path, to: &Path, again: bool, progress: &MoveProgress) -> Result<(), MoveError> {
    let layout = layout();
    let work = Move { torrent: &TORRENT, layout: &layout, from, to, partial: &BTreeSet::new(), again };
    move_files(&work, |file| file < 2, progress)
}

fn moved(from: &Path, to: &Path) -> Result<(), MoveError> {
    move_with(from, to, false, &MoveProgress::default())
}

fn again(from: &Path, to: &Path) -> Result<(), MoveError> {
    move_with(from, to, true, &MoveProgress::default())
}

/// All files below a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

const ALL: [&str; 2] = ["t/a", "t/sub/b"];

#[test]
fn files_move_and_empty_folders_go() {
    let (from, to) = (filled(), tempfile::tempdir().unwrap());
    let target = to.path().join("new/place");
    moved(from.path(), &target).unwrap();
    assert_eq!(fs::read(target.join("t/sub/b")).unwrap(), b"bbbb");
    assert!(!from.path().join("t").exists() && !target.join("t/missing").exists());
}

#[test]
fn nothing_is_overwritten_and_everything_stays_where_it_was() {
    for from in [Some(filled()), elsewhere()].into_iter().flatten() {
        let to = tempfile::tempdir().unwrap();
        fs::create_dir_all(to.path().join("t/sub")).unwrap();
        fs::write(to.path().join("t/sub/b"), "mine").unwrap();
        let refused = moved(from.path(), to.path());
        assert_eq!(refused, Err(MoveError::Undone(StorageError::Exists { path: to.path().join("t/sub/b") })));
        assert_eq!(names(from.path()), ALL);
        assert_eq!(fs::read(to.path().join("t/sub/b")).unwrap(), b"mine");
        assert_eq!(names(to.path()), ["t/sub/b"]);
    }
}

#[test]
fn a_file_of_another_in_the_place_of_one_that_is_not_fetched_yet_is_in_the_way() {
    let (from, to) = (filled(), tempfile::tempdir().unwrap());
    fs::create_dir(to.path().join("t")).unwrap();
    fs::write(to.path().join("t/missing"), "mine").unwrap();
    assert!(matches!(moved(from.path(), to.path()), Err(MoveError::Undone(StorageError::Exists { .. }))));
    assert_eq!(
        (names(from.path()), names(to.path())),
        (ALL.map(String::from).to_vec(), vec!["t/missing".into()])
    );
}

#[test]
fn the_same_directory_by_another_name_is_no_move() {
    let (from, beside) = (filled(), tempfile::tempdir().unwrap());
    let link = beside.path().join("link");
    std::os::unix::fs::symlink(from.path(), &link).unwrap();
    moved(from.path(), &link).unwrap();
    assert_eq!(names(from.path()), ALL);
}

#[test]
fn data_that_is_not_there_is_not_taken_for_moved() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = to.path().join("new/place");
    assert!(matches!(moved(from.path(), &target), Err(MoveError::Undone(StorageError::NotFound { .. }))));
    assert!(!to.path().join("new").exists(), "directories that were made for it stay");
}

#[test]
fn files_come_to_another_file_system_as_they_were() {
    let Some(from) = elsewhere() else { return };
    let to = tempfile::tempdir().unwrap();
    let before = fs::metadata(from.path().join("t/sub/b")).unwrap();
    let progress = MoveProgress::default();
    move_with(from.path(), to.path(), false, &progress).unwrap();
    assert_eq!(
        (names(from.path()), names(to.path())),
        (Vec::<String>::new(), ALL.map(String::from).to_vec())
    );
    let after = fs::metadata(to.path().join("t/sub/b")).unwrap();
    assert_eq!((after.len(), after.mtime(), after.mtime_nsec()), (4, before.mtime(), before.mtime_nsec()));
    assert_eq!((progress.bytes(), progress.share()), ((7, 7), 1.0));
}

/// A file that is partly fetched took all of its room after a move.
#[test]
fn holes_stay_holes_on_another_file_system() {
    use std::os::unix::fs::FileExt;
    const LENGTH: u64 = 8 << 20;
    let Some(from) = elsewhere() else { return };
    let to = tempfile::tempdir().unwrap();
    let sparse = |name: &str, at: &[u64]| {
        let file = fs::File::create(from.path().join(name)).unwrap();
        file.set_len(LENGTH).unwrap();
        at.iter().for_each(|at| file.write_all_at(&[7; 5000], *at).unwrap());
        fs::read(from.path().join(name)).unwrap()
    };
    // Data at both ends, in the middle, and nowhere.
    let before =
        [sparse("t/a", &[0, LENGTH - 5000]), sparse("t/sub/b", &[3 << 20]), sparse("t/missing", &[])];
    let progress = MoveProgress::default();
    move_with(from.path(), to.path(), false, &progress).unwrap();
    assert_eq!(progress.bytes(), (3 * LENGTH, 3 * LENGTH));
    for (name, before) in ["t/a", "t/sub/b", "t/missing"].into_iter().zip(before) {
        let path = to.path().join(name);
        assert!(fs::read(&path).unwrap() == before, "{name}");
        let room = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(room < 1 << 20, "{name} takes {room} bytes");
    }
}

#[test]
fn a_move_that_is_cancelled_leaves_nothing_behind() {
    for from in [Some(filled()), elsewhere()].into_iter().flatten() {
        let to = tempfile::tempdir().unwrap();
        let progress = MoveProgress::default();
        progress.cancel();
        let end = move_with(from.path(), &to.path().join("new"), false, &progress);
        assert_eq!(end, Err(MoveError::Undone(StorageError::Cancelled)));
        assert_eq!(
            (names(from.path()), fs::read_dir(to.path()).unwrap().count()),
            (ALL.map(String::from).to_vec(), 0)
        );
    }
}

/// Every state that a kill can leave behind: originals, copies that are cut short or whole, copies in their place with
/// and without the original.
#[test]
fn a_move_that_was_cut_short_anywhere_is_ended_by_the_next() {
    let Some(from) = elsewhere() else { return };
    let copies: Vec<PathBuf> =
        ALL.iter().zip(0..).map(|(path, file)| copying::copy_name(Path::new(path), &TORRENT, file)).collect();
    let copy_to = |to: &Path, name: &Path, original: &str| {
        let (old, new) = (from.path().join(original), to.join(name));
        fs::create_dir_all(new.parent().unwrap()).unwrap();
        fs::copy(&old, &new).unwrap();
        let time = old.metadata().unwrap().modified().unwrap();
        fs::File::options().write(true).open(new).unwrap().set_modified(time).unwrap();
    };
    type State<'a> = &'a dyn Fn(&Path);
    let states: [State<'_>; 6] = [
        &|_| {},
        &|to| {
            fs::create_dir(to.join("t")).unwrap();
            fs::write(to.join(&copies[0]), "a").unwrap();
        },
        &|to| copy_to(to, &copies[0], ALL[0]),
        &|to| {
            copy_to(to, Path::new(ALL[0]), ALL[0]);
            copy_to(to, &copies[1], ALL[1]);
        },
        &|to| ALL.iter().for_each(|path| copy_to(to, Path::new(path), path)),
        &|to| {
            ALL.iter().for_each(|path| copy_to(to, Path::new(path), path));
            fs::remove_file(from.path().join(ALL[0])).unwrap();
        },
    ];
    for (number, state) in states.iter().enumerate() {
        let to = tempfile::tempdir().unwrap();
        fill(from.path());
        state(to.path());
        again(from.path(), to.path()).unwrap_or_else(|error| panic!("state {number}: {error:?}"));
        assert_eq!(
            (names(from.path()), names(to.path())),
            (Vec::new(), ALL.map(String::from).to_vec()),
            "{number}"
        );
        assert_eq!(fs::read(to.path().join(ALL[1])).unwrap(), b"bbbb", "{number}");
        // And once more, when the end was not noted.
        fs::remove_dir_all(from.path().join("t")).ok();
        again(from.path(), to.path()).unwrap();
    }
    assert!(matches!(again(from.path(), &to_nowhere(from.path())), Err(MoveError::Undone(_))));
}

fn to_nowhere(below: &Path) -> PathBuf {
    below.join("nowhere")
}

#[test]
fn a_move_that_goes_on_takes_no_file_that_is_not_its_own() {
    let Some(from) = elsewhere() else { return };
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(to.path().join("t")).unwrap();
    fs::write(to.path().join("t/a"), "xyz").unwrap();
    let time = from.path().join("t/a").metadata().unwrap().modified().unwrap();
    fs::File::options().write(true).open(to.path().join("t/a")).unwrap().set_modified(time).unwrap();
    assert!(matches!(again(from.path(), to.path()), Err(MoveError::Undone(StorageError::Exists { .. }))));
    assert_eq!((names(from.path()), names(to.path())), (ALL.map(String::from).to_vec(), vec!["t/a".into()]));
}

/// What an earlier beginning has renamed comes back, too.
#[test]
fn a_move_that_goes_on_can_still_be_cancelled() {
    let (from, to) = (filled(), tempfile::tempdir().unwrap());
    fs::create_dir(to.path().join("t")).unwrap();
    fs::rename(from.path().join("t/a"), to.path().join("t/a")).unwrap();
    let progress = MoveProgress::default();
    progress.cancel();
    let end = move_with(from.path(), to.path(), true, &progress);
    assert_eq!(end, Err(MoveError::Undone(StorageError::Cancelled)));
    assert_eq!((names(from.path()), names(to.path())), (ALL.map(String::from).to_vec(), Vec::new()));
}

/// More copies than this beginning has come to, when it is cancelled or something is in its way.
#[test]
fn a_move_that_was_begun_before_and_is_undone_leaves_no_copies() {
    let Some(from) = elsewhere() else { return };
    let copies = || (0..2).map(|file| copying::copy_name(Path::new(ALL[file]), &TORRENT, file));
    let begun = || {
        let to = tempfile::tempdir().unwrap();
        fs::create_dir_all(to.path().join("t/sub")).unwrap();
        copies().for_each(|name| fs::write(to.path().join(name), "cut").unwrap());
        to
    };
    let (to, progress) = (begun(), MoveProgress::default());
    progress.cancel();
    let end = move_with(from.path(), to.path(), true, &progress);
    assert_eq!(end, Err(MoveError::Undone(StorageError::Cancelled)));
    assert_eq!(
        (names(from.path()), fs::read_dir(to.path()).unwrap().count()),
        (ALL.map(String::from).into(), 0)
    );
    let to = begun();
    fs::write(to.path().join(ALL[0]), "mine").unwrap();
    assert!(matches!(again(from.path(), to.path()), Err(MoveError::Undone(StorageError::Exists { .. }))));
    assert_eq!(
        (names(from.path()), names(to.path())),
        (ALL.map(String::from).into(), vec![ALL[0].to_owned()])
    );
    let to = begun();
    delete_files(&layout(), to.path(), &TORRENT, &BTreeSet::new(), |_| true).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

/// The file system that it was copied to keeps times of two seconds only.
#[test]
fn a_copy_in_its_place_is_known_by_its_bytes() {
    let (Some(from), to) = (elsewhere(), tempfile::tempdir().unwrap()) else { return };
    fs::create_dir_all(to.path().join("t/sub")).unwrap();
    for path in ALL {
        fs::copy(from.path().join(path), to.path().join(path)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        fs::File::options().write(true).open(to.path().join(path)).unwrap().set_modified(time).unwrap();
    }
    again(from.path(), to.path()).unwrap();
    assert_eq!((names(from.path()), names(to.path())), (Vec::new(), ALL.map(String::from).to_vec()));
}

#[test]
fn a_move_that_has_to_leave_goes_on_where_it_was() {
    let Some(from) = elsewhere() else { return };
    let to = tempfile::tempdir().unwrap();
    let progress = MoveProgress::default();
    progress.leave();
    assert_eq!(move_with(from.path(), to.path(), false, &progress), Err(MoveError::Left));
    assert_eq!(names(from.path()), ALL);
    again(from.path(), to.path()).unwrap();
    assert_eq!(names(to.path()), ALL);
}

#[test]
fn only_the_torrents_own_files_are_deleted() {
    let dir = filled();
    fs::write(dir.path().join("t/sub/foreign"), "x").unwrap();
    delete_files(&layout(), dir.path(), &TORRENT, &BTreeSet::new(), |_| true).unwrap();
    assert!(!dir.path().join("t/a").exists() && dir.path().join("t/sub/foreign").exists());
    let dir = filled();
    delete_files(&layout(), dir.path(), &TORRENT, &BTreeSet::new(), |file| file != 1).unwrap();
    assert_eq!(names(dir.path()), ["t/sub/b"], "it is another torrent's as well");
}

#[test]
fn no_link_leads_out() {
    let (dir, outside) = (filled(), tempfile::tempdir().unwrap());
    fs::remove_dir_all(dir.path().join("t/sub")).unwrap();
    fs::write(outside.path().join("b"), "precious").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("t/sub")).unwrap();
    assert!(delete_files(&layout(), dir.path(), &TORRENT, &BTreeSet::new(), |_| true).is_err());
    assert!(moved(dir.path(), &dir.path().join("elsewhere")).is_err());
    assert_eq!(fs::read(outside.path().join("b")).unwrap(), b"precious");
}

#[test]
fn files_and_folders_are_renamed() {
    let dir = filled();
    let rename = |from: &str, to: &str, again| {
        rename(&layout(), dir.path(), (Path::new(from), Path::new(to)), &BTreeSet::new(), again)
    };
    rename("t/a", "t/z", false).unwrap();
    rename("t", "u", false).unwrap();
    rename("u/none", "u/some", false).unwrap();
    assert!(rename("u/z", "u/sub", false).is_err());
    assert_eq!(fs::read(dir.path().join("u/z")).unwrap(), b"aaa");
    rename("u/z", "u/z", false).expect("its own name");
    rename("t", "u", true).expect("it was done before a kill");
    assert!(rename("t", "u", false).is_err(), "what is there may be somebody else's");
    rename("u/z", "v/w/z", false).unwrap();
    rename("v/w/z", "u/z", false).unwrap();
    assert_eq!(names(dir.path()), ["u/sub/b", "u/z"]);
    assert!(!dir.path().join("v").exists(), "an empty folder stays");
}

#[test]
fn incomplete_files_go_the_same_ways_under_their_name() {
    let (dir, to) = (filled(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    let rename = |from: &str, to: &str| {
        rename(&layout(), dir.path(), (Path::new(from), Path::new(to)), &BTreeSet::new(), false)
    };
    fs::rename(at("t/a"), at("t/a.part")).unwrap();
    rename("t/a", "t/c").unwrap();
    assert!(at("t/c.part").exists() && !at("t/c").exists());
    fs::rename(at("t/c.part"), at("t/a.part")).unwrap();
    assert!(rename("t/sub/b", "t/a").is_err(), "it is taken");

    // A finished file in the place of an incomplete one is not shadowed, nor does it shadow.
    fs::create_dir(to.path().join("t")).unwrap();
    fs::write(to.path().join("t/a"), "mine").unwrap();
    assert!(moved(dir.path(), to.path()).is_err());
    assert!(at("t/a.part").exists() && !to.path().join("t/a.part").exists());
    fs::remove_file(to.path().join("t/a")).unwrap();
    moved(dir.path(), to.path()).unwrap();
    assert_eq!(fs::read(to.path().join("t/a.part")).unwrap(), b"aaa");
    assert!(!at("t").exists());
    delete_files(&layout(), to.path(), &TORRENT, &BTreeSet::new(), |_| true).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

/// Somebody else's file has the name that the torrent's is to have once it is complete.
#[test]
fn a_foreign_file_under_the_name_of_an_incomplete_one_stays_where_it_is() {
    let (dir, to, layout) = (filled(), tempfile::tempdir().unwrap(), layout());
    fs::rename(dir.path().join("t/a"), dir.path().join("t/a.part")).unwrap();
    fs::write(dir.path().join("t/a"), "mine").unwrap();
    let partial = BTreeSet::from([0]);
    let pair = (Path::new("t/a"), Path::new("t/c"));
    rename(&layout, dir.path(), pair, &partial, false).unwrap();
    assert_eq!(names(dir.path()), ["t/a", "t/c.part", "t/sub/b"]);
    fs::rename(dir.path().join("t/c.part"), dir.path().join("t/a.part")).unwrap();
    let (from, to_path) = (dir.path(), to.path());
    let work =
        Move { torrent: &TORRENT, layout: &layout, from, to: to_path, partial: &partial, again: false };
    move_files(&work, |file| file < 2, &MoveProgress::default()).unwrap();
    assert_eq!(
        (names(from), names(to_path)),
        (vec!["t/a".into()], vec!["t/a.part".into(), "t/sub/b".into()])
    );
    fs::write(to_path.join("t/a"), "mine").unwrap();
    delete_files(&layout, to_path, &TORRENT, &partial, |_| true).unwrap();
    assert_eq!(names(to_path), ["t/a"]);
}

/// The copy is under a name that no reader looks for.
#[test]
fn a_copy_under_way_is_not_found_as_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join(copying::copy_name(Path::new("t/a"), &TORRENT, 0)), "a").unwrap();
    assert!(root.open_file(Path::new("t/a"), Purpose::Read).is_err());
    assert!(Names::of(&layout()).find(&root, Path::new("t/a"), false).unwrap().is_none());
}
