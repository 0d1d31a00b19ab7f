//! Whoever calls the plugin and does not come to an end keeps neither descriptors nor other callers.

mod home;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use home::fake_engine::{plugin_call, plugin_socket};
use home::{Home, eventually};

/// More than the plugin reads at once.
const MANY: usize = 600;

#[test]
fn calls_that_do_not_come_whole_are_given_up() {
    let home = Home::new();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", home.daemon().pid())).unwrap().count();
    plugin_call(&home, "/Plugin.Activate", "");
    let before = descriptors();
    let halves = [
        "",
        "POST /IpamDriver.Req",
        "POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ];
    let mut held: Vec<UnixStream> = (0..MANY)
        .map(|n| {
            let mut stream = UnixStream::connect(plugin_socket(&home)).unwrap();
            stream.write_all(halves[n % halves.len()].as_bytes()).unwrap();
            stream
        })
        .collect();
    eventually("they are taken in", || descriptors() > before + 100);
    // Others wait at most until these are given up.
    assert!(plugin_call(&home, "/NetworkDriver.GetCapabilities", "").contains("GwAllocChecker"));
    eventually("none of them is kept", || descriptors() <= before);
    let mut answer = String::new();
    held[2].read_to_string(&mut answer).unwrap();
    assert!(answer.contains("did not come whole"), "{answer}");
}
