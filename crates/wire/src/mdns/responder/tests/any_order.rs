//! Anything in any order and at any time.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Due,
    Publish(u8, u8, u8, u8),
    Remove(u8),
    Forbid(u8),
    LinkUp,
    Channels(u8),
    /// Labels, types and addresses of a query or response, from whom and how.
    Hear {
        response: bool,
        records: Vec<(u8, u8, u8, u32)>,
        more: bool,
        from: u8,
        to_group: bool,
        unicast: bool,
    },
}

const LABELS: [&str; 4] = ["web", "web-2", "db", "nas"];

fn event() -> impl Strategy<Value = Event> {
    let record = (0..8u8, 0..6u8, 0..4u8, prop_oneof![Just(0), Just(10), Just(120), Just(4500)]);
    let hear = (
        any::<bool>(),
        prop::collection::vec(record, 0..5),
        any::<bool>(),
        0..4u8,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(response, records, more, from, to_group, unicast)| Event::Hear {
            response,
            records,
            more,
            from,
            to_group,
            unicast,
        });
    prop_oneof![
        2 => (0..3000u64).prop_map(Event::Pass),
        1 => (0..10_000_000u64).prop_map(Event::Pass),
        10 => Just(Event::Due),
        12 => hear,
        4 => (0..3u8, 0..4u8, 0..4u8, 0..3u8).prop_map(|(key, label, ip, services)| Event::Publish(key, label, ip, services)),
        1 => (0..3u8).prop_map(Event::Remove),
        1 => (0..5u8).prop_map(Event::Forbid),
        1 => Just(Event::LinkUp),
        1 => (0..3u8).prop_map(Event::Channels),
    ]
}

fn record(name: u8, kind: u8, ip: u8) -> Record {
    let label = LABELS[usize::from(name % 4)];
    let host = Name::local(label).unwrap();
    let instance = Name::new([label, "_http", "_tcp", "local"]).unwrap();
    let of_kind = self::name("_http._tcp.local");
    let own = if name < 4 { host.clone() } else { instance.clone() };
    match kind {
        0 => Record { name: own, data: Data::A([192, 168, 88, ip].into()) },
        1 => Record {
            name: own,
            data: Data::Srv { priority: 0, weight: 0, port: 80 + u16::from(ip), target: host },
        },
        2 => Record { name: own, data: Data::Txt(vec![0]) },
        3 => Record { name: of_kind, data: Data::Ptr(instance) },
        4 => Record { name: own, data: Data::only(&[kind::A]) },
        _ => Record { name: services(), data: Data::Ptr(of_kind) },
    }
}

fn services() -> Name {
    name("_services._dns-sd._udp.local")
}

fn happen(bench: &mut Bench, event: Event) {
    match event {
        Event::Pass(time) => bench.now += ms(time),
        Event::Due => bench.now = bench.responder.next().unwrap_or(bench.now).max(bench.now),
        Event::Publish(key, label, ip, services) => {
            let address = if ip == 0 { String::new() } else { format!("192.168.88.{ip}") };
            let services = ["", "_http._tcp:80", "_http._tcp:81 _http._tcp:82"][usize::from(services)];
            bench.publish(&key.to_string(), wanted(LABELS[usize::from(label)], &address, services));
        }
        Event::Remove(key) => bench.responder.remove(&key.to_string(), bench.now),
        Event::Forbid(label) => {
            bench.poll();
            bench.responder.forbid(LABELS.get(usize::from(label)).copied(), bench.now);
        }
        Event::LinkUp => bench.responder.link_up(bench.now),
        Event::Channels(number) => {
            bench.poll();
            let channels = Channel::ALL.into_iter().take(usize::from(number)).collect();
            bench.responder.set_channels(channels, bench.now);
        }
        Event::Hear { response: true, records, from, to_group, .. } => {
            let records: Vec<_> =
                records.iter().map(|(name, kind, ip, ttl)| (record(*name, *kind, *ip), *ttl)).collect();
            bench.hear_from(&peer(from), to_group, &response(&records));
        }
        Event::Hear { records, more, from, to_group, unicast, .. } => {
            let mut writer = Writer::query(LONGEST);
            let split = records.len() / 2;
            for (name, kind, ip, ttl) in &records {
                let kind = if ttl % 20 == 0 { kind::ANY } else { record(*name, *kind, *ip).kind() };
                writer.question(&Question { name: record(*name, 0, *ip).name, kind, unicast });
            }
            for (at, (name, kind, ip, ttl)) in records.iter().enumerate() {
                let section = if at < split { Section::Answers } else { Section::Authorities };
                writer.record(section, &record(*name, *kind, *ip), *ttl, false);
            }
            let mut bytes = writer.finish(false);
            bytes[2] |= if more { 2 } else { 0 };
            bench.hear_from(&peer(from), to_group, &bytes);
        }
    }
}

fn peer(number: u8) -> String {
    ["192.168.88.1:5353", "192.168.88.20:5353", "203.0.113.9:5353", "192.168.88.20:40000"]
        [usize::from(number)]
    .to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_is_said_too_often_of_the_host_or_of_what_is_not_there(
        events in prop::collection::vec((event(), prop::bool::weighted(0.9)), 0..80),
        random in any::<u64>(),
    ) {
        let mut bench = Bench::with(2);
        bench.responder.random = Random(random);
        for (event, polled) in events {
            happen(&mut bench, event);
            if !polled {
                continue;
            }
            let published: Vec<(Name, State)> =
                bench.responder.names().map(|listed| (Name::local(listed.label.as_str()).unwrap(), listed.state)).collect();
            let (sent, _) = bench.poll();
            prop_assert!(sent.len() < 40, "{} packets", sent.len());
            for sent in &sent {
                let there = sent.packet.channels & bench.responder.channels;
                prop_assert!(!there.is_empty() && there == sent.packet.channels, "{:?}", sent);
                for said in sent.message.records() {
                    // Whatever is said to be there is so of a name that is announced, or is about to be.
                    // A unicast answer may be older than the change.
                    let host = said.record.data.ip().is_some() && sent.packet.to.is_none();
                    let known = published.iter().any(|(name, state)| *name == said.record.name && *state != State::Waiting);
                    prop_assert!(!host || said.ttl == 0 || known, "{:?}", said);
                    for label in &bench.responder.forbidden {
                        let own = said.record.name == Name::local(label.as_str()).unwrap();
                        prop_assert!(!own || said.ttl == 0, "{:?} is the host's", said);
                    }
                }
            }
            let mut labels: Vec<String> =
                bench.responder.names().map(|listed| listed.label.as_str().to_ascii_lowercase()).collect();
            let count = labels.len();
            labels.sort();
            labels.dedup();
            prop_assert_eq!(labels.len(), count, "a label is there once");
        }
        bench.responder.stop(bench.now);
        bench.poll();
        prop_assert_eq!(bench.responder.next(), None, "nothing is left after the end");
        prop_assert!(bench.responder.zone.of(&name("web.local")).next().is_none());
        prop_assert!(bench.responder.owners.is_empty());
    }
}
