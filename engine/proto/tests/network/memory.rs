//! What a node has on its disk and in memory.

use super::*;

/// A node's disk and assembly buffers.
pub struct Disk {
    pub data: Vec<u8>,
    pub open: BTreeMap<u32, Vec<u8>>,
    pub(super) piece_length: usize,
}

impl BlockSink for Disk {
    fn write(&mut self, piece: PieceIndex, offset_in_piece: u32, data: &[u8]) {
        let start = piece.0 as usize * self.piece_length;
        let length = self.piece_length.min(self.data.len() - start);
        let buffer = self.open.entry(piece.0).or_insert_with(|| vec![0; length]);
        buffer[offset_in_piece as usize..][..data.len()].copy_from_slice(data);
    }

    fn discard(&mut self, piece: PieceIndex) {
        self.open.remove(&piece.0);
    }
}

impl Network {
    /// What a node has in memory is what its swarm knows of.
    pub fn check_buffers(&self, node: usize) {
        let node = &self.nodes[node];
        let known = node.swarm.open_in_sink();
        let leaked: Vec<_> =
            node.disk.open.keys().filter(|&&piece| !known.contains(&PieceIndex(piece))).collect();
        assert!(leaked.is_empty(), "{} holds blocks that nobody knows of: pieces {leaked:?}", node.addr);
    }

    pub fn assert_exact(&self, node: usize) {
        let node = &self.nodes[node];
        assert!(node.swarm.is_complete());
        assert!(node.disk.data == *self.torrent.data, "{} has other bytes", node.addr);
        assert!(node.disk.open.is_empty(), "{} holds blocks of a complete torrent", node.addr);
    }
}
