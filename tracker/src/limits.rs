//! Every bound of the tracker, each with its reason.

use std::time::Duration;

use ringseed_proto::limits::UDP_SCRAPE_TORRENTS_MAX;

/// Peers in a reply when the request does not say how many it wants. What most clients ask for by themselves.
pub const NUMWANT_DEFAULT: u32 = 50;
/// Most peers in a reply. 200 IPv4 peers are 1,200 bytes, so a UDP reply still fits one Ethernet frame.
pub const NUMWANT_MAX: u32 = 200;

/// Time between a peer's announces that replies ask for, unless configured otherwise (BEP 3 `interval`).
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Longest configurable interval: a week. Beyond it peers would be forgotten before they come back.
pub const INTERVAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Shortest lifetime of a peer that does not announce again, however short the interval is.
pub const PEER_LIFETIME_MIN: Duration = Duration::from_secs(60);

/// Most torrents, both address families together. A torrent with one peer costs about 200 bytes.
pub const TORRENTS_MAX_DEFAULT: usize = 4_000_000;
/// Most peers, both address families together: 40 bytes each make 640 MB at the most.
pub const PEERS_MAX_DEFAULT: usize = 16_000_000;
/// Most peers of one swarm in one address family, so that one torrent cannot use up all peers.
pub const SWARM_PEERS_MAX_DEFAULT: usize = 1_000_000;
/// A swarm of more peers than this finds them by hash table, a smaller one by looking at each.
pub const SWARM_SCANNED_MAX: usize = 32;

/// Peers and torrents that one expiry step looks at: some 100 microseconds of work.
pub const EXPIRY_STEP_PEERS: usize = 8192;
/// Time between expiry steps when one step does not see all peers. 16 million are looked at in 100 s.
pub const EXPIRY_STEP_EVERY: Duration = Duration::from_millis(50);
/// Time between expiry steps when one step sees all peers.
pub const EXPIRY_ROUND_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after the kernel could not accept or receive for want of memory or descriptors.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Longest UDP request that is looked at, bytes. 74 info-hashes are 1,496, an announce with the longest
/// options of BEP 41 that clients send stays below.
pub const UDP_REQUEST_BYTES_MAX: usize = 2048;
/// Longest UDP reply, bytes: the smallest IPv6 path MTU with headers taken off would be 1,232; every real path
/// carries 1,400.
pub const UDP_REPLY_BYTES_MAX: usize = 1400;
/// Requests of one UDP socket in flight. Each waits in the kernel with its own buffer and each is woken by
/// a datagram, so a few are better than many.
pub const UDP_REQUESTS_IN_FLIGHT: usize = 4;
/// How long a UDP connection id is valid after it was given (BEP 15: two minutes).
pub const CONNECTION_ID_LIFETIME_S: u32 = 120;

/// Longest request line with all headers, bytes; hyper's smallest bound. A scrape of 64 hashes is 5 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 8192;
/// Most request headers: clients send five, proxies add a few.
pub const HTTP_HEADERS_MAX: usize = 64;
/// How long a client may take to send the next request with all its headers; also how long a connection may be
/// idle between requests. Clients that announce many torrents reuse a connection within seconds.
pub const HTTP_HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// How long a client may take to accept bytes of a reply.
pub const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Most HTTP connections. Each holds a read buffer and hyper's state, about 10 KiB together.
pub const HTTP_CONNECTIONS_MAX_DEFAULT: usize = 4096;
/// Bytes of one read from an HTTP connection; a whole announce is 500.
pub const HTTP_READ_BYTES: usize = 2048;
/// Most bytes of a reply that wait in an HTTP connection's write buffer.
pub const HTTP_WRITE_BYTES_MAX: usize = 64 * 1024;

/// How long a stop may take. Requests under way have half of it, then their connections are closed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(20 + 6 * NUMWANT_MAX as usize <= UDP_REPLY_BYTES_MAX);
const _: () = assert!(8 + 12 * UDP_SCRAPE_TORRENTS_MAX <= UDP_REPLY_BYTES_MAX);
const _: () = assert!(16 + 20 * UDP_SCRAPE_TORRENTS_MAX <= UDP_REQUEST_BYTES_MAX);
const _: () = assert!(HTTP_HEAD_BYTES_MAX >= 8192, "hyper refuses less");
