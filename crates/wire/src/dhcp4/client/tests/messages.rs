//! The exact messages that the client sends, and which answers it accepts.

use super::*;
use crate::dhcp4::Part;
use crate::dhcp4::{Checksum, Datagram, Name, Servers, Update};

const ASKING: [u8; 3] = [code::PARAMETER_LIST, code::MAX_SIZE, code::CLIENT_ID];

/// Asserts that the last message has this kind and these options, and no others.
fn has(bench: &Bench, kind: Kind, options: &[u8], common: &[u8]) -> Message {
    let message = bench.sent.clone().unwrap();
    let mut expected = [&[code::MESSAGE_TYPE][..], options, common].concat();
    expected.sort_unstable();
    assert_eq!(message.options.kind(), Some(kind));
    assert_eq!(message.options.codes().collect::<Vec<_>>(), expected, "{kind:?}");
    assert_eq!((message.op, message.chaddr, message.giaddr), (Op::Request, MAC, Ipv4Addr::UNSPECIFIED));
    message
}

#[test]
fn each_message_has_the_fields_and_options_of_rfc_2131_table_5_and_no_others() {
    let (requested, server) = ([code::REQUESTED_ADDRESS], [code::SERVER_ID]);
    let both = [code::REQUESTED_ADDRESS, code::SERVER_ID];
    let nobody = Ipv4Addr::UNSPECIFIED;
    let address = |message: &Message, code| message.options.address(code).unwrap();

    let mut bench = Bench::start();
    bench.poll();
    let discover = has(&bench, Kind::Discover, &[], &ASKING);
    bench.wait();
    let again = has(&bench, Kind::Discover, &[], &ASKING);
    assert_eq!((again.xid, discover.secs), (discover.xid, 0));
    assert!((3..=5).contains(&again.secs));

    bench.answer(Kind::Offer).unwrap();
    bench.poll();
    let select = has(&bench, Kind::Request, &both, &ASKING);
    assert_eq!((select.xid, select.secs, select.ciaddr), (again.xid, again.secs, nobody), "as the DISCOVER");
    assert_eq!(address(&select, code::REQUESTED_ADDRESS), Some(IP));
    assert_eq!(address(&select, code::SERVER_ID), Some(SERVER));

    let mut bench = Bench::bound();
    bench.wait();
    let renew = has(&bench, Kind::Request, &[], &ASKING);
    assert_eq!((renew.ciaddr, renew.secs), (IP, 0));
    bench.wait_until(State::Rebinding);
    let rebind = has(&bench, Kind::Request, &[], &ASKING);
    assert_eq!((rebind.ciaddr, rebind.secs), (IP, 300), "secs counts from T1");
    assert_ne!(rebind.xid, renew.xid);

    let mut bench = Bench::resumed(100, false);
    bench.poll();
    let reboot = has(&bench, Kind::Request, &requested, &ASKING);
    assert_eq!((reboot.ciaddr, address(&reboot, code::REQUESTED_ADDRESS)), (nobody, Some(IP)));

    let parting = [code::CLIENT_ID, code::MESSAGE];
    let mut bench = Bench::bound();
    bench.client.taken(IP, bench.now);
    bench.poll();
    let decline = has(&bench, Kind::Decline, &both, &parting);
    assert_eq!((decline.ciaddr, decline.secs, decline.broadcast), (nobody, 0, false));
    let mut bench = Bench::bound();
    bench.client.release(bench.now);
    bench.poll();
    let release = has(&bench, Kind::Release, &server, &parting);
    assert_eq!((release.ciaddr, address(&release, code::SERVER_ID)), (IP, Some(SERVER)));
}

#[test]
fn a_client_says_what_it_was_made_to() {
    let name: crate::dhcp4::DomainName = "web".parse().unwrap();
    let made = Config {
        broadcast: true,
        name: Some(Name::Host(name)),
        vendor_class: Some(b"ashore".to_vec()),
        requested: Some(OTHER_IP),
        ..config()
    };
    let mut bench = Bench::with(|now| Client::new(made, now, 1));
    bench.poll();
    let options = [code::HOST_NAME, code::VENDOR_CLASS, code::REQUESTED_ADDRESS];
    let discover = has(&bench, Kind::Discover, &options, &ASKING);
    assert!(discover.broadcast);
    assert_eq!(discover.options.address(code::REQUESTED_ADDRESS), Ok(Some(OTHER_IP)));
    assert_eq!(discover.options.get(code::CLIENT_ID), Some(config().id.bytes()));
}

#[test]
fn whatever_a_server_answers_to_a_name_the_lease_is_taken() {
    // Of RFC 4702: with another name, without one, by none of its flags, too short, and nothing.
    let answers: [&[u8]; 5] =
        [b"\x05\xff\xff\x05other\x03lan\x00", b"\x07\xff\xff", b"\xff\xff\xff\xff", b"\x01", b""];
    for answer in answers {
        let name = Some(Name::Fqdn("web".parse().unwrap(), Update::Server));
        let made = Config { name, ..config() };
        let mut bench = Bench::with(|now| Client::new(made, now, 1));
        bench.poll();
        let discover = has(&bench, Kind::Discover, &[code::FQDN], &ASKING);
        assert_eq!(discover.options.get(code::FQDN), Some(&b"\x05\0\0\x03web"[..]), "it is not qualified");
        for kind in [Kind::Offer, Kind::Ack] {
            let mut reply = bench.reply(kind, IP);
            reply.options.set(code::FQDN, answer);
            assert_eq!(bench.hear(&reply), Ok(()), "{answer:?}");
            bench.poll();
        }
    }
}

#[test]
fn a_renewal_goes_by_unicast_from_the_address_and_everything_before_from_none() {
    let mut bench = Bench::start();
    let Some(Action::Send(discover)) = bench.poll().pop() else { panic!("the client does not ask") };
    assert_eq!((discover.from, discover.to), (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST));
    let frame = discover.frame(MAC, Mac::BROADCAST);
    assert_eq!(frame[..12], [Mac::BROADCAST.0, MAC.0].concat());
    assert_eq!(Datagram::to_client(&frame, Checksum::Whole), None, "this frame is for a server");
    let Some(Action::Send(renewal)) = Bench::bound().wait().pop() else { panic!("no renewal is sent") };
    assert_eq!((renewal.from, renewal.to), (IP, SERVER));
}

#[test]
fn the_first_offer_that_can_be_taken_is_taken() {
    let denying = Config { servers: Servers { deny: vec![OTHER_SERVER], allow: vec![] }, ..config() };
    let mut bench = Bench::with(|now| Client::new(denying, now, 1));
    bench.poll();
    let mut offer = bench.reply(Kind::Offer, IP);
    offer.options.set(code::SERVER_ID, OTHER_SERVER.octets());
    assert_eq!(bench.hear(&offer), Err(Ignored::OtherServer(OTHER_SERVER)));
    let network = Ipv4Addr::new(192, 168, 88, 0);
    assert_eq!(bench.hear(&bench.reply(Kind::Offer, network)), Err(Ignored::Address(network)));
    let mut short = bench.reply(Kind::Offer, IP);
    short.options.set(code::LEASE_TIME, [0; 4]);
    assert_eq!(bench.hear(&short), Err(Ignored::Lifetime));
    assert_eq!(bench.answer(Kind::Offer), Ok(()));
    assert_eq!(bench.hear(&bench.reply(Kind::Offer, OTHER_IP)), Err(Ignored::NotAwaited(Some(Kind::Offer))));
    bench.poll();
    assert_eq!(bench.sent.as_ref().unwrap().options.address(code::REQUESTED_ADDRESS), Ok(Some(IP)));

    let mut ack = bench.reply(Kind::Ack, IP);
    ack.options.set(code::SERVER_ID, SERVER.octets());
    ack.options.set(code::SERVER_ID, Ipv4Addr::new(192, 168, 88, 3).octets());
    assert!(matches!(bench.hear(&ack), Err(Ignored::OtherServer(_))), "this server's offer was not taken");
}

#[test]
fn a_server_that_does_not_say_who_it_is_is_where_its_datagram_comes_from_unless_by_a_relay() {
    let mut offer = reply(Kind::Offer, IP, 0);
    offer.options = {
        let mut options = crate::dhcp4::Options::default();
        options.set(code::MESSAGE_TYPE, [Kind::Offer as u8]);
        options
    };
    let relayed = Message { giaddr: OTHER_SERVER, ..offer.clone() };
    for (message, source, expected) in [
        (&offer, Some(SERVER), Ok(())),
        (&offer, None, Err(Ignored::NoServer)),
        (&offer, Some(Ipv4Addr::UNSPECIFIED), Err(Ignored::NoServer)),
        (&relayed, Some(OTHER_SERVER), Err(Ignored::NoServer)),
    ] {
        let mut bench = Bench::start();
        bench.poll();
        let xid = bench.sent.as_ref().unwrap().xid;
        let heard = bench.client.receive(bench.now, &Message { xid, ..message.clone() }, source);
        assert_eq!(heard, expected);
    }
}

#[test]
fn what_is_for_another_client_or_another_exchange_is_ignored() {
    let mut bench = Bench::start();
    bench.poll();
    let offer = bench.reply(Kind::Offer, IP);
    let (request, chaddr) = (Message { op: Op::Request, ..offer.clone() }, Mac([2, 0, 0, 0, 0, 9]));
    assert_eq!(bench.hear(&request), Err(Ignored::NoReply));
    assert_eq!(bench.hear(&Message { chaddr, ..offer.clone() }), Err(Ignored::OtherClient));
    assert_eq!(bench.hear(&Message { xid: !offer.xid, ..offer.clone() }), Err(Ignored::OtherExchange));
    // RFC 6842: if the answer has a client identifier, it must be this client's.
    let mut other = offer.clone();
    other.options.set(code::CLIENT_ID, [1, 2, 3]);
    assert_eq!(bench.hear(&other), Err(Ignored::OtherClient));
    other.options.set(code::CLIENT_ID, config().id.bytes());
    assert_eq!(bench.hear(&other), Ok(()));
    assert_eq!(bench.answer(Kind::Ack), Err(Ignored::NotAwaited(Some(Kind::Ack))), "nothing was asked yet");
}

#[test]
fn a_nak_of_a_server_that_was_not_asked_or_is_denied_takes_no_lease() {
    let denying = Config { servers: Servers { deny: vec![OTHER_SERVER], allow: vec![] }, ..config() };
    let recorded = Recorded { lease: lease(), age: seconds(100), in_use: true };
    let mut bench = Bench::with(|now| Client::resume(denying, recorded, now, 1));
    bench.poll();
    let mut nak = bench.reply(Kind::Nak, IP);
    nak.options.set(code::SERVER_ID, OTHER_SERVER.octets());
    assert_eq!(bench.hear(&nak), Err(Ignored::OtherServer(OTHER_SERVER)));
    assert!(bench.client.held(bench.now).is_some());
    nak.options.set(code::SERVER_ID, SERVER.octets());
    nak.options.set(code::MESSAGE, *b"wrong network");
    assert_eq!(bench.hear(&nak), Ok(()));
    let refused = Action::Lost(Loss::Refused(Some("wrong network".to_owned())));
    assert_eq!(bench.poll()[0], refused);
    assert_eq!(
        bench.sent.unwrap().options.get(code::REQUESTED_ADDRESS),
        None,
        "the address is no longer requested"
    );
}

#[test]
fn what_changed_at_a_renewal_is_told() {
    let mut bench = Bench::bound();
    bench.wait();
    let mut ack = bench.reply(Kind::Ack, IP);
    ack.options.set(code::ROUTER, OTHER_SERVER.octets());
    ack.options.set(code::DNS, SERVER.octets());
    ack.options.set(code::MTU, [5, 120]);
    bench.hear(&ack).unwrap();
    let [Action::Bound(held, Change::Renewed(parts))] = &bench.poll()[..] else { panic!("not reported") };
    assert_eq!(parts, &[Part::Routes, Part::Dns, Part::Mtu]);
    assert_eq!((held.lease.router(), held.lease.mtu), (Some(OTHER_SERVER), Some(1400)));
    assert_eq!((held.since, bench.client.held(bench.now)), (bench.now, Some(held)));
}

#[test]
fn where_it_is_said_whose_answers_count_the_sender_counts_as_well() {
    let servers = |allow: &[Ipv4Addr], deny: &[Ipv4Addr]| crate::dhcp4::Servers {
        allow: allow.to_vec(),
        deny: deny.to_vec(),
    };
    let (relay, nobody) = (Ipv4Addr::new(192, 168, 88, 3), Ipv4Addr::UNSPECIFIED);
    // Which servers are accepted, the sender, the relay, and the server whose answer is ignored.
    let cases = [
        (servers(&[], &[]), nobody, nobody, None),
        (servers(&[], &[]), OTHER_SERVER, nobody, None),
        (servers(&[SERVER], &[]), SERVER, nobody, None),
        (servers(&[SERVER], &[]), OTHER_SERVER, nobody, Some(OTHER_SERVER)),
        (servers(&[SERVER], &[]), nobody, nobody, Some(nobody)),
        (servers(&[SERVER], &[]), relay, relay, None),
        (servers(&[], &[OTHER_SERVER]), nobody, nobody, None),
        (servers(&[], &[OTHER_SERVER]), OTHER_SERVER, nobody, Some(OTHER_SERVER)),
        (servers(&[], &[SERVER]), OTHER_SERVER, nobody, Some(SERVER)),
    ];
    for (servers, source, giaddr, unheeded) in cases {
        let config = Config { servers: servers.clone(), ..config() };
        let mut bench = Bench::with(|now| Client::new(config, now, 1));
        bench.poll();
        let offer = Message { giaddr, ..bench.reply(Kind::Offer, IP) };
        let taken = bench.client.receive(bench.now, &offer, Some(source));
        assert_eq!(
            taken,
            unheeded.map_or(Ok(()), |other| Err(Ignored::OtherServer(other))),
            "{servers:?} {source}"
        );
    }
}
