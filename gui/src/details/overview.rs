//! Facts about a torrent, as names and values.

use crate::quantity;
use crate::rpc::DetailsNews;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub name: &'static str,
    /// What it is worth; `–` when that is not known.
    pub value: String,
}

/// The facts in two columns: about the transfer, and about the torrent itself.
pub fn overview(news: &DetailsNews, pieces_here: u32) -> (Vec<Fact>, Vec<Fact>) {
    let torrent = &news.torrent;
    let fact =
        |name, value: String| Fact { name, value: if value.is_empty() { "–".to_owned() } else { value } };
    let limit = |on: bool, rate: u64| {
        if on { quantity::rate_or_zero(rate.saturating_mul(1000)) } else { "none".to_owned() }
    };
    let transfer = vec![
        fact("Downloaded", quantity::bytes(torrent.downloaded_ever)),
        fact("Uploaded", quantity::bytes(torrent.uploaded_ever)),
        fact("Ratio", quantity::ratio(torrent.upload_ratio)),
        fact("Remaining", quantity::bytes(torrent.left_until_done)),
        fact("Wasted", quantity::bytes(news.corrupt_ever)),
        fact(
            "Limits",
            format!(
                "down {}, up {}",
                limit(torrent.download_limited, torrent.download_limit),
                limit(torrent.upload_limited, torrent.upload_limit)
            ),
        ),
        fact(
            "Peers",
            format!(
                "{} ({} send, {} receive)",
                torrent.peers_connected, torrent.peers_sending_to_us, torrent.peers_getting_from_us
            ),
        ),
        fact(
            "Private",
            if torrent.is_private { "yes, peers from its trackers only" } else { "no" }.to_owned(),
        ),
    ];
    let mut about = vec![
        fact("Size", quantity::bytes(torrent.total_size)),
        fact(
            "Pieces",
            format!(
                "{} of {} at {}",
                pieces_here,
                torrent.piece_count,
                quantity::bytes(u64::from(torrent.piece_size))
            ),
        ),
        fact("Folder", torrent.download_dir.clone()),
        fact("Info-hash", torrent.hash_string.clone()),
        fact("Added", quantity::date(torrent.added_date)),
        fact("Completed", quantity::date(torrent.done_date)),
        fact("Made", made(news.date_created, &torrent.creator)),
    ];
    if !torrent.comment.is_empty() {
        about.push(fact("Comment", torrent.comment.replace(['\r', '\n'], " ")));
    }
    (transfer, about)
}

fn made(date: i64, creator: &str) -> String {
    match (quantity::date(date), creator) {
        (date, "") => date,
        (date, creator) if date.is_empty() => format!("with {creator}"),
        (date, creator) => format!("{date} with {creator}"),
    }
}
