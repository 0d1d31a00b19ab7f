//! Promise 4: a container keeps its MAC and its addresses, by its name alone.

mod home;

use ashore_lab::Daemon;
use home::{Home, PROGRAM, addresses, reaches};

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
    assert_eq!(home.status()["endpoints"].as_array().unwrap().len(), 0);
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

#[test]
fn over_a_machine_that_has_its_address_meanwhile() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    let nets = |at: &[std::net::IpAddr]| [format!("{}/24", at[0]), format!("{}/64", at[1])];
    for net in nets(&web.1) {
        home.laptop.add_address("eth0", net.parse().unwrap()).unwrap();
    }
    let container = home.world.container("web").unwrap();
    let meanwhile = addresses(&home.attach("lan", &container, ""));
    assert!(meanwhile.iter().all(|ip| !web.1.contains(ip)), "{meanwhile:?}");
    let said = format!("`web` has {}: another machine had its own {}", meanwhile[0], web.1[0]);
    assert!(home.status()["troubles"].to_string().contains(&said), "{}", home.status()["troubles"]);
    // It goes on to have what it has in place of its own, which nobody else gets either.
    home.ok("detach lan web");
    let other = home.world.container("other").unwrap();
    let at_other = addresses(&home.attach("lan", &other, ""));
    home.restart();
    assert_eq!(addresses(&home.attach("lan", &container, "")), meanwhile);
    home.ok("detach lan web");
    assert!(at_other.iter().all(|ip| !meanwhile.contains(ip) && !web.1.contains(ip)), "{at_other:?}");
    // Until it can have its own again.
    for net in nets(&web.1) {
        home.laptop.del_address("eth0", net.parse().unwrap()).unwrap();
    }
    assert_eq!(attach(&home, "web"), web);
    // What its user chooses takes its place.
    home.attach("lan", &container, "--ip 192.168.88.77");
    home.ok("detach lan web");
    assert_eq!(attach(&home, "web").1, ["192.168.88.77".parse::<std::net::IpAddr>().unwrap(), web.1[1]]);
}
