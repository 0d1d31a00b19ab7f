//! Promise 4: a container keeps its MAC and its addresses by its name alone.

use std::collections::BTreeSet;

use ashore_core::api::document::Document;
use ashore_lab::Daemon;
use home::engine::{Engine, Running};
use home::{Home, PROGRAM, addresses, eventually, reaches};
use serde_json::json;

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range \
                      192.168.88.192/27 --gateway 192.168.88.1";

/// Attaches a container and returns its MAC and addresses, after the LAN has seen it.
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
    // A new container takes nothing from those that are away.
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
fn in_a_range_that_was_changed_its_address_is_another_and_that_is_told_unless_it_is_asked_for() {
    let home = Home::new();
    home.ok(CREATE);
    let (mac, before) = attach(&home, "web");
    home.ok("network rm lan");
    home.ok(&CREATE.replace("192.168.88.192/27", "192.168.88.64/27"));
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let now = addresses(&report);
    let in_range: ipnet::IpNet = "192.168.88.64/27".parse().unwrap();
    assert!(in_range.contains(&now[0]) && now[1..] == before[1..] && report["mac"] == mac, "{report:#}");
    reaches(&home.laptop, now[0]);
    let words =
        format!("`web` has {}: its former address {} is outside the current range", now[0], before[0]);
    assert!(report["warnings"].to_string().contains(&words), "{report:#}");
    home.ok("detach lan web");
    // Once the user has chosen the former address, it is the name's own.
    for options in [format!("--ip {}", before[0]), String::new()] {
        let report = home.attach("lan", &web, &options);
        assert!(addresses(&report) == before && report["mac"] == mac, "{report:#}");
        assert!(!report["warnings"].to_string().contains("outside the current range"), "{report:#}");
        reaches(&home.laptop, before[0]);
        home.ok("detach lan web");
    }
}

#[test]
fn over_the_loss_of_its_namespace() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    let container = home.world.container("web").unwrap();
    home.attach("lan", &container, "");
    // The container disappears without a detach, as with a power failure.
    drop(container);
    home.restart();
    // At once, although the daemon has not yet seen twice that the old container is gone.
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

    home.daemon = None;
    let elsewhere = tempfile::tempdir().unwrap();
    home.daemon = Some(Daemon::start(PROGRAM.as_ref(), &home.nas, elsewhere.path()).unwrap());
    import(&home, &exported);
    assert_eq!(attach(&home, "web"), web);
}

/// Replaces the state by an exported one.
fn import(home: &Home, exported: &str) {
    let file = home.directory.path().join("exported.json");
    std::fs::write(&file, exported).unwrap();
    let import = std::process::Command::new(PROGRAM)
        .args(["state", "import"])
        .env("ASHORE_SOCKET", home.daemon().socket())
        .stdin(std::fs::File::open(file).unwrap())
        .status();
    assert!(import.unwrap().success());
}

/// The names that are remembered.
fn remembered(home: &Home) -> BTreeSet<String> {
    let exported: Document = serde_json::from_str(&home.ok("state export")).unwrap();
    exported.rows.keys().filter_map(|key| key.strip_prefix("identity/lan/")).map(str::to_owned).collect()
}

/// Adds 4,096 names to what is remembered, as if they had been used one after the other.
fn remember(home: &Home, stem: &str, bearer: &str) {
    let mut document: Document = serde_json::from_str(&home.ok("state export")).unwrap();
    for number in 1..=4096 {
        let name = format!("{stem}{number}");
        let row = json!({
            "scope": "lan", "name": name, "mac": null, "addresses": [], "last_used": 1, "used": number, "bearer": bearer,
        });
        document.rows.insert(format!("identity/lan/{name}"), row);
    }
    import(home, &serde_json::to_string(&document).unwrap());
}

#[test]
fn above_4096_names_those_are_forgotten_that_nobody_will_ask_for_again() {
    let mut home = Home::new();
    home.ok(CREATE);
    let web = attach(&home, "web");
    remember(&home, "pid-", "made-up");
    for name in ["db", "mail"] {
        attach(&home, name);
    }
    let names = remembered(&home);
    assert_eq!(names.len(), 4096);
    // `web` was used before the others, and stays.
    assert!(["web", "db", "mail", "pid-4", "pid-4096"].iter().all(|name| names.contains(*name)));
    assert!(["pid-1", "pid-2", "pid-3"].iter().all(|name| !names.contains(*name)));
    assert_eq!(home.codes(), [""; 0]);
    home.restart();
    assert_eq!((attach(&home, "web"), remembered(&home).len()), (web, 4096));
}

#[test]
fn that_there_are_too_many_names_and_none_may_be_forgotten_is_told() {
    let home = Home::new();
    home.ok(CREATE);
    remember(&home, "chosen-", "user");
    assert_eq!(home.codes(), [""; 0]);
    attach(&home, "web");
    assert_eq!((remembered(&home).len(), home.codes()), (4097, vec!["too-many-names".to_owned()]));
    home.ok("forget chosen-7");
    assert_eq!((remembered(&home).len(), home.codes()), (4096, Vec::new()));
}

#[test]
fn a_container_that_its_engine_has_is_not_forgotten() {
    let home = Home::new();
    let engine = Engine::begin(&home, "192.168.88.192/27");
    remember(&home, "brave_turing", "container");
    let web = engine.start("web");
    assert_eq!(remembered(&home).len(), 4097);
    engine.stop(&web);
    // The engine has removed all but one.
    engine.list_created("brave_turing1", home::ip("192.168.88.193"));
    let db = engine.start("db");
    let names = remembered(&home);
    assert_eq!(names.len(), 4096);
    assert!(names.contains("brave_turing1") && !names.contains("brave_turing2"));
    // What was removed and is made again is not forgotten either.
    engine.list_created("brave_turing4", home::ip("192.168.88.194"));
    let more = ["mail", "files"].map(|name| engine.start(name));
    let names = remembered(&home);
    assert_eq!(names.len(), 4096);
    assert!(names.contains("brave_turing4"));
    assert!(["brave_turing1", "brave_turing5"].iter().all(|name| !names.contains(*name)));
    engine.stop_all(more.iter().chain([&db]));
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
    let said = format!("`web` has {}: another machine had its own address {}", meanwhile[0], web.1[0]);
    assert!(home.troubles().to_string().contains(&said), "{}", home.troubles());
    // It keeps what it has in place of its own address. Nothing else gets that either.
    home.ok("detach lan web");
    let other = home.world.container("other").unwrap();
    let at_other = addresses(&home.attach("lan", &other, ""));
    home.restart();
    assert_eq!(addresses(&home.attach("lan", &container, "")), meanwhile);
    home.ok("detach lan web");
    assert!(at_other.iter().all(|ip| !meanwhile.contains(ip) && !web.1.contains(ip)), "{at_other:?}");
    // Until it can have its own addresses again.
    for net in nets(&web.1) {
        home.laptop.del_address("eth0", net.parse().unwrap()).unwrap();
    }
    assert_eq!(attach(&home, "web"), web);
    // An address that its user chooses replaces it.
    home.attach("lan", &container, "--ip 192.168.88.77");
    home.ok("detach lan web");
    assert_eq!(attach(&home, "web").1, ["192.168.88.77".parse::<std::net::IpAddr>().unwrap(), web.1[1]]);
}

/// The troubles that `ashore status` shows.
fn troubles(home: &Home) -> String {
    home.troubles().to_string()
}

#[test]
fn tries_to_give_a_container_its_own_are_counted_by_the_start_and_giving_up_is_told() {
    let home = Home::new();
    let engine = Engine::begin(&home, "192.168.88.192/27");
    let first = engine.start("web");
    assert_eq!(engine.wrong_identities(&[&first]), [[""; 0]; 0]);
    engine.stop(&first);
    for _ in 0..3 {
        let start = engine.starts();
        let mut web = engine.start_unnamed("web", None, None);
        assert!(web.address != first.address && web.mac != first.mac);
        // The engine does not tell the name this time either.
        for _ in 0..3 {
            assert_eq!(engine.wrong_identities(&[&web]), [["web"]]);
            assert_eq!(troubles(&home), "[]");
            engine.stop(&web);
            web = engine.connect("web", start, false, None);
        }
        assert_eq!(engine.wrong_identities(&[&web]), [[""; 0]; 0]);
        let (has, own) = (format!("{} and {}", web.address.addr(), web.mac), first.address.addr());
        let said = format!("`web` on network `lan` has {has} instead of its own {own} and {}", first.mac);
        for told in [troubles(&home), home.daemon().log()] {
            assert!(told.contains(&said) && told.contains("try: docker restart web"), "{told}");
        }
        engine.stop(&web);
        assert_eq!(troubles(&home), "[]");
    }
    // The suggested remedy works.
    let web = engine.start("web");
    assert_eq!((web.address, web.mac), (first.address, first.mac));
    assert_eq!(engine.wrong_identities(&[&web]), [[""; 0]; 0]);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn over_any_number_of_starts_of_which_the_engine_does_not_say_whose_they_are() {
    let home = Home::new();
    let engine = Engine::begin(&home, "192.168.88.192/30");
    let names = ["aa", "bb", "cc", "dd"];
    let first = names.map(|name| engine.start(name));
    engine.list(&first.each_ref());
    engine.stop_all(first.iter());
    for round in 0..8 {
        let begun = engine.starts();
        // The range has only these addresses, so each container has another one's or, by chance, its own.
        let order = names.iter().cycle().skip(round).take(names.len());
        let mut running: Vec<Running> = order.map(|name| engine.start_unnamed(name, None, None)).collect();
        let all = |running: &[Running]| engine.wrong_identities(&running.iter().collect::<Vec<_>>());
        for group in all(&running) {
            let index = |name: &String| running.iter().position(|one| one.name == *name).unwrap();
            let members: Vec<usize> = group.iter().map(index).collect();
            engine.stop_all(members.iter().map(|at| &running[*at]));
            for at in members {
                let start = begun + u32::try_from(at).unwrap();
                running[at] = engine.connect(&running[at].name.clone(), start, true, None);
            }
        }
        assert_eq!(all(&running), [[""; 0]; 0], "round {round}");
        for one in &running {
            let then = first.iter().find(|first| first.name == one.name).unwrap();
            assert_eq!((one.address, one.mac), (then.address, then.mac), "{} in round {round}", one.name);
        }
        engine.stop_all(running.iter());
    }
}

#[test]
fn what_is_in_the_way_of_a_containers_own_is_told() {
    let home = Home::new();
    let engine = Engine::begin(&home, "192.168.88.192/31");
    let mac = |number| Some(format!("02:42:aa:00:00:0{number}").parse().unwrap());
    let first = [engine.start_with("aa", None, mac(1)), engine.start_with("bb", None, mac(2))];
    engine.list(&first.each_ref());
    engine.stop_all(first.iter());
    // Each has the other's address, and none of three tries helps: the address that has been unused for
    // longest is assigned first.
    let start = engine.starts();
    let mut running = [engine.start_unnamed("bb", None, mac(2)), engine.start_unnamed("aa", None, mac(1))];
    for _ in 0..3 {
        assert_eq!(engine.wrong_identities(&running.each_ref()), [["aa", "bb"]]);
        engine.stop_all(running.iter().rev());
        running = [("bb", start, 2), ("aa", start + 1, 1)]
            .map(|(name, start, number)| engine.connect(name, start, false, mac(number)));
    }
    assert_eq!(engine.wrong_identities(&running.each_ref()), [[""; 0]; 0]);
    let told = troubles(&home);
    assert!(
        told.contains(
            "`aa` on network `lan` has 192.168.88.193 instead of its own 192.168.88.192: `bb` has it now"
        ) && told.contains("try: docker restart bb aa"),
        "{told}"
    );
    // The suggested remedy works.
    let mut running = running.map(|one| {
        engine.stop(&one);
        engine.start_with(&one.name, None, Some(one.mac))
    });
    // Started alone, each still finds its address with the other. Now the engine tells their names.
    assert_eq!(engine.wrong_identities(&running.each_ref()), [["aa", "bb"]]);
    engine.stop_all(running.iter());
    running = running.map(|one| engine.start_with(&one.name, None, Some(one.mac)));
    for one in &running {
        let then = first.iter().find(|first| first.name == one.name).unwrap();
        assert_eq!((one.address, one.mac), (then.address, then.mac), "{}", one.name);
    }
    assert_eq!(engine.wrong_identities(&running.each_ref()), [[""; 0]; 0]);
    assert_eq!(troubles(&home), "[]");
}

/// Docker 29 and later tell the name and are asked for no list. The last list contains what users chose.
#[test]
fn what_a_user_chose_is_left_to_its_container_by_those_that_start_before_it() {
    let home = Home::new();
    let engine = Engine::begin(&home, "192.168.88.192/27");
    let chosen = home::ip("192.168.88.192");
    engine.list_created("fixed", chosen);
    for running in [engine.start("web"), engine.start_unnamed("db", None, None)] {
        assert_ne!(running.address.addr(), chosen);
    }
    assert_eq!(engine.start_with("fixed", Some(chosen), None).address.addr(), chosen);
}
