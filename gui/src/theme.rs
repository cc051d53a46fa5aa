//! Light, dark, or as the desktop has it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Colours of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the desktop has it.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All, in the order of the menu.
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    /// Its place in [`Theme::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}
