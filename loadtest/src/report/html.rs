//! A report as one HTML page that needs nothing else: styles and charts are inside.

use super::{ChartError, Report, readable};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222b33;max-width:900px;margin:2em auto;\
padding:0 1em}h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.25em .8em;text-align:right;\
border-bottom:1px solid #e3e7ea}td:first-child,th:first-child{text-align:left}p.where{color:#5d6872;margin:0}\
.passed{color:#1f7a5c}.failed{color:#b03a2e;font-weight:bold}svg{max-width:100%;height:auto}\
pre{background:#f4f6f7;padding:1em;overflow:auto}div.wide{overflow-x:auto}";

/// The page.
pub(super) fn write(report: &Report) -> Result<String, ChartError> {
    let title = format!("{} '{}'", escaped(&report.kind), escaped(&report.name));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p class=\"where\">{}</p>\n",
        escaped(&report.machine_line())
    );
    for (program, version) in &report.versions {
        page += &format!("<p class=\"where\">{}: {}</p>\n", escaped(program), escaped(version));
    }
    if !report.checks.is_empty() {
        page += "<h2>Checks</h2>\n<table>\n";
        for check in &report.checks {
            let outcome = if check.passed { "passed" } else { "failed" };
            page += &format!(
                "<tr><td>{}</td><td class=\"{outcome}\">{outcome}</td><td>{}</td></tr>\n",
                escaped(&check.what),
                escaped(&check.detail)
            );
        }
        page += "</table>\n";
    }
    for chart in &report.charts {
        page += &format!("<h2>{}</h2>\n{}\n", escaped(&chart.title), chart.svg()?);
    }
    for table in &report.tables {
        let row = |cells: &[String], tag: &str| {
            let cells: Vec<String> =
                cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            format!("<tr>{}</tr>\n", cells.concat())
        };
        page += &format!("<h2>{}</h2>\n<div class=\"wide\"><table>\n", escaped(&table.title));
        page += &row(&table.columns, "th");
        for cells in &table.rows {
            page += &row(cells, "td");
        }
        page += "</table></div>\n";
    }
    if !report.numbers.is_empty() {
        page += "<h2>Numbers</h2>\n<table>\n";
        for number in &report.numbers {
            let labels: Vec<String> = number.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            page += &format!(
                "<tr><td title=\"{}\">{} {}</td><td>{}</td></tr>\n",
                escaped(&number.help),
                escaped(&number.name),
                escaped(&labels.join(", ")),
                readable(number.value)
            );
        }
        page += "</table>\n";
    }
    let settings = serde_json::to_string_pretty(&report.settings).unwrap_or_default();
    page += &format!(
        "<h2>Scenario</h2>\n<pre>{}</pre>\n<pre>{}</pre>\n</body>\n</html>\n",
        escaped(&report.machine.command.join(" ")),
        escaped(&settings)
    );
    Ok(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn the_page_has_everything_and_needs_nothing() {
        let page = super::write(&sample()).unwrap();
        for wanted in ["a &lt;b&gt; &amp; &quot;c&quot;", "class=\"failed\"", "1 &lt;script&gt;", "1234567"] {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
        assert_eq!(page.matches("<svg").count(), 2);
        for foreign in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign} is in the page");
        }
    }
}
