//! Why an engine did not start.

use crate::control::loader::StateError;
use crate::preflight::PreflightError;
use ringseed_announce::TrustError;
use ringseed_handle::EngineError;
use ringseed_net::listener::ListenError;
use ringseed_net::route::ResolveError;
use ringseed_ring::RingError;
use ringseed_rpc as rpc;
use std::io;
use std::net::SocketAddr;

/// Why an engine did not start. Each is one clear message with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system lacks something.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// No port to listen on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The proxy has no address.
    #[error(transparent)]
    Proxy(#[from] ResolveError),
    /// The file of certificates for trackers cannot be used.
    #[error("{0}; check --tracker-ca")]
    TrackerCa(#[from] TrustError),
    /// There is no state to serve: the resume store cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// The RPC address cannot be used.
    #[error("cannot listen for RPC on {address}: {source}; give another address with --rpc")]
    Rpc {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The RPC cannot listen on its Unix socket.
    #[error(transparent)]
    RpcSocket(#[from] rpc::SocketError),
    /// The RPC has no certificate to show.
    #[error(transparent)]
    RpcTls(#[from] rpc::TlsError),
    /// The networks that clients of the RPC may come from, or its proxies, are not named as networks are.
    #[error(transparent)]
    RpcNetwork(#[from] rpc::NotANetwork),
    /// The name and the password for the RPC cannot be used.
    #[error("rpc-auth is a name and a password, as name:password")]
    RpcAuth,
    /// There is no token for the RPC.
    #[error(transparent)]
    RpcToken(#[from] rpc::TokenError),
    /// A thread or a ring could not be made.
    #[error("cannot start {what}: {reason}")]
    Thread {
        /// What was to start.
        what: &'static str,
        /// What went wrong.
        reason: ThreadError,
    },
}

/// Why a part of the engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The system does not give what it needs: a thread, a descriptor.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A shard has no data ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The session cannot go on.
    #[error(transparent)]
    Session(#[from] EngineError),
    /// Its thread ended before it said anything.
    #[error("its thread ended")]
    Ended,
}
