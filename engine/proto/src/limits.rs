//! Every bound of the parsers and of the torrents they accept, each with its reason.
//!
//! A parser checks its bound before it allocates for what the bytes claim.

/// Largest `.torrent` file, bytes. 2^21 piece hashes are 40 MiB; a million files with names another 60 MiB.
pub const TORRENT_BYTES_MAX: usize = 128 << 20;
/// Largest `info` dictionary accepted from peers by `ut_metadata` (BEP 9), bytes. Peers are strangers: they
/// get less than a file that the user chose.
pub const METADATA_BYTES_MAX: usize = 32 << 20;
/// Deepest nesting of bencoded lists and dictionaries. `serde_bencode` recurses once per level; real torrents
/// need 6, file trees of hybrid torrents (BEP 52) as many levels as the content has folders, plus 4.
pub const BENCODE_DEPTH_MAX: usize = 64;
/// Most bencoded values and keys in a torrent. A file entry costs 6 plus its path's components, so this allows
/// 10^6 files; a decoded value costs at most 32 bytes of memory, so it also bounds the decoder to 384 MiB.
pub const BENCODE_TOKENS_MAX: usize = 12 << 20;
/// As [`BENCODE_TOKENS_MAX`] for an `info` dictionary from peers: 350,000 files.
pub const METADATA_TOKENS_MAX: usize = 4 << 20;

/// Largest answer of an HTTP tracker, bytes: 2,000 peers as dictionaries are 150 KiB, scrapes of a whole small
/// tracker a megabyte.
pub const TRACKER_RESPONSE_BYTES_MAX: usize = 2 << 20;
/// Deepest nesting in an answer of an HTTP tracker; a scrape needs 3.
pub const TRACKER_RESPONSE_DEPTH_MAX: usize = 8;
/// Most values in an answer of an HTTP tracker: 7 for each peer or scraped torrent.
pub const TRACKER_RESPONSE_TOKENS_MAX: usize = 128 << 10;
/// Most peers taken from one announce; what a tracker sends beyond it is ignored. Trackers send 50 to 200.
pub const TRACKER_PEERS_MAX: usize = 2000;
/// Most torrents in one scrape over HTTP, asked or answered.
pub const SCRAPE_TORRENTS_MAX: usize = 1000;
/// Most torrents in one scrape over UDP: about 74 fit a datagram (BEP 15).
pub const UDP_SCRAPE_TORRENTS_MAX: usize = 74;
/// Longest query string a tracker reads, bytes: 100 info-hashes, all escaped, are 7,000.
pub const TRACKER_QUERY_BYTES_MAX: usize = 8 << 10;
/// Longest message, warning or failure reason kept from a tracker, bytes.
pub const TRACKER_TEXT_BYTES_MAX: usize = 1024;
/// Longest tracker id kept and sent back, bytes.
pub const TRACKER_ID_BYTES_MAX: usize = 256;
/// Seconds between announces when a tracker does not say, as other clients assume.
pub const TRACKER_INTERVAL_DEFAULT_S: u32 = 1800;
/// Longest interval believed, seconds: a tracker cannot silence a torrent for longer than a day.
pub const TRACKER_INTERVAL_MAX_S: u32 = 24 * 3600;
/// Longest URL path and query in a UDP announce (BEP 41), bytes; it comes in options of 255.
pub const UDP_URL_DATA_BYTES_MAX: usize = 1024;

/// Largest bencoded part of an extension message (BEP 10), bytes.
pub const EXTENSION_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting in an extension message; the handshake needs 2.
pub const EXTENSION_DEPTH_MAX: usize = 8;
/// Most values in an extension message.
pub const EXTENSION_TOKENS_MAX: usize = 4096;

/// Most pieces of a torrent. 2^21 pieces of 16 MiB are 32 TiB, and a `have` bit each is 256 KiB per peer.
pub const PIECES_MAX: u32 = 1 << 21;
/// Most files of a torrent, padding files included. Each costs about 150 bytes of memory.
pub const FILES_MAX: usize = 1 << 20;
/// Most files of a torrent whose paths by the letter of the torrent are kept beside those that they are given. Each costs
/// as much as a file; beyond it other clients' data is only looked for under the names that libtorrent gives.
pub const PLAIN_NAMES_MAX: usize = 10_000;
/// Most folders of a torrent. Each is remembered while paths are made distinct, and a short list of names can
/// stand for a hundred of them.
pub const FOLDERS_MAX: usize = 1 << 20;
/// Smallest piece length, bytes: BEP 3 has no smaller pieces than a 16 KiB block in practice, but other clients
/// accept small ones in tiny test torrents, and so do we.
pub const PIECE_LENGTH_MIN: u32 = 1 << 10;
/// Largest piece length, bytes. A piece is assembled in memory while it is downloaded.
pub const PIECE_LENGTH_MAX: u32 = 256 << 20;
/// Most trackers and most web seeds kept of a torrent or magnet link; the rest is ignored. The longest lists that
/// people pass around have about 150.
pub const TRACKERS_MAX: usize = 256;
/// Longest URL of a tracker or web seed kept, bytes; longer ones are ignored.
pub const URL_BYTES_MAX: usize = 4096;
/// Longest magnet link, bytes.
pub const MAGNET_BYTES_MAX: usize = 64 << 10;
/// Most peer addresses taken from a magnet link.
pub const MAGNET_PEERS_MAX: usize = 128;
/// Most ranges of file indices in a magnet link (BEP 53).
pub const MAGNET_SELECT_RANGES_MAX: usize = 4096;

/// Longest name of a file or folder on Linux, bytes (`NAME_MAX`).
pub const PATH_COMPONENT_BYTES_MAX: usize = 255;
/// Longest relative path of a file, bytes. `PATH_MAX` is 4096 with the NUL and the download folder comes first.
pub const PATH_BYTES_MAX: usize = 3072;
/// Most folders above a file.
pub const PATH_DEPTH_MAX: usize = 100;

const _: () = assert!(PIECES_MAX as usize * 20 <= TORRENT_BYTES_MAX);
const _: () = assert!(METADATA_BYTES_MAX <= TORRENT_BYTES_MAX);
const _: () = assert!(PIECE_LENGTH_MIN.is_power_of_two());
