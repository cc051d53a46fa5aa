//! The RPC over real sockets, with an engine that a task plays.
