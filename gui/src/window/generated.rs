//! What Slint makes of `ui/`.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

slint::include_modules!();

pub(super) use slint::language::ColorScheme;
