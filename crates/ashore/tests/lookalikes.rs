//! A container may give a link of its own the MAC of one that has no place now, which cannot come back until the link goes: which link that
//! is, and where, is told. A link that is hidden while it is down goes with the detach.

mod home;

use ashore_lab::{Engines, Machine, cannot_run};
use home::inside::Inside;
use home::{Home, does_not_reach, eventually, mac_known_to, reaches};

fn has_tools(test: &str) -> bool {
    Engines::find().map_err(|why| cannot_run(test, &why)).is_ok()
}

fn troubles(home: &Home) -> String {
    home.status()["troubles"].to_string()
}

/// It is refused, and what the refusal names helps.
fn comes_back_once_it_is_gone(home: &Home, container: &Machine, attach: &str, link: &str, at: &Machine) {
    eventually("it is shown", || {
        troubles(home).contains(&format!("`{}` has no place on `lan` now", container.name()))
    });
    let ran = home.run(attach);
    let said = format!("the link `{link}` in ");
    assert!(ran.code == Some(6) && ran.stderr.contains(&said), "{ran:?}");
    Inside::of(at).types(&format!("ip link del {link}"));
    home.ok(attach);
    assert_eq!(troubles(home), "[]");
}

#[test]
fn whoever_has_the_mac_of_a_stopped_container_is_named() {
    if !has_tools("MAC of a stopped container") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    let before = home.attach("lan", &db, "");
    let (at, mac) = (home::addresses(&before)[0], before["mac"].as_str().unwrap().to_owned());
    home.ok("detach lan db");
    Inside::of(&web).types(&format!(
        "ip link add s0 link eth0 address {mac} type macvlan mode bridge; ip link set s0 up; ip addr add {at}/32 dev s0"
    ));
    let attach = format!("attach lan --netns {} --name db", db.namespace().path().display());
    let ran = home.run(&attach);
    assert!(ran.stderr.contains("the container of `web`"), "{ran:?}");
    comes_back_once_it_is_gone(&home, &db, &attach, "s0", &web);
    reaches(&home.laptop, at);
    eventually("it is db again", || {
        home.laptop.ping(at);
        mac_known_to(&home.laptop, at) == mac
    });
}

#[test]
fn a_link_that_was_hidden_while_it_was_down_goes_with_the_detach() {
    if !has_tools("a link hidden while it was down") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, hidden) = (home.world.container("web").unwrap(), home.world.container("hidden").unwrap());
    let at = home::addresses(&home.attach("lan", &web, ""))[0];
    let path = hidden.namespace().path().display();
    Inside::of(&web).types(&format!("ip link set eth0 down; ip link set eth0 netns {path}"));
    eventually("its container has a link again", || {
        home.nudge();
        home.laptop.ping(at).is_some()
    });
    home.ok("detach lan web");
    assert!(Inside::of(&hidden).children().is_empty());
    does_not_reach(&home.laptop, at);
    home.attach("lan", &web, "");
    reaches(&home.laptop, at);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn whoever_has_the_mac_of_the_shim_is_named() {
    if !has_tools("MAC of the shim") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    let shim = home.nas.kernel().observe(&[]).unwrap().host;
    let mac = shim.link(&"shim-eth0".parse().unwrap()).unwrap().mac.unwrap();
    Inside::of(&web).types(&format!("ip link add x0 link eth0 address {mac} type macvlan mode bridge"));
    home.ok("detach lan web");
    home.ok("network rm lan");
    Inside::of(&web).types("ip link set x0 up");
    home.create_lan();
    eventually("it is shown", || troubles(&home).contains("nothing is attached until it goes"));
    let attach = format!("attach lan --netns {} --name db", db.namespace().path().display());
    let ran = home.run(&attach);
    assert!(ran.code == Some(6) && ran.stderr.contains("the link `x0` in "), "{ran:?}");
    Inside::of(&web).types("ip link del x0");
    home.ok(&attach);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn two_endpoints_of_one_namespace_do_not_claim_each_others_addresses() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let first = home::addresses(&home.attach("lan", &web, ""))[0];
    let path = web.namespace().path().display();
    let second = format!("attach lan --netns {path} --name web2 --ifname eth1 --no-default-route --json");
    let report: serde_json::Value = serde_json::from_str(&home.ok(&second)).unwrap();
    let second = home::addresses(&report)[0];
    // Its kernel answers for both addresses on either link.
    for _ in 0..5 {
        for at in [first, second] {
            reaches(&home.laptop, at);
            reaches(&web, home::ip("192.168.88.50"));
        }
        home::type_on(&home.laptop, "ip neigh flush dev eth0");
    }
    assert_eq!(troubles(&home), "[]");
    let status = home.status();
    let mut endpoints = status["endpoints"].as_array().unwrap().iter();
    assert!(endpoints.all(|one| one["conflicts"].as_object().unwrap().is_empty()), "{status}");
}
