//! What the window remembers between runs: a small JSON file.

use crate::theme::Theme;
use crate::torrents::{Column, Order};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Remembered settings. What is missing in the file has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// The engine of last time, as it was typed.
    pub engine: Option<String>,
    /// User name for it.
    pub user: String,
    /// Password or token for it. The file can be read by its owner only.
    pub password: String,
    /// Colours.
    pub theme: Theme,
    /// Order of the table.
    pub order: Order,
    /// Columns from left to right.
    pub columns: Vec<ColumnSetting>,
    /// Width and height of the window in logical pixels.
    pub size: Option<(f32, f32)>,
    /// Height of the details below the table; 0 when they are hidden.
    pub details_height: f32,
    /// A local engine that this window started goes on when the window is closed.
    pub keep_engine: bool,
    /// Tell the desktop when a download is complete.
    pub notify: bool,
}

/// A column as the user wants it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColumnSetting {
    /// Which.
    pub column: Column,
    /// Width in logical pixels.
    pub width: f32,
    /// Whether it is there.
    pub shown: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            engine: None,
            user: String::new(),
            password: String::new(),
            theme: Theme::Auto,
            order: Order::default(),
            columns: default_columns(),
            size: None,
            details_height: 256.0,
            keep_engine: false,
            notify: true,
        }
    }
}

/// Columns as they are at first.
pub fn default_columns() -> Vec<ColumnSetting> {
    Column::ALL
        .into_iter()
        .map(|column| ColumnSetting { column, width: column.width(), shown: column.shown() })
        .collect()
}

impl Settings {
    /// Reads a file. One that is missing or cannot be read gives the defaults: no window stays closed for that.
    pub fn load(path: &Path) -> Settings {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "cannot read the settings");
                }
                return Settings::default();
            }
        };
        match serde_json::from_str::<Settings>(&text) {
            Ok(settings) => settings.mended(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the settings are not understood");
                Settings::default()
            }
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let new = path.with_extension("json.new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        std::fs::rename(&new, path)
    }

    /// Each column once, with a width that can be seen; sizes that fit a screen.
    fn mended(mut self) -> Settings {
        let mut seen = Vec::new();
        self.columns.retain(|setting| {
            let new = !seen.contains(&setting.column);
            seen.push(setting.column);
            new
        });
        let missing = default_columns().into_iter().filter(|setting| !seen.contains(&setting.column));
        self.columns.extend(missing);
        for setting in &mut self.columns {
            setting.width = if setting.width.is_finite() { setting.width.clamp(32.0, 2000.0) } else { 80.0 };
            // Without names there is no telling what is what.
            setting.shown |= setting.column == Column::Name;
        }
        self.size = self.size.filter(|(width, height)| *width >= 640.0 && *height >= 400.0);
        self.details_height =
            if self.details_height > 0.0 { self.details_height.clamp(120.0, 1000.0) } else { 0.0 };
        self
    }
}

/// `$XDG_CONFIG_HOME/ringseed/gui.json`, by default below `~/.config`.
pub fn default_path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(base.join("ringseed/gui.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn settings_come_back_and_are_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/gui.json");
        let mut settings =
            Settings { engine: Some("box:1".to_owned()), theme: Theme::Dark, ..Settings::default() };
        settings.columns.swap(0, 3);
        settings.save(&path).unwrap();
        assert_eq!(Settings::load(&path), settings);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_missing_broken_or_old_still_opens_a_window() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gui.json");
        assert_eq!(Settings::load(&path), Settings::default());
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Settings::load(&path), Settings::default());
        let text = r#"{"unknown":1,"columns":[{"column":"name","width":1e9,"shown":false}],"size":[1,1]}"#;
        std::fs::write(&path, text).unwrap();
        let settings = Settings::load(&path);
        assert_eq!(settings.columns.len(), Column::ALL.len());
        assert!(settings.columns[0].shown && settings.columns[0].width == 2000.0 && settings.size.is_none());
    }
}
