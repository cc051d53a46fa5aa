//! Bounds of the RPC server, each with its reason.

use std::time::Duration;

/// Connections open at once: tools keep one or two each, and every one costs a descriptor that a peer could use.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Time a client has for the head of a request; an idle connection is closed after it, too.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Time a client has for the body of a request.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Largest body: a torrent file of 24 MiB in base64. Larger ones can be added by their path.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies above this size are taken a few at a time.
pub(super) const BODY_SMALL_BYTES: u64 = 256 * 1024;
/// How many large bodies may be in memory at once.
pub(super) const LARGE_BODIES_MAX: usize = 4;
/// Pause after `accept` failed, for example for lack of descriptors: trying again at once would spin.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Wrong credentials of one client after which it is refused: people mistype a few times, programs guess thousands.
pub(super) const FAILURES_MAX: u32 = 10;
/// How long they count.
pub(super) const FAILURE_LIFE: Duration = Duration::from_secs(300);
/// Clients whose failures are remembered.
pub(super) const FAILURES_REMEMBERED_MAX: usize = 10_000;
/// Answers from this size on are compressed for clients on other machines that can read it.
pub(super) const GZIP_BYTES_MIN: usize = 4096;
/// Time a client has for its part of a TLS handshake.
pub(super) const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Least pause between two events of one client: faster than anybody reads, and what changes meanwhile is one event.
pub(super) const EVENT_PAUSE: Duration = Duration::from_millis(500);
/// Silence after which an empty event shows that the connection lives: proxies give up after a minute.
pub(super) const EVENT_SILENCE_MAX: Duration = Duration::from_secs(20);
/// Torrents on the page of per-torrent metrics.
pub(super) const TORRENT_SERIES_MAX: usize = 200;
/// Torrents that are told about on the control thread itself: more are written by a thread of their own.
pub(super) const INLINE_TORRENTS_MAX: usize = 64;
/// How long a scrape waits for the file systems to tell their free space: less than what Prometheus waits for it.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(1);
/// Directories whose file systems are looked at: machines have fewer disks, but torrents may be in thousands.
pub(super) const DISKS_MAX: usize = 256;
