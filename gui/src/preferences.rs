//! Settings of the engine and limits of torrents as dialogs show them, and what of them was changed.

use ringseed_api::{Session, SessionSetArgs, SetArgs, Torrent};

/// A number that holds or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switch {
    /// It holds.
    pub on: bool,
    /// The number.
    pub value: u32,
}

/// What can be set. Rates are in kB/s.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EngineSettings {
    /// Download limit.
    pub down: Switch,
    /// Upload limit.
    pub up: Switch,
    /// The alternative limits hold now.
    pub alternative: bool,
    /// Alternative download limit.
    pub alternative_down: u32,
    /// Alternative upload limit.
    pub alternative_up: u32,
    /// Seeding stops at this ratio.
    pub ratio_on: bool,
    /// That ratio.
    pub ratio: f64,
    /// Seeding stops after so many minutes without upload.
    pub idle: Switch,
    /// So many torrents download at once.
    pub download_queue: Switch,
    /// So many torrents seed at once.
    pub seed_queue: Switch,
    /// Folder of new torrents.
    pub folder: String,
    /// New torrents start at once.
    pub start_added: bool,
    /// Port for peers.
    pub port: u16,
}

impl EngineSettings {
    /// As they are.
    pub fn of(session: &Session) -> EngineSettings {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let switch = |on, value| Switch { on, value };
        EngineSettings {
            down: switch(session.speed_limit_down_enabled, number(session.speed_limit_down)),
            up: switch(session.speed_limit_up_enabled, number(session.speed_limit_up)),
            alternative: session.alt_speed_enabled,
            alternative_down: number(session.alt_speed_down),
            alternative_up: number(session.alt_speed_up),
            ratio_on: session.seed_ratio_limited,
            ratio: session.seed_ratio_limit,
            idle: switch(session.idle_seeding_limit_enabled, session.idle_seeding_limit),
            download_queue: switch(session.download_queue_enabled, session.download_queue_size),
            seed_queue: switch(session.seed_queue_enabled, session.seed_queue_size),
            folder: session.download_dir.clone(),
            start_added: session.start_added_torrents,
            port: session.peer_port,
        }
    }

    /// What differs from `old`, as requests of their own where one may be refused without the others.
    pub fn changes(&self, old: &EngineSettings) -> Vec<SessionSetArgs> {
        let rates = SessionSetArgs {
            speed_limit_down_enabled: new(self.down.on, old.down.on),
            speed_limit_down: new(self.down.value, old.down.value).map(u64::from),
            speed_limit_up_enabled: new(self.up.on, old.up.on),
            speed_limit_up: new(self.up.value, old.up.value).map(u64::from),
            alt_speed_enabled: new(self.alternative, old.alternative),
            alt_speed_down: new(self.alternative_down, old.alternative_down).map(u64::from),
            alt_speed_up: new(self.alternative_up, old.alternative_up).map(u64::from),
            ..SessionSetArgs::default()
        };
        let goals = SessionSetArgs {
            seed_ratio_limited: new(self.ratio_on, old.ratio_on),
            seed_ratio_limit: new(self.ratio, old.ratio),
            idle_seeding_limit_enabled: new(self.idle.on, old.idle.on),
            idle_seeding_limit: new(self.idle.value, old.idle.value),
            download_queue_enabled: new(self.download_queue.on, old.download_queue.on),
            download_queue_size: new(self.download_queue.value, old.download_queue.value),
            seed_queue_enabled: new(self.seed_queue.on, old.seed_queue.on),
            seed_queue_size: new(self.seed_queue.value, old.seed_queue.value),
            start_added_torrents: new(self.start_added, old.start_added),
            ..SessionSetArgs::default()
        };
        let folder = SessionSetArgs {
            download_dir: new(self.folder.clone(), old.folder.clone()),
            ..SessionSetArgs::default()
        };
        let port = SessionSetArgs { peer_port: new(self.port, old.port), ..SessionSetArgs::default() };
        let all = [rates, goals, folder, port];
        all.into_iter().filter(|changes| *changes != SessionSetArgs::default()).collect()
    }
}

/// Until which ratio a torrent seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// As the engine has it for all.
    #[default]
    Engine,
    /// Its own.
    Own,
    /// It has none.
    None,
}

impl Goal {
    /// All, in the order of the wire.
    pub const ALL: [Goal; 3] = [Goal::Engine, Goal::Own, Goal::None];
}

/// Limits of torrents. Rates are in kB/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TorrentLimits {
    /// Download limit.
    pub down: Switch,
    /// Upload limit.
    pub up: Switch,
    /// Which ratio holds.
    pub goal: Goal,
    /// Its own ratio.
    pub ratio: f64,
}

impl Default for TorrentLimits {
    /// None, and numbers to start from.
    fn default() -> TorrentLimits {
        let off = Switch { on: false, value: 1000 };
        TorrentLimits { down: off, up: off, goal: Goal::Engine, ratio: 2.0 }
    }
}

impl TorrentLimits {
    /// As they are.
    pub fn of(torrent: &Torrent) -> TorrentLimits {
        let switch = |on: bool, rate: u64| match rate {
            // It was never set: a limit to start from.
            0 if !on => TorrentLimits::default().down,
            _ => Switch { on, value: u32::try_from(rate).unwrap_or(u32::MAX) },
        };
        TorrentLimits {
            down: switch(torrent.download_limited, torrent.download_limit),
            up: switch(torrent.upload_limited, torrent.upload_limit),
            goal: Goal::ALL.get(usize::from(torrent.seed_ratio_mode)).copied().unwrap_or_default(),
            ratio: if torrent.seed_ratio_limit > 0.0 { torrent.seed_ratio_limit } else { 2.0 },
        }
    }

    /// As they are to be.
    pub fn args(&self) -> SetArgs {
        SetArgs {
            download_limited: Some(self.down.on),
            download_limit: Some(self.down.value.into()),
            upload_limited: Some(self.up.on),
            upload_limit: Some(self.up.value.into()),
            seed_ratio_mode: Some(self.goal as u8),
            seed_ratio_limit: (self.goal == Goal::Own).then_some(self.ratio),
            ..SetArgs::default()
        }
    }
}

/// A ratio as it is typed: with a point or a comma.
///
/// # Errors
/// It is none. For people.
pub fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.trim().replace(',', ".").parse::<f64>().ok();
    ratio
        .filter(|ratio| ratio.is_finite() && *ratio >= 0.0)
        .ok_or_else(|| format!("“{}” is not a ratio; an example is 2.0", text.trim()))
}

fn new<T: PartialEq>(new: T, old: T) -> Option<T> {
    (new != old).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_changed_is_sent_and_each_kind_by_itself() {
        let old = EngineSettings::of(&Session { peer_port: 6881, ..Session::default() });
        assert_eq!(old.changes(&old), []);
        let mut new = old.clone();
        new.down = Switch { on: true, value: 500 };
        new.port = 7000;
        let limits = SessionSetArgs {
            speed_limit_down_enabled: Some(true),
            speed_limit_down: Some(500),
            ..SessionSetArgs::default()
        };
        let port = SessionSetArgs { peer_port: Some(7000), ..SessionSetArgs::default() };
        assert_eq!(new.changes(&old), [limits, port]);
    }

    #[test]
    fn limits_of_a_torrent_come_back_as_they_were_set() {
        let torrent = Torrent {
            download_limited: true,
            download_limit: 300,
            seed_ratio_mode: 1,
            seed_ratio_limit: 1.5,
            ..Torrent::default()
        };
        let args = TorrentLimits::of(&torrent).args();
        assert_eq!((args.download_limited, args.download_limit), (Some(true), Some(300)));
        assert_eq!((args.seed_ratio_mode, args.seed_ratio_limit), (Some(1), Some(1.5)));
        assert_eq!(args.upload_limited, Some(false));
    }

    #[test]
    fn ratios_are_typed_with_point_or_comma() {
        assert_eq!((ratio("2.5"), ratio(" 0,5 ")), (Ok(2.5), Ok(0.5)));
        assert!(ratio("-1").is_err() && ratio("inf").is_err() && ratio("").is_err());
    }
}
