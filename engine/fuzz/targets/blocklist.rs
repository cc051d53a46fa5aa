//! Fuzzes what `promises::blocklist` of the RPC promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringseed_rpc::promises::blocklist(data));
