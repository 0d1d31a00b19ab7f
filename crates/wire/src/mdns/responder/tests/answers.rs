//! Questions and answers (RFC 6762, 5 to 7; RFC 6763, 12).

use super::*;

const SERVICES: &str = "_http._tcp:80,path=/";

fn bench() -> Bench {
    Bench::established(wanted("web", "192.168.88.7", SERVICES))
}

/// What is answered to a question, and how long after it.
fn asked(bench: &mut Bench, query: &Query) -> Vec<(Duration, Vec<String>, Vec<String>)> {
    let now = bench.now;
    let sent = bench.ask(query, seconds(10));
    sent.iter().map(|sent| (sent.at - now, sent.answers(), sent.additionals())).collect()
}

#[test]
fn each_question_has_its_answer_and_what_may_be_asked_next() {
    let (a, nsec) = ("!web.local A 192.168.88.7 120", "!web.local NSEC [0, 1, 64] 120");
    let (srv, txt) = ("!web._http._tcp.local SRV web.local:80 120", "!web._http._tcp.local TXT path=/ 4500");
    let instance = "_http._tcp.local PTR web._http._tcp.local 4500";
    let of_service = "!web._http._tcp.local NSEC [0, 5, 0, 0, 128, 0, 64] 120";
    let reverse = "!7.88.168.192.in-addr.arpa PTR web.local 120";
    for (name, kind, answers, additionals) in [
        ("web.local", kind::A, vec![a], vec![nsec]),
        ("WEB.LOCAL", kind::A, vec![a], vec![nsec]),
        ("web.local", kind::AAAA, vec![nsec], vec![]),
        ("web.local", kind::SRV, vec![nsec], vec![]),
        ("web.local", 65, vec![nsec], vec![]),
        ("web.local", kind::NSEC, vec![nsec], vec![]),
        ("web.local", kind::ANY, vec![a], vec![nsec]),
        ("7.88.168.192.in-addr.arpa", kind::PTR, vec![reverse], vec![a, nsec]),
        ("_http._tcp.local", kind::PTR, vec![instance], vec![srv, txt, a, nsec]),
        ("_http._tcp.local", kind::TXT, vec![], vec![]),
        (
            "_services._dns-sd._udp.local",
            kind::PTR,
            vec!["_services._dns-sd._udp.local PTR _http._tcp.local 4500"],
            vec![],
        ),
        ("web._http._tcp.local", kind::SRV, vec![srv], vec![a, nsec]),
        ("web._http._tcp.local", kind::TXT, vec![txt], vec![]),
        ("web._http._tcp.local", kind::A, vec![of_service], vec![]),
        ("web._http._tcp.local", kind::ANY, vec![txt, srv], vec![a, nsec]),
        ("web-2.local", kind::A, vec![], vec![]),
        ("local", kind::ANY, vec![], vec![]),
    ] {
        let got = asked(&mut bench(), &Query::of(name, kind));
        assert_eq!(got.is_empty(), answers.is_empty(), "{name} {kind}: {got:?}");
        if let [(after, said, more)] = &got[..] {
            let (mut more, mut additionals) = (more.clone(), additionals.clone());
            more.sort();
            additionals.sort_unstable();
            assert_eq!(
                (said.clone(), more),
                (
                    answers.iter().map(ToString::to_string).collect(),
                    additionals.iter().map(ToString::to_string).collect()
                ),
                "{name} {kind}"
            );
            let shared = said.iter().any(|said| !said.starts_with('!'));
            let delay = if shared { ms(20)..=ms(120) } else { ms(0)..=ms(0) };
            assert!(delay.contains(after), "{name} {kind}: {after:?}");
        }
    }
}

#[test]
fn both_families_are_answered_together() {
    let mut bench = Bench::established(wanted("web", "192.168.88.7 fd88::7", ""));
    let got = asked(&mut bench, &Query::of("web.local", kind::AAAA));
    assert_eq!(got[0].1, ["!web.local AAAA fd88::7 120"]);
    assert_eq!(got[0].2, ["!web.local A 192.168.88.7 120"]);
}

/// RFC 6762, 6: once a second; 250 ms where a name is defended.
#[test]
fn a_record_is_multicast_once_a_second_and_to_defend_it_four_times() {
    let mut bench = bench();
    let times = |sent: &[Sent]| sent.iter().map(|sent| sent.at).collect::<Vec<_>>();
    let mut sent = Vec::new();
    for _ in 0..50 {
        sent.extend(bench.ask(&Query::of("web.local", kind::A), ms(100)));
    }
    let of_address: Vec<Boottime> = times(&sent);
    assert!(of_address.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{of_address:?}");
    assert_eq!(of_address.len(), 6, "{of_address:?}");
    // Nor is it sent along with another one.
    bench.run(seconds(10));
    bench.ask(&Query::of("web.local", kind::A), ms(300));
    let sent = bench.ask(&Query::of("web._http._tcp.local", kind::SRV), ms(1));
    assert_eq!((sent[0].answers().len(), sent[0].additionals().len()), (1, 0));
    bench.run(seconds(10));
    let probe =
        Query { wished: vec![address("web.local", "192.168.88.20")], ..Query::of("web.local", kind::ANY) };
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.extend(bench.ask(&probe, ms(100)));
    }
    let defended = times(&sent);
    assert!(defended.windows(2).all(|pair| pair[1] - pair[0] >= ms(250)), "{defended:?}");
    assert_eq!(defended.len(), 5, "{defended:?}");
    assert_eq!(bench.state(), is("web", State::Announced));
}

/// RFC 6762, 7.1.
#[test]
fn what_is_known_for_at_least_half_its_time_is_not_said() {
    for (known, ttl, answered) in [
        (address("web.local", "192.168.88.7"), 120, false),
        (address("WEB.local", "192.168.88.7"), 60, false),
        (address("web.local", "192.168.88.7"), 59, true),
        (address("web.local", "192.168.88.8"), 120, true),
    ] {
        for unicast in [false, true] {
            let query =
                Query { known: vec![(known.clone(), ttl)], unicast, ..Query::of("web.local", kind::A) };
            assert_eq!(!asked(&mut bench(), &query).is_empty(), answered, "{known:?} {ttl}");
        }
    }
}

/// RFC 6762, 7.2.
#[test]
fn known_answers_may_come_in_several_messages() {
    let instance = (pointer("_http._tcp.local", "web._http._tcp.local"), 4500);
    let first = Query { more: true, ..Query::of("_http._tcp.local", kind::PTR) };
    let rest = |more| Query { known: vec![instance.clone()], more, ..Query::default() };
    let mut bench = bench();
    // Nothing more comes.
    let got = asked(&mut bench, &first);
    assert!(got.len() == 1 && (ms(400)..=ms(500)).contains(&got[0].0), "{got:?}");
    // It comes, from the same host; then from another one.
    bench.hear(&first.bytes());
    bench.run(ms(300));
    assert!(asked(&mut bench, &rest(false)).is_empty());
    bench.hear(&first.bytes());
    bench.run(ms(300));
    bench.hear_from("192.168.88.21:5353", true, &rest(false).bytes());
    assert_eq!(bench.run(seconds(5)).len(), 1);
    // Each message puts it off, but not for ever.
    bench.hear(&first.bytes());
    let mut sent = Vec::new();
    let other =
        Query { known: vec![(address("x.local", "192.168.88.1"), 9)], more: true, ..Query::default() };
    for _ in 0..30 {
        sent.extend(bench.ask(&other, ms(200)));
    }
    assert_eq!(sent.len(), 1);
    // A storm of such queries is answered all the same.
    for port in 0..40 {
        let mut from = Query { more: true, ..Query::of("web.local", kind::A) };
        from.known.push((address("x.local", "192.168.88.1"), port));
        bench.hear_from(&format!("192.168.88.{}:5353", 100 + port), true, &from.bytes());
    }
    assert!(!bench.run(seconds(5)).is_empty());
}

/// RFC 6762, 7.4 and 6.6.
#[test]
fn what_another_has_just_said_is_not_repeated_and_what_ends_there_is_rescued() {
    let types = pointer("_services._dns-sd._udp.local", "_http._tcp.local");
    let query = Query::of("_services._dns-sd._udp.local", kind::PTR);
    for (ttl, answers) in [(4500, 0), (4000, 1), (2249, 1), (0, 1)] {
        let mut bench = bench();
        bench.hear(&query.bytes());
        bench.hear(&response(&[(types.clone(), ttl)]));
        assert_eq!(bench.run(seconds(5)).len(), answers, "{ttl}");
        // Nobody has asked.
        bench.hear(&response(&[(types.clone(), ttl)]));
        assert_eq!(bench.run(seconds(5)).len(), usize::from(ttl < 2250), "{ttl}");
    }
}

/// RFC 6762, 5.4 and 5.5.
#[test]
fn whoever_wants_an_answer_alone_gets_it_alone_if_the_others_have_heard_it_lately() {
    let mut bench = bench();
    let query = Query { unicast: true, ..Query::of("web.local", kind::A) };
    let sent = bench.ask(&query, seconds(1));
    assert_eq!((sent.len(), sent[0].packet.to), (1, Some(PEER.parse().unwrap())));
    assert_eq!(sent[0].answers(), ["!web.local A 192.168.88.7 120"]);
    // As often as one likes.
    assert_eq!(bench.ask(&query, ms(10)).len(), 1);
    // Asked of this host alone.
    bench.hear_from(PEER, false, &Query::of("web.local", kind::A).bytes());
    assert_eq!(bench.run(ms(10))[0].packet.to, Some(PEER.parse().unwrap()));
    // A quarter of its time later all hear it.
    bench.run(seconds(30));
    assert_eq!(bench.ask(&query, seconds(1))[0].packet.to, None);
    assert_eq!(bench.ask(&query, seconds(1))[0].packet.to, Some(PEER.parse().unwrap()));
    // A defence goes to all: at the port of who probes may be several programs.
    let wished = vec![address("web.local", "192.168.88.20")];
    let sent = bench.ask(&Query { unicast: true, wished, ..Query::of("web.local", kind::ANY) }, seconds(1));
    assert_eq!(sent[0].packet.to, None);
    // A shared record waits.
    let now = bench.now;
    let query = Query { unicast: true, ..Query::of("_http._tcp.local", kind::PTR) };
    let sent = bench.ask(&query, seconds(1));
    assert!(sent[0].packet.to.is_some() && (ms(20)..=ms(120)).contains(&(sent[0].at - now)));
}

/// RFC 6762, 6.7.
#[test]
fn an_ordinary_resolver_gets_an_ordinary_answer() {
    let mut bench = bench();
    let mut query = Query::of("WEB.local", kind::A).bytes();
    query[..2].copy_from_slice(&[0x12, 0x34]);
    bench.hear_from("192.168.88.20:40000", true, &query);
    let sent = bench.run(seconds(5));
    assert_eq!((sent.len(), sent[0].packet.to), (1, Some("192.168.88.20:40000".parse().unwrap())));
    let message = &sent[0].message;
    assert_eq!((message.id, message.response, message.truncated), (0x1234, true, false));
    assert_eq!(message.questions.len(), 1);
    assert_eq!(message.questions[0].name.bytes(), b"\x03WEB\x05local\x00", "as it was asked");
    assert_eq!(sent[0].answers(), ["web.local A 192.168.88.7 10"]);
    assert_eq!(sent[0].additionals(), ["web.local NSEC [0, 1, 64] 10"]);
    bench.hear_from("192.168.88.20:40000", true, &Query::of("other.local", kind::A).bytes());
    assert!(bench.run(seconds(5)).is_empty());
}

#[test]
fn what_does_not_fit_an_ordinary_answer_is_cut_off_and_says_so() {
    let mut bench = Bench::new();
    for at in 0..100 {
        bench.publish(
            &format!("{at}"),
            wanted(&format!("web{at}"), &format!("192.168.88.{at}"), "_http._tcp:80"),
        );
    }
    bench.run(seconds(10));
    bench.hear_from("192.168.88.20:40000", true, &Query::of("_http._tcp.local", kind::PTR).bytes());
    let sent = bench.run(seconds(5));
    assert!(sent.len() == 1 && sent[0].message.truncated && sent[0].message.answers.len() > 20);
    // All of them come in several messages by multicast.
    let sent = bench.ask(&Query::of("_http._tcp.local", kind::PTR), seconds(5));
    let mut said: Vec<String> = sent.iter().flat_map(Sent::answers).collect();
    said.sort();
    said.dedup();
    assert!(said.len() == 100 && sent.len() > 1);
}

/// RFC 6762, 5.5 and 11.
#[test]
fn who_is_not_on_the_link_gets_no_unicast_and_is_not_believed() {
    let (query, far) = (Query { unicast: true, ..Query::of("web.local", kind::A) }, "203.0.113.9:5353");
    let taken = response(&[(address("web.local", "203.0.113.9"), 120)]);
    let mut bench = bench();
    bench.hear_from(far, false, &query.bytes());
    bench.hear_from(far, false, &taken);
    bench.hear_from("203.0.113.9:40000", true, &query.bytes());
    assert!(bench.run(seconds(5)).is_empty());
    assert_eq!(bench.state(), is("web", State::Announced));
    // What came to the group is of this link, whatever its source. It is answered to the group.
    bench.hear_from(far, true, &query.bytes());
    assert_eq!(bench.run(seconds(5))[0].packet.to, None);
    bench.hear_from("[fe80::9]:5353", false, &query.bytes());
    assert!(bench.run(seconds(5))[0].packet.to.is_some());
    bench.hear_from(far, true, &taken);
    assert_eq!(bench.state(), is("web", State::Probing));
}

#[test]
fn a_message_of_questions_costs_so_much() {
    let mut bench = bench();
    let mut query = Query::default();
    for _ in 0..4 {
        query.questions.extend((10..40).map(|kind| ("web._http._tcp.local", kind)));
    }
    let sent = bench.ask(&query, seconds(5));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].answers().len(), 3, "each record once");
    // Those that come after many others are not looked for: here is only the record that there are none of those.
    query.questions = (100..1000).chain([kind::TXT]).map(|kind| ("web._http._tcp.local", kind)).collect();
    assert_eq!(bench.ask(&query, seconds(5))[0].answers().len(), 1);
}
