//! Deterministic hostile input for tests: a seeded generator and random mutations of valid bytes.

/// xorshift64*: the same seed gives the same bytes on every machine.
pub(crate) struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 16) as usize).checked_rem(end).unwrap_or(0)
    }

    /// Bytes without a pattern.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// A copy with one to four bytes changed, inserted, removed, swapped, doubled or cut off.
    pub fn mutate(&mut self, valid: &[u8]) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            // Bytes that mean something in the formats come up more often than chance.
            let byte = match self.below(3) {
                0 => self.next() as u8,
                1 => b"ilde:-0123456789%&=?+.\0"[self.below(23)],
                _ => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            };
            match self.below(6) {
                _ if bytes.is_empty() => bytes.push(byte),
                0 | 1 => bytes[at] = byte,
                2 => bytes.insert(at, byte),
                3 => {
                    bytes.remove(at);
                }
                4 => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
                _ if self.below(8) == 0 => bytes.truncate(at),
                _ => {
                    let end = (at + self.below(8)).min(bytes.len());
                    bytes.extend_from_within(at..end);
                }
            }
        }
        bytes
    }
}
