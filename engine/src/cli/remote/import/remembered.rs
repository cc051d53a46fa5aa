//! What other clients remember of a torrent: Transmission's `.resume` and qBittorrent's `.fastresume` files.

use ringseed_api::EarlierArgs;
use ringseed_proto::bencode::Limits;
use ringseed_proto::layout::Layout;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Bounds of a resume file: its piece fields are a few bytes per piece.
pub const RESUME_LIMITS: Limits = Limits { bytes_max: 64 << 20, depth_max: 32, tokens_max: 4_000_000 };
/// What incomplete files of qBittorrent have behind their names when it is set to do so.
const QBITTORRENT_SUFFIX: &str = ".!qB";
/// Connections of a torrent that nobody chose: what Transmission and qBittorrent write when nothing was set.
const USUAL_PEERS: [i64; 2] = [50, 100];
/// libtorrent's number for any number of connections.
const ENDLESS_PEERS: i64 = (1 << 24) - 1;

/// What other clients write; keys of both, each where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Remembered {
    paused: Option<i64>,
    // Transmission
    destination: Option<Text>,
    /// Where it lies until it is complete.
    #[serde(rename = "incomplete-dir")]
    incomplete_dir: Option<Text>,
    labels: Option<Vec<Text>>,
    group: Option<Text>,
    /// Not to be fetched, by file.
    dnd: Vec<i64>,
    /// -1, 0 or 1, by file.
    priority: Vec<i64>,
    #[serde(rename = "bandwidth-priority")]
    bandwidth_priority: i64,
    #[serde(rename = "max-peers")]
    max_peers: i64,
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
    #[serde(rename = "sequentialDownload", alias = "sequential_download")]
    sequential: i64,
    /// The paths of all files as they are on disk.
    files: Vec<Text>,
    progress: Progress,
    // qBittorrent and libtorrent
    #[serde(rename = "qBt-savePath")]
    qbt_save_path: Option<Text>,
    /// Where it lies until it is complete.
    #[serde(rename = "qBt-downloadPath")]
    qbt_download_path: Option<Text>,
    /// Where it lies now.
    save_path: Option<Text>,
    #[serde(rename = "qBt-name")]
    qbt_name: Option<Text>,
    #[serde(rename = "qBt-tags")]
    qbt_tags: Option<Vec<Text>>,
    #[serde(rename = "qBt-category")]
    qbt_category: Option<Text>,
    /// Thousandths; -1000 is none, -2000 the session's goal.
    #[serde(rename = "qBt-ratioLimit")]
    qbt_ratio_limit: Option<i64>,
    /// Minutes; -1 is none, -2 the session's.
    #[serde(rename = "qBt-seedingTimeLimit")]
    qbt_seeding_time_limit: Option<i64>,
    /// The same, without upload.
    #[serde(rename = "qBt-inactiveSeedingTimeLimit")]
    qbt_inactive_limit: Option<i64>,
    #[serde(rename = "qBt-firstLastPiecePriority")]
    qbt_first_last: i64,
    super_seeding: i64,
    /// A paused torrent that is managed waits in a queue.
    auto_managed: Option<i64>,
    /// 0 not to be fetched, 1 normal, 6 and 7 high, by file.
    file_priority: Vec<i64>,
    upload_rate_limit: Option<i64>,
    download_rate_limit: Option<i64>,
    max_connections: i64,
    total_uploaded: i64,
    total_downloaded: i64,
    added_time: i64,
    completed_time: i64,
    /// A byte for each piece, whose lowest bit says that it is here.
    pieces: Text,
    seed_mode: i64,
    /// Seconds that it ran, and of these seconds that it seeded.
    active_time: i64,
    seeding_time: i64,
    /// The paths of all files as they are on disk, when one of them is another than the torrent's.
    mapped_files: Vec<Text>,
    /// Announce URLs by tier, those that were added included.
    trackers: Option<Vec<Vec<Text>>>,
}

/// What Transmission has of a torrent: `all`, `none` or a bit for each block.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress {
    blocks: Text,
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

/// Where qBittorrent has the torrents that it manages itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Directory of each category; relative ones are below `default`.
    pub categories: std::collections::BTreeMap<String, String>,
    /// Directory of those without a category.
    pub default: Option<String>,
}

impl Managed {
    fn place(&self, category: &str) -> Option<String> {
        let below =
            |name: &str| Some(Path::new(self.default.as_ref()?).join(name).to_string_lossy().into_owned());
        match self.categories.get(category).map(String::as_str) {
            Some(path) if Path::new(path).is_absolute() => Some(path.to_owned()),
            Some("") => below(category),
            Some(path) => below(path),
            None => self.default.clone(),
        }
    }
}

/// Where the data of a torrent is to lie, and where it lies until it is complete when that is elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Places {
    pub last: String,
    pub incomplete: Option<String>,
}

impl Remembered {
    pub fn is_paused(&self) -> bool {
        self.paused == Some(1) && self.auto_managed != Some(1)
    }

    pub fn is_sequential(&self) -> bool {
        self.sequential != 0
    }

    /// Labels or tags.
    pub fn labels(&self) -> Vec<String> {
        let labels = self.labels.as_ref().or(self.qbt_tags.as_ref());
        let labels = labels.into_iter().flatten().map(|label| label.0.replace(',', " ").trim().to_owned());
        labels.filter(|label| !label.is_empty()).collect()
    }

    /// Where its data is; `None` when it does not say so.
    pub fn places(&self, managed: &Managed) -> Option<Places> {
        let given = |text: &Option<Text>| {
            text.as_ref().map(|text| trimmed(&text.0).to_owned()).filter(|text| !text.is_empty())
        };
        let category = self.qbt_category.as_ref().map_or("", |category| &category.0);
        let now = given(&self.save_path);
        let last = given(&self.destination)
            .or_else(|| given(&self.qbt_save_path))
            .or_else(|| now.as_ref().and_then(|_| managed.place(category)).map(|at| trimmed(&at).to_owned()));
        let last = last.or_else(|| now.clone())?;
        // Where it is now wins over where it would be.
        let incomplete = given(&self.incomplete_dir).or(now).or_else(|| given(&self.qbt_download_path));
        let incomplete = incomplete.filter(|place| *place != last);
        Some(Places { last, incomplete })
    }

    /// What incomplete files have behind their names.
    pub fn partial_suffix(&self) -> &'static str {
        // Those of Transmission are called as ours are.
        if self.save_path.is_some() { QBITTORRENT_SUFFIX } else { "" }
    }

    /// Indexes of files that are not fetched, that come first, that come last.
    pub fn file_priorities(&self) -> [Vec<usize>; 3] {
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
        let [skip, high, low]: [fn(i64) -> bool; 3] =
            [|value| value == 0, |value| value > 4, |value| (1..4).contains(&value) && value != 1];
        [of(&self.file_priority, skip), of(&self.file_priority, high), of(&self.file_priority, low)]
    }

    /// Arguments of `torrent-set` for what `torrent-add` does not take.
    pub fn share_limits(&self) -> Map<String, Value> {
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
        match self.qbt_ratio_limit {
            Some(ratio @ 0..) => {
                put("seedRatioMode", json!(1));
                put("seedRatioLimit", json!(ratio as f64 / 1000.0));
            }
            Some(-1000) => put("seedRatioMode", json!(2)),
            _ => {}
        }
        match (self.idle_limit.idle_mode, self.qbt_inactive_limit) {
            (1, _) => {
                put("seedIdleMode", json!(1));
                put("seedIdleLimit", json!(self.idle_limit.idle_limit));
            }
            (2, _) | (_, Some(-1)) => put("seedIdleMode", json!(2)),
            (_, Some(minutes @ 0..)) => {
                put("seedIdleMode", json!(1));
                put("seedIdleLimit", json!(u32::try_from(minutes).unwrap_or(u32::MAX)));
            }
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
        // Rounded up: 0 would let nothing through.
        if let Some(bytes) = bytes(&self.speed_limit_up, self.upload_rate_limit) {
            put("uploadLimit", json!(bytes.div_ceil(1000)));
            put("uploadLimited", json!(true));
        }
        if let Some(bytes) = bytes(&self.speed_limit_down, self.download_rate_limit) {
            put("downloadLimit", json!(bytes.div_ceil(1000)));
            put("downloadLimited", json!(true));
        }
        let peers = self.max_peers.max(self.max_connections);
        if (1..ENDLESS_PEERS).contains(&peers) && !USUAL_PEERS.contains(&peers) {
            put("peer-limit", json!(peers));
        }
        if let Some(category) = self.qbt_category.as_ref().filter(|category| !category.0.is_empty()) {
            put("ringseedCategory", json!(category.0));
        }
        if let Some(group) = self.group.as_ref().filter(|group| !group.0.is_empty()) {
            put("group", json!(group.0));
        }
        set
    }

    /// What was done with it, and what its files and trackers are; only one of the clients has written its fields.
    pub fn earlier(&self, layout: &Layout, tiers: &[Vec<String>]) -> EarlierArgs {
        let known = |ours: i64, theirs: i64| u64::try_from(ours.max(theirs)).unwrap_or(0);
        EarlierArgs {
            uploaded: known(self.uploaded, self.total_uploaded),
            downloaded: known(self.downloaded, self.total_downloaded),
            added_date: self.added(),
            done_date: known(self.done_date, self.completed_time),
            had_data: self.had_data(),
            seconds_downloading: known(
                self.downloading_time_seconds,
                self.active_time.saturating_sub(self.seeding_time),
            ),
            seconds_seeding: known(self.seeding_time_seconds, self.seeding_time),
            partial_suffix: self.partial_suffix().to_owned(),
            name: self.qbt_name.clone().unwrap_or_default().0,
            names: self.names(layout),
            trackers: self.trackers(tiers).0,
            ..EarlierArgs::default()
        }
    }

    /// Whether it had data when the client ended.
    fn had_data(&self) -> bool {
        let blocks = self.progress.blocks.0.as_str();
        let some_blocks = blocks != "none" && blocks.chars().any(|bits| bits != '\0');
        let some_pieces = self.pieces.0.chars().any(|piece| u32::from(piece) & 1 != 0);
        some_blocks || some_pieces || self.seed_mode != 0 || self.done_date > 0 || self.completed_time > 0
    }

    /// When it was added, in seconds since 1970.
    pub fn added(&self) -> u64 {
        u64::try_from(self.added_date.max(self.added_time)).unwrap_or(0)
    }

    /// The paths of its files, when there is one for each and one is another than the torrent's.
    fn names(&self, layout: &Layout) -> Vec<String> {
        let names = if self.mapped_files.is_empty() { &self.files } else { &self.mapped_files };
        if names.len() != layout.files.len() {
            return Vec::new();
        }
        let suffix = self.partial_suffix();
        let name = |name: &Text| {
            let name = name.0.strip_suffix(suffix).unwrap_or(&name.0);
            // A name with bytes that are not UTF-8 is found by the torrent's own.
            if name.contains('\u{fffd}') { String::new() } else { name.to_owned() }
        };
        let names: Vec<String> = names.iter().map(name).collect();
        let differs = layout
            .files
            .iter()
            .zip(&names)
            .any(|(file, name)| !file.padding && !name.is_empty() && file.path != Path::new(name));
        if differs { names } else { Vec::new() }
    }

    /// Its trackers by tier when they are others than `tiers`, and whether some cannot be announced to.
    fn trackers(&self, tiers: &[Vec<String>]) -> (Vec<Vec<String>>, bool) {
        let Some(known) = &self.trackers else { return (Vec::new(), false) };
        let mut dropped = false;
        let mut kept: Vec<Vec<String>> = known
            .iter()
            .map(|tier| {
                let urls = tier.iter().map(|url| url.0.trim().to_owned()).filter(|url| !url.is_empty());
                let usable = |url: &String| {
                    let usable = ringseed_proto::tracker::is_announce_url(url);
                    dropped |= !usable;
                    usable
                };
                urls.filter(usable).collect()
            })
            .collect();
        kept.retain(|tier: &Vec<String>| !tier.is_empty());
        if kept == tiers { (Vec::new(), dropped) } else { (kept, dropped) }
    }

    /// What of it this program has no place for.
    pub fn left_behind(&self, tiers: &[Vec<String>]) -> Vec<String> {
        let mut left = Vec::new();
        for (there, what) in [
            (self.bandwidth_priority != 0, "the priority of the torrent"),
            (self.super_seeding != 0, "super seeding"),
            (self.qbt_first_last != 0, "first and last pieces first"),
            (self.trackers(tiers).1, "trackers that are not of http, https or udp"),
        ] {
            if there {
                left.push(what.to_owned());
            }
        }
        left
    }
}

/// A directory without the slash at its end.
fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        trimmed => trimmed,
    }
}

/// A string of bytes as text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Text(pub String);

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

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::bencode::decode;
    use ringseed_proto::layout::FileSpec;

    fn read(bytes: &[u8]) -> Remembered {
        decode(bytes, &RESUME_LIMITS).expect("valid")
    }

    fn places(last: &str, incomplete: Option<&str>) -> Option<Places> {
        Some(Places { last: last.into(), incomplete: incomplete.map(str::to_owned) })
    }

    #[test]
    fn both_clients_files_are_understood() {
        let known = read(
            b"d13:activity-datei5e11:destination4:/srv6:labelsl1:a1:be6:pausedi1e8:progressd6:blocks3:allee",
        );
        assert_eq!((known.places(&Managed::default()), known.paused), (places("/srv", None), Some(1)));
        assert_eq!(known.labels(), ["a", "b"]);
        let known = read(b"d12:qBt-category2:tv14:qBt-ratioLimiti1500e12:qBt-savePath4:/tv/8:qBt-tagsl1:x0:e9:save_path4:/tvce");
        assert_eq!(known.labels(), ["x"]);
        assert_eq!(known.share_limits()["seedRatioLimit"], json!(1.5));
    }

    #[test]
    fn a_managed_torrent_that_waits_is_not_paused() {
        let paused = |bytes: &[u8]| read(bytes).is_paused();
        assert!(paused(b"d6:pausedi1ee") && paused(b"d12:auto_managedi0e6:pausedi1ee"));
        assert!(!paused(b"d12:auto_managedi1e6:pausedi1ee") && !paused(b"d6:pausedi0ee") && !paused(b"de"));
    }

    #[test]
    fn incomplete_data_is_looked_for_where_the_other_client_keeps_it() {
        let none = Managed::default();
        let known = read(b"d11:destination4:/srv14:incomplete-dir4:/tmpe");
        assert_eq!(known.places(&none), places("/srv", Some("/tmp")));
        let known = read(b"d16:qBt-downloadPath4:/tmp12:qBt-savePath5:/srv/9:save_path4:/tmpe");
        assert_eq!(known.places(&none), places("/srv", Some("/tmp")));
        // Complete: it lies where it is to lie.
        let known = read(b"d16:qBt-downloadPath4:/tmp12:qBt-savePath5:/srv/9:save_path4:/srve");
        assert_eq!(known.places(&none), places("/srv", None));
        // qBittorrent manages where it lies.
        let managed = Managed {
            categories: [("tv".to_owned(), "series".to_owned()), ("x".to_owned(), String::new())].into(),
            default: Some("/d".into()),
        };
        let known = read(b"d12:qBt-category2:tv9:save_path4:/tmpe");
        assert_eq!(known.places(&none), places("/tmp", None));
        assert_eq!(known.places(&managed), places("/d/series", Some("/tmp")));
        assert_eq!(
            read(b"d12:qBt-category1:x9:save_path4:/tmpe").places(&managed),
            places("/d/x", Some("/tmp"))
        );
        assert_eq!(read(b"d9:save_path2:/de").places(&managed), places("/d", None));
        assert_eq!(read(b"de").places(&managed), None);
    }

    #[test]
    fn names_come_without_the_suffix_of_incomplete_files() {
        let file = |path: &str| FileSpec { path: path.into(), length: 3, padding: false };
        let layout = Layout::new(16384, vec![file("t/a"), file("t/b")]).unwrap();
        let names = |bytes: &[u8]| read(bytes).earlier(&layout, &[]).names;
        assert_eq!(names(b"d12:mapped_filesl7:t/a.!qB3:u/be9:save_path1:/e"), ["t/a", "u/b"]);
        assert!(names(b"d12:mapped_filesl7:t/a.!qB3:t/be9:save_path1:/e").is_empty());
        assert_eq!(names(b"d5:filesl3:t/a3:t/cee"), ["t/a", "t/c"]);
        assert!(names(b"d5:filesl3:t/aee").is_empty());
    }

    #[test]
    fn trackers_come_along_and_what_cannot_is_said() {
        let known = read(b"d8:qBt-name4:mine8:trackersll12:http://a/annel8:wss://b/el9:udp://c:1eee");
        let own = vec![vec!["http://a/ann".to_owned()]];
        let layout = Layout::single("a", 16384, 3).unwrap();
        assert_eq!(known.earlier(&layout, &own).trackers, [["http://a/ann"], ["udp://c:1"]]);
        assert_eq!(
            (known.left_behind(&own).len(), known.earlier(&layout, &own).name),
            (1, "mine".to_owned())
        );
        let same = read(b"d8:trackersll12:http://a/anneee");
        assert!(same.earlier(&layout, &own).trackers.is_empty() && same.left_behind(&own).is_empty());
    }

    #[test]
    fn what_the_client_had_is_known() {
        let had = |bytes: &[u8]| read(bytes).earlier(&Layout::single("a", 16384, 3).unwrap(), &[]).had_data;
        for some in [
            &b"d8:progressd6:blocks3:allee"[..],
            b"d8:progressd6:blocks2:\0\xffee",
            b"d6:pieces3:\0\x01\0e",
            b"d9:seed_modei1ee",
            b"d14:completed_timei1600000000ee",
        ] {
            assert!(had(some), "{some:?}");
        }
        for none in [
            &b"de"[..],
            b"d8:progressd6:blocks4:noneee",
            b"d8:progressd6:blocks2:\0\0ee",
            b"d6:pieces2:\0\0e",
        ] {
            assert!(!had(none), "{none:?}");
        }
    }

    #[test]
    fn limits_are_rounded_up_and_none_stays_none() {
        let known = read(b"d14:qBt-ratioLimiti-1000e28:qBt-inactiveSeedingTimeLimiti-1e17:upload_rate_limiti500e19:download_rate_limiti-1ee");
        let set = known.share_limits();
        assert_eq!((&set["uploadLimit"], set.get("downloadLimited")), (&json!(1), None));
        assert_eq!((&set["seedRatioMode"], &set["seedIdleMode"]), (&json!(2), &json!(2)));
        let set =
            read(b"d14:qBt-ratioLimiti-2000e20:qBt-seedingTimeLimiti-2e9:max-peersi50ee").share_limits();
        assert!(set.is_empty(), "{set:?}");
    }
}
