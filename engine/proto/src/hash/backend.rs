//! The SHA-1 compression function of one stream: which one this processor is given.

use super::BLOCK;
use sha1::Sha1Core;
use sha1::digest::core_api::Block;

/// An implementation of the compression function (FIPS 180-4, 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// The `sha1` crate: with SHA-NI its instructions, else plain Rust.
    Crate,
    /// The assembly of `sha1-asm`: plain instructions on x86-64, those for SHA-1 on AArch64.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Assembly,
}

impl Backend {
    /// The fastest that this processor has.
    pub(super) fn best() -> Backend {
        #[cfg(target_arch = "x86_64")]
        if !super::lanes::is_supported() {
            return Backend::Assembly;
        }
        #[cfg(target_arch = "aarch64")]
        if Backend::assembly_runs() {
            return Backend::Assembly;
        }
        Backend::Crate
    }

    /// Whether the assembly may be called: on AArch64 it consists of instructions that not every processor has.
    #[cfg(target_arch = "aarch64")]
    fn assembly_runs() -> bool {
        // `sha2` is what the standard library calls FEAT_SHA1 with FEAT_SHA256. It keeps the answer.
        std::arch::is_aarch64_feature_detected!("sha2")
    }

    /// Takes blocks into a state.
    pub(super) fn compress(self, state: &mut [u32; 5], blocks: &[[u8; BLOCK]]) {
        match self {
            Backend::Crate => compress_with_crate(state, blocks),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Backend::Assembly => sha1_asm::compress(state, blocks),
        }
    }
}

fn compress_with_crate(state: &mut [u32; 5], blocks: &[[u8; BLOCK]]) {
    // SAFETY: `Block<Sha1Core>` is `GenericArray<u8, U64>`, which is documented to have the layout of `[u8; 64]`:
    // size 64, alignment 1, all bit patterns valid. Address, count and lifetime are those of `blocks`.
    let blocks: &[Block<Sha1Core>] =
        unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast(), blocks.len()) };
    const { assert!(size_of::<Block<Sha1Core>>() == BLOCK && align_of::<Block<Sha1Core>>() == 1) };
    if !blocks.is_empty() {
        sha1::compress(state, blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::START;
    use crate::noise::Noise;

    /// Those that this processor can run.
    fn all() -> Vec<Backend> {
        let mut all = vec![Backend::Crate];
        #[cfg(target_arch = "x86_64")]
        all.push(Backend::Assembly);
        #[cfg(target_arch = "aarch64")]
        if Backend::assembly_runs() {
            all.push(Backend::Assembly);
        }
        all
    }

    /// The one or two blocks of a short message with its padding (FIPS 180-4, 5.1.1).
    fn padded(message: &[u8]) -> Vec<[u8; BLOCK]> {
        let mut bytes = message.to_vec();
        bytes.push(0x80);
        while bytes.len() % BLOCK != BLOCK - 8 {
            bytes.push(0);
        }
        bytes.extend((message.len() as u64 * 8).to_be_bytes());
        bytes.as_chunks().0.to_vec()
    }

    /// The examples that NIST publishes for SHA-1, one block and two, and the digest of nothing.
    #[test]
    fn every_backend_has_the_digests_of_the_standard() {
        let vectors: [(&[u8], [u32; 5]); 3] = [
            (b"abc", [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c, 0x9cd0_d89d]),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                [0x8498_3e44, 0x1c3b_d26e, 0xbaae_4aa1, 0xf951_29e5, 0xe546_70f1],
            ),
            (b"", [0xda39_a3ee, 0x5e6b_4b0d, 0x3255_bfef, 0x9560_1890, 0xafd8_0709]),
        ];
        for backend in all() {
            for (message, digest) in vectors {
                let mut state = START;
                backend.compress(&mut state, &padded(message));
                assert_eq!(state, digest, "{backend:?} of {message:?}");
            }
        }
    }

    #[test]
    fn all_backends_are_the_same_function() {
        let mut noise = Noise::new(11);
        for count in [0, 1, 2, 5, 64] {
            let bytes = noise.bytes(count * BLOCK);
            let state: [u32; 5] = std::array::from_fn(|_| noise.next() as u32);
            let results = all().into_iter().map(|backend| {
                let mut state = state;
                backend.compress(&mut state, bytes.as_chunks().0);
                state
            });
            let results: Vec<_> = results.collect();
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{count} blocks: {results:?}");
        }
    }

    #[test]
    #[cfg(target_arch = "aarch64")]
    fn on_aarch64_the_assembly_is_taken_where_it_runs() {
        assert_eq!(Backend::best() == Backend::Assembly, Backend::assembly_runs());
    }
}
