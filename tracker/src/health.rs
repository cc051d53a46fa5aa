//! `--health`: asks the tracker that runs with the same settings whether it is well, for health checks of containers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::settings::Settings;

/// Time for each step; a tracker that needs longer is not well.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Datagrams get lost when the receive queue is full.
const UDP_TRIES: usize = 3;
/// First bytes of a connect request (BEP 15): the protocol, and action 0.
const UDP_CONNECT: [u8; 12] = [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0];

/// Why the tracker is not well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    /// Nothing answers.
    #[error("no answer from {0}: {1}; does the tracker run with these settings?")]
    Silent(SocketAddr, #[source] io::Error),
    /// Something else answers.
    #[error("{0} does not answer as a tracker does")]
    Strange(SocketAddr),
}

/// Asks over HTTP, or over UDP when that is all that is served.
///
/// # Errors
/// When it is not well; the text names the address.
pub(crate) fn ask(settings: &Settings) -> Result<(), HealthError> {
    let address = SocketAddr::new(here(settings.hosts.first().copied()), settings.port);
    let well = if settings.http { ask_http(address) } else { ask_udp(address) };
    match well {
        Ok(true) => Ok(()),
        Ok(false) => Err(HealthError::Strange(address)),
        Err(error) => Err(HealthError::Silent(address, error)),
    }
}

/// The address to ask at for one to listen on.
fn here(host: Option<IpAddr>) -> IpAddr {
    match host {
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(ip) if !ip.is_unspecified() => ip,
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

fn ask_http(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"ok\n"))
}

fn ask_udp(address: SocketAddr) -> io::Result<bool> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Errors of the port, such as "refused", come back to a connected socket.
    socket.connect(address)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let transaction = std::process::id().to_be_bytes();
    let request = [&UDP_CONNECT[..], &transaction].concat();
    let mut tries = 0;
    loop {
        socket.send(&request)?;
        let mut reply = [0; 64];
        match socket.recv(&mut reply) {
            Ok(length) => return Ok(length == 16 && reply[..4] == [0; 4] && reply[4..8] == transaction),
            Err(error) => {
                tries += 1;
                if tries == UDP_TRIES || error.kind() == io::ErrorKind::ConnectionRefused {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_at_an_address_that_can_be_reached() {
        for (host, expected) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(here(Some(host.parse().unwrap())), expected.parse::<IpAddr>().unwrap());
        }
        assert_eq!(here(None), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn something_else_is_no_tracker() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings { port: address.port(), ..Settings::default() };
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        let error = ask(&settings).unwrap_err();
        other.join().unwrap();
        assert!(matches!(error, HealthError::Strange(there) if there == address), "{error}");
        let error = ask(&settings).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("refused"), "{error}");
    }
}
