//! Bounds and times of connections and of the addresses they go to, each with its reason.

use std::time::Duration;

/// First and last port tried when none is given: what BitTorrent clients have used since BEP 3.
pub const LISTEN_PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// Time for which a connection moved no data after which it makes room for another when no more may be open: longer than
/// an optimistic unchoke (30 s) takes to come round in small swarms.
pub const USELESS_MIN: Duration = Duration::from_secs(60);

/// The same for a connection of an address that holds [`CROWD_CONNECTIONS_MIN`] connections and more.
pub const CROWD_USELESS_MIN: Duration = Duration::from_secs(10);

/// Connections of one address that are a crowd: more than the users behind one address have in one torrent, as a rule.
pub const CROWD_CONNECTIONS_MIN: usize = 8;

/// Time without a handshake after which a connection makes room for another when no more may be open.
pub const HALF_OPEN_PATIENCE: Duration = Duration::from_secs(3);

/// Connections of one address without a handshake, on one shard, when half of all connections are in use: a user's client
/// opens a few at a time. Many may come at once while there is room, as a load test's do.
pub const HALF_OPEN_OF_ADDRESS_MAX: usize = 64;

/// Least time between two searches for connections that make room: each looks at all of them.
pub const ROOM_SEARCH_PAUSE: Duration = Duration::from_millis(250);

/// Known peer addresses kept for one torrent.
pub const CANDIDATES_MAX: usize = 2_000;

/// Of those, addresses that peers told.
pub const CANDIDATES_TOLD_MAX: usize = CANDIDATES_MAX / 2;

/// Of those, addresses that peers of one network (/24, /48) told: four messages of BEP 11.
pub const CANDIDATES_OF_TELLER_MAX: usize = 200;

/// Ports of one address that a tracker may name: several users behind one address are common, a tracker that was lied to
/// names thousands.
pub const TRACKER_PORTS_MAX: usize = 8;

/// Addresses and ports of one public host (an IPv4 address, the /64 of an IPv6 address) that trackers and peers may name: a
/// host chooses among 2^64 addresses of IPv6, but a network of users may be one /64, too.
pub const CANDIDATES_OF_HOST_MAX: usize = 16;

/// Time a new connection has to complete its handshake: a peer that drips bytes is dropped then.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time a dial may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections one torrent may hold by default while it downloads.
pub const TORRENT_CONNECTIONS_MAX: usize = 200;

/// Exponentiations of encryption handshakes in one turn of a shard: 0.1 ms each, so that a turn takes no longer for them than
/// for a few sends.
pub const EXCHANGES_PER_TURN: usize = 4;

/// Exponentiations that one host may have at once, two for each handshake: more users than sit behind one address open
/// connections in the same second.
pub const EXCHANGES_OF_HOST_BURST: f32 = 256.0;

/// The same for each second after that: 0.6 % of a core.
pub const EXCHANGES_OF_HOST_PER_SECOND: f32 = 64.0;

/// Hosts whose exponentiations are counted on a shard: those that have had none for some seconds are forgotten.
pub const HOSTS_COUNTED_MAX: usize = 4096;
