//! Torrent files: what they say about the content, and where it is announced (BEP 3, 12, 19, 27, 47).

mod info;

use std::sync::Arc;

pub use info::Info;

use crate::layout::LayoutError;
use crate::units::InfoHash;

/// A torrent file.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// SHA-1 of `info_bytes`.
    pub info_hash: InfoHash,
    /// The content.
    pub info: Arc<Info>,
    /// The exact bytes of the `info` dictionary, which `ut_metadata` (BEP 9) serves.
    pub info_bytes: Arc<[u8]>,
    /// Tracker URLs by tier (BEP 12); no tier is empty.
    pub tiers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// Free text of the author.
    pub comment: Option<String>,
    /// The program that made the torrent.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
}

/// Why a torrent file or an `info` dictionary cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// Lengths or counts beyond what a torrent may have.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The number of piece hashes does not fit the length of the content.
    #[error("the torrent has {found} piece hashes, its content needs {expected}")]
    PieceCount {
        /// By the lengths of the files.
        expected: u32,
        /// In `pieces`.
        found: usize,
    },
}
