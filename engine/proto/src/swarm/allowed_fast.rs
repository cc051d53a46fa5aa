//! The set of pieces a peer may request while it is choked, as BEP 6 computes it.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::hashes::SwarmHash;
use crate::units::PieceIndex;

/// `count` pieces (fewer when the torrent has fewer) that depend on the peer's network only, so that
/// reconnecting from next door gains nothing. IPv6 is not in BEP 6; there the network is the /48.
pub(super) fn allowed_fast(ip: IpAddr, info_hash: &SwarmHash, pieces: u32, count: usize) -> Vec<PieceIndex> {
    let count = count.min(pieces as usize);
    let mut chosen: Vec<PieceIndex> = Vec::with_capacity(count);
    let mut seed = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            vec![a, b, c, 0]
        }
        IpAddr::V6(ip) => ip.octets()[..6].to_vec(),
    };
    seed.extend_from_slice(&info_hash.0);
    let mut hash: [u8; 20] = Sha1::digest(&seed).into();
    // Small torrents need many draws for the last pieces; 64 rounds of five are plenty for ten.
    for _ in 0..64 {
        for four in hash.chunks_exact(4) {
            if chosen.len() == count {
                return chosen;
            }
            let number = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
            let piece = PieceIndex(number % pieces);
            if !chosen.contains(&piece) {
                chosen.push(piece);
            }
        }
        hash = Sha1::digest(hash).into();
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_set_of_bep_6() {
        let ip = IpAddr::from([80, 4, 4, 200]);
        let pieces: Vec<u32> =
            allowed_fast(ip, &SwarmHash([0xaa; 20]), 1313, 9).iter().map(|piece| piece.0).collect();
        assert_eq!(pieces, [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn small_torrents_are_covered() {
        let ip = "2001:db8::1".parse().unwrap();
        let mut pieces = allowed_fast(ip, &SwarmHash([1; 20]), 3, 10);
        pieces.sort();
        assert_eq!(pieces, [PieceIndex(0), PieceIndex(1), PieceIndex(2)]);
        assert!(allowed_fast(ip, &SwarmHash([1; 20]), 0, 10).is_empty());
    }
}
