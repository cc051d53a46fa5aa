//! Trackers that every public torrent announces to, beside its own.

use ringseed_proto::limits::TRACKERS_MAX;
use ringseed_proto::tracker::is_announce_url;

/// The tiers of a torrent with the trackers of `text` behind them, each in a tier of its own; `None` when it has them all.
/// Their URLs are parted by white space; what is no announce URL is left out.
pub fn with_defaults(tiers: &[Vec<String>], text: &str) -> Option<Vec<Vec<String>>> {
    let mut edited = tiers.to_vec();
    let mut count = edited.iter().map(Vec::len).sum::<usize>();
    for url in text.split_whitespace() {
        let known = edited.iter().flatten().any(|other| other == url);
        if !known && is_announce_url(url) && count < TRACKERS_MAX {
            edited.push(vec![url.to_owned()]);
            count += 1;
        }
    }
    (edited.len() > tiers.len()).then_some(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_behind_the_torrents_own_and_once() {
        let own = vec![vec!["http://a/x".to_owned(), "udp://b:1".to_owned()]];
        let both =
            with_defaults(&own, "http://c/x\n\nudp://b:1 ftp://d\nhttp://c/x nonsense http:///\n").unwrap();
        assert_eq!(both, [own[0].clone(), vec!["http://c/x".to_owned()]]);
        assert_eq!(with_defaults(&both, "http://c/x"), None);
        assert_eq!(with_defaults(&own, ""), None);
        assert_eq!(with_defaults(&[], "udp://b:1"), Some(vec![vec!["udp://b:1".to_owned()]]));
        let many: String = (0..1000).map(|n| format!("http://t{n}/a ")).collect();
        assert_eq!(with_defaults(&own, &many).unwrap().iter().flatten().count(), TRACKERS_MAX);
    }
}
