//! Nodes that are no swarm: they greet, hear and drip as hostile or simple peers do.

use super::*;

impl Network {
    pub(super) fn say(&mut self, link: usize, from: usize, messages: impl Fn(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        messages(&mut bytes);
        self.transmit(link, from, bytes);
    }

    pub(super) fn raw_greets(&mut self, link: usize, end: usize) {
        let layout = &self.torrent.content.info.layout;
        let (pieces, piece_length) = (layout.piece_count(), layout.piece_length);
        let first =
            move |piece| Block { piece: PieceIndex(piece), begin: 0, length: piece_length.min(16_384) };
        match self.nodes[self.links[link].ends[end]].kind {
            Kind::Flooder => self.say(link, end, |out| {
                Message::HaveNone.encode(out);
                Message::Interested.encode(out);
                for n in 0..40_000 {
                    Message::Request(first(n % (pieces - 1))).encode(out);
                }
            }),
            Kind::Deaf => self.say(link, end, |out| {
                Message::HaveNone.encode(out);
                Message::Interested.encode(out);
                (0..1500).for_each(|n| Message::Request(first(n % (pieces - 1))).encode(out));
            }),
            Kind::Endless => self.say(link, end, |out| {
                out.extend_from_slice(&(128u32 << 10).to_be_bytes());
                out.extend_from_slice(&[20, 0]);
                out.resize(out.len() + (127 << 10), b'x');
            }),
            Kind::Trickle { from, to, seconds } => {
                self.say(link, end, |out| {
                    let mut pieces = Bitfield::new(pieces);
                    (from..to).for_each(|piece| _ = pieces.set(piece));
                    Message::Bitfield(pieces.as_bytes()).encode(out);
                    Message::Unchoke.encode(out);
                });
                let node = self.links[link].ends[end];
                self.at(self.now + SECOND * seconds as u32, Event::Drip { node, link });
            }
            _ => self.say(link, end, |out| {
                Message::HaveAll.encode(out);
                Message::Unchoke.encode(out);
            }),
        }
    }

    pub(super) fn raw_hears(&mut self, link: usize, to: usize, bytes: &[u8]) {
        let node = self.links[link].ends[to];
        match self.nodes[node].kind {
            Kind::Dripper => {}
            Kind::Trickle { .. } => return self.note_requests(node, link, bytes),
            Kind::Withholder => return self.withhold(link, to, bytes),
            _ => return,
        }
        let Some(raw) = self.nodes[node].raw.get_mut(&link) else { return };
        let mut input = bytes;
        let mut begin = false;
        while let Ok(Some(frame)) = raw.decoder.next(&mut input) {
            if let Frame::Message(Message::Request(block)) = frame
                && raw.owed.is_none()
            {
                raw.owed = Some((block, 0));
                begin = true;
            }
        }
        if begin {
            self.at(self.now, Event::Drip { node, link });
        }
    }

    fn note_requests(&mut self, node: usize, link: usize, bytes: &[u8]) {
        let Some(raw) = self.nodes[node].raw.get_mut(&link) else { return };
        let mut input = bytes;
        while let Ok(Some(frame)) = raw.decoder.next(&mut input) {
            match frame {
                Frame::Message(Message::Request(block)) => raw.asked.push_back(block),
                Frame::Message(Message::Cancel(block)) => raw.asked.retain(|asked| *asked != block),
                _ => {}
            }
        }
    }

    /// Answers one request, rightly.
    pub(super) fn trickle(&mut self, node: usize, link: usize, seconds: u64) {
        let end = self.end_of(node, link);
        if !self.links[link].open[end] {
            return;
        }
        let asked = self.nodes[node].raw.get_mut(&link).and_then(|raw| raw.asked.pop_front());
        if let Some(block) = asked {
            self.give(link, end, &block);
        }
        self.at(self.now + SECOND * seconds as u32, Event::Drip { node, link });
    }

    /// Sends a block as it is.
    fn give(&mut self, link: usize, from: usize, block: &Block) {
        let mut bytes = Vec::new();
        encode_piece_header(block, &mut bytes);
        let at = self.torrent.content.info.layout.piece_offset(block.piece) as usize + block.begin as usize;
        bytes.extend_from_slice(&self.torrent.data[at..at + block.length as usize]);
        self.transmit(link, from, bytes);
    }

    fn withhold(&mut self, link: usize, to: usize, bytes: &[u8]) {
        let node = self.links[link].ends[to];
        let Some(raw) = self.nodes[node].raw.get_mut(&link) else { return };
        let (mut input, mut asked) = (bytes, Vec::new());
        while let Ok(Some(frame)) = raw.decoder.next(&mut input) {
            if let Frame::Message(Message::Request(block)) = frame {
                asked.push(block);
            }
        }
        let layout = self.torrent.content.info.layout.clone();
        for block in asked.into_iter().filter(|block| block.end() < layout.piece_len(block.piece).into()) {
            self.give(link, to, &block);
        }
    }

    pub(super) fn drip(&mut self, node: usize, link: usize) {
        let end = self.end_of(node, link);
        let Some((block, sent)) = self.nodes[node].raw.get(&link).and_then(|raw| raw.owed) else { return };
        if !self.links[link].open[end] || sent == block.length {
            return;
        }
        let mut bytes = Vec::new();
        if sent == 0 {
            encode_piece_header(&block, &mut bytes);
        }
        bytes.push(0xdd);
        self.transmit(link, end, bytes);
        if let Some(raw) = self.nodes[node].raw.get_mut(&link) {
            raw.owed = Some((block, sent + 1));
        }
        self.at(self.now + SECOND, Event::Drip { node, link });
    }
}
