//! `show`: what a torrent says.

use super::args::Show;
use super::failure::Failure;
use super::quantity::{date, printable, size};
use super::{fetch, manual};
use ringseed_proto::magnet::Magnet;
use ringseed_proto::metainfo::Metainfo;
use std::fmt::Write;

/// Runs the command.
pub fn run(args: &Show) -> Result<(), Failure> {
    let metainfo = fetch::torrent_blocking(&args.torrent)?;
    let text = if args.json { format!("{:#}\n", json(&metainfo)) } else { text(&metainfo) };
    manual::print(text.as_bytes())
}

/// A magnet link with the name and trackers of a torrent.
pub fn magnet(metainfo: &Metainfo) -> String {
    Magnet {
        hashes: metainfo.hashes,
        name: Some(metainfo.info.name.clone()),
        trackers: metainfo.tiers.iter().flatten().cloned().collect(),
        web_seeds: metainfo.web_seeds.clone(),
        peers: Vec::new(),
        select: None,
    }
    .to_string()
}

fn json(metainfo: &Metainfo) -> serde_json::Value {
    let layout = &metainfo.info.layout;
    let files: Vec<_> = layout
        .files
        .iter()
        .map(|file| {
            serde_json::json!({
                "path": file.path.to_string_lossy(),
                "length": file.length,
                "padding": file.padding,
            })
        })
        .collect();
    serde_json::json!({
        "name": metainfo.info.name,
        "info_hash": metainfo.id().to_string(),
        "magnet": magnet(metainfo),
        "total_length": layout.total_length,
        "piece_length": layout.piece_length,
        "piece_count": layout.piece_count(),
        "private": metainfo.info.private,
        "source": metainfo.info.source,
        "trackers": metainfo.tiers,
        "web_seeds": metainfo.web_seeds,
        "comment": metainfo.comment,
        "created_by": metainfo.created_by,
        "creation_date": metainfo.creation_date,
        "files": files,
    })
}

fn text(metainfo: &Metainfo) -> String {
    let info = &metainfo.info;
    let layout = &info.layout;
    let mut out = String::new();
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(out, "{label:<12} {value}");
    };
    row("name", &printable(&info.name));
    row("info-hash", &metainfo.id().to_string());
    row("size", &format!("{} ({} bytes)", size(layout.total_length), layout.total_length));
    row("pieces", &format!("{} of {}", layout.piece_count(), size(layout.piece_length.into())));
    row("private", if info.private { "yes" } else { "no" });
    if let Some(source) = &info.source {
        row("source", &printable(source));
    }
    for (tier, urls) in metainfo.tiers.iter().enumerate() {
        for url in urls {
            row(&format!("tracker {tier}"), &printable(url));
        }
    }
    for url in &metainfo.web_seeds {
        row("web seed", &printable(url));
    }
    if let Some(comment) = &metainfo.comment {
        row("comment", &printable(comment));
    }
    if let Some(program) = &metainfo.created_by {
        row("created by", &printable(program));
    }
    if let Some(seconds) = metainfo.creation_date {
        row("created", &date(i64::try_from(seconds).unwrap_or(i64::MAX)));
    }
    row("magnet", &magnet(metainfo));
    let stored = layout.files.iter().filter(|file| !file.padding);
    row("files", &stored.clone().count().to_string());
    for file in stored {
        let _ = writeln!(out, "{:>12} {}", size(file.length), printable(&file.path.to_string_lossy()));
    }
    out
}
