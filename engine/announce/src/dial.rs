//! Connections to trackers: from the right address, over the right interface, through the proxy.

use super::address::may_be_local;
use super::http::DialError;
use ringseed_net::route::Route;
use ringseed_proto::socks5::{Connect, Next, Proxy, Target};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// A TCP connection.
pub(super) async fn connect(to: SocketAddr, route: &Route) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    route.tie(&socket)?;
    if let Some(ip) = route.bind {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A UDP socket that takes datagrams of `to` only.
pub(super) async fn datagrams(to: SocketAddr, route: &Route) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((route.bind.unwrap_or(any), 0)).await?;
    route.tie(&socket)?;
    socket.connect(to).await?;
    Ok(socket)
}

/// A TCP connection that the proxy makes. It resolves the name: nobody here learns which one it is.
pub(super) async fn through(
    route: &Route,
    proxy: &Proxy,
    host: &str,
    port: u16,
    public_only: bool,
) -> Result<TcpStream, DialError> {
    // What the proxy finds for a name is not seen here, so names are judged as well as addresses.
    if public_only && may_be_local(host) {
        return Err(DialError::Local);
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let target = match bare.parse::<IpAddr>() {
        Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
        Err(_) => Target::Name(bare.to_owned(), port),
    };
    let mut stream = connect(proxy.address, route).await.map_err(|error| {
        io::Error::new(error.kind(), format!("the proxy {} does not answer: {error}", proxy.address))
    })?;
    let mut asking = Connect::new(&target, proxy.login.clone()).map_err(io::Error::other)?;
    let mut received = Vec::new();
    loop {
        match asking.next(&received).map_err(io::Error::other)? {
            Next::Send(bytes) => {
                received.clear();
                stream.write_all(&bytes).await?;
            }
            Next::Receive(count) => {
                received.clear();
                received.resize(count, 0);
                stream.read_exact(&mut received).await?;
            }
            Next::Done => return Ok(stream),
        }
    }
}
