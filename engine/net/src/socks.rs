//! Connections to peers through a SOCKS5 proxy: what is said before the BitTorrent handshake.

use crate::limits::CONNECT_TIMEOUT;
use glommio::io::PollableFd;
use ringseed_proto::socks5::{Connect, Next, Proxy, Target};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Asks the proxy at the other end of `socket` to connect to `peer`; the socket then leads there.
///
/// # Errors
/// When it does not within the time of a dial.
pub(crate) async fn ask(proxy: &Proxy, socket: OwnedFd, peer: SocketAddr) -> io::Result<OwnedFd> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the proxy did not answer in time");
    glommio::future::timeout(CONNECT_TIMEOUT, talk(proxy, socket, peer)).await.unwrap_or_else(|_| Err(late()))
}

async fn talk(proxy: &Proxy, socket: OwnedFd, peer: SocketAddr) -> io::Result<OwnedFd> {
    let socket = PollableFd::new(socket).map_err(io::Error::other)?;
    let mut connect = Connect::new(&Target::Address(peer), proxy.login.clone()).map_err(io::Error::other)?;
    let mut received = Vec::new();
    loop {
        match connect.next(&received).map_err(io::Error::other)? {
            Next::Send(bytes) => {
                received.clear();
                // Some hundred bytes always fit the empty buffer of a socket.
                if send(socket.get_ref(), &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)? < bytes.len() {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            Next::Receive(count) => {
                received.clear();
                received.resize(count, 0);
                receive(&socket, &mut received).await?;
            }
            Next::Done => return Ok(socket.into_inner()),
        }
    }
}

/// Fills `buffer`.
async fn receive(socket: &PollableFd<OwnedFd>, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match recv(socket.get_ref(), &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy hung up")),
            Ok((count, _)) => buffer = &mut buffer[count..],
            Err(error) if error == rustix::io::Errno::AGAIN => {
                socket.readable().await.map_err(io::Error::other)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
