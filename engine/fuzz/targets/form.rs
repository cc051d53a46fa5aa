//! Fuzzes what `invariants::form` of the RPC invariants.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringseed_rpc::invariants::form(data));
