//! SHA-1 of pieces: one stream, or two side by side where that is faster.
//!
//! A core with SHA-NI hashes two independent streams in little more time than one ([`pair`]), so whoever has two
//! pieces at hand gives both to [`update_pair`]. Everything else is the `sha1` crate's compression function.

#[cfg(target_arch = "x86_64")]
mod pair;

use sha1::Sha1Core;
use sha1::digest::core_api::Block;

/// Bytes that SHA-1 takes at once.
const BLOCK: usize = 64;
/// What SHA-1 starts with (FIPS 180-4, 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// SHA-1 of bytes that come in parts.
#[derive(Clone)]
pub struct Hasher {
    state: [u32; 5],
    /// Bytes taken so far; those after the last multiple of 64 wait in `tail`.
    length: u64,
    tail: [u8; BLOCK],
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher { state: START, length: 0, tail: [0; BLOCK] }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({} bytes)", self.length)
    }
}

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.fill_tail(bytes);
        let (blocks, rest) = rest.as_chunks();
        self.take(blocks);
        self.keep(rest);
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(mut self) -> [u8; 20] {
        // FIPS 180-4, 5.1.1: a one bit, zeros, the length in bits.
        let bits = self.length.wrapping_mul(8);
        let waiting = self.waiting();
        let zeros = (BLOCK + BLOCK - 9 - waiting) % BLOCK;
        let mut padding = [0; 2 * BLOCK];
        padding[0] = 0x80;
        padding[1 + zeros..9 + zeros].copy_from_slice(&bits.to_be_bytes());
        self.update(&padding[..9 + zeros]);
        debug_assert_eq!(self.waiting(), 0);
        let mut digest = [0; 20];
        for (place, word) in digest.chunks_exact_mut(4).zip(self.state) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// Bytes in `tail`.
    fn waiting(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Completes a block that was begun. Returns what is left of `bytes`: unless that is nothing, no bytes wait.
    fn fill_tail<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let waiting = self.waiting();
        if waiting == 0 {
            return bytes;
        }
        let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - waiting));
        self.tail[waiting..waiting + head.len()].copy_from_slice(head);
        self.length += head.len() as u64;
        if self.waiting() == 0 && !head.is_empty() {
            compress(&mut self.state, &[self.tail]);
        }
        rest
    }

    /// Takes whole blocks; none may wait.
    fn take(&mut self, blocks: &[[u8; BLOCK]]) {
        compress(&mut self.state, blocks);
        self.length += (blocks.len() * BLOCK) as u64;
    }

    /// Keeps less than a block for later; nothing else may wait unless this is nothing.
    fn keep(&mut self, rest: &[u8]) {
        self.tail[..rest.len()].copy_from_slice(rest);
        self.length += rest.len() as u64;
    }
}

/// Two streams and their next bytes, as [`Hasher::update`] for each: as far as both have bytes they are hashed side
/// by side, the rest of the longer one alone.
pub fn update_pair(first: (&mut Hasher, &[u8]), second: (&mut Hasher, &[u8])) {
    let ((one, bytes_one), (two, bytes_two)) = (first, second);
    let rests = [one.fill_tail(bytes_one), two.fill_tail(bytes_two)];
    let (blocks_one, rest_one) = rests[0].as_chunks();
    let (blocks_two, rest_two) = rests[1].as_chunks();
    let shared = blocks_one.len().min(blocks_two.len());
    let (head_one, tail_one) = blocks_one.split_at(shared);
    let (head_two, tail_two) = blocks_two.split_at(shared);
    if compress_pair([&mut one.state, &mut two.state], [head_one, head_two]) {
        one.length += (shared * BLOCK) as u64;
        two.length += (shared * BLOCK) as u64;
    } else {
        one.take(head_one);
        two.take(head_two);
    }
    one.take(tail_one);
    two.take(tail_two);
    one.keep(rest_one);
    two.keep(rest_two);
}

/// The digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 20] {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The digests of two slices, hashed side by side.
#[must_use]
pub fn digest_pair(first: &[u8], second: &[u8]) -> [[u8; 20]; 2] {
    let (mut one, mut two) = (Hasher::new(), Hasher::new());
    update_pair((&mut one, first), (&mut two, second));
    [one.finish(), two.finish()]
}

/// One stream: the `sha1` crate with SHA-NI, or without.
fn compress(state: &mut [u32; 5], blocks: &[[u8; BLOCK]]) {
    // SAFETY: `Block<Sha1Core>` is `GenericArray<u8, U64>`, which is documented to have the layout of `[u8; 64]`:
    // size 64, alignment 1, all bit patterns valid. Address, count and lifetime are those of `blocks`.
    let blocks: &[Block<Sha1Core>] =
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len()) };
    const { assert!(size_of::<Block<Sha1Core>>() == BLOCK && align_of::<Block<Sha1Core>>() == 1) };
    if !blocks.is_empty() {
        sha1::compress(state, blocks);
    }
}

/// Two streams of equally many blocks. False when this processor has nothing for it, and nothing was done.
#[cfg(target_arch = "x86_64")]
fn compress_pair(states: [&mut [u32; 5]; 2], blocks: [&[[u8; BLOCK]]; 2]) -> bool {
    debug_assert_eq!(blocks[0].len(), blocks[1].len());
    if !pair::is_supported() {
        return false;
    }
    // SAFETY: the processor has the instructions, as was just asked.
    unsafe { pair::compress_pair(states, blocks) };
    true
}

#[cfg(not(target_arch = "x86_64"))]
fn compress_pair(_: [&mut [u32; 5]; 2], _: [&[[u8; BLOCK]]; 2]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use sha1::{Digest, Sha1};

    fn reference(bytes: &[u8]) -> [u8; 20] {
        Sha1::digest(bytes).into()
    }

    #[test]
    fn every_short_length_has_the_digest_of_the_sha1_crate() {
        let bytes = Noise::new(1).bytes(400);
        for length in 0..=300 {
            assert_eq!(digest(&bytes[..length]), reference(&bytes[..length]), "{length} bytes");
            let other = &bytes[100..100 + (length * 7) % 300];
            let pair = digest_pair(&bytes[..length], other);
            assert_eq!(
                pair,
                [reference(&bytes[..length]), reference(other)],
                "{length}, {} bytes",
                other.len()
            );
        }
        // FIPS 180-4's example, so that not only two implementations agree.
        let abc = [
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c,
            0x9c, 0xd0, 0xd8, 0x9d,
        ];
        assert_eq!(digest(b"abc"), abc);
        assert_eq!(digest_pair(b"abc", b"abc"), [abc, abc]);
    }

    #[test]
    fn parts_of_any_length_alone_and_in_pairs_hash_as_the_whole() {
        let mut noise = Noise::new(7);
        for _ in 0..300 {
            let mut one = Hasher::new();
            let mut two = Hasher::new();
            let (mut whole_one, mut whole_two) = (Vec::new(), Vec::new());
            for _ in 0..noise.below(12) {
                let scale = [1, 70, 700, 40_000][noise.below(4)];
                let (length_one, length_two) = (noise.below(scale), noise.below(scale));
                let (part_one, part_two) = (noise.bytes(length_one), noise.bytes(length_two));
                whole_one.extend_from_slice(&part_one);
                whole_two.extend_from_slice(&part_two);
                match noise.below(3) {
                    0 => {
                        one.update(&part_one);
                        two.update(&part_two);
                    }
                    1 => update_pair((&mut one, &part_one), (&mut two, &part_two)),
                    _ => update_pair((&mut two, &part_two), (&mut one, &part_one)),
                }
            }
            assert_eq!(one.finish(), reference(&whole_one), "{} bytes", whole_one.len());
            assert_eq!(two.finish(), reference(&whole_two), "{} bytes", whole_two.len());
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn pairs_and_single_blocks_are_the_same_function() {
        if !pair::is_supported() {
            return; // the other tests cover what runs here
        }
        let mut noise = Noise::new(3);
        for count in [0, 1, 2, 3, 17, 128] {
            let (first, second) = (noise.bytes(count * BLOCK), noise.bytes((count + 2) * BLOCK));
            let (first, second) = (first.as_chunks().0, second.as_chunks().0);
            let (mut one, mut two) = (START, [1, 2, 3, 4, 5]);
            // SAFETY: asked above.
            unsafe { pair::compress_pair([&mut one, &mut two], [first, second]) };
            let (mut alone_one, mut alone_two) = (START, [1, 2, 3, 4, 5]);
            compress(&mut alone_one, first);
            compress(&mut alone_two, &second[..count]);
            assert_eq!((one, two), (alone_one, alone_two), "{count} blocks");
        }
    }
}
