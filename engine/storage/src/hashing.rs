//! Hashing whole pieces in memory, several side by side, without holding up others.

use ringseed_proto::hash::{BlockDigest, Hasher, block_digests, update_together};
use ringseed_proto::units::BLOCK_LEN;
use ringseed_ring::executor::give_way;

/// Bytes of each of the pieces that are hashed before others may run: less than half a millisecond for four.
pub(super) const HASH_SLICE: usize = 256 << 10;

/// The digests of `pieces` in their order. Others run after every `HASH_SLICE` but the last.
pub async fn hash_yielding<P: AsRef<[u8]>>(pieces: &[P]) -> Vec<[u8; 20]> {
    let mut hashers = vec![Hasher::new(); pieces.len()];
    let longest = pieces.iter().map(|piece| piece.as_ref().len()).max().unwrap_or(0);
    for at in (0..longest).step_by(HASH_SLICE) {
        if at > 0 {
            give_way().await;
        }
        let slices = pieces.iter().map(|piece| {
            let bytes = piece.as_ref();
            &bytes[at.min(bytes.len())..(at + HASH_SLICE).min(bytes.len())]
        });
        update_together(&mut hashers.iter_mut().zip(slices).collect::<Vec<_>>());
    }
    hashers.into_iter().map(Hasher::finish).collect()
}

/// The digests of a piece's blocks. Others run after every `HASH_SLICE` but the last.
pub async fn hash_blocks_yielding(piece: &[u8]) -> Vec<BlockDigest> {
    let mut blocks = Vec::with_capacity(piece.len().div_ceil(BLOCK_LEN as usize));
    for slice in piece.chunks(HASH_SLICE) {
        if !blocks.is_empty() {
            give_way().await;
        }
        blocks.extend(block_digests(slice));
    }
    blocks
}

const _: () = assert!(HASH_SLICE.is_multiple_of(BLOCK_LEN as usize), "a slice holds whole blocks");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::noise;
    use sha1::{Digest, Sha1};

    #[test]
    fn pieces_of_any_lengths_have_their_digests() {
        let lengths = [1, 16_384, HASH_SLICE - 1, HASH_SLICE, HASH_SLICE + 1, 3 * HASH_SLICE + 100];
        let digest = |piece: &Vec<u8>| <[u8; 20]>::from(Sha1::digest(piece));
        let executor =
            ringseed_ring::executor::Executor::new(glommio::Placement::Unbound).expect("glommio starts");
        executor.run(async {
            assert!(hash_yielding::<Vec<u8>>(&[]).await.is_empty());
            for count in 1..=lengths.len() {
                for first in 0..lengths.len() {
                    let lengths = lengths.iter().cycle().skip(first).take(count);
                    let pieces: Vec<_> =
                        lengths.zip(1..).map(|(&length, seed)| noise(length, seed + 100)).collect();
                    let want: Vec<_> = pieces.iter().map(digest).collect();
                    assert_eq!(hash_yielding(&pieces).await, want);
                    let blocks: Vec<_> = block_digests(&pieces[0]).collect();
                    assert_eq!(hash_blocks_yielding(&pieces[0]).await, blocks);
                }
            }
        });
    }
}
