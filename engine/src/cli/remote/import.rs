//! `import`: torrents of another client, from the files in which it remembers them, into a running daemon.
//!
//! Transmission has `torrents/*.torrent` with `resume/*.resume`, qBittorrent `*.torrent` with `*.fastresume` in
//! `BT_backup`. Where the data is, whether it was paused, labels and goals come along; the data is verified where it lies.

use super::args::Import;
use super::client::Daemon;
use super::field;
use crate::cli::failure::{Failure, io_reason};
use crate::cli::quantity::printable;
use crate::cli::screen;
use ringseed_proto::bencode::{Limits, decode};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Bounds of a resume file: its piece fields are a few bytes per piece.
const RESUME_LIMITS: Limits = Limits { bytes_max: 64 << 20, depth_max: 32, tokens_max: 4_000_000 };

/// What other clients write; keys of both, each where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Remembered {
    // Transmission
    destination: Option<Text>,
    paused: Option<i64>,
    labels: Option<Vec<Text>>,
    // qBittorrent
    #[serde(rename = "qBt-savePath")]
    qbt_save_path: Option<Text>,
    save_path: Option<Text>,
    #[serde(rename = "qBt-tags")]
    qbt_tags: Option<Vec<Text>>,
    #[serde(rename = "qBt-category")]
    qbt_category: Option<Text>,
    #[serde(rename = "qBt-ratioLimit")]
    qbt_ratio_limit: Option<i64>,
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
    let place =
        known.destination.or(known.qbt_save_path).or(known.save_path).filter(|place| !place.0.is_empty());
    let Some(Text(place)) = place else { return Err(Failure::failed("it does not say where its data is")) };
    let labels = known.labels.or(known.qbt_tags).unwrap_or_default();
    let labels: Vec<String> = labels.into_iter().map(|label| label.0.replace(',', " ")).collect();
    let request = json!({
        "metainfo": crate::control::rpc::encode_base64(&metainfo),
        "download-dir": place,
        "paused": known.paused == Some(1),
        "labels": labels,
    });
    let answer = daemon.call("torrent-add", request)?;
    let (word, added) = match answer.get("torrent-duplicate") {
        Some(added) => ("already there", added),
        None => ("imported", &answer["torrent-added"]),
    };
    let (id, name): (u32, String) = (field(added, "id"), field(added, "name"));
    // qBittorrent writes thousandths; below zero it means the session's goal or none.
    if let Some(ratio @ 0..) = known.qbt_ratio_limit {
        let set = json!({"ids": [id], "seedRatioMode": 1, "seedRatioLimit": ratio as f64 / 1000.0});
        daemon.call("torrent-set", set)?;
    }
    let category = known.qbt_category.filter(|category| !category.0.is_empty());
    let category =
        category.map_or(String::new(), |category| format!(" (category {})", printable(&category.0)));
    Ok(format!("{word} {id} {}{category}", printable(&name)))
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
}
