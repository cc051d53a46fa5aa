//! The RPC server: Transmission's protocol on `/transmission/rpc`, health and metrics beside it.
//!
//! It runs on the control thread's `LocalSet`. Reads come from the latest snapshot and never wait for a
//! shard; changes go through [`EngineHandle`]. Until clients can log in, only this machine may connect.

mod add;
mod base64;
mod fields;
mod gate;
mod ids;
mod limits;
mod methods;
mod metrics;
mod process;
mod server;
mod set;

use super::EngineHandle;
use limits::{ACCEPT_PAUSE, CONNECTIONS_MAX};
use server::Server;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What the RPC tells about this engine beyond its snapshots.
#[derive(Debug, Clone)]
pub struct RpcInfo {
    /// Version of Ringseed, as `0.1.0`.
    pub version: String,
    /// Directory for torrents added without one.
    pub download_dir: PathBuf,
    /// Where state is kept, when it is.
    pub state_dir: Option<PathBuf>,
    /// Connections of the whole engine at most.
    pub connections_max: usize,
    /// Connections of one torrent at most.
    pub torrent_connections_max: usize,
    /// Names under which browsers may reach the RPC, beside `localhost` and plain addresses.
    pub allowed_hosts: Vec<String>,
    /// When the engine started.
    pub started: SystemTime,
}

/// Serves the RPC on a listener until the future is dropped. Has to run inside a `LocalSet`.
pub async fn serve(listener: TcpListener, handle: EngineHandle, info: RpcInfo) {
    let server = match Server::new(handle, info) {
        Ok(server) => Rc::new(server),
        Err(error) => {
            tracing::error!(%error, "the RPC cannot start");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropping the set ends its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, remote)) => {
                let server = server.clone();
                connections.spawn_local(async move {
                    server.connection(stream, remote).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an RPC connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
