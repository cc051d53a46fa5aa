//! Torrents whose bytes are known.

use super::*;

/// SplitMix64, for the choices of the network.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Content with known bytes.
pub struct Torrent {
    pub content: Arc<Content>,
    pub data: Arc<Vec<u8>>,
}

pub fn torrent(piece_length: u32, files: &[u64], seed: u64) -> Torrent {
    let specs = files.iter().enumerate().map(|(n, &length)| FileSpec {
        path: format!("t/{n}").into(),
        length,
        padding: false,
    });
    let layout = Layout::new(piece_length, specs.collect()).unwrap();
    let mut dice = Dice(seed);
    let mut data = Vec::with_capacity(layout.total_length as usize + 8);
    while (data.len() as u64) < layout.total_length {
        data.extend_from_slice(&dice.next().to_le_bytes());
    }
    data.truncate(layout.total_length as usize);
    let hashes = data.chunks(piece_length as usize).map(|piece| Sha1::digest(piece).into()).collect();
    let info = Info::new("t".to_owned(), layout, hashes, false).unwrap();
    let info_bytes = Arc::from(&b"d4:name1:te"[..]);
    Torrent { content: Arc::new(Content { info: Arc::new(info), info_bytes }), data: Arc::new(data) }
}

impl Torrent {
    /// The same content under a torrent that has a wrong hash of this piece.
    pub fn with_wrong_hash(self, piece: u32) -> Torrent {
        let info = &self.content.info;
        let count = info.layout.piece_count();
        let mut hashes: Vec<_> = (0..count).map(|n| *info.piece_hash(PieceIndex(n)).unwrap()).collect();
        hashes[piece as usize][0] ^= 1;
        let info = Info::new("t".to_owned(), info.layout.clone(), hashes, false).unwrap();
        let info_bytes = Arc::clone(&self.content.info_bytes);
        Torrent { content: Arc::new(Content { info: Arc::new(info), info_bytes }), ..self }
    }
}
