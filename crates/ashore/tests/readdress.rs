//! `ashore network move` with another range, or the subnet of another router.

use std::process::Stdio;
use std::time::Duration;

use ashore_lab::Machine;
use home::{Home, addresses, eventually_within, ip, reaches};

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

/// The last number of the address of a name, if it is on the network.
fn last_of(home: &Home, name: &str) -> Option<u8> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == name && one["stage"] != "detaching")?;
    addresses(one).first()?.to_string().rsplit('.').next()?.parse().ok()
}

#[test]
fn whenever_the_daemon_is_killed_all_come_back_to_one_range() {
    let mut home = Home::new();
    home.create_lan();
    let names = ["web", "db", "app", "mail"];
    let machines = names.map(|name| home.world.container(name).unwrap());
    for machine in &machines {
        home.attach("lan", machine, "");
    }
    let macs = names.map(|name| mac_of(&home, name));
    let (mut ranges, mut torn) = ([128, 160], 0);
    for delay in [0, 10, 30, 60, 90, 120, 160, 200, 260, 320, 400, 500, 650] {
        let [first, _] = ranges;
        let words = format!("network move lan --ip-range 192.168.88.{first}/27 --reconnect");
        let mut client = home.daemon().client();
        client.args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        home.daemon.take().unwrap().kill().unwrap();
        client.wait().unwrap();
        home.start();
        let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
        torn +=
            usize::from(state["rows"].as_object().unwrap().keys().any(|key| key.starts_with("returning/")));
        let range = state["rows"]["network/lan"]["subnets"][0]["range"].as_str().unwrap().to_owned();
        let is_moved = range == format!("192.168.88.{first}/27");
        let from: u8 = range.rsplit('.').next().unwrap().split('/').next().unwrap().parse().unwrap();
        eventually_within(Duration::from_secs(20), &format!("after {delay} ms, all are in {range}"), || {
            names
                .iter()
                .all(|name| last_of(&home, name).is_some_and(|last| (from..from + 32).contains(&last)))
        });
        assert_eq!(names.map(|name| mac_of(&home, name)), macs, "after {delay} ms");
        for (name, machine) in names.iter().zip(&machines) {
            let at = ip(&has(&home, name)[0]);
            eventually_within(Duration::from_secs(5), &format!("{name} is reached"), || {
                home.laptop.ping(at).is_some()
            });
            reaches(machine, ip("192.168.88.1"));
        }
        eventually_within(Duration::from_secs(5), "none is still to come back", || {
            !home.ok("state export").contains("returning/")
        });
        if is_moved {
            ranges.reverse();
        }
    }
    assert!(torn > 0, "none of the kills was in the middle");
}

#[test]
fn who_is_detached_or_gone_meanwhile_does_not_come_back() {
    let (mut home, [web, _db]) = with_two();
    // As a daemon leaves it that is killed when all are off: what is stored, without what is attached.
    let mut state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object_mut().unwrap();
    for name in ["web", "db"] {
        let mut row = rows.remove(&format!("endpoint/lan/{name}")).unwrap();
        if name == "db" {
            // Another namespace has the path by now.
            assert!(row["home"]["netns"]["netns"]["ino"].is_u64(), "{row}");
            row["home"]["netns"]["netns"]["ino"] = 1.into();
        }
        rows.insert(format!("returning/lan/{name}"), row);
    }
    home.ok("detach lan web");
    home.ok("detach lan db");
    let file = home.directory.path().join("torn.json");
    std::fs::write(&file, state.to_string()).unwrap();
    let import = |home: &Home| {
        let mut client = home.daemon().client();
        client.args(["state", "import"]).stdin(std::fs::File::open(&file).unwrap());
        let ran = client.output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    import(&home);
    home.restart();
    eventually_within(Duration::from_secs(10), "web is back", || last_of(&home, "web").is_some());
    reaches(&web, ip("192.168.88.1"));
    eventually_within(Duration::from_secs(5), "nothing is still to come back", || {
        !home.ok("state export").contains("returning/")
    });
    assert_eq!(last_of(&home, "db"), None);
    assert!(home.daemon().log().contains("`db` does not come back"), "{}", home.daemon().log());

    // Whoever detaches a name does not want it back.
    home.ok("detach lan web");
    import(&home);
    home.ok("detach lan web");
    home.ok("network rm lan");
    assert!(!home.ok("state export").contains("returning/"));
}

#[test]
fn a_range_of_the_old_subnet_is_named_and_reserved_addresses_are_told() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 --aux-address host=192.168.88.201");
    home.nas.del_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
    home.nas.add_address("eth0", "10.9.0.9/24".parse().unwrap()).unwrap();
    let refused = home.run("network move lan --subnet 10.9.0.0/24");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("--ip-range"), "{}", refused.stderr);
    let ran = home.run("network move lan --subnet 10.9.0.0/24 --ip-range 10.9.0.192/27");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("--aux-address host=192.168.88.201"), "{}", ran.stderr);
}

#[test]
fn addresses_that_a_network_has_already_take_nobody_off() {
    let (home, [_web, _db]) = with_two();
    let before = home.ok("state export");
    moved(&home, "--ip-range 192.168.88.192/27 --reconnect");
    let since = |text: &str| {
        let state: serde_json::Value = serde_json::from_str(text).unwrap();
        state["rows"]["endpoint/lan/web"]["since"].clone()
    };
    assert_eq!(since(&home.ok("state export")), since(&before));
    assert!(!home.daemon().log().contains("link del"), "{}", home.daemon().log());
}

#[test]
fn an_address_of_its_users_is_not_given_up_because_another_machine_has_it_for_a_while() {
    let (mut home, [web, _db]) = with_two();
    let taken = "192.168.88.240/24".parse().unwrap();
    home.laptop.add_address("eth0", taken).unwrap();
    let ran = home.run("network move lan --ip-range 192.168.88.128/27 --reconnect");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("`db` is off the network and could not be attached again"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--name db --ip 192.168.88.240"), "{}", ran.stderr);
    assert_eq!(last_of(&home, "db"), None);
    reaches(&web, ip("192.168.88.1"));
    home.laptop.del_address("eth0", taken).unwrap();
    home.restart();
    eventually_within(Duration::from_secs(20), "db is back", || last_of(&home, "db") == Some(240));
    reaches(&home.nas, ip("192.168.88.240"));
}
