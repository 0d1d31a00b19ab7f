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

/// The pauses after the questions of a round.
const ROUND: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_millis(800),
    LAST,
];
/// How long the last answer of a round is waited for.
const LAST: Duration = Duration::from_millis(600);
/// A new endpoint's router is silent only if a second round, this much later, has no answer either: an engine may
/// take seconds until the link is up in the container.
const SECOND: Duration = Duration::from_secs(10);
/// How long until a silent router is asked again: from one endpoint and from the parent. If one of them is answered,
/// the others ask too.
const AGAIN: Duration = Duration::from_secs(30);
/// How long until a router that was silent, and has answered, is asked once more. Any machine of the LAN can forge
/// one answer.
const ONCE_MORE: Duration = Duration::from_secs(300);
/// How many endpoints of those that have an answer a doctor asks for again.
const MOST_AGAIN: usize = 32;
/// How long until a question that could not be sent is sent.
const UNSENT: Duration = Duration::from_secs(1);
/// How many frames are sent between two pauses. Hundreds of containers may start together.
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
    /// How many questions of the present round were sent.
    sent: usize,
    /// Whether one more round has to pass without an answer.
    doubted: bool,
    /// How many rounds have ended.
    ended: u64,
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
    /// Nothing is due before.
    next: Option<Instant>,
    /// When the pause began that is kept now or was kept last, and how many frames were sent since.
    pace: Option<(Instant, usize)>,
}

impl Asked {
    fn new(ip: Ipv4Addr, now: Instant) -> Self {
        Asked { ip, answer: Answer::Awaited, sent: 0, doubted: true, ended: 0, due: Some(now), users: 0 }
    }

    /// Begins another round. What is known stays so until it ends.
    fn begin(&mut self, at: Instant) {
        (self.sent, self.due) = (0, Some(at));
    }

    fn is_silent(&self) -> bool {
        matches!(self.answer, Answer::Silent(_))
    }

    /// Whether the router answers. Silence is an answer only to a question that every machine has to answer: some
    /// ignore those that name no address.
    fn says(&self) -> Option<bool> {
        match self.answer {
            Answer::Awaited => None,
            Answer::Given(_) => Some(true),
            Answer::Silent(_) if self.ip.is_unspecified() => None,
            Answer::Silent(_) => Some(false),
        }
    }

    /// Ends a round without an answer. Returns whether the router has become silent.
    fn ends(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.doubted) {
            self.begin(now + SECOND);
            return false;
        }
        let news = !self.is_silent();
        (self.answer, self.sent, self.due) = (Answer::Silent(now), 0, None);
        self.ended += 1;
        news
    }

    /// Asks.
    fn ask(&mut self, question: &Question, now: Instant, send: &Send) {
        let target_mac = Mac::ZERO;
        let (sender_mac, sender_ip, target_ip) = (question.from, self.ip, question.router);
        let request = Arp { operation: Operation::Request, sender_mac, sender_ip, target_mac, target_ip };
        match send(&question.parent, &request.broadcast_frame()) {
            Ok(()) => {
                // Counted from now: a thread that was late has not waited for an answer.
                self.due = Some(now + ROUND[self.sent]);
                self.sent += 1;
            }
            // What was not asked is not answered.
            Err(_) => self.due = Some(now + UNSENT),
        }
    }

    fn answered(&mut self, now: Instant) {
        let once_more = self.is_silent().then_some(now + ONCE_MORE);
        (self.answer, self.sent, self.due, self.doubted) = (Answer::Given(now), 0, once_more, false);
        self.ended += 1;
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
        for key in &gone {
            self.leaves(key);
        }
        for (key, asker) in has {
            self.comes(key, asker, now);
        }
    }

    /// Takes over endpoints that have changed. Networks and host are as they were.
    pub(super) fn follow_some(&mut self, changed: &[Differs<'_>], state: &State, host: &View, now: Instant) {
        if changed.is_empty() {
            return;
        }
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
        let is_new = !self.asked.contains_key(&question);
        let there = self.asked.entry(question.clone()).or_insert_with(|| Asked::new(asker.ip, now));
        there.users += 1;
        there.ip = asker.ip;
        if is_new {
            self.due.insert(question);
            self.next = None;
        }
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
        self.next = None;
    }

    /// Begins a round for a question now. What is known stays so until it ends. Returns how many rounds have ended
    /// before.
    fn ask_anew(&mut self, question: &Question, now: Instant) -> Option<(Question, u64)> {
        let asked = self.asked.get_mut(question)?;
        asked.doubted = false;
        asked.begin(now);
        self.due.insert(question.clone());
        self.next = None;
        Some((question.clone(), asked.ended))
    }

    /// Frames that a parent received were lost, and an answer may have been among them.
    pub(super) fn missed(&mut self, parent: &IfName, now: Instant) {
        let Gateways { due, asked, .. } = self;
        for question in due.iter().filter(|question| question.parent == *parent) {
            if let Some(asked) = asked.get_mut(question).filter(|asked| asked.sent > 0) {
                asked.begin(now + UNSENT);
            }
        }
    }

    /// Sends what is due. Returns the time of the next action, and whether something is known that was not.
    pub(super) fn turn(
        &mut self,
        parents: &BTreeMap<IfName, Tap>,
        behind: &BTreeSet<IfName>,
        now: Instant,
        send: &Send,
    ) -> (Option<Instant>, bool) {
        // The LAN thread turns with each frame.
        if self.due.is_empty() || self.next.is_some_and(|next| now < next) {
            return (self.next.filter(|_| !self.due.is_empty()), false);
        }
        let (began, mut count) = self.pace.filter(|(began, _)| now < *began + PAUSE).unwrap_or((now, 0));
        let (mut next, mut ended): (Option<Instant>, Vec<Question>) = (None, Vec::new());
        // Through a parent that is down nothing can be asked. It is asked once the parent is back.
        for question in self.due.iter().filter(|question| parents.contains_key(&question.parent)) {
            let Some(asked) = self.asked.get_mut(question) else { continue };
            let is_over = asked.sent == ROUND.len();
            let mut at = asked.due;
            if at.is_some_and(|due| due <= now) {
                // An answer may still be unread.
                let waits = if is_over { behind.contains(&question.parent) } else { count >= MOST_AT_ONCE };
                if waits {
                    at = Some(began + PAUSE);
                } else if is_over {
                    if asked.ends(now) {
                        let Question { parent, router, from } = question;
                        // There may be hundreds, and `status` tells once.
                        tracing::debug!(%parent, %router, %from, "the router does not answer");
                    }
                    ended.extend(asked.due.is_none().then(|| question.clone()));
                    at = asked.due;
                } else {
                    asked.ask(question, now, send);
                    count += 1;
                    at = asked.due;
                }
            }
            next = next.into_iter().chain(at).min();
        }
        self.pace = Some((began, count));
        for question in &ended {
            self.due.remove(question);
        }
        if !ended.is_empty() || !self.beside.is_empty() {
            next = next.into_iter().chain(self.watch_the_silent(now)).min();
        }
        self.next = next;
        (next, !ended.is_empty())
    }

    /// Has silent routers asked again, each from one endpoint, and from the parent. Returns when that is to be sent.
    fn watch_the_silent(&mut self, now: Instant) -> Option<Instant> {
        let Gateways { askers, asked, due, beside, .. } = self;
        let mut wanted: BTreeMap<Question, Ipv4Addr> = BTreeMap::new();
        let mut watched = BTreeSet::new();
        let mut next = None;
        for asker in askers.values() {
            let Some(there) = asked.get_mut(&asker.question).filter(|there| there.is_silent()) else {
                continue;
            };
            if watched.insert((&asker.question.parent, asker.question.router)) {
                if there.due.is_none() {
                    there.begin(now + AGAIN);
                    due.insert(asker.question.clone());
                }
                next = next.into_iter().chain(there.due).min();
            }
            if asker.question != asker.of_parent {
                wanted.insert(asker.of_parent.clone(), asker.host);
            }
        }
        let before = std::mem::replace(beside, wanted.keys().cloned().collect());
        for (question, ip) in &wanted {
            let there = asked.entry(question.clone()).or_insert_with(|| Asked::new(*ip, now));
            there.users += usize::from(!before.contains(question));
            (there.ip, there.doubted) = (*ip, false);
            let last = match there.answer {
                Answer::Given(at) | Answer::Silent(at) => Some(at),
                Answer::Awaited => None,
            };
            if there.sent == 0
                && let Some(last) = last
            {
                there.begin(last + AGAIN);
            }
            next = next.into_iter().chain(there.due).min();
            due.insert(question.clone());
        }
        for question in before.iter().filter(|question| !wanted.contains_key(question)) {
            self.drops(question);
        }
        next
    }

    /// Handles a frame that a parent itself received. Returns whether it is an answer that was awaited.
    ///
    /// An answer to the MAC that asks, or to all, counts, and only while a round is under way. Machines of the LAN
    /// can still forge it.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8], now: Instant) -> bool {
        if self.due.is_empty() {
            return false;
        }
        let Some(arp) = Arp::parse(frame).filter(|arp| arp.operation == Operation::Reply) else {
            return false;
        };
        let is_to = |mac: Mac| frame.starts_with(&mac.0);
        if !is_to(arp.target_mac) && !is_to(Mac::BROADCAST) {
            return false;
        }
        let question = Question { parent: parent.clone(), router: arp.sender_ip, from: arp.target_mac };
        let Some(asked) = self.asked.get_mut(&question).filter(|asked| asked.sent > 0) else { return false };
        let was_silent = asked.is_silent();
        asked.answered(now);
        if asked.due.is_none() {
            self.due.remove(&question);
        }
        self.next = None;
        if was_silent {
            tracing::info!(%parent, router = %arp.sender_ip, from = %arp.target_mac, "the router answers");
            // It may have been off, so the others are asked now.
            let same = |other: &Question| (&other.parent, other.router) == (parent, arp.sender_ip);
            for (other, there) in
                self.asked.iter_mut().filter(|(other, there)| same(other) && there.is_silent())
            {
                if there.sent == 0 {
                    there.begin(now);
                    self.due.insert(other.clone());
                }
            }
        }
        true
    }

    fn answers_parent(&self, asker: &Asker) -> Option<bool> {
        if asker.question == asker.of_parent {
            return None;
        }
        self.asked.get(&asker.of_parent)?.says()
    }

    /// The endpoints that a router does not answer.
    fn unanswered(&self) -> Vec<Unanswered> {
        let silent =
            |asker: &Asker| self.asked.get(&asker.question).is_some_and(|asked| asked.says() == Some(false));
        let silent = self.askers.iter().filter(|(_, asker)| silent(asker));
        let told = silent.filter(|(_, asker)| {
            // Until it is known which of both it is, nothing is said.
            asker.question == asker.of_parent || self.answers_parent(asker).is_some()
        });
        told.map(|(endpoint, asker)| Unanswered {
            endpoint: endpoint.clone(),
            router: asker.question.router,
            parent: asker.question.parent.clone(),
            mac: asker.question.from,
            answers_parent: self.answers_parent(asker),
        })
        .collect()
    }
}

impl Lan {
    /// The endpoints that their router does not answer.
    pub(crate) fn unanswered(&self) -> Vec<Unanswered> {
        self.table().gateways.unanswered()
    }

    /// Asks the routers of endpoints again, and waits for what they answer: of all that got no answer, and of some
    /// that did. Returns the routers that have answered an endpoint, with the parents through which they did.
    pub(crate) fn ask_routers(&self, _: &Unlocked) -> BTreeSet<(IfName, Ipv4Addr)> {
        let now = Instant::now();
        let mut table = self.table();
        let of_endpoints = table.gateways.askers.values().map(|asker| asker.question.clone());
        let questions: BTreeSet<Question> = of_endpoints.collect();
        let is_given = |question: &&Question| {
            let asked = table.gateways.asked.get(*question);
            asked.is_some_and(|asked| matches!(asked.answer, Answer::Given(_)))
        };
        let (given, open): (Vec<&Question>, Vec<&Question>) = questions.iter().partition(is_given);
        let wanted: Vec<&Question> = open.into_iter().chain(given.into_iter().take(MOST_AGAIN)).collect();
        let begun: Vec<_> =
            wanted.iter().filter_map(|question| table.gateways.ask_anew(question, now)).collect();
        let mut table = self.await_answers(table, &begun);
        // Those of the parents follow, once an endpoint got no answer.
        let (beside, now) = (table.gateways.beside.clone(), Instant::now());
        let begun: Vec<_> =
            beside.iter().filter_map(|question| table.gateways.ask_anew(question, now)).collect();
        let table = self.await_answers(table, &begun);
        let answered = |question: &&Question| {
            let asked = table.gateways.asked.get(*question);
            asked.is_some_and(|asked| asked.says() == Some(true))
        };
        let answered = questions.iter().filter(answered);
        answered.map(|question| (question.parent.clone(), question.router)).collect()
    }

    /// Asks machines from their parents' MACs, side by side, and returns whether they answer. `None`: that could
    /// not be found out.
    pub(crate) fn do_answer(
        &self,
        _: &Unlocked,
        wanted: &BTreeSet<(IfName, Ipv4Addr)>,
        host: &View,
    ) -> BTreeMap<(IfName, Ipv4Addr), Option<bool>> {
        let now = Instant::now();
        let mut table = self.table();
        let question = |(parent, router): &(IfName, Ipv4Addr)| {
            let from = host.link(parent)?.mac?;
            Some(Question { parent: parent.clone(), router: *router, from })
        };
        let questions: BTreeMap<Question, &(IfName, Ipv4Addr)> =
            wanted.iter().filter_map(|wanted| Some((question(wanted)?, wanted))).collect();
        let mut begun = Vec::new();
        for (question, (parent, router)) in &questions {
            let ip = host_address(host, parent, *router);
            let asked = table.gateways.asked.entry(question.clone()).or_insert_with(|| Asked::new(ip, now));
            asked.users += 1;
            asked.ip = ip;
            begun.extend(table.gateways.ask_anew(question, now));
        }
        let mut table = self.await_answers(table, &begun);
        let mut answers: BTreeMap<_, _> = wanted.iter().map(|wanted| (wanted.clone(), None)).collect();
        for (question, before) in begun {
            let asked = table.gateways.asked.get(&question).filter(|asked| asked.ended > before);
            answers.insert(questions[&question].clone(), asked.and_then(Asked::says));
            table.gateways.drops(&question);
        }
        answers
    }

    /// Waits until the rounds that were begun have ended, or until they should have.
    fn await_answers<'a>(
        &'a self,
        table: MutexGuard<'a, Table>,
        begun: &[(Question, u64)],
    ) -> MutexGuard<'a, Table> {
        self.shared.waker.wake();
        // Many are asked in turn.
        let turns = u32::try_from(begun.len() * ROUND.len() / MOST_AT_ONCE).unwrap_or(u32::MAX);
        let longest = ROUND.iter().sum::<Duration>() + 2 * LAST + PAUSE.saturating_mul(turns);
        let open = |table: &mut Table| {
            begun.iter().any(|(question, before)| {
                let asked = table.gateways.asked.get(question);
                asked.is_some_and(|asked| asked.ended == *before)
                    && table.parents.contains_key(&question.parent)
            })
        };
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
    let parent = network.parent.clone();
    let (from, nic) = (mac_on_lan(state, endpoint, host)?, host.link(&parent)?.mac?);
    // A MAC that a container has chosen may be that of another machine.
    if endpoint.mac.is_some_and(|own| own != from) {
        return None;
    }
    let host = host_address(host, &parent, router);
    // What asks from the parent's MAC says what the host has: the address of an endpoint that shares the MAC may have
    // become another machine's.
    let own = endpoint.addresses.iter().map(ipnet::IpNet::addr).find_map(v4)?;
    let ip = if from == nic { host } else { own };
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
mod tests;
