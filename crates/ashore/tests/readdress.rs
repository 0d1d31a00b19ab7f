//! `ashore network move` with another range, or the subnet of another router.

mod home;

use ashore_lab::Machine;
use home::{Home, addresses, ip, reaches};

fn moved(home: &Home, options: &str) -> String {
    home.ok(&format!("network move lan {options}"))
}

/// The addresses that an endpoint has now.
fn has(home: &Home, name: &str) -> Vec<String> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap().clone();
    let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {status}"));
    addresses(one).iter().map(ToString::to_string).collect()
}

fn mac_of(home: &Home, name: &str) -> String {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap().clone();
    all.iter().find(|one| one["name"] == name).unwrap()["mac"].as_str().unwrap().to_owned()
}

fn with_two() -> (Home, [Machine; 2]) {
    let home = Home::new();
    home.create_lan();
    let machines = ["web", "db"].map(|name| home.world.container(name).unwrap());
    home.attach("lan", &machines[0], "");
    home.attach("lan", &machines[1], "--ip 192.168.88.240");
    (home, machines)
}

#[test]
fn a_network_without_endpoints_gets_another_range_and_names_keep_their_macs() {
    let (home, [web, _db]) = with_two();
    let mac = mac_of(&home, "web");
    home.ok("detach lan web");
    home.ok("detach lan db");
    assert_eq!(moved(&home, "--ip-range 192.168.88.128/27"), "network lan hands out 192.168.88.128/27\n");
    home.attach("lan", &web, "");
    assert_eq!(mac_of(&home, "web"), mac);
    let at = has(&home, "web");
    assert!(at[0].starts_with("192.168.88.1"), "{at:?}");
    reaches(&home.laptop, ip(&at[0]));
    reaches(&home.nas, ip(&at[0]));
}

#[test]
fn endpoints_that_are_there_are_refused_and_attached_again_if_that_is_said() {
    let (home, [web, db]) = with_two();
    let macs = ["web", "db"].map(|name| mac_of(&home, name));
    let refused = home.run("network move lan --ip-range 192.168.88.128/27");
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("2 endpoint(s)") && refused.stderr.contains("--reconnect"),
        "{}",
        refused.stderr
    );
    assert_eq!(has(&home, "db"), ["192.168.88.240"]);
    let plan = home.ok("plan move lan --ip-range 192.168.88.128/27 --reconnect");
    assert!(plan.contains("link del"), "{plan}");
    assert_eq!(has(&home, "db"), ["192.168.88.240"], "a plan changes nothing");

    let said = moved(&home, "--ip-range 192.168.88.128/27 --reconnect");
    assert_eq!(said, "network lan hands out 192.168.88.128/27\n");
    let at = has(&home, "web");
    let last: u8 = at[0].rsplit('.').next().unwrap().parse().unwrap();
    assert!((128..160).contains(&last), "{at:?}");
    assert_eq!(has(&home, "db"), ["192.168.88.240"], "an address that its user chose stays");
    assert_eq!(["web", "db"].map(|name| mac_of(&home, name)), macs);
    for (machine, at) in [(&web, &at[0]), (&db, &"192.168.88.240".to_owned())] {
        reaches(&home.laptop, ip(at));
        reaches(&home.nas, ip(at));
        reaches(machine, ip("192.168.88.1"));
    }
}

#[test]
fn the_subnet_of_a_new_router_takes_the_place_of_the_old_one() {
    let (home, [web, _db]) = with_two();
    // Somebody has put another router there.
    home.router.add_address("eth0", "10.9.0.1/24".parse().unwrap()).unwrap();
    home.laptop.add_address("eth0", "10.9.0.50/24".parse().unwrap()).unwrap();
    home.nas.del_default_route("eth0", ip("192.168.88.1")).unwrap();
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.nas.add_address("eth0", "10.9.0.9/24".parse().unwrap()).unwrap();
    home.nas.add_default_route("eth0", ip("10.9.0.1")).unwrap();
    let ran = home.run("network move lan --subnet 10.9.0.0/24 --ip-range 10.9.0.192/27 --reconnect");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("`db` has another address than 192.168.88.240"), "{}", ran.stderr);
    for name in ["web", "db"] {
        assert!(has(&home, name)[0].starts_with("10.9.0."), "{name}");
    }
    let at = ip(&has(&home, "web")[0]);
    reaches(&home.laptop, at);
    reaches(&home.nas, at);
    reaches(&web, ip("10.9.0.1"));
    let network: serde_json::Value = serde_json::from_str(&home.ok("network inspect lan")).unwrap();
    assert_eq!(network["subnets"][0]["gateway"], "10.9.0.1", "{network}");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_changes() {
    let (home, _machines) = with_two();
    let before = home.ok("network inspect lan");
    for (options, code) in [
        ("", 2),
        ("--parent eth0 --ip-range 192.168.88.128/27", 2),
        ("--ip-range 10.0.0.0/24 --reconnect", 3),
        ("--gateway 10.0.0.1 --reconnect", 3),
    ] {
        let ran = home.run(&format!("network move lan {options}"));
        assert_eq!(ran.code, Some(code), "{options}: {}", ran.stderr);
        assert_eq!(home.ok("network inspect lan"), before, "{options}");
        assert_eq!(has(&home, "db"), ["192.168.88.240"], "{options}");
    }
}
