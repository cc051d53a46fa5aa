//! The RPC server: Transmission's protocol on `/transmission/rpc`, health and metrics beside it.
//!
//! It runs on the control thread's `LocalSet`. Reads come from the latest snapshot and never wait for a
//! shard; changes go through [`EngineHandle`]. `access` and `gate` say who may connect and who may ask.

// One JSON object of qBittorrent's API has more fields than the macro takes by default.
#![recursion_limit = "256"]

mod access;
mod add;
mod answers;
mod arguments;
mod blocklist;
mod body;
mod connections;
mod creations;
mod error;
mod events;
mod fields;
mod gate;
mod guesses;
mod ids;
mod impatient;
#[doc(hidden)]
pub mod invariants;
mod jsonrpc;
mod limits;
mod methods;
mod metrics;
mod names;
mod origin;
mod places;
mod process;
mod qbt;
mod requests;
mod server;
mod session_set;
mod set;
mod space;
mod tls;
mod token;
mod trackers;
mod unix_socket;

pub use access::{Credentials, Network, NotANetwork};
pub use blocklist::load_blocklist;
use connections::{Activity, Connections, Place};
use limits::ACCEPT_PAUSE;
use origin::Client;
use ringseed_announce::Trust;
use ringseed_handle::EngineHandle;
use ringseed_net::route::Route;
use ringseed_proto::base64;
pub use ringseed_proto::base64::{decode as decode_base64, encode as encode_base64};
use server::Server;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;
pub use tls::{Tls, TlsError};
pub use token::{TOKEN_FILE, TokenError, shared_token, token};
use tokio::net::{TcpListener, UnixListener};
pub use unix_socket::{SocketError, UnixSocket};

/// What the RPC tells about this engine beyond its snapshots.
#[derive(Debug, Clone)]
pub struct RpcInfo {
    /// Version of Ringseed, as `0.1.0`.
    pub version: String,
    /// Directory for torrents added without one.
    pub download_dir: PathBuf,
    /// Where state is kept, when it is.
    pub state_dir: Option<PathBuf>,
    /// Connections of the RPC for which there are descriptors.
    pub sockets_max: usize,
    /// Connections of the whole engine at most.
    pub connections_max: usize,
    /// Connections of one torrent at most.
    pub torrent_connections_max: usize,
    /// Names under which browsers may reach the RPC, beside `localhost` and plain addresses.
    pub allowed_hosts: Vec<String>,
    /// What clients must show.
    pub credentials: Credentials,
    /// Whether torrents may be fetched from addresses of this machine and its networks.
    pub fetch_local: bool,
    /// Directories below which torrents may be made.
    pub create_dirs: Vec<PathBuf>,
    /// How files are fetched.
    pub route: Route,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// When the engine started.
    pub started: SystemTime,
}

/// Where the RPC listens.
pub struct RpcListeners {
    /// TCP, with TLS when it is given.
    pub tcp: Option<(TcpListener, Option<Tls>)>,
    /// A Unix socket, for whoever its permissions let in.
    pub unix: Option<UnixListener>,
}

/// Serves the RPC until the future is dropped. Has to run inside a `LocalSet`.
pub async fn serve(listeners: RpcListeners, handle: EngineHandle, info: RpcInfo) {
    let most = info.sockets_max.min(limits::CONNECTIONS_MAX);
    let server = match Server::new(handle, info) {
        Ok(server) => Rc::new(server),
        Err(error) => {
            tracing::error!(%error, "the RPC cannot start");
            return;
        }
    };
    // Dropping them ends the connections.
    let connections = RefCell::new(Connections::new(most));
    let tcp = async {
        let Some((listener, tls)) = &listeners.tcp else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let (server, tls, remote) = (server.clone(), tls.clone(), remote.ip());
                    let activity = Activity::new(Client::of(Some(remote)), server.access.is_proxy(remote));
                    admit(&connections, &activity.clone(), move |place| async move {
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => server.connection(stream, Some(remote), activity, place).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => server.connection(stream, Some(remote), activity, place).await,
                                Err(error) => {
                                    tracing::debug!(%error, %remote, "no TLS with a client of the RPC")
                                }
                            },
                        }
                    });
                }
                Err(error) => rest(&error).await,
            }
        }
    };
    let unix = async {
        let Some(listener) = &listeners.unix else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (server, activity) = (server.clone(), Activity::new(Client::Here, false));
                    admit(&connections, &activity.clone(), move |place| async move {
                        server.connection(stream, None, activity, place).await;
                    });
                }
                Err(error) => rest(&error).await,
            }
        }
    };
    tokio::join!(tcp, unix);
}

/// Serves a new connection; without room for it, it is closed.
fn admit<F: Future<Output = ()> + 'static>(
    connections: &RefCell<Connections>,
    activity: &Activity,
    serve: impl FnOnce(Place) -> F,
) {
    let mut connections = connections.borrow_mut();
    if let Some(place) = connections.make_room(activity) {
        let task = tokio::task::spawn_local(serve(place));
        connections.insert(task.abort_handle(), activity.clone(), place);
    }
}

async fn rest(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept an RPC connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests;
