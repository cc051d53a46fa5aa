//! Two daemons that meet at a tracker.

use crate::daemon::Daemon;
use crate::support::content::{Content, multi};
use crate::support::until;
use ringseed_tracker::{Tracker, TrackerConfig};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A daemon that seeds and one that is to download, with a tracker between them.
pub struct Pair {
    _tracker: Tracker,
    pub seed: Daemon,
    pub leech: Daemon,
    pub content: Content,
}

impl Pair {
    /// The leech has these settings, and downloads slowly, so that it is met in the middle.
    pub fn new(settings: Value) -> Self {
        let config = TrackerConfig { http: Some("127.0.0.1:0".parse().unwrap()), ..TrackerConfig::default() };
        let tracker = Tracker::start(config).unwrap();
        let seed = Daemon::start(&[]);
        let url = format!("http://{}/announce", tracker.http_addr().unwrap());
        let content = multi(&seed.dir("content"), "64K", &url);
        seed.seed(&content);
        let leech = Daemon::start(&[]);
        leech.call("session-set", settings);
        let pair = Self { _tracker: tracker, seed, leech, content };
        pair.limit(Some(1200));
        pair
    }

    /// Limits the download in kB/s.
    pub fn limit(&self, rate: Option<u64>) {
        let set = match rate {
            Some(rate) => json!({"speed-limit-down": rate, "speed-limit-down-enabled": true}),
            None => json!({"speed-limit-down-enabled": false}),
        };
        self.leech.call("session-set", set);
    }

    pub fn target(&self) -> PathBuf {
        self.leech.dir("target")
    }

    /// Adds the torrent, whose files come one after the other.
    pub fn add(&self) {
        let add = json!({"filename": self.content.torrent, "download-dir": self.target(), "sequential_download": true});
        self.leech.call("torrent-add", add);
    }

    pub fn left(&self) -> u64 {
        self.leech.torrent(&self.content.info_hash, &["leftUntilDone"])["leftUntilDone"].as_u64().unwrap()
    }

    /// Waits until the first file is complete, and no more than that and a part of the next are.
    pub fn until_the_first_file(&self) {
        until("the first file", || {
            let files = self.leech.torrent(&self.content.info_hash, &["files"])["files"].clone();
            let first = files.as_array()?.first()?;
            (first["bytesCompleted"] == first["length"] && self.left() > 0).then_some(())
        });
    }

    pub fn act(&self, method: &str, more: Value) {
        let mut arguments = more;
        arguments["ids"] = json!([self.content.info_hash]);
        self.leech.call(method, arguments);
    }

    pub fn stop(&self) {
        self.act("torrent-stop", json!({}));
        self.leech.wait(&self.content.info_hash, "the stop", |torrent| torrent["status"] == 0);
    }
}
