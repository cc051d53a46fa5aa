//! A report for a terminal.

use super::{Report, readable};
use crate::table;

/// Machine, checks, numbers and tables; charts are left out.
pub(super) fn write(report: &Report) -> String {
    let mut text = format!("{} '{}'\n{}\n", report.kind, report.name, report.machine_line());
    for (program, version) in &report.versions {
        text += &format!("{program}: {version}\n");
    }
    text.push('\n');
    for check in &report.checks {
        let outcome = if check.passed { "passed" } else { "FAILED" };
        text += &format!("{outcome}  {}: {}\n", check.what, check.detail);
    }
    if !report.numbers.is_empty() {
        let mut rows = vec![vec!["what".to_owned(), "value".to_owned()]];
        for number in &report.numbers {
            let labels: Vec<String> = number.labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            rows.push(vec![format!("{}{labels}", number.name), readable(number.value)]);
        }
        text += &format!("\n{}", table::render(&rows));
    }
    for table in &report.tables {
        let mut rows = vec![table.columns.clone()];
        rows.extend(table.rows.iter().cloned());
        text += &format!("\n{}\n{}", table.title, table::render(&rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn failures_stand_out_and_columns_line_up() {
        let text = super::write(&sample());
        assert!(text.contains("FAILED  <nothing lost>: peer 2 lacks 5 bytes\n"), "{text}");
        assert!(text.contains("passed  byte-exact: 3 of 3 peers\n"), "{text}");
        assert!(text.contains("time_to_complete_seconds{quantile=\"0.5\"}     1.25\n"), "{text}");
        assert!(text.contains("\nPeers\npeer          s\n"), "{text}");
    }
}
