//! The host's firewall, as its owner types its rules and what the doctor says of them.

use ashore_lab::{Engines, Machine, Ran, cannot_run};

use super::Home;
use super::told::Told;

/// Runs a command on a machine by its shell, as its user types it.
#[track_caller]
pub fn typed(engines: &Engines, machine: &Machine, line: &str) {
    let mut shell = machine.command("sh").unwrap();
    // What iptables compares is in libraries of its own.
    let extensions = engines.path(&format!("usr/lib/{}-linux-gnu/xtables", std::env::consts::ARCH));
    shell.env("XTABLES_LIBDIR", extensions);
    Ran::of(engines.equip(shell.args(["-ec", line]))).unwrap().expect_success();
}

/// The first command in a remedy that begins with a program, up to what is another one.
pub fn command_in(remedy: &str, program: &str) -> String {
    let from = remedy.find(program).unwrap_or_else(|| panic!("{program}: {remedy}"));
    remedy[from..].split([',', '"']).next().unwrap().to_owned()
}

/// The remedy of the trouble with this code, as it is printed.
#[track_caller]
pub fn remedy(told: &Told, code: &str) -> String {
    let trouble: serde_json::Value = serde_json::from_str(&told.trouble(code)).unwrap();
    trouble["remedy"].as_str().unwrap_or_default().to_owned()
}

/// What `ashore doctor` could not find out of the firewall.
pub fn unclear(told: &Told) -> Vec<String> {
    told.unknown().into_iter().filter(|why| why.contains("firewall")).map(str::to_owned).collect()
}

/// A network on a bridge with a container, which the laptop reaches as long as no rule forbids it.
pub fn on_a_bridge() -> Option<(Home, Machine)> {
    let home = Home::bridged();
    let sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    let set = home.nas.inside(|| std::fs::write(sysctl, "1")).unwrap();
    if set.is_err() {
        cannot_run("doctor, bridge firewall", "this kernel has no br_netfilter");
        return None;
    }
    home.ok("network create lan --parent br0 --kind bridge --subnet 192.168.88.0/24 --ip-range 192.168.88.192/28 --gateway 192.168.88.1");
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "--ip 192.168.88.192");
    Some((home, web))
}
