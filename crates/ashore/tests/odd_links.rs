//! Links with names that are not text. A container's administrator may name its links freely. Other
//! containers must not notice, and the container must leave when told to.

use ashore_lab::Machine;
use home::{Home, addresses, does_not_reach, eventually, ip, reaches, type_ip};

/// What the owner of a link may write on it, as words for `ip`. Each is applied to `eth0`.
const ODD: [(&str, &[&[u8]]); 5] = [
    ("an alias", &[b"link", b"set", b"eth0", b"alias", b"\xff"]),
    ("an alias of many lines", &[b"link", b"set", b"eth0", b"alias", b"\x1b[2J\r\n\xc2\x9b2J"]),
    ("another name", &[b"link", b"property", b"add", b"dev", b"eth0", b"altname", b"\xff\xfe"]),
    ("a label", &[b"addr", b"add", b"10.1.1.1/24", b"dev", b"eth0", b"label", b"eth0:\xff"]),
    ("a neighbour", &[b"link", b"add", b"a\xff\x1b[2J", b"type", b"bridge"]),
];

/// Asserts that all requests work, also after a change on the host, and that no output contains control
/// characters for a terminal.
fn all_is_well(home: &Home, neighbour: &Machine, neighbours_at: std::net::IpAddr) {
    home.nudge();
    let log = home.daemon().log();
    assert!(!log.contains("could not reconcile"), "{log}");
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    for command in ["status", "status --json", "plan", "network ls"] {
        let said = home.ok(command);
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{command}: {said:?}");
    }
    reaches(&home.laptop, neighbours_at);
    home.ok("detach lan another");
    let netns = neighbour.namespace().path().display();
    home.ok(&format!("attach lan --netns {netns} --name another --ifname eth9 --no-default-route"));
    home.ok("detach lan another");
}

#[test]
fn a_container_calls_its_link_what_it_likes_and_harms_nobody() {
    for (what, words) in ODD {
        let home = Home::new();
        home.create_lan();
        let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
        let (at, at_db) =
            (addresses(&home.attach("lan", &web, ""))[0], addresses(&home.attach("lan", &db, ""))[0]);
        reaches(&home.laptop, at);
        assert!(type_ip(web.namespace(), words), "{what}");
        all_is_well(&home, &db, at_db);
        reaches(&home.laptop, at);

        // Again, because the daemon may have repaired it meanwhile.
        type_ip(web.namespace(), words);
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
        assert!(web.kernel().observe(&[]).unwrap().host.link(&"eth0".parse().unwrap()).is_none(), "{what}");
        home.attach("lan", &web, "");
        reaches(&home.laptop, at);
    }
}

#[test]
fn a_link_that_was_renamed_to_no_text_is_taken_off_the_lan() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let (at, at_db) =
        (addresses(&home.attach("lan", &web, ""))[0], addresses(&home.attach("lan", &db, ""))[0]);
    reaches(&home.laptop, at);
    let names = || -> Vec<String> {
        let links = web.kernel().observe(&[]).unwrap().host.links;
        links.iter().map(|link| link.name.to_string()).collect()
    };
    for alias in [&b"ashore:lan:web"[..], b"\xff"] {
        assert!(type_ip(web.namespace(), &[b"link", b"set", b"eth0", b"name", b"x\xffy", b"alias", alias]));
        home.ok("status");
        home.ok("detach lan web");
        assert_eq!(names(), ["lo"]);
        does_not_reach(&home.laptop, at);
        all_is_well(&home, &db, at_db);
        home.attach("lan", &web, "");
        reaches(&home.laptop, at);
    }
}

#[test]
fn what_the_host_has_of_that_kind_is_left_alone() {
    let mut home = Home::new();
    home.create_lan();
    let db = home.world.container("db").unwrap();
    let at_db = addresses(&home.attach("lan", &db, ""))[0];
    for (what, words) in ODD {
        assert!(type_ip(home.nas.namespace(), words), "{what}");
    }
    let stray: &[&[u8]] =
        &[b"link", b"add", b"link", b"eth0", b"s\xff", b"type", b"macvlan", b"mode", b"bridge"];
    assert!(type_ip(home.nas.namespace(), stray));
    assert!(type_ip(home.nas.namespace(), &[b"link", b"set", b"s\xff", b"alias", b"ashore:lan:\xff", b"up"]));
    let before = home.made_links();
    all_is_well(&home, &db, at_db);
    home.restart();
    all_is_well(&home, &db, at_db);
    home.ok("detach lan db");
    home.ok("network rm lan");
    let left = home.made_links();
    assert_eq!(left, [r"a\xff\x1b[2J", r"s\xff"], "{before:?}");
    eventually("the host is reached as ever", || home.laptop.ping(ip(home::HOST)).is_some());
}

#[test]
fn a_nic_of_such_a_name_is_refused_before_anything_is_touched() {
    let home = Home::new();
    assert!(type_ip(home.nas.namespace(), &[b"link", b"set", b"eth0", b"down"]));
    assert!(type_ip(home.nas.namespace(), &[b"link", b"set", b"eth0", b"name", b"e\xff", b"up"]));
    let ran = home.run("network create lan --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains(r"`e\xff`") && ran.stderr.contains("not plain text"), "{}", ran.stderr);
    assert_eq!(home.ok("network ls --json").trim(), "[]");
}

/// Whoever looks into all containers would have to read these routes.
#[test]
fn a_container_of_no_end_of_routes_keeps_nobody_waiting_and_goes_when_it_is_told_to() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let at_db = addresses(&home.attach("lan", &db, ""))[0];
    let routes = home.directory.path().join("routes");
    let lines = (0..200_000)
        .map(|n: u32| format!("route add blackhole {}/32\n", std::net::Ipv4Addr::from(n + (11 << 24))));
    std::fs::write(&routes, lines.collect::<String>()).unwrap();
    assert!(type_ip(web.namespace(), &[b"-batch", routes.as_os_str().as_encoded_bytes()]));
    all_is_well(&home, &db, at_db);
    let troubles = home.troubles().to_string();
    assert!(troubles.contains("`web` cannot be read, and is left as it is"), "{troubles}");
    reaches(&home.laptop, at);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, at);
    assert_eq!(home.troubles(), serde_json::json!([]));
}

/// A link with so many alternative names that the kernel's message about it is longer than any other.
#[test]
fn a_link_of_many_names_is_read_whole() {
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at = addresses(&home.attach("lan", &web, ""))[0];
    let at_db = addresses(&home.attach("lan", &db, ""))[0];
    let mut added = 0;
    for machine in [&web, &home.nas] {
        for n in 0..600 {
            let name = format!("{n:0120}");
            let words: &[&[u8]] =
                &[b"link", b"property", b"add", b"dev", b"eth0", b"altname", name.as_bytes()];
            // Since Linux 5.18 there may be 64 KiB of them.
            if !type_ip(machine.namespace(), words) {
                break;
            }
            added += 1;
        }
    }
    assert!(added > 200, "{added}");
    all_is_well(&home, &db, at_db);
    assert_eq!(home.troubles().as_array().unwrap().len(), 0);
    home.ok("detach lan web");
    does_not_reach(&home.laptop, at);
}
