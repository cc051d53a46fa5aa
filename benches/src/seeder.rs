//! The seeders under measurement: the bare ring sender of this crate, and those that the load generator starts.

use std::io;

use clap::ValueEnum;
use ringseed_loadtest::seeder::Maker;
pub use ringseed_loadtest::seeder::{Launch, Running, offers_everything};
use serde::Serialize;

use crate::data::TestTorrent;

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
        let Some(maker) = self.maker() else {
            return launch.start(self.name(), torrent, |port, _| {
                let program = std::env::current_exe()?.into_os_string();
                let length = torrent.piece_length.to_string().into();
                Ok(vec![program, "floor".into(), torrent.file().into(), length, port.to_string().into()])
            });
        };
        maker.start(torrent, launch)
    }
}
