//! Scenario files, and those that are shipped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    blast_compare::CompareConfig, config_error::ConfigError, idle_run::IdleRunConfig, quantity::Bytes,
    soak::SoakConfig, swarm::SwarmConfig, tracker_load::TrackerConfig,
};

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A swarm of engines.
    Swarm,
    /// A swarm to which bad things happen.
    Chaos,
    /// Raw peers against seeders of several makes.
    Blast,
    /// Peers that want nothing.
    Idle,
    /// Announces to a tracker.
    Tracker,
    /// The same again and again.
    Soak,
}

/// A scenario that can run.
#[derive(Debug, Clone, PartialEq)]
pub enum Scenario {
    /// `swarm` and `chaos`.
    Swarm(SwarmConfig),
    /// `blast`.
    Blast(CompareConfig),
    /// `idle`.
    Idle(IdleRunConfig),
    /// `tracker`.
    Tracker(TrackerConfig),
    /// `soak`.
    Soak(SoakConfig),
}

/// The scenarios of `loadtest/scenarios`, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("swarm-small", include_str!("../scenarios/swarm-small.toml")),
    ("swarm-30", include_str!("../scenarios/swarm-30.toml")),
    ("swarm-staggered", include_str!("../scenarios/swarm-staggered.toml")),
    ("swarm-churn", include_str!("../scenarios/swarm-churn.toml")),
    ("swarm-one-copy", include_str!("../scenarios/swarm-one-copy.toml")),
    ("swarm-links", include_str!("../scenarios/swarm-links.toml")),
    ("chaos", include_str!("../scenarios/chaos.toml")),
    ("chaos-loopback", include_str!("../scenarios/chaos-loopback.toml")),
    ("blast", include_str!("../scenarios/blast.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("tracker-udp", include_str!("../scenarios/tracker-udp.toml")),
    ("tracker-http", include_str!("../scenarios/tracker-http.toml")),
    ("soak", include_str!("../scenarios/soak.toml")),
];

/// A scenario file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a file nor a name.
    #[error("{path}: {error}; shipped scenarios are {}", shipped_names())]
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// No TOML, an unknown key, or a value that does not fit.
    #[error("{origin}: {reason}")]
    Invalid {
        /// File or name.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}

fn shipped_names() -> String {
    SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The part of a file that says how to read the rest.
#[derive(Deserialize)]
struct Head {
    kind: Kind,
}

/// The text of a shipped scenario or of a file.
///
/// # Errors
/// It is neither.
pub fn text_of(name_or_path: &Path) -> Result<String, ScenarioError> {
    match SHIPPED.iter().find(|(name, _)| Path::new(name) == name_or_path) {
        Some((_, text)) => Ok((*text).to_owned()),
        None => std::fs::read_to_string(name_or_path)
            .map_err(|error| ScenarioError::Unreadable { path: name_or_path.to_owned(), error }),
    }
}

impl Scenario {
    /// Reads a scenario from text; `origin` names it in messages. Whether it can run is looked at when it does.
    ///
    /// # Errors
    /// What is wrong where.
    pub fn parse(text: &str, origin: &str) -> Result<Scenario, ScenarioError> {
        let head: Head = parse(text, origin)?;
        Ok(match head.kind {
            Kind::Swarm | Kind::Chaos => Scenario::Swarm(parse(text, origin)?),
            Kind::Blast => Scenario::Blast(parse(text, origin)?),
            Kind::Idle => Scenario::Idle(parse(text, origin)?),
            Kind::Tracker => Scenario::Tracker(parse(text, origin)?),
            Kind::Soak => Scenario::Soak(parse(text, origin)?),
        })
    }

    /// Reads a shipped scenario or a file.
    ///
    /// # Errors
    /// What is wrong where.
    pub fn read(name_or_path: &Path) -> Result<Scenario, ScenarioError> {
        Scenario::parse(&text_of(name_or_path)?, &name_or_path.to_string_lossy())
    }

    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Scenario::Swarm(config) => config.kind,
            Scenario::Blast(_) => Kind::Blast,
            Scenario::Idle(_) => Kind::Idle,
            Scenario::Tracker(_) => Kind::Tracker,
            Scenario::Soak(_) => Kind::Soak,
        }
    }
}

/// Looks whether a number of a scenario, a time mostly, is one that makes sense.
pub(crate) fn check_number(key: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1e6).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Number { key, value })
}

/// Looks whether a torrent can have pieces of this length.
pub(crate) fn check_piece(piece: Bytes) -> Result<(), ConfigError> {
    if piece.0.is_power_of_two() && (16 << 10..=16 << 20).contains(&piece.0) {
        return Ok(());
    }
    Err(ConfigError::Piece(piece))
}

fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ScenarioError> {
    toml::from_str(text)
        .map_err(|error| ScenarioError::Invalid { origin: origin.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_can_run_and_bears_its_name() {
        for (name, text) in SHIPPED {
            let (called, checked) = match Scenario::parse(text, name).unwrap() {
                Scenario::Swarm(config) => (config.name.clone(), config.check()),
                Scenario::Blast(config) => (config.name.clone(), config.check()),
                Scenario::Idle(config) => (config.name.clone(), config.check()),
                Scenario::Tracker(config) => (config.name.clone(), config.check()),
                Scenario::Soak(config) => (config.name.clone(), config.check()),
            };
            assert_eq!((called.as_str(), checked), (*name, Ok(())));
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), SHIPPED.len(), "every file is shipped");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, wanted) in [
            ("peers = 3", "kind"),
            ("kind = \"dance\"", "dance"),
            ("kind = \"swarm\"\n\npears = 3", "pears"),
            ("kind = \"tracker\"\ntransport = 5", "transport"),
            ("kind = \"blast\"\nseeders = [\"nobody\"]", "nobody"),
            ("kind = ", "line 1"),
        ] {
            let error = Scenario::parse(text, "a.toml").unwrap_err().to_string();
            assert!(error.starts_with("a.toml: ") && error.contains(wanted), "{text}: {error}");
        }
        let error = Scenario::read(Path::new("/nonexistent/x.toml")).unwrap_err().to_string();
        assert!(error.contains("swarm-small"), "{error}");
    }
}
