//! Which metrics rules and dashboards ask for.

use crate::{deploy, text};
use serde_json::Value;
use std::collections::BTreeSet;

/// A query of a panel, with where it stands.
pub struct Query {
    pub panel: String,
    pub expression: String,
}

/// The dashboards by their file names.
pub fn dashboards() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(deploy("grafana/dashboards")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let dashboard = serde_json::from_str(&text(&format!("grafana/dashboards/{name}")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        found.push((name, dashboard));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Every query of every panel.
pub fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                found.push(Query {
                    panel: format!("{name}, {}", panel["title"].as_str().unwrap()),
                    expression: target["expr"].as_str().unwrap().to_owned(),
                });
            }
        }
    }
    assert!(found.len() > 50, "the panels were not found");
    found
}

/// The names of our metrics in a text.
pub fn in_text(text: &str) -> BTreeSet<String> {
    text.split(|part: char| !part.is_ascii_alphanumeric() && part != '_' && part != ':')
        .map(|word| word.trim_matches(':'))
        .filter(|word| word.contains("ringseed_"))
        .map(str::to_owned)
        .collect()
}

/// The names that anything below `deploy/` asks for.
pub fn asked_for() -> BTreeSet<String> {
    let mut names = in_text(&text("prometheus/rules/alerts.yml"));
    names.extend(in_text(&text("prometheus/rules/recording.yml")));
    for query in queries() {
        names.extend(in_text(&query.expression));
    }
    for (_, dashboard) in dashboards() {
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            names.extend(in_text(variable["definition"].as_str().unwrap_or_default()));
        }
    }
    assert!(names.len() > 50, "{names:?}");
    names
}

#[test]
fn names_are_found_in_expressions() {
    let names = in_text(
        "sum by (le) (rate(ringseed_a_bucket{job=\"ringseed-tracker\"}[5m])) / level:ringseed_b:op > 0",
    );
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["level:ringseed_b:op", "ringseed_a_bucket"]);
}

#[test]
fn dashboards_are_complete() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()), "{name}: its uid is another's");
        assert_eq!(format!("{}.json", dashboard["uid"].as_str().unwrap()), name);
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}, {title}: its id is another's");
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{name}, {title}: beside the page");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{name}, {title}: over another panel");
                }
            }
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}, {title}");
            }
        }
    }
    assert_eq!(uids.len(), 4);
}
