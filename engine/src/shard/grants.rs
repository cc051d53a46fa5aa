//! What holds a download's requests back: limits of the rate, and bytes that wait to be hashed, written or made durable.

use super::Shard;
use super::torrents::{Assembly, TorrentKey};
use ringseed_proto::units::BLOCK_LEN;

/// What holds a download's requests back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestGrant {
    /// Nothing.
    Unlimited,
    /// A download limit.
    Limited,
    /// Too many bytes wait to be hashed, written or made durable.
    Held,
}

/// Bytes of whole pieces that one torrent may have between memory and disk before it asks for no more.
const WHOLE_BYTES_MAX: u64 = 32 << 20;

/// Bytes of requests that one torrent may have granted and not used: one tick at 320 MB/s.
const GRANT_MAX: u64 = 16 << 20;

impl Shard {
    /// Lets the swarm issue as many requests as limits and the dirty-byte budget allow. `refill`: take what
    /// the limits have granted since the last tick.
    pub(super) fn grant_requests(&mut self, key: TorrentKey, refill: bool) {
        let torrent = &mut self.torrents[key];
        let Assembly::Open(buffers) = &torrent.assembly else { return };
        let held = buffers.whole_bytes() >= WHOLE_BYTES_MAX;
        let grant = if held || torrent.entry.store.limits().dirty().over_budget() {
            RequestGrant::Held
        } else if self.context.download_limit.get().is_some() || torrent.entry.download_limit.get().is_some()
        {
            RequestGrant::Limited
        } else {
            RequestGrant::Unlimited
        };
        let changed = std::mem::replace(&mut torrent.grant, grant) != grant;
        match grant {
            RequestGrant::Held if changed => {
                self.counters.dirty_waits += 1;
                torrent.swarm.set_request_budget(self.now, Some(0));
            }
            RequestGrant::Unlimited if changed => torrent.swarm.set_request_budget(self.now, None),
            RequestGrant::Limited if changed || refill => {
                let (engine, own) = (&self.context.download_limit, &torrent.entry.download_limit);
                // What the swarm did not use of the last grant counts for this one, within the limits' bursts:
                // a limit that was lowered holds at once, and nothing is saved up while peers choke us.
                let cap = engine.burst().into_iter().chain(own.burst()).fold(GRANT_MAX, u64::min);
                let left = torrent.swarm.request_budget().unwrap_or(0).min(cap);
                let most = cap - left;
                let of_engine = engine.take(most, self.now.micros());
                let granted = own.take(of_engine, self.now.micros());
                engine.give_back((of_engine - granted) as i64);
                if left + granted >= u64::from(BLOCK_LEN) {
                    torrent.swarm.set_request_budget(self.now, Some(left + granted));
                } else {
                    // Less than a block waits in the buckets until it is one: the swarm asks for whole ones.
                    engine.give_back(granted as i64);
                    own.give_back(granted as i64);
                    torrent.swarm.set_request_budget(self.now, Some(0));
                }
            }
            RequestGrant::Held | RequestGrant::Unlimited | RequestGrant::Limited => {}
        }
    }
}
