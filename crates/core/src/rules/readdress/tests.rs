use super::*;
use crate::model::endpoint::Placement;
use crate::model::identity::Seed;
use crate::model::ownership::Ownership;
use crate::net::link::Netns;
use crate::net::observed::{Link, ObservedKind};
use crate::rules::learn::tests::endpoint;

/// A host with a NIC, and a network on it.
struct There {
    state: State,
    host: View,
}

impl There {
    fn with(options: &str) -> There {
        let text = format!(r#"{{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],{options}}}"#);
        let network = serde_json::from_str::<NetworkSpec>(&text).unwrap().network().unwrap();
        let mut state = State::new(Seed([7; 16]));
        state.apply(Change::PutNetwork(network));
        let nic = Link {
            index: 2,
            name: "eth0".parse().unwrap(),
            kind: ObservedKind::Physical,
            lower: None,
            master: None,
            port: std::collections::BTreeSet::new(),
            vlans: None,
            default_pvid: None,
            mac: Some(ashore_wire::Mac([2, 0, 0, 0, 0, 2])),
            mtu: 1500,
            up: true,
            carrier: true,
            alias: None,
            wireless: false,
            arp_filter: None,
            arp_ignore: None,
            rp_filter: None,
            accept_ra: None,
            disable_ipv6: None,
            ipv6_mtu: None,
        };
        There { state, host: View { links: vec![nic], ..View::default() } }
    }

    fn has(&mut self, name: &str, ownership: Ownership, stage: Stage) {
        let netns = Netns { path: "/run/netns/x".into(), dev: 4, ino: 9, cookie: None, attached_by: None };
        let placement = Placement::Netns { netns, ifname: "eth0".parse().unwrap() };
        self.state.apply(Change::PutEndpoint(Endpoint { ownership, placement, stage, ..endpoint(name) }));
    }

    fn lan(&self) -> &Network {
        &self.state.networks[&"lan".parse().unwrap()]
    }

    fn moved(&self, to: &Readdress) -> Result<Network, ReaddressError> {
        self.state.readdressed(self.lan(), to, &self.host)
    }
}

fn to(subnets: &[&str], ranges: &[&str]) -> Readdress {
    Readdress {
        network: "lan".parse().unwrap(),
        subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        gateways: Vec::new(),
        reconnect: false,
    }
}

const RANGED: &str = r#""ranges":["192.168.88.192/27"],"gateways":["192.168.88.1"]"#;

#[test]
fn a_range_of_a_subnet_that_goes_is_not_silently_the_whole_lan() {
    let there = There::with(RANGED);
    let error = there.moved(&to(&["10.9.0.0/24"], &[])).unwrap_err();
    assert_eq!(error.to_string(), "network `lan` hands out 192.168.88.192/27, which is not in 10.9.0.0/24");
    let remedy = error.remedy().unwrap().spelled(crate::net::remedy::Front::CommandLine);
    assert_eq!(remedy, "name one of the new subnet with --ip-range");
    let moved = there.moved(&to(&["10.9.0.0/24"], &["10.9.0.192/27"])).unwrap();
    assert_eq!(moved.subnets[0].range, Some("10.9.0.192/27".parse().unwrap()));
    // A subnet that only has grown still has the range and the router.
    let grown = there.moved(&to(&["192.168.88.0/23"], &[])).unwrap();
    assert_eq!(grown.subnets[0].range, there.lan().subnets[0].range);
    assert_eq!(grown.subnets[0].gateway, there.lan().subnets[0].gateway);
    // A network that hands out its whole subnet goes on with that.
    let whole = There::with(r#""gateways":["192.168.88.1"]"#).moved(&to(&["10.9.0.0/24"], &[])).unwrap();
    assert_eq!(whole.subnets[0].range, None);
}

#[test]
fn what_is_reserved_stays_or_is_told() {
    let there = There::with(
        r#""ranges":["192.168.88.192/27"],"aux":[["host","192.168.88.200"],["printer","192.168.88.201"]]"#,
    );
    let moved = there.moved(&to(&[], &["192.168.88.128/27"])).unwrap();
    assert_eq!(moved.subnets[0].aux, there.lan().subnets[0].aux);
    assert!(there.lan().no_longer_reserved(&moved).is_empty());
    let moved = there.moved(&to(&["10.9.0.0/24"], &["10.9.0.192/27"])).unwrap();
    let told = there.lan().no_longer_reserved(&moved);
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("--aux-address host=192.168.88.200 is in no subnet of network `lan`"),
        "{told:?}"
    );
    assert!(told[0].contains("the host's address") && !told[1].contains("the host's address"), "{told:?}");
}

#[test]
fn endpoints_are_in_the_way_unless_they_can_come_back() {
    let mut there = There::with(RANGED);
    let lan: NetworkName = "lan".parse().unwrap();
    assert!(there.state.may_readdress(&lan, false).is_ok());
    there.has("web", Ownership::Cli, Stage::Attached);
    there.has("off", Ownership::Cli, Stage::Detaching);
    let error = there.state.may_readdress(&lan, false).unwrap_err();
    assert!(matches!(error, ReaddressError::HasEndpoints { count: 2, .. }), "{error}");
    assert!(there.state.may_readdress(&lan, true).is_ok());
    // What is being removed does not come back.
    for change in there.state.taking_off(&lan) {
        there.state.apply(change);
    }
    let back: Vec<String> = there.state.returning.values().map(|one| one.name.to_string()).collect();
    assert_eq!(back, ["web"]);
    assert!(there.state.endpoints_on(&lan).all(|one| one.stage == Stage::Detaching));
    there.has("pod", Ownership::Docker, Stage::Attached);
    let error = there.state.may_readdress(&lan, true).unwrap_err();
    assert!(matches!(error, ReaddressError::HasEnginesContainer { .. }), "{error}");
    let gone: Vec<Change> = there.state.none_returns(&lan).collect();
    for change in gone {
        there.state.apply(change);
    }
    assert!(there.state.returning.is_empty());
}
