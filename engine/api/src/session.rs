//! The session: settings, statistics, free space.

use crate::torrent::loose_flag;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Answer to `session-get`: the part of the specification's fields that the engine has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Session {
    /// Version as clients parse it: `4.0.6 (ringseed ...)`.
    pub version: String,
    /// Version of this protocol: 17.
    pub rpc_version: u32,
    /// Oldest version of the protocol that is understood.
    pub rpc_version_minimum: u32,
    /// The same as a semantic version: 5.3.0.
    pub rpc_version_semver: String,
    /// The session id of this process.
    pub session_id: String,
    /// Where state is kept; empty when it is not.
    pub config_dir: String,
    /// Directory for torrents added without one.
    pub download_dir: String,
    /// Bytes free there, or -1.
    pub download_dir_free_space: i64,
    /// Directory for incomplete torrents: the download directory.
    pub incomplete_dir: String,
    /// Whether it is used.
    pub incomplete_dir_enabled: bool,
    /// TCP port where peers reach us.
    pub peer_port: u16,
    /// Whether it is chosen anew at each start.
    pub peer_port_random_on_start: bool,
    /// Whether routers are asked to forward it.
    pub port_forwarding_enabled: bool,
    /// Connections of the whole engine at most.
    pub peer_limit_global: u32,
    /// Connections of one torrent at most.
    pub peer_limit_per_torrent: u32,
    /// Distributed hash table (BEP 5).
    pub dht_enabled: bool,
    /// Local peer discovery (BEP 14).
    pub lpd_enabled: bool,
    /// Peer exchange (BEP 11).
    pub pex_enabled: bool,
    /// uTP (BEP 29).
    pub utp_enabled: bool,
    /// `tolerated`, `preferred` or `required`.
    pub encryption: String,
    /// Download limit in kB/s.
    pub speed_limit_down: u64,
    /// Whether it holds.
    pub speed_limit_down_enabled: bool,
    /// Upload limit in kB/s.
    pub speed_limit_up: u64,
    /// Whether it holds.
    pub speed_limit_up_enabled: bool,
    /// Alternative limits hold now.
    pub alt_speed_enabled: bool,
    /// Alternative download limit in kB/s.
    pub alt_speed_down: u64,
    /// Alternative upload limit in kB/s.
    pub alt_speed_up: u64,
    /// Whether they follow the clock.
    pub alt_speed_time_enabled: bool,
    /// From this minute of the day.
    pub alt_speed_time_begin: u32,
    /// To this minute of the day.
    pub alt_speed_time_end: u32,
    /// On these days, a bit each from Sunday.
    pub alt_speed_time_day: u32,
    /// Whether torrents stop at a ratio by default. The wire writes this one in camel case.
    #[serde(rename = "seedRatioLimited")]
    pub seed_ratio_limited: bool,
    /// That ratio.
    #[serde(rename = "seedRatioLimit")]
    pub seed_ratio_limit: f64,
    /// Minutes without upload after which seeding stops.
    pub idle_seeding_limit: u32,
    /// Whether it does.
    pub idle_seeding_limit_enabled: bool,
    /// Whether only some torrents download at once.
    pub download_queue_enabled: bool,
    /// How many.
    pub download_queue_size: u32,
    /// Whether only some torrents seed at once.
    pub seed_queue_enabled: bool,
    /// How many.
    pub seed_queue_size: u32,
    /// Whether torrents without traffic do not count in their queue.
    pub queue_stalled_enabled: bool,
    /// After this many minutes.
    pub queue_stalled_minutes: u32,
    /// Trackers for every public torrent, a URL a line.
    pub default_trackers: String,
    /// Where the blocklist is fetched from.
    pub blocklist_url: String,
    /// Whether peers are reached over TCP: always.
    pub tcp_enabled: bool,
    /// Hooks are never run: this is false, and so are its kin.
    pub script_torrent_added_enabled: bool,
    /// The hook.
    pub script_torrent_added_filename: String,
    /// Hooks are never run.
    pub script_torrent_done_enabled: bool,
    /// The hook.
    pub script_torrent_done_filename: String,
    /// Hooks are never run.
    pub script_torrent_done_seeding_enabled: bool,
    /// The hook.
    pub script_torrent_done_seeding_filename: String,
    /// Whether clients that fail to log in are refused for a while: always.
    pub anti_brute_force_enabled: bool,
    /// Failures of a client after which it is refused.
    pub anti_brute_force_threshold: u32,
    /// Whether added torrents start.
    pub start_added_torrents: bool,
    /// Whether torrent files are deleted after they were added.
    pub trash_original_torrent_files: bool,
    /// Whether files that are made carry `.part` until they are complete.
    pub rename_partial_files: bool,
    /// Whether a blocklist holds.
    pub blocklist_enabled: bool,
    /// Its rules.
    pub blocklist_size: u32,
    /// Cache in MiB; the engine has none of its own.
    pub cache_size_mb: u32,
}

impl Default for Session {
    /// What an engine says that has nothing but the defaults.
    fn default() -> Session {
        Session {
            version: String::new(),
            rpc_version: 17,
            rpc_version_minimum: 14,
            rpc_version_semver: "5.3.0".to_owned(),
            session_id: String::new(),
            config_dir: String::new(),
            download_dir: String::new(),
            download_dir_free_space: -1,
            incomplete_dir: String::new(),
            incomplete_dir_enabled: false,
            peer_port: 0,
            peer_port_random_on_start: false,
            port_forwarding_enabled: false,
            peer_limit_global: 0,
            peer_limit_per_torrent: 0,
            dht_enabled: false,
            lpd_enabled: false,
            pex_enabled: true,
            utp_enabled: false,
            encryption: "preferred".to_owned(),
            speed_limit_down: 0,
            speed_limit_down_enabled: false,
            speed_limit_up: 0,
            speed_limit_up_enabled: false,
            alt_speed_enabled: false,
            alt_speed_down: 0,
            alt_speed_up: 0,
            alt_speed_time_enabled: false,
            alt_speed_time_begin: 540,
            alt_speed_time_end: 1020,
            alt_speed_time_day: 127,
            seed_ratio_limited: false,
            seed_ratio_limit: 2.0,
            idle_seeding_limit: 30,
            idle_seeding_limit_enabled: false,
            download_queue_enabled: false,
            download_queue_size: 5,
            seed_queue_enabled: false,
            seed_queue_size: 10,
            queue_stalled_enabled: true,
            queue_stalled_minutes: 30,
            default_trackers: String::new(),
            blocklist_url: String::new(),
            tcp_enabled: true,
            script_torrent_added_enabled: false,
            script_torrent_added_filename: String::new(),
            script_torrent_done_enabled: false,
            script_torrent_done_filename: String::new(),
            script_torrent_done_seeding_enabled: false,
            script_torrent_done_seeding_filename: String::new(),
            anti_brute_force_enabled: true,
            anti_brute_force_threshold: 100,
            start_added_torrents: true,
            trash_original_torrent_files: false,
            rename_partial_files: false,
            blocklist_enabled: false,
            blocklist_size: 0,
            cache_size_mb: 0,
        }
    }
}

/// Arguments of `session-set`; what is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SessionSetArgs {
    /// Download limit in kB/s; 0 lets nothing through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_limit_down: Option<u64>,
    /// Whether it holds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub speed_limit_down_enabled: Option<bool>,
    /// Upload limit in kB/s; 0 lets nothing through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_limit_up: Option<u64>,
    /// Whether it holds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub speed_limit_up_enabled: Option<bool>,
    /// Alternative limits hold now.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub alt_speed_enabled: Option<bool>,
    /// Alternative download limit in kB/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt_speed_down: Option<u64>,
    /// Alternative upload limit in kB/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt_speed_up: Option<u64>,
    /// Whether they follow the clock.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub alt_speed_time_enabled: Option<bool>,
    /// From this minute of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt_speed_time_begin: Option<u32>,
    /// To this minute of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt_speed_time_end: Option<u32>,
    /// On these days, a bit each from Sunday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt_speed_time_day: Option<u32>,
    /// Whether torrents stop at a ratio by default.
    #[serde(
        rename = "seedRatioLimited",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "loose_flag"
    )]
    pub seed_ratio_limited: Option<bool>,
    /// That ratio.
    #[serde(rename = "seedRatioLimit", skip_serializing_if = "Option::is_none")]
    pub seed_ratio_limit: Option<f64>,
    /// Minutes without upload after which seeding stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seeding_limit: Option<u32>,
    /// Whether it does.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub idle_seeding_limit_enabled: Option<bool>,
    /// Whether only some torrents download at once.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub download_queue_enabled: Option<bool>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_queue_size: Option<u32>,
    /// Whether only some torrents seed at once.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub seed_queue_enabled: Option<bool>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_queue_size: Option<u32>,
    /// Whether torrents without traffic do not count in their queue.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub queue_stalled_enabled: Option<bool>,
    /// After this many minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_stalled_minutes: Option<u32>,
    /// `tolerated`, `preferred` or `required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// TCP port where peers reach us, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// Directory for torrents added without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_dir: Option<String>,
    /// Directory for incomplete torrents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete_dir: Option<String>,
    /// Whether it is used.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub incomplete_dir_enabled: Option<bool>,
    /// Whether files that are made from now on carry `.part` until they are complete. Those that are there keep the name
    /// that they have.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub rename_partial_files: Option<bool>,
    /// Whether added torrents start.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub start_added_torrents: Option<bool>,
    /// Whether torrent files are deleted after they were added.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub trash_original_torrent_files: Option<bool>,
    /// Trackers for every public torrent, a URL a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_trackers: Option<String>,
    /// Whether a blocklist holds.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "loose_flag")]
    pub blocklist_enabled: Option<bool>,
    /// Where the blocklist is fetched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocklist_url: Option<String>,
    /// What else was given.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Answer to `session-stats`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionStats {
    /// Torrents that are not paused.
    pub active_torrent_count: u64,
    /// Torrents that are.
    pub paused_torrent_count: u64,
    /// All torrents.
    pub torrent_count: u64,
    /// Bytes per second received.
    pub download_speed: u64,
    /// Bytes per second sent.
    pub upload_speed: u64,
    /// Over all runs.
    #[serde(rename = "cumulative-stats")]
    pub cumulative: TransferStats,
    /// In this run.
    #[serde(rename = "current-stats")]
    pub current: TransferStats,
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransferStats {
    /// Payload bytes sent.
    pub uploaded_bytes: u64,
    /// Payload bytes received.
    pub downloaded_bytes: u64,
    /// Files of added torrents.
    pub files_added: u64,
    /// Runs.
    pub session_count: u64,
    /// Seconds.
    pub seconds_active: u64,
}

/// Arguments of `free-space`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreeSpaceArgs {
    /// An absolute directory.
    pub path: String,
}

/// Answer to `free-space`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// As asked.
    pub path: String,
    /// Bytes free for this user, or -1.
    #[serde(rename = "size-bytes")]
    pub size_bytes: i64,
    /// Bytes in all, or -1. The wire writes this one with an underscore.
    pub total_size: i64,
}
