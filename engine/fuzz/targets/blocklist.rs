//! Fuzzes what `invariants::blocklist` of the RPC invariants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringseed_rpc::invariants::blocklist(data));
