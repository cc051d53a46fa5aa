//! Flags of scenarios that come from files: each flag is a key of the file, and `--set` reaches all of them.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    quantity::Bytes,
    scenario::{Scenario, ScenarioError, text_of},
};

use super::{BlastArgs, IdleArgs};

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Scenario file, or name of a shipped scenario
    pub scenario: PathBuf,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `swarm`.
#[derive(Debug, Clone, Args)]
pub struct SwarmArgs {
    /// Scenario file, or name of a shipped scenario
    #[arg(default_value = "swarm-small")]
    pub scenario: PathBuf,
    /// Number of downloading engines
    #[arg(long)]
    pub peers: Option<u32>,
    /// Number of seeds
    #[arg(long)]
    pub seeds: Option<u32>,
    /// Size of the torrent
    #[arg(long)]
    pub size: Option<Bytes>,
    /// Piece length
    #[arg(long)]
    pub piece: Option<Bytes>,
    /// Maximum duration
    #[arg(long, value_name = "SECONDS")]
    pub limit: Option<f64>,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `chaos`.
#[derive(Debug, Clone, Args)]
pub struct ChaosArgs {
    /// Scenario file, or name of a shipped scenario
    #[arg(default_value = "chaos")]
    pub scenario: PathBuf,
    /// Size of the torrent
    #[arg(long)]
    pub size: Option<Bytes>,
    /// Maximum duration
    #[arg(long, value_name = "SECONDS")]
    pub limit: Option<f64>,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `tracker`.
#[derive(Debug, Clone, Args)]
pub struct TrackerArgs {
    /// Scenario file, or name of a shipped scenario
    #[arg(default_value = "tracker-udp")]
    pub scenario: PathBuf,
    /// Address of a running tracker [default: start ours]
    #[arg(long, value_name = "IP:PORT")]
    pub addr: Option<std::net::SocketAddr>,
    /// Number of announcing peers
    #[arg(long)]
    pub peers: Option<u64>,
    /// Number of sockets, with one request in flight each
    #[arg(long, short = 'c')]
    pub connections: Option<u32>,
    /// Duration of the mix
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `soak`.
#[derive(Debug, Clone, Args)]
pub struct SoakArgs {
    /// Scenario file, or name of a shipped scenario
    #[arg(default_value = "soak")]
    pub scenario: PathBuf,
    /// Duration
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Number of downloading engines
    #[arg(long)]
    pub peers: Option<u32>,
    /// Set any key of the scenario
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A key and what a flag says it is.
type Given = Vec<(&'static str, String)>;

fn given<T: ToString>(into: &mut Given, key: &'static str, value: Option<&T>) {
    into.extend(value.map(|value| (key, value.to_string())));
}

impl RunArgs {
    /// The scenario that is wanted.
    ///
    /// # Errors
    /// What is wrong with the file or a `--set`.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        read(&self.scenario, Vec::new(), &self.set)
    }
}

impl SwarmArgs {
    /// The scenario that is wanted.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        given(&mut keys, "peers", self.peers.as_ref());
        given(&mut keys, "seeds", self.seeds.as_ref());
        given(&mut keys, "size", self.size.as_ref());
        given(&mut keys, "piece", self.piece.as_ref());
        given(&mut keys, "limit_s", self.limit.as_ref());
        read(&self.scenario, keys, &self.set)
    }
}

impl ChaosArgs {
    /// The scenario that is wanted.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        given(&mut keys, "size", self.size.as_ref());
        given(&mut keys, "limit_s", self.limit.as_ref());
        read(&self.scenario, keys, &self.set)
    }
}

impl TrackerArgs {
    /// The scenario that is wanted.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        given(&mut keys, "addr", self.addr.as_ref());
        given(&mut keys, "peers", self.peers.as_ref());
        given(&mut keys, "connections", self.connections.as_ref());
        given(&mut keys, "seconds", self.seconds.as_ref());
        read(&self.scenario, keys, &self.set)
    }
}

impl SoakArgs {
    /// The scenario that is wanted.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        given(&mut keys, "seconds", self.seconds.as_ref());
        given(&mut keys, "peers", self.peers.as_ref());
        read(&self.scenario, keys, &self.set)
    }
}

impl BlastArgs {
    /// The comparison that is wanted, when no `--addr` is given.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        let names: Vec<String> = self.makers.iter().map(|maker| format!("{:?}", maker.name())).collect();
        let seeders = (!names.is_empty()).then(|| format!("[{}]", names.join(", ")));
        given(&mut keys, "seeders", seeders.as_ref());
        given(&mut keys, "runs", self.runs.as_ref());
        given(&mut keys, "size", self.size.as_ref());
        given(&mut keys, "connections", self.connections.as_ref());
        given(&mut keys, "depth", self.depth.as_ref());
        given(&mut keys, "measure", self.bytes.as_ref());
        given(&mut keys, "warmup", self.warmup.as_ref());
        given(&mut keys, "seeder_cpu", self.seeder_cpu.as_ref());
        given(&mut keys, "load_cpu", self.cpu.as_ref());
        given(&mut keys, "verify", self.verify.then_some(&true));
        read(self.scenario.as_deref().unwrap_or(Path::new("blast")), keys, &self.set)
    }
}

impl IdleArgs {
    /// The scenario that is wanted, when no `--addr` is given.
    ///
    /// # Errors
    /// What is wrong with the file or a flag.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        let mut keys = Given::new();
        let name = self.maker.map(|maker| maker.name().to_owned());
        given(&mut keys, "seeder", name.as_ref());
        given(&mut keys, "hold_s", self.hold.as_ref());
        given(&mut keys, "connections", self.connections.as_ref());
        given(&mut keys, "load_cpu", self.cpu.as_ref());
        read(self.scenario.as_deref().unwrap_or(Path::new("idle")), keys, &self.set)
    }
}

fn read(path: &Path, keys: Given, sets: &[String]) -> Result<Scenario, ScenarioError> {
    let text = text_of(path)?;
    let origin = path.to_string_lossy();
    if keys.is_empty() && sets.is_empty() {
        // Messages have the lines of the file as it is.
        return Scenario::parse(&text, &origin);
    }
    let mut all: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    all.extend(sets.iter().cloned());
    let text = overlay(&text, &all).map_err(|error| ScenarioError::Invalid {
        origin: origin.clone().into_owned(),
        reason: error.to_string(),
    })?;
    Scenario::parse(&text, &format!("{origin} with flags"))
}

/// Why a flag cannot be put into a scenario.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The scenario itself is not TOML.
    #[error("{0}")]
    Scenario(#[from] toml::de::Error),
    /// What was given has no `=`.
    #[error("'{0}' is no KEY=VALUE")]
    NotAPair(String),
    /// What was given goes through something that is no table.
    #[error("'{name}' in '{set}' is no table")]
    NotATable {
        /// What is no table.
        name: String,
        /// What was given.
        set: String,
    },
    /// The scenario with the flags cannot be written.
    #[error("{0}")]
    Written(#[from] toml::ser::Error),
}

/// The scenario `text` with each `KEY=VALUE` of `sets` in it. A key may have a table in front (`link.delay_ms`); a value
/// is TOML, and what is none is text.
///
/// # Errors
/// The text is no TOML, or a set has no `=` or goes through something that is no table.
pub fn overlay(text: &str, sets: &[String]) -> Result<String, OverlayError> {
    let mut document: toml::Table = text.parse()?;
    for set in sets {
        let (key, value) = set.split_once('=').ok_or_else(|| OverlayError::NotAPair(set.clone()))?;
        let path: Vec<&str> = key.trim().split('.').collect();
        let [tables @ .., last] = &path[..] else { continue };
        let mut table = &mut document;
        for name in tables {
            let entry =
                table.entry((*name).to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let not_a_table = || OverlayError::NotATable { name: (*name).to_owned(), set: set.clone() };
            table = entry.as_table_mut().ok_or_else(not_a_table)?;
        }
        table.insert((*last).to_owned(), value_of(value.trim()));
    }
    Ok(toml::to_string(&document)?)
}

fn value_of(text: &str) -> toml::Value {
    let parsed: Result<toml::Table, _> = format!("v = {text}").parse();
    let parsed = parsed.ok().and_then(|mut table| table.remove("v"));
    parsed.unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(sets: &[&str]) -> Vec<String> {
        sets.iter().map(|set| (*set).to_owned()).collect()
    }

    #[test]
    fn flags_go_over_the_file_and_into_tables() {
        let args = SwarmArgs {
            scenario: "swarm-small".into(),
            peers: Some(7),
            seeds: None,
            size: Some(Bytes(8 << 20)),
            piece: None,
            limit: Some(9.5),
            set: sets(&["network=links", "link.delay_ms=5.0", "engine_args=[\"--debug\"]"]),
        };
        let Ok(Scenario::Swarm(config)) = args.scenario() else { panic!("no swarm") };
        assert_eq!((config.peers, config.size, config.limit_s), (7, Bytes(8 << 20), 9.5));
        assert_eq!((config.link.delay_ms, config.engine_args.len()), (5.0, 1));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn what_is_no_key_is_named() {
        for (set, wanted) in [("peers", "KEY=VALUE"), ("peers.x=1", "no table"), ("peerz=1", "peerz")] {
            let args = RunArgs { scenario: "swarm-small".into(), set: sets(&[set]) };
            let error = args.scenario().unwrap_err().to_string();
            assert!(error.contains(wanted), "{set}: {error}");
        }
    }

    #[test]
    fn values_are_toml_or_text() {
        let text = overlay("a = 1\n", &sets(&["a=2", "b=x y", "c=true", "d=127.0.0.1:5"])).unwrap();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["a"].as_integer(), Some(2));
        assert_eq!((table["b"].as_str(), table["d"].as_str()), (Some("x y"), Some("127.0.0.1:5")));
        assert_eq!(table["c"].as_bool(), Some(true));
    }
}
