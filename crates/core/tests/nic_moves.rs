//! The steps that move a host's only NIC into a bridge and out of it, and when the move is refused. All of it
//! is in the file `nic_moves.txt`, as the commands that a person would type.
//!
//! `ASHORE_WRITE_PLANNED=1 cargo test -p ashore-core --test nic_moves` writes the file again. Review it
//! before you commit it.

mod model;

use std::fmt::Write;
use std::path::Path;

use ashore_core::model::identity::Seed;
use ashore_core::model::state::{Change as StateChange, State};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, LinkAddress, Lower, ObservedKind, ObservedRoute, Seat, View, Ways};
use ashore_core::net::step::{Life, Route};
use ashore_core::rules::create::NetworkSpec;
use model::Model;

/// A route of the host's own.
fn hosts_route(to: &str, via: Option<&str>, dev: &str, protocol: u8, metric: u32) -> ObservedRoute {
    let (to, via) = (to.parse().unwrap(), via.map(|via| via.parse().unwrap()));
    let route = Route { to, via, dev: dev.parse().unwrap(), src: None, metric: None };
    ObservedRoute { route, protocol, metric, onlink: false, ways: Ways::One }
}

/// A state with a network on the NIC, or on the bridge.
fn state_with_network(bridged: bool) -> State {
    let (parent, kind) = if bridged { ("br0", r#""bridge""#) } else { ("eth0", r#"{"macvlan":"bridge"}"#) };
    let text = format!(r#"{{"name":"lan","parent":"{parent}","kind":{kind},"subnets":["192.168.88.0/24"]}}"#);
    let spec: NetworkSpec = serde_json::from_str(&text).unwrap();
    let mut state = State::new(Seed([3; 16]));
    state.apply(StateChange::PutNetwork(spec.network().unwrap()));
    state
}

/// A host with two IPv4 and two IPv6 addresses, and routes of every origin, on its NIC or on a bridge that
/// holds the NIC.
fn host_of_nic(bridged: bool) -> View {
    let mut model = Model::new();
    if bridged {
        model.add_bridge();
    }
    let mut host = model.observed.host;
    let nic = host.link(&Model::nic()).unwrap().clone();
    let dev = if bridged { "br0" } else { "eth0" };
    for link in &mut host.links {
        link.carrier = true;
        if bridged && link.name.as_str() == "br0" {
            (link.mac, link.disable_ipv6) = (nic.mac, Some(0));
        } else if bridged && link.index == nic.index {
            link.disable_ipv6 = Some(1);
        }
    }
    host.links.retain(|link| link.name.as_str() != "eth1");
    let on = host.link(&dev.parse().unwrap()).unwrap().index;
    if bridged {
        host.links.iter_mut().filter(|link| link.index == nic.index).for_each(|link| link.master = Some(on));
    }
    let first = host.addresses[0].clone();
    host.addresses = ["192.168.88.9/24", "192.168.88.10/24", "fd88::10/64", "fd88::9/64", "fe80::9/64"]
        .map(|net| LinkAddress {
            index: on,
            net: net.parse().unwrap(),
            link_scope: net.starts_with("fe80"),
            ..first.clone()
        })
        .into();
    host.routes = vec![
        hosts_route("192.168.88.0/24", None, dev, 2, 0),
        hosts_route("fd88::/64", None, dev, 2, 256),
        hosts_route("10.9.0.0/16", Some("10.8.0.1"), dev, 4, 7),
        hosts_route("10.8.0.0/24", None, dev, 3, 0),
        hosts_route("0.0.0.0/0", Some("192.168.88.2"), dev, 4, 100),
        hosts_route("0.0.0.0/0", Some("192.168.88.1"), dev, 4, 0),
        hosts_route("::/0", Some("fe80::1"), dev, 9, 1024),
        hosts_route("fd99::/64", Some("fe80::2"), dev, 1, 1024),
        hosts_route("10.10.0.0/16", None, "wg0", 4, 0),
    ];
    host
}

/// The steps that move a host's only NIC into a bridge and out of it, and when the move is refused.
fn moves(text: &mut String) {
    type Change<'a> = (&'a str, &'a dyn Fn(&mut View));
    let (nic, br0) = (Model::nic(), "br0".parse::<IfName>().unwrap());
    let moved = |state: &State, host: &View, bridged: bool, unmovable: &[String]| {
        let moved = if bridged {
            state.release_nic(&nic, &br0, host, unmovable)
        } else {
            state.adopt_nic(&nic, &br0, host, unmovable)
        };
        match moved {
            Err(error) => vec![format!("refused: {error} (try: {})", error.remedy().unwrap_or_default())],
            Ok(moved) => {
                let back = moved.back().into_iter().map(|step| format!("back: {step}"));
                let steps = moved.steps().map(ToString::to_string).chain(back);
                steps
                    .chain([format!("by {:?}, leased {}, to {}", moved.router, moved.leased, moved.to())])
                    .collect()
            }
        }
    };
    let none = State::new(Seed([3; 16]));
    let at = |host: &View, name: &str| host.links.iter().position(|link| link.name.as_str() == name);
    let child = |host: &mut View, kind| {
        let lower = host.link(&nic).unwrap().clone();
        let on = Lower { index: lower.index, seat: Seat::Here };
        let upper =
            Link { index: 77, name: "upper".parse().unwrap(), kind, lower: Some(on), master: None, ..lower };
        host.links.push(upper);
    };
    let changes: [Change<'_>; 14] = [
        ("there is no NIC", &|host| host.links.retain(|link| link.name != nic)),
        ("the NIC is down", &|host| host.links.iter_mut().for_each(|link| link.up = false)),
        ("it has no cable", &|host| host.links.iter_mut().for_each(|link| link.carrier = false)),
        ("it is Wi-Fi", &|host| host.links.iter_mut().for_each(|link| link.wireless = true)),
        ("it has no MAC", &|host| host.links.iter_mut().for_each(|link| link.mac = None)),
        ("it is loopback", &|host| host.links.iter_mut().for_each(|link| link.kind = ObservedKind::Loopback)),
        ("it is a bridge", &|host| host.links.iter_mut().for_each(|link| link.kind = ObservedKind::Bridge)),
        ("it is a child", &|host| host.links.iter_mut().for_each(|link| link.kind = ObservedKind::Tap)),
        ("a VLAN is on it", &|host| child(host, ObservedKind::Vlan { id: 7, gvrp: false })),
        ("a veth's end is on it", &|host| child(host, ObservedKind::Veth)),
        ("another link of the bridge's name is there", &|host| {
            if at(host, "br0").is_none() {
                let lower = host.link(&nic).unwrap().clone();
                host.links.push(Link { index: 78, name: br0.clone(), ..lower });
            }
        }),
        ("its address is leased", &|host| {
            host.addresses[0].life = Some(Life { preferred: 60, valid: 60 });
        }),
        ("it is one end of a line", &|host| host.addresses[0].peer = Some("192.168.88.77".parse().unwrap())),
        ("it has no IPv6", &|host| {
            host.links.iter_mut().for_each(|link| (link.accept_ra, link.disable_ipv6) = (None, None));
        }),
    ];
    for bridged in [false, true] {
        let way = if bridged { "out of it" } else { "into a bridge" };
        writeln!(text, "# a NIC moves {way}\n").unwrap();
        let well = moved(&none, &host_of_nic(bridged), bridged, &[]);
        tell(text, "all is well", &well);
        for (what, change) in &changes {
            let mut host = host_of_nic(bridged);
            change(&mut host);
            let moved = moved(&none, &host, bridged, &[]);
            if moved == well { tell(text, what, &["the same".into()]) } else { tell(text, what, &moved) }
        }
        let host = host_of_nic(bridged);
        tell(text, "something hangs on it", &moved(&none, &host, bridged, &["a queueing discipline".into()]));
        tell(text, "it carries a network", &moved(&state_with_network(bridged), &host, bridged, &[]));
        text.push('\n');
    }
}

fn tell(text: &mut String, what: &str, lines: &[String]) {
    writeln!(text, "{what}:").unwrap();
    for line in lines {
        writeln!(text, "    {line}").unwrap();
    }
}

#[test]
fn what_a_move_takes_is_what_is_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nic_moves.txt");
    let mut planned = String::new();
    moves(&mut planned);
    if std::env::var_os("ASHORE_WRITE_PLANNED").is_some() {
        std::fs::write(&path, &planned).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    for (line, (planned, written)) in planned.lines().zip(written.lines()).enumerate() {
        assert_eq!(planned, written, "line {}", line + 1);
    }
    assert_eq!(planned.lines().count(), written.lines().count());
}
