//! The libFuzzer entry point for [`ashore_fuzz::mdns`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ashore_fuzz::mdns(bytes));
