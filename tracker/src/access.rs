//! Who may announce what: lists of info-hashes and announce keys, read from files and replaced while serving.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use arc_swap::ArcSwap;
use ringseed_proto::hashes::SwarmHash;

use crate::limits::{KEY_BYTES_MAX, LIST_BYTES_MAX};

/// The files that say who may announce what. Each has one entry a line; `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Only these info-hashes, in hexadecimal digits, are served.
    pub allow: Option<PathBuf>,
    /// These info-hashes are not served, even if they are allowed.
    pub deny: Option<PathBuf>,
    /// Announces and scrapes must carry one of these keys in their path: `/KEY/announce`. A key is up to 64
    /// letters, digits, `-` and `_`.
    pub keys: Option<PathBuf>,
}

/// Why a list cannot be used. The text names the file, and the line where it is about one.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("cannot read the list {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// It is longer than [`LIST_BYTES_MAX`].
    #[error("the list {0} is longer than {LIST_BYTES_MAX} bytes")]
    TooLong(PathBuf),
    /// A line is no entry.
    #[error("line {1} of the list {0} is not {2}")]
    Line(PathBuf, usize, &'static str),
}

/// Why a request is refused. The text is sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The torrent is not on the allow-list, or is on the deny-list.
    #[error("this tracker does not serve this torrent")]
    Torrent,
    /// The path has no key, or one that is not known.
    #[error("this tracker needs a valid announce key")]
    Key,
}

/// What the files said when they were read last.
#[derive(Debug, Default)]
struct Lists {
    allow: Option<HashSet<SwarmHash>>,
    deny: HashSet<SwarmHash>,
    keys: Option<HashSet<Vec<u8>>>,
}

/// The lists, for all threads. Reading them takes no lock; new ones take their place at once.
pub(crate) struct Access {
    config: AccessConfig,
    lists: ArcSwap<Lists>,
    seen: Mutex<Option<[Option<Stamp>; 3]>>,
    is_open: bool,
}

/// What changes about a file when it is written or replaced.
type Stamp = (u64, u64, i64, i64);

impl Access {
    /// Reads the lists.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(crate) fn new(config: AccessConfig) -> Result<Access, ListError> {
        let stamps = stamps(&config);
        let lists = read(&config)?;
        let is_open = config == AccessConfig::default();
        Ok(Access { config, lists: ArcSwap::from_pointee(lists), seen: Mutex::new(Some(stamps)), is_open })
    }

    /// Reads the lists again, if `always` or when a file changed. True if they were replaced.
    ///
    /// # Errors
    /// When one cannot be used; then the lists stay as they were until the file changes again.
    pub(crate) fn reload(&self, always: bool) -> Result<bool, ListError> {
        if self.is_open {
            return Ok(false);
        }
        // Before reading: what is written meanwhile is seen as a change next time.
        let now = stamps(&self.config);
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !always && *seen == Some(now) {
            return Ok(false);
        }
        *seen = Some(now);
        self.lists.store(read(&self.config)?.into());
        Ok(true)
    }

    /// Whether a torrent may be announced by who gave this path: `/announce` or `/KEY/announce`.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check(&self, path: &[u8], info_hash: &SwarmHash) -> Result<(), Denied> {
        if self.is_open {
            return Ok(());
        }
        let lists = self.lists.load();
        if lists.keys.as_ref().is_some_and(|keys| !key_of(path).is_some_and(|key| keys.contains(key))) {
            return Err(Denied::Key);
        }
        let allowed = lists.allow.as_ref().is_none_or(|allow| allow.contains(info_hash));
        if allowed && !lists.deny.contains(info_hash) { Ok(()) } else { Err(Denied::Torrent) }
    }

    /// Whether who gave this path may scrape.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_key(&self, path: &[u8]) -> Result<(), Denied> {
        if self.is_open {
            return Ok(());
        }
        match &self.lists.load().keys {
            Some(keys) if !key_of(path).is_some_and(|key| keys.contains(key)) => Err(Denied::Key),
            _ => Ok(()),
        }
    }
}

/// The key in `/KEY/announce` or `/KEY/scrape`, with or without a query.
fn key_of(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"/")?;
    let end = path.iter().position(|&byte| byte == b'/')?;
    Some(&path[..end])
}

fn stamps(config: &AccessConfig) -> [Option<Stamp>; 3] {
    [&config.allow, &config.deny, &config.keys].map(|path| {
        let about = fs::metadata(path.as_ref()?).ok()?;
        Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
    })
}

fn read(config: &AccessConfig) -> Result<Lists, ListError> {
    let hashes = |path: &PathBuf| entries(path, "an info-hash of 40 hexadecimal digits", hash);
    Ok(Lists {
        allow: config.allow.as_ref().map(hashes).transpose()?,
        deny: config.deny.as_ref().map(hashes).transpose()?.unwrap_or_default(),
        keys: config.keys.as_ref().map(|path| entries(path, "a key", key)).transpose()?,
    })
}

fn entries<T: Eq + std::hash::Hash>(
    path: &Path,
    what: &'static str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<HashSet<T>, ListError> {
    let fail = |error| ListError::Read(path.to_owned(), error);
    let mut text = Vec::new();
    File::open(path).map_err(fail)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut text).map_err(fail)?;
    if text.len() as u64 > LIST_BYTES_MAX {
        return Err(ListError::TooLong(path.to_owned()));
    }
    let mut entries = HashSet::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            entries.insert(parse(line).ok_or_else(|| ListError::Line(path.to_owned(), number + 1, what))?);
        }
    }
    Ok(entries)
}

fn hash(text: &[u8]) -> Option<SwarmHash> {
    let (digits, rest) = text.as_chunks::<2>();
    let mut hash = [0; 20];
    if digits.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, [high, low]) in hash.iter_mut().zip(digits) {
        *byte = u8::try_from(value(*high)? << 4 | value(*low)?).ok()?;
    }
    Some(SwarmHash(hash))
}

fn key(text: &[u8]) -> Option<Vec<u8>> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (text.len() <= KEY_BYTES_MAX && text.iter().all(fits)).then(|| text.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: SwarmHash = SwarmHash([0xab; 20]);
    const OTHER: SwarmHash = SwarmHash([0x12; 20]);

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            Files(tempfile::tempdir().unwrap())
        }

        /// By replacing, as an editor does: another inode each time.
        fn write(&self, name: &str, text: &str) -> Option<PathBuf> {
            let path = self.0.path().join(name);
            fs::write(path.with_extension("new"), text).unwrap();
            fs::rename(path.with_extension("new"), &path).unwrap();
            Some(path)
        }
    }

    fn hex(hash: SwarmHash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    #[test]
    fn without_files_everything_is_allowed() {
        let access = Access::new(AccessConfig::default()).unwrap();
        assert_eq!(access.check(b"/announce", &HASH), Ok(()));
        assert_eq!(access.check_key(b""), Ok(()));
        assert!(!access.reload(true).unwrap());
    }

    #[test]
    fn deny_wins_over_allow_and_changes_are_seen() {
        let files = Files::new();
        let allow = files.write("allow", &format!("# ours\n\n {} # the first\r\n", hex(HASH)));
        let deny = files.write("deny", "");
        let access = Access::new(AccessConfig { allow, deny, keys: None }).unwrap();
        assert_eq!(access.check(b"/announce", &HASH), Ok(()));
        assert_eq!(access.check(b"/announce", &OTHER), Err(Denied::Torrent));
        assert!(!access.reload(false).unwrap(), "nothing changed");
        files.write("allow", &format!("{}\n{}", hex(HASH).to_lowercase(), hex(OTHER)));
        files.write("deny", &hex(HASH));
        assert!(access.reload(false).unwrap());
        assert_eq!(access.check(b"/announce", &HASH), Err(Denied::Torrent));
        assert_eq!(access.check(b"/announce", &OTHER), Ok(()));
    }

    #[test]
    fn a_broken_list_keeps_the_old_one() {
        let files = Files::new();
        let allow = files.write("allow", &hex(HASH));
        let access = Access::new(AccessConfig { allow, ..AccessConfig::default() }).unwrap();
        files.write("allow", &format!("{}\nnonsense", hex(OTHER)));
        let error = access.reload(false).unwrap_err();
        assert!(error.to_string().starts_with("line 2 of the list"), "{error}");
        assert_eq!(access.check(b"/announce", &HASH), Ok(()));
        assert!(!access.reload(false).unwrap(), "it complains once, not every time");
        fs::remove_file(files.0.path().join("allow")).unwrap();
        assert!(matches!(access.reload(false), Err(ListError::Read(..))));
        assert_eq!(access.check(b"/announce", &HASH), Ok(()));
    }

    #[test]
    fn keys_are_in_the_path() {
        let files = Files::new();
        let keys = files.write("keys", "abc-1_Z\nother\n");
        let access = Access::new(AccessConfig { keys, ..AccessConfig::default() }).unwrap();
        for path in ["/abc-1_Z/announce", "/other/announce?x=y", "/abc-1_Z/scrape"] {
            assert_eq!(access.check(path.as_bytes(), &HASH), Ok(()), "{path}");
            assert_eq!(access.check_key(path.as_bytes()), Ok(()), "{path}");
        }
        for path in
            ["", "/", "/announce", "//announce", "/ABC-1_Z/announce", "/abc/announce", "abc-1_Z/announce"]
        {
            assert_eq!(access.check(path.as_bytes(), &HASH), Err(Denied::Key), "{path}");
            assert_eq!(access.check_key(path.as_bytes()), Err(Denied::Key), "{path}");
        }
    }

    #[test]
    fn lines_that_are_no_entries_are_named() {
        let files = Files::new();
        for (keys, text) in
            [(true, "a/b"), (true, &*"x".repeat(65)), (false, "zz"), (false, &*"a".repeat(41))]
        {
            let list = files.write("list", text);
            let config = match keys {
                true => AccessConfig { keys: list, ..AccessConfig::default() },
                false => AccessConfig { deny: list, ..AccessConfig::default() },
            };
            assert!(matches!(Access::new(config), Err(ListError::Line(_, 1, _))), "{text}");
        }
    }
}
