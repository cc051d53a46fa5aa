//! Hashing whole pieces in memory, two side by side, without holding up others.

use super::piece_buffers::PieceBuf;
use crate::executor::give_way;
use ringseed_proto::hash::{Hasher, digest_pair, update_pair};

/// Bytes of each of two pieces that are hashed before others may run: less than half a millisecond for both.
pub(super) const HASH_SLICE: usize = 256 << 10;

/// The digests of two pieces, or of one and of nothing. Others run after every [`HASH_SLICE`]; what is shorter is
/// hashed at once.
pub async fn hash_yielding(first: &PieceBuf, second: Option<&PieceBuf>) -> [[u8; 20]; 2] {
    let one: &[u8] = first.as_ref();
    let two: &[u8] = second.map_or(&[], |piece| piece.as_ref());
    if one.len().max(two.len()) <= HASH_SLICE {
        return digest_pair(one, two);
    }
    let (mut hasher_one, mut hasher_two) = (Hasher::new(), Hasher::new());
    let (mut slices_one, mut slices_two) = (one.chunks(HASH_SLICE), two.chunks(HASH_SLICE));
    loop {
        let pair = (slices_one.next(), slices_two.next());
        if pair == (None, None) {
            return [hasher_one.finish(), hasher_two.finish()];
        }
        let (one, two) = (pair.0.unwrap_or_default(), pair.1.unwrap_or_default());
        update_pair((&mut hasher_one, one), (&mut hasher_two, two));
        give_way().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::noise;
    use ringseed_ring::IoBuf;
    use sha1::{Digest, Sha1};

    #[test]
    fn pieces_of_any_two_lengths_have_their_digests() {
        let lengths = [1, 16_384, HASH_SLICE - 1, HASH_SLICE, HASH_SLICE + 1, 3 * HASH_SLICE + 100];
        let piece = |length, seed| PieceBuf::from_bytes(IoBuf::from_slice(&noise(length, seed)));
        let digest = |piece: &PieceBuf| <[u8; 20]>::from(Sha1::digest(piece.as_ref()));
        let executor = crate::executor::Executor::new(glommio::Placement::Unbound).expect("glommio starts");
        executor.run(async {
            for (turn, first) in lengths.into_iter().enumerate() {
                let one = piece(first, 2 * turn as u64 + 1);
                assert_eq!(hash_yielding(&one, None).await[0], digest(&one));
                for second in lengths {
                    let two = piece(second, 100 + turn as u64);
                    assert_eq!(hash_yielding(&one, Some(&two)).await, [digest(&one), digest(&two)]);
                }
            }
        });
    }
}
