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

/// Looks that find nobody are two if so much lies between them: what is handed from one process to another has arrived.
const APART: Duration = Duration::from_secs(3);
/// What is neither found nor gone is looked for ever less often, up to this.
const SELDOM: Duration = Duration::from_secs(60);
/// The kernel takes a namespace down that nobody holds in its own time, and the link in it is on the LAN until then. Whoever waits for
/// that waits for so long.
const TAKEN_DOWN: Duration = Duration::from_secs(3);
/// As many namespaces are open at a time.
const AT_A_TIME: usize = 64;
/// Reasons to look come in bursts.
const SETTLE: Duration = Duration::from_millis(500);

/// What is known of endpoints that are looked for.
#[derive(Debug, Default)]
pub(super) struct Lost {
    searches: BTreeMap<EndpointKey, Search>,
    /// Those that are to be taken off the LAN and cannot be reached.
    waiting: BTreeSet<EndpointKey>,
    /// Those whose containers moved their links away while they were taken off, and that are looked for everywhere right now.
    pub(super) moved: BTreeSet<EndpointKey>,
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
    /// Its link is on the LAN, and why what may lead to it could not be followed, if anything may.
    OnLan(Option<String>),
    /// It may be there, and why nobody knows.
    Unclear(String),
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Says::Gone | Says::Nobody => f.write_str("is gone"),
            Says::OnLan(Some(why)) => {
                write!(
                    f,
                    "is on the LAN still, in a namespace that could not be looked into ({why}); its address stays reserved until \
                     it has gone"
                )
            }
            Says::OnLan(None) => f.write_str(
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

/// Where the paths lead by which a look has found somebody who holds a namespace.
enum Led {
    To(Namespace),
    Unclear(String),
    Nowhere,
}

impl Led {
    /// Follows them to the namespace of an endpoint. That is for whoever lives there to say, and takes its time: not under the lock.
    fn by(endpoint: &Endpoint, holders: &Holders) -> Self {
        let mut otherwise = Led::Nowhere;
        let Some(netns) = endpoint.netns().filter(|netns| is_of_this_start(netns)) else { return otherwise };
        for path in holders.paths_of(netns) {
            match Namespace::open(path) {
                Ok(namespace) if namespace.identity().has_file_of(netns) => return Led::To(namespace),
                // It was there a moment ago.
                Ok(_) => {
                    let why = format!("{} led to its namespace and does not now", path.display());
                    otherwise = Led::Unclear(why);
                }
                Err(error) => otherwise = Led::Unclear(error.to_string()),
            }
        }
        otherwise
    }
}

impl Controller {
    /// Has it looked for what is lost.
    pub(super) fn search_soon(&self) {
        let _ = self.wakers.search.send(());
    }

    /// Looks for ever, whenever there is a reason to.
    pub(crate) fn search(&self, words: &Receiver<()>) {
        self.look_for_unowned();
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
        let (lost, waiting, left) = {
            let inner = self.lock();
            (inner.sought(), inner.lost.waiting.clone(), inner.still_on_lan().cloned().collect::<Vec<_>>())
        };
        let mut decided = self.look_for_these(&lost);
        for key in &waiting {
            match self.take_off_elsewhere(key) {
                Ok(elsewhere) => decided |= elsewhere.taken,
                Err(refusal) => tracing::warn!(network = %key.0, name = %key.1, "{refusal}"),
            }
        }
        // An engine that was killed lets go of a container whose namespace somebody holds.
        for endpoint in &left {
            match self.take_off_wherever(endpoint) {
                Ok(elsewhere) => decided |= elsewhere.taken,
                Err(refusal) => {
                    tracing::warn!(network = %endpoint.network, name = %endpoint.name, "{refusal}");
                }
            }
        }
        if decided {
            self.reconcile(Cause::Search);
        }
        let mut inner = self.lock();
        let has_left = inner.still_on_lan().next().is_some();
        inner.lost.next_look(has_left)
    }

    /// Looks for the namespaces of some endpoints. Tells whether one was found, or is gone.
    fn look_for_these(&self, lost: &[Endpoint]) -> bool {
        if lost.is_empty() {
            return false;
        }
        let holders = Holders::look();
        let mut decided = false;
        for some in lost.chunks(AT_A_TIME) {
            let led: Vec<Led> = some.iter().map(|endpoint| Led::by(endpoint, &holders)).collect();
            let mut inner = self.lock();
            let host = match inner.observe(&[]) {
                Ok(observed) => observed.host,
                Err(refusal) => {
                    tracing::error!("{refusal}; it is looked for again");
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

    /// At the start: what was cut short in a namespace that is lost is looked for once, before anybody is answered.
    pub(super) fn look_for_cut_short(&self) {
        let mut inner = self.lock();
        let cut_short = inner.state().endpoints.values().filter(|endpoint| endpoint.is_cut_short());
        let keys: Vec<EndpointKey> = cut_short.map(Endpoint::key).collect();
        let lost: Vec<Endpoint> = keys.iter().filter_map(|key| inner.notice_lost(key).ok()?).collect();
        drop(inner);
        self.look_for_these(&lost);
    }

    /// Brings the link of an endpoint in reach whose path no longer leads to it, or whose container has moved it: its namespace is
    /// found, or the link is taken off wherever it is. One that is down is looked for only `if_down`: all namespaces have to be entered.
    pub(super) fn bring_in_reach(&self, key: &EndpointKey, if_down: bool) -> Result<Elsewhere, Refusal> {
        let lost = self.lock().notice_lost(key)?;
        self.look_for_these(lost.as_slice());
        let inner = self.lock();
        let Some(endpoint) = inner.state().endpoints.get(key) else { return Ok(Elsewhere::default()) };
        let home = inner.look_at_home(endpoint)?;
        let is_home = home.is_some_and(|home| inner.has_link(endpoint, &home));
        let host = inner.observe(&[])?.host;
        // Of a veth the host has the other end, by which it goes.
        let may_be_elsewhere = !inner.has_port(endpoint)
            && (if_down || inner.is_on_lan(endpoint, &host, &mut TakenIn::default()) != Some(false));
        drop(inner);
        if is_home || !may_be_elsewhere {
            return Ok(Elsewhere::default());
        }
        let elsewhere = self.take_off_elsewhere(key)?;
        self.await_end(key)?;
        Ok(elsewhere)
    }

    /// Waits until the kernel has taken down what nobody was found to hold.
    fn await_end(&self, key: &EndpointKey) -> Result<(), Refusal> {
        let end = Instant::now() + TAKEN_DOWN;
        while Instant::now() < end {
            let inner = self.lock();
            let Some(endpoint) = inner.state().endpoints.get(key) else { return Ok(()) };
            let host = inner.observe(&[])?.host;
            let on_lan = inner.is_surely_on_lan(endpoint, &host, &mut TakenIn::default());
            if on_lan != Some(true) {
                return Ok(());
            }
            drop(inner);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Lost {
    /// Takes in which endpoints' namespaces are lost now, of which some have ended for certain. Tells whether any is to be looked for.
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

    /// Begins to look for an endpoint's namespace.
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

    /// What the last look says of an endpoint whose namespace is lost.
    pub(super) fn says(&self, endpoint: &Endpoint) -> Option<&Says> {
        self.search(endpoint)?.says.as_ref()
    }

    /// Whether looks have found that an endpoint is gone.
    pub(super) fn is_gone(&self, endpoint: &Endpoint) -> bool {
        self.says(endpoint) == Some(&Says::Gone)
    }

    /// Whether an endpoint is out of reach and not gone: nothing can be taken away of it.
    pub(super) fn is_out_of_reach(&self, endpoint: &Endpoint) -> bool {
        self.search(endpoint).is_some_and(|search| !search.is_over())
            || self.waiting.contains(&endpoint.key())
            || self.moved.contains(&endpoint.key())
    }

    /// Those that are to be taken off and cannot be reached.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &EndpointKey> {
        self.waiting.iter()
    }

    /// An endpoint that is out of reach is to be taken off once it can be.
    pub(super) fn wait_for(&mut self, endpoint: &Endpoint) {
        if self.search(endpoint).is_none() {
            self.waiting.insert(endpoint.key());
        }
    }

    /// When to look again; not before there is a reason, if nothing is lost and nothing that has left is still on the LAN.
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
    /// Notices which endpoints' paths no longer lead to their namespaces, of which some were just looked into. Tells whether any is to
    /// be looked for.
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

    /// Endpoints that are to go and whose links their containers have moved elsewhere wait to be found. Tells whether there are any.
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

    /// The same of one endpoint, which comes back if it is lost.
    fn notice_lost(&mut self, key: &EndpointKey) -> Result<Option<Endpoint>, Refusal> {
        let Some(endpoint) = self.state().endpoints.get(key).cloned() else { return Ok(None) };
        let Some(netns) = endpoint.netns() else { return Ok(None) };
        if self.look_at_home(&endpoint)?.is_some() {
            return Ok(None);
        }
        self.lost.begin(key.clone(), netns.clone());
        Ok(Some(endpoint))
    }

    /// What is to be seen at the namespace of an endpoint; none if its path does not lead there.
    pub(super) fn look_at_home(&self, endpoint: &Endpoint) -> Result<Option<Observed>, Refusal> {
        let Some(netns) = endpoint.netns() else { return Ok(None) };
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        Ok(Some(observed).filter(|observed| observed.netns.contains_key(netns)))
    }

    /// Why nothing can be taken off of an endpoint that was just looked for, if it may be on the LAN.
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

    /// Whether its link is a veth, of which the host has the other end.
    fn has_port(&self, endpoint: &Endpoint) -> bool {
        self.state().network_of(endpoint).is_some_and(|network| network.kind == LinkKind::Bridge)
    }

    /// The endpoints whose namespaces are looked for.
    fn sought(&self) -> Vec<Endpoint> {
        let endpoints = self.state().endpoints.values();
        let sought =
            |endpoint: &&Endpoint| self.lost.search(endpoint).is_some_and(|search| !search.is_over());
        endpoints.filter(sought).cloned().collect()
    }

    /// Enters what a look has found of an endpoint's namespace, of which the host may see that its link has ended. Tells whether that
    /// decides what becomes of it.
    fn weigh(
        &mut self,
        endpoint: &Endpoint,
        holders: &Holders,
        led: Led,
        on_lan: Option<bool>,
        ended: bool,
    ) -> bool {
        // It may be another by now, or have been found meanwhile.
        let is_same = |there: &Endpoint| there.netns() == endpoint.netns();
        let key = endpoint.key();
        let (Some(true), Some(netns)) = (self.state().endpoints.get(&key).map(is_same), endpoint.netns())
        else {
            return false;
        };
        let lives = self.kernel.lives(netns);
        // One that the kernel has never heard of is not on the LAN, which is all that there is to be known.
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
            // Whoever had it taken off has done with it, and there is nothing to be taken off.
            _ if endpoint.is_cut_short() && on_lan == Some(false) => Says::Gone,
            Sighting::Unclear(why) => Says::Unclear(why),
            Sighting::Nowhere => match holders.unseen() {
                _ if lives == Lives::Yes => {
                    Says::Unclear("something that cannot be seen holds its namespace".to_owned())
                }
                Some(unseen) => {
                    Says::Unclear(format!("not all that may hold its namespace can be looked at: {unseen}"))
                }
                None if holders.may_be_hidden() && !ended && lives != Lives::No && !is_off => {
                    Says::Unclear("not all processes are shown that may hold its namespace".to_owned())
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
            // Its number alone may be another's by now.
            _ => match self.is_inside(endpoint, &found) {
                Ok(true) => Sighting::At(Netns { cookie: found.cookie, ..netns.found_by(found.path) }),
                Ok(false) => Sighting::Nowhere,
                Err(refusal) => Sighting::Unclear(refusal.to_string()),
            },
        }
    }

    /// Endpoints of an older version are known by the kernel's number for their namespaces from now on, if these have their links.
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

    /// The path of an endpoint's namespace is another.
    pub(super) fn move_to(&mut self, key: &EndpointKey, netns: Netns) {
        let moved = self.state().endpoints.get(key).and_then(|endpoint| endpoint.clone().in_netns(netns));
        // Should that be lost, it is looked for again.
        self.store.defer(moved.into_iter().map(Change::PutEndpoint).collect());
    }
}

/// Whether an endpoint's namespace is found by another path than that by which it was attached, which does not lead there.
pub(super) fn is_ghost(endpoint: &Endpoint) -> bool {
    let by =
        |netns: &Netns| netns.attached_by.clone().map(|path| Netns { path: path.into(), ..netns.clone() });
    let netns = endpoint.netns().and_then(by);
    netns.is_some_and(|netns| matches!(Namespace::find(&netns), Found::Gone))
}

/// Whether a namespace can be there still: the host has not been started anew since it was.
fn is_of_this_start(netns: &Netns) -> bool {
    let (boot, now) = (netns.cookie.as_ref().map(|cookie| cookie.boot.as_str()), this_boot());
    boot.is_none() || now.is_none() || boot == now
}
