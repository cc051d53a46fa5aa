//! What the threads of a tracker share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ringseed_proto::tracker::AnnounceRequest;
use ringseed_proto::units::Time;
use tokio::sync::watch;

use crate::access::{Access, Denied};
use crate::announce_service::{Announced, Refusal};
use crate::connection_id::ConnectionIds;
use crate::limits::CLOCK_START;
use crate::metrics::{Metrics, TrackerStats};
use crate::quota::Quota;
use crate::server::{TrackerConfig, TrackerError};
use crate::shards::Shards;

/// The swarms with their clock, counters and settings.
pub(crate) struct Shared {
    pub(crate) shards: Shards,
    pub(crate) ids: ConnectionIds,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) config: TrackerConfig,
    announces: Quota,
    queries: Quota,
    new_torrents: Quota,
    started: Instant,
    stop: watch::Receiver<bool>,
}

/// Why an announce has no effect. The text may be sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// It makes no sense.
    #[error(transparent)]
    Senseless(#[from] Refusal),
    /// It is not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The client's address asks too often.
    #[error("too many requests from your address")]
    TooOften,
}

impl Shared {
    pub(crate) fn new(
        config: TrackerConfig,
        stop: watch::Receiver<bool>,
    ) -> Result<Arc<Shared>, TrackerError> {
        Ok(Arc::new(Shared {
            shards: Shards::new(&config.service),
            ids: ConnectionIds::new(),
            access: Access::new(config.access.clone())?,
            metrics: Metrics::new()?,
            announces: Quota::new(config.announces_per_minute_max),
            queries: Quota::new(config.announces_per_minute_max),
            new_torrents: Quota::new(config.new_torrents_per_minute_max),
            config,
            started: Instant::now(),
            stop,
        }))
    }

    /// Time since [`CLOCK_START`] before the tracker started: peers of an earlier run have a time, too.
    pub(crate) fn now(&self) -> Time {
        Time::after_epoch(CLOCK_START + self.started.elapsed())
    }

    /// Seconds between announces, for replies.
    pub(crate) fn interval_s(&self) -> u32 {
        u32::try_from(self.config.interval.as_secs()).unwrap_or(u32::MAX)
    }

    /// Takes an announce that came to this path, if it is allowed, and visits the peers that the asker is told about
    /// as compact entries of its address family.
    pub(crate) fn announce(
        &self,
        now: Time,
        from: IpAddr,
        path: &[u8],
        request: &AnnounceRequest,
        peers_max: u32,
        visit: impl FnMut(&[u8]),
    ) -> Result<Announced, Rejection> {
        self.access.check(path, &request.info_hash)?;
        let exempt = self.is_exempt(from);
        if !exempt && !self.announces.admit(now, from) {
            return Err(Rejection::TooOften);
        }
        let new_torrent = || exempt || self.new_torrents.admit(now, from);
        Ok(self.shards.announce(now, from, request, peers_max, &new_torrent, visit)?)
    }

    /// Counts a scrape or a page, of which a client may have as many a minute as announces.
    ///
    /// # Errors
    /// When it was too often.
    pub(crate) fn admit_query(&self, now: Time, from: IpAddr) -> Result<(), Rejection> {
        if self.is_exempt(from) || self.queries.admit(now, from) { Ok(()) } else { Err(Rejection::TooOften) }
    }

    fn is_exempt(&self, from: IpAddr) -> bool {
        self.config.service.exempt.iter().any(|network| network.contains(from))
    }

    /// The client whose share of HTTP connections one from this address takes; none for proxies, which have those of
    /// many, and for networks without bounds.
    pub(crate) fn bounded_client(&self, from: IpAddr) -> Option<IpAddr> {
        let is_proxy = self.config.proxies.iter().any(|network| network.contains(from));
        (!is_proxy && !self.is_exempt(from)).then_some(from)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when the tracker is told to stop.
    pub(crate) async fn stopping(&self) {
        // An error means that the handle is gone: that is a stop as well.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// What was counted, and what is held now.
    pub(crate) fn stats(&self) -> TrackerStats {
        self.metrics.set_held(&self.shards.held());
        self.metrics.stats()
    }

    /// The page for people.
    pub(crate) fn stats_page(&self) -> String {
        self.metrics.set_held(&self.shards.held());
        self.metrics.stats_page(self.started.elapsed())
    }

    /// The page for Prometheus.
    pub(crate) fn prometheus_page(&self) -> Vec<u8> {
        self.metrics.set_held(&self.shards.held());
        self.metrics.prometheus_page()
    }
}
