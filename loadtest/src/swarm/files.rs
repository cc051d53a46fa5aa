//! The bytes of a run: compared, and filled up with.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// Bytes that this user can still write below `dir`.
///
/// # Errors
/// What the system says.
pub(super) fn room(dir: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: all-zero is a valid `statvfs`.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and the structure is writable and of the size the call expects.
    if unsafe { libc::statvfs(path.as_ptr(), &mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Writes until there is no room.
pub(super) fn fill_disk(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let chunk = vec![0xa5; 1 << 20];
    // Large steps first, then what is left of the last one.
    for length in [chunk.len(), 4096] {
        loop {
            match file.write_all(&chunk[..length]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Whether two files have the same bytes; the first place where they differ otherwise.
///
/// # Errors
/// One of them cannot be read.
pub(crate) fn same_bytes(expected: &Path, actual: &Path) -> io::Result<Option<u64>> {
    let (mut expected, mut actual) = (File::open(expected)?, File::open(actual)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let (n, m) = (read_full(&mut expected, &mut left)?, read_full(&mut actual, &mut right)?);
        if left[..n] != right[..m] {
            let differs = left[..n].iter().zip(&right[..m]).position(|(a, b)| a != b);
            return Ok(Some(at + differs.unwrap_or(n.min(m)) as u64));
        }
        if n == 0 {
            return Ok(None);
        }
        at += n as u64;
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn room_is_known() {
        assert!(room(&std::env::temp_dir()).unwrap() > 0);
        assert!(room(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn files_are_compared_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let mut bytes = vec![7; (2 << 20) + 5];
        fs::write(&a, &bytes).unwrap();
        fs::write(&b, &bytes).unwrap();
        assert_eq!(same_bytes(&a, &b).unwrap(), None);
        bytes[(1 << 20) + 3] = 8;
        fs::write(&b, &bytes).unwrap();
        assert_eq!(same_bytes(&a, &b).unwrap(), Some((1 << 20) + 3));
        fs::write(&b, &bytes[..100]).unwrap();
        assert_eq!(same_bytes(&a, &b).unwrap(), Some(100));
        assert!(same_bytes(&a, &dir.path().join("c")).is_err());
    }
}
