//! What a caller of a swarm does: it carries out actions, sends what is ready, and keeps the time.

use super::*;

impl Network {
    pub(super) fn serve(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].swarm.poll_action() {
            self.act(node, action);
        }
        while let Some(key) = self.nodes[node].swarm.next_ready() {
            let Some(&link) = self.nodes[node].by_key.get(&key) else { continue };
            let end = self.end_of(node, link);
            if !self.links[link].open[end] || self.links[link].sending[end] {
                continue;
            }
            self.send(node, key, link, end);
        }
        let timeout = self.nodes[node].swarm.next_timeout();
        if let Some(at) = timeout
            && self.nodes[node].timeout_at.is_none_or(|known| known != at)
        {
            let at = at.max(self.now);
            self.nodes[node].timeout_at = Some(at);
            self.at(at, Event::Timeout { node });
        }
        let now = self.now;
        let node = &mut self.nodes[node];
        if node.finished_at.is_none() && node.swarm.is_finished() {
            node.finished_at = Some(now);
        }
    }

    fn send(&mut self, node: usize, key: PeerKey, link: usize, end: usize) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let limits = FillLimits { blocks_max: 4, payload_bytes_max: u64::MAX };
        let have = self.nodes[node].swarm.have().clone();
        let outcome =
            self.nodes[node].swarm.fill(self.now, key, &mut batch, limits, |block| have.get(block.piece.0));
        assert!(!matches!(outcome, FillOutcome::Cold(_) | FillOutcome::Budget));
        if !batch.is_empty() {
            let mut bytes = Vec::new();
            for part in &batch.parts {
                match part {
                    Part::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                    Part::Block(block) => {
                        let start = block.piece.0 as usize * self.nodes[node].disk.piece_length;
                        let from = start + block.begin as usize;
                        let at = bytes.len();
                        bytes.extend_from_slice(
                            &self.nodes[node].disk.data[from..from + block.length as usize],
                        );
                        let wrong = match self.nodes[node].kind {
                            Kind::Corrupt { one_in } => self.dice.next().is_multiple_of(one_in),
                            Kind::Rotten { piece } => block.piece.0 == piece,
                            _ => false,
                        };
                        if wrong {
                            bytes[at] ^= 1;
                        }
                    }
                }
            }
            assert_eq!(bytes.len() as u64, batch.payload_bytes() + batch.protocol_bytes());
            let (payload, protocol) = (batch.payload_bytes(), batch.protocol_bytes());
            self.links[link].sending[end] = true;
            let receiver = self.links[link].ends[1 - end];
            if self.nodes[receiver].kind == Kind::Deaf {
                // Its window is closed: the socket never takes this.
            } else {
                let gone = self.transmit(link, end, bytes);
                self.at(gone, Event::Sent { link, from: end, payload, protocol });
            }
        }
        self.batch = batch;
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Disconnect { peer, reason } => {
                self.nodes[node].disconnects.push(reason);
                if let Some(&link) = self.nodes[node].by_key.get(&peer) {
                    let end = self.end_of(node, link);
                    self.close_end(link, end);
                    let at = self.now + self.links[link].latency;
                    self.at(at, Event::Closed { link, to: 1 - end });
                } else {
                    self.nodes[node].swarm.peer_disconnected(self.now, peer);
                }
            }
            Action::PieceReady(piece) => {
                let Disk { data, open, piece_length } = &mut self.nodes[node].disk;
                let bytes = open.remove(&piece.0).unwrap();
                let hash: [u8; 20] = Sha1::digest(&bytes).into();
                let ok = self.torrent.content.info.verify(piece, &hash);
                if ok {
                    data[piece.0 as usize * *piece_length..][..bytes.len()].copy_from_slice(&bytes);
                }
                let compares = !ok || self.nodes[node].swarm.compares_blocks(piece);
                let blocks = if compares { block_digests(&bytes).collect() } else { Vec::new() };
                let found = if ok { Ok(()) } else { Err(hash) };
                self.at(self.now + 2 * MS, Event::Verified { node, piece, found, blocks });
            }
            Action::PieceDropped(piece) => self.nodes[node].disk.discard(piece),
            Action::Completed => assert!(self.nodes[node].swarm.is_finished()),
            Action::PexPeers { addrs, .. } => {
                for addr in if self.use_pex { addrs } else { Vec::new() } {
                    assert_eq!(addr.port(), 6881, "a port that nobody listens on was exchanged");
                    let target = self.nodes.iter().position(|other| other.addr == addr);
                    if let Some(target) = target
                        && self.nodes[node].by_key.len() < 12
                    {
                        self.at(self.now + 50 * MS, Event::Connect { from: node, to: target });
                    }
                }
            }
            Action::MetadataWanted => unreachable!("every swarm here has its metadata"),
            Action::Banned(ip) => self.nodes[node].banned.push(ip),
        }
    }
}
