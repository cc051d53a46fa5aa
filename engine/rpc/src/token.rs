//! The token that lets clients in that have no name and password: random, in a file that only its owner reads.

use super::gate::new_session_id;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the file in the state directory.
pub const TOKEN_FILE: &str = "rpc-token";
/// Most bytes of it that are read.
const TOKEN_BYTES_MAX: u64 = 4096;
/// Fewest characters of one that somebody else chose: a shorter one could be guessed.
const SHARED_CHARS_MIN: usize = 16;

/// The token in a file that somebody else wrote and gives to clients, too.
///
/// # Errors
/// When it cannot be read or is too short; the text names the file.
pub fn shared_token(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("cannot read the token in {}: {error}", path.display()))?;
    let token = text.trim();
    match token.chars().count() {
        SHARED_CHARS_MIN.. => Ok(token.to_owned()),
        _ => Err(format!(
            "the token in {} is shorter than {SHARED_CHARS_MIN} characters; make one with `openssl rand -hex 32`",
            path.display()
        )),
    }
}

/// The token of a state directory, made when there is none.
///
/// # Errors
/// When it can neither be read nor made.
pub fn token(state_dir: &Path) -> io::Result<String> {
    std::fs::create_dir_all(state_dir)?;
    let path = state_dir.join(TOKEN_FILE);
    match std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let token = new_session_id()?;
            writeln!(file, "{token}").and_then(|()| file.sync_all())?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut text = String::new();
            std::fs::File::open(&path)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
            let token = text.trim().to_owned();
            match token.len() {
                // A kill may have come between making and writing it.
                0 => {
                    std::fs::remove_file(&path)?;
                    self::token(state_dir)
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
        assert!(shared_token(&path).unwrap_err().contains(&path.display().to_string()));
        std::fs::write(&path, "short\n").unwrap();
        assert!(shared_token(&path).unwrap_err().contains("openssl rand"));
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
