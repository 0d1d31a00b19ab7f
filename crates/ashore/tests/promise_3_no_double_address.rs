//! Promise 3: no address is assigned twice, and no address that another machine on the LAN holds is assigned.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ashore_kernel::PacketSocket;
use ashore_lab::{Daemon, Engines, Machine, Ran, cannot_run};
use ashore_wire::conflict::announcement;
use ashore_wire::{Mac, filter, heard};
use home::scripted::{Question, Reply, Scripted};
use home::untouched::{is_untouched, untouched};
use home::voice::{Answering, Voice};
use home::{
    HOST, Home, PROGRAM, addresses, eventually, ip, is_defended, mac_known_to, reaches, sibling_made_by_hand,
    takes, type_on,
};

fn create(home: &Home, name: &str, options: &str) {
    home.ok(&format!("network create {name} --parent eth0 --subnet 192.168.88.0/24 {options}"));
}

/// Attaches containers with these names one after the other, and returns their addresses.
fn attach_all(home: &Home, network: &str, names: &[&str]) -> (Vec<Machine>, Vec<IpAddr>) {
    let containers: Vec<Machine> = names.iter().map(|name| home.world.container(name).unwrap()).collect();
    let at = containers.iter().map(|container| addresses(&home.attach(network, container, ""))[0]).collect();
    (containers, at)
}

/// Attaches containers to `lan`, all at the same moment.
fn attach_at_once<'a>(attaches: impl Iterator<Item = (&'a Daemon, &'a Machine)>) -> BTreeSet<IpAddr> {
    let attaches: Vec<(&Daemon, String)> = attaches
        .map(|(daemon, container)| {
            let netns = container.namespace().path().display();
            (daemon, format!("attach lan --json --netns {netns} --name {}", container.name()))
        })
        .collect();
    std::thread::scope(|scope| {
        let run = |daemon: &Daemon, line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let report = daemon.run(&words).unwrap().expect_success();
            addresses(&serde_json::from_str(&report).unwrap())[0]
        };
        let running: Vec<_> =
            attaches.iter().map(|(daemon, line)| scope.spawn(move || run(daemon, line))).collect();
        running.into_iter().map(|attach| attach.join().unwrap()).collect()
    })
}

fn refused(home: &Home, network: &str, options: &str) -> String {
    let container = home.world.container("refused").unwrap();
    let netns = container.namespace().path().display().to_string();
    let ran = home.run(&format!("attach {network} --netns {netns} --name refused {options}"));
    assert_eq!(ran.code, Some(5), "{}{}", ran.stdout, ran.stderr);
    ran.stderr
}

#[test]
fn reserved_addresses_and_the_hosts_own_are_never_handed_out() {
    let home = Home::new();
    // Of these seven, the router has .1 and the host .9; .5 and .6 are reserved, and .3 is the gateway.
    create(
        &home,
        "lan",
        "--ip-range 192.168.88.1-192.168.88.7 --gateway 192.168.88.3 --aux-address a=192.168.88.5 --aux-address b=192.168.88.6",
    );
    let (_containers, at) = attach_all(&home, "lan", &["c1", "c2", "c3"]);
    assert_eq!(at, [ip("192.168.88.2"), ip("192.168.88.4"), ip("192.168.88.7")]);
    let said = refused(&home, "lan", "");
    for words in [
        "192.168.88.1-192.168.88.7",
        "7 addresses",
        "3 are held",
        "3 are reserved",
        "1 are in use on the LAN",
        "--ip-range",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

/// The first address of an IPv6 subnet belongs to all its routers (RFC 4291, 2.6.1).
#[test]
fn neither_the_subnets_address_nor_its_broadcast_address() {
    let home = Home::new();
    create(&home, "low", "--ip-range 192.168.88.0-192.168.88.1 --conflict off");
    let (_containers, at) = attach_all(&home, "low", &["c1"]);
    assert_eq!(at, [ip("192.168.88.1")]);
    create(
        &home,
        "high",
        "--ip-range 192.168.88.254-192.168.88.255 --subnet fd88::/64 --ip-range fd88::-fd88::2",
    );
    let c2 = home.world.container("c2").unwrap();
    // The router has the second one.
    assert_eq!(addresses(&home.attach("high", &c2, "")), [ip("192.168.88.254"), ip("fd88::2")]);
    refused(&home, "high", "");
    let c3 = home.world.container("c3").unwrap();
    let netns = c3.namespace().path().display();
    let ran = home.run(&format!("attach high --netns {netns} --name c3 --ip 192.168.88.70 --ip fd88::"));
    assert!(ran.code == Some(3) && ran.stderr.contains("subnet-router anycast"), "{}", ran.stderr);
}

#[test]
fn an_address_that_a_machine_on_the_lan_holds_is_passed_over() {
    let home = Home::new();
    for squatted in ["192.168.88.192/24", "192.168.88.194/24", "fd88::c0/64"] {
        home.laptop.add_address("eth0", squatted.parse().unwrap()).unwrap();
    }
    create(&home, "lan", "--ip-range 192.168.88.192/27 --subnet fd88::/64 --ip-range fd88::c0-fd88::c3");
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at_web = addresses(&home.attach("lan", &web, ""));
    let at_db = addresses(&home.attach("lan", &db, ""));
    assert_eq!(at_web, [ip("192.168.88.193"), ip("fd88::c1")]);
    assert_eq!(at_db, [ip("192.168.88.195"), ip("fd88::c2")]);
    let said = refused(&home, "lan", "--ip 192.168.88.194");
    assert!(said.contains("in use on the LAN"), "{said}");
    // With `off`, no machine is asked.
    create(&home, "unchecked", "--ip-range 192.168.88.100-192.168.88.101 --conflict off");
    home.laptop.add_address("eth0", "192.168.88.100/24".parse().unwrap()).unwrap();
    let (_containers, at) = attach_all(&home, "unchecked", &["c1"]);
    assert_eq!(at, [ip("192.168.88.100")]);
}

#[test]
fn ten_at_once_have_ten_addresses() {
    let home = Home::new();
    create(&home, "lan", "--ip-range 192.168.88.192/27");
    let containers: Vec<Machine> = (0..10).map(|n| home.world.container(&format!("c{n}")).unwrap()).collect();
    let at = attach_at_once(containers.iter().map(|container| (home.daemon(), container)));
    assert_eq!(at.len(), 10, "{at:?}");
    for ip in at {
        reaches(&home.laptop, ip);
    }
}

#[test]
fn two_networks_on_one_subnet_never_share_an_address() {
    let home = Home::new();
    create(&home, "one", "--gateway 192.168.88.1");
    create(&home, "two", "--gateway 192.168.88.1");
    let (_one, at_one) = attach_all(&home, "one", &["a", "b"]);
    let (_two, at_two) = attach_all(&home, "two", &["a", "b"]);
    let all: BTreeSet<IpAddr> = at_one.iter().chain(&at_two).copied().collect();
    assert_eq!(all.len(), 4, "{at_one:?} {at_two:?}");
    let said = refused(&home, "two", &format!("--ip {}", at_one[0]));
    assert!(said.contains("held by the endpoint `a` of network `one`"), "{said}");
    assert!(refused(&home, "two", &format!("--ip {HOST}")).contains("this host's own"));
}

#[test]
fn two_hosts_with_one_range_share_it_without_a_double() {
    let home = Home::new();
    let before = untouched(&home);
    let other = home.world.machine("nas2", 10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(PROGRAM.as_ref(), &other, directory.path()).unwrap();
    create(&home, "lan", "--ip-range 192.168.88.192/27");
    let line = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27";
    daemon.run(&line.split(' ').collect::<Vec<_>>()).unwrap().expect_success();
    let containers: Vec<Machine> = (0..8).map(|n| home.world.container(&format!("c{n}")).unwrap()).collect();
    let daemons = [home.daemon(), &daemon];
    let at = attach_at_once(containers.iter().enumerate().map(|(n, container)| (daemons[n % 2], container)));
    assert_eq!(at.len(), 8, "{at:?}");
    for ip in at {
        reaches(&home.laptop, ip);
    }
    is_untouched(&home, &before);
}

/// Makes a world's switch forward multicast only to ports that have joined the group.
fn snoop(home: &Home) {
    let switch = home.world.switch();
    // A querier needs an address of its own.
    switch.add_address("br0", "fe80::5/64".parse().unwrap()).unwrap();
    type_on(
        switch,
        "ip link set br0 type bridge mcast_snooping 1 mcast_query_response_interval 100 mcast_querier 1",
    );
    let (voice, nobodys) = (Voice::of(&home.laptop), ip("fd88::dead"));
    let ear = Voice::of(&home.nas);
    eventually("the switch keeps back what nobody has joined", || {
        ear.heard();
        voice.looks_for(Mac([2, 0, 0, 0, 0, 1]), nobodys);
        std::thread::sleep(Duration::from_millis(200));
        !ear.heard().iter().any(|heard| heard.ip == nobodys)
    });
}

#[test]
fn the_same_behind_a_switch_that_keeps_groups_to_their_members() {
    if let Err(why) = Engines::find() {
        return cannot_run("promise 3, snooping", &why);
    }
    let home = Home::new();
    snoop(&home);
    let other = home.world.machine("nas2", 10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(PROGRAM.as_ref(), &other, directory.path()).unwrap();
    let line = "network create lan --parent eth0 --subnet fd88::/64 --ip-range fd88::c0-fd88::cf";
    home.ok(line);
    daemon.run(&line.split(' ').collect::<Vec<_>>()).unwrap().expect_success();
    let containers: Vec<Machine> = (0..8).map(|n| home.world.container(&format!("c{n}")).unwrap()).collect();
    let daemons = [home.daemon(), &daemon];
    let at = attach_at_once(containers.iter().enumerate().map(|(n, container)| (daemons[n % 2], container)));
    assert_eq!(at.len(), 8, "{at:?}");
}

#[test]
fn an_address_is_looked_for_by_a_member_of_its_group() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet fd88::/64 --ip-range fd88::c0-fd88::c3");
    // Messages to a group arrive only at links that are members.
    let groups =
        || home.nas.inside(|| std::fs::read_to_string("/proc/thread-self/net/dev_mcast")).unwrap().unwrap();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    for link in ["eth0", "shim-eth0"] {
        eventually("it is in the group of the next address", || {
            let of_link = |line: &str| line.split_whitespace().nth(1) == Some(link);
            groups().lines().any(|line| of_link(line) && line.ends_with("3333ff0000c1"))
        });
    }
}

#[test]
fn an_address_whose_machine_answers_with_a_priority_and_no_vlan_is_not_handed_out() {
    let home = Home::new();
    create(&home, "lan", "--ip-range 192.168.88.192/27 --subnet fd88::/64 --ip-range fd88::c0-fd88::cf");
    let (mac, taken) = (Mac([2, 0, 0, 0, 0, 7]), [ip("192.168.88.192"), ip("fd88::c0")]);
    let _answering = Answering::by(&home.laptop, "eth0", move |frame| {
        let asked = heard(frame).filter(|heard| !heard.claims && taken.contains(&heard.ip))?;
        let claim = announcement(mac, asked.ip);
        Some([&claim[..12], &[0x81, 0, 0xe0, 0], &claim[12..]].concat())
    });
    let web = home.world.container("web").unwrap();
    assert_eq!(addresses(&home.attach("lan", &web, "")), [ip("192.168.88.193"), ip("fd88::c1")]);
}

#[test]
fn the_longest_unused_address_is_given_away_first_and_a_name_gets_its_own_back() {
    let home = Home::new();
    create(&home, "lan", "--ip-range 192.168.88.192-192.168.88.194");
    let (containers, at) = attach_all(&home, "lan", &["a", "b", "c"]);
    // Times are stored in seconds.
    for name in ["b", "a", "c"] {
        home.ok(&format!("detach lan {name}"));
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(addresses(&home.attach("lan", &containers[0], "")), [at[0]]);
    let (_d, at_d) = attach_all(&home, "lan", &["d"]);
    assert_eq!(at_d, [at[1]], "b went first");
    assert_eq!(addresses(&home.attach("lan", &containers[2], "")), [at[2]]);
    refused(&home, "lan", "");
}

#[test]
fn a_machine_that_claims_an_address_in_use_is_answered_and_shown() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let at = addresses(&report)[0];
    reaches(&home.router, at);
    takes(&home.laptop, at, || {
        let status = home.status();
        status["endpoints"][0]["conflicts"].as_object().is_some_and(|conflicts| !conflicts.is_empty())
    });
    assert!(home.troubles().to_string().contains("claims the address of `web`"));
    assert!(home.daemon().log().contains("defending it"), "{}", home.daemon().log());
    let mac = report["mac"].as_str().unwrap();
    is_defended(&home.router, at, mac, &home.laptop);
}

#[test]
fn the_address_of_a_sibling_that_somebody_else_made_is_not_handed_out() {
    let home = Home::new();
    home.create_lan();
    let plain = sibling_made_by_hand(&home, "192.168.88.192/24");
    let (_containers, at) = attach_all(&home, "lan", &["web"]);
    assert_eq!(at, [ip("192.168.88.193")]);
    refused(&home, "lan", "--ip 192.168.88.192");
    reaches(&home.laptop, ip("192.168.88.192"));
    assert_eq!(mac_known_to(&home.laptop, ip("192.168.88.192")), mac_of(&plain));
}

#[test]
fn an_attach_that_is_refused_takes_its_shim_along() {
    let home = Home::new();
    home.create_lan();
    let _plain = sibling_made_by_hand(&home, "192.168.88.200/24");
    refused(&home, "lan", "--ip 192.168.88.200");
    assert!(home.made_links().is_empty(), "{:?}", home.made_links());
}

fn mac_of(machine: &Machine) -> String {
    let host = machine.kernel().observe(&[]).unwrap().host;
    host.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap().to_string()
}

#[test]
fn the_address_for_the_host_itself_must_be_nobodys_and_is_defended() {
    let home = Home::new();
    let lan = "--parent eth0 --subnet 192.168.88.0/24";
    let ran = home.run(&format!("network create lan {lan} --aux-address host=192.168.88.50"));
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("192.168.88.50 is in use on the LAN by"), "{}", ran.stderr);
    // Two networks of one parent may share it.
    for (name, range) in [("lan", "192.168.88.192/27"), ("other", "192.168.88.160/27")] {
        home.ok(&format!("network create {name} {lan} --ip-range {range} --aux-address host=192.168.88.222"));
    }
    let (_web, at_web) = attach_all(&home, "lan", &["web"]);
    let (_db, at_db) = attach_all(&home, "other", &["db"]);
    reaches(&home.nas, at_web[0]);
    reaches(&home.nas, at_db[0]);
    reaches(&home.router, ip("192.168.88.222"));
    takes(&home.laptop, ip("192.168.88.222"), || {
        home.ok("status").contains("claims 192.168.88.222, the host's own address on a shim")
    });
}

#[test]
fn a_machine_that_took_the_address_in_silence_is_found_when_it_is_used() {
    let home = Home::new();
    create(&home, "lan", "--ip-range 192.168.88.192/27 --conflict off");
    home.laptop.add_address("eth0", "192.168.88.192/24".parse().unwrap()).unwrap();
    let (_containers, at) = attach_all(&home, "lan", &["web"]);
    assert_eq!(at, [ip("192.168.88.192")]);
    eventually("status shows the conflict", || home.troubles().to_string().contains("claims the address"));
}

#[test]
fn what_has_left_is_not_announced_any_more() {
    let home = Home::new();
    create(&home, "lan", "--ip-range 192.168.88.192/27");
    let at = ip("192.168.88.77");
    let laptop = home.laptop.kernel().observe(&[]).unwrap().host;
    let nic = laptop.link(&"eth0".parse().unwrap()).unwrap().index;
    let ear = PacketSocket::open(home.laptop.namespace(), nic, &filter::arp_and_ndp()).unwrap();
    let container = home.world.container("first").unwrap();
    home.attach("lan", &container, &format!("--ip {at}"));
    home.ok("detach lan first");
    let container = home.world.container("second").unwrap();
    let report = home.attach("lan", &container, &format!("--ip {at}"));
    let second: Mac = report["mac"].as_str().unwrap().parse().unwrap();

    // The first container's second announcement would come between the two of the second container.
    let mut claims = Vec::new();
    eventually("the second is announced twice", || {
        let mut buffer = [0; 2048];
        while let Some(frame) = ear.receive(&mut buffer).unwrap() {
            claims.extend(heard(frame).filter(|heard| heard.claims && heard.ip == at));
        }
        claims.iter().filter(|claim| claim.sender == second).count() == 2
    });
    let since = claims.iter().skip_while(|claim| claim.sender != second);
    assert!(since.clone().all(|claim| claim.sender == second), "{claims:?}, and {second} has it");
}

/// Adds a host rule that drops everything leaving the NIC, or removes it.
fn mute(engines: &Engines, home: &Home, muted: bool) {
    let rules = if muted {
        "add table netdev mute; add chain netdev mute out { type filter hook egress device eth0 priority 0; policy drop; }"
    } else {
        "delete table netdev mute"
    };
    let mut nft = home.nas.command(engines.path("usr/sbin/nft")).unwrap();
    Ran::of(engines.equip(&mut nft).arg(rules)).unwrap().expect_success();
}

#[test]
fn an_address_that_cannot_be_looked_for_is_not_handed_out() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("promise 3, muted", &why),
    };
    let home = Home::new();
    mute(&engines, &home, true);
    let web = home.world.container("web").unwrap();
    let attach = |network: &str| {
        home.run(&format!("attach {network} --netns {} --name web", web.namespace().path().display()))
    };
    let unanswered = |ran: &Ran, hint: &str| {
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        let words = ["on the LAN through `eth0`", hint];
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
    };
    create(&home, "lan", "--ip-range 192.168.88.192/29");
    for _ in 0..2 {
        unanswered(&attach("lan"), "--conflict off");
    }
    unanswered(&home.run("network create found"), "--ip-range");
    assert!(home.troubles().to_string().contains("cannot be probed on the LAN through `eth0`"));
    assert_eq!((home.made_links(), home.made_routes()), (vec![], vec![]));
    // A network without conflict detection does not make the user wait.
    create(&home, "blind", "--ip-range 192.168.88.200/29 --conflict off");
    assert_eq!(attach("blind").code, Some(0));
    home.ok("detach blind web");

    mute(&engines, &home, false);
    let at = addresses(&home.attach("lan", &web, ""))[0];
    reaches(&home.laptop, at);
    assert_eq!(home.troubles().as_array().unwrap().len(), 0);
}

#[test]
fn a_range_is_looked_for_whatever_changes_meanwhile() {
    let home = Home::new();
    // One machine in each of the two blocks that are tried first.
    let _machines = [200, 230].map(|last| home.world.machine(&format!("m{last}"), last).unwrap());
    let daemon = home.daemon();
    let created = std::thread::scope(|scope| {
        let create = scope.spawn(|| daemon.run(&["network", "create", "lan", "--json"]).unwrap());
        while !create.is_finished() {
            home.nas.add_address("lo", "10.0.0.1/32".parse().unwrap()).unwrap();
            home.nas.del_address("lo", "10.0.0.1/32".parse().unwrap()).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        create.join().unwrap().expect_success()
    });
    assert!(created.contains("192.168.88.160/27"), "{created}");
}

#[test]
fn what_is_leased_is_nobody_elses_while_another_address_is_looked_for() {
    let home = Home::new();
    let at = Ipv4Addr::new(192, 168, 88, 193);
    create(&home, "other", "--ip-range 192.168.88.192/27");
    create(&home, "lan", "--subnet fd88::/64 --dhcp --conflict full");
    let good =
        move |question: &Question| question.good(at, 3600).map(Reply::now).into_iter().collect::<Vec<_>>();
    let _server = Scripted::on(&home.router, good);
    let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
    let line = |network: &str, container: &Machine, at: &str| {
        let (netns, name) = (container.namespace().path().display(), container.name());
        format!("attach {network} --netns {netns} --name {name} --ip {at}")
    };
    let (first, second) = (line("lan", &web, "fd88::77"), line("other", &db, &at.to_string()));
    let (daemon, voice) = (home.daemon(), Voice::of(&home.laptop));
    let (leased, named) = std::thread::scope(|scope| {
        let words: Vec<&str> = first.split(' ').collect();
        let leased = scope.spawn(move || daemon.run(&words).unwrap());
        eventually("it has its lease, and another address is looked for", || {
            voice.heard().iter().any(|heard| heard.ip == ip("fd88::77"))
        });
        let named = home.run(&second);
        (leased.join().unwrap(), named)
    });
    let status = home.status();
    let endpoints = status["endpoints"].as_array().unwrap();
    let with_it = endpoints.iter().filter(|one| addresses(one).contains(&at.into())).count();
    assert_eq!(with_it, 1, "{leased:?} {named:?} {status}");
    reaches(&home.laptop, at.into());
}
