//! Endpoints whose namespace is no longer where the path leads by which they were attached.
//!
//! The namespace may live on: one process of it has ended and another has not, or a process has it open. So
//! its endpoint keeps its addresses while Ashore searches for the namespace in everything that can hold one.
//! If the namespace is found by another path, Ashore goes on with that path. The namespace counts as gone
//! only when searches that saw everything, some seconds apart, have found no holder, and the parent receives
//! no frames for its link. A search takes time, and runs with the lock released.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::owner::Owners;
use ashore_core::model::state::Change;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::Netns;
use ashore_core::net::name::EndpointKey;
use ashore_core::net::observed::Observed;
use ashore_kernel::{Found, Holders, Lives, Namespace, this_boot};

use super::moved_links::{Elsewhere, TakenIn};
use super::{Cause, Controller, Inner};
use crate::unlocked::Unlocked;

/// Two searches that find no holder count as separate only if this much time lies between them: a namespace
/// that is handed from one process to another has arrived by then.
const APART: Duration = Duration::from_secs(3);
/// A namespace that is neither found nor gone is searched for less and less often, down to once in this time.
const SELDOM: Duration = Duration::from_secs(60);
/// The kernel removes a namespace that has no holder in its own time, and the link in it is on the LAN until
/// then. A request that waits for this waits this long.
const TAKEN_DOWN: Duration = Duration::from_secs(3);
/// How many namespaces are open at a time.
const AT_A_TIME: usize = 64;
/// Reasons to search come in bursts.
const SETTLE: Duration = Duration::from_millis(500);

/// What is known of the endpoints that are searched for.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost {
    searches: BTreeMap<EndpointKey, Search>,
    /// Endpoints that are to be taken off the LAN and cannot be reached.
    waiting: BTreeSet<EndpointKey>,
    /// Endpoints whose containers moved their links away while they were taken off the LAN, and that are
    /// being searched for everywhere right now.
    pub(super) moved: BTreeSet<EndpointKey>,
    /// The wait before the last search.
    waited: Duration,
}

/// The search for the namespace of an endpoint.
#[derive(Debug, Clone)]
struct Search {
    /// The namespace. The next endpoint of the same name has another one.
    netns: Netns,
    /// Since when searches that saw everything have found no holder.
    nobody: Option<Instant>,
    /// The result of the last search. `None` before the first.
    says: Option<Says>,
}

/// The result of a search for an endpoint whose namespace it has not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    Gone,
    /// No holder was found. This has to be confirmed by a second search.
    Nobody,
    /// Its link is on the LAN. The text says why a path that may lead to it could not be followed, if there
    /// is such a path.
    OnLan(Option<String>),
    /// It may exist. The text says why this is not known.
    Unclear(String),
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Gone | Says::Nobody => f.write_str("is gone"),
            Says::OnLan(Some(why)) => {
                write!(
                    f,
                    "is still on the LAN, in a namespace that could not be read ({why}); its address stays reserved until \
                     it is gone"
                )
            }
            Says::OnLan(None) => f.write_str(
                "is still on the LAN, in a namespace that no process, open file or mount leads to; its address stays reserved \
                 until it is gone",
            ),
            Says::Unclear(why) => {
                write!(f, "may still be on the LAN ({why}); its address stays reserved until it is found or detached")
            }
        }
    }
}

/// Where a namespace is.
enum Sighting {
    At(Netns),
    /// It existed before the host's last start, or the kernel has given its number to another namespace.
    Ended,
    Unclear(String),
    Nowhere,
}

/// Where the paths lead by which a search has found a holder of a namespace.
enum Led {
    To(Namespace),
    Unclear(String),
    Nowhere,
}

impl Led {
    /// Follows the paths to the namespace of an endpoint. The container decides how long this takes.
    fn by(_: &Unlocked, endpoint: &Endpoint, holders: &Holders) -> Self {
        let mut otherwise = Led::Nowhere;
        let Some(netns) = endpoint.netns().filter(|netns| is_of_this_start(netns)) else { return otherwise };
        for path in holders.paths_of(netns) {
            match Namespace::open(path) {
                Ok(namespace) if namespace.identity().has_file_of(netns) => return Led::To(namespace),
                // The path led there a moment ago.
                Ok(_) => {
                    let why = format!("{} led to its namespace but no longer does", path.display());
                    otherwise = Led::Unclear(why);
                }
                Err(error) => otherwise = Led::Unclear(error.to_string()),
            }
        }
        otherwise
    }
}

impl Controller {
    /// Schedules a search for lost namespaces.
    pub(super) fn search_soon(&self) {
        let _ = self.wakers.search.send(());
    }

    /// Searches forever, whenever there is a reason to.
    pub(crate) fn search(&self, unlocked: &mut Unlocked, words: &Receiver<()>) {
        self.look_for_unowned(unlocked);
        let mut again = None;
        loop {
            let word = match again {
                None => words.recv().map_err(RecvTimeoutError::from),
                Some(wait) => words.recv_timeout(wait),
            };
            match word {
                Ok(()) => unlocked.sleep(SETTLE),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while words.try_recv().is_ok() {}
            again = self.look_for_lost(unlocked);
        }
    }

    /// Searches once for everything that is lost, and for what is to be taken off the LAN. Returns when to
    /// search again.
    fn look_for_lost(&self, unlocked: &mut Unlocked) -> Option<Duration> {
        let (lost, waiting, left) = {
            let inner = self.lock(unlocked);
            (inner.sought(), inner.lost.waiting.clone(), inner.still_on_lan().cloned().collect::<Vec<_>>())
        };
        let mut decided = self.look_for_these(unlocked, &lost);
        for key in &waiting {
            match self.take_off_elsewhere(unlocked, key) {
                Ok(elsewhere) => decided |= elsewhere.taken,
                Err(refusal) => tracing::warn!(network = %key.0, name = %key.1, "{refusal}"),
            }
        }
        // An engine that was killed lets go of a container whose namespace still has a holder.
        for endpoint in &left {
            match self.take_off_wherever(unlocked, endpoint) {
                Ok(elsewhere) => decided |= elsewhere.taken,
                Err(refusal) => {
                    tracing::warn!(network = %endpoint.network, name = %endpoint.name, "{refusal}");
                }
            }
        }
        if decided {
            self.reconcile(unlocked, Cause::Search);
        }
        let mut inner = self.lock(unlocked);
        let has_left = inner.still_on_lan().next().is_some();
        inner.lost.next_look(has_left)
    }

    /// Searches for the namespaces of some endpoints. Returns whether one was found, or is gone.
    fn look_for_these(&self, unlocked: &mut Unlocked, lost: &[Endpoint]) -> bool {
        if lost.is_empty() {
            return false;
        }
        let holders = Holders::look();
        let mut decided = false;
        for some in lost.chunks(AT_A_TIME) {
            let led: Vec<Led> = some.iter().map(|endpoint| Led::by(unlocked, endpoint, &holders)).collect();
            let mut inner = self.lock(unlocked);
            let host = match inner.observe(&[]) {
                Ok(observed) => observed.host,
                Err(refusal) => {
                    tracing::error!("{refusal}; the search is repeated");
                    break;
                }
            };
            let mut taken_in = TakenIn::default();
            for (endpoint, led) in some.iter().zip(led) {
                let on_lan = match led {
                    Led::Nowhere => inner.is_surely_on_lan(endpoint, &host, &mut taken_in),
                    Led::To(_) | Led::Unclear(_) => inner.is_on_lan(endpoint, &host, &mut taken_in),
                };
                let ended = inner.has_ended(endpoint, &host);
                decided |= inner.weigh(endpoint, &holders, led, on_lan, ended);
            }
        }
        if decided {
            self.schedule_deferred();
        }
        decided
    }

    /// At the start: searches once for unfinished endpoints in lost namespaces, before any request is
    /// answered.
    pub(super) fn look_for_cut_short(&self, unlocked: &mut Unlocked) {
        let mut inner = self.lock(unlocked);
        let cut_short = inner.state().endpoints.values().filter(|endpoint| endpoint.is_cut_short());
        let keys: Vec<EndpointKey> = cut_short.map(Endpoint::key).collect();
        let lost: Vec<Endpoint> = keys.iter().filter_map(|key| inner.notice_lost(key).ok()?).collect();
        drop(inner);
        self.look_for_these(unlocked, &lost);
    }

    /// Brings the link of an endpoint within reach whose path no longer leads to it, or whose container has
    /// moved it: either the namespace is found, or the link is removed wherever it is. A link that is down is
    /// searched for only `if_down`, because all namespaces have to be entered.
    pub(super) fn bring_in_reach(
        &self,
        unlocked: &mut Unlocked,
        key: &EndpointKey,
        if_down: bool,
    ) -> Result<Elsewhere, Refusal> {
        let lost = self.lock(unlocked).notice_lost(key)?;
        self.look_for_these(unlocked, lost.as_slice());
        let inner = self.lock(unlocked);
        let Some(endpoint) = inner.state().endpoints.get(key) else { return Ok(Elsewhere::default()) };
        let home = inner.look_at_home(endpoint)?;
        let is_home = home.is_some_and(|home| inner.has_link(endpoint, &home));
        let host = inner.observe(&[])?.host;
        // The other end of a veth is on the host. The link goes with it.
        let may_be_elsewhere = !inner.has_port(endpoint)
            && (if_down || inner.is_on_lan(endpoint, &host, &mut TakenIn::default()) != Some(false));
        drop(inner);
        if is_home || !may_be_elsewhere {
            return Ok(Elsewhere::default());
        }
        let elsewhere = self.take_off_elsewhere(unlocked, key)?;
        self.await_end(unlocked, key)?;
        Ok(elsewhere)
    }

    /// Waits, for a limited time, until the kernel has removed a namespace for which no holder was found.
    fn await_end(&self, unlocked: &mut Unlocked, key: &EndpointKey) -> Result<(), Refusal> {
        let end = Instant::now() + TAKEN_DOWN;
        while Instant::now() < end {
            let inner = self.lock(unlocked);
            let Some(endpoint) = inner.state().endpoints.get(key) else { return Ok(()) };
            let host = inner.observe(&[])?.host;
            let on_lan = inner.is_surely_on_lan(endpoint, &host, &mut TakenIn::default());
            if on_lan != Some(true) {
                return Ok(());
            }
            drop(inner);
            unlocked.sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Lost {
    /// Takes over which endpoints' namespaces are lost now, and which of them have certainly ended. Returns
    /// whether there is anything to search for.
    fn follow(&mut self, lost: Vec<(EndpointKey, Netns, bool)>, waiting: BTreeSet<EndpointKey>) -> bool {
        let keys: BTreeSet<EndpointKey> = lost.iter().map(|(key, ..)| key.clone()).collect();
        self.searches.retain(|key, _| keys.contains(key));
        for (key, netns, ended) in lost {
            let search = self.begin(key, netns);
            if ended {
                search.says = Some(Says::Gone);
            }
        }
        self.waiting = waiting;
        !self.waiting.is_empty() || self.searches.values().any(|search| !search.is_over())
    }

    /// Begins the search for an endpoint's namespace.
    fn begin(&mut self, key: EndpointKey, netns: Netns) -> &mut Search {
        let search = self.searches.entry(key).or_insert_with(|| {
            self.waited = Duration::ZERO;
            Search::of(netns.clone())
        });
        if search.netns != netns {
            *search = Search::of(netns);
            self.waited = Duration::ZERO;
        }
        search
    }

    /// The search for the namespace of an endpoint.
    fn search(&self, endpoint: &Endpoint) -> Option<&Search> {
        self.searches.get(&endpoint.key()).filter(|search| endpoint.netns() == Some(&search.netns))
    }

    /// The result of the last search for an endpoint whose namespace is lost.
    pub(super) fn says(&self, endpoint: &Endpoint) -> Option<&Says> {
        self.search(endpoint)?.says.as_ref()
    }

    /// Whether searches have found that an endpoint is gone.
    pub(super) fn is_gone(&self, endpoint: &Endpoint) -> bool {
        self.says(endpoint) == Some(&Says::Gone)
    }

    /// Whether an endpoint is out of reach but not gone, so that nothing of it can be removed.
    pub(super) fn is_out_of_reach(&self, endpoint: &Endpoint) -> bool {
        self.search(endpoint).is_some_and(|search| !search.is_over())
            || self.waiting.contains(&endpoint.key())
            || self.moved.contains(&endpoint.key())
    }

    /// The endpoints that are to be taken off the LAN and cannot be reached.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &EndpointKey> {
        self.waiting.iter()
    }

    /// Notes that an endpoint that is out of reach is to be taken off the LAN as soon as it can be.
    pub(super) fn wait_for(&mut self, endpoint: &Endpoint) {
        if self.search(endpoint).is_none() {
            self.waiting.insert(endpoint.key());
        }
    }

    /// When to search again. Returns `None`, so that the next search waits for a reason, if nothing is lost
    /// and no endpoint that has left is still on the LAN.
    fn next_look(&mut self, has_left: bool) -> Option<Duration> {
        let mut searches = self.searches.values().filter(|search| !search.is_over()).peekable();
        if searches.peek().is_none() && self.waiting.is_empty() && !has_left {
            return None;
        }
        if searches.any(|search| search.nobody.is_some()) {
            return Some(APART);
        }
        self.waited = (self.waited * 2).clamp(APART, SELDOM);
        Some(self.waited)
    }
}

impl Search {
    fn of(netns: Netns) -> Self {
        Search { netns, nobody: None, says: None }
    }

    fn is_over(&self) -> bool {
        self.says == Some(Says::Gone)
    }
}

impl Inner {
    /// Notes which endpoints' paths no longer lead to their namespaces. Some of these namespaces were just
    /// observed. Returns whether there is anything to search for.
    pub(super) fn notice_all_lost(&mut self, looked_into: &[Netns], observed: &Observed) -> bool {
        let looked_into: BTreeSet<&Netns> = looked_into.iter().collect();
        let (mut lost, mut taken_in) = (Vec::new(), TakenIn::default());
        for endpoint in self.state().endpoints.values() {
            let Some(netns) = endpoint.netns() else { continue };
            if observed.netns.contains_key(netns) {
                continue;
            }
            let absent = looked_into.contains(netns) && observed.unreadable(endpoint).is_none();
            if absent || matches!(Namespace::find(netns), Found::Gone) {
                let ended = !is_of_this_start(netns)
                    && self.is_on_lan(endpoint, &observed.host, &mut taken_in) != Some(true);
                lost.push((endpoint.key(), netns.clone(), ended));
            }
        }
        let going = self.state().endpoints.values().filter(|endpoint| endpoint.stage == Stage::Detaching);
        let waiting = self.adrift(going, observed);
        self.lost.follow(lost, waiting)
    }

    /// Notes that endpoints which are to go, and whose links their containers have moved elsewhere, wait to
    /// be found. Returns whether there are any.
    pub(super) fn wait_for_adrift(&mut self, going: &[Endpoint], observed: &Observed) -> bool {
        let adrift = self.adrift(going.iter(), observed);
        let is_any = !adrift.is_empty();
        self.lost.waiting.extend(adrift);
        is_any
    }

    /// Those of some endpoints whose links their containers have moved elsewhere.
    fn adrift<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a Endpoint>,
        observed: &Observed,
    ) -> BTreeSet<EndpointKey> {
        let mut endpoints = endpoints.peekable();
        if endpoints.peek().is_none() {
            return BTreeSet::new();
        }
        let owners = Owners::of(self.state(), observed);
        let is_adrift = |one: &&Endpoint| self.state().adrift(one, &owners, observed).is_some();
        endpoints.filter(is_adrift).map(Endpoint::key).collect()
    }

    /// Like `notice_all_lost`, for one endpoint. Returns the endpoint if its namespace is lost.
    fn notice_lost(&mut self, key: &EndpointKey) -> Result<Option<Endpoint>, Refusal> {
        let Some(endpoint) = self.state().endpoints.get(key).cloned() else { return Ok(None) };
        let Some(netns) = endpoint.netns() else { return Ok(None) };
        if self.look_at_home(&endpoint)?.is_some() {
            return Ok(None);
        }
        self.lost.begin(key.clone(), netns.clone());
        Ok(Some(endpoint))
    }

    /// Observes the namespace of an endpoint. Returns `None` if the endpoint's path does not lead there.
    pub(super) fn look_at_home(&self, endpoint: &Endpoint) -> Result<Option<Observed>, Refusal> {
        let Some(netns) = endpoint.netns() else { return Ok(None) };
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        Ok(Some(observed).filter(|observed| observed.netns.contains_key(netns)))
    }

    /// Why nothing of an endpoint that was just searched for can be removed. Returns `None` if there is no
    /// sign that the endpoint is on the LAN.
    pub(super) fn says_out_of_reach(&self, endpoint: &Endpoint, observed: &Observed) -> Option<Says> {
        if self.has_port(endpoint) || self.has_link(endpoint, observed) {
            return None;
        }
        match self.is_surely_on_lan(endpoint, &observed.host, &mut TakenIn::default()) {
            Some(true) => {
                let says = self.lost.says(endpoint).filter(|says| matches!(says, Says::OnLan(_)));
                Some(says.cloned().unwrap_or(Says::OnLan(None)))
            }
            Some(false) => None,
            None => self.lost.says(endpoint).filter(|says| matches!(says, Says::Unclear(_))).cloned(),
        }
    }

    /// Whether the endpoint's link is a veth, whose other end is on the host.
    fn has_port(&self, endpoint: &Endpoint) -> bool {
        self.state().network_of(endpoint).is_some_and(|network| network.kind == LinkKind::Bridge)
    }

    /// The endpoints whose namespaces are being searched for.
    fn sought(&self) -> Vec<Endpoint> {
        let endpoints = self.state().endpoints.values();
        let sought =
            |endpoint: &&Endpoint| self.lost.search(endpoint).is_some_and(|search| !search.is_over());
        endpoints.filter(sought).cloned().collect()
    }

    /// Records what a search has found of an endpoint's namespace. `ended` says whether the host sees that
    /// the endpoint's link has ended. Returns whether this decides what becomes of the endpoint.
    fn weigh(
        &mut self,
        endpoint: &Endpoint,
        holders: &Holders,
        led: Led,
        on_lan: Option<bool>,
        ended: bool,
    ) -> bool {
        // The endpoint may be another one by now, or may have been found meanwhile.
        let is_same = |there: &Endpoint| there.netns() == endpoint.netns();
        let key = endpoint.key();
        let (Some(true), Some(netns)) = (self.state().endpoints.get(&key).map(is_same), endpoint.netns())
        else {
            return false;
        };
        let lives = self.kernel.lives(netns);
        // A namespace that the kernel has no number for, and whose link is not on the LAN: no more can be
        // known of it.
        let is_off = on_lan == Some(false) && lives == Lives::Untold;
        let says = match self.find(endpoint, netns, led) {
            Sighting::At(found) => {
                tracing::info!(network = %key.0, name = %key.1, path = %found.path.display(), "its namespace is found");
                self.move_to(&key, found);
                self.lost.searches.remove(&key);
                return true;
            }
            Sighting::Unclear(why) if on_lan == Some(true) => Says::OnLan(Some(why)),
            _ if on_lan == Some(true) => Says::OnLan(None),
            Sighting::Ended => Says::Gone,
            // The caller that had it taken off has finished with it, and there is nothing to remove.
            _ if endpoint.is_cut_short() && on_lan == Some(false) => Says::Gone,
            Sighting::Unclear(why) => Says::Unclear(why),
            Sighting::Nowhere => match holders.unseen() {
                _ if lives == Lives::Yes => {
                    Says::Unclear("something that cannot be seen holds its namespace".to_owned())
                }
                Some(unseen) => {
                    Says::Unclear(format!("not everything that may hold its namespace can be read: {unseen}"))
                }
                None if holders.may_be_hidden() && !ended && lives != Lives::No && !is_off => {
                    Says::Unclear("processes that may hold its namespace may be hidden".to_owned())
                }
                None => Says::Nobody,
            },
        };
        let Some(search) = self.lost.searches.get_mut(&key) else { return false };
        search.nobody = (says == Says::Nobody).then(|| search.nobody.unwrap_or_else(Instant::now));
        let twice = search.nobody.is_some_and(|since| endpoint.is_cut_short() || since.elapsed() >= APART);
        let says = if twice { Says::Gone } else { says };
        if search.says.as_ref() != Some(&says) && says != Says::Nobody {
            tracing::info!(network = %key.0, name = %key.1, path = %netns.path.display(), "no longer leads to its namespace; {says}");
        }
        let decided = says == Says::Gone;
        search.says = Some(says);
        decided
    }

    fn find(&self, endpoint: &Endpoint, netns: &Netns, led: Led) -> Sighting {
        if !is_of_this_start(netns) {
            return Sighting::Ended;
        }
        let namespace = match led {
            Led::To(namespace) => namespace,
            Led::Unclear(why) => return Sighting::Unclear(why),
            Led::Nowhere => return Sighting::Nowhere,
        };
        let found = match self.kernel.identify(&namespace) {
            Ok(found) => found,
            Err(error) => return Sighting::Unclear(format!("{}: {error}", namespace.path().display())),
        };
        match (&netns.cookie, &found.cookie) {
            (Some(meant), Some(found)) if meant != found => Sighting::Ended,
            (Some(_), Some(_)) => Sighting::At(Netns { cookie: found.cookie, ..netns.found_by(found.path) }),
            // The number alone may belong to another namespace by now.
            _ => match self.is_inside(endpoint, &found) {
                Ok(true) => Sighting::At(Netns { cookie: found.cookie, ..netns.found_by(found.path) }),
                Ok(false) => Sighting::Nowhere,
                Err(refusal) => Sighting::Unclear(refusal.to_string()),
            },
        }
    }

    /// Endpoints of an older version get the kernel's cookie of their namespaces, if their links are in these
    /// namespaces.
    pub(super) fn know_by_cookie(&mut self, observed: &Observed) {
        let by_file_alone = |endpoint: &&Endpoint| {
            let netns = endpoint.netns().filter(|netns| netns.cookie.is_none());
            netns.and_then(|netns| observed.netns.get(netns)).is_some_and(|view| endpoint.is_in(view))
        };
        let endpoints: Vec<Endpoint> =
            self.state().endpoints.values().filter(by_file_alone).cloned().collect();
        for endpoint in endpoints {
            let Some(netns) = endpoint.netns() else { continue };
            if let Found::There(namespace) = Namespace::find(netns)
                && let Ok(known) = self.kernel.identify(&namespace)
                && known.cookie.is_some()
            {
                self.move_to(&endpoint.key(), Netns { cookie: known.cookie, ..netns.clone() });
            }
        }
    }

    /// Whether the link of an endpoint is in a namespace.
    fn is_inside(&self, endpoint: &Endpoint, netns: &Netns) -> Result<bool, Refusal> {
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        Ok(observed.netns.get(netns).is_some_and(|view| endpoint.is_in(view)))
    }

    /// Records another path for an endpoint's namespace.
    pub(super) fn move_to(&mut self, key: &EndpointKey, netns: Netns) {
        let moved = self.state().endpoints.get(key).and_then(|endpoint| endpoint.clone().in_netns(netns));
        // If this record is lost, the namespace is searched for again.
        self.store.defer(moved.into_iter().map(Change::PutEndpoint).collect());
    }
}

/// Whether an endpoint's namespace was found by another path than the one by which the endpoint was attached,
/// and that one no longer leads there. An engine's container is known by its id, and not by a path.
pub(super) fn is_ghost(endpoint: &Endpoint) -> bool {
    if endpoint.container.is_some() {
        return false;
    }
    let by =
        |netns: &Netns| netns.attached_by.clone().map(|path| Netns { path: path.into(), ..netns.clone() });
    let netns = endpoint.netns().and_then(by);
    netns.is_some_and(|netns| matches!(Namespace::find(&netns), Found::Gone))
}

/// Whether a namespace can still exist: the host has not been restarted since.
fn is_of_this_start(netns: &Netns) -> bool {
    let (boot, now) = (netns.cookie.as_ref().map(|cookie| cookie.boot.as_str()), this_boot());
    boot.is_none() || now.is_none() || boot == now
}
