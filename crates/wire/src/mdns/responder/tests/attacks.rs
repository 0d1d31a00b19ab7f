//! Hosts that lie, and what they must not achieve.

use super::*;

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
