//! What real engines send, and what comes of it. The calls are those of `tests/netavark`, as Podman 5.8 and 5.4 make
//! them.

use std::path::Path;

use ashore_core::model::lease::Addressing;
use ashore_core::rules::create::NetworkSpec;

use super::*;

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netavark").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn spec(name: &str) -> NetworkSpec {
    parse::<Described>(&recorded(name)).and_then(|described| described.spec()).unwrap()
}

fn described(more: &str) -> Result<NetworkSpec, Failed> {
    parse::<Described>(format!(r#"{{"name":"lan","id":"1a","driver":"ashore"{more}}}"#).as_bytes())?.spec()
}

/// A spec as the user of the command line would ask for it, without what is the engine's.
fn asks(spec: &NetworkSpec) -> String {
    let mut words = Vec::new();
    words.extend(spec.parent.iter().map(|parent| format!("parent {parent}")));
    words.extend(spec.vlan.iter().map(|vlan| format!("vlan {vlan}")));
    words.extend(spec.kind.iter().map(|kind| format!("kind {kind}")));
    words.extend(spec.subnets.iter().map(|net| format!("subnet {net}")));
    words.extend(spec.ranges.iter().map(|range| format!("range {range}")));
    words.extend(spec.gateways.iter().map(|ip| format!("gateway {ip}")));
    words.extend(spec.aux.iter().map(|(name, ip)| format!("aux {name}={ip}")));
    words.extend(spec.mtu.iter().map(|mtu| format!("mtu {mtu}")));
    words.extend(spec.bc_queue_len.iter().map(|frames| format!("queue {frames}")));
    words.extend((spec.addressing == Addressing::Dhcp).then(|| "dhcp".to_owned()));
    words.extend(spec.internal.then(|| "internal".to_owned()));
    words.join(", ")
}

#[test]
fn a_network_is_what_its_user_asked_podman_for() {
    for (call, asked) in [
        ("create_bare.json", ""),
        ("create_with_subnet.json", "subnet 192.168.88.0/24"),
        ("create_with_interface.json", "parent eth0"),
        ("create_with_options.json", "parent eth0, kind macvlan:bridge, mtu 1400"),
        // The addresses that Docker means by 192.168.88.192/27.
        ("create_with_range.json", "subnet 192.168.88.0/24, range 192.168.88.192/27, gateway 192.168.88.1"),
        ("create_with_range_from_to.json", "subnet 192.168.88.0/24, range 192.168.88.192-192.168.88.200"),
        ("create_internal.json", "internal"),
        ("create_ipam_dhcp.json", "dhcp"),
        ("create_ipam_none.json", ""),
        ("create_with_routes.json", "subnet 192.168.88.0/24"),
    ] {
        assert_eq!(asks(&spec(call)), asked, "{call}");
    }
    let read = |call: &str| parse::<Described>(&recorded(call)).unwrap();
    assert!(
        read("create_ipam_none.json").is_without_addresses()
            && !read("create_bare.json").is_without_addresses()
    );
    let routes = read("create_with_routes.json").routes();
    let shown: Vec<_> = routes.iter().map(|route| (route.to.to_string(), route.metric)).collect();
    assert_eq!(shown, [("10.1.0.0/16".to_owned(), None), ("10.2.0.0/16".to_owned(), Some(7))]);
}

#[test]
fn options_may_be_labels_and_several_may_be_one() {
    for (given, asked) in [
        (r#","options":{"parent":"eth0,mode=l3"}"#, "parent eth0, kind ipvlan:l3"),
        (r#","options":{"parent":"eth0,vlan=20,bc_queue_len=50"}"#, "parent eth0, vlan 20, queue 50"),
        (
            r#","labels":{"ashore.parent":"eth0","ashore.kind":"bridge","purpose":"home"}"#,
            "parent eth0, kind bridge",
        ),
        (
            r#","options":{"aux_address":"host=192.168.88.9"},"subnets":[{"subnet":"192.168.88.0/24"}]"#,
            "subnet 192.168.88.0/24, aux host=192.168.88.9",
        ),
        (r#","options":{"no_default_route":"true","dns":"none","metric":"200"}"#, ""),
    ] {
        assert_eq!(asks(&described(given).unwrap()), asked, "{given}");
    }
    for (given, words) in [
        (r#","options":{"parnt":"eth0"}"#, &["`parnt`", "did you mean `parent`"][..]),
        (r#","options":{"vlan":"5000"}"#, &["-o vlan=5000"]),
        (r#","options":{"metric":"far"}"#, &["-o metric=far"]),
        (r#","options":{"mode":"sideways"}"#, &["-o mode=sideways"]),
        (r#","options":{"mode":"bridge","kind":"bridge"}"#, &["twice"]),
        (
            r#","options":{"parent":"eth1"},"network_interface":"eth0""#,
            &["-o parent=eth1", "--interface-name eth0"],
        ),
        (r#","network_interface":"a/b""#, &["--interface-name a/b"]),
        (
            r#","subnets":[{"subnet":"192.168.88.0/24"}],"routes":[{"destination":"10.0.0.0/8","gateway":"192.168.89.2"}]"#,
            &["--route 10.0.0.0/8,192.168.89.2", "192.168.88.0/24"],
        ),
        (
            r#","routes":[{"destination":"10.0.0.0/8","gateway":"fd88::2"}]"#,
            &["--route 10.0.0.0/8,fd88::2", "family"],
        ),
        (
            r#","ipam_options":{"driver":"none"},"options":{"ipv6":"slaac"}"#,
            &["--ipam-driver none", "leave one"],
        ),
        (
            r#","subnets":[{"subnet":"192.168.88.0/24","lease_range":{"start_ip":"192.168.88.9","end_ip":"192.168.88.2"}}]"#,
            &["192.168.88.9-192.168.88.2"],
        ),
    ] {
        let refused = described(given).unwrap_err();
        assert!(words.iter().all(|word| refused.0.contains(word)), "{given}: {refused:?}");
    }
}

#[test]
fn an_attachment_is_what_its_user_asked_podman_for() {
    let choices = |name: &str| parse::<Attachment>(&recorded(name)).unwrap().choices().unwrap();
    let bare = choices("setup_bare.json");
    assert_eq!((bare.ips.len(), bare.mac, bare.ifname.as_str(), bare.default_route), (0, None, "eth0", true));
    assert_eq!(choices("setup_with_ip.json").ips, ["192.168.88.200".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(choices("setup_with_two_ips.json").ips.len(), 2);
    let all = choices("setup_with_interface_ip_mac.json");
    assert_eq!(all.ifname.as_str(), "lan0");
    assert_eq!(all.mac.map(|mac| mac.to_string()).as_deref(), Some("02:aa:bb:cc:dd:ee"));
}

#[test]
fn what_a_server_is_told_is_said_of_a_network_or_of_a_container() {
    let more = r#","options":{"addressing":"dhcp","hostname":"web","register_name":"yes","vendor_class":"nas box","lease_timeout":"30"}"#;
    let leasing = described(more).unwrap().leasing;
    assert_eq!((leasing.register_name, leasing.timeout.map(u16::from)), (true, Some(30)));
    let texts = (leasing.hostname.unwrap().to_string(), leasing.vendor_class.unwrap().to_string());
    assert_eq!(texts, ("web".to_owned(), "nas box".to_owned()));
    for more in [
        r#","options":{"hostname":"a_b"}"#,
        r#","options":{"lease_timeout":"2"}"#,
        r#","options":{"register_name":"maybe"}"#,
        r#","options":{"client_id":"ff:01"}"#,
    ] {
        let option = more.split('"').nth(3).unwrap();
        assert!(described(more).unwrap_err().0.contains(option), "{more}");
    }
    let wishes = |options: serde_json::Value| {
        let mut call: serde_json::Value = serde_json::from_slice(&recorded("setup_bare.json")).unwrap();
        call["network_options"]["options"] = options;
        parse::<Attachment>(call.to_string().as_bytes()).unwrap().choices().map(|choices| choices.wishes)
    };
    let told = wishes(serde_json::json!({ "hostname": "photos", "client_id": "nas-1" })).unwrap();
    assert_eq!(told.hostname.unwrap().to_string(), "photos");
    assert_eq!(told.client_id.unwrap().to_string(), "00:6e:61:73:2d:31");
    assert!(wishes(serde_json::json!({})).unwrap().is_nothing());
    for wrong in [serde_json::json!({ "hostname": "a_b" }), serde_json::json!({ "client_id": "ff:0" })] {
        assert!(wishes(wrong.clone()).is_err(), "{wrong}");
    }
}
