//! Invariants for any bytes that come from outside: from the LAN, from the control socket, from an engine,
//! and from the kernel, where others control the contents. Nothing may panic. What was parsed must parse to
//! the same value after it is written again.
//!
//! `cargo xtask fuzz` looks for inputs that violate this. The inputs that it found, and inputs that real
//! peers send, are in `corpus/`. The tests replay them.

mod engines;
mod mdns;
mod steps;

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ashore_core::api::request::Request;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::identity::Seed;
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::Netns;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::step::Step;
use ashore_core::net::text::is_printable;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::create::NetworkSpec;
use ashore_program::front::docker;
use ashore_wire::arp::Arp;
use ashore_wire::conflict::{Defence, Probe, Profile};
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp4::{
    Action, Checksum, Client, ClientId, Config, Datagram, Kind, Lease, Message, Op, code,
};
use ashore_wire::ndp::RouterAdvertisement;
use ashore_wire::{Boottime, Mac, dhcp6, heard, slaac};

pub use engines::{cni, netavark};
pub use mdns::mdns;
pub use steps::steps;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// When a client starts.
const START: Boottime = Boottime::after_boot(Duration::from_secs(1_000_000));

/// A frame from the LAN.
pub fn neighbours(frame: &[u8]) {
    if let Some(arp) = Arp::parse(frame) {
        assert_eq!(Arp::parse(&arp.broadcast_frame()), Some(arp));
    }
    routers(frame);
    let Some(heard) = heard(frame) else { return };
    let start = Instant::now();
    let mut probe = Probe::new(heard.ip, OURS, Profile::Full, start, 7);
    for step in 0..20 {
        probe.poll(start + Duration::from_millis(500) * step);
        probe.observe(&heard);
    }
    let mut defence = Defence::new(heard.ip, OURS);
    defence.observe(&heard, start);
    defence.observe(&heard, start + Duration::from_secs(1));
}

/// Feeds a router's advertisement repeatedly to a link that solicits.
fn routers(frame: &[u8]) {
    let Some(said) = RouterAdvertisement::parse(frame) else { return };
    let mut now = START;
    let mut link = slaac::Link::new(now, 7);
    for _ in 0..20 {
        link.receive(&said, now);
        for _ in 0..4 {
            if let slaac::Action::Wait(until) = link.poll(now) {
                assert!(until.is_none_or(|until| until > now));
            }
        }
        let offer = link.offer(now);
        assert!(offer.prefixes.iter().all(|prefix| prefix.net.prefix_len() == 64 && prefix.valid.holds(now)));
        now += Duration::from_secs(1000);
    }
}

/// The kernel's dumps of a namespace: links, addresses, routes and neighbours.
pub fn kernel(dumps: &[u8]) {
    static STATE: OnceLock<State> = OnceLock::new();
    let view = ashore_kernel::read::view(dumps);
    for link in &view.links {
        let text = String::from(link.name.clone());
        assert!(text.chars().chain(link.alias.iter().flat_map(|alias| alias.chars())).all(is_printable));
        assert_eq!(IfName::try_from(text).as_ref(), Ok(&link.name));
        assert_eq!(IfName::seen(&link.name.bytes()).as_ref(), Some(&link.name));
    }
    // The same view serves as the host and as the container.
    let netns = Netns::new("/run/netns/web".into(), 4, 7);
    let observed = Observed { host: view.clone(), netns: [(netns, view)].into(), ..Observed::default() };
    let plan = plan(&desired(STATE.get_or_init(state), &observed), &observed);
    let shown = plan.steps.iter().map(Step::to_string).chain(plan.blocked.iter().map(ToString::to_string));
    shown.for_each(|line| assert!(line.chars().all(is_printable), "{line:?}"));
}

/// A macvlan network and a network in a VLAN of a bridge, each with an endpoint in the same container.
fn state() -> State {
    let mut state = State::new(Seed([3; 16]));
    for (network, bridge, ifname) in [("lan", "", "eth0"), ("tv", r#","kind":"bridge","vlan":20"#, "eth1")] {
        let parent = if bridge.is_empty() { "eth0" } else { "br0" };
        let spec = format!(
            r#"{{"name":"{network}","parent":"{parent}"{bridge},"subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"]}}"#
        );
        let spec: NetworkSpec = serde_json::from_str(&spec).expect("the specification is valid");
        let made: Network =
            spec.completed(&View::default()).and_then(|spec| spec.network()).expect("it is complete");
        let endpoint = format!(
            r#"{{"network":"{network}","name":"web","mac":"02:00:00:00:00:07","addresses":["192.168.88.7/24"],
                "source":"range","default_route":true,"stage":"attached","since":1,"home":{{"netns":{{
                "netns":{{"path":"/run/netns/web","dev":4,"ino":7}},"ifname":"{ifname}"}}}}}}"#
        );
        let endpoint: Endpoint = serde_json::from_str(&endpoint).expect("the endpoint is valid");
        state.apply(Change::PutNetwork(made));
        state.apply(Change::PutEndpoint(endpoint));
    }
    state
}

/// A line from the control socket.
pub fn control(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let again = serde_json::to_vec(&request).expect("a request that was read can be written");
        assert_eq!(serde_json::from_slice::<Request>(&again).expect("and read again"), request);
    }
}

/// The engine's calls. The first input byte selects one.
const CALLS: [&str; 15] = [
    "/Plugin.Activate",
    "/IpamDriver.GetCapabilities",
    "/IpamDriver.RequestPool",
    "/IpamDriver.ReleasePool",
    "/IpamDriver.RequestAddress",
    "/IpamDriver.ReleaseAddress",
    "/NetworkDriver.CreateNetwork",
    "/NetworkDriver.DeleteNetwork",
    "/NetworkDriver.CreateEndpoint",
    "/NetworkDriver.Join",
    "/NetworkDriver.Leave",
    "/NetworkDriver.DeleteEndpoint",
    "/NetworkDriver.EndpointOperInfo",
    "/NetworkDriver.NoSuchCall",
    "/NetworkDriver.GwAllocCheck",
];

/// A plugin call. The first byte selects the method, the rest is its body.
pub fn plugin(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let path = CALLS[usize::from(*first) % CALLS.len()];
    match docker::call(path, body) {
        Ok(call) => drop(docker::answer(&call, None)),
        Err(message) => {
            assert!(!message.is_empty());
            docker::error(path, &message);
        }
    }
}

/// A frame for a DHCP client, or only its payload. Returns what the client accepts as leases.
pub fn dhcp4(bytes: &[u8]) -> Vec<Lease> {
    let payload = Datagram::to_client(bytes, Checksum::Partial).map_or(bytes, |datagram| datagram.payload);
    let mut leases = Vec::new();
    let Some(message) = Message::decode(payload) else { return leases };
    assert_eq!(Message::decode(&message.encode()).as_ref(), Some(&message));

    // The message is the answer to every request that the client sends.
    let (mut now, source) = (START, Some(Ipv4Addr::new(192, 168, 88, 1)));
    let mut client = Client::new(Config::new(OURS, ClientId::mac(OURS)), now, 7);
    let mut answer = Message { op: Op::Reply, chaddr: OURS, ..message };
    for step in 0..40u8 {
        match client.poll(now) {
            Action::Send(outgoing) => {
                let asked = Message::decode(&outgoing.payload).expect("a client's message reads");
                answer.xid = asked.xid;
                // The fuzzer finds one message, so it is the answer to everything: an offer to a discover, an
                // acknowledgement otherwise.
                let said = if asked.options.kind() == Some(Kind::Discover) { Kind::Offer } else { Kind::Ack };
                if step % 8 != 7 {
                    answer.options.set(code::MESSAGE_TYPE, [said as u8]);
                }
                answer.options.set(code::CLIENT_ID, ClientId::mac(OURS).bytes());
                let _ = client.receive(now, &answer, source);
            }
            Action::Wait(until) => now = until.unwrap_or(now + Duration::from_secs(1)),
            Action::Probe(ip) => client.clear(ip),
            Action::Bound(held, _) | Action::Unconfirmed(held) => {
                assert!(held.is_good(now));
                let written = serde_json::to_string(&held.lease).expect("a lease can be recorded");
                assert_eq!(serde_json::from_str::<Lease>(&written).expect("and read again"), held.lease);
                leases.push(held.lease);
            }
            Action::Lost(_) => {}
        }
    }
    leases
}

/// A frame for a DHCPv6 client, or only its payload. Returns what the client accepts as leases.
pub fn dhcp6(bytes: &[u8]) -> Vec<dhcp6::Held> {
    use dhcp6::{Action, Client, Config, Datagram, Duid, Inquiry, Kind, Lease, Message, Told, code};

    let payload = Datagram::to_client(bytes, Checksum::Partial).map_or(bytes, |datagram| datagram.payload);
    let mut leases = Vec::new();
    let Some(message) = Message::decode(payload) else { return leases };
    assert_eq!(Message::decode(&message.encode()).as_ref(), Some(&message));

    // The message is the answer to every request of the client, and of an inquiry that asks for no address.
    let mut now = START;
    let duid = Duid::try_from(vec![0, 4, 7]).expect("three bytes are enough");
    let config = Config::new(duid.clone(), 7);
    let (mut client, mut inquiry) = (Client::new(config.clone(), now, 7), Inquiry::new(config, now, 7));
    let mut answer = message;
    answer.options.set(code::CLIENT_ID, duid.bytes());
    for step in 0..40u8 {
        match client.poll(now) {
            Action::Send(outgoing) => {
                let asked = Message::decode(&outgoing.payload).expect("a client's message reads");
                answer.xid = asked.xid;
                // The fuzzer finds one message, so it is the answer to everything: an advertisement to a
                // solicit, a reply otherwise.
                let rapid = answer.options.get(code::RAPID_COMMIT).is_some();
                let offer = asked.kind == Kind::Solicit && !rapid;
                answer.kind = if offer { Kind::Advertise } else { Kind::Reply };
                if step % 8 != 7 {
                    let _ = client.receive(now, &answer);
                }
            }
            Action::Wait(until) => now = until.unwrap_or(now + Duration::from_secs(1)),
            Action::Probe(ip) => client.clear(ip),
            Action::Bound(held, _) | Action::Unconfirmed(held) => {
                assert!(held.is_good(now));
                let written = serde_json::to_string(&held.lease).expect("a lease can be recorded");
                assert_eq!(serde_json::from_str::<Lease>(&written).expect("and read again"), held.lease);
                leases.push(held);
            }
            Action::Lost(_) => {}
        }
        if let Told::Send(outgoing) = inquiry.poll(now) {
            let asked = Message::decode(&outgoing.payload).expect("a client's message reads");
            (answer.xid, answer.kind) = (asked.xid, Kind::Reply);
            let _ = inquiry.receive(now, &answer);
        }
    }
    leases
}
