//! The exact messages that the client sends, and which answers it accepts.

use super::*;
use crate::Mac;
use crate::dhcp6::Part;
use crate::dhcp6::{Servers, Status, Update};

/// Asserts that the last message has these options and those that every message has, and no others.
fn has(bench: &Bench, kind: Kind, options: &[u16], ip: Option<Ipv6Addr>) -> Message {
    let message = bench.sent.clone().unwrap();
    let mut expected = [options, &[code::CLIENT_ID, code::ELAPSED_TIME, code::IA_NA]].concat();
    let mut codes: Vec<_> = message.options.codes().collect();
    expected.sort_unstable();
    codes.sort_unstable();
    assert_eq!((message.kind, codes), (kind, expected));
    assert_eq!(message.options.get(code::CLIENT_ID), Some(config().duid.bytes()));
    let address = ip.map(|ip| address(ip, [0, 0]));
    let association = association([0, 0], address.as_slice()).1;
    assert_eq!(message.options.get(code::IA_NA), Some(association.as_slice()), "{kind:?}");
    message
}

#[test]
fn each_message_has_the_options_of_rfc_8415_appendix_b_and_no_others() {
    let asking = [code::OPTION_REQUEST];
    let with_server = [code::OPTION_REQUEST, code::SERVER_ID];
    let elapsed = |message: &Message| message.options.get(code::ELAPSED_TIME).unwrap().to_vec();

    let mut bench = Bench::soliciting();
    let solicit = has(&bench, Kind::Solicit, &[code::OPTION_REQUEST, code::RAPID_COMMIT], None);
    assert_eq!(solicit.options.get(code::RAPID_COMMIT), Some(&[][..]));
    bench.wait();
    let again = bench.sent.clone().unwrap();
    assert_eq!((again.xid, elapsed(&solicit)), (solicit.xid, vec![0, 0]));
    let told = u16::from_be_bytes(elapsed(&again).try_into().unwrap());
    assert!((100..=110).contains(&told));

    bench.offer(0).unwrap();
    bench.poll();
    let request = has(&bench, Kind::Request, &with_server, Some(IP));
    assert_eq!(request.options.server(), Some(server(SERVER)));
    assert!(request.xid != solicit.xid && elapsed(&request) == [0, 0], "it is a new exchange");

    let mut bench = Bench::bound();
    bench.wait();
    has(&bench, Kind::Renew, &with_server, Some(IP));
    bench.wait_until(State::Rebinding);
    has(&bench, Kind::Rebind, &asking, Some(IP));
    let mut bench = Bench::resumed(100, false);
    bench.poll();
    has(&bench, Kind::Confirm, &[], Some(IP));

    let mut bench = Bench::bound();
    bench.client.taken(IP, bench.now);
    bench.poll();
    has(&bench, Kind::Decline, &[code::SERVER_ID], Some(IP));
    let mut bench = Bench::bound();
    bench.client.release(bench.now);
    bench.poll();
    has(&bench, Kind::Release, &[code::SERVER_ID], Some(IP));
}

#[test]
fn a_client_says_what_it_was_made_to() {
    let made = Config {
        name: Some(("web".parse().unwrap(), Update::Server)),
        rapid_commit: false,
        requested: Some(OTHER_IP),
        ..config()
    };
    let mut bench = Bench::with(|now| Client::new(made, now, 1));
    let [Action::Send(outgoing)] = &bench.poll()[..] else { panic!("the client does not ask") };
    let solicit = has(&bench, Kind::Solicit, &[code::OPTION_REQUEST, code::FQDN], Some(OTHER_IP));
    assert_eq!(solicit.options.get(code::FQDN), Some(&b"\x01\x03web"[..]));
    let wanted =
        [code::DNS, code::DOMAIN_SEARCH, code::SOL_MAX_RT, code::FQDN].map(u16::to_be_bytes).concat();
    assert_eq!(solicit.options.get(code::OPTION_REQUEST), Some(wanted.as_slice()));
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let frame = outgoing.frame(mac, mac.link_local());
    assert_eq!(frame[..12], [0x33, 0x33, 0, 1, 0, 2, 2, 0, 0, 0, 0, 1]);
    assert_eq!(frame[14 + 40 + 8..], outgoing.payload);
}

#[test]
fn of_the_offers_that_can_be_taken_the_most_preferred_is_and_then_the_wish_and_then_the_first() {
    let offer = |bench: &Bench, from: u8, ip, preference: u8| {
        let mut offer = bench.reply(Kind::Advertise, &[gives(ip), (code::PREFERENCE, vec![preference])]);
        offer.options.set(code::SERVER_ID, server(from).bytes());
        offer
    };
    for (offers, chosen) in [
        (&[(1, IP, 0), (2, IP, 0)][..], 1),
        (&[(1, IP, 7), (2, IP, 9), (3, IP, 8)], 2),
        (&[(1, OTHER_IP, 3), (2, IP, 3), (3, IP, 3)], 2),
        (&[(1, IP, 3), (2, OTHER_IP, 4)], 2),
        (&[(1, IP, 0), (2, IP, 255)], 2),
    ] {
        let wishing = Config { requested: Some(IP), ..config() };
        let mut bench = Bench::with(|now| Client::new(wishing, now, 1));
        bench.poll();
        for (from, ip, preference) in offers {
            bench.hear(&offer(&bench, *from, *ip, *preference)).unwrap();
        }
        if bench.poll().is_empty() {
            bench.wait();
        }
        assert_eq!(bench.sent.unwrap().options.server(), Some(server(chosen)), "{offers:?}");
    }
}

#[test]
fn an_offer_that_cannot_be_taken_is_none() {
    let denying = Config { servers: Servers { deny: vec![server(OTHER_SERVER)], allow: vec![] }, ..config() };
    let mut bench = Bench::with(|now| Client::new(denying, now, 1));
    bench.poll();
    let mut offer = bench.reply(Kind::Advertise, &[gives(IP)]);
    offer.options.set(code::SERVER_ID, server(OTHER_SERVER).bytes());
    assert_eq!(bench.hear(&offer), Err(Ignored::OtherServer(server(OTHER_SERVER))));
    let group: Ipv6Addr = "ff02::1".parse().unwrap();
    for (given, why) in [
        (gives(group), Ignored::Address(group)),
        (association([0, 0], &[]), Ignored::NoAddress),
        (association([0, 0], &[address(IP, [0, 0])]), Ignored::Lifetime),
        (association([0, 0], &[address(IP, [200, 100])]), Ignored::Lifetime),
        (association([50, 40], &[address(IP, [100, 100])]), Ignored::Lifetime),
        (association([0, 0], &[status(2)]), Ignored::Failed(Status::NoAddrsAvail, None)),
        ((code::IA_NA, vec![0; 7]), Ignored::NoAddress),
    ] {
        assert_eq!(bench.answer(Kind::Advertise, &[given]), Err(why));
    }
    assert_eq!(bench.give(IP), Err(Ignored::NotAwaited(Kind::Reply)), "the REPLY has no rapid commit option");
    bench.wait();
    assert_eq!(bench.client.state(), State::Soliciting);
    assert_eq!(bench.offer(0), Ok(()));
}

#[test]
fn a_server_may_give_at_once_if_the_client_says_so() {
    let rapid = |bench: &Bench| bench.reply(Kind::Reply, &[gives(IP), (code::RAPID_COMMIT, vec![])]);
    let mut bench = Bench::soliciting();
    bench.offer(0).unwrap();
    bench.hear(&rapid(&bench)).unwrap();
    assert_eq!(bench.said(), ["probe 7"]);
    let slow = Config { rapid_commit: false, ..config() };
    let mut bench = Bench::with(|now| Client::new(slow, now, 1));
    bench.poll();
    assert_eq!(bench.hear(&rapid(&bench)), Err(Ignored::NotAwaited(Kind::Reply)));
}

#[test]
fn what_is_for_another_client_or_another_exchange_is_ignored() {
    let mut bench = Bench::soliciting();
    let offer = bench.reply(Kind::Advertise, &[gives(IP)]);
    let with = |code, bytes: &[u8]| {
        let mut changed = offer.clone();
        changed.options.set(code, bytes);
        changed
    };
    let own = Message { kind: Kind::Solicit, ..offer.clone() };
    assert_eq!(bench.hear(&own), Err(Ignored::NoReply));
    let reconfigure = Message { kind: Kind::Reconfigure, ..offer.clone() };
    assert_eq!(bench.hear(&reconfigure), Err(Ignored::Unauthenticated));
    assert_eq!(bench.hear(&Message { xid: !offer.xid, ..offer.clone() }), Err(Ignored::OtherExchange));
    assert_eq!(bench.hear(&with(code::CLIENT_ID, &[0, 4, 8])), Err(Ignored::OtherClient));
    assert_eq!(bench.hear(&with(code::SERVER_ID, &[0, 1])), Err(Ignored::NoServer));
    let mut nobodys = offer.clone();
    nobodys.options = Options::default();
    assert_eq!(bench.hear(&nobodys), Err(Ignored::OtherClient));
    let mut bench = Bench::start();
    assert_eq!(bench.hear(&offer), Err(Ignored::NotAwaited(Kind::Advertise)), "the client has not asked yet");
}

#[test]
fn what_another_server_says_of_a_request_or_renewal_does_not_count_but_of_a_rebinding_does() {
    let other = |bench: &Bench| {
        let mut reply = bench.reply(Kind::Reply, &[gives(IP)]);
        reply.options.set(code::SERVER_ID, server(OTHER_SERVER).bytes());
        reply
    };
    let mut bench = Bench::requesting();
    assert_eq!(bench.hear(&other(&bench)), Err(Ignored::OtherServer(server(OTHER_SERVER))));
    let mut bench = Bench::bound();
    bench.wait();
    assert_eq!(bench.hear(&other(&bench)), Err(Ignored::OtherServer(server(OTHER_SERVER))));
    bench.wait_until(State::Rebinding);
    assert_eq!(bench.hear(&other(&bench)), Ok(()));
    assert_eq!(bench.said(), ["bound 7 Renewed([Server])"]);
}

#[test]
fn a_status_may_stand_in_the_message_or_in_the_association() {
    let words = |number: u16| (code::STATUS, [&number.to_be_bytes()[..], b"gone"].concat());
    for options in [vec![words(4), gives(IP)], vec![association([0, 0], &[words(4)])]] {
        let mut bench = Bench::bound();
        bench.wait();
        assert_eq!(bench.answer(Kind::Reply, &options), Ok(()));
        assert_eq!(bench.poll()[0], Action::Lost(Loss::Refused(Some("gone".to_owned()))));
        let requested = association([0, 0], &[]).1;
        assert_eq!(
            bench.sent.unwrap().options.get(code::IA_NA),
            Some(requested.as_slice()),
            "the address is no longer requested"
        );
    }
}

#[test]
fn what_changed_at_a_renewal_is_told() {
    let mut bench = Bench::bound();
    bench.wait();
    let dns = (code::DNS, OTHER_IP.octets().to_vec());
    bench.answer(Kind::Reply, &[gives(IP), dns]).unwrap();
    let [Action::Bound(held, Change::Renewed(parts))] = &bench.poll()[..] else { panic!("not reported") };
    assert_eq!((parts, &held.lease.dns.servers), (&vec![Part::Dns], &vec![OTHER_IP]));
    assert_eq!((held.since, bench.client.held(bench.now)), (bench.now, Some(held)));
}

#[test]
fn an_address_that_is_taken_back_is_used_no_longer_whether_or_not_there_is_another() {
    let back = address(IP, [0, 0]);
    for (given, said) in [
        (vec![back.clone(), address(OTHER_IP, [900, 1000])], ["lost Refused(None)", "probe 8"]),
        (vec![back], ["lost Refused(None)", "Solicit"]),
    ] {
        let mut bench = Bench::bound();
        bench.wait();
        bench.answer(Kind::Reply, &[association([0, 0], &given)]).unwrap();
        assert_eq!(bench.said(), said);
    }
}

#[test]
fn a_renewal_that_says_nothing_of_the_address_leaves_it_as_it_is() {
    let mut bench = Bench::bound();
    let end = bench.client.held(bench.now).unwrap().expires();
    bench.wait();
    assert_eq!(bench.answer(Kind::Reply, &[]), Err(Ignored::NoAddress));
    assert_eq!(bench.answer(Kind::Reply, &[association([0, 0], &[])]), Err(Ignored::NoAddress));
    assert!(bench.poll().is_empty());
    assert_eq!(
        (bench.client.state(), bench.client.held(bench.now).unwrap().expires()),
        (State::Renewing, end)
    );
}
