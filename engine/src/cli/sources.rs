//! Says when a download has nobody to get its data from, instead of waiting in silence.

use super::quantity::printable;
use super::screen;
use ringseed_handle::{TorrentState, TorrentStatus};
use std::time::{Duration, Instant};

/// Time after which it is said though not every tracker was asked yet, or a peer could still answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Trackers named in one message.
const NAMED_MAX: usize = 3;

/// What was said of one torrent.
#[derive(Debug, Default)]
pub struct Sources {
    /// Since when it downloads without a peer.
    alone_since: Option<Instant>,
    said: Option<String>,
}

impl Sources {
    /// Says what is wrong when that is new. `peers`: how many the user named.
    pub fn look(&mut self, status: &TorrentStatus, peers: usize, now: Instant) {
        if status.state != TorrentState::Downloading || !status.peers.is_empty() {
            *self = Self::default();
            return;
        }
        let since = *self.alone_since.get_or_insert(now);
        let trouble = trouble(status, peers, now.duration_since(since) >= PATIENCE);
        if let Some(trouble) = trouble
            && self.said.as_ref() != Some(&trouble)
        {
            screen::complain(&format!("{}: {trouble}", printable(&status.metainfo.info.name)));
            self.said = Some(trouble);
        }
    }
}

/// Why a torrent without peers will have none soon; `None` while that may change by itself.
fn trouble(status: &TorrentStatus, peers: usize, waited: bool) -> Option<String> {
    if status.tiers().iter().all(Vec::is_empty) {
        return match peers {
            0 => Some(
                "it has no trackers, and no peers were given with --peer: only a peer that connects by itself \
                 could send it"
                    .to_owned(),
            ),
            _ if waited => Some("it has no trackers, and no peer given with --peer answers".to_owned()),
            _ => None,
        };
    }
    if (peers > 0 && !waited) || status.trackers.is_empty() {
        return None;
    }
    if status.trackers.iter().any(|tracker| tracker.ok) {
        // The address may be our own.
        let known: u32 = status.trackers.iter().filter_map(|tracker| tracker.peers).sum();
        return waited
            .then(|| format!("no peer is connected; trackers know {known} addresses, this one among them"));
    }
    let failed: Vec<_> = status.trackers.iter().filter(|tracker| !tracker.last_result.is_empty()).collect();
    if failed.is_empty() || (failed.len() < status.trackers.len() && !waited) {
        return None;
    }
    let told = failed.iter().take(NAMED_MAX).map(|tracker| {
        format!("{} says: {}", printable(place(&tracker.url)), printable(&tracker.last_result))
    });
    let told: Vec<String> = told.collect();
    let more = failed.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
    Some(format!("no tracker helps; trying again: {}{more}", told.join("; ")))
}

/// Scheme, host and port of a URL: what follows may be secret, and so may what is before an `@`.
fn place(url: &str) -> &str {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    let host = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
    if host > start { &url[host..end] } else { &url[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::transfer_view::tests::torrent;
    use ringseed_handle::TrackerStatus;
    use std::sync::Arc;

    fn announced(results: &[(&str, bool)]) -> TorrentStatus {
        let mut status = torrent(TorrentState::Downloading, 500);
        let urls = (0..results.len()).map(|n| format!("http://u:pw@t{n}.example:80/key/announce"));
        let urls: Vec<String> = urls.collect();
        let told = urls.iter().zip(results).map(|(url, (result, ok))| TrackerStatus {
            last_result: (*result).to_owned(),
            ok: *ok,
            ..TrackerStatus::unknown(url, 0)
        });
        status.trackers = told.collect();
        Arc::make_mut(&mut status.settings).tiers = Some(vec![urls]);
        status
    }

    #[test]
    fn no_trackers_and_no_peers_is_said_at_once() {
        let status = torrent(TorrentState::Downloading, 500);
        assert!(trouble(&status, 0, false).unwrap().contains("no trackers"));
        assert_eq!(trouble(&status, 1, false), None, "it may answer");
        assert!(trouble(&status, 1, true).unwrap().contains("--peer"));
    }

    #[test]
    fn refusals_are_said_once_all_trackers_were_asked_and_without_secrets() {
        let refused = ("unregistered torrent", false);
        let told = trouble(&announced(&[refused]), 0, false).unwrap();
        assert_eq!(told, "no tracker helps; trying again: t0.example:80 says: unregistered torrent");
        assert_eq!(trouble(&announced(&[refused, ("", false)]), 0, false), None, "one may still answer");
        assert!(trouble(&announced(&[refused, ("", false)]), 0, true).is_some());
        let success = announced(&[refused, ("Success", true)]);
        assert_eq!(trouble(&success, 0, false), None);
        assert!(trouble(&success, 0, true).unwrap().contains("no peer is connected"));
        assert_eq!(trouble(&announced(&[("", false)]), 0, true), None, "nobody has answered yet");
        assert_eq!(trouble(&announced(&[refused]), 1, false), None, "a peer that was named may");
        assert!(trouble(&announced(&[refused; 5]), 0, false).unwrap().ends_with("(2 more)"));
    }

    #[test]
    fn it_is_said_once_and_again_when_it_is_another_trouble() {
        let (mut sources, now) = (Sources::default(), Instant::now());
        sources.look(&announced(&[("a", false)]), 0, now);
        let said = sources.said.clone();
        assert!(said.is_some());
        sources.look(&announced(&[("a", false)]), 0, now);
        assert_eq!(sources.said, said);
        sources.look(&announced(&[("b", false)]), 0, now);
        assert_ne!(sources.said, said);
        sources.look(&torrent(TorrentState::Seeding, 0), 0, now);
        assert_eq!(sources.said, None);
    }
}
