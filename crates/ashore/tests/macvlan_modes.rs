//! What each macvlan mode lets through, as the LAN sees it.

use ashore_lab::Daemon;
use home::untouched::{is_untouched, untouched};
use home::{HOST, Home, addresses, does_not_reach, eventually, ip, reaches};

/// Asserts that siblings and the host are unreachable and the LAN is reachable.
fn keeps_to_the_wire(mode: &str) {
    let home = Home::new();
    let before = untouched(&home);
    home.ok(&format!(
        "network create lan --kind macvlan:{mode} --parent eth0 --subnet 192.168.88.0/24 \
         --ip-range 192.168.88.192/27 --gateway 192.168.88.1"
    ));
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let [at_web, at_db] = [&web, &db].map(|container| addresses(&home.attach("lan", container, ""))[0]);
    reaches(&home.laptop, at_web);
    reaches(&web, ip("192.168.88.1"));
    does_not_reach(&db, at_web);
    does_not_reach(&web, at_db);
    does_not_reach(&home.nas, at_web);
    reaches(&home.laptop, ip(HOST));
    assert_eq!(home.made_links(), [""; 0]);
    is_untouched(&home, &before);
}

#[test]
fn private_keeps_siblings_apart() {
    keeps_to_the_wire("private");
}

#[test]
fn vepa_keeps_siblings_apart_on_a_switch_that_sends_nothing_back() {
    keeps_to_the_wire("vepa");
}

#[test]
fn on_a_bridge_of_the_hosts_it_is_on_the_lan_as_on_a_nic_and_beside_its_ports() {
    let home = Home::bridged();
    let before = untouched(&home);
    let lan = "--parent br0 --subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range";
    home.ok(&format!("network create lan --kind macvlan {lan} 192.168.88.192/28"));
    // Without `--kind`, the network's endpoints are ports.
    assert!(home.ok(&format!("network create ports {lan} 192.168.88.208/28")).contains("on br0 by bridge"));
    let names = [("lan", "web"), ("lan", "db"), ("ports", "tv")];
    let all = names.map(|(network, name)| {
        let container = home.world.container(name).unwrap();
        let at = addresses(&home.attach(network, &container, ""))[0];
        (container, at)
    });
    for (container, at) in &all {
        reaches(&home.laptop, *at);
        reaches(&home.nas, *at);
        reaches(container, ip(HOST));
        reaches(container, ip("192.168.88.1"));
        for (other, _) in all.iter().filter(|(_, its)| its != at) {
            reaches(other, *at);
        }
    }
    reaches(&home.laptop, ip(HOST));
    assert_eq!(home.troubles().as_array().unwrap().len(), 0, "{}", home.status());
    for (network, name) in names {
        home.ok(&format!("detach {network} {name}"));
    }
    home.ok("network rm lan");
    home.ok("network rm ports");
    assert_eq!(home.made_links(), ["br0"]);
    is_untouched(&home, &before);
    reaches(&home.laptop, ip(HOST));
}

#[test]
fn vepa_siblings_meet_by_a_switch_that_sends_frames_back() {
    let home = Home::new();
    home.ok(
        "network create lan --kind macvlan:vepa --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27",
    );
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let [at_web, at_db] = [&web, &db].map(|container| addresses(&home.attach("lan", container, ""))[0]);
    does_not_reach(&web, at_db);
    home.world.set_hairpin(&home.nas, true).unwrap();
    // It has just resolved the address without success.
    eventually("web reaches db", || web.ping(at_db).is_some());
    reaches(&db, at_web);
    // The host as well: its frames leave by the wire and come back to the child.
    reaches(&home.nas, at_web);
    reaches(&web, ip(HOST));
    reaches(&home.laptop, at_web);
    home.world.set_hairpin(&home.nas, false).unwrap();
    does_not_reach(&db, at_web);
}

#[test]
fn passthru_is_refused_where_it_would_cut_the_host_off() {
    let home = Home::new();
    let ran = home.run("network create lan --kind macvlan:passthru --parent eth0 --subnet 192.168.88.0/24");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("this host would lose 192.168.88.9"), "{}", ran.stderr);
    reaches(&home.laptop, ip(HOST));
}

#[test]
fn passthru_hands_a_nic_of_its_own_to_one_endpoint_and_back() {
    let home = Home::new();
    // A host with a NIC on which it has no address itself.
    let host = home.world.container("host").unwrap();
    home.world.plug_in(&host).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(home::PROGRAM.as_ref(), &host, directory.path()).unwrap();
    let run = |line: &str| daemon.run(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
    run("network create lan --kind macvlan:passthru --parent eth0 --subnet 192.168.88.0/24 \
         --ip-range 192.168.88.192/27 --gateway 192.168.88.1")
    .expect_success();
    let web = home.world.container("web").unwrap();
    let attach = format!("attach lan --netns {} --name web", web.namespace().path().display());
    let refused = run(&format!("{attach} --mac 02:00:00:00:00:01"));
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    // Twice: the first endpoint returns the NIC.
    for _ in 0..2 {
        run(&attach).expect_success();
        reaches(&home.laptop, ip("192.168.88.192"));
        run("detach lan web").expect_success();
    }
    let links = host.kernel().observe(&[]).unwrap().host.links;
    assert!(links.iter().all(|link| link.tag().is_none()));
}
