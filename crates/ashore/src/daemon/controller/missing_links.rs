//! Engines' containers whose links are gone together with their parents, which the engine does not notice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ashore_core::api::about::About;

use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::owner::Owners;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::EndpointKey;
use ashore_core::net::observed::Observed;
use ashore_core::net::remedy::Remedy;

use super::Inner;

/// How long a link has to be missing before it is made again. Whatever removed it may be about to report
/// this.
const MISSING: Duration = Duration::from_secs(2);

/// Endpoints without links, and since when they have none.
#[derive(Debug, Clone, Default)]
pub(super) struct Unlinked(BTreeMap<EndpointKey, Since>);

#[derive(Debug, Clone)]
struct Since {
    /// The engine's id of the endpoint: the next endpoint of the same name is another one.
    id: String,
    at: Instant,
}

impl Unlinked {
    /// Whether one of them is to be looked at again soon.
    pub(super) fn are_awaited(&self) -> bool {
        self.0.values().any(|since| since.at.elapsed() < 2 * MISSING)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &EndpointKey> {
        self.0.keys()
    }

    /// Those that have had no link for long enough.
    pub(super) fn lasting(&self) -> BTreeSet<EndpointKey> {
        let lasting = self.0.iter().filter(|(_, since)| since.at.elapsed() >= MISSING);
        lasting.map(|(key, _)| key.clone()).collect()
    }
}

impl Inner {
    /// Notes which of the engine's endpoints have no link.
    pub(super) fn note_unlinked(&mut self, observed: &Observed) {
        let state = self.store.state();
        let owners = Owners::of(state, observed);
        let seen = |endpoint: &&Endpoint| endpoint.sandbox().is_some_and(|path| observed.at(path).is_some());
        let looked_into = state.endpoints.values().filter(seen);
        let lacking: Vec<(EndpointKey, Option<String>)> = looked_into
            .map(|endpoint| (endpoint.key(), self.lacks_link(endpoint, &owners, observed)))
            .collect();
        let is_same = |key: &EndpointKey, since: &Since| {
            state.endpoints.get(key).is_some_and(|one| one.engine_id() == Some(&since.id))
        };
        let unlinked = &mut self.memory.unlinked.0;
        unlinked.retain(|key, since| is_same(key, since));
        for (key, id) in lacking {
            match id {
                None => drop(unlinked.remove(&key)),
                Some(id) => drop(unlinked.entry(key).or_insert_with(|| Since { id, at: Instant::now() })),
            }
        }
    }

    /// Returns the engine's id of an endpoint that should have a link in its container and has none, although
    /// its parent exists. Otherwise returns `None`.
    fn lacks_link(&self, endpoint: &Endpoint, owners: &Owners, observed: &Observed) -> Option<String> {
        let network = self.state().network_of(endpoint)?;
        let id = endpoint.engine_id()?;
        let is_child = matches!(network.kind, LinkKind::Macvlan(_) | LinkKind::Ipvlan(_));
        let comes = self.is_fresh(endpoint)
            || self.engines.calls_of(endpoint).is_some_and(|calls| calls.starting.contains(id));
        if endpoint.stage != Stage::Attached || !is_child || comes {
            return None;
        }
        observed.host.link(&network.parent)?;
        // A link that the engine is moving is on the host, and the parent receives frames for a link that its
        // container has moved.
        if owners.link_of(endpoint, observed).is_some() || observed.host.link(endpoint.link().1).is_some() {
            return None;
        }
        let taken_in = self.kernel.macs_on(&network.parent);
        let is_up =
            |mac| taken_in.as_ref().map_or(true, |up| up.as_ref().is_some_and(|up| up.contains(&mac)));
        (!self.state().macs_of(endpoint).any(is_up)).then(|| id.to_owned())
    }

    /// Reports containers that are off the LAN because their link is missing.
    pub(super) fn unlinked_troubles(&self) -> Vec<Trouble> {
        let told = self.unlinked.lasting().into_iter().filter_map(|(network, name)| {
            let network = self.state().networks.get(&network)?;
            let engine = network.ownership().engine().unwrap_or_default();
            let (then, remedy) = if network.adopted {
                let then = format!("{engine}, which made it, makes it again only when the container starts");
                (then, Remedy::default())
            } else {
                ("is made again".to_owned(), "if it stays away: ".into())
            };
            let message = format!(
                "`{name}` on network `{}` is off the LAN: its link is gone together with its parent, and {then}",
                network.label()
            );
            let remedy = remedy.and_run(format!("{} restart {name}", engine.program()));
            let about = About { endpoint: Some(name), ..About::network(network) };
            Some(Trouble::new(Code::LinkMissing, about, message, Some(remedy)))
        });
        told.collect()
    }
}
