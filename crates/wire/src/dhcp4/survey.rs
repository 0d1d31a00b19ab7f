//! What DHCP servers tell of their pools without giving anything: to a DISCOVER that wishes for an address (option 50) a server
//! offers that address if it lies in its pool and is free, and another one of its pool if not (RFC 2131, 4.3.1).
//!
//! Samples are asked for side by side, each for a client of its own that there is not, and never more than three without an
//! answer, or one beside three of an earlier look: dnsmasq pings for three seconds before each offer, one after the other, and all others who ask it wait meanwhile.
//! Nothing is ever requested, so nothing is given: an offer lapses by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::options::{Kind, code};
use super::request::Outgoing;
use super::{Message, Op};
use crate::Mac;
use crate::random::Random;

/// How many samples may wait for an answer.
const WINDOW: usize = 3;
/// Who takes so long for an offer looks into each address first: then it is asked for no more samples than these.
const SLOW: Duration = Duration::from_secs(1);
/// When what has got no offer is asked for once more, in case the frame was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// An offer may come so long after the last one.
pub const QUIET: Duration = Duration::from_secs(4);
/// However long offers go on to come.
const LONGEST: Duration = Duration::from_secs(30);
/// More servers than any LAN has: whoever makes up more is not listened to.
const MOST_SERVERS: usize = 8;
/// What a server's log shows of the client.
const VENDOR: &[u8] = b"ashore pool-check";

/// One look for pools.
#[derive(Debug, Clone)]
pub struct Survey {
    samples: Vec<Sample>,
    began: Instant,
    /// When it began, or the last offer came.
    heard: Instant,
    servers: BTreeMap<Ipv4Addr, Offers>,
}

/// What a server has offered, by what was asked for.
pub type Offers = BTreeMap<Ipv4Addr, Ipv4Addr>;

/// A client that there is not.
#[derive(Debug, Clone)]
struct Sample {
    requested: Ipv4Addr,
    mac: Mac,
    xid: u32,
    /// When it was asked for, for the first time and once more.
    asked: [Option<Instant>; 2],
    /// Whether another look has asked for it.
    inherited: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this.
    Send(Outgoing),
    /// Nothing until then.
    Wait(Instant),
    /// Nothing any more.
    End,
}

impl Survey {
    /// A look that asks for these addresses.
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

    /// What is to be done now.
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
                // What another look has asked for may have been asked before there was anybody to answer.
                [None, _] if waiting > WINDOW && own > 1 => break,
                [None, _] => now,
                [Some(first), None] => first + AGAIN,
                [Some(_), Some(_)] => continue,
            };
            if due <= now {
                let [first, again] = &mut sample.asked;
                *(if first.is_none() { first } else { again }) = Some(now);
                return Next::Send(sample.discover(secs));
            }
            next = next.min(due);
        }
        Next::Wait(next)
    }

    /// Waits for what another look has asked for and got no answer to, instead of asking again: a server may work off one question
    /// after another, and what is asked now comes after those.
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

    /// Asks for nothing more, and goes on to hear.
    pub fn ask_no_more(&mut self) {
        self.samples.retain(|sample| sample.asked[0].is_some());
        for sample in &mut self.samples {
            sample.asked[1] = sample.asked[0];
        }
    }

    /// A server is busy with another look, and this one's turn comes after it.
    pub fn await_turn(&mut self, now: Instant) {
        self.heard = now;
    }

    /// What was asked for.
    pub fn asked(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.samples.iter().filter(|sample| sample.asked[0].is_some()).map(|sample| sample.requested)
    }

    /// Takes in a message that has come from an address. Answers the server, if it is an offer to one of the samples.
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
        // By a shim beside the parent the same frame comes twice.
        self.servers.entry(server).or_default().insert(requested, message.yiaddr);
        self.heard = now;
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) >= SLOW) {
            self.ask_few();
        }
        Some(server)
    }

    /// Of what was not asked for yet only the first, which are the most telling, are asked for.
    fn ask_few(&mut self) {
        let mut own = 0;
        self.samples.retain(|sample| {
            own += usize::from(!sample.inherited);
            sample.asked[0].is_some() || own <= WINDOW
        });
    }

    /// The servers that answered, and what they offered.
    pub fn servers(&self) -> &BTreeMap<Ipv4Addr, Offers> {
        &self.servers
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// When it began, or the last offer came.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether some server has answered for every sample.
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
        // Nobody has that MAC, and no NIC lets through what is for it alone.
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

    /// All that it has to say now.
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
        assert!(survey.is_answered(), "nothing else is waited for");
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
        assert_eq!(own.len(), 1, "two wait for an answer already");
        let late = began + Duration::from_secs(3);
        assert_eq!(second.receive(late, &offer(&asked[0], ip(1), ip(192)), ip(1)), Some(ip(1)));
        assert_eq!(second.receive(late, &offer(&asked[1], ip(1), ip(101)), ip(1)), Some(ip(1)));
        let later = said(&mut second, late);
        let own: BTreeSet<u32> = own.iter().chain(&later).map(|message| message.xid).collect();
        assert_eq!(own.len(), WINDOW - 1, "192 is one of the three");
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
        assert_eq!(said(&mut second, began).len(), 1, "an answer lets the next be asked");
        // The server was off when the same was asked for before.
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
        assert_eq!(survey.receive(now, &good, ip(9)), Some(ip(1)), "it says who it is");
        let mut unnamed = good.clone();
        unnamed.options.set(code::SERVER_ID, [1]);
        assert_eq!(survey.receive(now, &unnamed, ip(9)), Some(ip(9)), "or is known by its address");
        for n in 10..200 {
            survey.receive(now, &offer(&asked, ip(n), ip(192)), ip(n));
        }
        assert_eq!(survey.servers().len(), MOST_SERVERS);
    }
}
