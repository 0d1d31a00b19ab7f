//! Hosts that lie, and what they must not achieve.

use super::*;

const ATTACKER: &str = "192.168.88.66:5353";

fn lie(label: &str) -> Vec<u8> {
    response(&[(address(&format!("{label}.local"), "192.168.88.66"), 120)])
}

/// What an attacker contests.
#[derive(PartialEq)]
enum Contests {
    /// Each label that is probed for.
    Probes,
    /// Each label that is announced, and once more while it is probed for again. So each label is seen by all before it is
    /// lost.
    Announcements,
}

/// Lets time pass under attack.
fn attack(bench: &mut Bench, time: Duration, contests: &Contests) -> Vec<Sent> {
    let (end, mut sent) = (bench.now + time, Vec::new());
    loop {
        let (now, until) = bench.poll();
        sent.extend_from_slice(&now);
        let (label, state) = bench.state();
        let contested = |said: &Sent| match contests {
            Contests::Probes => !said.message.response,
            Contests::Announcements => said.message.response && state == State::Announced,
        };
        if now.iter().any(contested) {
            bench.hear_from(ATTACKER, true, &lie(&label));
            if *contests == Contests::Announcements && bench.state().1 == State::Probing {
                sent.extend(bench.until_it_speaks());
                bench.hear_from(ATTACKER, true, &lie(&label));
            }
        } else if let Some(until) = until.filter(|until| *until <= end && now.is_empty()) {
            bench.now = until;
        } else if now.is_empty() {
            break;
        }
    }
    bench.now = bench.now.max(end);
    sent
}

fn probes(sent: &[Sent]) -> usize {
    sent.iter().filter(|sent| !sent.message.response).count()
}

/// Fourteen conflicts are answered with another label, the next ones by waits of 5, 10, 20, 40, 80, 160 and 320 seconds, which
/// are more than ten minutes together.
#[test]
fn a_host_that_answers_each_probe_renames_nothing_and_the_name_is_back_after_it() {
    for begun in [false, true] {
        let mut bench = if begun { Bench::established(web()) } else { Bench::new() };
        bench.publish("web", web());
        if begun {
            bench.hear_from(ATTACKER, true, &lie("web"));
        }
        let sent = attack(&mut bench, seconds(600), &Contests::Probes);
        assert_eq!(bench.renamed, []);
        assert_eq!(bench.state(), is("web", State::Conflict));
        assert_eq!(probes(&sent) + usize::from(begun), 14 + 7, "each is contested");
        bench.run(seconds(600));
        assert_eq!((bench.state(), bench.renamed.len()), (is("web", State::Announced), 0));
    }
}

#[test]
fn who_contests_what_is_announced_renames_it_a_few_times_and_the_name_is_back_after_it() {
    let mut bench = Bench::established(web());
    bench.responder.link_up(bench.now);
    attack(&mut bench, seconds(600), &Contests::Announcements);
    let labels: Vec<&str> = bench.renamed.iter().map(|(_, to)| to.as_str()).collect();
    assert_eq!(labels, ["web-2", "web-3", "web-4", "web-5", "web-6", "web-7", "web-8", "web"]);
    bench.run(seconds(3600));
    assert_eq!((bench.state(), bench.renamed.len()), (is("web", State::Announced), 8));
}

#[test]
fn after_a_change_of_the_link_a_contested_name_waits_no_longer() {
    let mut bench = Bench::new();
    bench.publish("web", web());
    attack(&mut bench, seconds(1800), &Contests::Probes);
    assert_eq!(bench.state(), is("web", State::Conflict));
    bench.responder.link_up(bench.now);
    bench.until_it_speaks();
    assert_eq!(bench.state(), is("web", State::Probing));
    // On another LAN its conflicts before count no more.
    bench.hear_from(ATTACKER, true, &lie("web"));
    bench.run(seconds(5));
    assert_eq!(bench.state(), is("web-2", State::Announced));
}

/// The waits of 5 to 2560 seconds and the one of an hour are 8715 seconds together.
#[test]
fn after_the_longest_wait_the_count_of_conflicts_begins_anew() {
    let mut bench = Bench::new();
    bench.publish("web", web());
    assert_eq!(probes(&attack(&mut bench, seconds(8700), &Contests::Probes)), 14 + 11);
    assert!(probes(&attack(&mut bench, seconds(60), &Contests::Probes)) > 14, "other labels are tried again");
    assert_eq!(bench.renamed, []);
}

#[test]
fn conflicts_an_hour_apart_are_never_too_many() {
    let mut bench = Bench::established(web());
    for _ in 0..20 {
        bench.hear_from(ATTACKER, true, &lie("web"));
        assert_eq!(bench.state(), is("web", State::Probing));
        bench.run(seconds(3610));
    }
}

#[test]
fn all_names_together_wait_after_fifteen_conflicts() {
    let mut bench = Bench::new();
    for at in 0..20 {
        bench.publish(&format!("{at:02}"), wanted(&format!("web{at}"), "192.168.88.7", ""));
    }
    bench.until_it_speaks();
    for at in 0..20 {
        bench.hear_from(ATTACKER, true, &lie(&format!("web{at}")));
    }
    let waiting =
        |bench: &Bench| bench.states().iter().filter(|(_, state)| *state == State::Conflict).count();
    assert_eq!(waiting(&bench), 6);
    bench.run(seconds(4));
    assert_eq!(waiting(&bench), 6);
    bench.run(seconds(5));
    assert_eq!(bench.renamed.len(), 20, "each once, and after it is announced");
}

#[test]
fn a_name_that_another_host_had_for_a_while_is_tried_again_after_an_hour_and_only_once() {
    for gone in [true, false] {
        let mut bench = Bench::new();
        let last = Some("web-5".parse().unwrap());
        bench.publish("web", Wanted { last, ..wanted("web", "192.168.88.7", "_http._tcp:80") });
        let mut sent = bench.run(seconds(3599));
        assert_eq!((bench.state(), bench.renamed.len()), (is("web-5", State::Announced), 0));
        let parting = bench.until_it_speaks();
        let goodbye = "_http._tcp.local PTR web-5._http._tcp.local 0".to_owned();
        assert!(parting[0].answers().contains(&goodbye), "nobody may list both names");
        sent.extend(bench.until_it_speaks());
        if !gone {
            bench.hear(&response(&[(address("web.local", "192.168.88.20"), 120)]));
        }
        sent.extend(bench.run(seconds(2 * 3600)));
        let expected = if gone { "web" } else { "web-5" };
        assert_eq!((bench.state(), bench.renamed.len()), (is(expected, State::Announced), usize::from(gone)));
        assert_eq!(probes(&sent), if gone { 3 + 3 } else { 3 + 1 + 3 });
    }
}

#[test]
fn a_label_that_another_own_name_has_is_tried_again_once_that_name_is_gone() {
    let mut bench = Bench::new();
    bench.publish("lan/web", web());
    bench.publish("tv/web", wanted("web", "192.168.88.8", ""));
    bench.run(seconds(3 * 3600));
    assert_eq!(bench.states(), [is("web", State::Announced), is("web-2", State::Announced)]);
    bench.responder.remove("lan/web", bench.now);
    bench.run(seconds(10));
    assert_eq!(bench.states(), [is("web", State::Announced)]);
}

/// RFC 6762, 6 and 11: it may come from elsewhere, with a forged source, and no query of the responder asks for it.
#[test]
fn what_is_not_sent_to_the_group_from_the_port_speaks_against_no_name() {
    let later =
        Query { wished: vec![address("web.local", "192.168.88.66")], ..Query::of("web.local", kind::ANY) };
    for (from, to_group, believed) in
        [(ATTACKER, true, true), (ATTACKER, false, false), ("192.168.88.66:40000", true, false)]
    {
        for payload in [lie("web"), later.bytes()] {
            let mut bench = Bench::new();
            bench.publish("web", web());
            bench.until_it_speaks();
            bench.hear_from(from, to_group, &payload);
            let contested = bench.responder.names().next().unwrap().conflict.is_some();
            assert_eq!(contested, believed, "{from} {to_group}");
        }
        let mut bench = Bench::established(web());
        bench.hear_from(from, to_group, &lie("web"));
        let state = if believed { State::Probing } else { State::Announced };
        assert_eq!(bench.state(), is("web", state), "{from} {to_group}");
    }
}

fn names(bench: &Bench) -> Vec<String> {
    bench.responder.claims.values().flat_map(Claim::names).map(|name| name.to_string()).collect()
}

#[test]
fn a_long_label_with_a_service_gets_another_name_of_the_service_with_each_number() {
    let mut bench = Bench::new();
    let long = "a".repeat(63);
    let services = "_http._tcp:80 _http._tcp:8080";
    bench.publish("web", wanted(&long, "192.168.88.7", services));
    bench.until_it_speaks();
    let before = names(&bench);
    let taken = Name::new([&format!("{} (8080)", "a".repeat(56)), "_http", "_tcp", "local"]).unwrap();
    assert!(before.contains(&taken.to_string()), "{before:?}");
    bench.hear(&response(&[(Record { name: taken, data: Data::Txt(b"\x05other".to_vec()) }, 120)]));
    bench.run(seconds(5));
    assert_eq!(bench.state(), is(&format!("{}-2", "a".repeat(61)), State::Announced));
    let after = names(&bench);
    assert!(after.iter().all(|name| !before.contains(name)), "{after:?}");
    // Another label of which as much is left would give its services the same names.
    bench.publish("other", wanted(&format!("{}b-2", "a".repeat(60)), "192.168.88.9", services));
    let mut all = names(&bench);
    all.sort();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
}

#[test]
fn the_address_of_the_host_vouches_for_no_name_of_a_service() {
    let data = Data::Srv { priority: 0, weight: 0, port: 666, target: name("evil.local") };
    let stolen = Record { name: name("web._http._tcp.local"), data };
    let mut bench = Bench::established(wanted("web", "192.168.88.7", "_http._tcp:80"));
    bench.hear_from(ATTACKER, true, &response(&[(address("web.local", "192.168.88.7"), 120), (stolen, 120)]));
    assert_eq!(bench.state(), is("web", State::Probing));
}

#[test]
fn only_the_name_that_is_probed_for_is_defended() {
    let mut bench = Bench::established(web());
    bench.publish("db", wanted("db", "192.168.88.8", ""));
    bench.run(seconds(10));
    let mut query = Query::of("web.local", kind::A);
    query.questions.push(("db.local", kind::ANY));
    query.wished.push(address("db.local", "192.168.88.20"));
    let (end, mut sent) = (bench.now + seconds(1), Vec::new());
    for _ in 0..10 {
        sent.extend(bench.ask(&query, ms(100)));
    }
    sent.retain(|sent| sent.at < end);
    let count = |line: &str| sent.iter().flat_map(Sent::answers).filter(|said| said == line).count();
    assert_eq!(count("!web.local A 192.168.88.7 120"), 1, "once a second");
    assert_eq!(count("!db.local A 192.168.88.8 120"), 4, "every quarter");
}

#[test]
fn unicast_answers_are_no_flood_towards_a_forged_source() {
    let mut bench = Bench::established(web());
    let query = Query { unicast: true, ..Query::of("web.local", kind::A) };
    let mut counts = [0; 2];
    for _ in 0..1000 {
        for (at, from) in [PEER, "192.168.88.20:40000"].into_iter().enumerate() {
            bench.hear_from(from, true, &query.bytes());
            counts[at] += bench.run(ms(1)).iter().filter(|sent| sent.packet.to.is_some()).count();
        }
    }
    // Those at once, and one for each 50 of the 1999 milliseconds until the last query.
    assert_eq!(counts[0] + counts[1], 32 + 39, "{counts:?}");
    // The others hear it by multicast meanwhile.
    let sent: Vec<Sent> = (0..40).flat_map(|_| bench.ask(&query, ms(0))).collect();
    assert!(bench.run(seconds(1)).iter().chain(&sent).any(|sent| sent.packet.to.is_none()));
    bench.run(seconds(10));
    assert!(bench.ask(&query, ms(1))[0].packet.to.is_some(), "a moment later all is as before");
}

#[test]
fn one_query_is_answered_with_one_unicast_packet() {
    let mut bench = Bench::new();
    for at in 0..200 {
        let address = format!("192.168.88.{at}");
        bench.publish(&format!("{at}"), wanted(&format!("web{at}"), &address, "_http._tcp:80"));
    }
    bench.run(seconds(20));
    let query = Query { unicast: true, ..Query::of("_http._tcp.local", kind::PTR) };
    let sent = bench.ask(&query, seconds(2));
    assert_eq!(sent.iter().filter(|sent| sent.packet.to.is_some()).count(), 1);
    let mut all: Vec<String> = sent.iter().flat_map(Sent::answers).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 200, "what has no room comes by multicast");
    // So many queries at once are answered to who asks, the next one to all.
    bench.run(seconds(60));
    for at in 0..100 {
        bench.hear_from(&format!("192.168.88.{}:5353", at + 100), true, &query.bytes());
    }
    assert_eq!(bench.responder.replies.len(), 32);
}
