//! Newtypes for what is counted and named: pieces, blocks, peer ids and time.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

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
