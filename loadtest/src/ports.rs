//! Ports for programs that must be told one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the range from which the kernel takes ports for outgoing connections: thousands of peers of the load leave such
/// ports in use for a minute after each run, on addresses of their own but for everybody who wants to listen on all.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// A loopback address whose port is free on all addresses, over TCP and UDP; another one at each call.
///
/// # Errors
/// All ports are in use.
pub fn free_address() -> io::Result<SocketAddr> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Programs that run one after the other begin in different places.
        let place = std::process::id().wrapping_mul(101).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + place % COUNT) as u16;
        let everywhere = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok() {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
    }
    Err(io::Error::other("no port is free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over_and_none_comes_twice() {
        let first = free_address().unwrap();
        let _taken = TcpListener::bind(first).unwrap();
        let others: Vec<_> = (0..50).map(|_| free_address().unwrap()).collect();
        assert!(others.iter().all(|other| *other != first));
        assert!(others.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
