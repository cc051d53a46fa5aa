//! What a swarm is made of, as a scenario file says it.

use serde::{Deserialize, Serialize};

use crate::{
    config_error::{ConfigError, EventError},
    fleet::LinkShape,
    limits::SWARM_ENGINES_MAX,
    quantity::Bytes,
    scenario::{Kind, check_number, check_piece},
};

/// A swarm of real engines, with what is to happen to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwarmConfig {
    /// `swarm`, or `chaos` when the events are what it is about.
    pub kind: Kind,
    /// Name of the scenario.
    pub name: String,
    /// Engines that download.
    pub peers: u32,
    /// Engines that have everything from the start.
    pub seeds: u32,
    /// Size of the torrent.
    pub size: Bytes,
    /// Length of a piece, a power of two.
    pub piece: Bytes,
    /// How the tracker is asked.
    pub announce: Announce,
    /// Seconds between a peer's announces.
    pub interval_s: u64,
    /// When peers arrive.
    pub arrival: Arrival,
    /// Over how long they arrive when they are staggered, seconds.
    pub arrival_s: f64,
    /// Every so many seconds a peer that is not complete leaves for a while; 0 is never.
    pub churn_every_s: f64,
    /// How long it is away, seconds.
    pub churn_away_s: f64,
    /// When seeds leave.
    pub seeds_leave: SeedsLeave,
    /// Where the engines are.
    pub network: Place,
    /// What their links are like, when they have some.
    pub link: LinkShape,
    /// Upload limit of each seed in bytes per second; 0 is none.
    pub seed_upload: Bytes,
    /// Upload limit of each peer in bytes per second; 0 is none.
    pub peer_upload: Bytes,
    /// Shards of each engine.
    pub shards: u32,
    /// Further arguments of `ringseed serve`.
    pub engine_args: Vec<String>,
    /// Longest run, seconds.
    pub limit_s: f64,
    /// Milliseconds between looks at all engines.
    pub sample_ms: u64,
    /// Seed of what is left to chance.
    pub chance: u64,
    /// What happens at set times.
    pub event: Vec<Event>,
}

/// How the tracker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Announce {
    /// BEP 3.
    Http,
    /// BEP 15.
    Udp,
}

/// When peers arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// All at once: a flash crowd.
    Crowd,
    /// One after the other, evenly.
    Staggered,
}

/// When seeds leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeedsLeave {
    /// They stay.
    Never,
    /// As soon as the peers together have every piece.
    AtOneCopy,
}

/// Where engines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// At loopback addresses of their own.
    Loopback,
    /// In network namespaces of their own.
    Links,
}

/// Something that happens at a set time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Seconds after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_s: Option<f64>,
    /// Or: when the peers together have so many percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_percent: Option<f64>,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
    /// To which peers, from 1.
    #[serde(default)]
    pub peers: Vec<u32>,
    /// To which seeds, from 1.
    #[serde(default)]
    pub seeds: Vec<u32>,
    /// After how many seconds it is undone.
    pub for_s: f64,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// `kill -9`, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// The file system has no room left, and has again.
    DiskFull,
    /// The tracker is killed, and started again.
    TrackerDown,
    /// The engines are parted from all others, and linked again.
    Partition,
}

impl Default for SwarmConfig {
    fn default() -> SwarmConfig {
        SwarmConfig {
            kind: Kind::Swarm,
            name: "swarm".into(),
            peers: 4,
            seeds: 1,
            size: Bytes(64 << 20),
            piece: Bytes(256 << 10),
            announce: Announce::Http,
            interval_s: 30,
            arrival: Arrival::Crowd,
            arrival_s: 30.0,
            churn_every_s: 0.0,
            churn_away_s: 3.0,
            seeds_leave: SeedsLeave::Never,
            network: Place::Loopback,
            link: LinkShape::default(),
            seed_upload: Bytes(0),
            peer_upload: Bytes(0),
            shards: 1,
            engine_args: Vec::new(),
            limit_s: 600.0,
            sample_ms: 500,
            chance: 1,
            event: Vec::new(),
        }
    }
}

impl SwarmConfig {
    /// Looks whether it can run.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let times = [
            ("arrival_s", self.arrival_s),
            ("churn_every_s", self.churn_every_s),
            ("churn_away_s", self.churn_away_s),
            ("limit_s", self.limit_s),
            ("link.delay_ms", self.link.delay_ms),
            ("link.loss_percent", self.link.loss_percent),
            ("link.rate_mbit", self.link.rate_mbit),
        ];
        times.into_iter().try_for_each(|(key, value)| check_number(key, value))?;
        if self.peers == 0 || self.seeds == 0 {
            return Err(ConfigError::AtLeastOne("peers and seeds"));
        }
        if self.peers.saturating_add(self.seeds) > SWARM_ENGINES_MAX {
            return Err(ConfigError::TooManyEngines);
        }
        if self.size.0 == 0 {
            return Err(ConfigError::NoSize);
        }
        check_piece(self.piece)?;
        if self.shards == 0 || self.interval_s == 0 || self.sample_ms == 0 {
            return Err(ConfigError::AtLeastOne("shards, interval_s and sample_ms"));
        }
        if !self.link.is_plain() && self.network == Place::Loopback {
            return Err(ConfigError::NoLinks);
        }
        if self.kind == Kind::Chaos && self.event.is_empty() {
            return Err(ConfigError::NoEvents);
        }
        self.event.iter().enumerate().try_for_each(|(at, event)| {
            self.check_event(event).map_err(|error| ConfigError::Event { number: at + 1, error })
        })
    }

    fn check_event(&self, event: &Event) -> Result<(), EventError> {
        match (event.at_s, event.at_percent) {
            (Some(at), None) if (0.0..=1e6).contains(&at) => {}
            (None, Some(at)) if (0.0..=100.0).contains(&at) => {}
            (None, None) => return Err(EventError::NoTime),
            (Some(_), Some(_)) => return Err(EventError::TwoTimes),
            _ => return Err(EventError::Time),
        }
        check_number("for_s", event.for_s).map_err(|_| EventError::Duration(event.for_s))?;
        for (what, numbers, count) in [("peer", &event.peers, self.peers), ("seed", &event.seeds, self.seeds)]
        {
            if let Some(number) = numbers.iter().find(|number| !(1..=count).contains(*number)) {
                return Err(EventError::Unknown { what, number: *number, count });
            }
        }
        let nobody = event.peers.is_empty() && event.seeds.is_empty();
        match event.action {
            Action::TrackerDown if !nobody => Err(EventError::TrackerHasNoPeers),
            Action::TrackerDown => Ok(()),
            _ if nobody => Err(EventError::Nobody),
            Action::DiskFull if !event.seeds.is_empty() => Err(EventError::SeedsWriteNothing),
            Action::Partition if self.network == Place::Loopback => Err(EventError::NoLinks),
            _ => Ok(()),
        }
    }

    /// Whether it takes namespaces of our own.
    pub fn needs_isolation(&self) -> bool {
        self.network == Place::Links || self.has(Action::DiskFull)
    }

    /// Whether something of that kind happens.
    pub fn has(&self, action: Action) -> bool {
        self.event.iter().any(|event| event.action == action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SwarmConfig, String> {
        let config: SwarmConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string()).map(|()| config)
    }

    #[test]
    fn a_file_says_only_what_differs() {
        let config = parsed(
            "kind = \"chaos\"\nname = \"x\"\npeers = 3\nsize = \"8M\"\nnetwork = \"links\"\n\
             [link]\ndelay_ms = 5\n[[event]]\nat_percent = 20\ndo = \"kill\"\npeers = [2]\nfor_s = 1\n\
             [[event]]\nat_s = 3\ndo = \"tracker-down\"\nfor_s = 2\n",
        )
        .unwrap();
        assert_eq!((config.peers, config.size, config.seeds), (3, Bytes(8 << 20), 1));
        assert_eq!(config.event[0].action, Action::Kill);
        assert!(config.needs_isolation());
        let again: SwarmConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_cannot_run_is_refused_and_named() {
        let event = |rest: &str| format!("[[event]]\n{rest}\nfor_s = 1\n");
        for (text, wanted) in [
            ("peers = 0".to_owned(), "at least 1"),
            ("peers = 300".to_owned(), "at most"),
            ("size = 0".to_owned(), "size"),
            ("size = \"many\"".to_owned(), "256M"),
            ("piece = \"100K\"".to_owned(), "power of two"),
            ("limit_s = -1".to_owned(), "limit_s"),
            ("peerz = 5".to_owned(), "peerz"),
            ("kind = \"chaos\"".to_owned(), "[[event]]"),
            ("[link]\ndelay_ms = 5".to_owned(), "links"),
            (event("do = \"kill\"\npeers = [1]"), "at_s or at_percent"),
            (event("at_s = 1\nat_percent = 2\ndo = \"kill\"\npeers = [1]"), "exclude"),
            (event("at_percent = 101\ndo = \"kill\"\npeers = [1]"), "at most 100"),
            (event("at_s = 1\ndo = \"kill\"\npeers = [9]"), "no peer 9"),
            (event("at_s = 1\ndo = \"kill\""), "name somebody"),
            (event("at_s = 1\ndo = \"explode\"\npeers = [1]"), "explode"),
            (event("at_s = 1\ndo = \"partition\"\npeers = [1]"), "links"),
            (event("at_s = 1\ndo = \"tracker-down\"\npeers = [1]"), "no peer"),
            (event("at_s = 1\ndo = \"disk-full\"\nseeds = [1]"), "for peers"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
