//! Preferences: the session's settings under qBittorrent's names.

use super::Reply;
use super::form::Form;
use crate::arguments::absolute;
use crate::server::Server;
use hyper::StatusCode;
use ringseed_handle::{EngineChange, EngineSnapshot, LimitChange, SessionSettings, Switch};
use ringseed_proto::mse::Mode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Turns something on or off.
type Toggle = fn(&mut SessionSettings, bool);

/// What one preference changes.
type Change = Box<dyn Fn(&mut SessionSettings) + Send + Sync>;

impl Server {
    pub(super) fn preferences(&self, snapshot: &EngineSnapshot) -> Value {
        let settings = &snapshot.settings;
        let alt = &settings.alt_speed;
        let limit = |limit: ringseed_handle::SpeedLimit| known_limit(limit.effective());
        let goal = |switch: Switch| if switch.on { i64::from(switch.value) } else { -1 };
        let queue = |switch: Switch| if switch.value == u32::MAX { -1 } else { goal(switch) };
        json!({
            "add_trackers": settings.default_trackers,
            "add_trackers_enabled": !settings.default_trackers_in_force().is_empty(),
            "alt_dl_limit": known_limit(alt.download_on.then_some(alt.download)),
            "alt_up_limit": known_limit(alt.upload_on.then_some(alt.upload)),
            "auto_tmm_enabled": false,
            "bypass_local_auth": self.info.credentials.pair.is_none(),
            "dht": false, "lsd": false, "pex": true,
            "encryption": encryption_number(settings.encryption.mode),
            "dl_limit": limit(snapshot.limits.download), "up_limit": limit(snapshot.limits.upload),
            "listen_port": self.handle.listen_port(), "random_port": false, "upnp": false,
            "max_active_downloads": queue(settings.download_queue),
            "max_active_torrents": -1,
            "max_active_uploads": queue(settings.seed_queue),
            "max_connec": self.info.connections_max, "max_connec_per_torrent": self.info.torrent_connections_max,
            "max_inactive_seeding_time": goal(settings.idle),
            "max_inactive_seeding_time_enabled": settings.idle.on,
            "max_ratio": if settings.ratio_on { settings.ratio } else { -1.0 },
            "max_ratio_act": 0,
            "max_ratio_enabled": settings.ratio_on,
            "max_seeding_time": goal(settings.seed_time), "max_seeding_time_enabled": settings.seed_time.on,
            "queueing_enabled": settings.download_queue.on || settings.seed_queue.on,
            "save_path": self.download_dir().to_string_lossy(),
            "scheduler_enabled": alt.by_clock, "scheduler_days": days_to_choice(alt.days),
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
        // A switch decides over the value that comes with it, also when it stays as it is.
        let switches: [(&str, Toggle); 4] = [
            ("max_ratio_enabled", |settings, on| settings.ratio_on = on),
            ("max_seeding_time_enabled", |settings, on| settings.seed_time.on = on),
            ("max_inactive_seeding_time_enabled", |settings, on| settings.idle.on = on),
            ("add_trackers_enabled", |settings, on| settings.default_trackers_off = !on),
        ];
        let switched: Vec<Change> = switches
            .into_iter()
            .filter_map(|(name, switch)| {
                let on = wanted.get(name)?.as_bool()?;
                Some(Box::new(move |settings: &mut SessionSettings| switch(settings, on)) as Change)
            })
            .collect();
        for (name, value) in wanted {
            if now.get(&name) == Some(&value) {
                continue;
            }
            // Without a limit it is 0 or -1.
            let rate = || {
                let rate = value.as_i64()?;
                let some = u64::try_from(rate).ok().filter(|rate| *rate > 0);
                Some(LimitChange { rate: some, on: Some(some.is_some()) })
            };
            let minute = |most: i64| value.as_i64().filter(|number| (0..most).contains(number));
            let path = || value.as_str().and_then(|path| absolute(path).ok());
            let (flag, number) = (value.as_bool(), value.as_i64());
            let count = |number: i64| u32::try_from(number).ok();
            match (name.as_str(), flag, number) {
                ("dl_limit", _, _) if rate().is_some() => change.download = rate().unwrap_or_default(),
                ("up_limit", _, _) if rate().is_some() => change.upload = rate().unwrap_or_default(),
                ("alt_dl_limit", _, Some(rate)) => settings.push(Box::new(move |settings| {
                    let alt = &mut settings.alt_speed;
                    alt.download_on = rate > 0;
                    alt.download = u64::try_from(rate).ok().filter(|rate| *rate > 0).unwrap_or(alt.download);
                })),
                ("alt_up_limit", _, Some(rate)) => settings.push(Box::new(move |settings| {
                    let alt = &mut settings.alt_speed;
                    alt.upload_on = rate > 0;
                    alt.upload = u64::try_from(rate).ok().filter(|rate| *rate > 0).unwrap_or(alt.upload);
                })),
                ("scheduler_enabled", Some(on), _) => {
                    settings.push(Box::new(move |settings| settings.alt_speed.by_clock = on));
                }
                ("scheduler_days", _, Some(choice @ 0..=9)) => {
                    let days = choice_to_days(choice);
                    settings.push(Box::new(move |settings| settings.alt_speed.days = days));
                }
                ("schedule_from_hour" | "schedule_to_hour", _, _) if minute(24).is_some() => {
                    let (hour, from) = (minute(24).unwrap_or(0) as u32, name == "schedule_from_hour");
                    settings.push(Box::new(move |settings| {
                        let alt = &mut settings.alt_speed;
                        let at = if from { &mut alt.begin } else { &mut alt.end };
                        *at = hour * 60 + *at % 60;
                    }));
                }
                ("schedule_from_min" | "schedule_to_min", _, _) if minute(60).is_some() => {
                    let (minute, from) = (minute(60).unwrap_or(0) as u32, name == "schedule_from_min");
                    settings.push(Box::new(move |settings| {
                        let alt = &mut settings.alt_speed;
                        let at = if from { &mut alt.begin } else { &mut alt.end };
                        *at = *at / 60 * 60 + minute;
                    }));
                }
                ("add_trackers", _, _) if value.is_string() => {
                    let urls = value.as_str().unwrap_or("").to_owned();
                    settings.push(Box::new(move |settings| settings.default_trackers.clone_from(&urls)));
                }
                ("max_ratio", _, _) if value.as_f64().is_some_and(f64::is_finite) => {
                    let ratio = value.as_f64().unwrap_or(-1.0);
                    settings.push(Box::new(move |settings| {
                        settings.ratio_on = ratio >= 0.0;
                        settings.ratio = if ratio >= 0.0 { ratio } else { settings.ratio };
                    }));
                }
                ("max_seeding_time", _, Some(minutes)) => settings.push(Box::new(move |settings| {
                    settings.seed_time.on = minutes >= 0;
                    settings.seed_time.value = count(minutes).unwrap_or(settings.seed_time.value);
                })),
                ("max_inactive_seeding_time", _, Some(minutes)) => settings.push(Box::new(move |settings| {
                    settings.idle.on = minutes >= 0;
                    settings.idle.value = count(minutes).unwrap_or(settings.idle.value);
                })),
                (name, Some(_), _) if switches.iter().any(|(switch, _)| *switch == name) => {}
                ("queueing_enabled", Some(on), _) => settings.push(Box::new(move |settings| {
                    (settings.download_queue.on, settings.seed_queue.on) = (on, on);
                })),
                // -1 is any number of them, 0 is none.
                ("max_active_downloads", _, Some(number)) => settings.push(Box::new(move |settings| {
                    settings.download_queue.value = count(number).unwrap_or(u32::MAX);
                })),
                ("max_active_uploads", _, Some(number)) => settings.push(Box::new(move |settings| {
                    settings.seed_queue.value = count(number).unwrap_or(u32::MAX);
                })),
                ("encryption", _, Some(choice @ 0..=2)) => {
                    let mode = [Mode::Prefer, Mode::Require, Mode::Disabled][choice as usize];
                    settings.push(Box::new(move |settings| settings.encryption.mode = mode));
                }
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
        settings.extend(switched);
        change.settings =
            Some(Arc::new(move |all: &mut SessionSettings| settings.iter().for_each(|change| change(all))));
        Reply::of(self.handle.change_engine(change).await)
    }
}

/// qBittorrent's numbers of the modes. It has none for plaintext first.
fn encryption_number(mode: Mode) -> u8 {
    match mode {
        Mode::Prefer | Mode::Tolerate => 0,
        Mode::Require => 1,
        Mode::Disabled => 2,
    }
}

/// A limit in bytes per second as qBittorrent writes it, where 0 is none. A limit that lets nothing through, which it does
/// not have, is the lowest one.
pub(super) fn known_limit(limit: Option<u64>) -> u64 {
    limit.map_or(0, |rate| rate.max(1))
}

/// qBittorrent's choices of days: every day, weekdays, weekends, then each day from Monday on.
const DAY_CHOICES: [u32; 10] =
    [127, 0b011_1110, 0b100_0001, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 0];

fn choice_to_days(choice: i64) -> u32 {
    usize::try_from(choice).ok().and_then(|choice| DAY_CHOICES.get(choice)).copied().unwrap_or(127)
}

/// The choice for days of a week, bit 0 being Sunday. Other sets than qBittorrent's are shown as every day.
fn days_to_choice(days: u32) -> usize {
    DAY_CHOICES.iter().position(|choice| *choice == days).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit_and_a_limit_of_nothing_is_not_zero() {
        assert_eq!([None, Some(0), Some(5)].map(known_limit), [0, 1, 5]);
    }

    #[test]
    fn days_are_qbittorrents_choices() {
        for choice in 0..10 {
            assert_eq!(days_to_choice(choice_to_days(choice)), choice as usize);
        }
        assert_eq!((choice_to_days(9), choice_to_days(3), days_to_choice(0b11)), (1, 2, 0));
    }
}
