//! Fuzzes what `promises::json_rpc` of the RPC promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringseed_rpc::promises::json_rpc(data));
