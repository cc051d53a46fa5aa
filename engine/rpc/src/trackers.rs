//! Editing the trackers of a torrent. Their ids are their places in the list of all tiers.

use ringseed_api::SetArgs;
use ringseed_proto::limits::TRACKERS_MAX;
use ringseed_proto::tracker::is_announce_url;
use serde_json::Value;
use std::collections::HashSet;

/// Why the trackers of a torrent cannot be edited so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TrackersError {
    /// More than a torrent may have.
    #[error("too many trackers")]
    TooMany,
    /// A URL that cannot be announced to.
    #[error("error: not an announce URL of http, https or udp")]
    NotAnAnnounceUrl,
    /// The torrent has no tracker with this id.
    #[error("there is no tracker {0}")]
    NoSuchTracker(usize),
    /// What is to be replaced is not named in pairs.
    #[error("trackerReplace is a list of ids and URLs in turn")]
    NotInPairs,
}

/// What is to be done with the trackers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Edit {
    list: Option<Vec<Vec<String>>>,
    add: Vec<String>,
    remove: HashSet<usize>,
    replace: Vec<(usize, String)>,
}

impl Edit {
    /// What a request wants; `None` when it does not name trackers.
    pub(super) fn of(args: &SetArgs) -> Result<Option<Edit>, TrackersError> {
        let edit = Edit {
            list: args.tracker_list.as_deref().map(parse_list).transpose()?,
            add: args.tracker_add.clone().unwrap_or_default(),
            remove: args.tracker_remove.iter().flatten().copied().collect(),
            replace: args.tracker_replace.as_deref().map(pairs).transpose()?.unwrap_or_default(),
        };
        // Before each of them is compared with each tracker of each torrent.
        if edit.add.len().max(edit.replace.len()).max(edit.remove.len()) > TRACKERS_MAX {
            return Err(TrackersError::TooMany);
        }
        edit.add.iter().chain(edit.replace.iter().map(|(_, url)| url)).try_for_each(|url| check_url(url))?;
        Ok((edit != Edit::default()).then_some(edit))
    }

    /// Adding announce URLs, each in a tier of its own.
    pub(super) fn adding(urls: Vec<String>) -> Result<Edit, TrackersError> {
        if urls.len() > TRACKERS_MAX {
            return Err(TrackersError::TooMany);
        }
        urls.iter().try_for_each(|url| check_url(url))?;
        Ok(Edit { add: urls, ..Edit::default() })
    }

    /// Removing announce URLs.
    pub(super) fn removing(tiers: &[Vec<String>], urls: &[String]) -> Edit {
        let place = |url: &String| tiers.iter().flatten().position(|other| other == url);
        Edit { remove: urls.iter().filter_map(place).collect(), ..Edit::default() }
    }

    /// Whether it fits the trackers that a torrent has.
    pub(super) fn check(&self, tiers: &[Vec<String>]) -> Result<(), TrackersError> {
        let count = tiers.iter().map(Vec::len).sum::<usize>();
        let ids = self.remove.iter().chain(self.replace.iter().map(|(id, _)| id));
        match ids.into_iter().find(|id| **id >= count) {
            Some(id) => Err(TrackersError::NoSuchTracker(*id)),
            None if self.list.is_none() && count + self.add.len() > TRACKERS_MAX => {
                Err(TrackersError::TooMany)
            }
            None => Ok(()),
        }
    }

    /// The trackers after it.
    pub(super) fn apply(&self, tiers: &[Vec<String>]) -> Vec<Vec<String>> {
        let mut id = 0;
        let mut seen = HashSet::new();
        let mut edited: Vec<Vec<String>> = Vec::new();
        for tier in self.list.as_deref().unwrap_or(tiers) {
            let mut kept = Vec::new();
            for url in tier {
                let replaced = self.replace.iter().find(|(other, _)| *other == id).map(|(_, url)| url);
                if !self.remove.contains(&id) && seen.insert(replaced.unwrap_or(url).clone()) {
                    kept.push(replaced.unwrap_or(url).clone());
                }
                id += 1;
            }
            edited.push(kept);
        }
        let new = self.add.iter().filter(|url| seen.insert((*url).clone())).map(|url| vec![url.clone()]);
        edited.extend(new);
        edited.retain(|tier| !tier.is_empty());
        edited
    }
}

/// Announce URLs, one a line, an empty line between tiers.
fn parse_list(text: &str) -> Result<Vec<Vec<String>>, TrackersError> {
    let mut tiers = vec![Vec::new()];
    let mut count = 0;
    for line in text.lines().map(str::trim) {
        match (line, tiers.last_mut()) {
            ("", _) => tiers.push(Vec::new()),
            (url, Some(tier)) => {
                check_url(url)?;
                tier.push(url.to_owned());
                count += 1;
            }
            (_, None) => {}
        }
        if count > TRACKERS_MAX {
            return Err(TrackersError::TooMany);
        }
    }
    tiers.retain(|tier| !tier.is_empty());
    Ok(tiers)
}

fn pairs(values: &[Value]) -> Result<Vec<(usize, String)>, TrackersError> {
    let pair = |pair: &[Value]| match pair {
        [id, Value::String(url)] => Some((usize::try_from(id.as_u64()?).ok()?, url.clone())),
        _ => None,
    };
    let pairs: Option<Vec<_>> = values.chunks(2).map(pair).collect();
    pairs.ok_or(TrackersError::NotInPairs)
}

pub(super) fn check_url(url: &str) -> Result<(), TrackersError> {
    match is_announce_url(url) {
        true => Ok(()),
        false => Err(TrackersError::NotAnAnnounceUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(arguments: Value) -> Result<Option<Edit>, TrackersError> {
        Edit::of(&serde_json::from_value(arguments).unwrap())
    }

    #[test]
    fn trackers_are_added_removed_and_replaced() {
        let (a, b, c) = ("http://a/x".to_owned(), "udp://b:1".to_owned(), "http://c/x".to_owned());
        let tiers = vec![vec![a.clone(), b.clone()], vec![c.clone()]];
        let add = edit(serde_json::json!({"trackerAdd": ["http://d/x", "http://a/x"]})).unwrap().unwrap();
        assert_eq!(
            add.apply(&tiers),
            [vec![a.clone(), b.clone()], vec![c.clone()], vec!["http://d/x".into()]]
        );
        let both = edit(serde_json::json!({"trackerRemove": [2], "trackerReplace": [0, "http://z/x"]}));
        assert_eq!(both.unwrap().unwrap().apply(&tiers), [["http://z/x".to_owned(), b.clone()]]);
        let list = edit(serde_json::json!({"trackerList": "http://q/x\n\n\nudp://r:2\n"})).unwrap().unwrap();
        assert_eq!(list.apply(&tiers), [["http://q/x"], ["udp://r:2"]]);
        assert_eq!(edit(serde_json::json!({"uploadLimit": 5})).unwrap(), None);
        assert!(both_ids_out_of_range(&tiers));
    }

    fn both_ids_out_of_range(tiers: &[Vec<String>]) -> bool {
        let remove = edit(serde_json::json!({"trackerRemove": [3]})).unwrap().unwrap();
        let replace = edit(serde_json::json!({"trackerReplace": [9, "http://z/x"]})).unwrap().unwrap();
        remove.check(tiers).is_err() && replace.check(tiers).is_err()
    }

    #[test]
    fn only_announce_urls_are_taken() {
        for url in ["ftp://a/x", "http://", "http:///x", "http://a b/", "http://a/\n", "javascript:1", ""] {
            assert!(edit(serde_json::json!({"trackerAdd": [url]})).is_err(), "{url}");
        }
        for url in ["http://a/x?k=a b", "http://a/\"|{b}^", "HTTP://n:p@a/x", "udp://[::1]:2/x"] {
            assert!(edit(serde_json::json!({"trackerAdd": [url]})).is_ok(), "{url}");
        }
        assert!(edit(serde_json::json!({"trackerReplace": [0]})).is_err());
        assert!(edit(serde_json::json!({"trackerReplace": ["http://a/x", 0]})).is_err());
    }
}
