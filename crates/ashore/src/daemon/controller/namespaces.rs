//! The namespaces that endpoints are in.

use ashore_core::model::endpoint::{Endpoint, Placement};
use ashore_core::model::state::State;
use ashore_core::net::link::Netns;
use ashore_kernel::Namespace;

/// The namespaces of all endpoints, by every known path: one of several paths may lead nowhere.
pub(super) fn all_netns(state: &State) -> Vec<Netns> {
    netns_of(state.endpoints.values()).collect()
}

/// The namespace that an endpoint was attached in, by every known path: the endpoint's own path may lead
/// nowhere any more.
pub(super) fn netns_by_all_paths(state: &State, endpoint: &Endpoint) -> Vec<Netns> {
    let here = endpoint.netns().into_iter().flat_map(|netns| state.endpoints_in(netns));
    endpoint.netns().into_iter().chain(here.filter_map(Endpoint::netns)).cloned().collect()
}

/// The namespaces of some endpoints. An engine's namespace that cannot be opened is left out. Callers must
/// not conclude anything from that.
pub(super) fn netns_of<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> impl Iterator<Item = Netns> {
    let netns = |endpoint: &Endpoint| match &endpoint.placement {
        Placement::Netns { netns, .. } => Some(netns.clone()),
        Placement::Engine { sandbox, .. } => {
            Namespace::open(sandbox.as_ref()?).ok().map(|found| found.identity())
        }
    };
    endpoints.filter_map(netns)
}
