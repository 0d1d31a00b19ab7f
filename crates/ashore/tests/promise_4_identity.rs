//! Promise 4: a container keeps its MAC and its addresses, by its name alone.

mod home;

use ashore_lab::Daemon;
use home::{Home, PROGRAM, addresses, eventually, reaches};

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range \
                      192.168.88.192/27 --gateway 192.168.88.1";

/// What an endpoint must keep, after it was seen by the LAN.
fn attach(home: &Home, name: &str) -> (String, Vec<std::net::IpAddr>) {
    let container = home.world.container(name).unwrap();
    let report = home.attach("lan", &container, "");
    let at = addresses(&report);
    for ip in &at {
        reaches(&home.laptop, *ip);
    }
    let mac = report["mac"].as_str().unwrap().to_owned();
    assert_eq!(home::mac_known_to(&home.laptop, at[0]), mac);
    home.ok(&format!("detach lan {name}"));
    (mac, at)
}

#[test]
fn over_detach_and_attach_in_any_order() {
    let home = Home::new();
    home.ok(CREATE);
    let (web, db) = (attach(&home, "web"), attach(&home, "db"));
    assert_ne!(web, db);
    assert_eq!(attach(&home, "db"), db);
    assert_eq!(attach(&home, "web"), web);
    // A newcomer takes nothing from those who are away.
    let other = attach(&home, "other");
    assert!(other.1 != web.1 && other.1 != db.1);
    assert_eq!(attach(&home, "web"), web);
}

#[test]
fn over_a_killed_daemon_and_a_network_made_anew() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    home.restart();
    assert_eq!(attach(&home, "web"), web);
    home.ok("network rm lan");
    home.restart();
    home.ok(CREATE);
    assert_eq!(attach(&home, "web"), web);
}

#[test]
fn over_the_loss_of_its_namespace() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    let container = home.world.container("web").unwrap();
    home.attach("lan", &container, "");
    // The container dies without a word, as with a power failure.
    drop(container);
    home.restart();
    // At once, though nobody has seen twice yet that it is gone.
    assert_eq!(attach(&home, "web"), web);
    let container = home.world.container("web").unwrap();
    home.attach("lan", &container, "");
    drop(container);
    home.restart();
    eventually("it is gone", || home.status()["endpoints"].as_array().unwrap().is_empty());
    assert_eq!(attach(&home, "web"), web);
}

#[test]
fn over_a_move_of_the_state_to_a_new_machine() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    let exported = home.ok("state export");
    let file = home.directory.path().join("exported.json");
    std::fs::write(&file, exported).unwrap();

    home.daemon = None;
    let elsewhere = tempfile::tempdir().unwrap();
    home.daemon = Some(Daemon::start(PROGRAM.as_ref(), &home.nas, elsewhere.path()).unwrap());
    let import = std::process::Command::new(PROGRAM)
        .args(["state", "import"])
        .env("ASHORE_SOCKET", home.daemon().socket())
        .stdin(std::fs::File::open(file).unwrap())
        .status();
    assert!(import.unwrap().success());
    assert_eq!(attach(&home, "web"), web);
}
