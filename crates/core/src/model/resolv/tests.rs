use std::time::Duration;

use ashore_wire::Boottime;
use ashore_wire::slaac::Lasting;
use serde_json::{Value, json};

use super::*;

/// An endpoint whose link is `eth0`, with the given leases and advertisements.
fn endpoint(has: &Value) -> Endpoint {
    let mut endpoint = json!({
        "network": "lan", "name": "web", "mac": null, "addresses": ["192.168.88.100/24"], "source": "lease",
        "home": { "netns": { "netns": { "path": "/run/netns/web", "dev": 4, "ino": 7 }, "ifname": "eth0" } },
        "default_route": true, "stage": "attached", "since": 1,
    });
    for (key, value) in has.as_object().unwrap() {
        endpoint[key] = value.clone();
    }
    serde_json::from_value(endpoint).unwrap()
}

/// A DHCPv4 lease with name servers, a domain and a search list.
fn lease(dns: &[&str], domain: Option<&str>, search: &[&str]) -> Value {
    json!({
        "address": "192.168.88.100/24", "server": "192.168.88.1", "term": null, "routes": [], "dns": dns, "domain": domain,
        "search": search, "ntp": [], "mtu": null, "broadcast": null, "since": 1, "id": "01:02:00:00:00:00:01",
        "mac": "02:00:00:00:00:01",
    })
}

fn lease6(servers: &[&str], search: &[&str]) -> Value {
    json!({
        "address": "fd88::100", "server": "00:03:00:01:02:00:00:00:00:01", "term": null,
        "dns": { "servers": servers, "search": search }, "since": 1, "id": "01:02:00:00:00:00:01",
        "mac": "02:00:00:00:00:01",
    })
}

fn learned(servers: &[&str], search: &[&str]) -> Value {
    json!({ "addresses": [], "dns": { "servers": servers, "search": search } })
}

fn written(has: &Value) -> String {
    endpoint(has).resolv_conf().unwrap_or_default()
}

#[test]
fn leases_come_before_what_routers_advertise_and_nothing_stands_there_twice() {
    let all = json!({
        "lease": lease(&["192.168.88.1"], Some("home"), &[]),
        "lease6": lease6(&["fd88::1"], &["lan", "home"]),
        "learned": learned(&["fd88::1", "fd88::2", "fd88::3"], &["lan", "guest"]),
    });
    assert_eq!(
        written(&all),
        "nameserver 192.168.88.1\nnameserver fd88::1\nnameserver fd88::2\nsearch home lan guest\n"
    );
    let of_router = json!({ "learned": learned(&["fd88::1"], &[]) });
    assert_eq!(written(&of_router), "nameserver fd88::1\n");
    let listed = json!({ "lease": lease(&["192.168.88.1"], Some("home"), &["a.home", "b.home"]) });
    assert_eq!(written(&listed), "nameserver 192.168.88.1\nsearch a.home b.home\n");
    let nobody_to_ask = json!({ "lease": lease(&[], Some("home"), &[]), "learned": learned(&[], &["lan"]) });
    assert_eq!(endpoint(&nobody_to_ask).resolv_conf(), None);
}

#[test]
fn a_name_server_of_the_link_alone_is_named_with_the_link_where_that_is_known() {
    let of_link = |home: Option<Value>| {
        let mut has = json!({ "learned": learned(&["fe80::1", "fd88::1"], &[]) });
        if let Some(home) = home {
            has["home"] = home;
        }
        written(&has)
    };
    assert_eq!(of_link(None), "nameserver fe80::1%eth0\nnameserver fd88::1\n");
    let of_engine =
        |inside: Option<&str>| json!({ "engine": { "id": null, "ifname": "ash0", "inside": inside } });
    assert_eq!(of_link(Some(of_engine(Some("lan0")))), "nameserver fe80::1%lan0\nnameserver fd88::1\n");
    assert_eq!(of_link(Some(of_engine(None))), "nameserver fd88::1\n");
}

#[test]
fn of_an_offer_as_much_is_kept_as_somebody_could_use() {
    let lasting =
        Lasting(Some(Boottime::after_boot(Duration::from_secs(1_000_000)) + Duration::from_secs(60)));
    let servers = (0..40u16).map(|n| Ipv6Addr::from([0xfd88, 0, 0, 0, 0, 0, 0, n / 2]));
    let domains = (0..40).map(|n| format!("lan{n}").parse().unwrap());
    let offer = Offer {
        dns: servers.map(|ip| (ip, lasting)).collect(),
        search: domains.map(|domain| (domain, lasting)).collect(),
        ..Offer::default()
    };
    let kept = names(&offer);
    assert_eq!((kept.servers.len(), kept.search.len()), (MOST, MOST));
    assert_eq!(kept.servers[1].to_string(), "fd88::1", "each name server is kept once");
}
