//! What the window asks of the engine.

use crate::endpoint::Endpoint;
use ringseed_api::{AddArgs, SessionSetArgs, SetArgs};
use std::path::PathBuf;

/// A request of the window.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Talk to this engine from now on.
    Connect(Endpoint),
    /// Try again now instead of waiting.
    Retry,
    /// Add a torrent file of this machine.
    AddFile {
        /// The file.
        path: PathBuf,
        /// How to add it; `metainfo` is filled in from the file.
        args: Box<AddArgs>,
    },
    /// Add a magnet link or a URL.
    AddLink(Box<AddArgs>),
    /// Start.
    Start(Vec<u32>),
    /// Pause.
    Stop(Vec<u32>),
    /// Compare the files with their torrent.
    Verify(Vec<u32>),
    /// Ask the trackers for peers.
    Reannounce(Vec<u32>),
    /// Remove from the engine.
    Remove {
        /// Which.
        ids: Vec<u32>,
        /// Delete the files, too.
        delete_data: bool,
    },
    /// Move in the queue: `top`, `up`, `down` or `bottom`.
    Queue(Vec<u32>, &'static str),
    /// Move the files of torrents below another directory of the engine's machine.
    Relocate(Vec<u32>, String),
    /// Give a torrent another name, and its file or folder with it.
    Rename {
        /// Which.
        id: u32,
        /// The name it has.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// Change torrents.
    Set(Vec<u32>, Box<SetArgs>),
    /// Change the engine's settings.
    SetSession(Box<SessionSetArgs>),
    /// Tell everything about this torrent from now on, or about none.
    Watch(Option<u32>),
    /// Stop the engine.
    Shutdown,
}

impl Command {
    /// What the window says when it did not work: `Could not <...>: reason`.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Connect(_) | Command::Retry => "connect",
            Command::AddFile { .. } => "add the torrent file",
            Command::AddLink(_) => "add the link",
            Command::Start(_) => "start",
            Command::Stop(_) => "pause",
            Command::Verify(_) => "verify",
            Command::Reannounce(_) => "ask the trackers",
            Command::Remove { .. } => "remove",
            Command::Queue(..) => "move in the queue",
            Command::Relocate(..) => "move the files",
            Command::Rename { .. } => "rename",
            Command::Set(..) => "change the torrent",
            Command::SetSession(_) => "change the settings",
            Command::Watch(_) => "read the details",
            Command::Shutdown => "stop the engine",
        }
    }
}
