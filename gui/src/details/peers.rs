//! Connected peers.

use crate::quantity;
use ringseed_api::Peer;

/// A peer as texts.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerRow {
    /// Address and port.
    pub address: String,
    /// Its program.
    pub client: String,
    /// Flags; see [`Peer::flag_str`].
    pub flags: String,
    /// Share that it has.
    pub progress: f32,
    /// The same in percent.
    pub percent: String,
    /// Rate from it.
    pub down: String,
    /// Rate to it.
    pub up: String,
}

/// Rows, the busiest first; equal ones by address, so that they do not jump.
pub fn peers(peers: &[Peer]) -> Vec<PeerRow> {
    let mut sorted: Vec<&Peer> = peers.iter().collect();
    sorted.sort_by(|one, other| {
        let rate = |peer: &Peer| peer.rate_to_client + peer.rate_to_peer;
        let key = |peer: &Peer| (std::cmp::Reverse(rate(peer)), peer.address.clone(), peer.port);
        key(one).cmp(&key(other))
    });
    let row = |peer: &Peer| PeerRow {
        address: if peer.address.contains(':') {
            format!("[{}]:{}", peer.address, peer.port)
        } else {
            format!("{}:{}", peer.address, peer.port)
        },
        client: if peer.client_name.is_empty() { "unknown".to_owned() } else { peer.client_name.clone() },
        flags: peer.flag_str.clone(),
        progress: peer.progress as f32,
        percent: quantity::percent(peer.progress),
        down: quantity::rate(peer.rate_to_client),
        up: quantity::rate(peer.rate_to_peer),
    };
    sorted.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_peer_is_first() {
        let peer = |address: &str, rate| Peer {
            address: address.into(),
            port: 1,
            rate_to_peer: rate,
            ..Peer::default()
        };
        let rows = peers(&[peer("10.0.0.2", 0), peer("::1", 5), peer("10.0.0.1", 0)]);
        let addresses: Vec<_> = rows.iter().map(|row| row.address.as_str()).collect();
        assert_eq!(addresses, ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!((rows[0].up.as_str(), rows[0].client.as_str()), ("5 B/s", "unknown"));
    }
}
