//! `session-get` and `session-set`: the settings of the session under Transmission's names.

use super::arguments::{ArgumentError, absolute};
use super::error::{MethodError, Unsupported};
use super::methods::{Outcome, empty, write};
use super::server::Server;
use super::set::limit;
use ringseed_api::{Session, SessionSetArgs};
use ringseed_handle::{EngineChange, SessionSettings, Switch};
use ringseed_proto::mse::Mode;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

const FREE_SPACE: &str = "download-dir-free-space";

impl Server {
    pub(super) async fn session_get(&self, arguments: &Map<String, Value>) -> Outcome {
        let wanted = match arguments.get("fields") {
            Some(Value::Array(wanted)) => {
                Some(wanted.iter().filter_map(Value::as_str).collect::<HashSet<_>>())
            }
            _ => None,
        };
        let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(name));
        let mut all = self.session()?;
        if is_wanted(FREE_SPACE) {
            let free = self.spaces.of(self.download_dir()).await.map_or(-1, |(free, _)| free);
            all.insert(FREE_SPACE.to_owned(), free.into());
        }
        all.retain(|name, _| is_wanted(name));
        Ok(Value::Object(all))
    }

    /// The session but for the free space, which takes a look at a disk.
    fn session(&self) -> Result<Map<String, Value>, MethodError> {
        let info = &self.info;
        let snapshot = self.handle.snapshot();
        let (limits, settings) = (snapshot.limits, &snapshot.settings);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let download_dir = self.download_dir();
        let session = Session {
            version: format!("4.0.6 (ringseed {})", info.version),
            session_id: self.session_id.clone(),
            config_dir: text(info.state_dir.as_deref().unwrap_or(Path::new(""))),
            download_dir_free_space: -1,
            incomplete_dir: text(settings.incomplete_dir.as_deref().unwrap_or(&download_dir)),
            download_dir: text(&download_dir),
            incomplete_dir_enabled: settings.incomplete_dir_on,
            rename_partial_files: settings.partial_names,
            peer_port: self.handle.listen_port(),
            peer_limit_global: count(info.connections_max),
            peer_limit_per_torrent: count(info.torrent_connections_max),
            encryption: encryption_word(settings.encryption.mode).to_owned(),
            speed_limit_down: limits.download.rate.div_ceil(1000),
            speed_limit_down_enabled: limits.download.on,
            speed_limit_up: limits.upload.rate.div_ceil(1000),
            speed_limit_up_enabled: limits.upload.on,
            alt_speed_enabled: settings.alt_speed.on,
            alt_speed_down: settings.alt_speed.download.div_ceil(1000),
            alt_speed_up: settings.alt_speed.upload.div_ceil(1000),
            alt_speed_time_enabled: settings.alt_speed.by_clock,
            alt_speed_time_begin: settings.alt_speed.begin,
            alt_speed_time_end: settings.alt_speed.end,
            alt_speed_time_day: settings.alt_speed.days,
            seed_ratio_limited: settings.ratio_on,
            seed_ratio_limit: settings.ratio,
            idle_seeding_limit: settings.idle.value,
            idle_seeding_limit_enabled: settings.idle.on,
            download_queue_enabled: settings.download_queue.on,
            download_queue_size: settings.download_queue.value,
            seed_queue_enabled: settings.seed_queue.on,
            seed_queue_size: settings.seed_queue.value,
            queue_stalled_enabled: settings.stalled.on,
            queue_stalled_minutes: settings.stalled.value,
            default_trackers: settings.default_trackers_in_force().to_owned(),
            blocklist_enabled: settings.blocklist_on,
            blocklist_size: count(snapshot.blocklist_rules),
            blocklist_url: settings.blocklist_url.clone(),
            start_added_torrents: settings.start_added,
            trash_original_torrent_files: settings.delete_torrent_files,
            ..Session::default()
        };
        let Value::Object(mut all) = write(&session)? else { return Ok(Map::new()) };
        all.insert("units".to_owned(), units());
        Ok(all)
    }

    pub(super) async fn session_set(&self, args: SessionSetArgs) -> Outcome {
        // What cannot be changed may be set to what it is: clients send back whole sessions.
        let now = self.session()?;
        for (name, value) in &args.other {
            // What is free changes by itself.
            if name != FREE_SPACE && now.get(name) != Some(value) {
                return Err(Unsupported::Setting(name.clone()).into());
            }
        }
        if args.peer_port == Some(0) {
            return Err(ArgumentError::Port.into());
        }
        let encryption = args.encryption.as_deref().map(encryption_mode).transpose()?;
        if args.seed_ratio_limit.is_some_and(|ratio| !ratio.is_finite() || ratio < 0.0) {
            return Err(ArgumentError::Ratio.into());
        }
        let download_dir = args.download_dir.as_deref().map(absolute).transpose()?;
        let incomplete_dir = args.incomplete_dir.as_deref().map(absolute).transpose()?;
        let minute = |minute: Option<u32>| minute.is_none_or(|minute| minute < 24 * 60);
        if !minute(args.alt_speed_time_begin) || !minute(args.alt_speed_time_end) {
            return Err(ArgumentError::TimeOfDay.into());
        }
        let listen_port = args.peer_port;
        let (upload, download) = (
            limit(args.speed_limit_up, args.speed_limit_up_enabled),
            limit(args.speed_limit_down, args.speed_limit_down_enabled),
        );
        let change = move |settings: &mut SessionSettings| {
            apply(settings, &args);
            // `tolerated` is what one that is disabled is called, too: clients send back whole sessions.
            if encryption
                .is_some_and(|mode| encryption_word(mode) != encryption_word(settings.encryption.mode))
            {
                replace(&mut settings.encryption.mode, encryption);
            }
            if download_dir.is_some() {
                settings.download_dir.clone_from(&download_dir);
            }
            if incomplete_dir.is_some() {
                settings.incomplete_dir.clone_from(&incomplete_dir);
            }
        };
        let change = EngineChange { upload, download, listen_port, settings: Some(Arc::new(change)) };
        self.handle.change_engine(change).await?;
        empty()
    }

    /// Directory for torrents added without one.
    pub(super) fn download_dir(&self) -> std::path::PathBuf {
        let set = self.handle.snapshot().settings.download_dir.clone();
        set.unwrap_or_else(|| self.info.download_dir.clone())
    }
}

fn apply(settings: &mut SessionSettings, args: &SessionSetArgs) {
    let alt = &mut settings.alt_speed;
    replace(&mut alt.on, args.alt_speed_enabled);
    replace(&mut alt.download, args.alt_speed_down.map(|rate| rate.saturating_mul(1000)));
    replace(&mut alt.upload, args.alt_speed_up.map(|rate| rate.saturating_mul(1000)));
    alt.download_on |= args.alt_speed_down.is_some();
    alt.upload_on |= args.alt_speed_up.is_some();
    replace(&mut alt.by_clock, args.alt_speed_time_enabled);
    replace(&mut alt.begin, args.alt_speed_time_begin);
    replace(&mut alt.end, args.alt_speed_time_end);
    replace(&mut alt.days, args.alt_speed_time_day.map(|days| days & 127));
    replace(&mut settings.ratio_on, args.seed_ratio_limited);
    replace(&mut settings.ratio, args.seed_ratio_limit);
    switch(&mut settings.idle, args.idle_seeding_limit_enabled, args.idle_seeding_limit);
    switch(&mut settings.download_queue, args.download_queue_enabled, args.download_queue_size);
    switch(&mut settings.seed_queue, args.seed_queue_enabled, args.seed_queue_size);
    switch(&mut settings.stalled, args.queue_stalled_enabled, args.queue_stalled_minutes);
    replace(&mut settings.incomplete_dir_on, args.incomplete_dir_enabled);
    replace(&mut settings.partial_names, args.rename_partial_files);
    replace(&mut settings.start_added, args.start_added_torrents);
    replace(&mut settings.delete_torrent_files, args.trash_original_torrent_files);
    if let Some(urls) = &args.default_trackers {
        settings.default_trackers.clone_from(urls);
        settings.default_trackers_off = false;
    }
    replace(&mut settings.blocklist_on, args.blocklist_enabled);
    replace(&mut settings.blocklist_url, args.blocklist_url.clone());
}

/// What Transmission calls a mode. It has no word for none at all.
fn encryption_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Disabled | Mode::Tolerate => "tolerated",
        Mode::Prefer => "preferred",
        Mode::Require => "required",
    }
}

fn encryption_mode(word: &str) -> Result<Mode, ArgumentError> {
    match word {
        "tolerated" => Ok(Mode::Tolerate),
        "preferred" => Ok(Mode::Prefer),
        "required" => Ok(Mode::Require),
        _ => Err(ArgumentError::Encryption),
    }
}

fn replace<T>(place: &mut T, with: Option<T>) {
    if let Some(with) = with {
        *place = with;
    }
}

fn switch(switch: &mut Switch, on: Option<bool>, value: Option<u32>) {
    replace(&mut switch.on, on);
    replace(&mut switch.value, value);
}

fn units() -> Value {
    json!({
        "speed-units": ["kB/s", "MB/s", "GB/s", "TB/s"], "speed-bytes": 1000,
        "size-units": ["kB", "MB", "GB", "TB"], "size-bytes": 1000,
        "memory-units": ["KiB", "MiB", "GiB", "TiB"], "memory-bytes": 1024,
    })
}
