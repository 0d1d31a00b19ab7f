//! Root's side of leave for other users: the networks on which none is let, what root is told who lets them on, and how much
//! a refusal tells them.

use std::fs::File;

use ashore_lab::Ran;
use home::users::{ALICE, Container, Site, site};
use home::{is_root, type_on};
use serde_json::{Value, json};

/// The child of such a network has the MAC of the NIC, and whoever owns the child sets it for both.
#[test]
fn no_user_is_let_on_a_network_on_which_he_could_change_the_nics_mac() {
    let Some(site) = site("--allow-user 1000") else { return };
    type_on(&site.home.nas, "ip link add usb0 type veth peer name usb0-far");
    for link in ["usb0", "usb0-far"] {
        type_on(&site.home.nas, &format!("ip link set dev {link} up"));
    }
    let create = "network create whole --kind macvlan:passthru --parent usb0 --subnet 10.9.0.0/24";
    let says = "macvlan:passthru gives its one endpoint the MAC of `usb0`";
    for allowed in ["--allow-user 1000", "--allow-group 1000"] {
        let refused = site.home.run(&format!("{create} {allowed}"));
        assert!(refused.code == Some(3) && refused.stderr.contains(says), "{}", refused.stderr);
    }
    site.home.ok(create);
    let refused = site.home.run("network allow whole --user 1000");
    assert!(refused.code == Some(3) && refused.stderr.contains(says), "{}", refused.stderr);
    assert_eq!(site.home.run("network allow whole --user 1000 --no-longer").code, Some(0));
    // An earlier version let him.
    import(&site, |rows| rows["network/whole"]["allowed"] = json!({ "users": [1000], "groups": [] }));
    let inside = site.namespaces_of(ALICE);
    let web = Container { network: "whole", ..Container::on_lan("c1", "web") };
    site.refuses(ALICE, &inside.netns(), &web, &["user 1000 may not use a network `whole`"]);
}

#[test]
fn a_refusal_tells_that_something_is_in_use_and_not_by_whom() {
    let Some(site) = site("--allow-user 1000") else { return };
    let own = site.namespaces_of(ALICE);
    let with = |ip| Container { ips: vec![ip], ..Container::on_lan("c1", "web") };
    let refused = |container: &Container<'_>, says: &str| {
        site.refuses(ALICE, &own.netns(), container, &[says]);
        let said = site.set_up(ALICE, &own.netns(), container).answer.to_string();
        for word in ["secret", "hidden", "02:", ":00:", "laptop"] {
            assert!(!said.contains(word), "{word} is in: {said}");
        }
    };
    // Of a machine on the LAN.
    type_on(&site.home.laptop, "ip addr add 192.168.88.200/24 dev eth0");
    refused(&with("192.168.88.200"), "192.168.88.200 is in use on network `lan`");
    // Of a container of root's on another network, which also sets one aside.
    site.home.ok(
        "network create secret --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.201-192.168.88.203 \
         --aux-address hidden=192.168.88.202",
    );
    refused(&with("192.168.88.202"), "192.168.88.202 is handed out to nobody on network `lan`");
    let roots = site.home.world.container("roots").unwrap();
    site.home.attach("secret", &roots, "--ip 192.168.88.201");
    refused(&with("192.168.88.201"), "user 1000 may not choose 192.168.88.201");
    // All that there are.
    site.home.ok("network rm lan");
    site.home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.201-192.168.88.201 \
         --allow-user 1000",
    );
    refused(&Container::on_lan("c1", "web"), "network `lan` has no free address");
}

#[test]
fn whoever_lets_users_on_before_they_can_call_is_told_what_to_type() {
    if !is_root() {
        return;
    }
    let home = home::Home::new();
    let lan = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27";
    let says = |command: &str| {
        let ran = home.run(command);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr.contains("try: ashore install --users")
    };
    assert!(says(&format!("{lan} --allow-user 1000")));
    assert!(says("network allow lan --group 1000"));
    assert!(!says("network allow lan --group 1000 --user 1000 --no-longer"));
}

/// The VLAN is one of another network's, which waits for it: not every kernel has VLAN interfaces.
#[test]
fn whoever_lets_users_on_a_trunk_is_warned() {
    let Some(mut site) = site("") else { return };
    let says = |ran: &Ran| ran.stderr.contains("its parent `eth0` carries VLAN 20 as well");
    let codes = |site: &Site| site.home.codes().contains(&"vlans-open".to_owned());
    let allow = |site: &Site, more: &str| {
        let ran = site.home.run(&format!("network allow lan --user 1000 {more}"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        says(&ran)
    };
    assert!(!allow(&site, "") && !codes(&site));
    import(&site, |rows| {
        let mut iot = rows["network/lan"].clone();
        iot["name"] = "iot".into();
        iot["parent"] = "eth0.20".into();
        iot["vlan"] = json!({ "lower": "eth0", "id": 20 });
        iot["subnets"] = json!([{ "net": "10.20.0.0/24", "range": null, "gateway": null, "aux": {} }]);
        rows.insert("network/iot".to_owned(), iot);
    });
    assert!(codes(&site));
    assert!(!allow(&site, "--no-longer") && !codes(&site));
    assert!(allow(&site, "") && codes(&site));
    site.home.daemon = None;
    site.start();
    assert!(codes(&site));
    site.home.ok("network rm lan");
    assert!(!codes(&site));
    let lan = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27";
    let ran = site.home.run(&format!("{lan} --allow-user 1000"));
    assert!(ran.code == Some(0) && says(&ran), "{}", ran.stderr);
    site.home.ok("network rm iot");
    assert!(!codes(&site));
}

/// Replaces the state by itself with a change.
fn import(site: &Site, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let mut state: Value = serde_json::from_str(&site.home.ok("state export")).unwrap();
    change(state["rows"].as_object_mut().unwrap());
    let file = site.home.directory.path().join("state.json");
    std::fs::write(&file, state.to_string()).unwrap();
    let mut import = site.home.daemon().client();
    Ran::of(import.args(["state", "import"]).stdin(File::open(file).unwrap())).unwrap().expect_success();
}
