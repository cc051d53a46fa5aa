//! RC4, which message stream encryption is made of. It is long broken: here it hides what is spoken, and no more.

use std::fmt;

/// A keystream of RC4. It only goes forward: what was enciphered with it has to be sent as it is.
#[derive(Clone)]
pub struct Rc4 {
    /// The permutation. Whole words: loads and stores of single bytes are half as fast.
    table: [u32; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// The keystream of `key`, which must not be empty, from its first byte.
    pub fn new(key: &[u8]) -> Rc4 {
        let mut table = [0; 256];
        for (value, place) in (0..).zip(&mut table) {
            *place = value;
        }
        let mut j = 0u8;
        for (i, key) in (0..=255u8).zip(key.iter().cycle()) {
            j = j.wrapping_add(table[usize::from(i)] as u8).wrapping_add(*key);
            table.swap(usize::from(i), usize::from(j));
        }
        Rc4 { table, i: 0, j: 0 }
    }

    /// Leaves out the next `bytes` of the keystream.
    pub fn skip(&mut self, bytes: usize) {
        let mut sink = [0; 64];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(sink.len());
            self.apply(&mut sink[..part]);
            left -= part;
        }
    }

    /// Enciphers or deciphers `data` in place.
    ///
    /// The next value of the permutation is loaded before the exchange is stored, and taken from the exchange where that
    /// has changed it. A load that comes after the stores would either wait for them or be guessed wrongly by the
    /// processor once in some dozen bytes; this is 1.5 to 2 times as fast.
    pub fn apply(&mut self, data: &mut [u8]) {
        let (table, mut j) = (&mut self.table, self.j);
        let mut i = self.i.wrapping_add(1);
        let mut x = table[usize::from(i)];
        let mut next = || {
            j = j.wrapping_add(x as u8);
            let y = table[usize::from(j)];
            let after = i.wrapping_add(1);
            let loaded = table[usize::from(after)];
            table[usize::from(j)] = x;
            table[usize::from(i)] = y;
            let key = table[usize::from(x.wrapping_add(y) as u8)] as u8;
            x = if after == j { x } else { loaded };
            i = after;
            key
        };
        let (words, rest) = data.as_chunks_mut::<8>();
        for word in words {
            let mut key = 0;
            for at in 0..8 {
                key |= u64::from(next()) << (8 * at);
            }
            *word = (u64::from_le_bytes(*word) ^ key).to_le_bytes();
        }
        for byte in rest {
            *byte ^= next();
        }
        (self.i, self.j) = (i.wrapping_sub(1), j);
    }
}

impl fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rc4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6229: keys of 5 and 16 bytes, 16 bytes of the keystream at an offset.
    const VECTORS: [(&[u8], usize, [u8; 16]); 6] = [
        (
            &[1, 2, 3, 4, 5],
            0,
            [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27, 0xcc, 0xc3, 0x52, 0x4a, 0x0a, 0x11, 0x18, 0xa8],
        ),
        (
            &[1, 2, 3, 4, 5],
            240,
            [0x28, 0xcb, 0x11, 0x32, 0xc9, 0x6c, 0xe2, 0x86, 0x42, 0x1d, 0xca, 0xad, 0xb8, 0xb6, 0x9e, 0xae],
        ),
        (
            &[1, 2, 3, 4, 5],
            1024,
            [0x30, 0xab, 0xbc, 0xc7, 0xc2, 0x0b, 0x01, 0x60, 0x9f, 0x23, 0xee, 0x2d, 0x5f, 0x6b, 0xb7, 0xdf],
        ),
        (
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            0,
            [0x9a, 0xc7, 0xcc, 0x9a, 0x60, 0x9d, 0x1e, 0xf7, 0xb2, 0x93, 0x28, 0x99, 0xcd, 0xe4, 0x1b, 0x97],
        ),
        (
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            1024,
            [0xbd, 0xf0, 0x32, 0x4e, 0x60, 0x83, 0xdc, 0xc6, 0xd3, 0xce, 0xdd, 0x3c, 0xa8, 0xc5, 0x3c, 0x16],
        ),
        (
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            4096,
            [0xa3, 0x6a, 0x4c, 0x30, 0x1a, 0xe8, 0xac, 0x13, 0x61, 0x0c, 0xcb, 0xc1, 0x22, 0x56, 0xca, 0xcc],
        ),
    ];

    #[test]
    fn the_keystream_is_that_of_rfc_6229() {
        for (key, offset, expected) in VECTORS {
            let (mut rc4, mut bytes) = (Rc4::new(key), [0; 16]);
            rc4.skip(offset);
            rc4.apply(&mut bytes);
            assert_eq!(bytes, expected, "{key:?} at {offset}");
        }
    }

    #[test]
    fn the_keystream_does_not_depend_on_the_cuts() {
        let mut whole = vec![0; 5000];
        Rc4::new(b"key").apply(&mut whole);
        let (mut cut, mut rc4, mut rest, mut length) = (vec![0; 5000], Rc4::new(b"key"), 0, 0);
        while rest < cut.len() {
            length = (length * 7 + 3) % 61;
            let end = (rest + length).min(cut.len());
            rc4.apply(&mut cut[rest..end]);
            rest = end;
        }
        assert_eq!(cut, whole);
    }
}
