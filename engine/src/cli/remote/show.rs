//! Commands that tell something.

use super::act::find;
use super::args::{Connect, Info, List};
use super::client::Daemon;
use super::field;
use crate::cli::failure::Failure;
use crate::cli::quantity::{eta, printable, rate, size, span};
use crate::cli::screen;
use serde_json::{Value, json};
use std::time::Duration;

/// Fields of a line in a list.
pub const LINE_FIELDS: &[&str] = &[
    "id",
    "hashString",
    "name",
    "status",
    "error",
    "errorString",
    "percentDone",
    "recheckProgress",
    "totalSize",
    "sizeWhenDone",
    "leftUntilDone",
    "rateDownload",
    "rateUpload",
    "uploadedEver",
    "downloadedEver",
    "uploadRatio",
    "peersConnected",
    "labels",
    "downloadDir",
    "queuePosition",
    "ringseedMoveProgress",
];

/// Fields of `info` beside those.
const INFO_FIELDS: &[&str] = &[
    "addedDate",
    "ringseedCurrentDir",
    "ringseedMoveTo",
    "comment",
    "creator",
    "doneDate",
    "isPrivate",
    "pieceCount",
    "pieceSize",
    "secondsDownloading",
    "secondsSeeding",
    "seedRatioLimit",
    "seedRatioMode",
    "uploadLimit",
    "uploadLimited",
    "downloadLimit",
    "downloadLimited",
    "magnetLink",
    "files",
    "fileStats",
    "peers",
    "trackerStats",
];

/// The torrents, a line each.
pub fn list(args: &List) -> Result<(), Failure> {
    let daemon = Daemon::new(&args.connect)?;
    let answer = daemon.call("torrent-get", json!({"fields": LINE_FIELDS}))?;
    let mut torrents: Vec<Value> = field(&answer, "torrents");
    if let Some(label) = &args.label {
        torrents.retain(|torrent| field::<Vec<String>>(torrent, "labels").contains(label));
    }
    if args.connect.json {
        screen::say(&Value::Array(torrents).to_string());
        return Ok(());
    }
    screen::say(&header());
    for torrent in &torrents {
        screen::say(&line(torrent));
    }
    Ok(())
}

/// Titles of the columns of [`line`].
pub fn header() -> String {
    format!(
        "{:>5}  {:<11} {:>6} {:>10} {:>12} {:>12} {:>6} {:>5}  {}",
        "ID", "STATE", "DONE", "SIZE", "DOWN", "UP", "RATIO", "PEERS", "NAME"
    )
}

/// A torrent in one line.
pub fn line(torrent: &Value) -> String {
    let done = match field::<u8>(torrent, "status") {
        _ if is_moving(torrent) => field::<f64>(torrent, "ringseedMoveProgress"),
        2 => field::<f64>(torrent, "recheckProgress"),
        _ => field::<f64>(torrent, "percentDone"),
    };
    let ratio: f64 = field(torrent, "uploadRatio");
    let ratio = match ratio {
        ..=-2.0 => "inf".to_owned(),
        ..0.0 => "-".to_owned(),
        ratio => format!("{ratio:.2}"),
    };
    format!(
        "{:>5}  {:<11} {:>5.1}% {:>10} {:>12} {:>12} {ratio:>6} {:>5}  {}",
        field::<u32>(torrent, "id"),
        state(torrent),
        (done * 1000.0).floor() / 10.0,
        size(field(torrent, "totalSize")),
        rate(field(torrent, "rateDownload")),
        rate(field(torrent, "rateUpload")),
        field::<u32>(torrent, "peersConnected"),
        printable(&field::<String>(torrent, "name")),
    )
}

/// What a torrent does, in a word.
pub fn state(torrent: &Value) -> &'static str {
    let status = field::<u8>(torrent, "status");
    // One that goes on has a local error, too: `info` tells it.
    if field::<u8>(torrent, "error") == 3 && status == 0 {
        return "failed";
    }
    if is_moving(torrent) {
        return "moving";
    }
    match status {
        0 => "paused",
        1 | 2 => "checking",
        3 | 5 => "queued",
        4 => "downloading",
        _ => "seeding",
    }
}

/// Whether its files are being moved; older daemons do not say.
fn is_moving(torrent: &Value) -> bool {
    torrent["ringseedMoveProgress"].as_f64().is_some_and(|share| share >= 0.0)
}

/// All about torrents.
pub fn info(args: &Info) -> Result<(), Failure> {
    let daemon = Daemon::new(&args.connect)?;
    let torrents = find(&daemon, &args.which.torrents, &[LINE_FIELDS, INFO_FIELDS].concat())?;
    if args.connect.json {
        screen::say(&Value::Array(torrents).to_string());
        return Ok(());
    }
    for torrent in &torrents {
        tell(torrent);
    }
    Ok(())
}

fn tell(torrent: &Value) {
    let text = |name| printable(&field::<String>(torrent, name));
    let number = |name| field::<u64>(torrent, name);
    let row = |name: &str, value: String| screen::say(&format!("{:<14}{value}", format!("{name}:")));
    row("name", text("name"));
    row("id", number("id").to_string());
    row("info-hash", text("hashString"));
    row("state", state(torrent).to_owned());
    if field::<u8>(torrent, "error") > 0 {
        row("error", text("errorString"));
    }
    row("directory", text("downloadDir"));
    if !text("ringseedCurrentDir").is_empty() && text("ringseedCurrentDir") != text("downloadDir") {
        row("now in", text("ringseedCurrentDir"));
    }
    if is_moving(torrent) {
        let share = (field::<f64>(torrent, "ringseedMoveProgress") * 100.0).floor();
        row("moving to", format!("{}, {share} %", text("ringseedMoveTo")));
    }
    let wanted = number("sizeWhenDone");
    let have = wanted.saturating_sub(number("leftUntilDone"));
    row(
        "size",
        format!(
            "{} in {} pieces of {}",
            size(number("totalSize")),
            number("pieceCount"),
            size(number("pieceSize"))
        ),
    );
    row("here", format!("{} of {}", size(have), size(wanted)));
    row("sent", format!("{} ({})", size(number("uploadedEver")), rate(number("rateUpload"))));
    row("received", format!("{} ({})", size(number("downloadedEver")), rate(number("rateDownload"))));
    if let Some(left) = eta(number("leftUntilDone"), number("rateDownload")) {
        row("time left", span(left));
    }
    row("downloaded for", span(Duration::from_secs(number("secondsDownloading"))));
    row("seeded for", span(Duration::from_secs(number("secondsSeeding"))));
    let labels: Vec<String> = field(torrent, "labels");
    if !labels.is_empty() {
        row("labels", printable(&labels.join(", ")));
    }
    for (name, value, on) in [
        ("upload limit", "uploadLimit", "uploadLimited"),
        ("download limit", "downloadLimit", "downloadLimited"),
    ] {
        if field::<bool>(torrent, on) {
            row(name, rate(number(value) * 1000));
        }
    }
    let stats: Vec<Value> = field(torrent, "fileStats");
    for (file, stats) in field::<Vec<Value>>(torrent, "files").iter().zip(stats) {
        let mark = if field::<bool>(&stats, "wanted") { "" } else { " (not wanted)" };
        let (here, all): (u64, u64) = (field(file, "bytesCompleted"), field(file, "length"));
        let name = printable(&field::<String>(file, "name"));
        row("file", format!("{name}, {} of {}{mark}", size(here), size(all)));
    }
    for tracker in field::<Vec<Value>>(torrent, "trackerStats") {
        let (url, said): (String, String) =
            (field(&tracker, "announce"), field(&tracker, "lastAnnounceResult"));
        row("tracker", format!("{} {}", printable(&url), printable(&said)));
    }
    for peer in field::<Vec<Value>>(torrent, "peers") {
        let (address, port, client): (String, u16, String) =
            (field(&peer, "address"), field(&peer, "port"), field(&peer, "clientName"));
        let (down, up): (u64, u64) = (field(&peer, "rateToClient"), field(&peer, "rateToPeer"));
        row("peer", format!("{address} {port} {}, {} down, {} up", printable(&client), rate(down), rate(up)));
    }
}

/// What the daemon has done.
pub fn stats(connect: &Connect) -> Result<(), Failure> {
    let stats = Daemon::new(connect)?.call("session-stats", json!({}))?;
    if connect.json {
        screen::say(&stats.to_string());
        return Ok(());
    }
    let number = |name: &str| field::<u64>(&stats, name);
    screen::say(&format!("torrents:  {} ({} paused)", number("torrentCount"), number("pausedTorrentCount")));
    screen::say(&format!(
        "now:       {} down, {} up",
        rate(number("downloadSpeed")),
        rate(number("uploadSpeed"))
    ));
    for (title, name) in [("this run", "current-stats"), ("all runs", "cumulative-stats")] {
        let moved = |field_name: &str| field::<u64>(&stats[name], field_name);
        screen::say(&format!(
            "{:<11}{} received, {} sent, {} active",
            format!("{title}:"),
            size(moved("downloadedBytes")),
            size(moved("uploadedBytes")),
            span(Duration::from_secs(moved("secondsActive"))),
        ));
    }
    Ok(())
}
