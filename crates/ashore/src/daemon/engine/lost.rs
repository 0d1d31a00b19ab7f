//! Endpoints whose namespace is no longer where the path leads by which they were attached.
//!
//! The namespace may live on: one process of it has ended and another has not, or somebody has it open. So its endpoint keeps its
//! addresses while it is looked for among all that can hold one. If it is found by another path, Ashore goes on by that. It is gone
//! only when looks that saw everything, some seconds apart, have found nobody, and the parent takes in nothing for its link. A look
//! takes its time, and is taken with the lock let go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ashore_core::endpoint::{Endpoint, Stage};
use ashore_core::link::{LinkKind, Netns};
use ashore_core::observed::{Observed, View};
use ashore_core::owner::Owners;
use ashore_core::request::Refusal;
use ashore_core::state::{Change, EndpointKey};
use ashore_kernel::{Found, Holders, Namespace, this_boot};

use super::{Cause, Engine, Inner};

/// Looks that find nobody are two if so much lies between them: what is handed from one process to another has arrived.
const APART: Duration = Duration::from_secs(3);
/// What is neither found nor gone is looked for ever less often, up to this.
const SELDOM: Duration = Duration::from_secs(60);
/// Reasons to look come in bursts.
const SETTLE: Duration = Duration::from_millis(500);

/// What is known of endpoints that are looked for.
#[derive(Debug, Default)]
pub(super) struct Lost {
    searches: BTreeMap<EndpointKey, Search>,
    /// Those that are to be taken off the LAN and cannot be reached.
    waiting: BTreeSet<EndpointKey>,
    /// How long it was waited before the last look.
    waited: Duration,
}

/// The search for the namespace of an endpoint.
#[derive(Debug)]
struct Search {
    /// The next endpoint of the name has another.
    netns: Netns,
    /// Since when looks that saw everything have found nobody.
    nobody: Option<Instant>,
    /// What the last look says; nothing before the first.
    says: Option<Says>,
}

/// What a look says of an endpoint whose namespace it has not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    Gone,
    /// Nobody was found, which is to be seen once more.
    Nobody,
    /// Its link is on the LAN.
    OnLan,
    /// It may be there, and why nobody knows.
    Unclear(String),
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Gone | Says::Nobody => f.write_str("is gone"),
            Says::OnLan => f.write_str(
                "is on the LAN still, in a namespace that no process, open file or mount leads to; its address stays reserved \
                 until it has gone",
            ),
            Says::Unclear(why) => {
                write!(f, "may be on the LAN still ({why}); its address stays reserved until it is found or detached")
            }
        }
    }
}

/// Where a namespace is.
enum Sighting {
    At(Netns),
    /// It was there before the host's last start, or the kernel has given its number to another.
    Ended,
    Unclear(String),
    Nowhere,
}

impl Engine {
    /// Has it looked for what is lost.
    pub(super) fn search_soon(&self) {
        let _ = self.wakers.search.send(());
    }

    /// Looks for ever, whenever there is a reason to.
    pub(crate) fn search(&self, words: &Receiver<()>) {
        let mut again = None;
        loop {
            let word = match again {
                None => words.recv().map_err(RecvTimeoutError::from),
                Some(wait) => words.recv_timeout(wait),
            };
            match word {
                Ok(()) => std::thread::sleep(SETTLE),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while words.try_recv().is_ok() {}
            again = self.look_for_lost();
        }
    }

    /// Looks once for all that is lost, and for what is to be taken off. Tells when to look again.
    fn look_for_lost(&self) -> Option<Duration> {
        let (lost, waiting) = {
            let inner = self.lock();
            (inner.sought(), inner.lost.waiting.clone())
        };
        let mut decided = self.look_for_these(&lost);
        for key in &waiting {
            match self.take_off_elsewhere(key) {
                Ok(taken) => decided |= taken,
                Err(refusal) => tracing::warn!(network = %key.0, name = %key.1, "{refusal}"),
            }
        }
        if decided {
            self.reconcile(Cause::Search);
        }
        self.lock().next_look()
    }

    /// Looks for the namespaces of some endpoints. Tells whether one was found, or is gone.
    fn look_for_these(&self, lost: &[Endpoint]) -> bool {
        if lost.is_empty() {
            return false;
        }
        let holders = Holders::look();
        let mut inner = self.lock();
        let host = match inner.observe(&[]) {
            Ok(observed) => observed.host,
            Err(refusal) => {
                tracing::error!("{refusal}; it is looked for again");
                return false;
            }
        };
        let decided = lost.iter().fold(false, |decided, one| inner.weigh(one, &holders, &host) || decided);
        if decided {
            self.soon();
        }
        decided
    }

    /// Brings the link of an endpoint in reach whose path no longer leads to it, or whose container has moved it: its namespace is
    /// found, or the link is taken off wherever it is. Tells whether it was taken off.
    pub(super) fn bring_in_reach(&self, key: &EndpointKey) -> Result<bool, Refusal> {
        let lost = self.lock().notice_one(key)?;
        self.look_for_these(lost.as_slice());
        let at_home = self.lock().has_link_at_home(key)?;
        if at_home { Ok(false) } else { self.take_off_elsewhere(key) }
    }
}

impl Inner {
    /// Notices which endpoints' paths no longer lead to their namespaces, of which some were just looked into. Tells whether any is to
    /// be looked for.
    pub(super) fn notice_lost(&mut self, looked_into: &[Netns], observed: &Observed) -> bool {
        let endpoints: Vec<Endpoint> =
            self.state().endpoints.values().filter(|endpoint| endpoint.netns().is_some()).cloned().collect();
        let keys: BTreeSet<EndpointKey> = endpoints.iter().map(Endpoint::key).collect();
        self.lost.searches.retain(|key, _| keys.contains(key));
        let looked_into: BTreeSet<&Netns> = looked_into.iter().collect();
        for endpoint in &endpoints {
            let Some(netns) = endpoint.netns() else { continue };
            let is_there = observed.netns.contains_key(netns);
            let absent = looked_into.contains(netns) && !is_there && observed.unreadable(endpoint).is_none();
            if absent || (!is_there && matches!(Namespace::find(netns), Found::Gone)) {
                self.notice(endpoint);
                if !is_of_this_start(netns) && self.is_on_lan(endpoint, &observed.host) != Some(true) {
                    self.says(endpoint, Says::Gone);
                }
            } else {
                self.lost.searches.remove(&endpoint.key());
            }
        }
        self.lost.waiting.clear();
        let going: Vec<Endpoint> =
            endpoints.into_iter().filter(|endpoint| endpoint.stage == Stage::Detaching).collect();
        self.wait_for_adrift(&going, observed);
        !self.lost.waiting.is_empty() || self.lost.searches.values().any(|one| one.says != Some(Says::Gone))
    }

    /// The same of one endpoint, which comes back if it is lost.
    fn notice_one(&mut self, key: &EndpointKey) -> Result<Option<Endpoint>, Refusal> {
        let Some(endpoint) = self.state().endpoints.get(key).cloned() else { return Ok(None) };
        if endpoint.netns().is_none() || self.look_at_home(&endpoint)?.is_some() {
            return Ok(None);
        }
        self.notice(&endpoint);
        Ok(Some(endpoint))
    }

    /// What is to be seen at the namespace of an endpoint; none if its path does not lead there.
    pub(super) fn look_at_home(&self, endpoint: &Endpoint) -> Result<Option<Observed>, Refusal> {
        let Some(netns) = endpoint.netns() else { return Ok(None) };
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        Ok(Some(observed).filter(|observed| observed.netns.contains_key(netns)))
    }

    /// Whether the link of an endpoint is where it was made, or there is no such endpoint.
    fn has_link_at_home(&self, key: &EndpointKey) -> Result<bool, Refusal> {
        let Some(endpoint) = self.state().endpoints.get(key) else { return Ok(true) };
        let observed = self.look_at_home(endpoint)?;
        Ok(observed.is_some_and(|observed| self.has_link(endpoint, &observed)))
    }

    /// Begins to look for an endpoint's namespace.
    fn notice(&mut self, endpoint: &Endpoint) {
        let Some(netns) = endpoint.netns() else { return };
        let key = endpoint.key();
        if self.lost.searches.get(&key).is_none_or(|search| search.netns != *netns) {
            let search = Search { netns: netns.clone(), nobody: None, says: None };
            self.lost.searches.insert(key, search);
            self.lost.waited = Duration::ZERO;
        }
    }

    fn says(&mut self, endpoint: &Endpoint, says: Says) {
        if let Some(search) = self.lost.searches.get_mut(&endpoint.key()) {
            search.says = Some(says);
        }
    }

    /// What the last look says of an endpoint, if its namespace is lost.
    pub(super) fn told_of(&self, endpoint: &Endpoint) -> Option<&Says> {
        let search = self.lost.searches.get(&endpoint.key())?;
        search.says.as_ref().filter(|_| endpoint.netns() == Some(&search.netns))
    }

    /// Whether looks have found that an endpoint is gone.
    pub(super) fn is_gone(&self, endpoint: &Endpoint) -> bool {
        self.told_of(endpoint) == Some(&Says::Gone)
    }

    /// Whether an endpoint is out of reach and not gone: nothing can be taken away of it.
    pub(super) fn is_out_of_reach(&self, endpoint: &Endpoint) -> bool {
        let sought = self.lost.searches.get(&endpoint.key());
        sought
            .is_some_and(|search| search.says != Some(Says::Gone) && endpoint.netns() == Some(&search.netns))
            || self.lost.waiting.contains(&endpoint.key())
    }

    /// Why nothing can be taken off of an endpoint that was just looked for, if it may be on the LAN.
    pub(super) fn says_out_of_reach(&self, endpoint: &Endpoint, host: &View) -> Option<Says> {
        let by_its_port =
            self.state().network_of(endpoint).is_some_and(|network| network.kind == LinkKind::Bridge);
        match (self.is_on_lan(endpoint, host), self.told_of(endpoint)) {
            _ if by_its_port => None,
            (Some(true), told) if told.is_some() || self.has_link_at_home(&endpoint.key()) == Ok(false) => {
                Some(Says::OnLan)
            }
            (None, Some(says @ Says::Unclear(_))) => Some(says.clone()),
            _ => None,
        }
    }

    /// An endpoint that is out of reach is to be taken off when it can be.
    pub(super) fn wait_for(&mut self, endpoint: &Endpoint) {
        if !self.lost.searches.contains_key(&endpoint.key()) {
            self.lost.waiting.insert(endpoint.key());
        }
    }

    /// The same of those whose links their containers have moved elsewhere. Tells whether there are any.
    pub(super) fn wait_for_adrift(&mut self, going: &[Endpoint], observed: &Observed) -> bool {
        if going.is_empty() {
            return false;
        }
        let owners = Owners::of(self.state(), observed);
        let is_adrift = |one: &&Endpoint| self.state().adrift(one, &owners, observed).is_some();
        let adrift: Vec<EndpointKey> = going.iter().filter(is_adrift).map(Endpoint::key).collect();
        let is_any = !adrift.is_empty();
        self.lost.waiting.extend(adrift);
        is_any
    }

    /// The endpoints whose namespaces are looked for.
    fn sought(&self) -> Vec<Endpoint> {
        let endpoints = self.state().endpoints.values();
        let lost = |endpoint: &&Endpoint| {
            self.lost.searches.contains_key(&endpoint.key()) && !self.is_gone(endpoint)
        };
        endpoints.filter(lost).cloned().collect()
    }

    /// When to look again; not before there is a reason, if nothing is lost.
    fn next_look(&mut self) -> Option<Duration> {
        let mut searches =
            self.lost.searches.values().filter(|search| search.says != Some(Says::Gone)).peekable();
        if searches.peek().is_none() && self.lost.waiting.is_empty() {
            return None;
        }
        if searches.any(|search| search.nobody.is_some()) {
            return Some(APART);
        }
        self.lost.waited = (self.lost.waited * 2).clamp(APART, SELDOM);
        Some(self.lost.waited)
    }

    /// Enters what a look has found of an endpoint's namespace. Tells whether that decides what becomes of it.
    fn weigh(&mut self, endpoint: &Endpoint, holders: &Holders, host: &View) -> bool {
        // It may be another by now, or have been found meanwhile.
        let is_same = |there: &Endpoint| there.netns() == endpoint.netns();
        let key = endpoint.key();
        let (Some(true), Some(netns)) = (self.state().endpoints.get(&key).map(is_same), endpoint.netns())
        else {
            return false;
        };
        let sighting = self.find_among(endpoint, netns, holders);
        let on_lan = self.is_on_lan(endpoint, host);
        let says = match sighting {
            Sighting::At(found) => {
                tracing::info!(network = %key.0, name = %key.1, path = %found.path.display(), "its namespace is found");
                self.move_to(&key, found);
                self.lost.searches.remove(&key);
                return true;
            }
            _ if on_lan == Some(true) => Says::OnLan,
            Sighting::Ended => Says::Gone,
            Sighting::Unclear(why) => Says::Unclear(why),
            Sighting::Nowhere => match holders.unseen() {
                Some(unseen) => {
                    Says::Unclear(format!("not all that may hold its namespace can be looked at: {unseen}"))
                }
                None if holders.may_be_hidden() && on_lan.is_none() => {
                    Says::Unclear("not all processes are shown that may hold its namespace".to_owned())
                }
                None => Says::Nobody,
            },
        };
        let Some(search) = self.lost.searches.get_mut(&key) else { return false };
        search.nobody = (says == Says::Nobody).then(|| search.nobody.unwrap_or_else(Instant::now));
        let twice = search.nobody.is_some_and(|since| since.elapsed() >= APART);
        let says = if twice { Says::Gone } else { says };
        if search.says.as_ref() != Some(&says) && says != Says::Nobody {
            tracing::info!(network = %key.0, name = %key.1, path = %netns.path.display(), "no longer leads to its namespace; {says}");
        }
        let decided = says == Says::Gone;
        search.says = Some(says);
        decided
    }

    fn find_among(&self, endpoint: &Endpoint, netns: &Netns, holders: &Holders) -> Sighting {
        if !is_of_this_start(netns) {
            return Sighting::Ended;
        }
        let mut otherwise = Sighting::Nowhere;
        for path in holders.paths_of(netns) {
            let namespace = match Namespace::open(path) {
                Ok(namespace) if namespace.identity().has_file_of(netns) => namespace,
                // It was there a moment ago.
                Ok(_) => {
                    otherwise = Sighting::Unclear(format!(
                        "{} led to its namespace and does not now",
                        path.display()
                    ));
                    continue;
                }
                Err(error) => {
                    otherwise = Sighting::Unclear(error.to_string());
                    continue;
                }
            };
            let found = match self.kernel.identify(&namespace) {
                Ok(found) => found,
                Err(error) => {
                    otherwise = Sighting::Unclear(format!("{}: {error}", path.display()));
                    continue;
                }
            };
            return match (&netns.cookie, &found.cookie) {
                (Some(meant), Some(found)) if meant != found => Sighting::Ended,
                (Some(_), Some(_)) => {
                    Sighting::At(Netns { cookie: found.cookie, ..netns.found_by(found.path) })
                }
                // Its number alone may be another's by now.
                _ if self.is_inside(endpoint, &found) => {
                    Sighting::At(Netns { cookie: found.cookie, ..netns.found_by(found.path) })
                }
                _ => Sighting::Nowhere,
            };
        }
        otherwise
    }

    /// Whether the link of an endpoint is in a namespace.
    fn is_inside(&self, endpoint: &Endpoint, netns: &Netns) -> bool {
        let observed = self.observe(std::slice::from_ref(netns));
        let inside = observed.ok().and_then(|mut observed| observed.netns.remove(netns));
        inside.is_some_and(|view| endpoint.is_in(&view))
    }

    /// The path of an endpoint's namespace is another.
    pub(super) fn move_to(&mut self, key: &EndpointKey, netns: Netns) {
        let moved = self.state().endpoints.get(key).and_then(|endpoint| endpoint.clone().in_netns(netns));
        // Should that be lost, it is looked for again.
        self.store.defer(moved.into_iter().map(Change::PutEndpoint).collect());
    }
}

/// Whether an endpoint's namespace is found by another path than that by which it was attached, which does not lead there.
pub(super) fn is_ghost(endpoint: &Endpoint) -> bool {
    let by = |netns: &Netns| netns.attached_by.clone().map(|path| Netns { path, ..netns.clone() });
    let netns = endpoint.netns().and_then(by);
    netns.is_some_and(|netns| !matches!(Namespace::find(&netns), Found::There(_)))
}

/// Whether a namespace can be there still: the host has not been started anew since it was.
fn is_of_this_start(netns: &Netns) -> bool {
    let (boot, now) = (netns.cookie.as_ref().map(|cookie| cookie.boot.as_str()), this_boot());
    boot.is_none() || now.is_none() || boot == now
}
