use super::*;
use crate::model::inventory::Membership;
use crate::model::lease::Addressing;
use crate::model::ownership::EngineKind;
use crate::model::state::Change;
use crate::rules::remember::tests::{Words, ip};

/// What is known, the endpoints, and what the first one lacks, in words. Empty if it lacks nothing.
type Row<'a> = (&'a [&'a str], &'a str, &'a str);

fn words_of(lack: Option<Lack>) -> String {
    let Some(lack) = lack else { return String::new() };
    let mut words: Vec<String> = lack.addresses.iter().map(ToString::to_string).collect();
    words.extend(lack.mac.map(|mac| format!("m{}", mac.to_string().trim_start_matches("02:00:00:00:00:0"))));
    words.extend(lack.occupies.then(|| "occupies".into()));
    words.extend(
        lack.leased_by.map(|mac| format!("by m{}", mac.to_string().trim_start_matches("02:00:00:00:00:0"))),
    );
    words.join(" ").replace("192.168.88", "").replace("fd88", "")
}

#[track_caller]
fn lacks(addressing: Addressing, rows: &[Row<'_>]) {
    for (identities, endpoint, lack) in rows {
        let words = Words::new(addressing, identities);
        let made = words.endpoint(endpoint);
        assert_eq!(words_of(words.state.lack(&made)), *lack, "{identities:?} and {endpoint}");
    }
}

#[test]
fn an_endpoint_lacks_what_its_name_has_and_it_has_not() {
    lacks(
        Addressing::Range,
        &[
            (&["web m1 .192 ::c0"], "web stand-in range .192 ::c0 m1", ""),
            (&["web m1 .192 ::c0"], "web stand-in range .195 ::c0 m1", ".192"),
            (&["web m1 .192 ::c0"], "web stand-in range .192 ::c5 m1", "::c0"),
            (&["web m1 .192 ::c0"], "web stand-in range .192 ::c0 m5", "m1"),
            (&["web m1 .192 ::c0"], "web stand-in range .195 ::c5 m5", ".192 ::c0 m1"),
            // A name that remembers only a MAC, only an address, or nothing lacks nothing else.
            (&["web m1"], "web stand-in range .195 m5", "m1"),
            (&["web .192"], "web stand-in range .195 m5", ".192"),
            (&[], "web stand-in range .195 m5", ""),
            // An endpoint must not have what another name remembers.
            (&["db .195"], "web stand-in range .195 m5", "occupies"),
            (&["db m5"], "web stand-in range .195 m5", "occupies"),
            (&["db .195", "web .192"], "web stand-in range .195 m5", ".192"),
            // What the user chose is right.
            (&["web m1 .192"], "web stand-in fixed .200! m5!", ""),
            (&["db m5 .200"], "web stand-in fixed .200! m5!", ""),
            (&["web m1 .192 ::c0"], "web stand-in fixed .200! ::c5 m1", "::c0"),
            (&["web m1 .192 ::c0"], "web stand-in range .195 ::c5! m1", ".192"),
            // The engine's own IPAM chooses another address each time, and links that share the parent's MAC
            // have no MAC of their own.
            (&["web m1 .192"], "web stand-in engine .2 m5", "m1"),
            (&["web m1 .192"], "web stand-in engine .2", ""),
            // An address that the network cannot assign after it was made again.
            (&["web m1 .1"], "web stand-in range .195 m1", ""),
            (&["web m1 10.0.0.5"], "web stand-in range .195 m1", ""),
            // The name is not known yet, or the address was chosen for the name.
            (&["web m1 .192"], "at-192.168.88.195 unnamed range .195 m5", ""),
            (&["web m1 .192"], "web for-name range .195 m5", ""),
        ],
    );
}

#[test]
fn a_lease_is_to_be_the_names_own_and_under_the_endpoints_mac() {
    lacks(
        Addressing::Dhcp,
        &[
            (&["web m1 l.100 L.100=aa"], "web stand-in lease L.100=aa:m1 m1", ""),
            (&["web m1 l.100 L.100=aa"], "web stand-in lease L.105=cc:m5 m5", ".100 m1"),
            (&["web m1 l.100 L.100=aa"], "web stand-in range .192 m1", ""),
            (&["web m1 .193 l.100"], "web stand-in range .192 m1", ".193"),
            (&["web m1 .193"], "web stand-in lease L.105=cc:m1 m1", ""),
            // The user's MAC became known after the lease had been requested.
            (&["web m1 l.100"], "web stand-in lease L.100=cc:m5 m1!", "by m5"),
            (&[], "web for-name lease L.100=aa:m5 m1!", "by m5"),
            (&[], "web for-name lease L.100=aa:m5 m1", ""),
            (&[], "web for-name lease L.100=aa:m5", ""),
            (&[], "web stand-in lease L.100=aa:m5", ""),
            (&["db l.100"], "web stand-in lease L.100=cc:m1 m1", "occupies"),
        ],
    );
}

#[test]
fn who_finds_its_own_with_one_that_has_it_for_want_of_its_own_stands_in_too() {
    let known = ["web m1 .192 ::c0"];
    for (holder, endpoint, chosen) in [
        ("u1 unnamed range .192 m7", "web for-name range .195 ::c0 m1", Chosen::StandIn),
        ("db stand-in range .192 m7", "web for-name range .195 ::c0 m1", Chosen::StandIn),
        ("u1 unnamed range .193 ::c0 m7", "web for-name range .192 ::c5 m1", Chosen::StandIn),
        ("u1 unnamed range .193 m1", "web for-name range .192 ::c0 m5", Chosen::StandIn),
        ("db for-name range .192 m7", "web for-name range .195 ::c0 m1", Chosen::ForName),
        ("u1 unnamed range .193 m7", "web for-name range .195 ::c0 m1", Chosen::ForName),
        ("u1 unnamed range .192 m1", "web for-name fixed .200! ::c0 m5!", Chosen::ForName),
        ("u1 unnamed range .192 m1", "web unnamed range .195 m5", Chosen::Unnamed),
        ("u1 unnamed range .193 m7", "web stand-in range .195 m1", Chosen::StandIn),
    ] {
        let words = Words::new(Addressing::Range, &known).with(&[holder]);
        let made = words.endpoint(endpoint);
        let of = words.state.chosen_beside(words.network(), &made, &BTreeSet::new());
        assert_eq!(of, chosen, "{holder}, {endpoint}");
    }
}

#[test]
fn so_does_who_comes_while_another_request_looks_for_its_own() {
    let words = Words::new(Addressing::Range, &["web m1 .192 ::c0"]);
    for (held, endpoint, chosen) in [
        (".192", "web for-name range .195 ::c0 m1", Chosen::StandIn),
        ("::c0", "web for-name range .192 ::c5 m1", Chosen::StandIn),
        ("::c5", "web for-name range .195 ::c0 m1", Chosen::ForName),
        (".192", "web for-name fixed .200! ::c0 m1", Chosen::ForName),
        (".192", "web unnamed range .195 ::c0 m1", Chosen::Unnamed),
    ] {
        let made = words.endpoint(endpoint);
        let of = words.state.chosen_beside(words.network(), &made, &BTreeSet::from([ip(held)]));
        assert_eq!(of, chosen, "{held}, {endpoint}");
    }
}

/// The names of the containers to reconnect, in groups.
fn groups(words: &Words, taken: &[&str], stays: &[&str]) -> Vec<Vec<String>> {
    let containers = words.state.endpoints.values().map(|endpoint| ListedContainer {
        id: format!("c-{}", endpoint.name),
        name: endpoint.name.clone(),
        memberships: vec![Membership {
            network: "n1".into(),
            endpoint: endpoint.engine_id().map(str::to_owned),
            addresses: Vec::new(),
            mac: None,
            chosen: Vec::new(),
        }],
        sandbox: None,
        formerly: None,
    });
    let inventory = Inventory {
        kind: EngineKind::Docker,
        engine: "e1".into(),
        networks: Vec::new(),
        containers: containers.collect(),
    };
    let is_free = |_: &IfName, address: IpAddr| !taken.iter().any(|text| ip(text) == address);
    let may = |endpoint: &Endpoint| !stays.contains(&endpoint.name.as_str());
    let found = words.state.wrong_identities(&inventory, is_free, may);
    let mut names: Vec<Vec<String>> =
        found.iter().map(|group| group.iter().map(|one| one.name.to_string()).collect()).collect();
    for group in &mut names {
        group.sort_unstable();
    }
    names.sort_unstable();
    names
}

/// What is known, the endpoints, addresses that machines on the LAN have, endpoints that may not move, and
/// the containers to reconnect.
type GroupRow<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a [&'a str]]);

#[test]
fn who_would_get_something_is_connected_anew_together_with_those_who_have_it() {
    let known: &[&str] = &["aa m1 .192", "bb m2 .193", "cc m3 .194"];
    let rows: &[GroupRow<'_>] = &[
        (known, &["aa stand-in range .192 m1", "bb for-name range .195 m5"], &[], &[], &[]),
        (known, &["aa stand-in range .195 m5"], &[], &[], &[&["aa"]]),
        // The address is another machine's, but the MAC is free.
        (known, &["aa stand-in range .195 m5"], &[".192"], &[], &[&["aa"]]),
        (known, &["aa stand-in range .195 m1"], &[".192"], &[], &[]),
        // Each in a group of its own.
        (known, &["aa stand-in range .195 m5", "bb stand-in range .196 m6"], &[], &[], &[&["aa"], &["bb"]]),
        // They have one another's addresses in a circle.
        (known, &["aa stand-in range .193 m5", "bb stand-in range .192 m6"], &[], &[], &[&["aa", "bb"]]),
        (
            known,
            &["aa stand-in range .193 m5", "bb stand-in range .194 m6", "cc stand-in range .192 m7"],
            &[],
            &[],
            &[&["aa", "bb", "cc"]],
        ),
        (known, &["aa stand-in range .193 m2", "bb stand-in range .193 m1"], &[], &[], &[&["aa", "bb"]]),
        // One after the other, the last for an address that is free.
        (
            known,
            &["aa stand-in range .195 m1", "bb stand-in range .192 m2", "cc stand-in range .193 m3"],
            &[],
            &[],
            &[&["aa", "bb", "cc"]],
        ),
        // One of two things is free.
        (
            known,
            &["aa stand-in range .195 m5", "bb stand-in range .196 m1"],
            &[".192"],
            &[],
            &[&["aa", "bb"]],
        ),
        (
            &["aa m1 .192 ::c0", "bb m2 .193"],
            &["aa stand-in range .195 ::c5 m1", "bb stand-in range .192 m2"],
            &["::c0"],
            &[],
            &[&["aa", "bb"]],
        ),
        // The holder may not move, or its name is not known yet.
        (known, &["aa stand-in range .193 m1", "bb stand-in range .192 m2"], &[], &["bb"], &[]),
        (known, &["aa stand-in range .195 m1", "u1 unnamed range .192 m6"], &[], &[], &[]),
        // A container with a new name may not keep what another name remembers.
        (known, &["new stand-in range .192 m5"], &[], &[], &[&["new"]]),
        (known, &["new stand-in range .192 m5", "aa stand-in range .195 m1"], &[], &[], &[&["aa", "new"]]),
    ];
    for (identities, endpoints, taken, stays, expected) in rows {
        let words = Words::new(Addressing::Range, identities).with(endpoints);
        let expected: Vec<Vec<String>> =
            expected.iter().map(|group| group.iter().map(|name| (*name).to_owned()).collect()).collect();
        assert_eq!(groups(&words, taken, stays), expected, "{endpoints:?}, {taken:?}, {stays:?}");
    }
}

#[test]
fn a_container_is_connected_with_the_mac_that_its_user_chose_and_no_other() {
    for (endpoint, mac) in [
        ("aa stand-in range .195 m5", None),
        ("aa stand-in range .195 m5!", Some("02:00:00:00:00:05".parse().unwrap())),
    ] {
        let words = Words::new(Addressing::Range, &["aa m1 .192"]).with(&[endpoint]);
        let listed = ListedContainer {
            id: "c".into(),
            name: "aa".parse().unwrap(),
            memberships: vec![Membership {
                network: "n1".into(),
                endpoint: Some("id-aa".into()),
                addresses: Vec::new(),
                mac: None,
                chosen: Vec::new(),
            }],
            sandbox: None,
            formerly: None,
        };
        let inventory = Inventory {
            kind: EngineKind::Docker,
            engine: "e1".into(),
            networks: Vec::new(),
            containers: vec![listed],
        };
        let found = words.state.wrong_identities(&inventory, |_, _| true, |_| true);
        let expected = WrongIdentity {
            network: "n1".into(),
            container: "c".into(),
            endpoint: "id-aa".into(),
            name: "aa".parse().unwrap(),
            mac,
        };
        assert_eq!(found, [[expected]]);
    }
}

#[test]
fn what_is_in_the_way_is_told() {
    let words = Words::new(Addressing::Range, &["aa m1 .192"]).with(&["bb for-name range .192 m1"]);
    let lack = |addresses: &[&str], mac: Option<&str>| Lack {
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        mac: mac.map(|mac| mac.parse().unwrap()),
        ..Lack::default()
    };
    let holder = words.state.endpoints.values().next().unwrap();
    let free = |_: &IfName, address: IpAddr| address != ip(".193");
    let of = |lack: &Lack| words.state.obstacles(holder, lack, free);
    assert_eq!(of(&lack(&[".192"], None)), Some(vec![Obstacle::Endpoint(holder)]));
    assert_eq!(of(&lack(&[".193"], None)), Some(vec![Obstacle::Lan(ip(".193"))]));
    assert_eq!(of(&lack(&[], Some("02:00:00:00:00:01"))), Some(vec![Obstacle::Endpoint(holder)]));
    assert_eq!(of(&lack(&[".194"], None)), None);
    assert_eq!(of(&lack(&[".193", ".194"], None)), None, "one of the two is free");
    assert_eq!(of(&Lack { occupies: true, ..lack(&[".192"], None) }), None);
    assert_eq!(of(&Lack { leased_by: Some(Mac([2, 0, 0, 0, 0, 5])), ..lack(&[".192"], None) }), None);
}

#[test]
fn of_an_adopted_network_and_of_no_engine_nothing_is_lacking() {
    let mut words = Words::new(Addressing::Range, &["aa m1 .192"]);
    let endpoint = words.endpoint("aa stand-in range .195 m5");
    let netns = crate::net::link::Netns::new("/run/netns/aa".into(), 4, 7);
    let placement = crate::model::endpoint::Placement::Netns { netns, ifname: "eth0".parse().unwrap() };
    assert_eq!(words.state.lack(&Endpoint { placement, ..endpoint.clone() }), None);
    assert!(words.state.lack(&endpoint).is_some());
    let adopted = Network { adopted: true, ..words.network().clone() };
    words.apply(vec![Change::PutNetwork(adopted)]);
    assert_eq!(words.state.lack(&endpoint), None);
}
