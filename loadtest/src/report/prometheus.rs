//! A report for Prometheus: `textfile` of the node exporter, or a push gateway.

use std::collections::{BTreeMap, BTreeSet};

use super::{Number, Report};

/// Every number as a gauge `ringseed_loadtest_…` with the scenario as a label, and every check as 0 or 1.
pub(super) fn write(report: &Report) -> String {
    let mut families: BTreeMap<&str, Vec<&Number>> = BTreeMap::new();
    for number in &report.numbers {
        families.entry(&number.name).or_default().push(number);
    }
    let scenario = [("kind", report.kind.as_str()), ("scenario", report.name.as_str())];
    let mut text = head("check_passed", "Whether something held that had to.");
    for check in &report.checks {
        let labels = scenario.into_iter().chain([("check", check.what.as_str())]);
        text += &line("check_passed", labels, f64::from(u8::from(check.passed)));
    }
    for (name, numbers) in families {
        text += &head(name, &numbers[0].help);
        let mut seen = BTreeSet::new();
        for number in numbers {
            // The same series twice would spoil the whole page for a scraper.
            if seen.insert(&number.labels) {
                let own = number.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
                text += &line(name, scenario.into_iter().chain(own), number.value);
            }
        }
    }
    text
}

fn head(name: &str, help: &str) -> String {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    format!("# HELP ringseed_loadtest_{name} {help}\n# TYPE ringseed_loadtest_{name} gauge\n")
}

fn line<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let value = if value.is_nan() { "NaN".to_owned() } else { value.to_string() };
    format!("ringseed_loadtest_{name}{{{}}} {value}\n", labels.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn families_have_one_head_and_labels_are_escaped() {
        let text = super::write(&sample());
        let scenario = r#"kind="swarm",scenario="a <b> & \"c\"""#;
        for wanted in [
            format!("ringseed_loadtest_check_passed{{{scenario},check=\"byte-exact\"}} 1\n"),
            format!("ringseed_loadtest_check_passed{{{scenario},check=\"<nothing lost>\"}} 0\n"),
            format!("ringseed_loadtest_bytes{{{scenario}}} 1234567\n"),
            format!("ringseed_loadtest_odd{{{scenario},path=\"a\\\\b\\\"c\\nd\"}} 0.5\n"),
        ] {
            assert!(text.contains(&wanted), "{wanted} is not in\n{text}");
        }
        assert_eq!(text.matches("# TYPE ringseed_loadtest_time_to_complete_seconds gauge\n").count(), 1);
        assert_eq!(text.matches("ringseed_loadtest_time_to_complete_seconds{").count(), 2);
    }

    #[test]
    fn a_series_comes_once() {
        let mut report = sample();
        report.number("bytes", "Payload received.", 5.0);
        assert_eq!(super::write(&report).matches("ringseed_loadtest_bytes{").count(), 1);
    }
}
