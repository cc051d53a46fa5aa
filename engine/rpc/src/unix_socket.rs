//! The Unix socket of the RPC: only its owner may use it, and it goes with the engine.

use std::fs::{Permissions, hard_link, remove_file, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of a socket that is listened on. Dropping this removes it, unless another engine has taken it over.
#[derive(Debug)]
pub struct UnixSocket {
    path: PathBuf,
    /// Which file it is.
    id: Id,
}

/// Why the RPC cannot listen at a path.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for RPC on {}: {error}", .path.display())]
pub struct SocketError {
    path: PathBuf,
    error: io::Error,
}

/// Device, inode and time of change: an inode's number is soon given to another file.
type Id = (u64, u64, i64, i64);

fn id(path: &Path) -> io::Result<Id> {
    let found = symlink_metadata(path)?;
    Ok((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

impl UnixSocket {
    /// Listens at `path`. A socket that nobody listens on any more is replaced: one that was killed leaves it.
    ///
    /// # Errors
    /// When something else is there, or it cannot be made.
    pub fn bind(path: &Path) -> Result<(UnixListener, UnixSocket), SocketError> {
        let failed = |error: io::Error| SocketError { path: path.to_path_buf(), error };
        let is_socket = symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket
            && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            remove_file(path).map_err(failed)?;
        }
        // It gets its name once nobody else can use it.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        let named =
            set_permissions(&hidden, Permissions::from_mode(0o600)).and_then(|()| hard_link(&hidden, path));
        let _ = remove_file(&hidden);
        named.and_then(|()| listener.set_nonblocking(true)).map_err(failed)?;
        // After the last change of it.
        let id = id(path).map_err(failed)?;
        Ok((listener, UnixSocket { path: path.into(), id }))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|found| found == self.id) {
            let _ = remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_goes_with_its_owner_and_no_sooner_than_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rpc.sock");
        let (listener, socket) = UnixSocket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        assert!(UnixSocket::bind(&path).is_err(), "somebody listens on it");
        drop((listener, socket));
        assert!(!path.exists());
        // What a kill leaves is replaced, and the late end of the one before does not take the new one away.
        let (dead, old) = UnixSocket::bind(&path).unwrap();
        drop(dead);
        let (_listener, _new) = UnixSocket::bind(&path).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
