//! `import`: torrents of another client, from the files in which it remembers them, into a running daemon.
//!
//! Transmission has `torrents/*.torrent` with `resume/*.resume`, qBittorrent `*.torrent` with `*.fastresume` in
//! `BT_backup`. Where the data is, whether it was paused, labels, goals and what was moved come along; the data is verified
//! where it lies.

use super::args::Import;
use super::client::Daemon;
use super::field;
use crate::cli::failure::{Failure, io_reason};
use crate::cli::quantity::printable;
use crate::cli::screen;
use ringseed_api::EarlierArgs;
use ringseed_proto::bencode::{Limits, decode};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Bounds of a resume file: its piece fields are a few bytes per piece.
const RESUME_LIMITS: Limits = Limits { bytes_max: 64 << 20, depth_max: 32, tokens_max: 4_000_000 };

/// What other clients write; keys of both, each where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Remembered {
    paused: Option<i64>,
    // Transmission
    destination: Option<Text>,
    labels: Option<Vec<Text>>,
    /// Not to be fetched, by file.
    dnd: Vec<i64>,
    /// -1, 0 or 1, by file.
    priority: Vec<i64>,
    #[serde(rename = "ratio-limit")]
    ratio_limit: RatioLimit,
    #[serde(rename = "idle-limit")]
    idle_limit: IdleLimit,
    #[serde(rename = "speed-limit-up")]
    speed_limit_up: SpeedLimit,
    #[serde(rename = "speed-limit-down")]
    speed_limit_down: SpeedLimit,
    uploaded: i64,
    downloaded: i64,
    #[serde(rename = "added-date")]
    added_date: i64,
    #[serde(rename = "done-date")]
    done_date: i64,
    #[serde(rename = "downloading-time-seconds")]
    downloading_time_seconds: i64,
    #[serde(rename = "seeding-time-seconds")]
    seeding_time_seconds: i64,
    /// Names that the user gave files; empty for the torrent's own.
    files: Vec<Text>,
    // qBittorrent
    #[serde(rename = "qBt-savePath")]
    qbt_save_path: Option<Text>,
    save_path: Option<Text>,
    #[serde(rename = "qBt-tags")]
    qbt_tags: Option<Vec<Text>>,
    #[serde(rename = "qBt-category")]
    qbt_category: Option<Text>,
    /// Thousandths; below zero it means the session's goal or none.
    #[serde(rename = "qBt-ratioLimit")]
    qbt_ratio_limit: Option<i64>,
    /// Minutes; the same below zero.
    #[serde(rename = "qBt-seedingTimeLimit")]
    qbt_seeding_time_limit: Option<i64>,
    /// A paused torrent that is managed waits in a queue.
    auto_managed: Option<i64>,
    /// 0 not to be fetched, 1 normal, 6 and 7 high, by file.
    file_priority: Vec<i64>,
    upload_rate_limit: Option<i64>,
    download_rate_limit: Option<i64>,
    total_uploaded: i64,
    total_downloaded: i64,
    added_time: i64,
    completed_time: i64,
    /// Seconds that it ran, and of these seconds that it seeded.
    active_time: i64,
    seeding_time: i64,
    /// Names that the user gave files.
    mapped_files: Vec<Text>,
}

/// Transmission's goal of ratio: mode 0 is the session's, 1 this one, 2 none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RatioLimit {
    ratio_limit: Text,
    ratio_mode: u8,
}

/// Its idle limit in minutes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct IdleLimit {
    idle_limit: u32,
    idle_mode: u8,
}

/// Its limit of a rate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpeedLimit {
    #[serde(rename = "speed-Bps")]
    bytes: u64,
    #[serde(rename = "use-speed-limit")]
    on: i64,
}

impl Remembered {
    fn is_paused(&self) -> bool {
        self.paused == Some(1) && self.auto_managed != Some(1)
    }

    /// Indexes of files that are not fetched, that come first, that come last.
    fn file_wishes(&self) -> [Vec<usize>; 3] {
        let of = |list: &[i64], wanted: fn(i64) -> bool| {
            list.iter().enumerate().filter(|(_, value)| wanted(**value)).map(|(index, _)| index).collect()
        };
        if self.file_priority.is_empty() {
            let last = |value| value < 0;
            return [
                of(&self.dnd, |value| value != 0),
                of(&self.priority, |value| value > 0),
                of(&self.priority, last),
            ];
        }
        let [skip, high]: [fn(i64) -> bool; 2] = [|value| value == 0, |value| value > 4];
        [of(&self.file_priority, skip), of(&self.file_priority, high), Vec::new()]
    }

    /// Arguments of `torrent-set` for what `torrent-add` does not take.
    fn goals(&self) -> Map<String, Value> {
        let mut set = Map::new();
        let mut put = |name: &str, value: Value| _ = set.insert(name.to_owned(), value);
        match (self.ratio_limit.ratio_mode, self.ratio_limit.ratio_limit.0.parse::<f64>()) {
            (1, Ok(ratio)) if ratio.is_finite() && ratio >= 0.0 => {
                put("seedRatioMode", json!(1));
                put("seedRatioLimit", json!(ratio));
            }
            (2, _) => put("seedRatioMode", json!(2)),
            _ => {}
        }
        if let Some(ratio @ 0..) = self.qbt_ratio_limit {
            put("seedRatioMode", json!(1));
            put("seedRatioLimit", json!(ratio as f64 / 1000.0));
        }
        match self.idle_limit.idle_mode {
            1 => {
                put("seedIdleMode", json!(1));
                put("seedIdleLimit", json!(self.idle_limit.idle_limit));
            }
            2 => put("seedIdleMode", json!(2)),
            _ => {}
        }
        if let Some(minutes @ 0..) = self.qbt_seeding_time_limit {
            put("ringseedSeedMinutes", json!(minutes));
        }
        let bytes = |ours: &SpeedLimit, theirs: Option<i64>| match (ours.on, theirs) {
            (1.., _) => Some(ours.bytes),
            (_, Some(bytes @ 1..)) => u64::try_from(bytes).ok(),
            _ => None,
        };
        if let Some(bytes) = bytes(&self.speed_limit_up, self.upload_rate_limit) {
            put("uploadLimit", json!(bytes / 1000));
            put("uploadLimited", json!(true));
        }
        if let Some(bytes) = bytes(&self.speed_limit_down, self.download_rate_limit) {
            put("downloadLimit", json!(bytes / 1000));
            put("downloadLimited", json!(true));
        }
        if let Some(category) = self.qbt_category.as_ref().filter(|category| !category.0.is_empty()) {
            put("ringseedCategory", json!(category.0));
        }
        set
    }

    /// What was done with it; only one of the clients has written its fields.
    fn earlier(&self) -> EarlierArgs {
        let known = |ours: i64, theirs: i64| u64::try_from(ours.max(theirs)).unwrap_or(0);
        EarlierArgs {
            uploaded: known(self.uploaded, self.total_uploaded),
            downloaded: known(self.downloaded, self.total_downloaded),
            added_date: known(self.added_date, self.added_time),
            done_date: known(self.done_date, self.completed_time),
            seconds_downloading: known(
                self.downloading_time_seconds,
                self.active_time.saturating_sub(self.seeding_time),
            ),
            seconds_seeding: known(self.seeding_time_seconds, self.seeding_time),
        }
    }

    /// Whether files have other names than the torrent gives them.
    fn is_renamed(&self, torrent: &[u8]) -> bool {
        let names = if self.mapped_files.is_empty() { &self.files } else { &self.mapped_files };
        let Ok(metainfo) = Metainfo::parse(torrent) else { return false };
        let files = metainfo.info.layout.files.iter();
        files.zip(names).any(|(file, name)| !name.0.is_empty() && file.path != Path::new(&name.0))
    }
}

/// A string of bytes as text.
#[derive(Debug, Clone, Default, PartialEq)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Adds all torrents below a directory.
pub fn run(args: &Import) -> Result<(), Failure> {
    let daemon = Daemon::new(&args.connect)?;
    let files = torrents(&args.dir)?;
    if files.is_empty() {
        return Err(Failure::failed(format!(
            "{} has no torrents of Transmission or qBittorrent",
            args.dir.display()
        )));
    }
    let (mut added, mut failed) = (0, 0);
    for (torrent, resume) in &files {
        match one(&daemon, torrent, resume) {
            Ok(text) => {
                added += 1;
                screen::say(&text);
            }
            Err(Failure::Failed(why) | Failure::Usage(why)) => {
                failed += 1;
                screen::complain(&format!("{}: {why}", torrent.display()));
            }
            Err(Failure::Reported) => failed += 1,
        }
    }
    screen::say(&format!("{added} imported, {failed} failed"));
    if failed > 0 { Err(Failure::Reported) } else { Ok(()) }
}

/// The torrent files of a client with their resume files.
fn torrents(dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let refused = |error: std::io::Error| {
        Failure::failed(format!("cannot read {}: {}", dir.display(), io_reason(&error)))
    };
    let transmission = dir.join("torrents");
    let (from, to, extension) = match transmission.is_dir() {
        true => (transmission, dir.join("resume"), "resume"),
        false => (dir.to_path_buf(), dir.to_path_buf(), "fastresume"),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&from).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path.extension() == Some(OsStr::new("torrent")) {
            let name = path.with_extension(extension);
            let resume = to.join(name.file_name().unwrap_or_default());
            if resume.is_file() {
                found.push((path, resume));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn one(daemon: &Daemon, torrent: &Path, resume: &Path) -> Result<String, Failure> {
    let read = |path: &Path, most: usize| {
        let refused = |why: String| Failure::failed(format!("cannot read {}: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| refused(io_reason(&error)))?.len();
        if size > most as u64 {
            return Err(refused("it is too large".into()));
        }
        std::fs::read(path).map_err(|error| refused(io_reason(&error)))
    };
    let metainfo = read(torrent, TORRENT_BYTES_MAX)?;
    let bytes = read(resume, RESUME_LIMITS.bytes_max)?;
    let known: Remembered = decode(&bytes, &RESUME_LIMITS)
        .map_err(|error| Failure::failed(format!("{} is damaged: {error}", resume.display())))?;
    let renamed = known.is_renamed(&metainfo);
    let (goals, [unwanted, high, low], earlier) = (known.goals(), known.file_wishes(), known.earlier());
    let paused = known.is_paused() || renamed;
    let place =
        known.destination.or(known.qbt_save_path).or(known.save_path).filter(|place| !place.0.is_empty());
    let Some(Text(place)) = place else { return Err(Failure::failed("it does not say where its data is")) };
    let labels = known.labels.or(known.qbt_tags).unwrap_or_default();
    let labels: Vec<String> = labels.into_iter().map(|label| label.0.replace(',', " ")).collect();
    let mut request = json!({
        "metainfo": crate::control::rpc::encode_base64(&metainfo),
        "download-dir": place,
        "paused": paused,
        "labels": labels,
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
    if !goals.is_empty() {
        let mut set = goals;
        set.insert("ids".to_owned(), json!([id]));
        daemon.call("torrent-set", Value::Object(set))?;
    }
    let note = match renamed {
        true => {
            " (paused: its files have other names than in the torrent; rename them back, or here, and verify)"
        }
        false => "",
    };
    Ok(format!("{word} {id} {}{note}", printable(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clients_files_are_understood() {
        let transmission =
            b"d13:activity-datei5e11:destination4:/srv6:labelsl1:a1:be6:pausedi1e8:progressd6:blocks3:allee";
        let known: Remembered = decode(transmission, &RESUME_LIMITS).expect("valid");
        assert_eq!((known.destination, known.paused), (Some(Text("/srv".into())), Some(1)));
        assert_eq!(known.labels.map(|labels| labels.len()), Some(2));
        let qbittorrent = b"d12:qBt-category2:tv14:qBt-ratioLimiti1500e12:qBt-savePath4:/tv/8:qBt-tagsl1:xe9:save_path4:/olde";
        let known: Remembered = decode(qbittorrent, &RESUME_LIMITS).expect("valid");
        assert_eq!((known.qbt_save_path, known.qbt_ratio_limit), (Some(Text("/tv/".into())), Some(1500)));
    }

    #[test]
    fn a_managed_torrent_that_waits_is_not_paused() {
        let paused = |bytes: &[u8]| decode::<Remembered>(bytes, &RESUME_LIMITS).expect("valid").is_paused();
        assert!(paused(b"d6:pausedi1ee") && paused(b"d12:auto_managedi0e6:pausedi1ee"));
        assert!(!paused(b"d12:auto_managedi1e6:pausedi1ee") && !paused(b"d6:pausedi0ee") && !paused(b"de"));
    }
}
