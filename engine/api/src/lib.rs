//! Serde types of the RPC.
