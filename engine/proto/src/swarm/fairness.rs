//! Upload slots go round among addresses before they go round among connections: a thousand connections of one address
//! get no more than one of another while that one waits.

use std::collections::HashMap;
use std::net::IpAddr;

use super::limits::NETWORK_SLOTS_SHARE;
use crate::peer_address::{host, network};

/// When a peer gets its turn, the least first: whether its network has its share of the slots without it, then how many
/// of its address come before it.
pub(super) type Turn = (bool, u32);

/// Counts the peers of each address and network in the order in which they would get slots.
pub(super) struct Turns {
    addresses: HashMap<IpAddr, u32>,
    networks: HashMap<IpAddr, usize>,
    network_max: usize,
}

impl Turns {
    /// Nobody has had a turn of so many slots.
    pub(super) fn new(slots: usize) -> Turns {
        Turns {
            addresses: HashMap::new(),
            networks: HashMap::new(),
            network_max: (slots / NETWORK_SLOTS_SHARE).max(1),
        }
    }

    /// The turn of the next peer, whose address this is.
    pub(super) fn next(&mut self, ip: IpAddr) -> Turn {
        let before = self.addresses.entry(host(ip)).or_default();
        let of_network = self.networks.entry(network(ip)).or_default();
        let turn = (*of_network >= self.network_max, *before);
        *before += 1;
        *of_network += 1;
        turn
    }

    /// Orders peers that come by merit: by a key that may contain their turn, and by merit where that is the same.
    pub(super) fn arrange<T: Clone, K: Ord>(
        &mut self,
        peers: &mut [T],
        address: impl Fn(&T) -> IpAddr,
        key: impl Fn(&T, Turn) -> K,
    ) {
        let keyed = peers.iter().map(|peer| (key(peer, self.next(address(peer))), peer.clone()));
        let mut keyed: Vec<(K, T)> = keyed.collect();
        keyed.sort_by(|one, other| one.0.cmp(&other.0));
        for (place, (_, peer)) in peers.iter_mut().zip(keyed) {
            *place = peer;
        }
    }

    /// Whether no peer of this address has had a turn.
    pub(super) fn is_new(&self, ip: IpAddr) -> bool {
        !self.addresses.contains_key(&host(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns_and_networks_have_a_share() {
        let mut turns = Turns::new(8);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(turns.is_new(ip("10.0.0.1")));
        assert_eq!(turns.next(ip("10.0.0.1")), (false, 0));
        assert_eq!(turns.next(ip("10.0.0.1")), (false, 1));
        assert_eq!(turns.next(ip("10.0.0.2")), (true, 0), "two of eight slots are the share of a network");
        assert_eq!(turns.next(ip("10.0.1.2")), (false, 0));
        assert_eq!(turns.next(ip("2001:db8::1")), (false, 0));
        assert_eq!(turns.next(ip("2001:db8::2")), (false, 1), "one /64 is one host");
        assert_eq!(turns.next(ip("2001:db8:0:1::2")), (true, 0));
        assert!(!turns.is_new(ip("10.0.0.2")) && turns.is_new(ip("10.0.2.2")));
    }
}
