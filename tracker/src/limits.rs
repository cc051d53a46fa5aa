//! Every bound of the tracker, each with its reason.

use std::ops::Range;
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
/// Most ports of one client in one swarm. Several people behind one address are served; somebody who invents peers is
/// fewer than an answer has, so that real ones are always among them.
pub const PORTS_PER_CLIENT_DEFAULT: usize = 16;
/// Most torrents that one client may bring in per minute. Those of an hour, after which they are forgotten, are 60,000:
/// more than most seeders have, and one in sixty of all.
pub const NEW_TORRENTS_PER_MINUTE_DEFAULT: u32 = 1000;
/// Most announces of one client per minute: as many as 180,000 torrents make at the usual interval.
pub const ANNOUNCES_PER_MINUTE_DEFAULT: u32 = 6000;
/// Whose clients have none of these bounds: this machine, where load tests and proxies are.
pub const EXEMPT_DEFAULT: [&str; 2] = ["127.0.0.0/8", "::1"];
/// A swarm of more peers than this finds them by hash table, a smaller one by looking at each.
pub const SWARM_SCANNED_MAX: usize = 32;

/// Parts into which swarms are cut by info-hash, each with a lock: many more than threads, so that these seldom meet.
pub const SHARDS: usize = 64;

/// Peers and torrents that one expiry step looks at, over all parts. Whoever answers on the same core waits for as long as
/// a step takes, and so does everybody whose request comes meanwhile: some 50 microseconds.
pub const EXPIRY_STEP_PEERS: usize = 512;
/// Of these the ones in one part, while its lock is held.
pub const EXPIRY_STEP_SHARD_PEERS: usize = 128;
/// Time between expiry steps while there are many peers. 16 million are looked at in 100 s.
pub const EXPIRY_STEP_EVERY: Duration = Duration::from_millis(3);
/// With no more peers than these, all are looked at in one step.
pub const EXPIRY_ROUND_PEERS: usize = 2048;
/// Time between those.
pub const EXPIRY_ROUND_EVERY: Duration = Duration::from_secs(1);
/// How long to wait after the kernel could not accept or receive for want of memory or descriptors.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);

/// Longest UDP request that is looked at, bytes. 74 info-hashes are 1,496, an announce with the longest
/// options of BEP 41 that clients send stays below.
pub const UDP_REQUEST_BYTES_MAX: usize = 2048;
/// Longest UDP reply, bytes: the smallest IPv6 path MTU with headers taken off would be 1,232; every real path
/// carries 1,400.
pub const UDP_REPLY_BYTES_MAX: usize = 1400;
/// Datagrams that one system call receives or sends at most.
pub const UDP_BATCH: usize = 64;
/// After batches of so many datagrams a UDP thread lets more come before it goes on: there is a stream of requests, and
/// larger batches cost less for each. A single request is answered at once, and a full batch is followed by the next.
pub const UDP_PAUSE_BATCHES: Range<usize> = 4..UDP_BATCH;
/// How long, before what the kernel adds to be able to wake threads together (50 us).
pub const UDP_PAUSE: Duration = Duration::from_micros(100);
/// From how many datagrams on it pays to have memory fetched before they are answered.
pub const UDP_LOOK_AHEAD_MIN: usize = 4;
/// Bytes of datagrams that the kernel keeps for a UDP socket while its thread is busy, as far as it allows.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// How long a UDP thread waits for a datagram before it looks whether the tracker stops.
pub const UDP_WAIT_MAX: Duration = Duration::from_secs(5);
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
/// Most HTTP connections of one client. Many people may share an address; a client needs one or two.
pub const HTTP_CONNECTIONS_PER_CLIENT_DEFAULT: usize = 256;
/// Descriptors that HTTP connections leave to everything else: files, and what the program was started with.
pub const DESCRIPTORS_RESERVED: usize = 48;
/// As many more for each thread: its sockets and ring, and connections that are being closed.
pub const DESCRIPTORS_RESERVED_PER_WORKER: usize = 16;
/// Bytes of one read from an HTTP connection; a whole announce is 500.
pub const HTTP_READ_BYTES: usize = 2048;
/// Most bytes of a reply that wait in an HTTP connection's write buffer.
pub const HTTP_WRITE_BYTES_MAX: usize = 64 * 1024;

/// Longest announce key, bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest list of info-hashes or keys, bytes: six million info-hashes.
pub const LIST_BYTES_MAX: u64 = 256 << 20;
/// How often the lists are looked at for changes.
pub const LISTS_LOOK_EVERY: Duration = Duration::from_secs(2);
/// Counters of each quota of addresses: 256 KiB.
pub const QUOTA_CELLS: usize = 1 << 16;
/// What the tracker's clock shows when it starts: more than the longest lifetime of a peer.
pub const CLOCK_START: Duration = Duration::from_secs(15 * 24 * 3600);
/// How often the swarms are saved, beside at the end.
pub const STATE_SAVE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Longest file of swarms that is read, bytes: 80 million peers.
pub const STATE_BYTES_MAX: u64 = 1 << 30;

/// Most threads for each of HTTP and UDP.
pub const WORKERS_MAX: usize = 256;

/// How long a stop may take. Requests under way have half of it, then their connections are closed.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(PORTS_PER_CLIENT_DEFAULT < NUMWANT_DEFAULT as usize);
const _: () = assert!(20 + 6 * NUMWANT_MAX as usize <= UDP_REPLY_BYTES_MAX);
const _: () = assert!(8 + 12 * UDP_SCRAPE_TORRENTS_MAX <= UDP_REPLY_BYTES_MAX);
const _: () = assert!(16 + 20 * UDP_SCRAPE_TORRENTS_MAX <= UDP_REQUEST_BYTES_MAX);
const _: () = assert!(CLOCK_START.as_secs() > 2 * INTERVAL_MAX.as_secs());
const _: () = assert!(HTTP_HEAD_BYTES_MAX >= 8192, "hyper refuses less");
