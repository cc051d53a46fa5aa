//! Bounds and times of announcing, each with its reason.

use std::time::Duration;

/// Announces in flight over all hosts. Each costs a socket at most; more would only queue in the kernel.
pub(super) const RUNNING_MAX: usize = 256;
/// Requests in flight to one HTTP tracker host. Keep-alive makes few connections fast; trackers ban many.
pub(super) const HTTP_PER_HOST_MAX: usize = 6;
/// Announces in flight to one UDP tracker host: datagrams hold nothing open at the tracker.
pub(super) const UDP_PER_HOST_MAX: usize = 32;
/// Transport failures in a row after which a host counts as down and is only probed.
pub(super) const HOST_FAILURES_MAX: u32 = 3;
/// First and last pause between probes of a host that is down.
pub(super) const HOST_PROBE_FIRST: Duration = Duration::from_secs(30);
/// See [`HOST_PROBE_FIRST`].
pub(super) const HOST_PROBE_LAST: Duration = Duration::from_secs(15 * 60);
/// After a host came back, its torrents announce within this time, spread evenly.
pub(super) const HOST_RECOVERY_SPREAD: Duration = Duration::from_secs(60);

/// Trackers taken from one torrent. Lists in the wild reach a hundred; a hostile one may hold a million.
pub(super) const TRACKERS_PER_TORRENT_MAX: usize = 128;
/// Longest tracker URL, bytes: passkeys are short, and the request line has to pass web servers (8 KiB).
pub(super) const URL_BYTES_MAX: usize = 2048;

/// Interval when a tracker names none (BEP 3 leaves it open; trackers use half an hour).
pub(super) const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Shortest interval obeyed: a tracker must not make us a flood.
pub(super) const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Longest interval obeyed: a broken answer must not silence a torrent for ever.
pub(super) const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Least time between two announces that a user asks for, when the tracker names no `min interval`.
pub(super) const MANUAL_INTERVAL: Duration = Duration::from_secs(60);
/// First pause after every tracker of a tier failed; it doubles up to [`RETRY_LAST`].
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(15);
/// See [`RETRY_FIRST`].
pub(super) const RETRY_LAST: Duration = Duration::from_secs(30 * 60);

/// Whole HTTP announce: name lookup, connect, TLS, redirects and body.
pub(super) const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// Time a dial may take inside [`HTTP_TIMEOUT`].
pub(super) const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait for a UDP answer; it doubles with each retransmission (BEP 15: 15 * 2^n).
pub(super) const UDP_FIRST_WAIT: Duration = Duration::from_secs(15);
/// Datagrams of one kind sent before giving up. BEP 15 goes to nine, which is over two hours; a tier should
/// have moved to its next tracker long before.
pub(super) const UDP_ATTEMPTS: u32 = 2;
/// Life of a UDP connection id (BEP 15).
pub(super) const UDP_CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Idle time after which the socket to a UDP tracker is closed.
pub(super) const UDP_SOCKET_IDLE: Duration = Duration::from_secs(120);
/// Largest datagram looked at: 74 peers of IPv6 come in less than 1,400 bytes, some trackers send more.
pub(super) const UDP_DATAGRAM_MAX: usize = 8 * 1024;
/// After one address family answered, how long the other may still take.
pub(super) const OTHER_FAMILY_WAIT: Duration = Duration::from_secs(5);
/// How long a family that failed beside a working one is left alone.
pub(super) const BROKEN_FAMILY_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Largest announce body: 200 peers in the long form are 30 KB.
pub(super) const HTTP_BODY_MAX: usize = 512 * 1024;
/// Largest head of an HTTP answer.
pub(super) const HTTP_HEAD_MAX: usize = 64 * 1024;
/// Redirects followed in one announce.
pub(super) const REDIRECTS_MAX: usize = 5;
/// Sockets from which on connections to HTTP trackers are kept at all.
pub(super) const HTTP_KEPT_FROM: usize = 256;
/// Idle connections kept are closed after this time.
pub(super) const HTTP_IDLE: Duration = Duration::from_secs(60);
/// Longest tracker text kept for display, characters.
pub(super) const TEXT_CHARS_MAX: usize = 300;

/// How long a resolved name is used again; the system's resolver may hold it longer or not at all.
pub(super) const NAME_LIFE: Duration = Duration::from_secs(300);
/// Names remembered.
pub(super) const NAMES_MAX: usize = 4096;

/// Peers asked for while something is missing.
pub(super) const NUMWANT_DOWNLOADING: u32 = 200;
/// Peers asked for by a seed: leechers find it too.
pub(super) const NUMWANT_SEEDING: u32 = 50;

/// Tracker hosts remembered; beyond it those that nobody waits for are forgotten.
pub(super) const HOSTS_MAX: usize = 16 * 1024;
/// As [`RUNNING_MAX`], while the engine stops and there are seconds for all `stopped` announces.
pub(super) const RUNNING_CLOSING_MAX: usize = 1024;
/// As [`HTTP_PER_HOST_MAX`] and [`UDP_PER_HOST_MAX`], while the engine stops.
pub(super) const CLOSING_PER_HOST_MAX: usize = 64;
/// How long a stop waits for announces in flight that could register us yet.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// Trackers noted that were not told of the last bytes before a stop: those of some hundred torrents whose trackers are
/// all down.
pub(super) const UNTOLD_MAX: usize = 4096;
/// How long `started` waits while `stopped` for the same torrent is in flight, before it looks again.
pub(super) const STOP_IN_FLIGHT_PAUSE: Duration = Duration::from_secs(1);
/// Names being looked up at once: each takes a thread of the runtime.
pub(super) const LOOKUPS_MAX: usize = 16;
/// Time that fetching a file may take, redirects included.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
