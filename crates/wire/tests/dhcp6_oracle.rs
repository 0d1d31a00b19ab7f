//! Compares this crate with `dhcproto`: each must read what the other writes.

use std::net::Ipv6Addr;
use std::time::Duration;

use ashore_wire::Boottime;
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp6::{
    Action, Client, Config, Duid, Inquiry, Kind, Lease, Message, Term, Told, Update, code,
};
use dhcproto::v6::{
    self, DhcpOption, IAAddr, IANA, MessageType, OptionCode, Status, StatusCode, UnknownOption,
};
use dhcproto::{Decodable, Decoder, Encodable};
use proptest::prelude::*;

/// When all of it happens.
const NOW: Boottime = Boottime::after_boot(Duration::from_secs(1_000_000));

const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 9];
const CLIENT: [u8; 18] = [0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const IP: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 7);

fn theirs(bytes: &[u8]) -> v6::Message {
    v6::Message::decode(&mut Decoder::new(bytes)).unwrap()
}

fn config() -> Config {
    let name = Some(("web.home.arpa".parse().unwrap(), Update::Server));
    Config { name, requested: Some(IP), ..Config::new(Duid::try_from(CLIENT.to_vec()).unwrap(), 7) }
}

/// The message that the client sends next, read by `dhcproto`.
fn sent(client: &mut Client) -> v6::Message {
    match client.poll(NOW) {
        Action::Send(outgoing) => theirs(&outgoing.payload),
        other => panic!("{other:?}"),
    }
}

fn option(message: &v6::Message, code: OptionCode) -> DhcpOption {
    message.opts().get(code).cloned().unwrap_or_else(|| panic!("there is no {code:?}"))
}

/// An `IA_NA` with its times, and an address in it with its lifetimes.
fn association(ip: Ipv6Addr, [t1, t2, preferred_life, valid_life]: [u32; 4]) -> DhcpOption {
    let mut opts = v6::DhcpOptions::new();
    let address = IAAddr { addr: ip, preferred_life, valid_life, opts: v6::DhcpOptions::new() };
    opts.insert(DhcpOption::IAAddr(address));
    DhcpOption::IANA(IANA { id: 7, t1, t2, opts })
}

#[test]
fn what_a_client_asks_reads_as_it_is_meant() {
    let solicit = sent(&mut Client::new(config(), NOW, 7));
    assert_eq!(solicit.msg_type(), MessageType::Solicit);
    assert_eq!(option(&solicit, OptionCode::ClientId), DhcpOption::ClientId(CLIENT.to_vec()));
    assert_eq!(option(&solicit, OptionCode::ElapsedTime), DhcpOption::ElapsedTime(0));
    assert_eq!(option(&solicit, OptionCode::RapidCommit), DhcpOption::RapidCommit);
    assert_eq!(option(&solicit, OptionCode::IANA), association(IP, [0; 4]));
    let wanted = [
        OptionCode::DomainNameServers,
        OptionCode::DomainSearchList,
        OptionCode::SolMaxRt,
        OptionCode::ClientFqdn,
    ];
    assert_eq!(option(&solicit, OptionCode::ORO), DhcpOption::ORO(v6::ORO { opts: wanted.to_vec() }));
    let DhcpOption::Unknown(fqdn) = option(&solicit, OptionCode::ClientFqdn) else { panic!("known option") };
    assert_eq!(fqdn.data(), b"\x01\x03web\x04home\x04arpa\x00");

    let Told::Send(asked) = Inquiry::new(config(), NOW, 7).poll(NOW) else {
        panic!("the inquiry does not ask")
    };
    let asked = theirs(&asked.payload);
    assert_eq!(asked.msg_type(), MessageType::InformationRequest);
    let DhcpOption::ORO(wanted) = option(&asked, OptionCode::ORO) else { panic!("no option is requested") };
    assert!(wanted.opts.contains(&OptionCode::InformationRefreshTime), "{wanted:?}");
    assert!(wanted.opts.contains(&OptionCode::InfMaxRt), "{wanted:?}");
}

/// An answer of a server, written by `dhcproto`.
fn reply(kind: MessageType, question: &v6::Message) -> Message {
    let mut message = v6::Message::new_with_id(kind, question.xid());
    let search = ["eng.home.arpa.", "shop.home.arpa.", "home.arpa."].map(|name| name.parse().unwrap());
    for option in [
        DhcpOption::ClientId(CLIENT.to_vec()),
        DhcpOption::ServerId(SERVER.to_vec()),
        association(IP, [400, 700, 900, 1000]),
        DhcpOption::Preference(255),
        DhcpOption::StatusCode(StatusCode { status: Status::Success, msg: "fine".to_owned() }),
        DhcpOption::DomainNameServers(vec!["fd88::1".parse().unwrap(), "fe80::1".parse().unwrap()]),
        DhcpOption::DomainSearchList(search.to_vec()),
    ] {
        message.opts_mut().insert(option);
    }
    Message::decode(&message.to_vec().unwrap()).unwrap()
}

#[test]
fn a_lease_means_what_the_server_wrote() {
    let mut client = Client::new(config(), NOW, 7);
    for kind in [MessageType::Advertise, MessageType::Reply] {
        let question = sent(&mut client);
        client.receive(NOW, &reply(kind, &question)).unwrap();
    }
    assert_eq!(client.poll(NOW), Action::Probe(IP));
    client.clear(IP);
    let Action::Bound(held, _) = client.poll(NOW) else { panic!("the client has no lease") };
    let lease = &held.lease;
    assert_eq!((lease.address, lease.server.bytes()), (IP, &SERVER[..]));
    assert_eq!(lease.term, Some(Term { renew: 400, rebind: 700, preferred: 900, end: Some(1000) }));
    assert_eq!(lease.dns.servers, ["fd88::1", "fe80::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap()));
    let search: Vec<_> = lease.dns.search.iter().map(ToString::to_string).collect();
    assert_eq!(search, ["eng.home.arpa", "shop.home.arpa", "home.arpa"]);
    // The lease survives being recorded.
    let recorded = serde_json::to_string(lease).unwrap();
    assert_eq!(serde_json::from_str::<Lease>(&recorded).unwrap(), *lease);
    // The client releases exactly the lease that it was assigned.
    client.release(NOW);
    assert!(matches!(client.poll(NOW), Action::Lost(_)));
    let release = sent(&mut client);
    assert_eq!(release.msg_type(), MessageType::Release);
    assert_eq!(option(&release, OptionCode::ServerId), DhcpOption::ServerId(SERVER.to_vec()));
    assert_eq!(option(&release, OptionCode::IANA), association(IP, [0; 4]));
}

proptest! {
    #[test]
    fn each_reads_what_the_other_writes(
        kind in 1..=11u8, xid in 0..=Message::LAST_XID,
        unknown in prop::collection::btree_map(200..=60_000u16, prop::collection::vec(any::<u8>(), 0..600), 0..4),
    ) {
        let mut message = v6::Message::new(MessageType::from(kind));
        message.set_xid_num(xid);
        for (code, bytes) in &unknown {
            let code = OptionCode::from(*code);
            message.opts_mut().insert(DhcpOption::Unknown(UnknownOption::new(code, bytes.clone())));
        }
        let read = Message::decode(&message.to_vec().unwrap()).unwrap();
        prop_assert_eq!((read.kind as u8, read.xid), (kind, xid));
        for (code, bytes) in &unknown {
            prop_assert_eq!(read.options.get(*code), Some(bytes.as_slice()));
        }
        prop_assert_eq!(read.options.codes().count(), unknown.len());
        prop_assert_eq!(theirs(&read.encode()), message);
    }

    #[test]
    fn a_vendor_class_reads_as_it_was_meant(class in prop::collection::vec(any::<u8>(), 1..=255)) {
        let made = Config { vendor_class: Some(class.clone()), ..config() };
        let solicit = sent(&mut Client::new(made, NOW, 7));
        let DhcpOption::VendorClass(there) = option(&solicit, OptionCode::VendorClass) else {
            panic!("known option")
        };
        prop_assert_eq!((there.num, there.data), (0, vec![class]));
    }

    #[test]
    fn times_and_addresses_read_as_they_were_written(ip in any::<[u8; 16]>(), times in any::<[u32; 4]>()) {
        let (ip, mut client) = (Ipv6Addr::from(ip), Client::new(config(), NOW, 7));
        let question = sent(&mut client);
        let mut message = reply(MessageType::Advertise, &question);
        let written = association(ip, times).to_vec().unwrap();
        // Without the option's code and length.
        message.options.set(code::IA_NA, &written[4..]);
        let again = theirs(&message.encode());
        prop_assert_eq!(option(&again, OptionCode::IANA), association(ip, times));
        prop_assert_eq!(message.kind, Kind::Advertise);
        let [t1, t2, preferred, valid] = times;
        let good = (t1 <= t2 || t2 == 0) && preferred <= valid && valid >= 10;
        let host = !ip.is_multicast() && !ip.is_unicast_link_local();
        prop_assert_eq!(client.receive(NOW, &message).is_ok(), good && host);
    }
}
