//! `ashore lab --vlan`: VLAN 200 beside the LAN. Runs in the virtual machine, whose kernel has VLANs and can
//! also run without them.

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use ashore_lab::{Engines, Ran};
use home::PROGRAM;
use home::demonstration::{all_as_expected, as_nobody, for_anybody, refused_without_8021q};
use serde_json::Value;

/// Modules belong to the whole kernel, and so does the loading of them.
static MODULES: Mutex<()> = Mutex::new(());

/// Without the router's forwarding, only what needs no router keeps working.
#[test]
fn vlan_200_meets_the_lan_at_the_router_alone() {
    let _modules = MODULES.lock();
    let rows = all_as_expected(Ran::of(Command::new(PROGRAM).args(["lab", "--vlan", "--json"])).unwrap());
    let reached = |from: &str, to: &str| -> Vec<bool> {
        let is_to = |row: &Value| row["to"].as_str().unwrap().starts_with(&format!("{to} "));
        // Those of the thief are in `lab`.
        let stolen = |row: &Value| row["to"].as_str().unwrap().contains("(with Ashore)");
        let named = |row: &&Value| row["from"] == from && is_to(row) && !stolen(row);
        rows.iter().filter(named).map(|row| row["reached"].as_bool().unwrap()).collect()
    };
    for (from, to) in [("laptop", "sensor"), ("web", "sensor"), ("sensor", "laptop")] {
        assert_eq!(reached(from, to), [true, false], "{from} to {to}");
    }
    for (from, to) in [("camera", "sensor"), ("sensor", "camera"), ("nas1", "sensor"), ("sensor", "nas1")] {
        assert_eq!(reached(from, to), [true, true], "{from} to {to}");
    }
    // Before the cable is pulled, meanwhile, and after.
    assert_eq!(reached("laptop", "web"), [true, false, true], "the LAN is as without a VLAN");
}

#[test]
fn an_ordinary_user_sees_the_commands_and_that_the_vlan_is_gone() {
    let _modules = MODULES.lock();
    let directory = tempfile::tempdir().unwrap();
    let program = for_anybody(directory.path());
    let said = Ran::of(as_nobody(&program).args(["lab", "--vlan"])).unwrap().expect_success();
    for words in [
        "nas1$ ashore network create vlan200 --parent eth0 --vlan 200 ",
        "nas1$ ashore attach vlan200 --netns /run/netns/sensor",
        "eth0.200 on nas1 is gone as well",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

/// The kernel's path to modprobe. Dropping this restores it.
struct Modprobe(String);

const MODPROBE: &str = "/proc/sys/kernel/modprobe";

impl Modprobe {
    /// Stops the kernel from loading a module on demand.
    fn hidden() -> Self {
        let path = fs::read_to_string(MODPROBE).unwrap();
        fs::write(MODPROBE, "/nowhere").unwrap();
        Modprobe(path)
    }
}

impl Drop for Modprobe {
    fn drop(&mut self) {
        fs::write(MODPROBE, &self.0).unwrap();
    }
}

#[test]
fn without_the_module_it_is_refused_before_anything_is_built() {
    let _modules = MODULES.lock();
    let _hidden = Modprobe::hidden();
    if fs::exists("/sys/module/8021q").unwrap() {
        let busybox = Engines::find().expect("the packages are fetched").path("usr/bin/busybox");
        Ran::of(Command::new(busybox).args(["rmmod", "8021q"])).unwrap().expect_success();
    }
    for json in [true, false] {
        let ran =
            Ran::of(Command::new(PROGRAM).args(["lab", "--vlan"]).args(json.then_some("--json"))).unwrap();
        refused_without_8021q(&ran, json);
    }
}
