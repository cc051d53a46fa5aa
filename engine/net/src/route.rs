//! The way that traffic of peers and trackers takes out of this host: from which address, over which interface, through
//! which proxy. What was asked for holds or nothing is sent: there is no other way to fall back to.

use ringseed_proto::socks5::{Proxy, ProxyUrl};
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;

/// A way out; the default is whatever the kernel chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Address that trackers see us from; only hosts of its family are then reached.
    pub bind: Option<IpAddr>,
    /// Interface that everything goes over.
    pub interface: Option<Arc<str>>,
    /// Proxy that connects for us.
    pub proxy: Option<Arc<Proxy>>,
}

impl Route {
    /// Ties a socket to the interface, before it is bound or connected.
    ///
    /// # Errors
    /// When the interface is not there: the socket must not be used then.
    pub fn tie(&self, socket: &impl AsFd) -> io::Result<()> {
        match &self.interface {
            Some(name) => tie(socket, name),
            None => Ok(()),
        }
    }
}

/// Ties a socket to an interface (`SO_BINDTODEVICE`): the kernel then neither sends nor receives anywhere else.
///
/// # Errors
/// When the interface is not there.
pub fn tie(socket: &impl AsFd, interface: &str) -> io::Result<()> {
    let tied = SockRef::from(socket).bind_device(Some(interface.as_bytes()));
    tied.map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => io::Error::new(io::ErrorKind::NetworkDown, missing(interface)),
        _ => io::Error::new(error.kind(), format!("cannot use interface {interface}: {error}")),
    })
}

/// The kernel's number of an interface; another one when it was made anew, `None` when it is not there.
pub fn number(interface: &str) -> Option<u32> {
    let name = std::ffi::CString::new(interface).ok()?;
    // SAFETY: the name ends with a NUL and lives until the call returns, which keeps no pointer to it.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number != 0).then_some(number)
}

/// What is said when an interface is not there.
pub fn missing(interface: &str) -> String {
    format!("interface {interface} is not there: nothing is sent or received until it is")
}

/// Why a proxy cannot be asked: it has no address. Names the host.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's resolver refused.
    #[error("cannot resolve the proxy {host}: {error}; check --proxy")]
    Refused {
        /// The proxy's name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// The name is known and has no address.
    #[error("cannot resolve the proxy {host}: it has no address; check --proxy")]
    NoAddress {
        /// The proxy's name.
        host: String,
    },
}

/// Finds the address of a proxy; blocks for as long as the system's resolver takes.
///
/// # Errors
/// When it has none.
pub fn resolve(url: &ProxyUrl) -> Result<Proxy, ResolveError> {
    let host = || url.host.clone();
    let mut found = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(|error| ResolveError::Refused { host: host(), error })?;
    let address = found.next().ok_or_else(|| ResolveError::NoAddress { host: host() })?;
    Ok(Proxy { address, login: url.login.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_tied_or_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(tie(&socket, "lo").is_ok());
        let error = tie(&socket, "rs-none0").unwrap_err();
        assert!(error.to_string().contains("interface rs-none0 is not there"), "{error}");
        assert!(number("lo").is_some() && number("rs-none0").is_none() && number("a\0b").is_none());
        assert!(Route::default().tie(&socket).is_ok());
    }
}
