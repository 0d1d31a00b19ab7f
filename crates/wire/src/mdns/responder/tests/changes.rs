//! Changes of what is published (RFC 6762, 8.4), of channels, and of the link.

use super::*;

/// Answers in a packet that are not goodbyes, and those that are.
fn split(sent: &[Sent]) -> (Vec<String>, Vec<String>) {
    let all = sent.iter().flat_map(Sent::answers);
    let (gone, there) = all.partition(|said| said.ends_with(" 0"));
    (there, gone)
}

#[test]
fn another_address_is_announced_at_once_and_the_old_one_says_goodbye() {
    let mut bench = Bench::established(wanted("web", "192.168.88.7 fd88::7", ""));
    bench.publish("web", wanted("web", "192.168.88.8 fd88::7", ""));
    let sent = bench.run(seconds(20));
    let (there, gone) = split(&sent);
    assert_eq!(gone, ["web.local A 192.168.88.7 0", "7.88.168.192.in-addr.arpa PTR web.local 0"]);
    let new = "!web.local A 192.168.88.8 120".to_owned();
    assert_eq!(there.iter().filter(|said| **said == new).count(), 2, "{there:?}");
    assert!(sent.iter().all(|sent| sent.message.response), "nothing is probed for");
    assert_eq!(sent[0].at, sent[1].at, "goodbye and announcement come together");
    // The same again is no change.
    bench.publish("web", wanted("web", "192.168.88.8 fd88::7", ""));
    assert!(bench.run(seconds(20)).is_empty());
    assert_eq!(bench.state(), is("web", State::Announced));
}

#[test]
fn changes_in_a_row_are_announced_once_a_second() {
    let mut bench = Bench::established(web());
    let mut sent = Vec::new();
    for at in 0..40 {
        bench.publish("web", wanted("web", &format!("192.168.88.7 192.168.88.{}", 100 + at), ""));
        sent.extend(bench.run(ms(100)));
    }
    sent.extend(bench.run(seconds(10)));
    let of_first: Vec<Boottime> = sent
        .iter()
        .filter(|sent| sent.answers().contains(&"!web.local A 192.168.88.7 120".to_owned()))
        .map(|sent| sent.at)
        .collect();
    assert!(of_first.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{of_first:?}");
    let last = sent.iter().rev().find(|sent| !sent.answers().is_empty()).unwrap().answers();
    assert!(last.contains(&"!web.local A 192.168.88.139 120".to_owned()), "{last:?}");
}

#[test]
fn a_new_service_is_probed_for_and_one_that_goes_says_goodbye() {
    let mut bench = Bench::established(wanted("web", "192.168.88.7", "_http._tcp:80"));
    bench.publish("web", wanted("web", "192.168.88.7", "_http._tcp:80 _ssh._tcp:22"));
    assert_eq!(bench.state(), is("web", State::Probing));
    let (there, gone) = split(&bench.run(seconds(10)));
    assert!(gone.is_empty() && there.contains(&"!web._ssh._tcp.local SRV web.local:22 120".to_owned()));
    bench.publish("web", wanted("web", "192.168.88.7", "_http._tcp:81"));
    assert_eq!(bench.state(), is("web", State::Announced));
    let (there, gone) = split(&bench.run(seconds(10)));
    assert!(there.contains(&"!web._http._tcp.local SRV web.local:81 120".to_owned()));
    for line in ["_ssh._tcp.local PTR web._ssh._tcp.local 0", "web._http._tcp.local SRV web.local:80 0"] {
        assert!(gone.contains(&line.to_owned()), "{gone:?}");
    }
    assert!(!gone.iter().any(|line| line.contains("_services") || line.contains("A 192")), "{gone:?}");
}

#[test]
fn another_label_is_another_name() {
    let mut bench = Bench::established(web());
    bench.publish("web", wanted("shop", "192.168.88.7", ""));
    let (there, gone) = split(&bench.run(seconds(10)));
    assert_eq!(gone.len(), 2);
    assert!(there.contains(&"!shop.local A 192.168.88.7 120".to_owned()));
    assert_eq!(bench.states(), [is("shop", State::Announced)]);
}

#[test]
fn more_than_the_most_is_left_out() {
    let many: Vec<String> = (0..40).map(|at| format!("192.168.88.{at} 192.168.88.{at}")).collect();
    let mut bench = Bench::established(wanted("web", &many.join(" "), ""));
    let listed = bench.responder.names().next().unwrap();
    assert_eq!((listed.addresses.len(), listed.addresses[15]), (16, ip("192.168.88.15")));
    assert!(bench.ask(&Query::of("web.local", kind::A), seconds(1)).len() == 1);
}

#[test]
fn a_query_is_answered_where_it_was_heard_and_the_second_is_counted_there() {
    let mut bench = Bench::with(2);
    bench.publish("web", web());
    let sent = bench.run(seconds(10));
    let all: Channels = Channel::ALL.into_iter().collect();
    assert!(sent.iter().all(|sent| sent.packet.channels == all));
    let on = |bench: &mut Bench, channel: Channel, payload: &[u8]| {
        let datagram =
            Datagram { channel, from: PEER.parse().unwrap(), to_group: true, prefixes: &[], payload };
        bench.responder.receive(&datagram, bench.now);
    };
    let query = Query::of("web.local", kind::A).bytes();
    on(&mut bench, Channel::V6, &query);
    let sent = bench.run(ms(10));
    assert_eq!((sent.len(), sent[0].packet.channels), (1, Channel::V6.into()));
    on(&mut bench, Channel::V4, &query);
    assert_eq!(bench.run(ms(10))[0].packet.channels, Channel::V4.into());
    bench.run(seconds(5));
    // Heard on two at once, it is one message for both.
    on(&mut bench, Channel::V4, &query);
    on(&mut bench, Channel::V6, &query);
    let sent = bench.run(ms(10));
    assert_eq!((sent.len(), sent[0].packet.channels.iter().count()), (1, 2));
    // A channel that goes is neither heard nor used; one that comes hears all announcements.
    bench.run(seconds(5));
    on(&mut bench, Channel::V6, &query);
    let fewer: Channels = Channel::V4.into();
    bench.responder.set_channels(fewer, bench.now);
    on(&mut bench, Channel::V6, &query);
    assert!(bench.run(seconds(5)).is_empty());
    bench.responder.set_channels(all, bench.now);
    let sent = bench.run(seconds(5));
    assert!(sent.len() == 2 && sent.iter().all(|sent| sent.packet.channels == all));
}

#[test]
fn without_a_channel_nothing_goes_on() {
    let mut bench = Bench::new();
    let all = bench.responder.channels;
    bench.publish("web", web());
    bench.responder.set_channels(Channels::NONE, bench.now);
    assert!(bench.run(seconds(60)).is_empty());
    assert_eq!((bench.state(), bench.poll().1), (is("web", State::Probing), None));
    bench.responder.set_channels(all, bench.now);
    assert_eq!(bench.run(seconds(10)).len(), 5);
    assert_eq!(bench.state(), is("web", State::Announced));
}

#[test]
fn a_link_that_comes_back_may_be_another_one() {
    let mut bench = Bench::established(web());
    bench.responder.link_up(bench.now);
    assert_eq!(bench.state(), is("web", State::Probing));
    let sent = bench.run(seconds(10));
    assert_eq!(sent.iter().filter(|sent| !sent.message.response).count(), 3);
    assert_eq!(bench.state(), is("web", State::Announced));
}
