//! Surveys of the address pools of the LAN's DHCP servers. The caller waits for as long as it chooses, and
//! the survey continues afterwards: a server that pings an address before it offers it answers seconds later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ashore_core::model::survey::PoolSeen;
use ashore_core::net::name::IfName;
use ashore_core::net::range::Range;
use ashore_wire::Mac;
use ashore_wire::dhcp4::{Checksum, Datagram, Message, Next, QUIET, Survey, code};

use super::{Lan, Send, Table, Tap, Unreachable, said};
use crate::daemon::random;
use crate::unlocked::Unlocked;

/// How long to wait for offers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Maximum time since the last offer, or since the first question if there is none.
    quiet: Duration,
    /// Minimum time since the beginning, even if a server has answered for all samples, because there may be
    /// another one.
    least: Duration,
    /// Maximum time since the beginning, however many offers arrive.
    most: Duration,
}

impl Patience {
    /// Does not wait for a server that pings first. Other servers answer within milliseconds. On a LAN
    /// without a server the caller waits for the time `quiet`.
    pub(crate) const SHORT: Patience = Patience {
        quiet: Duration::from_millis(300),
        least: Duration::from_millis(200),
        most: Duration::from_secs(2),
    };
    /// Waits for the first few answers of a server that pings first, even if it still works on earlier
    /// questions.
    pub(crate) const LONG: Patience = Patience { quiet: QUIET, least: QUIET, most: Duration::from_secs(25) };
    /// The same, but stops early if a server has answered for all samples.
    pub(crate) const CERTAIN: Patience = Patience { least: Self::SHORT.least, ..Self::LONG };

    /// When to stop waiting, by the answers so far.
    fn end(self, survey: &Survey) -> Instant {
        let most = survey.began() + self.most;
        if survey.is_answered() {
            return most.min(survey.began() + self.least);
        }
        most.min(survey.heard() + self.quiet)
    }
}

/// How many servers of a LAN are kept, and how many offers of each: more than a LAN has, and little memory if
/// an attacker makes them up, or if ranges are surveyed for years.
const MOST_SERVERS: usize = 16;
const MOST_OFFERS: usize = 256;
/// How many routers of a server are kept.
const MOST_ROUTERS: usize = 4;

/// All surveys and their results.
#[derive(Default)]
pub(super) struct Surveys {
    next: u64,
    open: BTreeMap<u64, Surveying>,
    /// The servers on each parent's LAN with their offers, as found by the last surveys.
    seen: BTreeMap<IfName, BTreeMap<Ipv4Addr, Server>>,
}

struct Surveying {
    parent: IfName,
    range: Range,
    survey: Survey,
    /// Whether the caller still waits.
    attended: bool,
    /// Whether to log what is heard from now on, because no caller reports it.
    warns: bool,
}

struct Server {
    heard: Instant,
    pool: PoolSeen,
    /// The routers that its last offer names.
    routers: Vec<Ipv4Addr>,
}

impl Lan {
    /// Asks the DHCP servers for addresses of a range.
    pub(crate) fn survey(&self, parent: &IfName, range: &Range, samples: &[Ipv4Addr]) -> Asked<'_> {
        let mut table = self.table();
        // The cause of an earlier failure may be gone.
        table.unreachable.remove(parent);
        let id = table.surveys.begin(parent, *range, samples);
        drop(table);
        self.shared.waker.wake();
        Asked { lan: self, id }
    }

    /// The DHCP servers that were seen on a parent's LAN.
    pub(crate) fn dhcp_servers(&self, parent: &IfName) -> Vec<PoolSeen> {
        let table = self.table();
        let seen = table.surveys.seen.get(parent).into_iter().flat_map(BTreeMap::values);
        seen.map(|server| server.pool.clone()).collect()
    }

    /// The routers that these servers name.
    pub(crate) fn named_routers(&self, parent: &IfName) -> BTreeSet<Ipv4Addr> {
        let table = self.table();
        let seen = table.surveys.seen.get(parent).into_iter().flat_map(BTreeMap::values);
        seen.flat_map(|server| &server.routers).copied().collect()
    }
}

/// A survey that a caller waits for, or will wait for.
pub(crate) struct Asked<'a> {
    lan: &'a Lan,
    id: u64,
}

impl Asked<'_> {
    /// Waits, and returns the addresses that were asked for and those that were offered. Fails if nothing can
    /// be sent through the parent.
    pub(crate) fn answers(
        self,
        unlocked: &Unlocked,
        patience: Patience,
    ) -> Result<(Vec<Ipv4Addr>, Vec<PoolSeen>), Unreachable> {
        self.answers_until(unlocked, patience, |_| false)
    }

    /// Does the same, but stops as soon as `is_enough` holds for the offers so far.
    pub(crate) fn answers_until(
        self,
        _: &Unlocked,
        patience: Patience,
        is_enough: impl Fn(&[PoolSeen]) -> bool,
    ) -> Result<(Vec<Ipv4Addr>, Vec<PoolSeen>), Unreachable> {
        let mut table = self.lan.table();
        loop {
            let Table { surveys, unreachable, .. } = &mut *table;
            let Some(there) = surveys.open.get_mut(&self.id) else { return Ok((Vec::new(), Vec::new())) };
            if let Some((unreachable, _)) = unreachable.get(&there.parent) {
                return Err(unreachable.clone());
            }
            let left = patience.end(&there.survey).saturating_duration_since(Instant::now());
            if left.is_zero() || is_enough(&there.pools()) {
                // The answers of a server that pings first arrive later than this.
                there.warns = patience.quiet < QUIET;
                let range = there.range;
                let asked = there.survey.asked().filter(|ip| range.contains((*ip).into()));
                return Ok((asked.collect(), there.pools()));
            }
            let waited = self.lan.shared.ended.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Asked<'_> {
    /// Asks no more. The answers to what was asked are still read.
    fn drop(&mut self) {
        if let Some(there) = self.lan.table().surveys.open.get_mut(&self.id) {
            there.attended = false;
            there.survey.ask_no_more();
        }
        self.lan.shared.waker.wake();
    }
}

impl Surveys {
    fn begin(&mut self, parent: &IfName, range: Range, samples: &[Ipv4Addr]) -> u64 {
        // Addresses of the range that were offered before may have been removed from the pool.
        for server in self.seen.get_mut(parent).into_iter().flat_map(BTreeMap::values_mut) {
            server.pool.offers.retain(|_, offered| !range.contains((*offered).into()));
        }
        let mut survey = Survey::new(samples, Instant::now(), random());
        // The new survey also takes the answers for surveys that no caller waits for any more.
        self.open.retain(|_, there| {
            let goes_on = there.attended || there.parent != *parent;
            if !goes_on {
                survey.inherit(&there.survey);
            }
            goes_on
        });
        self.next += 1;
        self.open.insert(
            self.next,
            Surveying { parent: parent.clone(), range, survey, attended: true, warns: false },
        );
        self.next
    }

    /// The parents on which offers arrive.
    pub(super) fn parents(&self) -> impl Iterator<Item = &IfName> {
        self.open.values().map(|there| &there.parent)
    }

    /// Forgets the parents that are not listened on any more.
    pub(super) fn follow(&mut self, parents: &BTreeMap<IfName, Tap>) {
        self.seen.retain(|parent, _| parents.contains_key(parent));
        self.open.retain(|_, there| there.attended || parents.contains_key(&there.parent));
    }

    /// Sends what is due. Returns the time of the next action, and whether sending failed.
    pub(super) fn turn(
        &mut self,
        parents: &BTreeMap<IfName, Tap>,
        send: &Send,
        unreachable: &mut BTreeMap<IfName, (Unreachable, Instant)>,
    ) -> (Option<Instant>, bool) {
        let now = Instant::now();
        let (mut next, mut failed): (Option<Instant>, bool) = (None, false);
        let seen = &mut self.seen;
        self.open.retain(|_, there| {
            loop {
                match there.survey.poll(now) {
                    Next::Send(outgoing) => {
                        // Sent from the parent's own MAC, because an access point lets no other through.
                        // Offers are broadcast. The message, not the frame, names the client, which does not
                        // exist.
                        let Some(tap) = parents.get(&there.parent) else { return there.attended };
                        let frame = outgoing.frame(tap.mac, Mac::BROADCAST);
                        if !said(unreachable, &there.parent, send(&there.parent, &frame)) {
                            failed = true;
                            return there.attended;
                        }
                    }
                    Next::Wait(until) => {
                        next = next.into_iter().chain([until]).min();
                        return true;
                    }
                    Next::End => {
                        // A server that did not answer this survey is gone.
                        if let Some(servers) = seen.get_mut(&there.parent) {
                            servers.retain(|_, server| server.heard >= there.survey.began());
                        }
                        return there.attended;
                    }
                }
            }
        });
        (next, failed)
    }

    /// Handles a frame that a parent received. Returns whether a waiting caller has something new to look at.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) -> bool {
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return false };
        let Some(message) = Message::decode(datagram.payload) else { return false };
        let now = Instant::now();
        let mut by_parent: Vec<&mut Surveying> =
            self.open.values_mut().filter(|there| there.parent == *parent).collect();
        let mut answered = None;
        for (at, there) in by_parent.iter_mut().enumerate() {
            answered = answered.or_else(|| Some((at, there.survey.receive(now, &message, datagram.source)?)));
        }
        let Some((at, id)) = answered else { return false };
        // A server that answers one question after another has not reached the others yet.
        for there in &mut by_parent {
            there.survey.await_turn(now);
        }
        let there = &mut *by_parent[at];
        let servers = self.seen.entry(parent.clone()).or_default();
        let new = || Server {
            heard: now,
            pool: PoolSeen { server: id, offers: BTreeMap::new() },
            routers: Vec::new(),
        };
        let server = servers.entry(id).or_insert_with(new);
        server.heard = now;
        server.routers = message.options.addresses(code::ROUTER);
        server.routers.truncate(MOST_ROUTERS);
        server.pool.offers.extend(there.survey.servers().get(&id).into_iter().flatten());
        let range = there.range;
        while server.pool.offers.len() > MOST_OFFERS
            && let Some(other) = server.pool.offers.keys().find(|ip| !range.contains((**ip).into())).copied()
        {
            server.pool.offers.remove(&other);
        }
        if servers.len() > MOST_SERVERS
            && let Some(oldest) = servers.iter().min_by_key(|(_, server)| server.heard).map(|(id, _)| *id)
        {
            servers.remove(&oldest);
        }
        if there.warns && there.range.contains(message.yiaddr.into()) {
            there.warns = false;
            tracing::warn!(
                %parent, server = %id, ip = %message.yiaddr, range = %there.range,
                "a DHCP server offers an address of this range"
            );
        }
        true
    }
}

impl Surveying {
    fn pools(&self) -> Vec<PoolSeen> {
        let of = |(server, offers): (&Ipv4Addr, &BTreeMap<_, _>)| PoolSeen {
            server: *server,
            offers: offers.clone(),
        };
        self.survey.servers().iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ashore_wire::dhcp4::{CLIENT_PORT, Kind, Op};

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn eth0() -> IfName {
        "eth0".parse().expect("a name")
    }

    fn parents() -> BTreeMap<IfName, Tap> {
        BTreeMap::from([(eth0(), Tap { parent: 2, mac: MAC, shim: None, own: MAC })])
    }

    fn ip(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(10 << 24 | n)
    }

    /// The frame in which a server offers the address that a survey's frame requests.
    fn offer(question: &[u8], server: Ipv4Addr) -> Vec<u8> {
        /// The length of the headers of Ethernet, IPv4 and UDP.
        const HEADERS: usize = 14 + 20 + 8;
        /// Where the UDP header has the receiver's port.
        const PORT: usize = 14 + 20 + 2;
        let asked = Message::decode(&question[HEADERS..]).expect("a message");
        let requested = asked.options.address(code::REQUESTED_ADDRESS).expect("four bytes");
        let yiaddr = requested.expect("it requests an address");
        let mut offer = Message { op: Op::Reply, yiaddr, ..Message::request(asked.xid, asked.chaddr) };
        offer.options.set(code::MESSAGE_TYPE, [Kind::Offer as u8]);
        offer.options.set(code::SERVER_ID, server.octets());
        let (source, destination) = (server, Ipv4Addr::BROADCAST);
        let payload = &offer.encode();
        let datagram =
            Datagram { source_mac: MAC, destination_mac: Mac::BROADCAST, source, destination, payload };
        let mut frame = datagram.to_server();
        frame[PORT..PORT + 2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        frame
    }

    /// Surveys a single address, which these servers offer one after the other.
    fn survey(surveys: &mut Surveys, requested: Ipv4Addr, servers: &[Ipv4Addr]) {
        surveys.open.clear();
        let range = Range::between(requested.into(), requested.into()).expect("a range");
        surveys.begin(&eth0(), range, &[requested]);
        let questions = RefCell::new(Vec::new());
        let send = |_: &IfName, frame: &[u8]| {
            questions.borrow_mut().push(frame.to_vec());
            Ok(())
        };
        surveys.turn(&parents(), &send, &mut BTreeMap::new());
        let questions = questions.into_inner();
        assert_eq!(questions.len(), 1);
        for server in servers {
            assert!(surveys.hear(&eth0(), &offer(&questions[0], *server)), "{server}");
        }
    }

    #[test]
    fn of_servers_that_somebody_makes_up_the_last_ones_are_kept() {
        let mut surveys = Surveys::default();
        let servers: Vec<Ipv4Addr> = (0..=MOST_SERVERS as u32).map(ip).collect();
        // No survey hears as many.
        for some in servers.chunks(4) {
            survey(&mut surveys, ip(1000), some);
        }
        let kept: Vec<Ipv4Addr> = surveys.seen[&eth0()].keys().copied().collect();
        assert_eq!(kept, servers[1..]);
    }

    #[test]
    fn of_a_servers_offers_those_of_the_last_surveys_are_kept() {
        let (mut surveys, server) = (Surveys::default(), ip(0));
        let requested: Vec<Ipv4Addr> = (1000..=1000 + MOST_OFFERS as u32).map(ip).collect();
        for requested in &requested {
            survey(&mut surveys, *requested, &[server]);
        }
        let kept: Vec<Ipv4Addr> = surveys.seen[&eth0()][&server].pool.offers.keys().copied().collect();
        assert_eq!(kept, requested[1..]);
    }

    #[test]
    fn what_was_seen_on_a_parent_is_forgotten_with_it() {
        let mut surveys = Surveys::default();
        survey(&mut surveys, ip(1000), &[ip(0)]);
        let counts = |surveys: &Surveys| (surveys.seen.len(), surveys.open.len());
        surveys.follow(&BTreeMap::new());
        assert_eq!(counts(&surveys), (0, 1), "somebody waits for the answers");
        survey(&mut surveys, ip(1000), &[ip(0)]);
        surveys.open.values_mut().for_each(|there| there.attended = false);
        surveys.follow(&parents());
        assert_eq!(counts(&surveys), (1, 1));
        surveys.follow(&BTreeMap::new());
        assert_eq!(counts(&surveys), (0, 0));
    }
}
