//! What Slint makes of `ui/`.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::todo, clippy::cast_lossless)]

slint::include_modules!();

pub(super) use slint::language::ColorScheme;
