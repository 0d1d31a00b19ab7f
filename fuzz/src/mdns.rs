//! A responder of multicast DNS, and whatever comes at whatever time.

use std::net::SocketAddr;
use std::time::Duration;

use ashore_wire::Boottime;
use ashore_wire::mdns::{Action, Channel, Datagram, Message, Responder, Service, Wanted};

/// When the responder starts.
const START: Boottime = Boottime::after_boot(Duration::from_secs(1_000_000));
const LABELS: [&str; 4] = ["web", "db", "web-2", "nas"];
const SERVICES: [&str; 4] = ["", "_http._tcp:80,path=/", "_http._tcp:80 _http._tcp:8080", "_ssh._tcp:22"];
/// More actions than these between two waits are a storm.
const STORM: usize = 400;

/// A schedule: each event is a byte that says which, and what belongs to it.
struct Schedule<'a>(&'a [u8]);

impl<'a> Schedule<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Messages from the LAN, and what the user does meanwhile. What the responder sends reads, it never sends without end,
/// and each name has a label of its own.
pub fn mdns(bytes: &[u8]) {
    let channels = Channel::ALL.into_iter().collect();
    let (mut responder, mut now, mut due) = (Responder::new(channels, 7), START, None);
    let mut schedule = Schedule(bytes);
    while let Some(event) = schedule.byte() {
        if happen(event, &mut responder, &mut schedule, &mut now, due).is_none() {
            break;
        }
        due = poll(&mut responder, now);
        let mut labels: Vec<String> =
            responder.names().map(|listed| listed.label.as_str().to_ascii_lowercase()).collect();
        labels.sort();
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    }
    responder.stop(now);
    assert_eq!(poll(&mut responder, now), None);
}

fn happen(
    event: u8,
    responder: &mut Responder,
    schedule: &mut Schedule<'_>,
    now: &mut Boottime,
    due: Option<Boottime>,
) -> Option<()> {
    match event % 10 {
        0 => *now += Duration::from_millis(schedule.number()?.into()),
        1 => *now = due.unwrap_or(*now),
        2 => {
            let what = schedule.byte()?;
            let part = |shift: u8| usize::from(what >> shift & 3);
            let services = SERVICES[part(2)].split_whitespace().map(str::parse::<Service>);
            let addresses = [vec![], vec!["192.168.88.7"], vec!["192.168.88.8", "fd88::8"], vec!["fd88::7"]];
            let wanted = Wanted {
                label: LABELS[part(0)].parse().expect("a label"),
                last: None,
                addresses: addresses[part(4)].iter().map(|ip| ip.parse().expect("an address")).collect(),
                also: Vec::new(),
                services: services.map(|service| service.expect("a service")).collect(),
            };
            responder.publish(&part(6).to_string(), wanted, *now);
        }
        3 => responder.remove(&(schedule.byte()? & 3).to_string(), *now),
        4 => responder.forbid(LABELS.get(usize::from(schedule.byte()? & 7)).copied(), *now),
        5 => responder.link_up(*now),
        9 => {
            let number = usize::from(schedule.byte()? % 4);
            responder.set_channels(Channel::ALL.into_iter().take(number).collect(), *now);
        }
        _ => {
            let (how, length) = (schedule.byte()?, schedule.number()?);
            let from = ["192.168.88.20:5353", "192.168.88.21:40000", "[fe80::9]:5353", "203.0.113.9:5353"];
            let from: SocketAddr = from[usize::from(how & 3)].parse().expect("an address with a port");
            let payload = schedule.bytes(length.into());
            let prefixes = ["192.168.88.0/24".parse().expect("a prefix")];
            let channel = Channel::ALL[usize::from(how >> 3 & 1)];
            let datagram = Datagram { channel, from, to_group: how & 4 == 0, prefixes: &prefixes, payload };
            responder.receive(&datagram, *now);
        }
    }
    Some(())
}

/// Polls until there is nothing to do. Returns when there is again.
fn poll(responder: &mut Responder, now: Boottime) -> Option<Boottime> {
    for _ in 0..STORM {
        match responder.poll(now) {
            Action::Send(packet) => {
                assert!(packet.payload.len() <= 1440 && !packet.channels.is_empty());
                assert!(Message::read(&packet.payload).is_some());
            }
            Action::Renamed { from, to, .. } => assert_ne!(from, to),
            Action::Wait(until) => {
                assert!(until.is_none_or(|until| until > now));
                return until;
            }
        }
    }
    panic!("the responder does not come to an end")
}
