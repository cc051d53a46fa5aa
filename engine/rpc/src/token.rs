//! The token that lets clients in that have no name and password: random, in a file that only its owner reads.

use super::gate::new_session_id;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file in the state directory.
pub const TOKEN_FILE: &str = "rpc-token";
/// Most bytes of it that are read.
const TOKEN_BYTES_MAX: u64 = 4096;
/// Fewest characters of one that somebody else chose: a shorter one could be guessed.
const SHARED_CHARS_MIN: usize = 16;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file that somebody else wrote cannot be read.
    #[error("cannot read the token in {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It could be guessed.
    #[error(
        "the token in {} is shorter than {SHARED_CHARS_MIN} characters; make one with `openssl rand -hex 32`",
        .path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
    },
    /// The state directory has none, and none can be made.
    #[error("cannot make {}: {error}", .path.display())]
    NotMade {
        /// The file that was to be made.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// The token in a file that somebody else wrote and gives to clients, too.
///
/// # Errors
/// When it cannot be read or is too short.
pub fn shared_token(path: &Path) -> Result<String, TokenError> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| TokenError::Unreadable { path: path.to_path_buf(), error })?;
    let token = text.trim();
    match token.chars().count() {
        SHARED_CHARS_MIN.. => Ok(token.to_owned()),
        _ => Err(TokenError::TooShort { path: path.to_path_buf() }),
    }
}

/// The token of a state directory, made when there is none.
///
/// # Errors
/// When it can neither be read nor made.
pub fn token(state_dir: &Path) -> Result<String, TokenError> {
    let path = state_dir.join(TOKEN_FILE);
    read_or_make(state_dir, &path).map_err(|error| TokenError::NotMade { path, error })
}

fn read_or_make(state_dir: &Path, path: &Path) -> io::Result<String> {
    std::fs::create_dir_all(state_dir)?;
    match std::fs::File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let token = new_session_id()?;
            writeln!(file, "{token}").and_then(|()| file.sync_all())?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut text = String::new();
            std::fs::File::open(path)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
            let token = text.trim().to_owned();
            match token.len() {
                // A kill may have come between making and writing it.
                0 => {
                    std::fs::remove_file(path)?;
                    read_or_make(state_dir, path)
                }
                _ => Ok(token),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_token_is_read_and_not_too_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let unreadable = shared_token(&path).unwrap_err().to_string();
        assert!(unreadable.contains(&path.display().to_string()), "{unreadable}");
        std::fs::write(&path, "short\n").unwrap();
        assert!(matches!(shared_token(&path), Err(TokenError::TooShort { .. })));
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert_eq!(shared_token(&path).unwrap(), "0123456789abcdef");
    }
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_stays_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = token(dir.path()).unwrap();
        assert!(first.len() >= 32);
        assert_eq!(token(dir.path()).unwrap(), first);
        let path = dir.path().join(TOKEN_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "").unwrap();
        assert_ne!(token(dir.path()).unwrap(), first);
    }
}
