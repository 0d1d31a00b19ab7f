//! A client with a test server that answers it.

use std::time::Duration;

use super::*;
use crate::boottime::SOME_TIME;
use crate::dhcp::Client as _;
use crate::dhcp4::Change;
use crate::dhcp4::{ClientId, Kind, Message, Op};
use crate::{Boottime, Mac};

mod any_order;
mod messages;
mod table;
mod times;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 2);
const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 7);
const OTHER_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 8);
/// T1, T2 and the end of the leases that the test server assigns, in seconds.
const TIMES: [u32; 3] = [500, 800, 1000];

struct Bench {
    client: Client,
    now: Boottime,
    /// The message that was last sent.
    sent: Option<Message>,
    /// The time that the client waits for.
    until: Option<Boottime>,
}

fn config() -> Config {
    Config::new(MAC, ClientId::mac(MAC))
}

fn lease() -> Lease {
    let mut random = Random(1);
    Lease::read(&reply(Kind::Ack, IP, 0), SERVER, None, &mut random).unwrap()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// A message from the test server.
fn reply(kind: Kind, ip: Ipv4Addr, xid: u32) -> Message {
    let mut message = Message { op: Op::Reply, ..Message::request(xid, MAC) };
    message.options.set(code::MESSAGE_TYPE, [kind as u8]);
    message.options.set(code::SERVER_ID, SERVER.octets());
    if kind != Kind::Nak {
        message.yiaddr = ip;
        message.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
        message.options.set(code::ROUTER, SERVER.octets());
        for (code, time) in
            [code::RENEWAL_TIME, code::REBINDING_TIME, code::LEASE_TIME].into_iter().zip(TIMES)
        {
            message.options.set(code, time.to_be_bytes());
        }
    }
    message
}

impl Bench {
    fn with(client: impl FnOnce(Boottime) -> Client) -> Self {
        let now = SOME_TIME;
        Bench { client: client(now), now, sent: None, until: None }
    }

    fn start() -> Self {
        Bench::with(|now| Client::new(config(), now, 1))
    }

    /// A client that resumes a recorded lease.
    fn resumed(age: u64, in_use: bool) -> Self {
        let recorded = Recorded { lease: lease(), age: seconds(age), in_use };
        Bench::with(|now| Client::resume(config(), recorded, now, 1))
    }

    /// A client that has just accepted an offer.
    fn requesting() -> Self {
        let mut bench = Bench::start();
        bench.poll();
        bench.answer(Kind::Offer).unwrap();
        bench.poll();
        bench
    }

    fn probing() -> Self {
        let mut bench = Bench::requesting();
        bench.answer(Kind::Ack).unwrap();
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

    fn reply(&self, kind: Kind, ip: Ipv4Addr) -> Message {
        reply(kind, ip, self.sent.as_ref().map_or(0, |sent| sent.xid))
    }

    /// Receives the test server's answer to the message that was last sent.
    fn answer(&mut self, kind: Kind) -> Result<(), Ignored> {
        self.hear(&self.reply(kind, IP))
    }

    fn hear(&mut self, message: &Message) -> Result<(), Ignored> {
        self.client.receive(self.now, message, Some(SERVER))
    }
}

/// An action as text.
fn words(action: &Action) -> String {
    let last = |ip: Ipv4Addr| ip.octets()[3];
    match action {
        Action::Send(outgoing) => {
            let kind = Message::decode(&outgoing.payload).unwrap().options.kind().unwrap();
            let to = if outgoing.to == Ipv4Addr::BROADCAST { "all" } else { "its server" };
            format!("{kind:?} to {to}")
        }
        Action::Wait(_) => "wait".to_owned(),
        Action::Probe(ip) => format!("probe {}", last(*ip)),
        Action::Bound(held, change) => format!("bound {} {change:?}", last(held.ip())),
        Action::Unconfirmed(held) => format!("unconfirmed {}", last(held.ip())),
        Action::Lost(loss) => format!("lost {loss:?}"),
    }
}
