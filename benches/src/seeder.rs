//! The seeders under measurement: the bare ring sender of this crate, and those that the load generator starts.

use std::io;

use clap::ValueEnum;
use ringseed_loadtest::seeder::Maker;
pub use ringseed_loadtest::seeder::{Launch, Running, offers_everything};
use serde::Serialize;

use crate::data::TestTorrent;
use crate::floor::BLOCKS_PER_SEND;

/// Who seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seeder {
    /// The bare ring sender of this crate.
    Floor,
    /// Ringseed.
    Ringseed,
    /// libtorrent (Rasterbar) through python3-libtorrent.
    Libtorrent,
    /// rTorrent.
    Rtorrent,
}

impl Seeder {
    /// As the load generator knows it; `None` is the floor.
    fn maker(self) -> Option<Maker> {
        match self {
            Seeder::Floor => None,
            Seeder::Ringseed => Some(Maker::Ringseed),
            Seeder::Libtorrent => Some(Maker::Libtorrent),
            Seeder::Rtorrent => Some(Maker::Rtorrent),
        }
    }

    /// Name in tables.
    pub fn name(self) -> &'static str {
        self.maker().map_or("floor", Maker::name)
    }

    /// Its version, as it says itself; `None` when it is not installed.
    pub fn version(self, launch: &Launch) -> Option<String> {
        self.maker().map_or_else(|| Some(env!("CARGO_PKG_VERSION").into()), |maker| maker.version(launch))
    }

    /// Starts the seeder and waits until it offers every piece of `torrent`.
    ///
    /// # Errors
    /// See [`Launch::start`].
    pub fn start(self, torrent: &TestTorrent, launch: &Launch) -> io::Result<Running> {
        match self.maker() {
            None => start_floor(torrent, launch, BLOCKS_PER_SEND),
            Some(maker) => maker.start(torrent, launch),
        }
    }
}

/// Starts the floor, which gathers up to `blocks` of 16 KiB for each send: the program `floor` of this executable.
///
/// # Errors
/// See [`Launch::start`].
pub fn start_floor(torrent: &TestTorrent, launch: &Launch, blocks: usize) -> io::Result<Running> {
    launch.start(Seeder::Floor.name(), torrent, |port, _| {
        let program = std::env::current_exe()?.into_os_string();
        let (length, port) = (torrent.piece_length.to_string(), port.to_string());
        let gather = format!("--gather={blocks}");
        let words = ["floor".into(), torrent.file().into(), length.into(), port.into(), gather.into()];
        Ok([program].into_iter().chain(words).collect())
    })
}
