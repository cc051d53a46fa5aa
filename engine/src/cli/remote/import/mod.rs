//! `import`: torrents of another client, from the files in which it remembers them, into a running daemon.
//!
//! Transmission has `torrents/*.torrent` with `resume/*.resume`, qBittorrent `*.torrent` with `*.fastresume` in
//! `BT_backup`. All that these say of a torrent comes along, and what cannot is said; the data is verified where it lies,
//! incomplete data too.

mod remembered;

use super::args::Import;
use super::client::Daemon;
use super::field;
use crate::cli::failure::{Failure, io_reason};
use crate::cli::quantity::printable;
use crate::cli::screen;
use remembered::{Managed, Places, RESUME_LIMITS, Remembered};
use ringseed_proto::bencode::decode;
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Longest file of settings that is read, bytes: a category takes about a hundred.
const SETTINGS_BYTES_MAX: usize = 4 << 20;

/// What a directory of another client has.
#[derive(Debug, Default)]
struct Backup {
    /// Torrent files with their resume files.
    torrents: Vec<(PathBuf, PathBuf)>,
    /// What is no torrent that can be imported, with the reason.
    skipped: Vec<(PathBuf, &'static str)>,
    managed: Managed,
    /// Places in the client's queue by info-hash.
    queue: HashMap<String, usize>,
}

/// Adds all torrents below a directory.
pub fn run(args: &Import) -> Result<(), Failure> {
    let daemon = Daemon::new(&args.connect)?;
    // Resume files beside it are those of an earlier time.
    if let Some(database) = database(&args.dir) {
        return Err(Failure::failed(format!(
            "qBittorrent keeps its torrents in a database, {}, which cannot be imported: set \"Resume data storage type\" to \
             \"Fastresume files\" in its advanced settings, restart it, end it, and import then",
            database.display()
        )));
    }
    let backup = look(&args.dir)?;
    if backup.torrents.is_empty() && backup.skipped.is_empty() {
        return Err(Failure::failed(format!(
            "{} has no torrents of Transmission or qBittorrent",
            args.dir.display()
        )));
    }
    let (mut added, mut failed) = (0, 0);
    let mut complain = |torrent: &Path, failure: Failure| {
        failed += 1;
        if let Failure::Failed(why) | Failure::Usage(why) = failure {
            screen::complain(&format!("{}: {why}", torrent.display()));
        }
    };
    // They are added in the order of the other client's queue.
    let mut order = Vec::new();
    for (index, (torrent, resume)) in backup.torrents.iter().enumerate() {
        match remember(torrent, resume) {
            Ok((metainfo, known)) => {
                let place = backup.queue.get(&metainfo.id().to_string()).copied().unwrap_or(usize::MAX);
                order.push((place, known.added(), index));
            }
            Err(failure) => complain(torrent, failure),
        }
    }
    order.sort_unstable();
    for (_, _, index) in order {
        let (torrent, resume) = &backup.torrents[index];
        match one(&daemon, torrent, resume, &backup.managed) {
            Ok(text) => {
                added += 1;
                screen::say(&text);
            }
            Err(failure) => complain(torrent, failure),
        }
    }
    for (path, why) in &backup.skipped {
        screen::complain(&format!("{}: skipped: {why}", path.display()));
    }
    let skipped = match backup.skipped.len() {
        0 => String::new(),
        count => format!(", {count} skipped"),
    };
    screen::say(&format!("{added} imported, {failed} failed{skipped}"));
    if failed > 0 { Err(Failure::Reported) } else { Ok(()) }
}

/// The database in which qBittorrent keeps its torrents when it is set to do so, beside `BT_backup`.
fn database(dir: &Path) -> Option<PathBuf> {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let beside = dir.parent().filter(|_| dir.file_name() == Some(OsStr::new("BT_backup")));
    let places = std::iter::once(dir.as_path()).chain(beside);
    places.map(|place| place.join("torrents.db")).find(|path| path.is_file())
}

/// What is in the directory of a client.
fn look(dir: &Path) -> Result<Backup, Failure> {
    let refused = |error: std::io::Error| {
        Failure::failed(format!("cannot read {}: {}", dir.display(), io_reason(&error)))
    };
    let transmission = dir.join("torrents");
    let (from, to, extension) = match transmission.is_dir() {
        true => (transmission, dir.join("resume"), "resume"),
        false => (dir.to_path_buf(), dir.to_path_buf(), "fastresume"),
    };
    let mut backup = Backup::default();
    for entry in std::fs::read_dir(&from).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let is = |wanted: &str| path.extension() == Some(OsStr::new(wanted));
        if is("torrent") {
            let name = path.with_extension(extension);
            let resume = to.join(name.file_name().unwrap_or_default());
            match resume.is_file() {
                true => backup.torrents.push((path, resume)),
                false => backup.skipped.push((path, "the client has no resume file of it")),
            }
        } else if is("magnet") || (is("fastresume") && !path.with_extension("torrent").is_file()) {
            backup.skipped.push((path, "it is a magnet link of which the client has no metadata yet"));
        }
    }
    backup.torrents.sort_unstable();
    backup.skipped.sort_unstable();
    if extension == "fastresume" {
        backup.managed = managed(dir);
        let queue = read(&dir.join("queue"), SETTINGS_BYTES_MAX).unwrap_or_default();
        let queue = String::from_utf8_lossy(&queue).into_owned();
        backup.queue = queue.lines().map(|hash| hash.trim().to_owned()).zip(0..).collect();
    }
    Ok(backup)
}

/// Where qBittorrent has the torrents whose directories it manages, from its settings near `BT_backup`; nothing when they
/// are elsewhere.
fn managed(backup: &Path) -> Managed {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Category {
        save_path: String,
    }
    let backup = std::fs::canonicalize(backup).unwrap_or_else(|_| backup.to_path_buf());
    // With a profile, and as a desktop has it.
    let places = ["../../config", "../../../../.config/qBittorrent"];
    let Some(config) = places.iter().map(|place| backup.join(place)).find(|place| place.is_dir()) else {
        return Managed::default();
    };
    let text = |name: &str| {
        let bytes = read(&config.join(name), SETTINGS_BYTES_MAX).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let categories: BTreeMap<String, Category> =
        serde_json::from_str(&text("categories.json")).unwrap_or_default();
    let conf = text("qBittorrent.conf");
    let default = conf.lines().find_map(|line| {
        let value =
            line.strip_prefix("Session\\DefaultSavePath=").or(line.strip_prefix("Downloads\\SavePath="))?;
        let value = value.trim().trim_matches('"');
        Path::new(value).is_absolute().then(|| value.to_owned())
    });
    let categories = categories.into_iter().map(|(name, category)| (name, category.save_path)).collect();
    Managed { categories, default }
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let refused = |why: String| Failure::failed(format!("cannot read {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refused(io_reason(&error)))?.len();
    if size > most as u64 {
        return Err(refused("it is too large".into()));
    }
    std::fs::read(path).map_err(|error| refused(io_reason(&error)))
}

/// What is known of a torrent.
fn remember(torrent: &Path, resume: &Path) -> Result<(Metainfo, Remembered), Failure> {
    let metainfo = Metainfo::parse(&read(torrent, TORRENT_BYTES_MAX)?)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let known = decode(&read(resume, RESUME_LIMITS.bytes_max)?, &RESUME_LIMITS)
        .map_err(|error| Failure::failed(format!("{} is damaged: {error}", resume.display())))?;
    Ok((metainfo, known))
}

/// Adds one torrent; what is to be said of it.
fn one(daemon: &Daemon, torrent: &Path, resume: &Path, managed: &Managed) -> Result<String, Failure> {
    let (metainfo, known) = remember(torrent, resume)?;
    let bytes = read(torrent, TORRENT_BYTES_MAX)?;
    let Some(Places { last, incomplete }) = known.places(managed) else {
        return Err(Failure::failed("it does not say where its data is"));
    };
    let [unwanted, high, low] = known.file_priorities();
    let mut earlier = known.earlier(&metainfo.info.layout, &metainfo.tiers);
    earlier.incomplete_dir = incomplete.unwrap_or_default();
    let mut request = json!({
        "metainfo": ringseed_rpc::encode_base64(&bytes),
        "download-dir": last,
        "paused": known.is_paused(),
        "labels": known.labels(),
        "sequential_download": known.is_sequential(),
        "ringseedEarlier": earlier,
    });
    // An empty list would mean all files.
    for (name, list) in [("files-unwanted", unwanted), ("priority-high", high), ("priority-low", low)] {
        if !list.is_empty() {
            request[name] = json!(list);
        }
    }
    let answer = daemon.call("torrent-add", request)?;
    let (word, added) = match answer.get("torrent-duplicate") {
        Some(added) => ("already there", added),
        None => ("imported", &answer["torrent-added"]),
    };
    let (id, name): (u32, String) = (field(added, "id"), field(added, "name"));
    let mut set = known.share_limits();
    if !set.is_empty() {
        set.insert("ids".to_owned(), json!([id]));
        daemon.call("torrent-set", Value::Object(set))?;
    }
    let left = known.left_behind(&metainfo.tiers);
    let note = match left.is_empty() {
        true => String::new(),
        false => format!(" (not taken over: {})", printable(&left.join(", "))),
    };
    Ok(format!("{word} {id} {}{note}", printable(&name)))
}
