use super::*;

use std::collections::BTreeMap;

use ashore_core::api::reply::EndpointReport;
use ashore_core::model::endpoint::{Source, Stage};
use ashore_core::model::lease::Addressing;
use ashore_core::model::ownership::Ownership;
use ashore_core::model::users::User;
use ashore_wire::Mac;

fn config(more: &str) -> Config {
    let text = format!(r#"{{"cniVersion":"1.1.0","name":"lan","type":"ashore"{more}}}"#);
    Config::parse(text.as_bytes()).unwrap()
}

fn asked(more: &str) -> Result<Asked, Failed> {
    config(more).asked("ashore")
}

/// A network as the user of the command line would ask for it.
fn asks(more: &str) -> String {
    let Asked { network: spec, is_named_only, role, identity, default_route } = asked(more).unwrap();
    let mut words = vec![spec.name.to_string()];
    words.extend(spec.parent.iter().map(|parent| format!("parent {parent}")));
    words.extend(spec.vlan.iter().map(|vlan| format!("vlan {vlan}")));
    words.extend(spec.kind.iter().map(|kind| format!("kind {kind}")));
    words.extend(spec.subnets.iter().map(|net| format!("subnet {net}")));
    words.extend(spec.ranges.iter().map(|range| format!("range {range}")));
    words.extend(spec.gateways.iter().map(|ip| format!("gateway {ip}")));
    words.extend(spec.aux.iter().map(|(name, ip)| format!("aux {name}={ip}")));
    words.extend(spec.mtu.iter().map(|mtu| format!("mtu {mtu}")));
    words.extend(spec.bc_queue_len.iter().map(|frames| format!("queue {frames}")));
    words.extend(spec.host_access.iter().map(|yes| format!("host access {yes}")));
    words.extend(spec.port.iter().map(|option| format!("{option:?}").to_lowercase()));
    words.extend((spec.addressing == Addressing::Dhcp).then(|| "dhcp".to_owned()));
    words.extend(spec.leasing.servers.allow.iter().map(|ip| format!("from {ip}")));
    words.extend(spec.internal.then(|| "internal".to_owned()));
    words.extend(is_named_only.then(|| "of Ashore".to_owned()));
    words.extend(identity.iter().map(|name| format!("as {name}")));
    words.extend((!default_route).then(|| "no route".to_owned()));
    words.extend((role == Role::LinkOnly).then(|| "chosen elsewhere".to_owned()));
    words.extend((role == Role::Addresses).then(|| "addresses".to_owned()));
    words.join(", ")
}

#[test]
fn a_network_is_what_its_configuration_asks_for_in_whose_words_ever() {
    for (given, asked) in [
        ("", "lan"),
        // macvlan, and what stands for nothing.
        (
            r#","master":"eth0","mode":"bridge","mtu":1400,"bcqueuelen":50,"ipam":{}"#,
            "lan, parent eth0, kind macvlan:bridge, mtu 1400, queue 50",
        ),
        (r#","master":"","mode":"","mtu":0,"linkInContainer":false,"ipam":{"type":"ashore"}"#, "lan"),
        // ipvlan, vlan.
        (r#","master":"eth0","mode":"l3s""#, "lan, parent eth0, kind ipvlan:l3s"),
        (r#","master":"eth0","vlanId":20"#, "lan, parent eth0, vlan 20"),
        // bridge.
        (
            r#","bridge":"br0","vlan":20,"hairpinMode":true,"portIsolation":false,"isGateway":false,"vlanTrunk":[]"#,
            "lan, parent br0, vlan 20, kind bridge, hairpin",
        ),
        // Ashore's own, by the names of the command line, of Docker and of Podman.
        (
            r#","ashore":{"parent":"eth0","subnet":["192.168.88.0/24","fd88::/64"],"ip-range":"192.168.88.192/27","gateway":"192.168.88.1"}"#,
            "lan, parent eth0, subnet 192.168.88.0/24, subnet fd88::/64, range 192.168.88.192/27, gateway 192.168.88.1",
        ),
        (
            r#","ashore":{"ip_range":"192.168.88.192-192.168.88.200","aux_address":{"host":"192.168.88.9"},"host_access":false}"#,
            "lan, range 192.168.88.192-192.168.88.200, aux host=192.168.88.9, host access false",
        ),
        (
            r#","ashore":{"aux-address":"host=192.168.88.9","bc-queue-len":50}"#,
            "lan, aux host=192.168.88.9, queue 50",
        ),
        (r#","ashore":{"dhcp":true,"dhcp_allow":["192.168.88.1"]}"#, "lan, dhcp, from 192.168.88.1"),
        (r#","ashore":{"addressing":"dhcp","internal":"yes"}"#, "lan, dhcp, internal"),
        (r#","ashore":{"kind":"ipvlan","mode":"l3"}"#, "lan, kind ipvlan:l3"),
        (r#","mode":"private","ashore":{"kind":"macvlan"}"#, "lan, kind macvlan:private"),
        (r#","ashore":{"ipvlan_mode":"l2"}"#, "lan, kind ipvlan:l2"),
        // The same by two names.
        (r#","master":"eth0","ashore":{"parent":"eth0"}"#, "lan, parent eth0"),
        (r#","ashore":{"network":"home","identity":"shop"}"#, "home, of Ashore, as shop"),
        (r#","ashore":{"network":"home","default_route":false}"#, "home, of Ashore, no route"),
        (r#","master":"eth0","ashore":{"network":"home"}"#, "home, parent eth0"),
        (r#","example.com/more":{"a":1},"enabledad":true"#, "lan"),
        // Who chooses the addresses.
        (r#","ipam":{"type":"ashore","subnet":"10.0.0.0/8","network":"home"}"#, "home, subnet 10.0.0.0/8"),
        (r#","ipam":{"type":"dhcp"}"#, "lan, dhcp"),
        (
            r#","master":"eth0","ipam":{"type":"host-local","subnet":"10.0.0.0/8"}"#,
            "lan, parent eth0, chosen elsewhere",
        ),
        (r#","ipam":{"type":"static"},"ashore":{"network":"home"}"#, "home, of Ashore, chosen elsewhere"),
        // Ashore was called by a name that the configuration does not have.
        (r#","type":"other","ipam":{"type":"host-local"}"#, "lan, chosen elsewhere"),
        (r#","type":"other","ipam":{"type":"dhcp"}"#, "lan, dhcp"),
        (
            r#","type":"macvlan","master":"eth0","mode":"bridge","promisc":true,"ipam":{"type":"ashore","ip_range":"192.168.88.192/27"}"#,
            "lan, parent eth0, range 192.168.88.192/27, addresses",
        ),
        (
            r#","type":"bridge","ipMasq":false,"isGateway":false,"ipam":{"type":"ashore","identity":"shop"}"#,
            "lan, parent cni0, kind bridge, as shop, addresses",
        ),
        (
            r#","type":"bridge","bridge":"br0","ipam":{"type":"ashore"}"#,
            "lan, parent br0, kind bridge, addresses",
        ),
    ] {
        assert_eq!(asks(given), asked, "{given}");
    }
}

#[test]
fn what_cannot_be_followed_is_named() {
    for (given, code, words) in [
        (r#","isDefaultGateway":true"#, 2, &["`\"isDefaultGateway\": true`", "router"][..]),
        (r#","ipMasq":true"#, 2, &["ipMasq"]),
        (r#","vlanTrunk":[{"id":20}]"#, 2, &["vlanTrunk", "tagged"]),
        (r#","linkInContainer":true"#, 2, &["linkInContainer"]),
        (r#","mastre":"eth0""#, 2, &["`\"mastre\": \"eth0\"`", "`\"master\"`"]),
        (r#","ashore":{"subnets_":"x"}"#, 2, &["`\"subnets_\": \"x\"` under `\"ashore\"`", "`\"subnet\"`"]),
        (r#","ashore":"lan""#, 7, &["an object"]),
        (r#","ashore":{"network":7}"#, 7, &["\"network\": 7"]),
        (r#","ashore":{"identity":"a/b"}"#, 7, &["identity", "a/b"]),
        (r#","ipam":{"type":"dhcp","daemonSocketPath":"/run/x"}"#, 2, &["ipam.daemonSocketPath", "/run/x"]),
        (
            r#","ipam":{"type":"ashore","subnte":"10.0.0.0/8"}"#,
            2,
            &["subnte", "under `\"ipam\"`", "`\"subnet\"`"],
        ),
        (r#","type":"ipvlan","ipam":{"type":"ashore"}"#, 2, &["ipam.type", "ipvlan"]),
        (r#","type":"macvlan","ipam":{"type":"ashore","dhcp":true}"#, 2, &["leases", "macvlan", "renewed"]),
        (r#","ipam":{"type":"host-local"},"ashore":{"dhcp":true}"#, 2, &["leases", "host-local"]),
        // The host would have the router's address.
        (
            r#","type":"bridge","isGateway":true,"ipam":{"type":"ashore"}"#,
            2,
            &["`\"isGateway\": true`", "router"],
        ),
        (r#","type":"bridge","isDefaultGateway":true,"ipam":{"type":"ashore"}"#, 2, &["isDefaultGateway"]),
        (r#","type":"bridge","ipMasq":true,"ipam":{"type":"ashore"}"#, 2, &["ipMasq", "translated"]),
        (r#","mtu":-1"#, 7, &["`\"mtu\": -1`"]),
        (r#","vlan":5000"#, 7, &["`\"vlan\": 5000`"]),
        (r#","vlan":20,"vlanId":30"#, 7, &["\"vlan\": 20", "\"vlanId\": 30", "there can be one"]),
        (r#","mode":"sideways""#, 7, &["`\"mode\": \"sideways\"`"]),
        (r#","bridge":"br0","mode":"l2""#, 7, &["`\"bridge\": \"br0\"`", "ipvlan:l2"]),
        (r#","bridge":"br0","master":"eth0""#, 7, &["\"bridge\"", "\"master\""]),
        (r#","ashore":{"internal":"perhaps"}"#, 7, &["perhaps"]),
    ] {
        let failed = asked(given).unwrap_err();
        assert_eq!(failed.code, code, "{given}: {failed:?}");
        let text = format!("{}; {}", failed.why, failed.details);
        for word in words {
            assert!(text.contains(word), "{given}: {word} is not in {text}");
        }
    }
}

#[test]
fn a_configuration_that_is_none_is_refused_by_its_code() {
    for (text, code) in [
        ("", 6),
        ("[]", 6),
        (r#"{"cniVersion":"1.1.0","name":"lan""#, 6),
        (r#"{"name":"lan"}"#, 1),
        (r#"{"cniVersion":"0.2.0","name":"lan"}"#, 1),
        (r#"{"cniVersion":"2.0.0","name":"lan"}"#, 1),
        (r#"{"cniVersion":"1.0.0"}"#, 7),
        (r#"{"cniVersion":"1.0.0","name":"a/b"}"#, 7),
    ] {
        assert_eq!(Config::parse(text.as_bytes()).unwrap_err().code, code, "{text}");
    }
    // DEL takes off whatever is there.
    assert!(Config::parse_leniently(br#"{"cniVersion":"0.2.0","name":"lan"}"#).is_ok());
    let attachments = |more: &str| config(more).valid_attachments();
    let one = r#","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#;
    assert_eq!(attachments(one).unwrap(), [("c1".to_owned(), "eth0".parse().unwrap())]);
    assert!(attachments(r#","cni.dev/valid-attachments":null"#).unwrap().is_empty());
    for more in ["", r#","cni.dev/valid-attachments":[{"containerID":"c1"}]"#] {
        assert_eq!(attachments(more).unwrap_err().code, 7, "{more}");
    }
}

#[test]
fn a_container_has_the_best_name_that_is_known_of_it() {
    let hex = "0123456789abcdef".repeat(4);
    let data = tempfile::tempdir().unwrap();
    let names = data.path().join("1935db59/names/nerdctls");
    std::fs::create_dir_all(&names).unwrap();
    std::fs::write(names.join("blog"), &hex).unwrap();
    let identity_of = |args: &str, id: &str| {
        let arguments = Arguments::parse(args.as_bytes()).unwrap();
        container::identity(None, &arguments, id, data.path()).unwrap().to_string()
    };
    for (args, id, name) in [
        ("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;FOO=", hex.as_str(), "shop.web-0"),
        ("IgnoreUnknown=1;K8S_POD_NAME=web", &hex, "web"),
        ("NERDCTL_CNI_DHCP_HOSTNAME=web", &hex, "web"),
        ("", &hex, "0123456789ab"),
        ("", &format!("default-{hex}"), "default-0123456789ab"),
        ("NERDCTL_CNI_DHCP_HOSTNAME=web", &format!("nerdctls-{hex}"), "nerdctls.blog"),
        // What a user has chosen is not cut.
        ("", "default-my-web-frontend", "default-my-web-frontend"),
    ] {
        assert_eq!(identity_of(args, id), name);
    }
    let chosen = "shop".parse().unwrap();
    assert_eq!(container::identity(Some(&chosen), &Arguments::default(), "c1", data.path()), Ok(chosen));
    for args in ["FOO=bar", "IgnoreUnknown=0;FOO=bar", "nonsense", "IP"] {
        assert_eq!(Arguments::parse(args.as_bytes()).unwrap_err().code, 4, "{args}");
    }
}

#[test]
fn wishes_have_their_order() {
    let wishes = |args: &str, more: &str| {
        let Wishes { ips, mac, .. } = config(more).wishes(&Arguments::parse(args.as_bytes())?, Role::Link)?;
        let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
        Ok::<_, Failed>((ips.join(" "), mac.map_or_else(String::new, |mac| mac.to_string())))
    };
    let (args, by_args) = (
        "IP=10.0.0.1/24,fd88::1;MAC=02:00:00:00:00:01",
        r#","args":{"cni":{"ips":["10.0.0.2"],"labels":[1]}}"#,
    );
    let by_runtime =
        r#","runtimeConfig":{"ips":["10.0.0.3/24","10.0.0.3"],"mac":"02:00:00:00:00:03","portMappings":[]}"#;
    for (args, more, wished) in [
        ("", String::new(), ("", "")),
        ("", r#","mac":"02:00:00:00:00:09""#.to_owned(), ("", "02:00:00:00:00:09")),
        (args, r#","mac":"02:00:00:00:00:09""#.to_owned(), ("10.0.0.1 fd88::1", "02:00:00:00:00:01")),
        (args, by_args.to_owned(), ("10.0.0.2", "02:00:00:00:00:01")),
        (args, format!("{by_args}{by_runtime}"), ("10.0.0.3", "02:00:00:00:00:03")),
    ] {
        assert_eq!(wishes(args, &more).unwrap(), (wished.0.to_owned(), wished.1.to_owned()), "{args} {more}");
    }
    for (args, more, code) in [
        ("IP=1.2.3", "", 4),
        ("MAC=x", "", 4),
        ("", r#","runtimeConfig":{"ips":["x"]}"#, 7),
        ("", r#","runtimeConfig":{"ips":"10.0.0.1"}"#, 7),
        ("", r#","runtimeConfig":{"mac":"x"}"#, 7),
        ("", r#","runtimeConfig":{"portMappings":[{"hostPort":80}]}"#, 2),
    ] {
        assert_eq!(wishes(args, more).unwrap_err().code, code, "{args} {more}");
    }
}

#[test]
fn what_a_server_is_told_is_wished_for_one_container() {
    let wishes = |args: &str, more: &str| {
        let wishes = config(more).wishes(&Arguments::parse(args.as_bytes())?, Role::Link)?.lease;
        let name = wishes.hostname.map_or_else(String::new, |name| name.to_string());
        Ok::<_, Failed>((name, wishes.client_id.map_or_else(String::new, |id| id.to_string())))
    };
    let (args, by_args) =
        ("HOSTNAME=web;CLIENT_ID=ff:01", r#","args":{"cni":{"hostname":"photos","client_id":""}}"#);
    assert_eq!(wishes(args, "").unwrap(), ("web".into(), "ff:01".into()));
    assert_eq!(wishes(args, by_args).unwrap(), ("photos".into(), "ff:01".into()));
    assert_eq!(wishes("", "").unwrap(), (String::new(), String::new()));
    for (args, more, code) in [
        ("HOSTNAME=a_b", "", 4),
        ("CLIENT_ID=ff:0", "", 4),
        ("", r#","args":{"cni":{"hostname":7}}"#, 7),
        ("", r#","args":{"cni":{"client_id":"ff:0"}}"#, 7),
    ] {
        assert_eq!(wishes(args, more).unwrap_err().code, code, "{args} {more}");
    }
    let arguments = Arguments::parse(args.as_bytes()).unwrap();
    for role in [Role::LinkOnly, Role::Addresses] {
        assert_eq!(config("").wishes(&arguments, role).unwrap_err().code, 2, "{role:?}");
    }
    let spec = asked(
        r#","ashore":{"dhcp":true,"hostname":"web","register-name":true,"vendor_class":"nas","lease_timeout":30}"#,
    );
    let leasing = spec.unwrap().network.leasing;
    assert_eq!((leasing.register_name, leasing.timeout.map(u16::from)), (true, Some(30)));
    assert_eq!(
        (leasing.hostname.unwrap().to_string(), leasing.vendor_class.unwrap().to_string()),
        ("web".into(), "nas".into())
    );
}

#[test]
fn wishes_that_another_plugin_follows_are_not_refused() {
    let config =
        config(r#","runtimeConfig":{"ipRanges":[[{"subnet":"10.0.0.0/8"}]],"mac":"02:00:00:00:00:03"}"#);
    let wishes = |role| config.wishes(&Arguments::default(), role);
    assert_eq!(wishes(Role::LinkOnly).unwrap().mac, Some(Mac([2, 0, 0, 0, 0, 3])));
    for role in [Role::Link, Role::Addresses] {
        assert_eq!(wishes(role).unwrap_err().code, 2, "{role:?}");
    }
}

fn endpoint(addresses: &[&str], gateways: &[&str]) -> EndpointReport {
    EndpointReport {
        network: "lan".into(),
        name: "web".parse().unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        seen_mac: None,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        ifname: Some("eth0".parse().unwrap()),
        netns: Some("/run/netns/web".into()),
        gateways: gateways.iter().map(|ip| ip.parse().unwrap()).collect(),
        ownership: Ownership::Cni,
        source: Source::Range,
        learned: None,
        lease: None,
        lease6: None,
        own_routes: Vec::new(),
        stage: Stage::Attached,
        since: 0,
        conflicts: BTreeMap::new(),
        lan_name: None,
        warnings: Vec::new(),
    }
}

#[test]
fn a_result_has_the_shape_of_its_version() {
    let ifname: IfName = "eth0".parse().unwrap();
    let both = endpoint(&["192.168.88.192/24", "fd88::c0/64"], &["192.168.88.1", "fd88::1"]);
    let said = |version, endpoint: &EndpointReport, dns: &str| {
        let dns: Option<serde_json::Map<String, Value>> = serde_json::from_str(dns).ok();
        let answer = result::Answer { version, endpoint, chosen: None, dns: dns.as_ref() };
        answer.with_link(&ifname, "/run/netns/web", endpoint.mac).to_string()
    };
    assert_eq!(
        said(Version::V040, &both, ""),
        r#"{"cniVersion":"0.4.0","dns":{},"interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/run/netns/web"}],"ips":[{"address":"192.168.88.192/24","gateway":"192.168.88.1","interface":0,"version":"4"},{"address":"fd88::c0/64","gateway":"fd88::1","interface":0,"version":"6"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}"#
    );
    assert_eq!(
        said(Version::V100, &both, ""),
        r#"{"cniVersion":"1.0.0","interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/run/netns/web"}],"ips":[{"address":"192.168.88.192/24","gateway":"192.168.88.1","interface":0},{"address":"fd88::c0/64","gateway":"fd88::1","interface":0}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}"#
    );
    // Without a router, and with name servers of its user's.
    assert_eq!(
        said(Version::V110, &endpoint(&["10.0.0.2/8"], &[]), r#"{"nameservers":["10.0.0.1"]}"#),
        r#"{"cniVersion":"1.1.0","dns":{"nameservers":["10.0.0.1"]},"interfaces":[{"mac":"02:00:00:00:00:01","name":"eth0","sandbox":"/run/netns/web"}],"ips":[{"address":"10.0.0.2/8","interface":0}]}"#
    );
    for version in [Version::V031, Version::V040, Version::V100, Version::V110] {
        let said: serde_json::Map<String, Value> = serde_json::from_str(&said(version, &both, "")).unwrap();
        let addresses = result::addresses_of(&said, &ifname, "/run/netns/web").unwrap();
        assert_eq!(addresses, both.addresses.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>());
        assert_eq!(result::addresses_of(&said, &ifname, "/run/netns/db").unwrap_err().code, 7);
    }
}

#[test]
fn what_another_plugin_has_chosen_is_read_and_told() {
    let answer = br#"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"192.168.88.100/24","gateway":"192.168.88.1"}],
        "routes":[{"dst":"0.0.0.0/0"},{"dst":"10.0.0.0/8","gw":"192.168.88.2","priority":7}],"dns":{"nameservers":["192.168.88.1"]}}"#;
    let chosen = Chosen::parse(answer).unwrap();
    let mut both = endpoint(&["192.168.88.100/24"], &[]);
    both.own_routes = chosen.own_routes(true).routes;
    let answer = result::Answer { version: Version::V110, endpoint: &both, chosen: Some(&chosen), dns: None };
    assert_eq!(
        answer.without_link(),
        json!({
            "cniVersion": "1.1.0",
            "ips": [{ "address": "192.168.88.100/24", "gateway": "192.168.88.1" }],
            "routes": [
                { "dst": "0.0.0.0/0" },
                { "dst": "10.0.0.0/8", "gw": "192.168.88.2", "priority": 7 },
            ],
            "dns": { "nameservers": ["192.168.88.1"] },
        })
    );
    // The default route is left out where the container has another.
    both.own_routes = chosen.own_routes(false).routes;
    let answer = result::Answer { version: Version::V110, endpoint: &both, chosen: Some(&chosen), dns: None };
    assert_eq!(
        answer.without_link()["routes"],
        json!([{ "dst": "10.0.0.0/8", "gw": "192.168.88.2", "priority": 7 }])
    );
    assert_eq!((chosen.own_routes(true).routes.len(), chosen.own_routes(false).routes.len()), (2, 1));
    for (answer, code, words) in [
        ("", 6, "decoded"),
        ("{}", 7, "no address"),
        (r#"{"ips":[{"address":"192.168.88.100"}]}"#, 7, "192.168.88.100"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"x"}]}"#, 7, "`x`"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"0.0.0.0/0","priority":-1}]}"#, 7, "priority"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"0.0.0.0/0","gw":"fe80::1"}]}"#, 7, "`gw`"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"::/0","gw":"10.0.0.1"}]}"#, 7, "`gw`"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"0.0.0.0/0","gw":"0.0.0.0"}]}"#, 7, "`gw`"),
        (r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"0.0.0.0/0","gw":7}]}"#, 7, "`gw`"),
        (r#"{"ips":[{"address":"10.0.0.2/8","gateway":"::1"}]}"#, 7, "`gateway`"),
        (
            r#"{"ips":[{"address":"10.0.0.2/8"}],"routes":[{"dst":"0.0.0.0/0","table":100}]}"#,
            2,
            "\"table\": 100",
        ),
    ] {
        let failed = Chosen::parse(answer.as_bytes()).unwrap_err();
        assert!(failed.code == code && failed.why.contains(words), "{answer}: {failed:?}");
    }
    let long = format!(r#"{{"ips":[{{"address":"{}"}}]}}"#, "x".repeat(1 << 16));
    let failed = Chosen::parse(long.replace("address\":\"", "more\":\"").as_bytes()).unwrap_err();
    assert!(failed.why.len() < 1000, "{}", failed.why.len());
}

#[test]
fn a_question_whether_another_plugin_may_choose_attaches_nothing() {
    let text = |more: &str| format!(r#"{{"cniVersion":"1.1.0","name":"lan","master":"eth0"{more}}}"#);
    for (more, code) in [
        (r#","type":"ashore","ipam":{"type":"host-local"}"#, 0),
        (r#","type":"other","ipam":{"type":"host-local"}"#, 0),
        // What the program takes for another plugin's is Ashore's to the daemon.
        (r#","type":"ashore""#, 7),
        (r#","type":"ashore","ipam":{"type":"host-local"},"ip\u0061m":{"type":"ashore"}"#, 7),
        (r#","type":"macvlan","ipam":{"type":"host-local"},"ip\u0061m":{"type":"ashore"}"#, 7),
    ] {
        let variables = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", crate::front::stand_in::NETNS),
        ];
        let request = wire::Request {
            name: b"ashore".to_vec(),
            environment: variables.map(|(key, value)| (key.into(), value.into())).to_vec(),
            stdin: text(more).into_bytes(),
            delegated: Some(Delegated::ToCome),
            ..wire::Request::default()
        };
        let (said, asked) = crate::front::stand_in::answer(&request);
        let shown = String::from_utf8_lossy(&said.stdout);
        assert!(asked.iter().all(|request| matches!(request, Request::CheckSetUp(_))), "{more}: {asked:?}");
        let failed = serde_json::from_slice::<Value>(&said.stdout)
            .map_or(0, |failed| failed["code"].as_u64().unwrap());
        assert_eq!(failed, code, "{more}: {shown}");
    }
}

#[test]
fn an_error_is_of_the_version_that_was_asked_and_versions_are_told() {
    let call = |stdin: &str, variables: &[(&str, &str)], uid| {
        let request = wire::Request {
            environment: variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            stdin: stdin.as_bytes().to_vec(),
            ..wire::Request::default()
        };
        let user = (uid != 0).then(|| User { uid, groups: vec![uid] });
        let said = answer(&request, &Caller { user, netns: Ok(None) }, &|request| {
            panic!("the daemon is asked: {request:?}")
        });
        (said.code, serde_json::from_slice::<Value>(&said.stdout).unwrap())
    };
    let add = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")];
    let (code, error) = call(r#"{"cniVersion":"0.4.0"}"#, &add, 0);
    assert_eq!((code, &error["cniVersion"], &error["code"]), (1, &json!("0.4.0"), &json!(4)));
    assert!(error["msg"].as_str().unwrap().contains("CNI_NETNS"), "{error}");
    let named = [&add[..], &[("CNI_NETNS", "/run/netns/x")]].concat();
    assert_eq!(call(r#"{"cniVersion":"9"}"#, &named, 0).1["code"], 1);
    assert_eq!(call("nothing", &named, 0).1["code"], 6);
    assert_eq!(call("{}", &named, 1000).1["code"], 109);
    let slash = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a/b"), ("CNI_IFNAME", "eth0")];
    assert_eq!(call("{}", &slash, 0).1["code"], 4);
    let (code, versions) = call("", &[("CNI_COMMAND", "VERSION")], 0);
    assert_eq!((code, &versions["cniVersion"]), (0, &json!("1.1.0")));
    assert_eq!(versions["supportedVersions"], json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}
