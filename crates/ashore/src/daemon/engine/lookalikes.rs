//! Links that have the MAC of a name which has no place now.
//!
//! A container may give a link of its own any MAC, and may move a link away while it is down, when nobody hears it. The kernel brings no
//! second link of that MAC up on a parent.

use std::collections::BTreeSet;

use ashore_core::link::{LinkKind, MacvlanMode, Netns};
use ashore_core::network::Network;
use ashore_core::observed::{Link, Lower, Observed, Seat};
use ashore_core::request::Refusal;
use ashore_core::state::State;
use ashore_wire::Mac;

use super::strayed::look_everywhere;
use super::{Engine, Inner};

/// So many are told of at most.
const SHOWN: usize = 4;

impl Engine {
    /// Names the link that keeps an endpoint off the LAN by having its MAC, if that is why it was refused.
    pub(super) fn name_lookalike(&self, refusal: Refusal, network: &Network, mac: Option<Mac>) -> Refusal {
        let Some(mac) = mac else { return refusal };
        let (host, is_up) = {
            let inner = self.lock();
            let up = inner.kernel.macs_on(&network.parent).ok().flatten().unwrap_or_default();
            (inner.kernel.host().clone(), up.contains(&mac))
        };
        if !is_up {
            return refusal;
        }
        let mut found = Vec::new();
        let has_mac = |link: &&Link, parent| {
            let on_parent = link.lower == Some(Lower { index: parent, seat: Seat::Host });
            on_parent && link.up && link.mac == Some(mac)
        };
        let looked = look_everywhere(&host, &network.parent, |netns, view, parent| {
            let links = view.links.iter().filter(|link| has_mac(link, parent));
            found.extend(links.map(|link| (link.name.clone(), netns.clone())));
            Ok(())
        });
        if let Err(why) = looked {
            tracing::warn!("{why}");
        }
        let Some((link, netns)) = found.into_iter().next() else { return refusal };
        let inner = self.lock();
        let is_there = |there: &Netns| (there.dev, there.ino) == (netns.dev, netns.ino);
        let of = inner.state().endpoints.values().find(|endpoint| endpoint.netns().is_some_and(is_there));
        let whose =
            of.map_or_else(String::new, |endpoint| format!(", the container of `{}`,", endpoint.name));
        let hint = format!(
            "the link `{link}` in {}{whose} has this MAC on {}: take it away there",
            netns.path.display(),
            network.parent
        );
        Refusal { hint: Some(hint), ..refusal }
    }
}

impl Inner {
    /// That links have the MACs of names which have no place now.
    pub(super) fn lookalikes(&self, observed: &Observed) -> Vec<String> {
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
            let found = found.map(|(name, mac)| {
                format!(
                    "`{name}` has no place on `{}` now, and a link with its MAC ({mac}) is on {} all the same, made or moved by a \
                     container or a program; `{name}` is refused until it goes",
                    network.label(),
                    network.parent
                )
            });
            found.take(SHOWN).collect::<Vec<_>>()
        });
        told.collect()
    }
}
