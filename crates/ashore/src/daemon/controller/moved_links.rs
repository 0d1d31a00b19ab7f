//! Links that their containers have moved to other namespaces.
//!
//! Such a link is on the LAN, and its endpoint keeps its addresses. The link stays where it is, and is
//! removed from there together with its endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::Network;
use ashore_core::model::owner::Owners;
use ashore_core::net::kind::{LinkKind, MacvlanMode};
use ashore_core::net::link::Netns;
use ashore_core::net::name::{EndpointKey, IfName};
use ashore_core::net::observed::{Link, Lower, Observed, Seat, View};
use ashore_kernel::{Holders, Kernel, Namespace, NamespaceError};
use ashore_wire::Mac;

use super::{Controller, Inner, all_netns};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How many times processes are looked at again for namespaces that could not be opened: what held one may have passed it
/// on.
const LOOKS: usize = 3;

/// How many namespaces are read at a time. Their owners decide how much there is to read.
const AT_A_TIME: usize = 8;
/// The maximum duration of one search. An ordinary search takes milliseconds, but others decide how many
/// namespaces there are.
const LONGEST: Duration = Duration::from_secs(10);

/// How long the answer whether a link is up stays valid. This is less than the time that is waited for a link to
/// go.
const BELIEVED: Duration = Duration::from_secs(2);

/// The MACs that parents receive frames for. Each parent is asked once.
#[derive(Default)]
pub(super) struct TakenIn(BTreeMap<u32, Option<BTreeSet<Mac>>>);

/// The result of a search for an endpoint's link in all namespaces.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// The link was found and removed.
    pub(super) taken: bool,
    /// Why the link may be in a namespace that could not be read.
    pub(super) unread: Vec<String>,
}

impl Controller {
    /// Removes the link of an endpoint wherever it is, if it is found.
    pub(super) fn take_off_elsewhere(
        &self,
        unlocked: &mut Unlocked,
        key: &EndpointKey,
    ) -> Result<Elsewhere, Refusal> {
        let endpoint = self.lock(unlocked).state().endpoints.get(key).cloned();
        endpoint
            .map_or_else(|| Ok(Elsewhere::default()), |endpoint| self.take_off_wherever(unlocked, &endpoint))
    }

    /// The same for an endpoint that may have left its container, and the state.
    pub(super) fn take_off_wherever(
        &self,
        unlocked: &mut Unlocked,
        endpoint: &Endpoint,
    ) -> Result<Elsewhere, Refusal> {
        let nowhere = Elsewhere::default();
        let parent = {
            let inner = self.lock(unlocked);
            let Some(network) = inner.state().network_of(endpoint) else { return Ok(nowhere) };
            // The other end of a veth is on the host.
            if network.kind == LinkKind::Bridge {
                return Ok(nowhere);
            }
            network.parent.clone()
        };
        let mut elsewhere = nowhere;
        let unread =
            look_everywhere(unlocked, self.copies.host(), &parent, |unlocked, netns, view, parent| {
                if view.links.iter().any(|link| is_of(endpoint, link, view, parent)) {
                    elsewhere.taken |= self.take_off_in(unlocked, endpoint, netns, parent)?;
                }
                Ok(())
            });
        elsewhere.unread = unread?;
        Ok(elsewhere)
    }

    /// Removes the links of an endpoint in one namespace, if they still exist and the endpoint is still to be
    /// taken off.
    fn take_off_in(
        &self,
        unlocked: &mut Unlocked,
        endpoint: &Endpoint,
        netns: &Netns,
        parent: u32,
    ) -> Result<bool, Refusal> {
        let inner = self.lock(unlocked);
        let same = |there: &Endpoint| there.placement == endpoint.placement && there.since == endpoint.since;
        let is_in_state = inner.state().endpoints.get(&endpoint.key()).is_some_and(same);
        if !is_in_state && !inner.still_on_lan().any(|left| left == endpoint) {
            return Ok(false);
        }
        // The namespace is also observed as the endpoints in it know it: their own links are not links of
        // this endpoint, whatever MACs they have by now.
        let mut asked = all_netns(inner.state());
        asked.retain(|there| there.has_file_of(netns));
        asked.push(netns.clone());
        let observed = inner.observe_these(&asked)?;
        let owners = Owners::of(inner.state(), &observed);
        let Some((netns, view)) = observed.at(&netns.path) else { return Ok(false) };
        let own = view.links.iter().filter(|link| is_of(endpoint, link, view, parent));
        let own = own.filter(|link| !owners.is_of_another(endpoint, netns, link));
        let mut taken = false;
        for link in own {
            tracing::info!(netns = %netns.path.display(), link = %link.name, "removing a link of `{}`", endpoint.name);
            taken |= inner.kernel.take_away(netns, link).map_err(|error| refusal::step(&error))?;
        }
        Ok(taken)
    }
}

/// Reads all namespaces but the host's, without the lock. Calls `look` with each namespace, its view, and the
/// index by which the host knows the parent. Returns the reasons why a namespace could not be read, or why
/// `look` failed.
pub(super) fn look_everywhere(
    unlocked: &mut Unlocked,
    host: &Namespace,
    parent: &IfName,
    mut look: impl FnMut(&mut Unlocked, &Netns, &View, u32) -> Result<(), Refusal>,
) -> Result<Vec<String>, Refusal> {
    // With sockets of its own, so that other requests need not wait.
    let kernel = Kernel::of(host).map_err(|error| refusal::namespace(&error))?;
    let observed = kernel.observe(&[]).map_err(|error| refusal::kernel(&error))?;
    let Some(parent) = observed.host.link(parent).map(|link| link.index) else { return Ok(Vec::new()) };
    look_into_all(unlocked, &kernel, |unlocked, netns, view| look(unlocked, netns, view, parent))
}

/// Like `look_everywhere`, for a caller that has its own sockets and asks for no parent.
pub(super) fn look_into_all(
    unlocked: &mut Unlocked,
    kernel: &Kernel,
    mut look: impl FnMut(&mut Unlocked, &Netns, &View) -> Result<(), Refusal>,
) -> Result<Vec<String>, Refusal> {
    let (mut unread, mut large) = (Vec::new(), Vec::new());
    let end = Instant::now() + LONGEST;
    let in_time = |unread: &mut Vec<String>| {
        let is_over = Instant::now() >= end;
        if is_over {
            unread.push(format!("there are more namespaces than can be read in {} s", LONGEST.as_secs()));
        }
        !is_over
    };
    let mut look = |unread: &mut Vec<String>, observed: &Observed| {
        for (netns, view) in &observed.netns {
            unread.extend(look(unlocked, netns, view).err().map(|refusal| refusal.to_string()));
        }
    };
    let mut missed: Option<BTreeSet<u64>> = None;
    'looks: for _ in 0..LOOKS {
        let holders = Holders::look();
        let (mut found, mut again) = (Vec::new(), BTreeSet::new());
        for (number, paths) in holders.all() {
            if missed.as_ref().is_some_and(|missed| !missed.contains(&number)) {
                continue;
            }
            if !in_time(&mut unread) {
                break 'looks;
            }
            match open_by_any(number, paths) {
                Ok(Some(there)) if there == *kernel.host() => {}
                Ok(Some(there)) => found.push(there.identity()),
                Ok(None) => again.extend([number]),
                Err(why) => unread.push(why.to_string()),
            }
        }
        for some in found.chunks(AT_A_TIME) {
            if !in_time(&mut unread) {
                break 'looks;
            }
            let observed = kernel.observe(some).map_err(|error| refusal::kernel(&error))?;
            look(&mut unread, &observed);
            let is_seen = |netns: &&Netns| {
                observed.netns.contains_key(*netns) || observed.unreadable.contains_key(*netns)
            };
            again.extend(some.iter().filter(|netns| !is_seen(netns)).map(|netns| netns.ino));
            large.extend(observed.unreadable.into_keys());
        }
        if missed.is_none() {
            unread.extend(holders.unseen().map(str::to_owned));
        }
        let is_over = again.is_empty();
        missed = Some(again);
        if is_over {
            break;
        }
    }
    if missed.is_some_and(|missed| !missed.is_empty()) {
        unread.push("a namespace whose holders change faster than it can be read".to_owned());
    }
    for netns in large {
        if !in_time(&mut unread) {
            break;
        }
        let observed = kernel.observe_closely(std::slice::from_ref(&netns));
        let observed = observed.map_err(|error| refusal::kernel(&error))?;
        look(&mut unread, &observed);
        let of_this = observed.unreadable.into_iter();
        unread.extend(of_this.map(|(netns, why)| format!("{}: {why}", netns.path.display())));
    }
    Ok(unread)
}

/// Checks a network that is about to be created, or that has no endpoint yet, against the children of its
/// parent in all namespaces. The kernel would refuse the first endpoint's link beside children of others, or
/// would switch their mode. A namespace that cannot be read is ignored.
pub(super) fn check_beside_children_elsewhere(
    unlocked: &mut Unlocked,
    host: &Namespace,
    network: &Network,
) -> Result<(), Refusal> {
    let mut found = Ok(());
    look_everywhere(unlocked, host, &network.parent, |_, netns, view, parent| {
        let lower = Some(Lower { index: parent, seat: Seat::Host });
        let children = view.links.iter().filter(|link| link.lower == lower);
        if found.is_ok() {
            found = network.check_beside_children(children, Some(&netns.path));
        }
        Ok(())
    })?;
    found.map_err(|error| refusal::network(&error))
}

/// Opens the namespace with an inode number by one of its paths. Returns `None` if no path leads there any more: what
/// held it may have ended, or its descriptor may be another file's by now. Returns an error if a path fails for another
/// reason.
fn open_by_any<'a>(
    number: u64,
    paths: impl Iterator<Item = &'a Path>,
) -> Result<Option<Namespace>, NamespaceError> {
    let mut why = None;
    for path in paths {
        match Namespace::open(path) {
            Ok(there) if there.file().1 == number => return Ok(Some(there)),
            Ok(_) => {}
            Err(error) if error.leads_nowhere() => {}
            Err(error) => why = Some(error),
        }
    }
    why.map_or(Ok(None), Err)
}

/// Whether a link in a namespace is that of an endpoint on a parent. A tag alone may be that of another
/// daemon in another namespace of this machine, and a MAC that a container has chosen may be the MAC of any
/// machine.
fn is_of(endpoint: &Endpoint, link: &Link, view: &View, parent: u32) -> bool {
    let marked = || {
        let holds = || view.addresses_of(link).any(|there| endpoint.holds(there.net.addr()));
        let tagged = link.tag().as_ref() == Some(&endpoint.tag());
        match endpoint.mac {
            Some(_) => endpoint.mac_on_lan() == link.mac && (tagged || holds()),
            None => tagged && holds(),
        }
    };
    link.lower == Some(Lower { index: parent, seat: Seat::Host })
        && (endpoint.mac.is_some() && endpoint.mac == link.mac || marked())
}

impl Inner {
    /// Whether the link of an endpoint is on the LAN, wherever it is, as far as the host sees it: by the far
    /// end of a veth, or by the MACs that the parent receives frames for. Returns `None` where the host sees
    /// neither.
    pub(super) fn is_on_lan(&self, endpoint: &Endpoint, host: &View, taken_in: &mut TakenIn) -> Option<bool> {
        let network = self.state().network_of(endpoint)?;
        if network.kind == LinkKind::Bridge {
            return Some(host.tagged(&endpoint.port_tag()).is_some());
        }
        // A link goes with its parent, wherever the link is.
        let Some(parent) = host.link(&network.parent) else { return Some(false) };
        match network.kind {
            LinkKind::Macvlan(MacvlanMode::Passthru) | LinkKind::Ipvlan(_) | LinkKind::Bridge => None,
            LinkKind::Macvlan(_) => {
                let ask = || self.kernel.taken_in(parent.index).ok().flatten();
                let macs = taken_in.0.entry(parent.index).or_insert_with(ask).as_ref()?;
                Some(self.state().macs_of(endpoint).any(|mac| macs.contains(&mac)))
            }
        }
    }

    /// Like `is_on_lan`, where more depends on the answer: a MAC that a parent receives frames for is not
    /// proof enough.
    pub(super) fn is_surely_on_lan(
        &self,
        endpoint: &Endpoint,
        host: &View,
        taken_in: &mut TakenIn,
    ) -> Option<bool> {
        let on_lan = self.is_on_lan(endpoint, host, taken_in);
        let network = self.state().network_of(endpoint)?;
        if on_lan != Some(true) || network.kind == LinkKind::Bridge {
            return on_lan;
        }
        let macs = taken_in.0.get(&host.link(&network.parent)?.index)?.as_ref()?;
        let mut up = self.state().macs_of(endpoint).filter(|mac| macs.contains(mac));
        Some(up.any(|mac| self.is_child(&network.parent, mac)))
    }

    /// Whether a link is up with a MAC that a parent receives frames for. Any container can make the parent
    /// receive frames for a MAC, so the kernel is asked. It is asked by making a link for a moment, which
    /// causes notifications, so a positive answer stays valid for a while.
    pub(super) fn is_child(&self, parent: &IfName, mac: Mac) -> bool {
        self.is_child_unless(parent, mac, |is_up| is_up)
    }

    /// Like `is_child`, where a link that has come a moment ago may be missed: a negative answer stays valid
    /// too. Otherwise each look would cause the notification that causes the next look.
    pub(super) fn was_child(&self, parent: &IfName, mac: Mac) -> bool {
        self.is_child_unless(parent, mac, |_| true)
    }

    /// Asks the kernel, unless its last answer is believed.
    fn is_child_unless(&self, parent: &IfName, mac: Mac, is_believed: impl Fn(bool) -> bool) -> bool {
        let key = (parent.clone(), mac);
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|_, (at, _)| at.elapsed() < BELIEVED);
        if let Some((_, is_up)) = children.get(&key).filter(|(_, is_up)| is_believed(*is_up)) {
            return *is_up;
        }
        let answer = self.kernel.has_child_with(parent, mac);
        let is_up = answer.unwrap_or_else(|error| {
            tracing::warn!(%parent, %mac, "cannot tell whether a link with this MAC is up: {error}");
            true
        });
        children.insert(key, (Instant::now(), is_up));
        is_up
    }

    /// Whether the host sees that the link of an endpoint no longer exists, wherever it was: the parent is
    /// gone, or the far end of the veth. A link that is down is not on the LAN, but may come back.
    pub(super) fn has_ended(&self, endpoint: &Endpoint, host: &View) -> bool {
        let Some(network) = self.state().network_of(endpoint) else { return false };
        host.link(&network.parent).is_none()
            || network.kind == LinkKind::Bridge && host.tagged(&endpoint.port_tag()).is_none()
    }
}
