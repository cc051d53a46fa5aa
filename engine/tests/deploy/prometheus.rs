//! The scrape configuration and the rules, in the eyes of Prometheus' own tool.

use crate::{deploy, run, text};
use std::path::Path;
use std::process::Command;

/// Copies the configuration, with a token beside it, as it is installed.
pub fn installed(into: &Path, token: &str) {
    std::fs::create_dir_all(into.join("rules")).unwrap();
    std::fs::copy(deploy("prometheus/prometheus.yml"), into.join("prometheus.yml")).unwrap();
    for rules in ["recording.yml", "alerts.yml"] {
        std::fs::copy(deploy("prometheus/rules").join(rules), into.join("rules").join(rules)).unwrap();
    }
    std::fs::write(into.join("rpc-token"), token).unwrap();
}

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments);
    command
}

#[test]
fn configuration_and_rules_are_valid() {
    let dir = tempfile::tempdir().unwrap();
    installed(dir.path(), "t");
    let said = run(promtool(&["check", "config"]).arg(dir.path().join("prometheus.yml")));
    assert_eq!(said.matches("rules found").count(), 2, "a file of rules is not read:\n{said}");
    let rules = ["recording.yml", "alerts.yml"].map(|name| deploy("prometheus/rules").join(name));
    run(promtool(&["check", "rules"]).args(rules));
}

#[test]
fn rules_do_what_they_say() {
    let tests = ["recording.yml", "alerts.yml"].map(|name| deploy("prometheus/tests").join(name));
    run(promtool(&["test", "rules"]).args(tests));
}

#[test]
fn every_rule_has_a_test() {
    let tests = text("prometheus/tests/alerts.yml") + &text("prometheus/tests/recording.yml");
    let rules = text("prometheus/rules/alerts.yml") + &text("prometheus/rules/recording.yml");
    let named = |key: &str| -> Vec<String> {
        let lines = rules.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(str::to_owned).collect()
    };
    let (alerts, records) = (named("- alert: "), named("- record: "));
    assert!(alerts.len() > 10 && records.len() > 5);
    for alert in alerts {
        assert!(tests.matches(&format!("alertname: {alert}\n")).count() >= 2, "{alert} has no test");
    }
    for record in records {
        assert!(tests.contains(&record), "{record} has no test");
    }
}

#[test]
fn a_rule_that_is_wrong_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let rules = text("prometheus/rules/alerts.yml");
    for part in ["rules", "tests"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    std::fs::copy(deploy("prometheus/rules/recording.yml"), dir.path().join("rules/recording.yml")).unwrap();
    std::fs::copy(deploy("prometheus/tests/alerts.yml"), dir.path().join("tests/alerts.yml")).unwrap();
    let wrong = rules.replace("ratio_rate5m > 0.9", "ratio_rate5m > 0.97");
    assert_ne!(wrong, rules);
    std::fs::write(dir.path().join("rules/alerts.yml"), wrong).unwrap();
    let output = promtool(&["test", "rules"]).arg(dir.path().join("tests/alerts.yml")).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success() && said.contains("RingseedShardSaturated"), "{said}");
}
