//! Takes an endpoint of a namespace off the LAN: on request, to make room for another one, and after a failed
//! attach.

use std::collections::BTreeSet;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::owner::Owners;
use ashore_core::model::state::Change;
use ashore_core::net::link::{Netns, Place};
use ashore_core::net::name::{EndpointKey, EndpointName, NetworkName};
use ashore_core::net::observed::Observed;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::step::Step;
use ashore_core::net::text::Word;
use ashore_core::rules::attach::{AttachError, AttachSpec};
use ashore_kernel::OnError;
use ashore_wire::Mac;

use super::lost_namespaces::{Says, is_ghost};
use super::{Controller, Inner, addresses_in, netns_by_all_paths};
use crate::clock::now;
use crate::daemon::refusal;
use crate::supervise;
use crate::unlocked::Unlocked;

/// The maximum number of links or MACs that a warning names.
const SHOWN: usize = 4;

impl Controller {
    pub(super) fn detach(
        &self,
        unlocked: &mut Unlocked,
        network: &NetworkName,
        name: &EndpointName,
    ) -> Result<Reply, Refusal> {
        self.detach_if(unlocked, network, name, |_| true)
    }

    /// The same, if the endpoint is the one that is meant. By the time that the lock is had, the name may have another
    /// one.
    pub(super) fn detach_if(
        &self,
        unlocked: &mut Unlocked,
        network: &NetworkName,
        name: &EndpointName,
        is_meant: impl FnOnce(&Endpoint) -> bool,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        if !inner.state().networks.contains_key(network) {
            return Err(refusal::attach(&AttachError::NoNetwork(network.clone())));
        }
        let Some(endpoint) = inner.state().endpoints.get(&(network.clone(), name.clone())).cloned() else {
            return Ok(inner.nothing_there(network, name));
        };
        if !is_meant(&endpoint) {
            return Ok(Reply::Done { warnings: Vec::new() });
        }
        if endpoint.is_lent() {
            return inner.give_lent_back(&endpoint);
        }
        if endpoint.netns().is_none() {
            let engine = endpoint.ownership.engine().unwrap_or_default();
            let label = inner.state().network_of(&endpoint).map_or(network.as_str(), Network::label);
            return Err(Refusal::new(
                Code::EndpointOfEngine,
                About::endpoint(&endpoint, inner.state()),
                format!("`{name}` is a {engine} container"),
                Some(Remedy::run(format!("{} {} {name}", engine.takes_off(), Word::of(label)))),
            ));
        }
        let before = inner.observe_where(&endpoint)?;
        let is_there = inner.has_link(&endpoint, &before);
        let is_remade = inner.remade.contains(&endpoint.key());
        if is_there && !is_remade {
            let reply = self.take_off(&mut inner, before, &endpoint, false)?;
            if !is_moved(&inner, &endpoint, &reply) {
                return Ok(reply);
            }
        } else {
            // From now on no reconciliation makes it again.
            inner.note_going(&endpoint)?;
        }
        // Meanwhile nothing else may conclude that nothing is left of the endpoint.
        inner.lost.moved.insert(endpoint.key());
        drop(inner);
        if is_there && is_remade {
            let elsewhere =
                supervise::contained(|| self.take_off_elsewhere(unlocked, &endpoint.key())).flatten();
            let mut inner = self.lock(unlocked);
            inner.lost.moved.remove(&endpoint.key());
            let elsewhere = match elsewhere {
                Ok(elsewhere) => elsewhere,
                Err(refusal) => return Ok(is_going(name, &refusal)),
            };
            let Some(endpoint) = inner.still_going(&endpoint) else {
                return Ok(Reply::Done { warnings: Vec::new() });
            };
            inner.remade.remove(&endpoint.key());
            let before = inner.observe_where(&endpoint)?;
            if inner.has_link(&endpoint, &before) {
                let reply = self.take_off(&mut inner, before, &endpoint, elsewhere.taken)?;
                if !is_moved(&inner, &endpoint, &reply) {
                    return Ok(reply);
                }
            }
            // The container has moved away what was made again, too.
            inner.lost.moved.insert(endpoint.key());
        }
        let elsewhere =
            supervise::contained(|| self.bring_in_reach(unlocked, &endpoint.key(), true)).flatten();
        let mut inner = self.lock(unlocked);
        inner.lost.moved.remove(&endpoint.key());
        let elsewhere = match elsewhere {
            Ok(elsewhere) => elsewhere,
            Err(refusal) => return Ok(is_going(name, &refusal)),
        };
        let Some(endpoint) = inner.still_going(&endpoint) else {
            return Ok(Reply::Done { warnings: Vec::new() });
        };
        let before = inner.observe_where(&endpoint)?;
        if let Some(says) = inner.says_out_of_reach(&endpoint, &before) {
            inner.lost.wait_for(&endpoint);
            self.search_soon();
            return Ok(Reply::Done { warnings: vec![format!("`{name}` {says}")] });
        }
        let unread = elsewhere.unread.iter().take(SHOWN);
        let unread =
            unread.map(|why| format!("`{name}` may have a link in a namespace that cannot be read: {why}"));
        let reply = self.take_off(&mut inner, before, &endpoint, elsewhere.taken)?;
        if is_moved(&inner, &endpoint, &reply) {
            let moved =
                format!("the container of `{name}` keeps moving its link, and may still be on the LAN");
            return Ok(Reply::Done { warnings: vec![moved] });
        }
        Ok(match reply {
            Reply::Done { warnings } if !elsewhere.taken => {
                Reply::Done { warnings: warnings.into_iter().chain(unread).collect() }
            }
            reply => reply,
        })
    }

    /// Takes an endpoint off the LAN. `taken` says whether its link was just removed in another namespace.
    fn take_off(
        &self,
        inner: &mut Inner,
        before: Observed,
        endpoint: &Endpoint,
        taken: bool,
    ) -> Result<Reply, Refusal> {
        let claims = self.lan.conflicts_of(inner.state(), endpoint);
        let (observed, mut warnings) = inner.take_off_lan(before, endpoint, taken)?;
        let claims = inner.strange(endpoint, &observed).into_iter().filter(|mac| claims.contains_key(mac));
        warnings.extend(claims.map(|mac| {
            format!("{mac}, which is on this host too, claimed its address: the link may be of its container")
        }));
        self.schedule_deferred();
        Ok(Reply::Done { warnings })
    }
}

impl Inner {
    /// The reply to a detach of an endpoint that is not there. A repeated one succeeds in silence. Of a name that is
    /// not even remembered, it is a slip.
    fn nothing_there(&self, network: &NetworkName, name: &EndpointName) -> Reply {
        let of = self.state().networks.get(network);
        let is_known = of.is_some_and(|of| self.state().identity_of(of, name).is_some());
        let warning = format!("network `{network}` has no endpoint `{name}`, and remembers none");
        Reply::Done { warnings: if is_known { Vec::new() } else { vec![warning] } }
    }

    /// Notes the attached endpoints whose links these steps make again in their containers.
    pub(super) fn note_remade(&mut self, steps: &[Step]) {
        let made = |place: &Place| {
            steps.iter().any(|step| matches!(step, Step::AddLink { place: there, .. } if there == place))
        };
        let endpoints = self.store.state().endpoints.values();
        let anew = endpoints.filter(|one| one.stage == Stage::Attached && made(&one.link().0));
        self.memory.remade.extend(anew.map(Endpoint::key));
        let state = self.store.state();
        self.memory.remade.retain(|key| state.endpoints.contains_key(key));
    }

    /// An endpoint that was to go before the lock was released, if it still is. Meanwhile the name may have got a new one,
    /// in another namespace.
    fn still_going(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let there = self.state().endpoints.get(&endpoint.key())?;
        (there.stage == Stage::Detaching && there.since == endpoint.since).then(|| there.clone())
    }

    /// Stores that an endpoint is to go, if the state does not say so yet.
    fn note_going(&mut self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
        if self.state().endpoints.get(&going.key()) == Some(&going) {
            return Ok(());
        }
        self.commit(vec![Change::PutEndpoint(going)])
    }

    /// Observes where an endpoint was attached, and the host as far as it is about the endpoint.
    fn observe_where(&self, endpoint: &Endpoint) -> Result<Observed, Refusal> {
        let netns = netns_by_all_paths(self.state(), endpoint);
        let about = addresses_in(self.state(), &netns, Some(endpoint));
        self.observe_these_about(&netns, about)
    }

    /// Takes an endpoint off the LAN. The record that it is off can wait: until then it is stored as going.
    /// If a step fails, or something is still on the LAN or was moved meanwhile, the endpoint stays stored as
    /// unfinished for the next reconciliation. `taken` says whether its link was just removed in another
    /// namespace.
    fn take_off_lan(
        &mut self,
        before: Observed,
        endpoint: &Endpoint,
        taken: bool,
    ) -> Result<(Observed, Vec<String>), Refusal> {
        let netns = netns_by_all_paths(self.state(), endpoint);
        let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
        self.note_going(endpoint)?;
        let was_there = taken || self.has_link(&going, &before);
        let is_moved = self.take_off_by_number(&going, &before);
        let swept = self.sweep_from(before, self.state(), &netns);
        self.note_unfinished(&swept);
        let (mut observed, errors) = swept?;
        // A namespace may hold more than an ordinary observation reads.
        if !observed.unreadable.is_empty() {
            observed = self.observe_these(&netns)?;
        }
        let mut warnings: Vec<String> =
            errors.iter().map(|error| format!("{error}; it is tried again every minute")).collect();
        if self.is_left(&going, &observed) {
            if errors.is_empty() {
                warnings.push(format!(
                    "a link of `{}` is still on the LAN; its removal is tried again every minute",
                    endpoint.name
                ));
            }
        } else if errors.is_empty() && !is_moved {
            let reached = netns.iter().any(|netns| observed.netns.contains_key(netns));
            if reached && !was_there {
                warnings.push(self.not_found(endpoint, &observed));
            }
            warnings.extend(self.left_alone(&going, &observed));
            let detached = self.state().detached(endpoint, now());
            self.store.defer(detached);
        }
        Ok((observed, warnings))
    }

    /// Removes the link of an endpoint that was just seen in its container, by its index, because the
    /// container may have renamed it since. Returns whether the container has moved the link away instead.
    fn take_off_by_number(&self, going: &Endpoint, before: &Observed) -> bool {
        let Some((netns, _, link)) = Owners::of(self.state(), before).link_of(going, before) else {
            return false;
        };
        self.kernel.take_away(netns, link).is_ok_and(|was_there| !was_there)
    }

    /// Whether the link of an endpoint is in its container.
    pub(super) fn has_link(&self, endpoint: &Endpoint, observed: &Observed) -> bool {
        Owners::of(self.state(), observed).link_of(endpoint, observed).is_some()
    }

    /// Whether anything of an endpoint that is to go still exists, in its container or elsewhere.
    pub(super) fn is_left(&self, going: &Endpoint, observed: &Observed) -> bool {
        let owners = Owners::of(self.state(), observed);
        let adrift = || self.state().adrift(going, &owners, observed).is_some();
        owners.link_of(going, observed).is_some() || adrift()
    }

    /// The warning that an endpoint had no link, with the MACs under which it may still be on the LAN.
    fn not_found(&self, endpoint: &Endpoint, observed: &Observed) -> String {
        let netns = endpoint.netns().map_or_else(String::new, |netns| netns.path.display().to_string());
        let nothing = format!("no link of `{}` was left in {netns}", endpoint.name);
        let strange: Vec<String> =
            self.strange(endpoint, observed).iter().take(SHOWN).map(ToString::to_string).collect();
        match strange.as_slice() {
            [] => nothing,
            macs => format!(
                "{nothing}: if its container has moved it and changed its MAC, it is still on the LAN as {}",
                macs.join(" or ")
            ),
        }
    }

    /// Returns the MACs of children of an endpoint's parent that no link of the host and no endpoint has.
    /// Returns none if the parent was not asked for its children.
    fn strange(&self, endpoint: &Endpoint, observed: &Observed) -> Vec<Mac> {
        let Some(network) = self.state().network_of(endpoint) else { return Vec::new() };
        let of_host = observed.host.links.iter().filter_map(|link| link.mac);
        let known: BTreeSet<Mac> = of_host.chain(self.state().macs_on(&network.parent)).collect();
        let children = observed.children.get(&network.parent).into_iter().flatten();
        children.filter(|mac| !known.contains(mac)).copied().collect()
    }

    /// Reports the other links by which the container of a removed endpoint is on the LAN.
    fn left_alone(&self, going: &Endpoint, observed: &Observed) -> Vec<String> {
        let others = self.state().others_beside(going, observed);
        let named = others.iter().take(SHOWN).map(|link| {
            let mac = link.mac.map_or_else(String::new, |mac| format!(" ({mac})"));
            format!(
                "`{}`{mac} in its container is on the same LAN; Ashore did not make it, and it stays",
                link.name
            )
        });
        named.collect()
    }

    /// Removes what is left in a container of an endpoint that the state has lost. Returns whether there was
    /// anything.
    pub(super) fn clears_left(
        &self,
        endpoint: &Endpoint,
        netns: &Netns,
        observed: &Observed,
    ) -> Result<bool, Refusal> {
        let steps = self.state().clearing(endpoint, netns, observed);
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        match self.kernel.apply(&steps, OnError::GoOn).errors.first() {
            Some(error) => Err(refusal::step(error)),
            None => Ok(!steps.is_empty()),
        }
    }

    /// Cleans up after a failed attach: removes the endpoint from the kernel, and writes `record` to disk. If
    /// this fails, the next reconciliation finds the endpoint unfinished and removes it.
    pub(super) fn take_back(&mut self, endpoint: &Endpoint, record: Change) {
        let netns: Vec<Netns> = endpoint.netns().cloned().into_iter().collect();
        let going = Change::PutEndpoint(Endpoint { stage: Stage::Detaching, ..endpoint.clone() });
        let without = self.state().with(std::slice::from_ref(&going));
        let about = addresses_in(self.state(), &netns, Some(endpoint));
        let before = self.observe_these_about(&netns, about);
        let swept = before.and_then(|before| self.sweep_from(before, &without, &netns));
        let taken = swept.and_then(|(_, errors)| match errors.first() {
            None => self.commit(vec![record]),
            Some(error) => self.commit(vec![going]).and(Err(refusal::step(error))),
        });
        if let Err(refusal) = taken {
            tracing::error!("{refusal}; the next reconciliation tries again");
        }
    }

    /// Makes room for an endpoint. If an endpoint of the same name was left behind in another namespace, it
    /// is taken off the LAN there. An endpoint in this namespace that was attached by a path that no longer
    /// leads here goes on under the new path.
    pub(super) fn make_room(&mut self, spec: &AttachSpec, netns: &Netns) -> Result<(), Refusal> {
        let key = (spec.network.clone(), spec.name.clone());
        if self.was_left_behind(&key, netns)?
            && let Some(there) = self.state().endpoints.get(&key).cloned()
        {
            let place: Vec<Netns> = there.netns().cloned().into_iter().collect();
            let before = self.observe_these(&place)?;
            if let Some(says @ Says::OnLan(_)) = self.says_out_of_reach(&there, &before) {
                return Err(refusal::left_behind(&there.name, &says));
            }
            self.take_off_lan(before, &there, false)?;
        }
        let here = self.state().endpoints_in(netns);
        let by_another_path =
            |endpoint: &&Endpoint| endpoint.netns().is_some_and(|there| there.path != netns.path);
        let here: Vec<Endpoint> = here.filter(by_another_path).cloned().collect();
        for endpoint in here {
            if self.look_at_home(&endpoint)?.is_some() && !is_ghost(&endpoint) {
                continue;
            }
            let before = self.observe_these(std::slice::from_ref(netns))?;
            if netns.cookie.is_some() || endpoint.is_at_home(&before) {
                self.move_to(&endpoint.key(), netns.clone());
            } else {
                // Another namespace had the inode number that this one has now.
                self.take_off_lan(before, &endpoint, false)?;
            }
        }
        Ok(())
    }

    /// Whether a name has an endpoint in another namespace than this one, to which the path by which it was
    /// attached no longer leads.
    pub(super) fn was_left_behind(&self, key: &EndpointKey, netns: &Netns) -> Result<bool, Refusal> {
        let Some(there) = self.state().endpoints.get(key) else { return Ok(false) };
        let elsewhere = there.netns().is_some_and(|place| place != netns);
        Ok(elsewhere && (is_ghost(there) || self.look_at_home(there)?.is_none()))
    }
}

/// The reply about an endpoint that is stored as going, whose link could not be looked for.
fn is_going(name: &EndpointName, why: &Refusal) -> Reply {
    Reply::Done { warnings: vec![format!("`{name}`: {why}; it is tried again every minute")] }
}

/// Whether a container has moved its link away while the endpoint was being taken off: the endpoint is still
/// going, and there is no other warning.
fn is_moved(inner: &Inner, endpoint: &Endpoint, reply: &Reply) -> bool {
    let is_done = matches!(reply, Reply::Done { warnings } if warnings.is_empty());
    is_done && inner.state().endpoints.contains_key(&endpoint.key())
}
