//! One window per user: a second start hands its torrents to the first and ends.
//!
//! The first holds a lock on a file and listens on a Unix socket beside it. A request is one line of JSON, the
//! answer is `ok`. The lock, not the socket, says who is first: it goes away with its process, however that ends.

use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest request: some thousand paths.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Time that a started window has to listen, and a request to be sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a second start hands over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Torrent files by absolute path, and links.
    pub torrents: Vec<String>,
}

/// Who this process is.
#[derive(Debug)]
pub enum Instance {
    /// The first; it listens until this is dropped.
    First(First),
    /// Another one runs, and took what was handed over.
    Second,
}

/// The first window's lock and socket.
#[derive(Debug)]
pub struct First {
    listener: UnixListener,
    _lock: File,
}

/// Becomes the first, or hands `torrents` to the first. Paths must be absolute already: the other process has
/// another current directory.
///
/// # Errors
/// `directory` cannot be used, or the first does not answer.
pub fn enter(directory: &Path, torrents: &[String]) -> io::Result<Instance> {
    private_directory(directory)?;
    let socket = directory.join("gui.sock");
    let start = Instant::now();
    loop {
        let lock =
            File::options().create(true).truncate(false).write(true).open(directory.join("gui.lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                // What is left of a process that was killed.
                let _ = std::fs::remove_file(&socket);
                let listener = UnixListener::bind(&socket)?;
                return Ok(Instance::First(First { listener, _lock: lock }));
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        match hand_over(&socket, torrents) {
            Ok(()) => return Ok(Instance::Second),
            // It has only just started, or is about to end.
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error),
        }
    }
}

impl First {
    /// Listens on a thread of its own, and calls `take` with what others hand over.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn listen(self, take: impl Fn(HandOver) + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new().name("other windows".to_owned()).spawn(move || {
            // All of it moves here, the lock too: whoever holds that is the first.
            let first = self;
            // One at a time: whoever is slow is waited for only so long.
            for stream in first.listener.incoming().flatten() {
                match receive(&stream) {
                    Ok(handed) => {
                        take(handed);
                        // The other end may be gone; what it handed over is here.
                        let _ = (&stream).write_all(b"ok\n");
                    }
                    Err(error) => tracing::warn!(%error, "a request of another window is not understood"),
                }
            }
        })?;
        Ok(())
    }
}

fn receive(stream: &UnixStream) -> io::Result<HandOver> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn hand_over(socket: &Path, torrents: &[String]) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&HandOver { torrents: torrents.to_vec() })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(16)).read_line(&mut answer)?;
    if answer == "ok\n" { Ok(()) } else { Err(io::Error::other("the window that runs does not answer")) }
}

/// Makes a directory that nobody else can enter, or checks that it is one.
fn private_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = std::fs::symlink_metadata(path)?;
    let own = rustix::process::getuid().as_raw();
    if metadata.is_dir() && metadata.uid() == own && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} can be entered by others", path.display())))
}

/// `$XDG_RUNTIME_DIR/ringseed-gui`, or a directory of this user in `/tmp`.
pub fn default_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("ringseed-gui"),
        None => std::env::temp_dir().join(format!("ringseed-gui-{}", rustix::process::getuid().as_raw())),
    }
}

/// Torrents of a command line with paths made absolute; links stay as they are.
pub fn absolute(torrents: &[String]) -> Vec<String> {
    let one = |torrent: &String| match torrent.split_once(':') {
        Some((scheme, _))
            if ["magnet", "http", "https", "file"].contains(&scheme.to_ascii_lowercase().as_str()) =>
        {
            torrent.clone()
        }
        _ => std::path::absolute(torrent)
            .map_or_else(|_| torrent.clone(), |path| path.to_string_lossy().into_owned()),
    };
    torrents.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn first(directory: &Path) -> First {
        match enter(directory, &[]).unwrap() {
            Instance::First(first) => first,
            Instance::Second => panic!("nobody was there"),
        }
    }

    #[test]
    fn the_second_hands_its_torrents_to_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        let (sender, receiver) = mpsc::channel();
        first(&own).listen(move |handed| sender.send(handed).unwrap()).unwrap();
        let torrents = vec!["/a b.torrent".to_owned(), "magnet:?x".to_owned()];
        assert!(matches!(enter(&own, &torrents).unwrap(), Instance::Second));
        assert_eq!(receiver.recv().unwrap(), HandOver { torrents });
    }

    #[test]
    fn what_a_killed_window_leaves_behind_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        // The socket file stays, the lock goes.
        drop(first(&own));
        assert!(own.join("gui.sock").exists());
        drop(first(&own));
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        std::fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(enter(&open, &[]).is_err());
    }

    #[test]
    fn nonsense_does_not_end_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        let (sender, receiver) = mpsc::channel();
        first(&own).listen(move |handed| sender.send(handed).unwrap()).unwrap();
        UnixStream::connect(own.join("gui.sock")).unwrap().write_all(b"nonsense\n").unwrap();
        enter(&own, &["x".to_owned()]).unwrap();
        assert_eq!(receiver.recv().unwrap().torrents, ["x"]);
    }

    #[test]
    fn paths_become_absolute_and_links_stay() {
        let torrents = absolute(&["a.torrent".to_owned(), "Magnet:?x".to_owned(), "/b".to_owned()]);
        assert!(torrents[0].starts_with('/') && torrents[0].ends_with("/a.torrent"));
        assert_eq!(torrents[1..], ["Magnet:?x", "/b"]);
    }
}
