//! What the host runs on, and how it is set up, as far as the doctor needs to know.

use std::fs::File;
use std::io::Read;

use ashore_core::checks::Platform;

/// What the host runs on.
pub(crate) fn platform() -> Platform {
    let id = |file: &str| read(&format!("/sys/class/dmi/id/{file}"));
    Platform::of_firmware(id("sys_vendor").trim(), id("product_name").trim())
}

/// Whether the host forwards IPv4 packets.
pub(crate) fn forwards() -> bool {
    read("/proc/sys/net/ipv4/ip_forward").trim() == "1"
}

/// A short file of the kernel, or nothing if it cannot be read.
pub(crate) fn read(path: &str) -> String {
    const LONGEST: u64 = 256;
    let mut text = Vec::new();
    // What could be read counts.
    let _ = File::open(path).map(|file| file.take(LONGEST).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}
