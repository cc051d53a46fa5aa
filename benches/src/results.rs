//! What a benchmark found: medians with their runs, ratios held against what was wanted, and where they are kept.
//!
//! All programs write this one form, so that one chart program draws them all.

use std::{collections::BTreeMap, fmt, fs, io, path::Path, path::PathBuf};

use ringseed_loadtest::spread::median;
use serde::{Deserialize, Serialize};

use crate::{machine::Machine, table};

/// One measured quantity of one contestant under one condition, over all runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    /// Who was measured: `floor`, `ringseed`, a rival.
    pub who: String,
    /// Under which condition: `8 peers, depth 40`.
    pub case: String,
    /// What, with its unit: `CPU s/GB`.
    pub what: String,
    /// Median of the runs; absent when no run gave a number.
    pub median: Option<f64>,
    /// Each run in order.
    pub runs: Vec<f64>,
}

impl Measurement {
    /// A measurement from the values of its runs.
    pub fn new(who: &str, case: &str, what: &str, runs: Vec<f64>) -> Measurement {
        Measurement { who: who.into(), case: case.into(), what: what.into(), median: median(&runs), runs }
    }
}

/// On which side of the bound a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The bound or less.
    AtMost,
    /// The bound or more.
    AtLeast,
}

/// A target of the project and what was measured of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Target {
    /// What is compared: `ringseed / floor, 8 peers`.
    pub name: String,
    /// Which side.
    pub wanted: Wanted,
    /// The bound.
    pub bound: f64,
    /// What was measured.
    pub value: f64,
    /// Whether it holds.
    pub met: bool,
}

impl Target {
    /// Holds `value` against `bound`; NaN never meets it.
    pub fn new(name: impl Into<String>, wanted: Wanted, bound: f64, value: f64) -> Target {
        let met = match wanted {
            Wanted::AtMost => value <= bound,
            Wanted::AtLeast => value >= bound,
        };
        Target { name: name.into(), wanted, bound, value, met }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.wanted {
            Wanted::AtMost => "<=",
            Wanted::AtLeast => ">=",
        };
        let verdict = if self.met { "met   " } else { "MISSED" };
        write!(f, "{verdict} {}: {:.3} (wanted {sign} {})", self.name, self.value, self.bound)
    }
}

/// The results of one benchmark program.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// The program's name.
    pub benchmark: String,
    /// Where, when and with which command.
    pub machine: Machine,
    /// Versions of everybody measured.
    pub versions: BTreeMap<String, String>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// What was wanted.
    pub targets: Vec<Target>,
    /// Full reports of single runs, where there are any.
    pub reports: Vec<serde_json::Value>,
}

impl Results {
    /// No results yet, of the program `benchmark` on this machine.
    pub fn new(benchmark: &str) -> Results {
        Results {
            benchmark: benchmark.into(),
            machine: Machine::here(),
            versions: BTreeMap::new(),
            measurements: Vec::new(),
            targets: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// The median of a measurement, NaN when it was not made.
    pub fn median(&self, who: &str, case: &str, what: &str) -> f64 {
        let found = self.measurements.iter().find(|m| m.who == who && m.case == case && m.what == what);
        found.and_then(|m| m.median).unwrap_or(f64::NAN)
    }

    /// A row per contestant and condition with a column per quantity, then a line per target.
    pub fn render(&self) -> String {
        let mut columns: Vec<&str> = Vec::new();
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for m in &self.measurements {
            if !columns.contains(&m.what.as_str()) {
                columns.push(&m.what);
            }
            if !keys.contains(&(m.case.as_str(), m.who.as_str())) {
                keys.push((&m.case, &m.who));
            }
        }
        let head = ["case", "who"].into_iter().chain(columns.iter().copied()).map(str::to_owned).collect();
        let mut rows: Vec<Vec<String>> = vec![head];
        for (case, who) in keys {
            let mut row = vec![case.to_owned(), who.to_owned()];
            row.extend(columns.iter().map(|what| cell(self.median(who, case, what))));
            rows.push(row);
        }
        let mut text = table::render(&rows);
        for target in &self.targets {
            text += &format!("{target}\n");
        }
        text
    }

    /// Prints them, writes them and says where; the last act of a program.
    ///
    /// # Errors
    /// Those of [`Results::write`].
    pub fn conclude(&self, directory: &Path) -> io::Result<()> {
        print!("{}", self.render());
        println!("written to {}", self.write(directory)?.display());
        Ok(())
    }

    /// Writes them to `directory/BENCHMARK-DATE.json`.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}-{}.json", self.benchmark, self.machine.file_stamp()));
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

/// Three significant digits or so; a dash for what was not measured.
fn cell(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_per_contestant_and_a_line_per_target() {
        let mut results = Results::new("some");
        results.measurements.push(Measurement::new("floor", "8 peers", "CPU s/GB", vec![0.2, 0.1, 0.3]));
        results.measurements.push(Measurement::new("floor", "8 peers", "MB/s", vec![5000.0]));
        results.measurements.push(Measurement::new("ringseed", "8 peers", "CPU s/GB", vec![0.25]));
        let ratio = results.median("ringseed", "8 peers", "CPU s/GB")
            / results.median("floor", "8 peers", "CPU s/GB");
        results.targets.push(Target::new("ringseed / floor", Wanted::AtMost, 1.25, ratio));
        results.targets.push(Target::new("absent", Wanted::AtLeast, 1.0, f64::NAN));
        let text = results.render();
        assert!(text.contains("0.200  5000\n"), "{text}");
        assert!(text.contains("0.250     -\n"), "{text}");
        assert!(text.contains("met    ringseed / floor: 1.250 (wanted <= 1.25)"), "{text}");
        assert!(text.contains("MISSED absent"), "{text}");
    }

    #[test]
    fn results_are_kept_under_their_name_and_date() {
        let directory = tempfile::tempdir().unwrap();
        let path = Results::new("some").write(directory.path()).unwrap();
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("some-20"));
        let back: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(back["benchmark"], "some");
    }
}
