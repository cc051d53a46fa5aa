//! The SHA-1 compression function of several streams at once, with the instructions of x86 (SHA-NI).
//!
//! Four rounds of SHA-1 are one instruction that waits for the one before it, so a core that hashes one stream
//! mostly waits. The instructions of further streams fit into the gaps: of three more, until none is left.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
    _mm_shuffle_epi8, _mm_xor_si128,
};

/// Whether this processor has what [`compress`] needs.
pub(super) fn is_supported() -> bool {
    // The answer is kept by the standard library: a load and a test.
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// Four rounds of all streams with the next four words of each.
macro_rules! rounds {
    ($old:ident, $new:ident, $w:ident, $k:literal) => {
        for stream in 0..N {
            let e = _mm_sha1nexte_epu32($new[stream], $w[stream]);
            $new[stream] = _mm_sha1rnds4_epu32($old[stream], e, $k);
        }
    };
}

/// Makes four new words of all streams out of the last sixteen, in the place of the oldest, and does their rounds.
macro_rules! schedule {
    ($old:ident, $new:ident, $w0:ident, $w1:ident, $w2:ident, $w3:ident, $k:literal) => {
        for stream in 0..N {
            let mixed = _mm_xor_si128(_mm_sha1msg1_epu32($w0[stream], $w1[stream]), $w2[stream]);
            $w0[stream] = _mm_sha1msg2_epu32(mixed, $w3[stream]);
            let e = _mm_sha1nexte_epu32($new[stream], $w0[stream]);
            $new[stream] = _mm_sha1rnds4_epu32($old[stream], e, $k);
        }
    };
}

/// Takes the blocks of `N` streams into their states, of all as many as the shortest has. To be called where
/// [`is_supported`] was true.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress<const N: usize>(states: &mut [[u32; 5]; N], blocks: [&[[u8; 64]]; N]) {
    let order = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let zero = _mm_setzero_si128();
    let (mut abcd, mut e) = ([zero; N], [zero; N]);
    for (stream, state) in states.iter().enumerate() {
        let [a, b, c, d, last] = state.map(|word| word as i32);
        abcd[stream] = _mm_set_epi32(a, b, c, d);
        e[stream] = _mm_set_epi32(last, 0, 0, 0);
    }

    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..count {
        let now = blocks.map(|of_one| &of_one[at]);
        let load = |part: usize| {
            let mut words = [zero; N];
            for stream in 0..N {
                let sixteen: &[u8] = &now[stream][part * 16..part * 16 + 16];
                // SAFETY: the slice has 16 bytes, and this load asks for no alignment.
                let bytes = unsafe { _mm_loadu_si128(sixteen.as_ptr().cast::<__m128i>()) };
                words[stream] = _mm_shuffle_epi8(bytes, order);
            }
            words
        };
        let (mut w0, mut w1, mut w2, mut w3) = (load(0), load(1), load(2), load(3));
        let (mut h0, mut h1) = (abcd, [zero; N]);
        for stream in 0..N {
            h1[stream] = _mm_sha1rnds4_epu32(abcd[stream], _mm_add_epi32(e[stream], w0[stream]), 0);
        }
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

        for stream in 0..N {
            abcd[stream] = _mm_add_epi32(abcd[stream], h0[stream]);
            e[stream] = _mm_sha1nexte_epu32(h1[stream], e[stream]);
        }
    }

    for (stream, state) in states.iter_mut().enumerate() {
        *state = [
            _mm_extract_epi32(abcd[stream], 3),
            _mm_extract_epi32(abcd[stream], 2),
            _mm_extract_epi32(abcd[stream], 1),
            _mm_extract_epi32(abcd[stream], 0),
            _mm_extract_epi32(e[stream], 3),
        ]
        .map(|word| word as u32);
    }
}
