//! Which pieces are here, in as many steps as there is room for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A strip of steps from the first piece to the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PieceMap {
    /// Of each step, how many of 255 parts of its pieces are here.
    pub steps: Vec<u8>,
    /// Pieces that are here.
    pub have: u32,
}

/// Reads the wire's bit field (base64, most significant bit first) of `count` pieces into at most `room` steps.
pub fn piece_map(pieces: &str, count: u32, room: usize) -> PieceMap {
    let bits = STANDARD.decode(pieces).unwrap_or_default();
    let has = |piece: usize| bits.get(piece / 8).is_some_and(|byte| byte & (0x80 >> (piece % 8)) != 0);
    let count = count as usize;
    let steps = room.min(count);
    let mut map = PieceMap::default();
    for step in 0..steps {
        let (from, to) = (step * count / steps, (step + 1) * count / steps);
        let here = (from..to).filter(|piece| has(*piece)).count();
        map.have += here as u32;
        // Only a step without a gap is full.
        map.steps.push((here * 255 / (to - from)) as u8);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_shares_of_their_pieces() {
        let bits = STANDARD.encode([0b1111_0000, 0b1000_0000]);
        assert_eq!(
            piece_map(&bits, 9, 9),
            PieceMap { steps: vec![255, 255, 255, 255, 0, 0, 0, 0, 255], have: 5 }
        );
        assert_eq!(piece_map(&bits, 9, 3).steps, [255, 85, 85]);
        assert_eq!(piece_map(&bits, 9, 100).steps.len(), 9);
    }

    #[test]
    fn nothing_known_is_nothing_here() {
        assert_eq!(piece_map("", 4, 2), PieceMap { steps: vec![0, 0], have: 0 });
        assert_eq!(piece_map("%%", 0, 2), PieceMap::default());
    }
}
