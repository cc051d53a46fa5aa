//! Benchmarks beside their floor and their rivals.
