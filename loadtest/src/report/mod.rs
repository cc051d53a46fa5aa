//! The report of a run: one model, written as text, JSON, Prometheus text and one self-contained HTML page.
//!
//! A scenario fills the model and knows nothing of the writers; a writer draws whatever is in the model.

mod chart;
mod html;
mod output;
mod prometheus;
mod text;

use std::collections::BTreeMap;

pub use chart::{Chart, ChartError, Mark, Plot, Series};
pub use output::{Format, Output, OutputError};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The kind of scenario: `swarm`, `blast`, ...
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Where and when.
    pub machine: Machine,
    /// Versions of the programs that took part.
    pub versions: BTreeMap<String, String>,
    /// The scenario as it ran.
    pub settings: serde_json::Value,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// What was measured.
    pub numbers: Vec<Number>,
    /// Rows that belong together.
    pub tables: Vec<Table>,
    /// Quantities over time, or side by side.
    pub charts: Vec<Chart>,
}

/// Something that had to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// Whether it did.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// Name with its base unit, as Prometheus wants it: `time_to_complete_seconds`.
    pub name: String,
    /// One line that says what it is.
    pub help: String,
    /// What tells it from others of the same name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Rows under a head; every row has as many cells as the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The head.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Report {
    /// An empty report of a scenario that ran just now on this machine.
    pub fn new(kind: &str, name: &str, settings: &impl Serialize) -> Report {
        Report {
            kind: kind.to_owned(),
            name: name.to_owned(),
            machine: Machine::here(),
            versions: BTreeMap::new(),
            // A configuration is plain data: what cannot be written is left out of the report, not of the run.
            settings: serde_json::to_value(settings).unwrap_or_default(),
            checks: Vec::new(),
            numbers: Vec::new(),
            tables: Vec::new(),
            charts: Vec::new(),
        }
    }

    /// Whether everything held that had to.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// Adds a check.
    pub fn check(&mut self, what: &str, passed: bool, detail: impl Into<String>) {
        self.checks.push(Check { what: what.to_owned(), passed, detail: detail.into() });
    }

    /// Adds a value without labels.
    pub fn number(&mut self, name: &str, help: &str, value: f64) {
        self.labelled(name, help, &[], value);
    }

    /// Adds a value with labels.
    pub fn labelled(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.numbers.push(Number { name: name.to_owned(), help: help.to_owned(), labels, value });
    }

    /// Adds a table.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.tables.push(Table { title: title.to_owned(), columns, rows });
    }

    /// The first value of that name and those labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |number: &&Number| {
            number.name == name
                && labels.iter().all(|(key, value)| number.labels.get(*key).is_some_and(|is| is == value))
        };
        self.numbers.iter().find(fits).map(|number| number.value)
    }

    /// Date, kernel, processor and cores in one line.
    fn machine_line(&self) -> String {
        let m = &self.machine;
        format!("{}, Linux {}, {}, {} cores, {} MiB", m.date, m.kernel, m.cpu, m.cores, m.memory >> 20)
    }
}

/// A number as people read it: no more digits than tell something.
fn readable(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".into();
    }
    if value.fract() == 0.0 && size < 1e15 {
        return format!("{value:.0}");
    }
    match size {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.001.. => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// A report with something of everything, and with characters that every format treats in its own way.
#[cfg(test)]
pub(crate) fn sample() -> Report {
    let mut report = Report::new("swarm", "a <b> & \"c\"", &serde_json::json!({"peers": 3}));
    report.versions.insert("ringseed".into(), "ringseed 0.1.0".into());
    report.check("byte-exact", true, "3 of 3 peers");
    report.check("<nothing lost>", false, "peer 2 lacks 5 bytes");
    report.number("bytes", "Payload received.", 1_234_567.0);
    for (quantile, value) in [("0.5", 1.25), ("1", 2.5)] {
        report.labelled("time_to_complete_seconds", "Time to complete.", &[("quantile", quantile)], value);
    }
    report.labelled("odd", "A \"quoted\" one.", &[("path", "a\\b\"c\nd")], 0.5);
    report.table("Peers", &["peer", "s"], vec![vec!["1 <script>".into(), "1.2".into()]]);
    report.charts.push(Chart {
        title: "Complete <peers>".into(),
        x: "seconds".into(),
        y: "peers".into(),
        plot: Plot::Lines(vec![Series {
            name: "complete".into(),
            points: vec![(0.0, 0.0), (1.0, 2.0), (2.5, 3.0)],
        }]),
        marks: vec![Mark { at: 1.5, label: "kill".into(), ends: false }],
    });
    report.charts.push(Chart {
        title: "Rates".into(),
        x: "seeder".into(),
        y: "MB/s".into(),
        plot: Plot::Bars(vec![("ringseed".into(), 900.0), ("other".into(), 300.0)]),
        marks: Vec::new(),
    });
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_back_what_was_written() {
        let report = sample();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn one_failed_check_fails_the_run() {
        let mut report = sample();
        assert!(!report.passed());
        report.checks.retain(|check| check.passed);
        assert!(report.passed());
    }

    #[test]
    fn values_are_found_by_name_and_labels() {
        let report = sample();
        assert_eq!(report.value("time_to_complete_seconds", &[("quantile", "1")]), Some(2.5));
        assert_eq!(report.value("time_to_complete_seconds", &[("quantile", "0.9")]), None);
        assert_eq!(report.value("bytes", &[]), Some(1_234_567.0));
    }

    #[test]
    fn numbers_have_the_digits_that_tell_something() {
        let texts = [1_234_567.0, 12.0, 1234.5, 12.34, 1.234, 0.1234, 0.00001, f64::NAN].map(readable);
        assert_eq!(texts, ["1234567", "12", "1234", "12.3", "1.23", "0.1234", "1.00e-5", "-"]);
    }
}
