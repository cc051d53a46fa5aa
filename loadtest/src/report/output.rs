//! Where reports go: one format to standard output, all of them to files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{ChartError, Report, html, prometheus, text};

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for a terminal
    Text,
    /// JSON
    Json,
    /// Prometheus metrics
    Prometheus,
    /// HTML page
    Html,
}

/// Report flags of every scenario.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct Output {
    /// Format on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also write the report in every format to this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Print no progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// JSON.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file.
    #[error("cannot write {path}: {error}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Output {
    /// Whether nothing but text on standard output is wanted.
    pub fn is_plain(&self) -> bool {
        self.format == Format::Text && self.report.is_none()
    }
}

impl Report {
    /// The report in a format.
    ///
    /// # Errors
    /// A chart cannot be drawn, or a value is no JSON.
    pub fn render(&self, format: Format) -> Result<String, OutputError> {
        Ok(match format {
            Format::Text => text::write(self),
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            Format::Prometheus => prometheus::write(self),
            Format::Html => html::write(self)?,
        })
    }

    /// Writes `KIND-NAME-DATE.{txt,json,prom,html}` into `dir`; gives the paths. A name that begins with the kind
    /// stands alone.
    ///
    /// # Errors
    /// See [`OutputError`].
    pub fn write_files(&self, dir: &Path) -> Result<Vec<PathBuf>, OutputError> {
        let complain = |path: &Path, error| OutputError::File { path: path.to_owned(), error };
        fs::create_dir_all(dir).map_err(|error| complain(dir, error))?;
        let name: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
        // `chaos` of the kind chaos is not said twice.
        let name = if name.starts_with(&self.kind) { name } else { format!("{}-{name}", self.kind) };
        let base = format!("{name}-{}", self.machine.file_stamp());
        let formats = [
            (Format::Text, "txt"),
            (Format::Json, "json"),
            (Format::Prometheus, "prom"),
            (Format::Html, "html"),
        ];
        let mut paths = Vec::new();
        for (format, extension) in formats {
            let path = dir.join(format!("{base}.{extension}"));
            fs::write(&path, self.render(format)?).map_err(|error| complain(&path, error))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn all_formats_become_files_with_safe_names() {
        let dir = tempfile::tempdir().unwrap();
        let report = sample();
        let paths = report.write_files(dir.path()).unwrap();
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_string_lossy()).collect();
        assert!(names[0].starts_with("swarm-a--b-----c--") && names[0].ends_with(".txt"), "{names:?}");
        let json = fs::read_to_string(&paths[1]).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert!(paths.iter().all(|path| fs::metadata(path).unwrap().len() > 100));
    }

    #[test]
    fn a_place_that_is_no_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = sample().write_files(&file).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("file"), "{error}");
    }
}
