//! The libFuzzer entry point for [`ashore_fuzz::dhcp4`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(ashore_fuzz::dhcp4(bytes)));
