//! Benchmarks beside their floor and their rivals.
//!
//! A benchmark program starts each seeder as a process of its own on one core, runs the load generator on
//! another, and prints ratios of medians from one run: absolute numbers belong to a machine, ratios travel.

pub mod chart;
pub mod child;
pub mod daemon;
pub mod datagrams;
pub mod fio;
pub mod floor;
pub mod gathered_sends;
pub mod http_load;
pub mod leecher;
pub mod library;
pub mod load;
pub mod loop_delay;
pub mod memory_group;
pub mod namespaces;
pub mod page_cache;
pub mod parts;
pub mod process;
pub mod results;
pub mod rivals;
pub mod seeder;
pub mod stalls;
pub mod trackers;

use std::{error::Error, process::ExitCode};

pub use ringseed_loadtest::{data, machine, ports, table};

/// How a program ends: silently with 0, or with what went wrong on the standard error and 1.
pub fn exit_code(outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
