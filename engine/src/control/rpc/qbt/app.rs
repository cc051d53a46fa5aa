//! Preferences: the session's settings under qBittorrent's names.

use super::Reply;
use super::form::Form;
use crate::control::rpc::server::Server;
use crate::control::rpc::set::absolute;
use crate::control::{EngineChange, EngineSnapshot, LimitChange, SessionSettings, Switch};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What one preference changes.
type Change = Box<dyn Fn(&mut SessionSettings) + Send + Sync>;

impl Server {
    pub(super) fn preferences(&self, snapshot: &EngineSnapshot) -> Value {
        let settings = &snapshot.settings;
        let alt = &settings.alt_speed;
        let limit = |limit: crate::control::SpeedLimit| limit.effective().unwrap_or(0);
        let queue = |switch: Switch| if switch.on { i64::from(switch.value) } else { -1 };
        json!({
            "add_trackers": settings.default_trackers,
            "add_trackers_enabled": !settings.default_trackers.is_empty(),
            "alt_dl_limit": alt.download, "alt_up_limit": alt.upload,
            "auto_tmm_enabled": false,
            "bypass_local_auth": self.info.credentials.pair.is_none(),
            "dht": false, "lsd": false, "pex": true, "encryption": 0,
            "dl_limit": limit(snapshot.limits.download), "up_limit": limit(snapshot.limits.upload),
            "listen_port": self.handle.listen_port(), "random_port": false, "upnp": false,
            "max_active_downloads": queue(settings.download_queue),
            "max_active_torrents": -1,
            "max_active_uploads": queue(settings.seed_queue),
            "max_connec": self.info.connections_max, "max_connec_per_torrent": self.info.torrent_connections_max,
            "max_inactive_seeding_time": if settings.idle.on { i64::from(settings.idle.value) } else { -1 },
            "max_inactive_seeding_time_enabled": settings.idle.on,
            "max_ratio": if settings.ratio_on { settings.ratio } else { -1.0 },
            "max_ratio_act": 0,
            "max_ratio_enabled": settings.ratio_on,
            "max_seeding_time": -1, "max_seeding_time_enabled": false,
            "queueing_enabled": settings.download_queue.on || settings.seed_queue.on,
            "save_path": self.download_dir().to_string_lossy(),
            "scheduler_enabled": alt.by_clock,
            "schedule_from_hour": alt.begin / 60, "schedule_from_min": alt.begin % 60,
            "schedule_to_hour": alt.end / 60, "schedule_to_min": alt.end % 60,
            "add_stopped_enabled": !settings.start_added, "start_paused_enabled": !settings.start_added,
            "temp_path": settings.incomplete_dir.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy(),
            "temp_path_enabled": settings.incomplete_dir_on,
            "incomplete_files_ext": settings.partial_names,
            "torrent_content_layout": "Original",
            "autorun_enabled": false, "autorun_program": "",
            "ip_filter_enabled": false, "proxy_type": "None", "anonymous_mode": false, "locale": "en",
            "web_ui_address": "*", "web_ui_csrf_protection_enabled": true, "web_ui_host_header_validation_enabled": true,
        })
    }

    /// Sets preferences. Ones that cannot change may be set to what they are; otherwise nothing is changed.
    pub(super) async fn set_preferences(&self, form: &Form) -> Reply {
        let wanted: Map<String, Value> = match serde_json::from_str(form.get("json")) {
            Ok(wanted) => wanted,
            Err(error) => return Reply::Refused(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let now = self.preferences(&self.handle.snapshot());
        let mut change = EngineChange::default();
        let mut settings: Vec<Change> = Vec::new();
        for (name, value) in wanted {
            if now.get(&name) == Some(&value) {
                continue;
            }
            let rate = || {
                value
                    .as_u64()
                    .map(|rate| LimitChange { rate: (rate > 0).then_some(rate), on: Some(rate > 0) })
            };
            let path = || value.as_str().and_then(|path| absolute(path).ok());
            let (flag, number) = (value.as_bool(), value.as_i64());
            let queue = move |number: i64| (number > 0).then_some(number as u32);
            match (name.as_str(), flag, number) {
                ("dl_limit", _, _) if rate().is_some() => change.download = rate().unwrap_or_default(),
                ("up_limit", _, _) if rate().is_some() => change.upload = rate().unwrap_or_default(),
                ("alt_dl_limit", _, Some(rate @ 0..)) => {
                    settings.push(Box::new(move |settings| settings.alt_speed.download = rate as u64));
                }
                ("alt_up_limit", _, Some(rate @ 0..)) => {
                    settings.push(Box::new(move |settings| settings.alt_speed.upload = rate as u64));
                }
                ("max_ratio_enabled", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.ratio_on = on));
                }
                ("max_ratio", _, _) if value.as_f64().is_some_and(f64::is_finite) => {
                    let ratio = value.as_f64().unwrap_or(-1.0);
                    settings.push(Box::new(move |settings| {
                        settings.ratio_on = ratio >= 0.0;
                        settings.ratio = if ratio >= 0.0 { ratio } else { settings.ratio };
                    }));
                }
                ("max_inactive_seeding_time_enabled", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.idle.on = on));
                }
                ("max_inactive_seeding_time", _, Some(minutes)) => settings.push(Box::new(move |settings| {
                    settings.idle.on = minutes > 0;
                    settings.idle.value = queue(minutes).unwrap_or(settings.idle.value);
                })),
                ("queueing_enabled", Some(on), _) => settings.push(Box::new(move |settings| {
                    (settings.download_queue.on, settings.seed_queue.on) = (on, on);
                })),
                ("max_active_downloads", _, Some(count)) => settings.push(Box::new(move |settings| {
                    settings.download_queue.value = queue(count).unwrap_or(u32::MAX);
                })),
                ("max_active_uploads", _, Some(count)) => settings.push(Box::new(move |settings| {
                    settings.seed_queue.value = queue(count).unwrap_or(u32::MAX);
                })),
                ("listen_port", _, Some(port @ 1..=65535)) => change.listen_port = Some(port as u16),
                ("save_path", _, _) if path().is_some() => {
                    let path = path();
                    settings.push(Box::new(move |settings| settings.download_dir.clone_from(&path)));
                }
                ("temp_path", _, _) if path().is_some() => {
                    let path = path();
                    settings.push(Box::new(move |settings| settings.incomplete_dir.clone_from(&path)));
                }
                ("temp_path_enabled", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.incomplete_dir_on = on));
                }
                ("incomplete_files_ext", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.partial_names = on));
                }
                ("add_stopped_enabled" | "start_paused_enabled", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.start_added = !on));
                }
                _ => return Reply::lacking(&format!("setting {name}")),
            }
        }
        change.settings =
            Some(Arc::new(move |all: &mut SessionSettings| settings.iter().for_each(|change| change(all))));
        Reply::of(self.handle.change_engine(change).await.map_err(|error| error.to_string()))
    }
}
