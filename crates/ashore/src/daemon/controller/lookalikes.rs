//! Links that have the MAC of a name that is not attached now.
//!
//! A container may give a link of its own any MAC, and may move a link away while it is down, when nothing
//! shows it. The kernel brings up no second link with that MAC on a parent.

use std::collections::BTreeSet;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::network::Network;
use ashore_core::model::owner::shim_mac;
use ashore_core::model::state::State;
use ashore_core::net::kind::{LinkKind, MacvlanMode};
use ashore_core::net::link::{Netns, Tag};
use ashore_core::net::name::{IfName, NetworkName};
use ashore_core::net::observed::{Link, Lower, Observed, Seat};
use ashore_wire::Mac;

use super::moved_links::look_everywhere;
use super::{Controller, Inner};
use crate::unlocked::Unlocked;

/// The maximum number of names that are reported for one network.
const SHOWN: usize = 4;

impl Controller {
    /// If an endpoint was refused because another link on its parent has its MAC, names that link in the
    /// hint.
    pub(super) fn name_lookalike(
        &self,
        unlocked: &mut Unlocked,
        refusal: Refusal,
        parent: &IfName,
        mac: Option<Mac>,
    ) -> Refusal {
        let Some(mac) = mac else { return refusal };
        let up = self.lock(unlocked).kernel.macs_on(parent).ok().flatten().unwrap_or_default();
        if !up.contains(&mac) {
            return refusal;
        }
        let mut found = Vec::new();
        let has_mac = |link: &&Link, parent| {
            let on_parent = link.lower == Some(Lower { index: parent, seat: Seat::Host });
            on_parent && link.up && link.mac == Some(mac)
        };
        let looked = look_everywhere(unlocked, self.copies.host(), parent, |_, netns, view, parent| {
            let links = view.links.iter().filter(|link| has_mac(link, parent));
            found.extend(links.map(|link| (link.name.clone(), netns.clone())));
            Ok(())
        });
        if let Err(why) = looked {
            tracing::warn!("{why}");
        }
        let Some((link, netns)) = found.into_iter().next() else { return refusal };
        let inner = self.lock(unlocked);
        let is_there = |there: &Netns| (there.dev, there.ino) == (netns.dev, netns.ino);
        let of = inner.state().endpoints.values().find(|endpoint| endpoint.netns().is_some_and(is_there));
        let whose =
            of.map_or_else(String::new, |endpoint| format!(", the container of `{}`,", endpoint.name));
        let hint = format!(
            "the link `{link}` in {}{whose} has this MAC on {parent}: remove it there",
            netns.path.display(),
        );
        Refusal { remedy: Some(hint.into()), ..refusal }
    }

    /// The same for the shim on the parent of a network.
    pub(super) fn name_lookalike_of_shim(
        &self,
        unlocked: &mut Unlocked,
        refusal: Refusal,
        network: &NetworkName,
    ) -> Refusal {
        if refusal.kind != RefusalKind::Kernel {
            return refusal;
        }
        let shim = {
            let inner = self.lock(unlocked);
            let observed = inner.observe(&[]).ok();
            let parent = inner.state().networks.get(network).map(|network| network.parent.clone());
            parent.zip(observed).and_then(|(parent, observed)| {
                let mac = missing_shim(&parent, &observed)?;
                Some((parent, mac))
            })
        };
        match shim {
            Some((parent, mac)) => self.name_lookalike(unlocked, refusal, &parent, Some(mac)),
            None => refusal,
        }
    }
}

/// Returns the MAC of a parent's shim if the shim does not exist.
fn missing_shim(parent: &IfName, observed: &Observed) -> Option<Mac> {
    let is_missing = observed.host.tagged(&Tag::Shim(parent.clone())).is_none();
    shim_mac(observed.host.link(parent)?).filter(|_| is_missing)
}

impl Inner {
    /// Reports links that have the MACs of names that are not attached now.
    pub(super) fn lookalikes(&self, observed: &Observed) -> Vec<Trouble> {
        let of_host: BTreeSet<Mac> = observed.host.links.iter().filter_map(|link| link.mac).collect();
        let has_macs = |network: &&Network| matches!(network.kind, LinkKind::Macvlan(mode) if mode != MacvlanMode::Passthru);
        let networks = self.state().networks.values().filter(has_macs);
        let told = networks.flat_map(|network| {
            let up = self.kernel.macs_on(&network.parent).ok().flatten().unwrap_or_default();
            let known: BTreeSet<Mac> = self.state().macs_on(&network.parent).collect();
            let left: BTreeSet<Mac> = self.left_macs();
            let is_strange =
                |mac: &Mac| up.contains(mac) && ![&known, &left, &of_host].iter().any(|them| them.contains(mac));
            let scope = State::scope(network);
            let names = self.state().identities.iter().filter(move |((of, _), _)| *of == scope);
            let found = names.filter_map(|((_, name), identity)| Some((name, identity.mac.filter(is_strange)?)));
            let shim = missing_shim(&network.parent, observed).filter(|mac| network.uses_shim() && up.contains(mac));
            let about = About { parent: Some(network.parent.clone()), ..About::network(network) };
            let shim = shim.map(|mac| {
                let message = format!(
                    "a link on {} has the MAC of the host's own shim there ({mac}), made by a container or a program; \
                     nothing can be attached until it is gone",
                    network.parent
                );
                Trouble::new(Code::ShimMacTaken, about.clone(), message, None)
            });
            let found = found.map(|(name, mac)| {
                let message = format!(
                    "`{name}` is not attached to `{}` now, but a link with its MAC ({mac}) is on {}, made or moved by a \
                     container or a program; `{name}` cannot be attached until it is gone",
                    network.label(),
                    network.parent
                );
                let about = About { endpoint: Some(name.clone()), ..about.clone() };
                Trouble::new(Code::MacTaken, about, message, None)
            });
            shim.into_iter().chain(found.take(SHOWN)).collect::<Vec<_>>()
        });
        told.collect()
    }
}
