//! Whether the LAN's routers answer the containers.
//!
//! A container whose router does not answer it is on the LAN and still cannot leave it. So each endpoint's
//! router is asked from the endpoint's own MAC once the endpoint is there, and the router of those that got no
//! answer is asked from the parent's MAC too. If it answers the parent alone, something on the way drops frames
//! of other MACs: a hypervisor, a switch with port security, or an access point. If it answers neither, it is
//! off, or not the LAN's router.
//!
//! One frame that is lost says nothing, so a router is asked several times before it counts as silent, and
//! again for as long as it is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ashore_core::checks::Unanswered;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::kind::{IpvlanMode, LinkKind};
use ashore_core::net::name::{EndpointKey, IfName, NetworkName};
use ashore_core::net::observed::View;
use ashore_wire::Mac;
use ashore_wire::arp::{Arp, Operation};

use super::own::{Differs, mac_on_lan};
use super::{Lan, Send, Table, Tap};
use crate::unlocked::Unlocked;

/// When a router is asked, counted from the first time. An engine moves a link into its container a moment after
/// it was made.
const ROUND: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1200),
    Duration::from_millis(2000),
];
/// How long the last answer of a round is waited for.
const LAST: Duration = Duration::from_millis(600);
/// How long until a silent router is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// How long until a question that could not be sent is sent.
const UNSENT: Duration = Duration::from_secs(1);
/// How many frames are sent in one turn. Hundreds of containers may start together.
const MOST_AT_ONCE: usize = 16;
/// The pause after so many.
const PAUSE: Duration = Duration::from_millis(50);

/// A router, by the parent through which it is asked, and the MAC that asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    parent: IfName,
    router: Ipv4Addr,
    from: Mac,
}

/// Whether a router has answered a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is not known yet.
    Awaited,
    /// It has, at this time.
    Given(Instant),
    /// It has not, in a whole round of questions that ended at this time.
    Silent(Instant),
}

/// What is known of a router's answers to one MAC.
#[derive(Debug, Clone)]
struct Asked {
    /// The address to ask from. It is unspecified if the MAC has none that may be told.
    ip: Ipv4Addr,
    answer: Answer,
    /// When the present round began, and how many questions of it were sent.
    began: Instant,
    sent: usize,
    /// The next time to do something.
    due: Option<Instant>,
    /// How many endpoints and requests want to know it.
    users: usize,
}

/// Who asks its router.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asker {
    question: Question,
    ip: Ipv4Addr,
    /// The parent's own question to the same router.
    of_parent: Question,
    host: Ipv4Addr,
}

/// All routers that are asked.
#[derive(Default)]
pub(super) struct Gateways {
    /// The endpoints that have a router to ask.
    askers: BTreeMap<EndpointKey, Asker>,
    asked: BTreeMap<Question, Asked>,
    /// The questions of which something is due. Of most endpoints nothing is.
    due: BTreeSet<Question>,
    /// The parents' questions that are asked because an endpoint got no answer.
    beside: BTreeSet<Question>,
}

impl Asked {
    fn new(ip: Ipv4Addr, now: Instant) -> Self {
        Asked { ip, answer: Answer::Awaited, began: now, sent: 0, due: Some(now), users: 0 }
    }

    /// Begins another round. What is known stays so until it ends.
    fn begin(&mut self, now: Instant) {
        (self.began, self.sent, self.due) = (now, 0, Some(now));
    }

    fn is_silent(&self) -> bool {
        matches!(self.answer, Answer::Silent(_))
    }

    /// Does what is due. Returns whether the router has become silent.
    fn turn(&mut self, question: &Question, now: Instant, send: &Send) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        if self.sent == ROUND.len() {
            let news = !self.is_silent();
            self.answer = Answer::Silent(now);
            self.began = now + AGAIN;
            (self.sent, self.due) = (0, Some(self.began));
            return news;
        }
        let target_mac = Mac::ZERO;
        let (sender_mac, sender_ip, target_ip) = (question.from, self.ip, question.router);
        let request = Arp { operation: Operation::Request, sender_mac, sender_ip, target_mac, target_ip };
        match send(&question.parent, &request.broadcast_frame()) {
            Ok(()) => {
                self.sent += 1;
                let next = ROUND.get(self.sent).map_or(*ROUND.last().unwrap_or(&LAST) + LAST, |at| *at);
                self.due = Some(self.began + next);
            }
            // What was not asked is not answered.
            Err(_) => self.begin(now + UNSENT),
        }
        false
    }
}

impl Gateways {
    /// Takes over which endpoints have a router to ask.
    pub(super) fn follow_all(&mut self, state: &State, host: &View, now: Instant) {
        let asking = asking(state, host);
        let has = |endpoint: &Endpoint| Some((endpoint.key(), asker(state, endpoint, host, &asking)?));
        let has: BTreeMap<EndpointKey, Asker> = state.endpoints.values().filter_map(has).collect();
        let gone = self.askers.iter().filter(|(key, asker)| has.get(key) != Some(asker));
        let gone: Vec<EndpointKey> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.leaves(key));
        has.into_iter().for_each(|(key, asker)| self.comes(key, asker, now));
    }

    /// Takes over endpoints that have changed. Networks and host are as they were.
    pub(super) fn follow_some(&mut self, changed: &[Differs<'_>], state: &State, host: &View, now: Instant) {
        let asking = asking(state, host);
        for (had, has) in changed {
            let has = has.and_then(|has| Some((has.key(), asker(state, has, host, &asking)?)));
            if let Some(had) = had.map(Endpoint::key)
                && has.as_ref().is_none_or(|(_, asker)| self.askers.get(&had) != Some(asker))
            {
                self.leaves(&had);
            }
            if let Some((key, asker)) = has {
                self.comes(key, asker, now);
            }
        }
    }

    fn comes(&mut self, key: EndpointKey, asker: Asker, now: Instant) {
        if self.askers.contains_key(&key) {
            return;
        }
        let question = asker.question.clone();
        self.asked.entry(question.clone()).or_insert_with(|| Asked::new(asker.ip, now)).users += 1;
        self.due.insert(question);
        self.askers.insert(key, asker);
    }

    fn leaves(&mut self, key: &EndpointKey) {
        if let Some(asker) = self.askers.remove(key) {
            self.drops(&asker.question);
        }
    }

    /// One of those who want a question asked does not want it any more.
    fn drops(&mut self, question: &Question) {
        let Some(asked) = self.asked.get_mut(question) else { return };
        asked.users = asked.users.saturating_sub(1);
        if asked.users == 0 {
            self.asked.remove(question);
            self.due.remove(question);
        }
    }

    /// Begins anew on a parent, because what was sent before was lost.
    pub(super) fn ask_again(&mut self, parent: &IfName, now: Instant) {
        for (question, asked) in self.asked.iter_mut().filter(|(question, _)| question.parent == *parent) {
            if !matches!(asked.answer, Answer::Given(_)) {
                asked.answer = Answer::Awaited;
                asked.begin(now);
                self.due.insert(question.clone());
            }
        }
    }

    /// Forgets the answer to a question, and asks it now.
    fn ask_anew(&mut self, question: &Question, now: Instant) {
        if let Some(asked) = self.asked.get_mut(question) {
            asked.answer = Answer::Awaited;
            asked.begin(now);
            self.due.insert(question.clone());
        }
    }

    /// The MACs that ask through a parent, whose answers the parent has to accept.
    pub(super) fn macs_on(&self, parent: &IfName) -> impl Iterator<Item = Mac> {
        self.due.iter().filter(move |question| question.parent == *parent).map(|question| question.from)
    }

    /// Sends what is due. Returns the time of the next action, and whether something is known that was not.
    pub(super) fn turn(
        &mut self,
        parents: &BTreeMap<IfName, Tap>,
        now: Instant,
        send: &Send,
    ) -> (Option<Instant>, bool) {
        let (mut next, mut ended, mut left): (Option<Instant>, bool, usize) = (None, false, MOST_AT_ONCE);
        // Through a parent that is down nothing can be asked. It is asked once the parent is back.
        let due = self.due.iter().filter(|question| parents.contains_key(&question.parent));
        for question in due {
            let Some(asked) = self.asked.get_mut(question) else { continue };
            let is_due = asked.due.is_some_and(|due| due <= now);
            if is_due && left == 0 {
                next = next.into_iter().chain([now + PAUSE]).min();
                continue;
            }
            left -= usize::from(is_due);
            if asked.turn(question, now, send) {
                ended = true;
                let Question { parent, router, from } = question;
                tracing::warn!(%parent, %router, %from, "the router does not answer");
            }
            next = next.into_iter().chain(asked.due).min();
        }
        if ended || !self.beside.is_empty() {
            next = next.into_iter().chain(self.ask_beside(now)).min();
        }
        (next, ended)
    }

    /// Asks from the parent what endpoints got no answer to. Returns when that is to be sent.
    fn ask_beside(&mut self, now: Instant) -> Option<Instant> {
        let silent = |asker: &&Asker| self.asked.get(&asker.question).is_some_and(Asked::is_silent);
        let wanted = self.askers.values().filter(silent).filter(|asker| asker.question != asker.of_parent);
        let wanted: BTreeMap<Question, Ipv4Addr> =
            wanted.map(|asker| (asker.of_parent.clone(), asker.host)).collect();
        let before = std::mem::replace(&mut self.beside, wanted.keys().cloned().collect());
        for question in before.iter().filter(|question| !wanted.contains_key(question)) {
            self.drops(question);
        }
        let mut next = None;
        for (question, ip) in wanted {
            let asked = self.asked.entry(question.clone()).or_insert_with(|| Asked::new(ip, now));
            asked.users += usize::from(!before.contains(&question));
            let is_old = |at: Instant| now.saturating_duration_since(at) >= AGAIN;
            if matches!(asked.answer, Answer::Given(at) if asked.due.is_none() && is_old(at)) {
                asked.begin(now);
            }
            next = next.into_iter().chain(asked.due).min();
            self.due.insert(question);
        }
        next
    }

    /// Handles a frame that a parent received. Returns whether it is an answer that was awaited.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8], now: Instant) -> bool {
        if self.due.is_empty() {
            return false;
        }
        let Some(arp) = Arp::parse(frame).filter(|arp| arp.operation == Operation::Reply) else {
            return false;
        };
        let question = Question { parent: parent.clone(), router: arp.sender_ip, from: arp.target_mac };
        let Some(asked) = self.asked.get_mut(&question) else { return false };
        let was_silent = asked.is_silent();
        (asked.answer, asked.due, asked.sent) = (Answer::Given(now), None, 0);
        self.due.remove(&question);
        if was_silent {
            tracing::info!(%parent, router = %arp.sender_ip, from = %arp.target_mac, "the router answers");
            // It may have been off, so the others are asked now.
            let same = |other: &Question| (&other.parent, other.router) == (parent, arp.sender_ip);
            for (_, other) in self.asked.iter_mut().filter(|(other, there)| same(other) && there.is_silent())
            {
                other.begin(now);
            }
        }
        true
    }

    fn answers_parent(&self, asker: &Asker) -> Option<bool> {
        if asker.question == asker.of_parent {
            return None;
        }
        match self.asked.get(&asker.of_parent)?.answer {
            Answer::Awaited => None,
            Answer::Given(_) => Some(true),
            Answer::Silent(_) => Some(false),
        }
    }

    /// The endpoints that a router does not answer.
    fn unanswered(&self) -> Vec<Unanswered> {
        let silent = |asker: &Asker| self.asked.get(&asker.question).is_some_and(Asked::is_silent);
        let silent = self.askers.iter().filter(|(_, asker)| silent(asker));
        let told = silent.filter(|(_, asker)| {
            // Until it is known which of both it is, nothing is said.
            asker.question == asker.of_parent || self.answers_parent(asker).is_some()
        });
        told.map(|(endpoint, asker)| Unanswered {
            endpoint: endpoint.clone(),
            router: asker.question.router,
            answers_parent: self.answers_parent(asker),
        })
        .collect()
    }
}

impl Table {
    /// Whether a router answers, for all questions that are waited for.
    fn is_awaited(&self, questions: &[Question]) -> bool {
        let is_open = |question: &Question| {
            let asked = self.gateways.asked.get(question);
            asked.is_some_and(|asked| asked.answer == Answer::Awaited)
                && self.parents.contains_key(&question.parent)
        };
        questions.iter().any(is_open)
    }
}

impl Lan {
    /// The endpoints that their router does not answer.
    pub(crate) fn unanswered(&self) -> Vec<Unanswered> {
        self.table().gateways.unanswered()
    }

    /// Asks the routers of all endpoints again, and waits for what they answer.
    pub(crate) fn ask_routers(&self, _: &Unlocked) {
        let now = Instant::now();
        let mut table = self.table();
        let questions: BTreeSet<Question> =
            table.gateways.askers.values().map(|asker| asker.question.clone()).collect();
        let questions: Vec<Question> = questions.into_iter().collect();
        for question in &questions {
            table.gateways.ask_anew(question, now);
        }
        let mut table = self.await_answers(table, &questions);
        // Those of the parents follow, once an endpoint got no answer.
        let beside: Vec<Question> = table.gateways.beside.iter().cloned().collect();
        for question in &beside {
            table.gateways.ask_anew(question, now);
        }
        drop(self.await_answers(table, &beside));
    }

    /// Asks a router from the parent's MAC, and returns whether it answers. `None` if it cannot be asked.
    pub(crate) fn does_router_answer(
        &self,
        _: &Unlocked,
        parent: &IfName,
        router: Ipv4Addr,
        host: &View,
    ) -> Option<bool> {
        let question = Question { parent: parent.clone(), router, from: host.link(parent)?.mac? };
        let (ip, now) = (host_address(host, parent, router), Instant::now());
        let mut table = self.table();
        table.gateways.asked.entry(question.clone()).or_insert_with(|| Asked::new(ip, now)).users += 1;
        table.gateways.ask_anew(&question, now);
        let mut table = self.await_answers(table, std::slice::from_ref(&question));
        let answer = table.gateways.asked.get(&question).map(|asked| asked.answer);
        table.gateways.drops(&question);
        match answer? {
            Answer::Awaited => None,
            Answer::Given(_) => Some(true),
            Answer::Silent(_) => Some(false),
        }
    }

    fn await_answers<'a>(
        &'a self,
        table: MutexGuard<'a, Table>,
        questions: &[Question],
    ) -> MutexGuard<'a, Table> {
        self.shared.waker.wake();
        let longest = *ROUND.last().unwrap_or(&LAST) + 2 * LAST;
        let open = |table: &mut Table| table.is_awaited(questions);
        let waited = self.shared.ended.wait_timeout_while(table, longest, open);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What an endpoint asks. `None` if it has no router, or if its router cannot be expected to answer a question
/// that is sent through the parent.
fn asker(state: &State, endpoint: &Endpoint, host: &View, asking: &BTreeSet<&NetworkName>) -> Option<Asker> {
    let network = state.network_of(endpoint)?;
    if !endpoint.is_wanted() || endpoint.stage != Stage::Attached || !asking.contains(&network.name) {
        return None;
    }
    let router = network.gateways_of(endpoint).find_map(v4)?;
    // A router that is this host, or a container of it, is not reached by the wire.
    if host.addresses.iter().any(|there| there.net.addr() == router) || state.holder(router.into()).is_some()
    {
        return None;
    }
    let ip = endpoint.addresses.iter().map(ipnet::IpNet::addr).find_map(v4)?;
    let parent = network.parent.clone();
    let (from, nic) = (mac_on_lan(state, endpoint, host)?, host.link(&parent)?.mac?);
    let host = host_address(host, &parent, router);
    let of_parent = Question { parent: parent.clone(), router, from: nic };
    Some(Asker { question: Question { parent, router, from }, ip, of_parent, host })
}

/// The networks whose endpoints can ask. What cannot pass the parent says nothing about the router.
fn asking<'a>(state: &'a State, host: &View) -> BTreeSet<&'a NetworkName> {
    let passes = |network: &&Network| network.is_passing(host) && network.trouble_of_parent(host).is_none();
    let asking = state.networks.values().filter(|network| asks_itself(network)).filter(passes);
    asking.map(|network| &network.name).collect()
}

/// Whether the answer to an endpoint's question passes the parent. A bridge passes it to the endpoint's port and
/// not to itself, and in layer 3 the parent asks and not the endpoint.
fn asks_itself(network: &Network) -> bool {
    matches!(network.kind, LinkKind::Macvlan(_) | LinkKind::Ipvlan(IpvlanMode::L2))
}

/// The address from which a parent asks a router: its own in the router's subnet, or none, as in a probe.
fn host_address(host: &View, parent: &IfName, router: Ipv4Addr) -> Ipv4Addr {
    let link = host.link(parent).map(|link| link.index);
    let there = host.addresses.iter().filter(|there| Some(there.index) == link);
    let mut near = there.filter(|there| there.net.contains(&IpAddr::V4(router)));
    near.find_map(|there| v4(there.net.addr())).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const NIC: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const WEB: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);

    fn eth0() -> IfName {
        "eth0".parse().expect("a name")
    }

    fn question(from: Mac) -> Question {
        Question { parent: eth0(), router: ROUTER, from }
    }

    /// An endpoint, and a LAN on which the router answers some MACs.
    struct Lan {
        gateways: Gateways,
        parents: BTreeMap<IfName, Tap>,
        answers: Vec<Mac>,
        now: Instant,
    }

    impl Lan {
        fn new(answers: &[Mac]) -> Lan {
            let tap = Tap { parent: 2, mac: NIC, shim: None };
            let now = Instant::now();
            let (parents, gateways) = (BTreeMap::from([(eth0(), tap)]), Gateways::default());
            let mut lan = Lan { gateways, parents, answers: answers.to_vec(), now };
            lan.comes("web", WEB);
            lan
        }

        fn comes(&mut self, name: &str, from: Mac) {
            let (ip, host) = (Ipv4Addr::new(192, 168, 88, 192), Ipv4Addr::new(192, 168, 88, 9));
            let asker = Asker { question: question(from), ip, of_parent: question(NIC), host };
            self.gateways.comes(key(name), asker, self.now);
        }

        /// Lets time pass, and returns who asked.
        fn pass(&mut self, time: Duration) -> Vec<Mac> {
            let (end, asked) = (self.now + time, RefCell::new(Vec::new()));
            while self.now < end {
                let before = asked.borrow().len();
                let say = |_: &IfName, frame: &[u8]| {
                    asked.borrow_mut().push(Arp::parse(frame).expect("a question").sender_mac);
                    Ok(())
                };
                let (next, _) = self.gateways.turn(&self.parents, self.now, &say);
                for from in asked.borrow()[before..].iter().filter(|from| self.answers.contains(from)) {
                    let router = Mac([2, 0, 0, 0, 0, 7]);
                    let answer = Arp {
                        operation: Operation::Reply,
                        sender_mac: router,
                        sender_ip: ROUTER,
                        target_mac: *from,
                        target_ip: Ipv4Addr::UNSPECIFIED,
                    };
                    self.gateways.hear(&eth0(), &answer.broadcast_frame(), self.now);
                }
                self.now = next.unwrap_or(end).max(self.now + Duration::from_millis(1));
            }
            asked.into_inner()
        }

        fn verdict(&self) -> Option<Option<bool>> {
            self.gateways.unanswered().first().map(|one| one.answers_parent)
        }
    }

    fn key(name: &str) -> EndpointKey {
        ("lan".parse().expect("a name"), name.parse().expect("a name"))
    }

    #[test]
    fn who_is_answered_is_not_asked_for_again() {
        let mut lan = Lan::new(&[NIC, WEB]);
        assert_eq!(lan.pass(Duration::from_secs(120)), [WEB]);
        assert_eq!(lan.verdict(), None);
        assert!(lan.gateways.macs_on(&eth0()).next().is_none(), "nothing is awaited");
    }

    #[test]
    fn if_the_parent_alone_is_answered_the_mac_is_dropped_and_that_ends() {
        let mut lan = Lan::new(&[NIC]);
        let asked = lan.pass(Duration::from_secs(4));
        assert_eq!(asked, [WEB, WEB, WEB, WEB, WEB, NIC]);
        assert_eq!(lan.verdict(), Some(Some(true)));
        lan.answers.push(WEB);
        lan.pass(Duration::from_secs(40));
        assert_eq!(lan.verdict(), None);
    }

    #[test]
    fn a_router_that_answers_nobody_is_silent_until_it_is_back() {
        let mut lan = Lan::new(&[]);
        lan.comes("db", Mac([2, 0, 0, 0, 0, 2]));
        lan.pass(Duration::from_secs(2));
        assert_eq!(lan.verdict(), None, "it is not known yet");
        lan.pass(Duration::from_secs(6));
        assert_eq!(lan.verdict(), Some(Some(false)));
        assert_eq!(lan.gateways.unanswered().len(), 2);
        lan.answers = vec![NIC, WEB, Mac([2, 0, 0, 0, 0, 2])];
        lan.pass(Duration::from_secs(40));
        assert_eq!(lan.verdict(), None);
        lan.pass(Duration::from_secs(1));
        assert!(lan.gateways.beside.is_empty() && lan.gateways.due.is_empty());
        assert_eq!(lan.gateways.asked.len(), 2, "the parent is not asked for ever");
    }

    #[test]
    fn who_leaves_is_forgotten_and_through_a_parent_that_is_down_nobody_asks() {
        let mut lan = Lan::new(&[]);
        let parents = std::mem::take(&mut lan.parents);
        assert!(lan.pass(Duration::from_secs(60)).is_empty());
        assert_eq!(lan.verdict(), None);
        lan.parents = parents;
        lan.pass(Duration::from_secs(8));
        lan.gateways.leaves(&key("web"));
        lan.pass(Duration::from_secs(60));
        assert!(lan.gateways.asked.is_empty() && lan.gateways.due.is_empty());
    }

    #[test]
    fn what_could_not_be_sent_was_not_asked() {
        let mut lan = Lan::new(&[]);
        let end = lan.now + Duration::from_secs(60);
        while lan.now < end {
            let (next, _) =
                lan.gateways.turn(&lan.parents, lan.now, &|_, _| Err(std::io::ErrorKind::NetworkDown.into()));
            lan.now = next.expect("it is tried again").max(lan.now + Duration::from_millis(1));
        }
        assert_eq!(lan.verdict(), None);
    }
}
