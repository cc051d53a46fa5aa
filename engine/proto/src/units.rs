//! Newtypes for what is counted and named: pieces, blocks, hashes, peer ids and time.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use sha1::{Digest, Sha1};

/// Length of a block in bytes; only the last block of a piece may be shorter. Every client requests 16 KiB.
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Index of a piece in its torrent, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PieceIndex(pub u32);

impl fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "piece {}", self.0)
    }
}

impl fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of bytes inside one piece, as `request`, `piece` and `cancel` name it (BEP 3).
///
/// The type promises nothing about the range: `Layout::contains` says whether it lies in the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// First byte inside the piece.
    pub begin: u32,
    /// Length in bytes.
    pub length: u32,
}

impl Block {
    /// One past the last byte inside the piece; 64 bits, for a peer may name any two numbers.
    pub fn end(&self) -> u64 {
        u64::from(self.begin) + u64::from(self.length)
    }
}

/// SHA-1 of a torrent's `info` dictionary: the torrent's name on the network (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// The hash of the exact bytes of an `info` dictionary.
    pub fn of(info_bytes: &[u8]) -> InfoHash {
        InfoHash(Sha1::digest(info_bytes).into())
    }
}

impl fmt::Display for InfoHash {
    /// 40 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 40];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = hex_digit(byte >> 4);
            pair[1] = hex_digit(byte & 15);
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an info-hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an info-hash is 40 hexadecimal digits or 32 base32 characters")]
pub struct InvalidInfoHash;

impl FromStr for InfoHash {
    type Err = InvalidInfoHash;

    /// Reads 40 hexadecimal digits or 32 base32 characters (RFC 4648), in either case.
    fn from_str(text: &str) -> Result<InfoHash, InvalidInfoHash> {
        let bytes = text.as_bytes();
        let mut hash = [0u8; 20];
        match bytes.len() {
            40 => {
                for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
                    let high = hex_value(pair[0]).ok_or(InvalidInfoHash)?;
                    let low = hex_value(pair[1]).ok_or(InvalidInfoHash)?;
                    *byte = high << 4 | low;
                }
            }
            32 => {
                // 8 characters of 5 bits are 5 bytes.
                for (group, text) in hash.chunks_exact_mut(5).zip(bytes.chunks_exact(8)) {
                    let mut bits = 0u64;
                    for &character in text {
                        bits = bits << 5 | u64::from(base32_value(character).ok_or(InvalidInfoHash)?);
                    }
                    group.copy_from_slice(&bits.to_be_bytes()[3..]);
                }
            }
            _ => return Err(InvalidInfoHash),
        }
        Ok(InfoHash(hash))
    }
}

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

/// The 20 bytes by which a peer names itself (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Display for PeerId {
    /// Printable ASCII as it is, every other byte as `%xx`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'%' => f.write_str("%25")?,
                b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A moment: microseconds since an epoch that the caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The caller's epoch.
    pub const ZERO: Time = Time(0);
    /// Later than every other moment.
    pub const MAX: Time = Time(u64::MAX);

    /// The moment this long after the epoch.
    pub fn after_epoch(duration: Duration) -> Time {
        Time::ZERO + duration
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole microseconds since the epoch.
    pub fn micros(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at [`Time::MAX`].
    fn add(self, duration: Duration) -> Time {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "aabbccddeeff00112233445566778899deadbeef";

    #[test]
    fn info_hash_reads_hex_in_either_case_and_writes_lower() {
        let hash: InfoHash = HASH.parse().unwrap();
        assert_eq!(hash.0[0], 0xaa);
        assert_eq!(hash.0[19], 0xef);
        assert_eq!(hash.to_string(), HASH);
        assert_eq!(HASH.to_uppercase().parse::<InfoHash>().unwrap(), hash);
    }

    #[test]
    fn info_hash_reads_base32() {
        // RFC 4648: "foobar" repeated is MZXW6YTB OI..; 20 bytes "fooba" x 4 are MZXW6YTB x 4.
        let hash: InfoHash = "MZXW6YTB".repeat(4).parse().unwrap();
        assert_eq!(&hash.0, b"foobafoobafoobafooba");
        assert_eq!("mzxw6ytb".repeat(4).parse::<InfoHash>().unwrap(), hash);
    }

    #[test]
    fn info_hash_refuses_other_texts() {
        for text in ["", "aa", &HASH[1..], &format!("{HASH}0"), &HASH.replace('a', "g"), &"1".repeat(32)] {
            assert_eq!(text.parse::<InfoHash>(), Err(InvalidInfoHash), "{text}");
        }
        assert!("é".repeat(20).parse::<InfoHash>().is_err());
    }

    #[test]
    fn info_hash_is_sha1() {
        assert_eq!(InfoHash::of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn peer_id_prints_unprintable_bytes_escaped() {
        let mut id = *b"-RS0001-abc%efghijkl";
        id[19] = 0;
        assert_eq!(PeerId(id).to_string(), "-RS0001-abc%25efghijk%00");
    }

    #[test]
    fn time_saturates() {
        let second = Time::ZERO + Duration::from_secs(1);
        assert_eq!(second.micros(), 1_000_000);
        assert_eq!(second.saturating_since(Time::ZERO), Duration::from_secs(1));
        assert_eq!(Time::ZERO.saturating_since(second), Duration::ZERO);
        assert_eq!(second + Duration::MAX, Time::MAX);
    }

    #[test]
    fn block_end_does_not_overflow() {
        let block = Block { piece: PieceIndex(0), begin: u32::MAX, length: u32::MAX };
        assert_eq!(block.end(), 2 * u64::from(u32::MAX));
    }
}
