//! Bounds of the RPC server, each with its reason.

use std::time::Duration;

/// Connections open at once: tools keep one or two each, and every one costs a descriptor that a peer could use.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Of these the ones that only clients of this machine get, so that nobody from outside shuts them out.
pub(super) const CONNECTIONS_HERE: usize = 32;
/// Connections of one client elsewhere: browsers open six for each page, and several people may share an address.
pub(super) const CLIENT_CONNECTIONS_MAX: usize = 64;
/// Of all connections the ones that are left to probes of health, while every other one is answering a request.
pub(super) const PROBE_CONNECTIONS: usize = 16;
/// Time a client has for the head of a request; an idle connection is closed after it, too.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Time a client has for a body of up to [`BODY_SMALL_BYTES`].
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Largest body: a torrent file of 24 MiB in base64. Larger ones can be added by their path.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// Bodies above this size are taken a few at a time, and read beside the control thread.
pub(super) const BODY_SMALL_BYTES: usize = 256 * 1024;
/// How many large bodies may be in memory at once.
pub(super) const LARGE_BODIES_MAX: usize = 4;
/// How long a large body waits for others to be done with.
pub(super) const LARGE_BODY_PATIENCE: Duration = Duration::from_secs(30);
/// A large body comes at [`LARGE_BODY_RATE_MIN`] on average of each such time, or it makes room for the next.
pub(super) const LARGE_BODY_WINDOW: Duration = Duration::from_secs(10);
/// Bytes per second: a slow line uploads faster, and 24 MiB take a quarter of an hour at the most.
pub(super) const LARGE_BODY_RATE_MIN: usize = 32 * 1024;
/// Largest body of a login, which is read of anybody: a name and a password.
pub(super) const LOGIN_BYTES_MAX: usize = 4096;
/// Time a client has for it: it is one packet.
pub(super) const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Values in the JSON of one request, of which each takes some 100 bytes of memory: the ids of so many torrents.
pub(super) const JSON_VALUES_MAX: usize = 128 * 1024;
/// Depth of the JSON of a request: those that are understood have five.
pub(super) const JSON_DEPTH_MAX: usize = 32;
/// Longest text in a request beside a torrent file: all trackers that a torrent may have.
pub(super) const JSON_TEXT_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a request beside torrent files: the info-hashes of as many torrents as it may name.
pub(super) const JSON_PLAIN_BYTES_MAX: usize = 8 << 20;
/// Fields that one request names: there are about a hundred.
pub(super) const FIELDS_MAX: usize = 256;
/// Most bytes of the answers to one batch, which are in memory together.
pub(super) const BATCH_ANSWER_BYTES_MAX: usize = 64 << 20;
/// Answers above this size are turned into the newer form beside the control thread, and share the room for long ones.
pub(super) const ANSWER_SMALL_BYTES: usize = 256 * 1024;
/// Long answers that are made at once: each takes a core, and several times its size.
pub(super) const LONG_ANSWERS_MADE_MAX: usize = 2;
/// Most bytes of the long answers that are on their way to clients: six with everything about 10,000 torrents.
pub(super) const LONG_ANSWER_BYTES_ALL_MAX: usize = 128 << 20;
/// How long a request waits until it may make a long answer, and how long that waits for room.
pub(super) const LONG_ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a form beside files: the info-hashes of 100,000 torrents.
pub(super) const FORM_BYTES_MAX: usize = 4 << 20;
/// Most items in a list of a form, such as info-hashes.
pub(super) const FORM_ITEMS_MAX: usize = 128 * 1024;
/// Logins by cookie that one request may show: a browser has one for each path that set one.
pub(super) const LOGIN_COOKIES_MAX: usize = 8;
/// Labels of one torrent: people use a few, programs one each.
pub(super) const LABELS_MAX: usize = 100;
/// Labels, or categories, that the session remembers.
pub(super) const NAMES_MAX: usize = 1000;
/// Longest label, or name of a category or group.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Longest time in which a client takes nothing of an answer: its connection is gone or stuck.
pub(super) const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Pause after `accept` failed, for example for lack of descriptors: trying again at once would spin.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Wrong credentials of one client after which its guesses are looked at slowly: people mistype a few times, programs
/// guess thousands.
pub(super) const FAILURES_MAX: u32 = 10;
/// Wrong credentials of all clients after which those of every client are that never showed right ones: whoever has
/// thousands of addresses.
pub(super) const FAILURES_ALL_MAX: u32 = 1000;
/// How long they count.
pub(super) const FAILURE_LIFE: Duration = Duration::from_secs(300);
/// Clients whose failures are remembered.
pub(super) const FAILURES_REMEMBERED_MAX: usize = 10_000;
/// How long a guess of such a client waits before it is looked at.
pub(super) const GUESS_WAIT: Duration = Duration::from_secs(3);
/// Guesses of one client that wait at once. With [`GUESS_WAIT`] these are 230,000 a day, and a password of eight random
/// letters and digits lasts a million years.
pub(super) const GUESSES_WAITING_MAX: u32 = 8;
/// Guesses of all clients that wait at once: each holds a connection.
pub(super) const GUESSES_WAITING_ALL_MAX: u32 = 64;
/// How long a client that showed right credentials is not slowed by guesses that come from its address.
pub(super) const PROVEN_LIFE: Duration = Duration::from_secs(3600);
/// Answers from this size on are compressed for clients on other machines that can read it.
pub(super) const GZIP_BYTES_MIN: usize = 4096;
/// Time a client has for its part of a TLS handshake.
pub(super) const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Least pause between two events of one client: faster than anybody reads, and what changes meanwhile is one event.
pub(super) const EVENT_PAUSE: Duration = Duration::from_millis(500);
/// Silence after which an empty event shows that the connection lives: proxies give up after a minute.
pub(super) const EVENT_SILENCE_MAX: Duration = Duration::from_secs(20);
/// Streams of events at once: each looks at all torrents twice a second.
pub(super) const STREAMS_MAX: usize = 32;
/// Streams of one client: windows and pages of one machine.
pub(super) const CLIENT_STREAMS_MAX: usize = 16;
/// Torrents in one part of an event, which is what a stream has in memory.
pub(super) const EVENT_PART_TORRENTS: usize = 64;
/// Torrents on the page of per-torrent metrics.
pub(super) const TORRENT_SERIES_MAX: usize = 200;
/// Torrents that are told about on the control thread itself: more are written by a thread of their own.
pub(super) const INLINE_TORRENTS_MAX: usize = 64;
/// How long a scrape waits for the file systems to tell their free space: less than what Prometheus waits for it.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(1);
/// Looks at free space under way at once: more of them wait for a file system that does not answer.
pub(super) const SPACE_LOOKS_MAX: usize = 8;
/// Directories whose file systems are looked at: machines have fewer disks, but torrents may be in thousands.
pub(super) const DISKS_MAX: usize = 256;

const _: () = assert!(PROBE_CONNECTIONS + CONNECTIONS_HERE + CLIENT_CONNECTIONS_MAX < CONNECTIONS_MAX);
const _: () = assert!((GUESSES_WAITING_ALL_MAX as usize) < CONNECTIONS_MAX - CONNECTIONS_HERE);
const _: () = assert!(LOGIN_BYTES_MAX <= BODY_SMALL_BYTES);
