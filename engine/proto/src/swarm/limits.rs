//! Limits and intervals of a swarm, each with its reason.

use std::time::Duration;

/// Most peers of one swarm, whatever the settings say; availability is counted in 16 bits.
pub const PEERS_MAX: usize = 60_000;

/// Fewest pieces that may be open, however large they are: one being finished, one being begun.
pub const OPEN_PIECES_MIN: usize = 2;

/// An open piece of which no block came for this long may be closed when its room is wanted: below this rate, 16 KiB
/// in the time, a piece of 1 MiB would take more than half an hour.
pub const PIECE_STALE_AFTER: Duration = Duration::from_secs(30);

/// When another torrent has waited this long for memory to begin a piece, one that holds more than its share gives up
/// the open piece that has least of its blocks.
pub const MEMORY_PATIENCE: Duration = Duration::from_secs(30);

/// A swarm that can begin no piece for want of memory tries again this often.
pub const MEMORY_RETRY: Duration = Duration::from_millis(100);

/// A piece that needs longer than this to its end, at its pace, may be closed when its room is wanted: 64 KiB/s for one of
/// 16 MiB. Each piece that is given up for this doubles it, until those that are finished take less: torrents whose peers
/// are all slow get on, too.
pub const PIECE_OPEN_FIRST: Duration = Duration::from_secs(300);
/// Longest such time while another torrent waits for the memory: 9 KiB/s for a piece of 16 MiB.
pub const PIECE_OPEN_MAX: Duration = Duration::from_secs(1800);
/// Most times that [`PIECE_OPEN_FIRST`] is doubled: to 21 hours.
pub const SLOW_GIVEN_UP_MAX: u32 = 8;
/// Time after which the pace of a piece is judged.
pub const PACE_KNOWN_AFTER: Duration = Duration::from_secs(60);
/// A torrent with too many pieces open gives up a slow one after this time.
pub const CROWDED_PATIENCE: Duration = Duration::from_secs(30);

/// One network (/24 of IPv4, /48 of IPv6) gets at most one of so many upload slots while others wait for them.
pub const NETWORK_SLOTS_SHARE: usize = 4;

/// Fewest requests kept in flight to a peer that delivers: below this a fast peer waits for us.
pub const REQUEST_DEPTH_MIN: u32 = 4;

/// Most requests added to a pipeline at once, so that they share one send.
pub const REFILL_MAX: usize = 64;

/// Requests to a peer that did not say how many it accepts (`reqq`). The oldest clients drop more than this.
pub const PEER_REQUEST_QUEUE_DEFAULT: u32 = 250;

/// Queue kept at a peer beyond its round trip, to cover its disk and our own scheduling.
pub const QUEUE_TIME: Duration = Duration::from_millis(250);

/// Longest time that a peer's queue of requests may take: a third of [`REQUEST_AGE_MAX`].
pub const QUEUE_TIME_MAX: Duration = Duration::from_secs(20);

/// Shortest time without a finished block after which a peer counts as snubbing us.
pub const SNUB_AFTER_MIN: Duration = Duration::from_secs(15);
/// Longest such time: a block at 273 B/s.
pub const SNUB_AFTER_MAX: Duration = Duration::from_secs(60);

/// A request unanswered for this long, while others are answered, was lost.
pub const REQUEST_AGE_MAX: Duration = Duration::from_secs(60);

/// Most peers that are asked for the same block in endgame. More only wastes their upload.
pub const ENDGAME_COPIES_MAX: u8 = 3;

/// The same for blocks that are overdue, counting peers that deliver: one more each [`STEAL_AFTER`].
pub const LATE_COPIES_MAX: u8 = 16;

/// Peers that deliver fewer bytes per second get what is left by others.
pub const SLOW_PEER_RATE: u64 = 4096;

/// What a peer is believed to deliver, in bytes per second, before it has delivered anything.
pub const UNKNOWN_RATE: u64 = 64 * 1024;

/// Most requests in flight to one peer that duplicate those of others.
pub const ENDGAME_REQUESTS_MAX: usize = 16;

/// Outside endgame an idle peer may be asked for a block that another peer owes for this long.
pub const STEAL_AFTER: Duration = Duration::from_secs(5);

/// A piece that is reserved to one peer may be taken from it after this time, when no block came for as long or another
/// peer is much faster.
pub const EXCLUSIVE_PATIENCE: Duration = Duration::from_secs(20);
/// A peer that was asked and does not deliver may take it after this time without a block: others that deliver one now
/// and then keep it, and those that are still asked and do not are snubbing us by then.
pub const SILENT_PATIENCE: Duration = SNUB_AFTER_MAX;

/// Bytes of blocks that a peer may send unasked before it is disconnected.
pub const UNREQUESTED_BYTES_MAX: u64 = 1 << 20;

/// Most late answers (to requests that were cancelled or given up) that are forgiven at a time.
pub const LATE_ANSWERS_MAX: u32 = 8192;

/// Refused requests in a row, in multiples of the announced queue, before a peer counts as flooding.
pub const REQUEST_FLOOD_FACTOR: u32 = 4;

/// Bytes of control messages that may wait for a peer, beside its bitfield. Two choke rounds of
/// rejects for a full queue are 70 KiB.
pub const CONTROL_BYTES_MAX: usize = 256 * 1024;

/// Capacity in bytes that a peer keeps for control messages: thousands of idle ones must not keep that of their busiest
/// moment.
pub const CONTROL_KEPT: usize = 4096;

/// No further requests are queued for a peer that has this many bytes of control messages waiting.
pub const CONTROL_BYTES_BUSY: usize = 64 * 1024;

/// Bytes of messages, said in part or waiting to be sent, from which on a peer may be let go when all peers together have
/// too many: no honest one has as much for long.
pub const CONTROL_HEAVY: u64 = 16 * 1024;
/// Between two ticks they are looked at this often when a peer has as much: it takes a second to send thousands of them.
pub const CONTROL_LOOK: Duration = Duration::from_millis(100);

/// Most HAVE messages in one batch, 9 bytes each.
pub const HAVES_PER_FILL_MAX: usize = 2048;

/// HAVE messages for a peer that was sent something within [`HAVES_HELD_FOR`] wait until there are this many.
pub const HAVES_HELD_MAX: usize = 16;
/// See [`HAVES_HELD_MAX`].
pub const HAVES_HELD_FOR: Duration = Duration::from_millis(100);

/// Most metadata pieces in one batch, 16 KiB each.
pub const METADATA_PER_FILL_MAX: usize = 4;

/// Rejects in a row, without a block in between, after which a peer counts as snubbing us.
pub const REJECTS_MAX: u32 = 64;
/// Pause after a reject of a peer that does not choke us.
pub const REJECT_PAUSE: Duration = Duration::from_millis(500);

/// A block that takes longer than this from its first byte may be taken over by another peer.
pub const BLOCK_TIME_MAX: Duration = Duration::from_secs(10);

/// Actions that may wait before peer exchange stops adding to them.
pub const ACTIONS_MAX: usize = 4096;

/// Pieces a peer may request while choked (BEP 6), as many as this many bytes are, but at least one
/// and at most [`ALLOWED_FAST_PIECES_MAX`].
pub const ALLOWED_FAST_BYTES: u64 = 8 << 20;
/// Most pieces allowed while choked; the number of BEP 6.
pub const ALLOWED_FAST_PIECES_MAX: usize = 10;
/// Most allowed-fast and suggested pieces remembered from a peer.
pub const HINTED_PIECES_MAX: usize = 64;

/// Metadata requests that may wait per peer.
pub const METADATA_QUEUE_MAX: usize = 64;
/// A peer may take the metadata this many times, then has to wait [`METADATA_WINDOW`].
pub const METADATA_COPIES_MAX: u64 = 2;
/// See [`METADATA_COPIES_MAX`].
pub const METADATA_WINDOW: Duration = Duration::from_secs(300);

/// Time between peer exchange messages to a peer; BEP 11 asks for at most one a minute.
pub const PEX_INTERVAL: Duration = Duration::from_secs(60);
/// A peer earns one peer exchange message in this time (BEP 11)...
pub const PEX_RECEIVE_INTERVAL: Duration = Duration::from_secs(60);
/// ... and may send so many at once: clients that were busy catch up. What comes earlier is ignored.
pub const PEX_BURST: u32 = 6;
/// Ignored messages in a row after which the peer is disconnected: it floods.
pub const PEX_EXCESS_MAX: u32 = 12;
/// Most peers added or dropped in one message; the number of BEP 11.
pub const PEX_CHANGES_MAX: usize = 50;
/// Most addresses that are kept as told to one peer.
pub const PEX_KNOWN_MAX: usize = 100;

/// Time between two looks at rates, timeouts and keep-alives while data moves.
pub const TICK: Duration = Duration::from_secs(1);
/// The same for a swarm in which nothing moves, so that 10,000 idle torrents cost nothing.
pub const TICK_IDLE: Duration = Duration::from_secs(5);
/// Time between two regular choke decisions (BEP 3).
pub const RECHOKE: Duration = Duration::from_secs(10);
/// Time an optimistic unchoke lasts (BEP 3).
pub const OPTIMISTIC: Duration = Duration::from_secs(30);
/// Slots of [`UploadSlots::Auto`](super::UploadSlots::Auto) at first: more than most swarms have interested peers.
pub const SLOTS_START: usize = 50;
/// Upload rate, in bytes per second, that pays for one slot of [`UploadSlots::Auto`](super::UploadSlots::Auto): a
/// peer that gets less is not worth its place, one that gets more can share it.
pub const SLOT_RATE: u64 = 256 * 1024;
/// Bytes after which a seed gives the slot of a peer to one that waits.
pub const SEED_QUOTA: u64 = 64 << 20;
/// A seed does not take a slot back before this time.
pub const SEED_TURN_MIN: Duration = Duration::from_secs(20);

/// A connection on which we sent nothing for this long gets a keep-alive; others drop it after 2 minutes.
pub const KEEP_ALIVE: Duration = Duration::from_secs(110);
/// A peer that sent nothing for this long is dropped.
pub const SILENT_MAX: Duration = Duration::from_secs(210);
/// A batch that the peer has not taken after this long is never going to be taken.
pub const SEND_MAX: Duration = Duration::from_secs(240);
/// At the peer limit, peers without interest in either direction for this long make place.
pub const USELESS_MAX: Duration = Duration::from_secs(180);

/// Most addresses under suspicion; beyond it new suspects go unnoticed until others are cleared.
pub const SUSPECTS_MAX: usize = 4096;
/// Most banned addresses of one torrent; beyond it the ban that ends soonest is lifted.
pub const BANNED_MAX: usize = 4096;
/// How long a ban lasts: long enough that a bad sender costs little, short enough for the next user of its address.
pub const BAN_TIME: Duration = Duration::from_secs(3600);
/// Most pieces for which it is remembered who has sent what in place of them, and most senders of each.
pub const FAILED_PIECES_MAX: usize = 1024;
/// Of those, as many are looked at for what is told to users: each costs a look at all peers.
pub const FAILED_PIECES_SHOWN_MAX: usize = 64;
/// See [`FAILED_PIECES_MAX`].
pub const FAILED_SENDERS_MAX: usize = 16;
/// Bad pieces that are not held against an address since another has sent the same bytes: torrents with more than one
/// wrong hash are rare.
pub const PARDONS_MAX: u32 = 3;
/// Blocks of bad pieces that are remembered until the piece is known: 256 KiB, sixteen pieces of 16 MiB.
pub const EVIDENCE_BLOCKS_MAX: usize = 16_384;
/// Pieces of which it is remembered that a connection has sent them wrong; it is banned long before.
pub const REFUSED_PIECES_MAX: usize = 16;
/// A connection that has sent a piece wrong, alone, is asked for it again after this time, doubled each time: what was
/// wrong may have been a moment's fault, and perhaps nobody else has the piece.
pub const REFUSED_FIRST: Duration = Duration::from_secs(120);
/// Longest such time.
pub const REFUSED_LAST: Duration = Duration::from_secs(3600);
/// Most good pieces in a row that a repeated suspect has to deliver alone.
pub const PROBATION_PIECES_MAX: u32 = 16;
