//! Host names to addresses, remembered for a while so that thousands of torrents ask once.

use super::limits::{LOOKUPS_MAX, NAME_LIFE, NAMES_MAX};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Addresses by name, with the moment until which they are believed.
type Known = HashMap<Box<str>, (Instant, Arc<[IpAddr]>)>;

/// A resolver with a memory.
pub(super) struct Names {
    known: Mutex<Known>,
    lookups: Semaphore,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(HashMap::new()), lookups: Semaphore::new(LOOKUPS_MAX) }
    }

    /// The addresses of a host, given as a name or as an address with or without brackets; never empty.
    pub(super) async fn resolve(&self, host: &str) -> io::Result<Arc<[IpAddr]>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Arc::new([address.to_canonical()]));
        }
        if let Some(addresses) = self.remembered(host) {
            return Ok(addresses);
        }
        let _permit = self.lookups.acquire().await.map_err(io::Error::other)?;
        if let Some(addresses) = self.remembered(host) {
            return Ok(addresses); // looked up while we waited
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in tokio::net::lookup_host((host, 0)).await? {
            let address = address.ip().to_canonical();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let addresses: Arc<[IpAddr]> = addresses.into();
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() < NAMES_MAX {
            known.insert(host.into(), (now + NAME_LIFE, addresses.clone()));
        }
        Ok(addresses)
    }

    /// Knows the addresses of a host.
    #[cfg(test)]
    pub(super) fn knowing(host: &str, addresses: &[IpAddr]) -> Self {
        let names = Self::new();
        let until = Instant::now() + NAME_LIFE;
        names.known.lock().unwrap().insert(host.into(), (until, addresses.into()));
        names
    }

    fn remembered(&self, host: &str) -> Option<Arc<[IpAddr]>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, addresses) = known.get(host)?;
        (*until > Instant::now()).then(|| addresses.clone())
    }
}
