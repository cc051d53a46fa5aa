//! `tracker`: announces over UDP or HTTP until so many peers are known, then a mix of events, at a tracker of ours or of
//! anybody.

mod client;
mod crowd;
mod run;

use std::net::SocketAddr;

pub use run::run;
use serde::{Deserialize, Serialize};

use crate::{
    config_error::ConfigError,
    limits::{CONNECTIONS_MAX, PEER_NUMBER_MAX},
    scenario::{Kind, check_number},
    swarm::Announce,
};

/// Ports of one address that announced peers have.
const PORTS: u64 = 60_000;

/// A load of announces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// `tracker`.
    pub kind: Kind,
    /// Name of the scenario.
    pub name: String,
    /// How it is asked.
    pub transport: Announce,
    /// A tracker that runs already; without one, ours is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<SocketAddr>,
    /// Further arguments of ours.
    pub tracker_args: Vec<String>,
    /// Peers that announce themselves before the mix.
    pub peers: u64,
    /// Torrents they are of; few have most of them.
    pub torrents: u32,
    /// Sockets, one request in flight on each.
    pub connections: u32,
    /// Length of the mix, seconds.
    pub seconds: f64,
    /// Longest growth, seconds.
    pub growth_limit_s: f64,
    /// Announces of the mix that say `stopped`; the peer starts again with its next one. Percent.
    pub stopped_percent: u32,
    /// Announces of the mix that say `completed`, percent.
    pub completed_percent: u32,
    /// Scrapes in the mix, percent.
    pub scrape_percent: u32,
    /// Peers that are asked for.
    pub numwant: u32,
    /// Core of the tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracker_cpu: Option<usize>,
    /// Core of the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_cpu: Option<usize>,
}

impl Default for TrackerConfig {
    fn default() -> TrackerConfig {
        TrackerConfig {
            kind: Kind::Tracker,
            name: "tracker".into(),
            transport: Announce::Udp,
            addr: None,
            tracker_args: Vec::new(),
            peers: 100_000,
            torrents: 10_000,
            connections: 256,
            seconds: 10.0,
            growth_limit_s: 300.0,
            stopped_percent: 5,
            completed_percent: 5,
            scrape_percent: 5,
            numwant: 50,
            tracker_cpu: None,
            load_cpu: None,
        }
    }
}

impl TrackerConfig {
    /// Looks whether it can run.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.peers == 0 || self.torrents == 0 {
            return Err(ConfigError::AtLeastOne("peers and torrents"));
        }
        if !(1..=CONNECTIONS_MAX.min(PEER_NUMBER_MAX)).contains(&self.connections) {
            return Err(ConfigError::Range { key: "connections", max: CONNECTIONS_MAX });
        }
        let loopback = self.addr.is_none_or(|addr| matches!(addr, SocketAddr::V4(a) if a.ip().is_loopback()));
        let addresses = if loopback { u64::from(self.connections) } else { 1 };
        if self.peers > addresses * PORTS {
            return Err(ConfigError::TooManyPeers { max: addresses * PORTS, loopback });
        }
        if self.stopped_percent + self.completed_percent + self.scrape_percent > 100 {
            return Err(ConfigError::Percentages);
        }
        for (key, value) in [("seconds", self.seconds), ("growth_limit_s", self.growth_limit_s)] {
            check_number(key, value)?;
        }
        Ok(())
    }

    /// Whether every connection has a loopback address of its own.
    fn spreads_sources(&self) -> bool {
        self.addr.is_none_or(|addr| matches!(addr, SocketAddr::V4(a) if a.ip().is_loopback()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_refused() {
        let good = TrackerConfig::default();
        assert_eq!(good.check(), Ok(()));
        let remote = Some("192.0.2.1:6969".parse().unwrap());
        for bad in [
            TrackerConfig { peers: 0, ..good.clone() },
            TrackerConfig { connections: 0, ..good.clone() },
            TrackerConfig { connections: 1, peers: 60_001, ..good.clone() },
            TrackerConfig { addr: remote, peers: 60_001, ..good.clone() },
            TrackerConfig { scrape_percent: 95, ..good.clone() },
            TrackerConfig { seconds: f64::NAN, ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        assert_eq!(TrackerConfig { addr: remote, peers: 60_000, ..good }.check(), Ok(()));
    }
}
