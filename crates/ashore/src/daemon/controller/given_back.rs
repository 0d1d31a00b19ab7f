//! Links on the host that an engine has taken out of a container and does not need any more.
//!
//! The kernel takes 20 ms to delete such a link. So they are deleted without the lock, once there has been no
//! request for a moment. A container that starts again earlier finds its link.

use std::collections::BTreeSet;

use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::state::State;
use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, Place, Tag};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, Observed, ObservedKind};
use ashore_core::net::step::Step;
use ashore_core::plan::diff::Plan;
use ashore_kernel::{Kernel, OnError};

use super::{Controller, Inner, Locked};

impl Controller {
    /// Deletes the links that engines have given back. The lock is released meanwhile, and the links count as
    /// gone.
    pub(super) fn remove_given_back(&self, mut inner: Locked<'_>, observed: &Observed) {
        let names = inner.leave_given_back(&mut inner.plan(observed), inner.state(), observed);
        inner.leftovers.set(false);
        inner.removing.extend(names.iter().cloned());
        let unlocked = inner.release();
        if names.is_empty() {
            return;
        }
        let steps: Vec<Step> = names.iter().cloned().map(removal).collect();
        for step in &steps {
            tracing::info!(target: "ashore::step", "{step}");
        }
        // With sockets of its own, because other requests use the controller's.
        match Kernel::of(self.copies.host()) {
            Ok(kernel) => {
                for error in kernel.apply(&steps, OnError::GoOn).errors {
                    tracing::warn!("{error}; it is tried again every minute");
                }
            }
            Err(error) => tracing::error!("{error}; links are removed in a minute"),
        }
        self.lock(unlocked).removing.retain(|name| !names.contains(name));
    }
}

impl Inner {
    /// Takes the deletion of links out of a plan that engines have given back, unless the plan needs their
    /// names or MACs. Returns their names, and has them deleted later. At the start, when nobody waits for the
    /// lock, they stay in the plan.
    pub(super) fn leave_given_back(
        &self,
        plan: &mut Plan,
        wanted: &State,
        observed: &Observed,
    ) -> BTreeSet<IfName> {
        let made: Vec<_> = plan.steps.iter().filter_map(made).collect();
        let is_needed = |link: &Link| {
            made.iter().any(|there| there.name == link.name || (link.mac.is_some() && there.mac == link.mac))
        };
        let given_back = |name: &IfName| {
            let link = observed.host.link(name)?;
            (is_given_back(link, wanted) && !is_needed(link)).then(|| name.clone())
        };
        let going = plan.steps.iter().filter(|_| self.publication.has_begun()).filter_map(deleted);
        let names: BTreeSet<IfName> = going.filter_map(given_back).collect();
        plan.steps.retain(|step| !deleted(step).is_some_and(|name| names.contains(name)));
        if !names.is_empty() {
            self.leftovers.set(true);
        }
        names
    }
}

/// Whether a link of the host was an engine's endpoint's on a network that still exists, and is no longer. A
/// link that has its parent for itself, and its MAC, makes room at once.
fn is_given_back(link: &Link, wanted: &State) -> bool {
    let Some(tag @ Tag::Endpoint(..)) = link.tag() else { return false };
    let Tag::Endpoint(network, _) = &tag else { return false };
    let of_engine = wanted.networks.get(network).is_some_and(|network| network.engine.is_some());
    let is_its = |endpoint: &Endpoint| endpoint.stage != Stage::Reserved && endpoint.tag() == tag;
    let passes = matches!(link.kind, ObservedKind::Macvlan { mode: Some(MacvlanMode::Passthru), .. });
    of_engine && !passes && !wanted.endpoints_on(network).any(is_its)
}

fn made(step: &Step) -> Option<&LinkSpec> {
    match step {
        Step::AddLink { link, .. } => Some(link),
        _ => None,
    }
}

fn deleted(step: &Step) -> Option<&IfName> {
    match step {
        Step::DelLink { place: Place::Host, link } => Some(link),
        _ => None,
    }
}

fn removal(link: IfName) -> Step {
    Step::DelLink { place: Place::Host, link }
}
