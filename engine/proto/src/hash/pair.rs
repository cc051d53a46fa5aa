//! The SHA-1 compression function of two streams at once, with the instructions of x86 (SHA-NI).
//!
//! Four rounds of SHA-1 are one instruction that waits for the one before it, so a core that hashes one stream
//! mostly waits. The instructions of a second stream fit into the gaps.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
    _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi8,
    _mm_xor_si128,
};

/// Whether this processor has what [`compress_pair`] needs.
pub(super) fn is_supported() -> bool {
    // The answer is kept by the standard library: a load and a test.
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// Four rounds of both streams with the next four words of each.
macro_rules! rounds {
    ($old:ident, $new:ident, $w:expr, $k:literal) => {
        $new[0] = _mm_sha1rnds4_epu32($old[0], _mm_sha1nexte_epu32($new[0], $w[0]), $k);
        $new[1] = _mm_sha1rnds4_epu32($old[1], _mm_sha1nexte_epu32($new[1], $w[1]), $k);
    };
}

/// Makes four new words of both streams out of the last sixteen, in the place of the oldest, and does their rounds.
macro_rules! schedule {
    ($old:ident, $new:ident, $w0:ident, $w1:ident, $w2:ident, $w3:ident, $k:literal) => {
        $w0[0] = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32($w0[0], $w1[0]), $w2[0]), $w3[0]);
        $w0[1] = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32($w0[1], $w1[1]), $w2[1]), $w3[1]);
        rounds!($old, $new, $w0, $k);
    };
}

/// Takes the blocks of two streams into their states, of both as many as the shorter has. To be called where
/// [`is_supported`] was true.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress_pair(states: [&mut [u32; 5]; 2], blocks: [&[[u8; 64]]; 2]) {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let abcd_of = |s: &[u32; 5]| _mm_set_epi32(s[0] as i32, s[1] as i32, s[2] as i32, s[3] as i32);
    let e_of = |s: &[u32; 5]| _mm_set_epi32(s[4] as i32, 0, 0, 0);
    let mut abcd = [abcd_of(states[0]), abcd_of(states[1])];
    let mut e = [e_of(states[0]), e_of(states[1])];

    for (first, second) in blocks[0].iter().zip(blocks[1]) {
        let load = |block: &[u8; 64], at: usize| {
            let part: &[u8] = &block[at * 16..at * 16 + 16];
            // SAFETY: the slice has 16 bytes, and this load asks for no alignment.
            _mm_shuffle_epi8(unsafe { _mm_loadu_si128(part.as_ptr().cast::<__m128i>()) }, order)
        };
        let mut w0 = [load(first, 0), load(second, 0)];
        let mut w1 = [load(first, 1), load(second, 1)];
        let mut w2 = [load(first, 2), load(second, 2)];
        let mut w3 = [load(first, 3), load(second, 3)];
        let mut h0 = abcd;
        let mut h1 = [
            _mm_sha1rnds4_epu32(abcd[0], _mm_add_epi32(e[0], w0[0]), 0),
            _mm_sha1rnds4_epu32(abcd[1], _mm_add_epi32(e[1], w0[1]), 0),
        ];
        rounds!(h1, h0, w1, 0);
        rounds!(h0, h1, w2, 0);
        rounds!(h1, h0, w3, 0);
        schedule!(h0, h1, w0, w1, w2, w3, 0);

        schedule!(h1, h0, w1, w2, w3, w0, 1);
        schedule!(h0, h1, w2, w3, w0, w1, 1);
        schedule!(h1, h0, w3, w0, w1, w2, 1);
        schedule!(h0, h1, w0, w1, w2, w3, 1);
        schedule!(h1, h0, w1, w2, w3, w0, 1);

        schedule!(h0, h1, w2, w3, w0, w1, 2);
        schedule!(h1, h0, w3, w0, w1, w2, 2);
        schedule!(h0, h1, w0, w1, w2, w3, 2);
        schedule!(h1, h0, w1, w2, w3, w0, 2);
        schedule!(h0, h1, w2, w3, w0, w1, 2);

        schedule!(h1, h0, w3, w0, w1, w2, 3);
        schedule!(h0, h1, w0, w1, w2, w3, 3);
        schedule!(h1, h0, w1, w2, w3, w0, 3);
        schedule!(h0, h1, w2, w3, w0, w1, 3);
        schedule!(h1, h0, w3, w0, w1, w2, 3);

        for stream in 0..2 {
            abcd[stream] = _mm_add_epi32(abcd[stream], h0[stream]);
            e[stream] = _mm_sha1nexte_epu32(h1[stream], e[stream]);
        }
    }

    for (stream, state) in states.into_iter().enumerate() {
        state[0] = _mm_extract_epi32(abcd[stream], 3) as u32;
        state[1] = _mm_extract_epi32(abcd[stream], 2) as u32;
        state[2] = _mm_extract_epi32(abcd[stream], 1) as u32;
        state[3] = _mm_extract_epi32(abcd[stream], 0) as u32;
        state[4] = _mm_extract_epi32(e[stream], 3) as u32;
    }
}
