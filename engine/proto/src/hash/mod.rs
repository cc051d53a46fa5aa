//! SHA-1 of pieces: one stream, or several side by side where that is faster.
//!
//! A core with SHA-NI hashes four independent streams in about 1.6 times the time of one (`lanes`), so whoever has
//! more pieces than one at hand gives up to [`STREAMS`] to [`update_together`]. Everything else goes through the
//! compression function that suits the processor (`backend`).

mod backend;
#[cfg(target_arch = "x86_64")]
mod lanes;

use crate::units::BLOCK_LEN;
use backend::Backend;

/// Bytes that SHA-1 takes at once.
const BLOCK: usize = 64;
/// What SHA-1 starts with (FIPS 180-4, 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The first eight bytes of the SHA-1 of a block: enough to tell a wrong one from the right one.
pub type BlockDigest = u64;

/// Digests of the blocks of a piece, in their order.
pub fn block_digests(piece: &[u8]) -> impl Iterator<Item = BlockDigest> + '_ {
    piece.chunks(BLOCK_LEN as usize).map(|block| {
        let mut hasher = Hasher::new();
        hasher.update(block);
        let [a, b, c, d, e, f, g, h, ..] = hasher.finish();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    })
}

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
        Hasher::new()
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
    pub const fn new() -> Hasher {
        Hasher { state: START, length: 0, tail: [0; BLOCK] }
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

/// Streams that [`update_together`] hashes side by side: more of them would not be faster.
pub const STREAMS: usize = 4;

/// The next bytes of several streams, as [`Hasher::update`] for each, with [`STREAMS`] of those that have bytes left
/// side by side.
pub fn update_together(streams: &mut [(&mut Hasher, &[u8])]) {
    for group in streams.chunks_mut(STREAMS) {
        update_group(group);
    }
}

fn update_group(streams: &mut [(&mut Hasher, &[u8])]) {
    let mut todo: [(&[[u8; BLOCK]], &[u8]); STREAMS] = [(&[], &[]); STREAMS];
    for ((hasher, bytes), todo) in streams.iter_mut().zip(&mut todo) {
        *todo = hasher.fill_tail(bytes).as_chunks();
    }
    loop {
        // The streams with whole blocks left, and how many of these all of them have.
        let mut active = [0; STREAMS];
        let (mut count, mut shared) = (0, usize::MAX);
        for (stream, (blocks, _)) in todo.iter().enumerate().filter(|(_, (blocks, _))| !blocks.is_empty()) {
            active[count] = stream;
            count += 1;
            shared = shared.min(blocks.len());
        }
        match active[..count] {
            [] => break,
            [a, b, c, d] => take_together(streams, &mut todo, [a, b, c, d], shared),
            [a, b, c] => take_together(streams, &mut todo, [a, b, c], shared),
            [a, b] => take_together(streams, &mut todo, [a, b], shared),
            [alone, ..] => streams[alone].0.take(std::mem::take(&mut todo[alone].0)),
        }
    }
    for ((hasher, _), (_, rest)) in streams.iter_mut().zip(todo) {
        hasher.keep(rest);
    }
}

/// Takes `count` blocks of each stream in `active` from what it has to do.
fn take_together<const N: usize>(
    streams: &mut [(&mut Hasher, &[u8])],
    todo: &mut [(&[[u8; BLOCK]], &[u8]); STREAMS],
    active: [usize; N],
    count: usize,
) {
    let mut states = active.map(|stream| streams[stream].0.state);
    let blocks = active.map(|stream| {
        let (head, rest) = todo[stream].0.split_at(count);
        todo[stream].0 = rest;
        head
    });
    compress_together(&mut states, blocks);
    for (stream, state) in active.into_iter().zip(states) {
        let hasher = &mut streams[stream].0;
        hasher.state = state;
        hasher.length += (count * BLOCK) as u64;
    }
}

/// The digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 20] {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The digests of several slices, [`STREAMS`] hashed side by side.
#[must_use]
pub fn digests<const N: usize>(slices: [&[u8]; N]) -> [[u8; 20]; N] {
    let mut hashers = [const { Hasher::new() }; N];
    let mut slices = slices.into_iter();
    update_together(&mut hashers.each_mut().map(|hasher| (hasher, slices.next().unwrap_or_default())));
    hashers.map(Hasher::finish)
}

/// One stream.
fn compress(state: &mut [u32; 5], blocks: &[[u8; BLOCK]]) {
    Backend::best().compress(state, blocks);
}

/// Takes equally many blocks of `N` streams into their states, side by side where this processor has something for it.
fn compress_together<const N: usize>(states: &mut [[u32; 5]; N], blocks: [&[[u8; BLOCK]]; N]) {
    debug_assert!(blocks.iter().all(|of_one| of_one.len() == blocks[0].len()));
    #[cfg(target_arch = "x86_64")]
    if lanes::is_supported() {
        // SAFETY: the processor has the instructions, as was just asked.
        unsafe { lanes::compress(states, blocks) };
        return;
    }
    states.iter_mut().zip(blocks).for_each(|(state, blocks)| compress(state, blocks));
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
            let others = [7, 11, 13, 17].map(|step| &bytes[100..100 + (length * step) % 300]);
            let [one, two, three, four] = others;
            let want = others.map(reference);
            assert_eq!(digests(others), want, "{length}: {:?}", others.map(<[u8]>::len));
            assert_eq!(digests([one, two, three]), want[..3]);
            assert_eq!(digests([one, two]), want[..2]);
            assert_eq!(digests([one]), want[..1]);
            assert_eq!(digests([one, two, three, four, three, two]), [0, 1, 2, 3, 2, 1].map(|at| want[at]));
        }
        // FIPS 180-4's example, so that not only two implementations agree.
        let abc = [
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c,
            0x9c, 0xd0, 0xd8, 0x9d,
        ];
        assert_eq!(digest(b"abc"), abc);
        assert_eq!(digests([b"abc"; 4]), [abc; 4]);
    }

    #[test]
    fn parts_of_any_length_alone_and_together_hash_as_the_whole() {
        let mut noise = Noise::new(7);
        for _ in 0..300 {
            let mut hashers = [const { Hasher::new() }; STREAMS];
            let mut wholes = [const { Vec::new() }; STREAMS];
            for _ in 0..noise.below(12) {
                let scale = [1, 70, 700, 40_000][noise.below(4)];
                let parts: [Vec<u8>; STREAMS] = std::array::from_fn(|_| {
                    let length = noise.below(scale);
                    noise.bytes(length)
                });
                wholes.iter_mut().zip(&parts).for_each(|(whole, part)| whole.extend_from_slice(part));
                let mut streams: Vec<(&mut Hasher, &[u8])> =
                    hashers.iter_mut().zip(parts.iter().map(Vec::as_slice)).collect();
                let alone = noise.below(STREAMS + 1);
                let mut together = streams.split_off(alone);
                streams.into_iter().for_each(|(hasher, part)| hasher.update(part));
                update_together(&mut together);
            }
            for (hasher, whole) in hashers.into_iter().zip(wholes) {
                assert_eq!(hasher.finish(), reference(&whole), "{} bytes", whole.len());
            }
        }
    }

    #[test]
    fn blocks_together_and_alone_are_the_same_function() {
        fn compare<const N: usize>(noise: &mut Noise, count: usize) {
            let bytes: [Vec<u8>; N] = std::array::from_fn(|_| noise.bytes(count * BLOCK));
            let blocks = bytes.each_ref().map(|bytes| bytes.as_chunks().0);
            let states: [[u32; 5]; N] = std::array::from_fn(|_| std::array::from_fn(|_| noise.next() as u32));
            let (mut together, mut alone) = (states, states);
            compress_together(&mut together, blocks);
            alone.iter_mut().zip(blocks).for_each(|(state, blocks)| compress(state, blocks));
            assert_eq!(together, alone, "{N} streams of {count} blocks");
        }
        let mut noise = Noise::new(3);
        for count in [0, 1, 2, 3, 17, 128] {
            compare::<2>(&mut noise, count);
            compare::<3>(&mut noise, count);
            compare::<4>(&mut noise, count);
        }
    }
}
