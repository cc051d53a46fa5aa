//! Real programs under the load test's control: engines and a tracker, each with an address of its own.

mod engine;
mod http;
mod metrics;
mod network;
mod program;
mod tracker;

pub use engine::{Engine, EngineSpec, Sample, Traffic, base64_decoded};
pub use http::{Answer, Rpc, exchange};
pub use metrics::Metrics;
pub use network::{LinkShape, MemoryDisk, Network, isolate};
pub use program::{Program, Signal};
pub use tracker::{TrackerProcess, TrackerUse};
