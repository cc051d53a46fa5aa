//! One announce over both address families, and the transport that picks HTTP or UDP by the URL.

use super::AnnounceConfig;
use super::http::HttpTrackers;
use super::limits::OTHER_FAMILY_WAIT;
use super::names::Names;
use super::schedule::Outcome;
use super::transport::{Failure, LocalFuture, Request, RetryRule, Transport};
use super::udp::UdpTrackers;
use super::url::{Protocol, TrackerUrl};
use ringseed_net::route::Route;
use ringseed_proto::tracker::{AnnounceResponse, Family};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// Trackers over the network.
pub(super) struct Trackers {
    route: Route,
    names: Arc<Names>,
    http: HttpTrackers,
    udp: UdpTrackers,
}

impl Trackers {
    pub(super) fn new(config: &AnnounceConfig) -> Self {
        let names = Arc::new(Names::new());
        Self {
            route: config.route.clone(),
            http: HttpTrackers::new(config, names.clone()),
            udp: UdpTrackers::new(config.route.clone(), names.clone(), config.sockets_max / 2),
            names,
        }
    }
}

impl Transport for Trackers {
    fn families<'a>(&'a self, url: &'a TrackerUrl) -> LocalFuture<'a, Result<Vec<Family>, Failure>> {
        Box::pin(async move {
            if self.route.proxy.is_some() {
                if url.protocol == Protocol::Udp {
                    let text =
                        "UDP trackers are not announced to through a proxy, and never around it".to_owned();
                    return Err(Failure::Refused { text, retry: RetryRule::Never });
                }
                // The proxy resolves the name, and takes the family that it has.
                return Ok(vec![Family::V4]);
            }
            let addresses = self
                .names
                .resolve(&url.host)
                .await
                .map_err(|error| Failure::Unreachable(format!("cannot resolve {}: {error}", url.host)))?;
            let mut families = Vec::with_capacity(2);
            for family in addresses.iter().map(|ip| Family::of(*ip)) {
                let bound_to_other = self.route.bind.is_some_and(|bind| Family::of(bind) != family);
                if !families.contains(&family) && !bound_to_other {
                    families.push(family);
                }
            }
            if families.is_empty() {
                return Err(Failure::Unreachable(format!("{} has no address we can use", url.host)));
            }
            Ok(families)
        })
    }

    fn announce<'a>(
        &'a self,
        request: &'a Request,
        family: Family,
    ) -> LocalFuture<'a, Result<AnnounceResponse, Failure>> {
        match request.url.protocol {
            Protocol::Http | Protocol::Https => Box::pin(self.http.announce(request, family)),
            Protocol::Udp => Box::pin(self.udp.announce(request, family)),
        }
    }
}

/// Announces over every usable family. Peers go to `deliver` as they come; it gives back what it cannot take.
///
/// The announce is good when one family is; the other then has [`OTHER_FAMILY_WAIT`] more.
pub(super) async fn announce_all(
    transport: &dyn Transport,
    request: &Request,
    usable: impl Fn(Vec<Family>) -> Vec<Family>,
    deliver: impl Fn(Vec<SocketAddr>) -> Result<(), Vec<SocketAddr>>,
) -> Outcome {
    let families = match transport.families(&request.url).await {
        Ok(families) => usable(families),
        Err(failure) => return Outcome { result: Err(failure), peers: 0, late: Vec::new(), broken: None },
    };
    let (mut late, mut count) = (Vec::new(), 0);
    let mut take = |result: &mut Result<AnnounceResponse, Failure>| {
        if let Ok(response) = result {
            let peers: Vec<_> =
                std::mem::take(&mut response.peers).into_iter().map(|peer| peer.addr).collect();
            count += peers.len() as u32;
            if let Err(peers) = deliver(peers) {
                late.extend(peers);
            }
        }
    };
    let &[first, second] = families.as_slice() else {
        let mut result = match families.first() {
            Some(&family) => transport.announce(request, family).await,
            None => Err(Failure::Unreachable("no address family to use".to_owned())),
        };
        take(&mut result);
        return Outcome { result, peers: count, late, broken: None };
    };
    let mut one = transport.announce(request, first);
    let mut two = transport.announce(request, second);
    let (mut early, early_family, rest, rest_family) = tokio::select! {
        result = &mut one => (result, first, two, second),
        result = &mut two => (result, second, one, first),
    };
    take(&mut early);
    let mut other = if early.is_ok() {
        let silent = || Failure::Unreachable("no answer".to_owned());
        timeout(OTHER_FAMILY_WAIT, rest).await.unwrap_or_else(|_| Err(silent()))
    } else {
        rest.await
    };
    take(&mut other);
    let (result, broken) = match (early, other) {
        (Ok(early), Ok(other)) => (Ok(merged(early, &other)), None),
        (Ok(early), Err(Failure::Unreachable(_))) => (Ok(early), Some(rest_family)),
        (Ok(early), Err(_)) => (Ok(early), None),
        (Err(Failure::Unreachable(_)), Ok(other)) => (Ok(other), Some(early_family)),
        (Err(_), Ok(other)) => (Ok(other), None),
        // What a tracker said tells more than that one of its addresses is dead.
        (Err(Failure::Unreachable(_)), Err(other @ Failure::Refused { .. })) => {
            (Err(other), Some(early_family))
        }
        (Err(early), Err(_)) => (Err(early), None),
    };
    Outcome { result, peers: count, late, broken }
}

/// One answer of two: the swarm is at least as large as either says.
fn merged(mut one: AnnounceResponse, other: &AnnounceResponse) -> AnnounceResponse {
    one.interval = one.interval.max(other.interval);
    one.min_interval = one.min_interval.max(other.min_interval);
    one.complete = one.complete.max(other.complete);
    one.incomplete = one.incomplete.max(other.incomplete);
    one.warning = one.warning.or_else(|| other.warning.clone());
    one.tracker_id = one.tracker_id.or_else(|| other.tracker_id.clone());
    one
}
