//! Other hosts with the same name (RFC 6762, 8.2 and 9), and what is no conflict.

use super::*;

fn srv(port: u16) -> Record {
    let data = Data::Srv { priority: 0, weight: 0, port, target: name("web.local") };
    Record { name: name("web._http._tcp.local"), data }
}

/// A name whose first probe was sent just now.
fn probing(wanted: Wanted) -> Bench {
    let mut bench = Bench::new();
    bench.publish("web", wanted);
    bench.until_it_speaks();
    bench
}

#[test]
fn the_lexicographically_later_of_two_simultaneous_probes_wins() {
    let other = |text: &str| address("web.local", text);
    for (theirs, lost) in [
        (vec![other("192.168.88.6")], false),
        (vec![other("192.168.88.8")], true),
        (vec![other("10.255.255.255")], false),
        // The same, as a reflector may repeat it, also in part.
        (vec![other("192.168.88.7")], false),
        (vec![other("192.168.88.7"), other("fd88::7")], false),
        (vec![other("fd88::7")], false),
        // The first difference counts, and then the number of records.
        (vec![other("192.168.88.8"), other("fd88::6")], true),
        (vec![other("192.168.88.6"), other("192.168.88.8"), other("fd88::8")], false),
        (vec![other("fd88::8")], true),
        (vec![Record { name: name("web.local"), data: Data::Txt(vec![0]) }], true),
        (vec![Record { name: name("other.local"), data: Data::Txt(vec![0]) }], false),
        (vec![Record { name: name("WEB.Local"), data: Data::Txt(vec![0]) }], true),
    ] {
        let mut bench = probing(wanted("web", "192.168.88.7 fd88::7", ""));
        let probe = Query { wished: theirs.clone(), ..Query::of("web.local", kind::ANY) };
        bench.hear(&probe.bytes());
        let expected = if lost { State::Conflict } else { State::Probing };
        assert_eq!(bench.state(), is("web", expected), "{theirs:?}");
        let sent = bench.run(seconds(10));
        assert_eq!(bench.state(), is("web", State::Announced), "nobody has the name after all");
        let first = sent[0].at;
        assert_eq!(lost, first - SOME_TIME > seconds(1), "{first:?}");
        assert_eq!(sent.iter().filter(|sent| !sent.message.response).count(), if lost { 3 } else { 2 });
    }
}

#[test]
fn the_hosts_records_alone_decide_where_they_are_in_question() {
    let mut bench = probing(wanted("web", "192.168.88.7", "_http._tcp:80"));
    let mut probe = Query::of("web.local", kind::ANY);
    probe.wished = vec![address("web.local", "192.168.88.6"), srv(8080)];
    bench.hear(&probe.bytes());
    assert_eq!(bench.state().1, State::Probing);
    probe.wished = vec![address("web.local", "192.168.88.8"), srv(79)];
    bench.hear(&probe.bytes());
    assert_eq!(bench.state().1, State::Conflict);
    let mut bench = probing(wanted("web", "192.168.88.7", "_http._tcp:80"));
    // A record that is the same does not make the others the same.
    probe.wished = vec![Record { data: Data::Txt(vec![0]), ..srv(0) }];
    bench.hear(&probe.bytes());
    assert_eq!(bench.state().1, State::Probing);
    probe.wished.push(srv(8080));
    bench.hear(&probe.bytes());
    assert_eq!(bench.state().1, State::Conflict);
}

#[test]
fn a_name_that_another_host_has_gets_a_number_and_the_caller_hears_of_it() {
    let any_type = Record { name: name("web.local"), data: Data::Other(13, vec![0, 0]) };
    for taken in [address("web.local", "192.168.88.20"), address("WEB.local", "fd88::20"), any_type] {
        let mut bench = probing(web());
        bench.hear(&response(&[(taken, 120)]));
        bench.run(seconds(10));
        assert_eq!(bench.renamed, [("web".to_owned(), "web-2".to_owned())]);
        assert_eq!(bench.state(), is("web-2", State::Announced));
        let listed = bench.responder.names().next().unwrap();
        let conflict = listed.conflict.unwrap();
        assert_eq!((conflict.label.as_str(), conflict.by), ("web", Some(ip("192.168.88.20"))));
        assert_eq!(listed.wanted.as_str(), "web");
        // It keeps that name when the caller says again what it wants, in the old words or the new ones.
        for label in ["web", "web-2"] {
            bench.publish("web", wanted(label, "192.168.88.9", ""));
            bench.run(seconds(10));
            assert_eq!(bench.state(), is("web-2", State::Announced));
        }
        let answer = bench.ask(&Query::of("web-2.local", kind::A), seconds(1));
        assert_eq!(answer[0].answers(), ["!web-2.local A 192.168.88.9 120"]);
    }
}

#[test]
fn a_label_that_the_caller_wants_meanwhile_is_no_news() {
    let mut bench = probing(web());
    bench.hear(&response(&[(address("web.local", "192.168.88.20"), 120)]));
    bench.publish("web", wanted("web-2", "192.168.88.7", ""));
    bench.run(seconds(5));
    assert_eq!((bench.state(), bench.renamed.len()), (is("web-2", State::Announced), 0));
}

#[test]
fn a_service_that_another_host_has_renames_the_whole_name() {
    let mut bench = probing(wanted("web", "192.168.88.7", "_http._tcp:80"));
    bench.hear(&response(&[(srv(8080), 120)]));
    let sent = bench.run(seconds(10));
    assert_eq!(bench.state(), is("web-2", State::Announced));
    let said: Vec<String> = sent.iter().flat_map(Sent::answers).collect();
    assert!(said.contains(&"!web-2._http._tcp.local SRV web-2.local:80 120".to_owned()), "{said:?}");
}

#[test]
fn a_conflict_after_the_announcement_is_settled_by_probing() {
    let other = address("web.local", "192.168.88.20");
    // The other one is gone: the name stays.
    let mut bench = Bench::established(web());
    bench.hear(&response(&[(other.clone(), 120)]));
    assert_eq!(bench.state(), is("web", State::Probing));
    assert!(
        bench.ask(&Query::of("web.local", kind::A), ms(1)).is_empty(),
        "a name in question is not answered for"
    );
    let sent = bench.run(seconds(10));
    assert_eq!(sent.iter().filter(|sent| !sent.message.response).count(), 3);
    assert_eq!((bench.state(), bench.renamed.len()), (is("web", State::Announced), 0));
    // The other one defends it: it is the other's.
    bench.hear(&response(&[(other.clone(), 120)]));
    bench.run(ms(400));
    bench.hear(&response(&[(other, 120)]));
    bench.run(seconds(10));
    assert_eq!(bench.state(), is("web-2", State::Announced));
}

#[test]
fn what_says_the_same_or_nothing_is_no_conflict() {
    let other = |text: &str| (address("web.local", text), 120);
    let negative = (Record { name: name("web.local"), data: Data::only(&[kind::TXT]) }, 120);
    let text = (Record { name: name("web.local"), data: Data::Txt(vec![0]) }, 120);
    for (from, records, probing_too) in [
        (PEER, vec![other("192.168.88.7")], true),
        (PEER, vec![(address("web.local", "192.168.88.20"), 0)], true),
        (PEER, vec![negative], true),
        // A responder in the container, which knows more addresses.
        ("192.168.88.7:5353", vec![other("fd00::9")], true),
        ("[fe80::7]:5353", vec![other("fd00::9")], true),
        (PEER, vec![other("fe80::7")], true),
        (PEER, vec![other("192.168.88.7"), other("fd00::9")], true),
        // A response from another port is none.
        ("192.168.88.20:40000", vec![other("192.168.88.20")], true),
        // Types that are not published.
        (PEER, vec![text], false),
        (PEER, vec![(pointer("7.88.168.192.in-addr.arpa", "other.local"), 120)], true),
    ] {
        let mut established = Bench::established(web());
        established.hear_from(from, true, &response(&records));
        assert_eq!(established.state(), is("web", State::Announced), "{from} {records:?}");
        if probing_too {
            let mut bench = probing(web());
            bench.hear_from(from, true, &response(&records));
            bench.run(seconds(10));
            assert_eq!((bench.state(), bench.renamed.len()), (is("web", State::Announced), 0), "{records:?}");
        }
    }
}

#[test]
fn an_address_of_a_family_that_is_said_not_to_be_there_is_a_conflict() {
    let mut bench = Bench::established(web());
    bench.hear(&response(&[(address("web.local", "fd88::20"), 120)]));
    assert_eq!(bench.state(), is("web", State::Probing));
}

#[test]
fn ones_own_words_come_back_late_after_a_change_and_are_no_conflict() {
    let mut bench = Bench::new();
    bench.publish("web", web());
    let sent = bench.run(seconds(10));
    bench.publish("web", wanted("web", "192.168.88.8", ""));
    for sent in &sent {
        bench.hear(&sent.packet.payload);
        assert_eq!(bench.state(), is("web", State::Announced));
    }
    bench.run(seconds(1));
    bench.responder.remove("web", bench.now);
    bench.publish("web", wanted("web", "192.168.88.9", ""));
    for sent in &sent {
        bench.hear(&sent.packet.payload);
    }
    bench.run(seconds(5));
    assert_eq!((bench.state(), bench.renamed.len()), (is("web", State::Announced), 0));
}

#[test]
fn two_names_of_one_responder_with_one_label_are_numbered() {
    let mut bench = Bench::new();
    bench.publish("lan/web", web());
    bench.publish("tv/web", wanted("WEB", "192.168.88.8", ""));
    bench.publish("tv/web-2", wanted("web-2", "192.168.88.9", ""));
    bench.run(seconds(10));
    // `web-2` is taken by then, and so the third gets the number after it.
    assert_eq!(bench.states(), ["web", "WEB-2", "web-3"].map(|label| is(label, State::Announced)));
    assert_eq!(bench.renamed.len(), 2);
}

#[test]
fn the_hosts_own_name_is_never_published() {
    let mut bench = Bench::new();
    bench.responder.forbid(["NAS", "web.home.arpa", "_odd", ""], bench.now);
    bench.publish("web", web());
    let mut sent = bench.run(seconds(10));
    assert_eq!(bench.state(), is("web-2", State::Announced));
    // The host is renamed to what is published.
    bench.responder.forbid(["web", "Web-2"], bench.now);
    sent.extend(bench.run(seconds(10)));
    assert_eq!(bench.state(), is("web-3", State::Announced));
    sent.extend(bench.ask(&Query::of("web.local", kind::ANY), seconds(1)));
    let of = |sent: &Sent, label: &str| {
        let all = sent.message.records().map(|said| said.record.name.clone());
        all.filter(|name| *name == Name::local(label).unwrap()).count()
    };
    assert_eq!(sent.iter().map(|sent| of(sent, "web")).sum::<usize>(), 0);
    let last = sent.iter().rposition(|sent| of(sent, "web-2") > 0).unwrap();
    assert!(
        sent[last].message.answers.iter().all(|said| said.ttl > 0),
        "a goodbye would be said of the host"
    );
    assert!(sent[last].at - SOME_TIME <= seconds(10));
}
