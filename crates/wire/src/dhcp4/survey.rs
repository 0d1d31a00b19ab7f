//! Finds out the pools of DHCP servers without taking a lease. To a DISCOVER that requests an address
//! (option 50), a server offers that address if it is in its pool and free, and otherwise another address of
//! its pool (RFC 2131, 4.3.1).
//!
//! A survey asks for several addresses (samples) in parallel, each under a made-up client of its own. No more
//! than three samples wait for an answer at a time, or one beside three of an earlier survey. The reason is
//! dnsmasq: it pings for three seconds before each offer, one after the other, and all its other clients wait
//! meanwhile. A survey never sends a REQUEST, so no lease is assigned, and an offer lapses by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::options::{Kind, code};
use super::request::Outgoing;
use super::{Message, Op};
use crate::Mac;
use crate::random::Random;

/// How many samples may wait for an answer at a time.
const WINDOW: usize = 3;
/// A server that takes this long for an offer probes each address first. It is asked for no more than
/// `WINDOW` samples.
const SLOW: Duration = Duration::from_secs(1);
/// When a sample without an offer is asked for once more, in case the frame was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How long to wait for another offer after the last one.
pub const QUIET: Duration = Duration::from_secs(4);
/// The longest duration of a survey, even if offers go on to come.
const LONGEST: Duration = Duration::from_secs(30);
/// More servers than any LAN has. A host that forges more is ignored.
const MOST_SERVERS: usize = 8;
/// The vendor class, which servers show in their logs.
const VENDOR: &[u8] = b"ashore pool-check";

/// One survey for pools.
#[derive(Debug, Clone)]
pub struct Survey {
    samples: Vec<Sample>,
    began: Instant,
    /// When the first requests were sent or the last offer came.
    heard: Instant,
    servers: BTreeMap<Ipv4Addr, Offers>,
}

/// The offers of one server, by requested address.
pub type Offers = BTreeMap<Ipv4Addr, Ipv4Addr>;

/// A made-up client that requests one address.
#[derive(Debug, Clone)]
struct Sample {
    requested: Ipv4Addr,
    mac: Mac,
    xid: u32,
    /// When the address was requested, for the first and for the second time.
    asked: [Option<Instant>; 2],
    /// Whether another survey has requested it.
    inherited: bool,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this message.
    Send(Outgoing),
    /// Do nothing until this moment.
    Wait(Instant),
    /// The survey is over.
    End,
}

impl Survey {
    /// A survey that requests these addresses.
    pub fn new(wishes: &[Ipv4Addr], now: Instant, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut sample = |requested: &Ipv4Addr| {
            let (first, second, xid) = (random.number(), random.number(), random.number());
            let [[a, b, c, d], [e, f, ..]] = [first.to_be_bytes(), second.to_be_bytes()];
            let mac = Mac([a, b, c, d, e, f]).into_local_unicast();
            Sample { requested: *requested, mac, xid, asked: [None, None], inherited: false }
        };
        let samples = wishes.iter().map(&mut sample).collect();
        Survey { samples, began: now, heard: now, servers: BTreeMap::new() }
    }

    /// Returns what to do at time `now`.
    pub fn poll(&mut self, now: Instant) -> Next {
        let end = (self.heard + QUIET).min(self.began + LONGEST);
        if now >= end {
            return Next::End;
        }
        let answered: BTreeSet<Ipv4Addr> = self.answered().collect();
        let secs = now.saturating_duration_since(self.began).as_secs() as u16;
        let (mut waiting, mut own, mut next) = (0, 0, end);
        for sample in self.samples.iter_mut().filter(|sample| !answered.contains(&sample.requested)) {
            waiting += 1;
            own += usize::from(!sample.inherited);
            let due = match sample.asked {
                // Another survey may have sent its requests before any server was up. So one own request is
                // always allowed.
                [None, _] if waiting > WINDOW && own > 1 => break,
                [None, _] => now,
                [Some(first), None] => first + AGAIN,
                [Some(_), Some(_)] => continue,
            };
            if due <= now {
                let [first, again] = &mut sample.asked;
                // On a busy host the survey begins some time after it was asked for. No server knew of it until then.
                if first.is_none() && self.servers.is_empty() {
                    self.heard = now;
                }
                *(if first.is_none() { first } else { again }) = Some(now);
                return Next::Send(sample.discover(secs));
            }
            next = next.min(due);
        }
        Next::Wait(next)
    }

    /// Waits for the requests of another survey that got no answer, instead of repeating them. A server may
    /// work off its requests one after the other, so a new request would only come after those.
    pub fn inherit(&mut self, other: &Survey) {
        let answered: BTreeSet<Ipv4Addr> = other.answered().collect();
        let waits = |sample: &&Sample| sample.asked[0].is_some() && !answered.contains(&sample.requested);
        for sample in other.samples.iter().filter(waits) {
            let is_own = self.samples.iter().any(|own| own.requested == sample.requested);
            let again = sample.asked[1].filter(|_| !is_own);
            self.samples.retain(|own| own.requested != sample.requested);
            let asked = [sample.asked[0], again];
            self.samples.insert(0, Sample { inherited: !is_own, asked, ..sample.clone() });
        }
    }

    /// Sends no more requests, but still accepts offers.
    pub fn ask_no_more(&mut self) {
        self.samples.retain(|sample| sample.asked[0].is_some());
        for sample in &mut self.samples {
            sample.asked[1] = sample.asked[0];
        }
    }

    /// Waits longer, because a server is busy with another survey and answers this one after it.
    pub fn await_turn(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The addresses that were requested.
    pub fn asked(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.samples.iter().filter(|sample| sample.asked[0].is_some()).map(|sample| sample.requested)
    }

    /// Processes a message that came from the address `source`. Returns the server if the message is an offer
    /// to one of the samples.
    pub fn receive(&mut self, now: Instant, message: &Message, source: Ipv4Addr) -> Option<Ipv4Addr> {
        let of = |sample: &&Sample| sample.xid == message.xid && sample.mac == message.chaddr;
        let sample = self.samples.iter().find(of)?;
        let (requested, asked) = (sample.requested, sample.asked[0]);
        if message.op != Op::Reply
            || message.options.kind() != Some(Kind::Offer)
            || message.yiaddr.is_unspecified()
        {
            return None;
        }
        let said = message.options.get(code::SERVER_ID).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let server = said.map_or(source, Ipv4Addr::from);
        if self.servers.len() >= MOST_SERVERS && !self.servers.contains_key(&server) {
            return None;
        }
        // If a shim sits beside the parent, the same frame arrives twice.
        self.servers.entry(server).or_default().insert(requested, message.yiaddr);
        self.heard = now;
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) >= SLOW) {
            self.ask_few();
        }
        Some(server)
    }

    /// Drops the own samples beyond the first `WINDOW` that were not requested yet. The first ones tell the
    /// most.
    fn ask_few(&mut self) {
        let mut own = 0;
        self.samples.retain(|sample| {
            own += usize::from(!sample.inherited);
            sample.asked[0].is_some() || own <= WINDOW
        });
    }

    /// The servers that answered, with their offers.
    pub fn servers(&self) -> &BTreeMap<Ipv4Addr, Offers> {
        &self.servers
    }

    /// When the survey began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// When the first requests were sent or the last offer came. Until then, when the survey began.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether there is an offer for every sample.
    pub fn is_answered(&self) -> bool {
        self.answered().collect::<BTreeSet<_>>().len() == self.samples.len()
    }

    fn answered(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.servers.values().flat_map(BTreeMap::keys).copied()
    }
}

impl Sample {
    fn discover(&self, secs: u16) -> Outgoing {
        let mut message = Message::request(self.xid, self.mac);
        // No NIC has the made-up MAC, so an answer sent to it alone would be dropped.
        (message.secs, message.broadcast) = (secs, true);
        message.options.set(code::MESSAGE_TYPE, [Kind::Discover as u8]);
        message.options.set(code::REQUESTED_ADDRESS, self.requested.octets());
        message.options.set(code::VENDOR_CLASS, VENDOR);
        Outgoing { payload: message.encode(), from: Ipv4Addr::UNSPECIFIED, to: Ipv4Addr::BROADCAST }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 88, last)
    }

    /// All messages that the survey sends now.
    fn said(survey: &mut Survey, now: Instant) -> Vec<Message> {
        let mut all = Vec::new();
        while let Next::Send(outgoing) = survey.poll(now) {
            assert!(outgoing.to.is_broadcast() && outgoing.from.is_unspecified());
            all.push(Message::decode(&outgoing.payload).unwrap());
        }
        all
    }

    fn offer(to: &Message, server: Ipv4Addr, yiaddr: Ipv4Addr) -> Message {
        let mut offer = Message { op: Op::Reply, yiaddr, ..Message::request(to.xid, to.chaddr) };
        offer.options.set(code::MESSAGE_TYPE, [Kind::Offer as u8]);
        offer.options.set(code::SERVER_ID, server.octets());
        offer
    }

    #[test]
    fn each_address_is_wished_for_by_a_client_of_its_own_and_nothing_is_requested() {
        let now = Instant::now();
        let mut survey = Survey::new(&[ip(192), ip(223)], now, 7);
        let asked = said(&mut survey, now);
        let wishes: Vec<_> =
            asked.iter().map(|m| m.options.get(code::REQUESTED_ADDRESS).unwrap().to_vec()).collect();
        assert_eq!(wishes, [ip(192).octets(), ip(223).octets()]);
        assert!(asked.iter().all(|m| m.options.kind() == Some(Kind::Discover) && m.broadcast));
        assert!(asked.iter().all(|m| m.chaddr.is_local() && m.chaddr.is_station()));
        assert_ne!(asked[0].chaddr, asked[1].chaddr);
        assert_ne!(asked[0].xid, asked[1].xid);
    }

    #[test]
    fn what_got_no_offer_is_asked_for_once_more_and_then_it_ends() {
        let began = Instant::now();
        let mut survey = Survey::new(&[ip(192), ip(223)], began, 7);
        let first = said(&mut survey, began);
        assert_eq!(survey.poll(began), Next::Wait(began + AGAIN));
        survey.receive(began, &offer(&first[0], ip(1), ip(192)), ip(1));
        assert!(!survey.is_answered());
        assert_eq!(
            said(&mut survey, began + AGAIN).iter().map(|m| m.xid).collect::<Vec<_>>(),
            [first[1].xid]
        );
        let late = began + Duration::from_secs(3);
        assert_eq!(survey.poll(late), Next::Wait(began + QUIET));
        survey.receive(late, &offer(&first[1], ip(1), ip(100)), ip(1));
        assert!(survey.is_answered());
        assert_eq!(survey.poll(late), Next::Wait(late + QUIET));
        assert_eq!(survey.poll(late + QUIET), Next::End);
        assert_eq!(survey.servers()[&ip(1)], Offers::from([(ip(192), ip(192)), (ip(223), ip(100))]));
    }

    #[test]
    fn a_server_has_its_time_from_the_first_request_on() {
        let began = Instant::now();
        let late = began + Duration::from_millis(250);
        let mut survey = Survey::new(&[ip(192), ip(223)], began, 7);
        assert_eq!(survey.heard(), began);
        let asked = said(&mut survey, late);
        assert_eq!((asked.len(), survey.heard()), (2, late));
        // What is asked for once more lengthens nothing.
        assert_eq!(said(&mut survey, late + AGAIN).len(), 2);
        assert_eq!(survey.heard(), late);
        assert_eq!(survey.poll(late + AGAIN), Next::Wait(late + QUIET));
    }

    #[test]
    fn no_more_than_three_wait_for_an_answer_and_each_answer_lets_the_next_be_asked() {
        let now = Instant::now();
        let wishes: Vec<_> = (192..200).map(ip).collect();
        let mut survey = Survey::new(&wishes, now, 7);
        let mut waiting = said(&mut survey, now);
        assert_eq!(waiting.len(), WINDOW);
        survey.receive(now, &offer(&waiting.remove(0), ip(1), ip(100)), ip(1));
        waiting.extend(said(&mut survey, now));
        assert_eq!(waiting.len(), WINDOW);
        assert_eq!(survey.asked().collect::<Vec<_>>(), wishes[..4]);
        survey.ask_no_more();
        survey.receive(now, &offer(&waiting.remove(0), ip(1), ip(100)), ip(1));
        assert_eq!(said(&mut survey, now), []);
    }

    #[test]
    fn who_takes_its_time_is_asked_for_few() {
        let began = Instant::now();
        let wishes: Vec<_> = (192..200).map(ip).collect();
        let mut survey = Survey::new(&wishes, began, 7);
        let asked = said(&mut survey, began);
        let late = began + Duration::from_secs(3);
        for requested in &asked {
            said(&mut survey, late);
            survey.receive(late, &offer(requested, ip(1), ip(100)), ip(1));
        }
        assert!(survey.is_answered(), "no other sample is waited for");
        assert_eq!(survey.asked().count(), WINDOW);
    }

    #[test]
    fn what_another_look_has_asked_for_is_waited_for_and_not_asked_again() {
        let began = Instant::now();
        let mut first = Survey::new(&[ip(192), ip(223), ip(207)], began, 7);
        let asked = said(&mut first, began);
        first.receive(began, &offer(&asked[2], ip(1), ip(100)), ip(1));
        first.ask_no_more();

        let mut second = Survey::new(&[ip(192), ip(64), ip(95), ip(79), ip(71)], began, 8);
        second.inherit(&first);
        let own = said(&mut second, began);
        assert_eq!(own.len(), 1, "two samples of the first survey are waiting for an answer already");
        let late = began + Duration::from_secs(3);
        assert_eq!(second.receive(late, &offer(&asked[0], ip(1), ip(192)), ip(1)), Some(ip(1)));
        assert_eq!(second.receive(late, &offer(&asked[1], ip(1), ip(101)), ip(1)), Some(ip(1)));
        let later = said(&mut second, late);
        let own: BTreeSet<u32> = own.iter().chain(&later).map(|message| message.xid).collect();
        assert_eq!(own.len(), WINDOW - 1, "192 is one of the three samples");
        assert_eq!(second.servers()[&ip(1)], Offers::from([(ip(192), ip(192)), (ip(223), ip(101))]));
    }

    #[test]
    fn a_look_asks_for_something_however_many_questions_of_an_earlier_one_nobody_has_answered() {
        let began = Instant::now();
        let mut first = Survey::new(&[ip(192), ip(223), ip(207)], began, 7);
        assert_eq!(said(&mut first, began).len(), WINDOW);
        first.ask_no_more();
        let mut second = Survey::new(&[ip(100), ip(131), ip(115)], began, 8);
        second.inherit(&first);
        let own = said(&mut second, began);
        assert_eq!(own.len(), 1);
        second.receive(began, &offer(&own[0], ip(1), ip(100)), ip(1));
        assert_eq!(said(&mut second, began).len(), 1, "an answer allows the next request");
        // The server was off when the same addresses were requested before.
        let (later, mut third) = (began + AGAIN, Survey::new(&[ip(192), ip(223)], began, 9));
        third.inherit(&first);
        assert_eq!(said(&mut third, later).len(), 2);
    }

    #[test]
    fn it_ends_however_long_offers_go_on_to_come() {
        let mut now = Instant::now();
        let end = now + LONGEST;
        let mut survey = Survey::new(&[ip(192)], now, 7);
        let asked = said(&mut survey, now).remove(0);
        while now < end {
            assert_ne!(survey.poll(now), Next::End);
            survey.receive(now, &offer(&asked, ip(1), ip(192)), ip(1));
            now += AGAIN;
        }
        assert_eq!(survey.poll(end), Next::End);
    }

    #[test]
    fn only_offers_to_a_sample_count_and_not_from_any_number_of_servers() {
        let now = Instant::now();
        let mut survey = Survey::new(&[ip(192)], now, 7);
        let asked = said(&mut survey, now).remove(0);
        let good = offer(&asked, ip(1), ip(192));
        let mut ack = good.clone();
        ack.options.set(code::MESSAGE_TYPE, [Kind::Ack as u8]);
        for bad in [
            Message { xid: !good.xid, ..good.clone() },
            Message { chaddr: Mac([2; 6]), ..good.clone() },
            Message { op: Op::Request, ..good.clone() },
            Message { yiaddr: Ipv4Addr::UNSPECIFIED, ..good.clone() },
            ack,
        ] {
            assert_eq!(survey.receive(now, &bad, ip(1)), None, "{bad:?}");
        }
        assert_eq!(survey.receive(now, &good, ip(9)), Some(ip(1)), "the offer names its server");
        let mut unnamed = good.clone();
        unnamed.options.set(code::SERVER_ID, [1]);
        assert_eq!(survey.receive(now, &unnamed, ip(9)), Some(ip(9)), "the sender's address counts instead");
        for n in 10..200 {
            survey.receive(now, &offer(&asked, ip(n), ip(192)), ip(n));
        }
        assert_eq!(survey.servers().len(), MOST_SERVERS);
    }
}
