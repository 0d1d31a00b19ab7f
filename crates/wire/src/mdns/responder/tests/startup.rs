//! Probing and announcing (RFC 6762, 8), goodbye (10.1).

use super::*;

#[test]
fn three_probes_a_quarter_of_a_second_apart_then_two_announcements_then_silence() {
    for random in 0..50 {
        let mut bench = Bench::new();
        bench.responder.random = Random(random);
        bench.publish("web", wanted("web", "192.168.88.7 fd88::7", ""));
        assert_eq!(bench.state(), is("web", State::Probing));
        let sent = bench.run(seconds(600));
        let first = sent[0].at;
        assert!(first - SOME_TIME <= ms(250), "{first:?}");
        let after: Vec<Duration> = sent.iter().map(|sent| sent.at - first).collect();
        assert_eq!(after, [ms(0), ms(250), ms(500), ms(750), ms(1750)]);
        for probe in &sent[..3] {
            let question = Question { name: name("web.local"), kind: kind::ANY, unicast: false };
            assert!(!probe.message.response && probe.message.questions == [question]);
            let wished: Vec<String> = probe.message.authorities.iter().map(shown).collect();
            assert_eq!(wished, ["web.local A 192.168.88.7 120", "web.local AAAA fd88::7 120"]);
        }
        for announcement in &sent[3..] {
            assert!(announcement.message.response && announcement.packet.to.is_none());
            let mut said = announcement.answers();
            said.sort();
            let reverse = name(&Name::reverse(ip("fd88::7")).to_string());
            assert_eq!(
                said,
                [
                    format!("!{reverse} PTR web.local 120"),
                    "!7.88.168.192.in-addr.arpa PTR web.local 120".to_owned(),
                    "!web.local A 192.168.88.7 120".to_owned(),
                    "!web.local AAAA fd88::7 120".to_owned(),
                ]
            );
        }
        assert_eq!(bench.state(), is("web", State::Announced));
    }
}

#[test]
fn services_are_probed_for_and_announced_with_their_host() {
    let mut bench = Bench::new();
    bench.publish("web", wanted("web", "192.168.88.7", "_http._tcp:80,path=/ _http._tcp:8080"));
    let sent = bench.run(seconds(10));
    let asked: Vec<String> = sent[0].message.questions.iter().map(|asked| asked.name.to_string()).collect();
    assert_eq!(asked, ["web.local", "web._http._tcp.local", "web (8080)._http._tcp.local"]);
    let said: Vec<String> = sent[3..].iter().flat_map(Sent::answers).collect();
    for (line, times) in [
        ("_services._dns-sd._udp.local PTR _http._tcp.local 4500", 2),
        ("_http._tcp.local PTR web._http._tcp.local 4500", 2),
        ("_http._tcp.local PTR web (8080)._http._tcp.local 4500", 2),
        ("!web._http._tcp.local SRV web.local:80 120", 2),
        ("!web._http._tcp.local TXT path=/ 4500", 2),
        ("!web (8080)._http._tcp.local SRV web.local:8080 120", 2),
        ("!web (8080)._http._tcp.local TXT  4500", 2),
    ] {
        assert_eq!(said.iter().filter(|said| *said == line).count(), times, "{line} in {said:#?}");
    }
}

#[test]
fn a_name_without_an_address_waits_for_one() {
    let mut bench = Bench::new();
    bench.publish("web", wanted("web", "", "_http._tcp:80"));
    assert!(bench.run(seconds(60)).is_empty());
    assert_eq!(bench.state(), is("web", State::Waiting));
    bench.publish("web", web());
    bench.run(seconds(2));
    assert_eq!(bench.state(), is("web", State::Announced));
    bench.publish("web", wanted("web", "", ""));
    let sent = bench.run(seconds(60));
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].answers(),
        ["web.local A 192.168.88.7 0", "7.88.168.192.in-addr.arpa PTR web.local 0"]
    );
    assert_eq!(bench.state(), is("web", State::Waiting));
}

#[test]
fn two_hundred_names_share_their_probes_and_announcements() {
    let mut bench = Bench::new();
    for at in 0..200 {
        bench.publish(
            &format!("lan/web{at}"),
            wanted(&format!("web{at}"), &format!("192.168.88.{at}"), "_http._tcp:80"),
        );
    }
    let sent = bench.run(seconds(20));
    let probes: Vec<&Sent> = sent.iter().filter(|sent| !sent.message.response).collect();
    assert!(probes.len() < 150, "{} probes", probes.len());
    let asked: usize = probes.iter().map(|probe| probe.message.questions.len()).sum();
    assert_eq!(asked, 3 * 2 * 200);
    assert!(sent.len() - probes.len() < 100, "{} announcements", sent.len() - probes.len());
    let hosts =
        |sent: &&Sent| sent.message.answers.iter().filter(|said| said.record.kind() == kind::A).count();
    assert_eq!(sent.iter().map(|sent| hosts(&sent)).sum::<usize>(), 400);
    assert!(bench.states().iter().all(|(_, state)| *state == State::Announced));
}

#[test]
fn what_is_removed_says_goodbye_once_and_is_silent() {
    let mut bench = Bench::established(wanted("web", "192.168.88.7", "_http._tcp:80"));
    bench.publish("db", wanted("db", "192.168.88.8", ""));
    bench.run(seconds(10));
    bench.responder.remove("web", bench.now);
    let sent = bench.run(seconds(60));
    assert_eq!(sent.len(), 1);
    let mut said = sent[0].answers();
    said.sort();
    assert_eq!(
        said,
        [
            "7.88.168.192.in-addr.arpa PTR web.local 0",
            "_http._tcp.local PTR web._http._tcp.local 0",
            "web._http._tcp.local SRV web.local:80 0",
            "web._http._tcp.local TXT  0",
            "web.local A 192.168.88.7 0",
        ]
    );
    assert!(bench.ask(&Query::of("web.local", kind::A), seconds(5)).is_empty());
    assert_eq!(bench.states(), [is("db", State::Announced)]);
    bench.responder.remove("web", bench.now);
    bench.responder.stop(bench.now);
    let sent = bench.run(seconds(60));
    assert_eq!(sent[0].answers(), ["db.local A 192.168.88.8 0", "8.88.168.192.in-addr.arpa PTR db.local 0"]);
    assert_eq!((sent.len(), bench.responder.poll(bench.now)), (1, Action::Wait(None)));
}

#[test]
fn what_was_only_probed_for_goes_without_a_goodbye() {
    let mut bench = Bench::new();
    bench.publish("web", web());
    bench.run(ms(600));
    bench.responder.stop(bench.now);
    assert!(bench.run(seconds(60)).is_empty());
}
