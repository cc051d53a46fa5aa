//! What the two front ends share on the tracker's thread.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ringseed_proto::tracker::AnnounceRequest;
use ringseed_proto::units::Time;
use tokio::sync::watch;

use crate::announce_service::{AnnounceService, Announced, Refusal};
use crate::connection_id::ConnectionIds;
use crate::limits::{EXPIRY_ROUND_EVERY, EXPIRY_STEP_EVERY, EXPIRY_STEP_PEERS};
use crate::metrics::Metrics;
use crate::server::TrackerConfig;

/// The service with its clock, counters and settings. Never leaves its thread.
pub(crate) struct Shared {
    pub(crate) service: RefCell<AnnounceService>,
    pub(crate) ids: ConnectionIds,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: TrackerConfig,
    pub(crate) started: Instant,
    stop: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(
        service: AnnounceService,
        metrics: Arc<Metrics>,
        config: TrackerConfig,
        stop: watch::Receiver<bool>,
    ) -> Shared {
        Shared {
            service: RefCell::new(service),
            ids: ConnectionIds::new(),
            metrics,
            config,
            started: Instant::now(),
            stop,
        }
    }

    /// Time since the tracker started.
    pub(crate) fn now(&self) -> Time {
        Time::after_epoch(self.started.elapsed())
    }

    /// Seconds between announces, for replies.
    pub(crate) fn interval_s(&self) -> u32 {
        u32::try_from(self.config.interval.as_secs()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when the tracker is told to stop.
    pub(crate) async fn stopping(&self) {
        // An error means that the handle is gone: that is a stop as well.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Takes an announce and counts what it changed; `peers` is emptied and filled with the peers to name.
    pub(crate) fn announce(
        &self,
        from: IpAddr,
        request: &AnnounceRequest,
        peers_max: u32,
        peers: &mut Vec<SocketAddr>,
    ) -> Result<Announced, Refusal> {
        peers.clear();
        let mut service = self.service.borrow_mut();
        let announced = service.announce(self.now(), from, request, peers_max, |peer| peers.push(peer))?;
        self.metrics.set_held(&service.held());
        self.metrics.peers_given.inc_by(peers.len() as u64);
        if !announced.remembered {
            self.metrics.not_remembered.inc();
        }
        Ok(announced)
    }

    /// Forgets peers that do not come back, in steps, until the tracker stops.
    pub(crate) async fn expire(&self) {
        loop {
            let few = self.service.borrow().held().peers() <= EXPIRY_STEP_PEERS / 4;
            let pause = if few { EXPIRY_ROUND_EVERY } else { EXPIRY_STEP_EVERY };
            tokio::select! {
                () = self.stopping() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let mut service = self.service.borrow_mut();
            let expired = service.expire(self.now(), EXPIRY_STEP_PEERS);
            if expired > 0 {
                self.metrics.peers_expired.inc_by(expired as u64);
                self.metrics.set_held(&service.held());
            }
        }
    }
}
