//! Compares this crate with `dhcproto`: each must read what the other writes.

use std::net::Ipv4Addr;
use std::time::Duration;

use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp4::{
    Action, Client, ClientId, Config, DomainName, Kind, Lease, Message, Name, Options, Route, Update, code,
};
use ashore_wire::{Boottime, Mac};
use dhcproto::v4::fqdn::{ClientFQDN, FqdnFlags};
use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode, UnknownOption};
use dhcproto::{Decodable, Decoder, Encodable};
use proptest::prelude::*;

/// When all of it happens.
const NOW: Boottime = Boottime::after_boot(Duration::from_secs(1_000_000));

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);
const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 7);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn theirs(bytes: &[u8]) -> v4::Message {
    v4::Message::decode(&mut Decoder::new(bytes)).unwrap()
}

fn client(name: Name) -> Client {
    let id = ClientId::duid(7, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1]).unwrap();
    let config = Config { broadcast: true, name: Some(name), requested: Some(IP), ..Config::new(MAC, id) };
    Client::new(config, NOW, 7)
}

/// The message that the client sends next, read by `dhcproto`.
fn sent(client: &mut Client) -> v4::Message {
    match client.poll(NOW) {
        Action::Send(outgoing) => theirs(&outgoing.payload),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_client_asks_reads_as_it_is_meant() {
    let name = Name::Fqdn("web.home.arpa".parse().unwrap(), Update::Server);
    let discover = sent(&mut client(name));
    assert_eq!((discover.opcode(), discover.chaddr()), (v4::Opcode::BootRequest, &MAC.0[..]));
    assert!(discover.flags().broadcast());
    let option = |code| discover.opts().get(code).cloned().unwrap();
    let id = [&[255, 0, 0, 0, 7, 0, 3, 0, 1][..], &MAC.0].concat();
    assert_eq!(option(OptionCode::ClientIdentifier), DhcpOption::ClientIdentifier(id));
    assert_eq!(option(OptionCode::MessageType), DhcpOption::MessageType(MessageType::Discover));
    assert_eq!(option(OptionCode::RequestedIpAddress), DhcpOption::RequestedIpAddress(IP));
    assert_eq!(option(OptionCode::MaxMessageSize), DhcpOption::MaxMessageSize(1472));
    let DhcpOption::ParameterRequestList(wanted) = option(OptionCode::ParameterRequestList) else { panic!() };
    let place = |code| wanted.iter().position(|wanted| *wanted == code).unwrap();
    assert!(place(OptionCode::ClasslessStaticRoute) < place(OptionCode::Router), "RFC 3442");
    let flags = FqdnFlags::default().set_s(true).set_e(true);
    let mut fqdn = ClientFQDN::new(flags, "web.home.arpa.".parse().unwrap());
    fqdn.set_r1(0).set_r2(0);
    assert_eq!(option(OptionCode::ClientFQDN), DhcpOption::ClientFQDN(fqdn));
}

/// An answer of a server, written by `dhcproto`.
fn reply(kind: MessageType, xid: u32) -> Vec<u8> {
    let mut message = v4::Message::new_with_id(xid, NONE, IP, SERVER, NONE, &MAC.0);
    message.set_opcode(v4::Opcode::BootReply);
    let routes = [("10.17.0.0/20", SERVER), ("0.0.0.0/0", SERVER), ("10.1.1.1/32", NONE)];
    let routes = routes.into_iter().map(|(to, via)| (to.parse().unwrap(), via)).collect();
    let search = ["eng.home.arpa.", "shop.home.arpa.", "home.arpa."];
    for option in [
        DhcpOption::MessageType(kind),
        DhcpOption::ServerIdentifier(SERVER),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 254, 0)),
        DhcpOption::Router(vec![Ipv4Addr::new(192, 168, 88, 9)]),
        DhcpOption::DomainNameServer(vec![SERVER, Ipv4Addr::new(9, 9, 9, 9)]),
        DhcpOption::DomainName("home.arpa".to_owned()),
        DhcpOption::DomainSearch(search.map(|name| name.parse().unwrap()).to_vec()),
        DhcpOption::ClasslessStaticRoute(routes),
        DhcpOption::InterfaceMtu(1400),
        DhcpOption::NtpServers(vec![SERVER]),
        DhcpOption::BroadcastAddr(Ipv4Addr::new(192, 168, 89, 255)),
        DhcpOption::AddressLeaseTime(1000),
        DhcpOption::Renewal(400),
        DhcpOption::Rebinding(700),
    ] {
        message.opts_mut().insert(option);
    }
    message.to_vec().unwrap()
}

#[test]
fn a_lease_means_what_the_server_wrote() {
    let mut client = client(Name::Host("web".parse().unwrap()));
    for kind in [MessageType::Offer, MessageType::Ack] {
        let message = Message::decode(&reply(kind, sent(&mut client).xid())).unwrap();
        client.receive(NOW, &message, Some(SERVER)).unwrap();
    }
    assert_eq!(client.poll(NOW), Action::Probe(IP));
    client.clear(IP);
    let Action::Bound(held, _) = client.poll(NOW) else { panic!("the client has no lease") };
    let lease = &held.lease;
    assert_eq!((lease.address, lease.server), ("192.168.88.7/23".parse().unwrap(), SERVER));
    let routes: Vec<_> = lease.routes.iter().map(Route::to_string).collect();
    assert_eq!(routes, ["10.17.0.0/20 via 192.168.88.1", "default via 192.168.88.1", "10.1.1.1/32"]);
    assert_eq!(lease.router(), Some(SERVER), "not that of the router option");
    assert_eq!(lease.dns, [SERVER, Ipv4Addr::new(9, 9, 9, 9)]);
    let search: Vec<_> = lease.search.iter().map(DomainName::as_str).collect();
    assert_eq!(search, ["eng.home.arpa", "shop.home.arpa", "home.arpa"]);
    assert_eq!(lease.domain.as_ref().unwrap().as_str(), "home.arpa");
    assert_eq!((lease.mtu, &lease.ntp[..]), (Some(1400), &[SERVER][..]));
    assert_eq!(lease.broadcast, Some(Ipv4Addr::new(192, 168, 89, 255)));
    let term = lease.term.unwrap();
    assert_eq!((term.renew, term.rebind, term.end), (400, 700, 1000));
    // The lease survives being recorded.
    let recorded = serde_json::to_string(lease).unwrap();
    assert_eq!(serde_json::from_str::<Lease>(&recorded).unwrap(), *lease);
}

proptest! {
    #[test]
    fn each_reads_what_the_other_writes(
        (xid, secs, broadcast) in any::<(u32, u16, bool)>(),
        ips in any::<[[u8; 4]; 4]>(),
        private in prop::collection::btree_map(224..=248u8, prop::collection::vec(any::<u8>(), 1..600), 0..4),
    ) {
        let [ciaddr, yiaddr, siaddr, giaddr] = ips.map(Ipv4Addr::from);
        let mut message = v4::Message::new_with_id(xid, ciaddr, yiaddr, siaddr, giaddr, &MAC.0);
        message.set_secs(secs);
        if broadcast {
            message.set_flags(v4::Flags::default().set_broadcast());
        }
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
        for (code, bytes) in &private {
            let code = OptionCode::from(*code);
            message.opts_mut().insert(DhcpOption::Unknown(UnknownOption::new(code, bytes.clone())));
        }
        let read = Message::decode(&message.to_vec().unwrap()).unwrap();
        prop_assert_eq!((read.xid, read.secs, read.broadcast, read.chaddr), (xid, secs, broadcast, MAC));
        prop_assert_eq!([read.ciaddr, read.yiaddr, read.siaddr, read.giaddr], ips.map(Ipv4Addr::from));
        prop_assert_eq!(read.options.kind(), Some(Kind::Discover));
        for (code, bytes) in &private {
            prop_assert_eq!(read.options.get(*code), Some(bytes.as_slice()));
        }

        // dhcproto 0.15 does not join the parts of an option; it keeps only the last.
        let mut short = Options::default();
        for code in read.options.codes() {
            let bytes = read.options.get(code).unwrap();
            short.set(code, &bytes[..bytes.len().min(255)]);
        }
        let again = theirs(&Message { options: short.clone(), ..read }.encode());
        prop_assert_eq!((again.xid(), again.secs(), again.flags().broadcast()), (xid, secs, broadcast));
        let addresses = [again.ciaddr(), again.yiaddr(), again.siaddr(), again.giaddr()];
        prop_assert_eq!(addresses, ips.map(Ipv4Addr::from));
        for code in short.codes().filter(|number| *number != code::MESSAGE_TYPE) {
            let found = again.opts().get(OptionCode::from(code));
            let Some(DhcpOption::Unknown(option)) = found else { panic!("{code} is lost") };
            prop_assert_eq!(option.data(), short.get(code).unwrap());
        }
    }
}
