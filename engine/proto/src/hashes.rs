//! What a torrent is called: its info-hashes, the 20 bytes that say them to others, and its name in this program.

use sha1::{Digest, Sha1};
use std::fmt;
use std::str::FromStr;

/// The info-hashes of a torrent: SHA-1 of its `info` dictionary (BEP 3), SHA-256 of it (BEP 52), or both for a hybrid.
/// There is always one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InfoHashes {
    v1: Option<[u8; 20]>,
    v2: Option<[u8; 32]>,
}

impl InfoHashes {
    /// These hashes; `None` when there is none.
    pub fn new(v1: Option<[u8; 20]>, v2: Option<[u8; 32]>) -> Option<InfoHashes> {
        (v1.is_some() || v2.is_some()).then_some(InfoHashes { v1, v2 })
    }

    /// The hash of a version 1 torrent.
    pub fn from_v1(v1: [u8; 20]) -> InfoHashes {
        InfoHashes { v1: Some(v1), v2: None }
    }

    /// The hash of the exact bytes of a version 1 `info` dictionary.
    pub fn of_v1(info_bytes: &[u8]) -> InfoHashes {
        InfoHashes::from_v1(Sha1::digest(info_bytes).into())
    }

    /// SHA-1 of the `info` dictionary (BEP 3).
    pub fn v1(&self) -> Option<[u8; 20]> {
        self.v1
    }

    /// SHA-256 of the `info` dictionary (BEP 52).
    pub fn v2(&self) -> Option<[u8; 32]> {
        self.v2
    }

    /// What the torrent is called in this program.
    pub fn id(&self) -> TorrentId {
        TorrentId(self.swarm_hash().0)
    }

    /// The hash that is said first: that of version 1 where there is one, which every client knows.
    pub fn swarm_hash(&self) -> SwarmHash {
        self.swarm_hashes().next().unwrap_or_default()
    }

    /// The one hash or the two hashes by which others name the torrent, that of version 1 first.
    pub fn swarm_hashes(&self) -> impl Iterator<Item = SwarmHash> + use<> {
        let v1 = self.v1.map(SwarmHash);
        let v2 = self.v2.as_ref().and_then(|hash| hash.first_chunk()).copied().map(SwarmHash);
        v1.into_iter().chain(v2)
    }
}

/// An info-hash as handshakes, trackers, the DHT, LSD and MSE say it: that of version 1, or the first 20 bytes of that
/// of version 2 (BEP 52). A hybrid has two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SwarmHash(pub [u8; 20]);

/// What a torrent is called by the session, the resume store and the APIs. A torrent has one, whatever its version: the
/// 20 bytes of its first [`SwarmHash`]. It is shown as 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TorrentId(pub [u8; 20]);

/// A text that is not an info-hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an info-hash is 40 hexadecimal digits or 32 base32 characters")]
pub struct InvalidHash;

/// Writes 40 lower-case hexadecimal digits.
fn write_hex(hash: &[u8; 20], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0u8; 40];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = hex_digit(byte >> 4);
        pair[1] = hex_digit(byte & 15);
    }
    f.pad(std::str::from_utf8(&text).unwrap_or_default())
}

/// Reads 40 hexadecimal digits or 32 base32 characters (RFC 4648), in either case.
fn read_text(text: &str) -> Result<[u8; 20], InvalidHash> {
    let bytes = text.as_bytes();
    let mut hash = [0u8; 20];
    match bytes.len() {
        40 => {
            for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
                let high = hex_value(pair[0]).ok_or(InvalidHash)?;
                let low = hex_value(pair[1]).ok_or(InvalidHash)?;
                *byte = high << 4 | low;
            }
        }
        32 => {
            // 8 characters of 5 bits are 5 bytes.
            for (group, text) in hash.chunks_exact_mut(5).zip(bytes.chunks_exact(8)) {
                let mut bits = 0u64;
                for &character in text {
                    bits = bits << 5 | u64::from(base32_value(character).ok_or(InvalidHash)?);
                }
                group.copy_from_slice(&bits.to_be_bytes()[3..]);
            }
        }
        _ => return Err(InvalidHash),
    }
    Ok(hash)
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            /// 40 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidHash;

            /// Reads 40 hexadecimal digits or 32 base32 characters (RFC 4648), in either case.
            fn from_str(text: &str) -> Result<$name, InvalidHash> {
                read_text(text).map($name)
            }
        }
    };
}

as_text!(SwarmHash);
as_text!(TorrentId);

/// The digit of a value below 16, lower case.
fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

/// The value of a hexadecimal digit in either case.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn base32_value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a'),
        b'2'..=b'7' => Some(character - b'2' + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "aabbccddeeff00112233445566778899deadbeef";

    #[test]
    fn hex_is_read_in_either_case_and_written_lower() {
        let hash: SwarmHash = HASH.parse().unwrap();
        assert_eq!(hash.0[0], 0xaa);
        assert_eq!(hash.0[19], 0xef);
        assert_eq!(hash.to_string(), HASH);
        assert_eq!(HASH.to_uppercase().parse::<SwarmHash>().unwrap(), hash);
    }

    #[test]
    fn base32_is_read() {
        // RFC 4648: "foobar" repeated is MZXW6YTB OI..; 20 bytes "fooba" x 4 are MZXW6YTB x 4.
        let hash: SwarmHash = "MZXW6YTB".repeat(4).parse().unwrap();
        assert_eq!(&hash.0, b"foobafoobafoobafooba");
        assert_eq!("mzxw6ytb".repeat(4).parse::<SwarmHash>().unwrap(), hash);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "aa", &HASH[1..], &format!("{HASH}0"), &HASH.replace('a', "g"), &"1".repeat(32)] {
            assert_eq!(text.parse::<TorrentId>(), Err(InvalidHash), "{text}");
        }
        assert!("é".repeat(20).parse::<SwarmHash>().is_err());
    }

    #[test]
    fn a_version_1_torrent_has_one_swarm_hash_and_its_id_is_the_same_digits() {
        let hashes = InfoHashes::of_v1(b"abc");
        assert_eq!(hashes.id().to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hashes.swarm_hashes().collect::<Vec<_>>(), [SwarmHash(hashes.v1().unwrap())]);
    }

    #[test]
    fn a_hybrid_has_two_swarm_hashes_and_the_id_of_version_1() {
        let mut v2 = [2; 32];
        v2[20..].fill(9);
        let hybrid = InfoHashes::new(Some([1; 20]), Some(v2)).unwrap();
        assert_eq!(hybrid.swarm_hashes().collect::<Vec<_>>(), [SwarmHash([1; 20]), SwarmHash([2; 20])]);
        assert_eq!(hybrid.id(), TorrentId([1; 20]));
        let v2_only = InfoHashes::new(None, Some(v2)).unwrap();
        assert_eq!((v2_only.id(), v2_only.swarm_hash()), (TorrentId([2; 20]), SwarmHash([2; 20])));
        assert_eq!(InfoHashes::new(None, None), None);
    }
}
