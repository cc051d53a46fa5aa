//! A set of small numbers as the bits of a byte string, the first in the highest bit (BEP 3).

use std::fmt;

/// A fixed number of bits, all clear at first. Usually one bit per piece.
///
/// Bits outside the length read as clear and cannot be set, so that an index from a peer never panics.
/// Spare bits of the last byte are always clear.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    len: u32,
    ones: u32,
}

/// Bytes that are not a bitfield of the wanted length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Too few or too many bytes.
    #[error("a bitfield of {expected} bytes was expected, not of {found}")]
    Length {
        /// Bytes needed for the wanted number of bits.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A bit after the last one is set.
    #[error("a spare bit of the bitfield is set")]
    SpareBit,
}

impl Bitfield {
    /// `len` clear bits.
    pub fn new(len: u32) -> Bitfield {
        Bitfield { bytes: vec![0; byte_count(len)].into(), len, ones: 0 }
    }

    /// `len` set bits.
    pub fn full(len: u32) -> Bitfield {
        let mut bytes = vec![0xff; byte_count(len)];
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_mask(len);
        }
        Bitfield { bytes: bytes.into(), len, ones: len }
    }

    /// Reads `len` bits from exactly as many bytes as they need.
    ///
    /// # Errors
    /// When the number of bytes differs or a spare bit is set.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Result<Bitfield, BitfieldError> {
        let expected = byte_count(len);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { expected, found: bytes.len() });
        }
        if bytes.last().is_some_and(|last| last & spare_mask(len) != 0) {
            return Err(BitfieldError::SpareBit);
        }
        let ones = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Bitfield { bytes: bytes.into(), len, ones })
    }

    /// The bits as they go on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all. See [`Bitfield::is_clear`] for "no bit is set".
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of set bits; constant time.
    pub fn count_ones(&self) -> u32 {
        self.ones
    }

    /// Whether every bit is set; constant time. A bitfield without bits is full.
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether no bit is set; constant time.
    pub fn is_clear(&self) -> bool {
        self.ones == 0
    }

    /// The bit; clear when `index` is outside.
    pub fn get(&self, index: u32) -> bool {
        index < self.len && self.bytes[(index / 8) as usize] & mask(index) != 0
    }

    /// Sets the bit; true when it was clear. Outside nothing happens.
    pub fn set(&mut self, index: u32) -> bool {
        let changed = index < self.len && !self.get(index);
        if changed {
            self.bytes[(index / 8) as usize] |= mask(index);
            self.ones += 1;
        }
        changed
    }

    /// Clears the bit; true when it was set. Outside nothing happens.
    pub fn clear(&mut self, index: u32) -> bool {
        let changed = self.get(index);
        if changed {
            self.bytes[(index / 8) as usize] &= !mask(index);
            self.ones -= 1;
        }
        changed
    }

    /// Indices of the set bits, ascending.
    pub fn iter_ones(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes.iter().zip(0u32..).flat_map(|(&byte, at)| {
            let mut rest = byte;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.leading_zeros();
                    rest &= !(0x80 >> bit);
                    at * 8 + bit
                })
            })
        })
    }

    /// Indices of the clear bits, ascending.
    pub fn iter_zeros(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|&index| !self.get(index))
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len)
    }
}

fn byte_count(len: u32) -> usize {
    len.div_ceil(8) as usize
}

fn mask(index: u32) -> u8 {
    0x80 >> (index % 8)
}

/// The bits of the last byte that lie after bit `len - 1`.
fn spare_mask(len: u32) -> u8 {
    match len % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bit_is_the_highest() {
        let mut bits = Bitfield::new(10);
        assert!(bits.set(0));
        assert!(bits.set(9));
        assert!(!bits.set(9));
        assert_eq!(bits.as_bytes(), [0x80, 0x40]);
        assert_eq!(bits.iter_ones().collect::<Vec<_>>(), [0, 9]);
        assert_eq!(bits.count_ones(), 2);
        assert!(bits.clear(0));
        assert!(!bits.clear(0));
        assert_eq!(bits.count_ones(), 1);
        assert_eq!(bits.iter_zeros().count(), 9);
    }

    #[test]
    fn full_has_no_spare_bits() {
        for len in 0..40 {
            let full = Bitfield::full(len);
            assert!(full.is_full());
            assert_eq!(Bitfield::from_bytes(len, full.as_bytes()), Ok(full.clone()));
            assert_eq!(full.iter_ones().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            let mut set = Bitfield::new(len);
            assert!(set.is_clear());
            (0..len).for_each(|index| assert!(set.set(index)));
            assert_eq!(set, full);
        }
    }

    #[test]
    fn outside_is_clear_and_stays_clear() {
        let mut bits = Bitfield::new(9);
        assert!(!bits.set(9));
        assert!(!bits.set(u32::MAX));
        assert!(!bits.get(15));
        assert!(!bits.clear(12));
        assert!(bits.is_clear());
    }

    #[test]
    fn wrong_length_and_spare_bits_are_refused() {
        assert_eq!(Bitfield::from_bytes(9, &[0]), Err(BitfieldError::Length { expected: 2, found: 1 }));
        assert_eq!(Bitfield::from_bytes(8, &[0, 0]), Err(BitfieldError::Length { expected: 1, found: 2 }));
        assert_eq!(Bitfield::from_bytes(9, &[0, 0x40]), Err(BitfieldError::SpareBit));
        assert!(Bitfield::from_bytes(9, &[0, 0x80]).unwrap().get(8));
        assert!(Bitfield::from_bytes(0, &[]).unwrap().is_full());
    }
}
