//! The responder alone, by sections of RFC 6762. What it sends is read by the reader, which another library vouches for.

use std::time::Duration;

use super::super::message::{Message, Question, Said, Section, Writer};
use super::super::record::{Data, kind};
use super::super::{Channel, LONGEST, Packet, State};
use super::*;
use crate::boottime::SOME_TIME;

mod answers;
mod any_order;
mod attacks;
mod changes;
mod conflicts;
mod lan;
mod startup;

const PEER: &str = "192.168.88.20:5353";

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn name(text: &str) -> Name {
    Name::new(text.split('.')).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(host: &str, address: &str) -> Record {
    Record { name: name(host), data: Data::address(ip(address)) }
}

fn pointer(from: &str, to: &str) -> Record {
    Record { name: name(from), data: Data::Ptr(name(to)) }
}

/// What is wanted of a name: its addresses and services, each separated by spaces.
fn wanted(label: &str, addresses: &str, services: &str) -> Wanted {
    let addresses = addresses.split_whitespace().map(ip).collect();
    let services = services.split_whitespace().map(|service| service.parse().unwrap()).collect();
    Wanted { label: label.parse().unwrap(), last: None, addresses, also: vec![ip("fe80::7")], services }
}

fn web() -> Wanted {
    wanted("web", "192.168.88.7", "")
}

/// What a query says, and of whom.
#[derive(Clone, Default)]
struct Query {
    questions: Vec<(&'static str, u16)>,
    unicast: bool,
    known: Vec<(Record, u32)>,
    wished: Vec<Record>,
    more: bool,
}

impl Query {
    fn of(name: &'static str, kind: u16) -> Self {
        Query { questions: vec![(name, kind)], ..Query::default() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = Writer::query(LONGEST);
        for (text, kind) in &self.questions {
            writer.question(&Question { name: name(text), kind: *kind, unicast: self.unicast });
        }
        self.known.iter().for_each(|(record, ttl)| writer.record(Section::Answers, record, *ttl, false));
        self.wished.iter().for_each(|record| writer.record(Section::Authorities, record, 120, false));
        let mut bytes = writer.finish(false);
        bytes[2] |= if self.more { 2 } else { 0 };
        bytes
    }
}

/// A response with these records.
fn response(records: &[(Record, u32)]) -> Vec<u8> {
    let mut writer = Writer::response(LONGEST);
    for (record, ttl) in records {
        writer.record(Section::Answers, record, *ttl, true);
    }
    writer.finish(false)
}

/// A packet that was sent: when, where, to whom, and what it says.
#[derive(Debug, Clone)]
struct Sent {
    at: Boottime,
    packet: Packet,
    message: Message,
}

impl Sent {
    /// The records of the answers, those of unique names with a `!` before, and the lifetime after.
    fn answers(&self) -> Vec<String> {
        self.message.answers.iter().map(shown).collect()
    }

    fn additionals(&self) -> Vec<String> {
        self.message.additionals.iter().map(shown).collect()
    }
}

fn shown(said: &Said) -> String {
    let Said { record, ttl, flush } = said;
    let data = match &record.data {
        Data::A(ip) => format!("A {ip}"),
        Data::Aaaa(ip) => format!("AAAA {ip}"),
        Data::Ptr(target) => format!("PTR {target}"),
        Data::Srv { port, target, .. } => format!("SRV {target}:{port}"),
        Data::Txt(text) => format!("TXT {}", String::from_utf8_lossy(&text[1..])),
        Data::Nsec(types) => format!("NSEC {types:?}"),
        Data::Other(kind, bytes) => format!("{kind} {bytes:?}"),
    };
    format!("{}{} {data} {ttl}", if *flush { "!" } else { "" }, record.name)
}

struct Bench {
    responder: Responder,
    now: Boottime,
    /// Labels that names were given: from, to.
    renamed: Vec<(String, String)>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(1)
    }

    fn with(channels: usize) -> Self {
        let channels = Channel::ALL.into_iter().take(channels).collect();
        Bench { responder: Responder::new(channels, 7), now: SOME_TIME, renamed: Vec::new() }
    }

    /// A name that was announced a while ago.
    fn established(wanted: Wanted) -> Self {
        let mut bench = Bench::new();
        bench.publish("web", wanted);
        bench.run(seconds(10));
        bench
    }

    fn publish(&mut self, key: &str, wanted: Wanted) {
        self.responder.publish(key, wanted, self.now);
    }

    /// Polls until there is nothing to do. Returns what was sent, and the time of the next poll.
    fn poll(&mut self) -> (Vec<Sent>, Option<Boottime>) {
        let mut sent = Vec::new();
        loop {
            match self.responder.poll(self.now) {
                Action::Send(packet) => {
                    let message = Message::read(&packet.payload).expect("what is sent reads");
                    assert!(packet.payload.len() <= 1440);
                    sent.push(Sent { at: self.now, packet, message });
                }
                Action::Renamed { from, to, .. } => self.renamed.push((from.to_string(), to.to_string())),
                Action::Wait(until) => {
                    assert!(
                        until.is_none_or(|until| until > self.now),
                        "the responder would be polled for ever"
                    );
                    return (sent, until);
                }
            }
        }
    }

    /// Lets so much time pass. Returns what was sent meanwhile.
    fn run(&mut self, time: Duration) -> Vec<Sent> {
        let (end, mut sent) = (self.now + time, Vec::new());
        loop {
            let (now, until) = self.poll();
            sent.extend(now);
            match until.filter(|until| *until <= end) {
                Some(until) => self.now = until,
                None => break,
            }
        }
        self.now = end;
        sent
    }

    /// Lets time pass until it sends something, and returns that.
    fn until_it_speaks(&mut self) -> Vec<Sent> {
        loop {
            let (sent, until) = self.poll();
            if !sent.is_empty() {
                return sent;
            }
            self.now = until.expect("there is something to do");
        }
    }

    fn hear_from(&mut self, from: &str, to_group: bool, payload: &[u8]) {
        let prefixes = ["192.168.88.0/24".parse().unwrap(), "fd88::/64".parse().unwrap()];
        let from = from.parse().unwrap();
        let channel = Channel::V4;
        let datagram = Datagram { channel, from, to_group, prefixes: &prefixes, payload };
        self.responder.receive(&datagram, self.now);
    }

    fn hear(&mut self, payload: &[u8]) {
        self.hear_from(PEER, true, payload);
    }

    /// Hears a query of another host and returns what is sent within some time.
    fn ask(&mut self, query: &Query, time: Duration) -> Vec<Sent> {
        self.hear(&query.bytes());
        self.run(time)
    }

    fn states(&self) -> Vec<(String, State)> {
        self.responder.names().map(|listed| (listed.label.to_string(), listed.state)).collect()
    }

    fn state(&self) -> (String, State) {
        self.states()[0].clone()
    }
}

fn is(label: &str, state: State) -> (String, State) {
    (label.to_owned(), state)
}
