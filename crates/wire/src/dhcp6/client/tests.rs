//! A client with a test server that answers it.

use crate::Boottime;
use crate::boottime::SOME_TIME;
use std::time::Duration;

use super::*;
use crate::dhcp::Client as _;
use crate::dhcp6::Change;
use crate::dhcp6::{Dns, Duid, Message, Options, Term, code};

mod any_order;
mod messages;
mod table;
mod times;

const IP: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 7);
const OTHER_IP: Ipv6Addr = Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 8);
const IAID: u32 = 1;
/// T1, T2, the preferred lifetime and the end of the leases that the test server assigns, in seconds.
const TIMES: [u32; 4] = [500, 800, 900, 1000];

struct Bench {
    client: Client,
    now: Boottime,
    /// The message that was last sent.
    sent: Option<Message>,
    /// The time that the client waits for.
    until: Option<Boottime>,
}

fn server(last: u8) -> Duid {
    Duid::try_from(vec![0, 3, 0, last]).unwrap()
}

const SERVER: u8 = 1;
const OTHER_SERVER: u8 = 2;

fn config() -> Config {
    Config::new(Duid::try_from(vec![0, 4, 7]).unwrap(), IAID)
}

fn lease() -> Lease {
    let [renew, rebind, preferred, end] = TIMES;
    let term = Some(Term { renew, rebind, preferred, end: Some(end) });
    Lease { address: IP, server: server(SERVER), term, dns: Dns::default() }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// An address option with the preferred and the valid lifetime.
fn address(ip: Ipv6Addr, [preferred, valid]: [u32; 2]) -> (u16, Vec<u8>) {
    let bytes = [&ip.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat();
    (code::IA_ADDRESS, bytes)
}

fn status(number: u16) -> (u16, Vec<u8>) {
    (code::STATUS, number.to_be_bytes().to_vec())
}

/// An `IA_NA` with T1 and T2.
fn association([renew, rebind]: [u32; 2], options: &[(u16, Vec<u8>)]) -> (u16, Vec<u8>) {
    let mut inner = Options::default();
    for (code, bytes) in options {
        inner.push(*code, bytes.clone());
    }
    let mut bytes = [IAID, renew, rebind].map(u32::to_be_bytes).concat();
    inner.encode(&mut bytes);
    (code::IA_NA, bytes)
}

/// The `IA_NA` of a server that assigns an address.
fn gives(ip: Ipv6Addr) -> (u16, Vec<u8>) {
    let [renew, rebind, preferred, valid] = TIMES;
    association([renew, rebind], &[address(ip, [preferred, valid])])
}

impl Bench {
    fn with(client: impl FnOnce(Boottime) -> Client) -> Self {
        let now = SOME_TIME;
        Bench { client: client(now), now, sent: None, until: None }
    }

    fn start() -> Self {
        Bench::with(|now| Client::new(config(), now, 1))
    }

    /// A client that has sent a SOLICIT.
    fn soliciting() -> Self {
        let mut bench = Bench::start();
        bench.poll();
        bench
    }

    /// A client that resumes a recorded lease.
    fn resumed(age: u64, in_use: bool) -> Self {
        let recorded = Recorded { lease: lease(), age: seconds(age), in_use };
        Bench::with(|now| Client::resume(config(), recorded, now, 1))
    }

    /// A client that has just accepted an offer.
    fn requesting() -> Self {
        let mut bench = Bench::soliciting();
        bench.offer(255).unwrap();
        bench.poll();
        bench
    }

    fn probing() -> Self {
        let mut bench = Bench::requesting();
        bench.give(IP).unwrap();
        bench.poll();
        bench
    }

    fn bound() -> Self {
        let mut bench = Bench::probing();
        bench.client.clear(IP);
        bench.poll();
        bench
    }

    /// All actions of the client until it waits.
    fn poll(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        loop {
            match self.client.poll(self.now) {
                Action::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "the client waits for a past time");
                    self.until = until;
                    return actions;
                }
                action => {
                    if let Action::Send(outgoing) = &action {
                        self.sent = Some(Message::decode(&outgoing.payload).unwrap());
                    }
                    actions.push(action);
                }
            }
            assert!(actions.len() < 10, "the client never waits: {actions:?}");
        }
    }

    /// All actions of the client until it waits, as text.
    fn said(&mut self) -> Vec<String> {
        self.poll().iter().map(words).collect()
    }

    /// Advances the time to the moment that the client waits for.
    fn wait(&mut self) -> Vec<Action> {
        self.now = self.until.expect("the client waits for a time");
        self.poll()
    }

    fn wait_until(&mut self, state: State) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.client.state() != state {
            assert!(actions.len() < 100, "the client never reaches {state:?}: {actions:?}");
            actions.extend(self.wait());
        }
        actions
    }

    /// The test server's answer to the message that was last sent.
    fn reply(&self, kind: Kind, options: &[(u16, Vec<u8>)]) -> Message {
        let xid = self.sent.as_ref().map_or(0, |sent| sent.xid);
        let mut message = Message { kind, xid, options: Options::default() };
        message.options.push(code::CLIENT_ID, config().duid.bytes());
        message.options.push(code::SERVER_ID, server(SERVER).bytes());
        for (code, bytes) in options {
            message.options.push(*code, bytes.clone());
        }
        message
    }

    fn hear(&mut self, message: &Message) -> Result<(), Ignored> {
        self.client.receive(self.now, message)
    }

    fn answer(&mut self, kind: Kind, options: &[(u16, Vec<u8>)]) -> Result<(), Ignored> {
        self.hear(&self.reply(kind, options))
    }

    fn offer(&mut self, preference: u8) -> Result<(), Ignored> {
        self.answer(Kind::Advertise, &[gives(IP), (code::PREFERENCE, vec![preference])])
    }

    fn give(&mut self, ip: Ipv6Addr) -> Result<(), Ignored> {
        self.answer(Kind::Reply, &[gives(ip)])
    }
}

/// An action as text.
fn words(action: &Action) -> String {
    let last = |ip: Ipv6Addr| ip.segments()[7];
    match action {
        Action::Send(outgoing) => format!("{:?}", Message::decode(&outgoing.payload).unwrap().kind),
        Action::Wait(_) => "wait".to_owned(),
        Action::Probe(ip) => format!("probe {}", last(*ip)),
        Action::Bound(held, change) => format!("bound {} {change:?}", last(held.ip())),
        Action::Unconfirmed(held) => format!("unconfirmed {}", last(held.ip())),
        Action::Lost(loss) => format!("lost {loss:?}"),
    }
}
