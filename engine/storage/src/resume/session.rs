//! What a user wants of the whole session: kept beside the torrents, in the same file.

use super::{ResumeError, ResumeStore, SpeedLimit};
use redb::{ReadableDatabase, TableDefinition, TableError, WriteTransaction};
use ringseed_proto::mse::Encryption;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const SESSION: TableDefinition<&str, &[u8]> = TableDefinition::new("session");
const KEY: &str = "settings";
const TOTALS: &str = "totals";

/// A number that can be turned off without forgetting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Whether it holds.
    pub on: bool,
    /// The number.
    pub value: u32,
}

impl Switch {
    /// The number when it holds.
    pub fn get(self) -> Option<u32> {
        self.on.then_some(self.value)
    }
}

/// A limit that was set while the engine ran, with what the configuration said then: a changed configuration wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Bytes per second of the configuration.
    pub configured: Option<u64>,
    /// What was set.
    pub limit: SpeedLimit,
}

/// A port that was set while the engine ran, with what the configuration said then: a changed configuration wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPort {
    /// The port of the configuration.
    pub configured: Option<u16>,
    /// What was set.
    pub port: u16,
}

/// Alternative limits, by hand or by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AltSpeed {
    /// Whether they hold now.
    pub on: bool,
    /// Download limit in bytes per second.
    pub download: u64,
    /// Upload limit in bytes per second.
    pub upload: u64,
    /// Whether the clock turns them on and off.
    pub by_clock: bool,
    /// Whether `download` limits anything; without it the alternative is no limit.
    pub download_on: bool,
    /// Whether `upload` limits anything.
    pub upload_on: bool,
    /// From this minute of the day, local time.
    pub begin: u32,
    /// To this minute of the day; not behind `begin` it is one of the next day.
    pub end: u32,
    /// On these days: bit 0 is Sunday.
    pub days: u32,
    /// What the clock did last; `None` when it has done nothing since the schedule was changed.
    pub switched: Option<Switched>,
}

/// What the clock made of the alternative limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Whether it turned them on.
    pub on: bool,
    /// When it has to do something again, in seconds since 1970; `None` for never. Until then what the user does stays.
    pub until: Option<u64>,
}

impl Default for AltSpeed {
    fn default() -> AltSpeed {
        AltSpeed {
            on: false,
            download: 50_000,
            upload: 50_000,
            by_clock: false,
            download_on: true,
            upload_on: true,
            begin: 540,
            end: 1020,
            days: 127,
            switched: None,
        }
    }
}

/// What the engine did, in one run or over all of them, also for torrents that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Payload bytes received.
    pub downloaded: u64,
    /// Files of torrents that were added.
    pub files_added: u64,
    /// Runs.
    pub runs: u64,
    /// Seconds.
    pub seconds: u64,
}

impl Totals {
    /// Both together.
    pub fn plus(self, other: Totals) -> Totals {
        Totals {
            uploaded: self.uploaded.saturating_add(other.uploaded),
            downloaded: self.downloaded.saturating_add(other.downloaded),
            files_added: self.files_added.saturating_add(other.files_added),
            runs: self.runs.saturating_add(other.runs),
            seconds: self.seconds.saturating_add(other.seconds),
        }
    }
}

/// What a user wants of the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSettings {
    /// Directory for torrents added without one; the configured one when `None`.
    pub download_dir: Option<PathBuf>,
    /// Directory for incomplete torrents.
    pub incomplete_dir: Option<PathBuf>,
    /// Whether it is used.
    pub incomplete_dir_on: bool,
    /// Whether files that are made carry `.part` until they are complete.
    pub partial_names: bool,
    /// Whether added torrents start.
    pub start_added: bool,
    /// Whether torrent files are deleted after they were added.
    pub delete_torrent_files: bool,
    /// Minutes of seeding after which torrents stop.
    pub seed_time: Switch,
    /// Whether torrents stop at a ratio.
    pub ratio_on: bool,
    /// That ratio.
    pub ratio: f64,
    /// Minutes without upload after which seeding stops.
    pub idle: Switch,
    /// Torrents that download at once.
    pub download_queue: Switch,
    /// Torrents that seed at once.
    pub seed_queue: Switch,
    /// Minutes without traffic after which a torrent no longer counts in its queue.
    pub stalled: Switch,
    /// Alternative limits.
    pub alt_speed: AltSpeed,
    /// Upload limit when it was set.
    pub upload: Option<SetLimit>,
    /// Download limit when it was set.
    pub download: Option<SetLimit>,
    /// Port for peers when it was set.
    pub port: Option<SetPort>,
    /// Trackers for every public torrent that is added, a URL a line.
    pub default_trackers: String,
    /// They are kept and not added.
    pub default_trackers_off: bool,
    /// What the configuration said of them when they were set: a changed configuration wins.
    pub default_trackers_configured: String,
    /// Encryption of connections.
    pub encryption: Encryption,
    /// What the configuration said of it when it was set: a changed configuration wins.
    pub encryption_configured: Encryption,
    /// Whether the blocklist holds.
    pub blocklist_on: bool,
    /// Where it is fetched from.
    pub blocklist_url: String,
    /// Bandwidth groups by name.
    pub groups: BTreeMap<String, Group>,
    /// qBittorrent's categories with their directories.
    pub categories: BTreeMap<String, String>,
    /// qBittorrent's tags that exist without a torrent.
    pub tags: Vec<String>,
}

/// A bandwidth group. Its limits are kept and do not hold: see `group-set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Upload limit in kB/s.
    pub upload: u64,
    /// Download limit in kB/s.
    pub download: u64,
}

impl Default for SessionSettings {
    fn default() -> SessionSettings {
        SessionSettings {
            download_dir: None,
            incomplete_dir: None,
            incomplete_dir_on: false,
            partial_names: false,
            start_added: true,
            delete_torrent_files: false,
            ratio_on: false,
            ratio: 2.0,
            idle: Switch { on: false, value: 30 },
            seed_time: Switch { on: false, value: 1440 },
            download_queue: Switch { on: false, value: 5 },
            seed_queue: Switch { on: false, value: 10 },
            stalled: Switch { on: true, value: 30 },
            alt_speed: AltSpeed::default(),
            upload: None,
            download: None,
            port: None,
            default_trackers: String::new(),
            default_trackers_off: false,
            default_trackers_configured: String::new(),
            encryption: Encryption::default(),
            encryption_configured: Encryption::default(),
            blocklist_on: false,
            blocklist_url: String::new(),
            groups: BTreeMap::new(),
            categories: BTreeMap::new(),
            tags: Vec::new(),
        }
    }
}

impl SessionSettings {
    /// The default trackers when they are added; empty when not.
    pub fn default_trackers_in_force(&self) -> &str {
        if self.default_trackers_off { "" } else { self.default_trackers.trim() }
    }

    /// Takes over what the configuration says of encryption when it is something else than before.
    pub fn configure_encryption(&mut self, configured: Encryption) {
        if configured != self.encryption_configured {
            (self.encryption, self.encryption_configured) = (configured, configured);
        }
    }

    /// Takes over the default trackers of the configuration when it has others than before.
    pub fn configure_trackers(&mut self, configured: &[String]) {
        let configured = configured.join("\n");
        if configured != self.default_trackers_configured {
            self.default_trackers.clone_from(&configured);
            self.default_trackers_off = false;
            self.default_trackers_configured = configured;
        }
    }
}

impl ResumeStore {
    /// The session's settings; the usual ones when none were entered.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn session(&self) -> Result<SessionSettings, ResumeError> {
        self.of_session(KEY, "the session's settings")
    }

    /// Enters the session's settings.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_session(&self, settings: &SessionSettings) -> Result<(), ResumeError> {
        let bytes = self.as_json(settings)?;
        self.change(|transaction| insert_settings(transaction, &bytes))?;
        self.mirror.note_session();
        Ok(())
    }

    /// What all earlier runs did, as far as it was entered.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn totals(&self) -> Result<Totals, ResumeError> {
        self.of_session(TOTALS, "the session's totals")
    }

    fn of_session<T: DeserializeOwned + Default>(&self, key: &str, what: &str) -> Result<T, ResumeError> {
        let bytes = self.read(|database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(SESSION) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })?;
        let Some(bytes) = bytes else { return Ok(T::default()) };
        serde_json::from_slice(&bytes).map_err(|error| ResumeError::Damaged {
            path: self.path.clone(),
            detail: format!("{what}: {error}"),
        })
    }

    pub(super) fn as_json(&self, value: &impl Serialize) -> Result<Vec<u8>, ResumeError> {
        serde_json::to_vec(value)
            .map_err(|error| ResumeError::Io { path: self.path.clone(), error: error.into() })
    }
}

/// Enters the session's settings.
pub(super) fn insert_settings(transaction: &WriteTransaction, settings: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(SESSION)?.insert(KEY, settings)?;
    Ok(())
}

/// Enters what all runs did.
pub(super) fn insert_totals(transaction: &WriteTransaction, totals: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(SESSION)?.insert(TOTALS, totals)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_trackers_hold_until_the_configuration_has_others() {
        let mut settings = SessionSettings::default();
        settings.configure_trackers(&["http://a/x".into()]);
        assert_eq!(settings.default_trackers_in_force(), "http://a/x");
        settings.default_trackers = "http://b/x".into();
        settings.configure_trackers(&["http://a/x".into()]);
        assert_eq!(settings.default_trackers_in_force(), "http://b/x", "what was set holds");
        settings.default_trackers_off = true;
        assert_eq!(settings.default_trackers_in_force(), "");
        settings.configure_trackers(&[]);
        assert_eq!((settings.default_trackers.as_str(), settings.default_trackers_off), ("", false));
    }

    #[test]
    fn settings_survive_and_are_the_usual_ones_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.redb");
        let store = ResumeStore::open(&path).unwrap();
        assert_eq!(store.session().unwrap(), SessionSettings::default());
        let mut settings = SessionSettings { ratio_on: true, ratio: 1.25, ..SessionSettings::default() };
        settings.categories.insert("tv".into(), "/srv/tv".into());
        store.put_session(&settings).unwrap();
        assert_eq!(store.totals().unwrap(), Totals::default());
        let totals = Totals { uploaded: 1 << 40, runs: 2, ..Totals::default() };
        store.set_totals(&[], &totals).unwrap();
        drop(store);
        let store = ResumeStore::open(&path).unwrap();
        assert_eq!((store.session().unwrap(), store.totals().unwrap()), (settings, totals));
    }
}
