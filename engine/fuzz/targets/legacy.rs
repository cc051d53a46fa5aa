//! Fuzzes what `invariants::legacy` of the RPC invariants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringseed_rpc::invariants::legacy(data));
