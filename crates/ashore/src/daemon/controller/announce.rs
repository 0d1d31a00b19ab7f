//! Tells the LAN, and this host, that an endpoint has its addresses now.

use std::collections::BTreeMap;

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::state::State;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::{Place, shim_name};
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::step::Step;
use ashore_kernel::OnError;

use super::{Controller, Inner};

impl Controller {
    /// Announces an endpoint's addresses to the LAN and to this host.
    pub(super) fn announce(&self, inner: &Inner, observed: &Observed, state: &State, endpoint: &Endpoint) {
        // The endpoint is defended before it is announced.
        self.publish(inner);
        inner.asks_anew(observed, state, endpoint);
        self.lan.announce(state, endpoint);
    }
}

impl Inner {
    /// Records the MACs of the parents whose endpoints share them. Returns the endpoints on parents whose MAC
    /// has changed.
    pub(super) fn note_shared_macs(&mut self, host: &View) -> Vec<Endpoint> {
        let state = self.store.state();
        let mut now = BTreeMap::new();
        let mut changed = Vec::new();
        for network in state.networks.values().filter(|network| network.kind.shares_parents_mac()) {
            let Some(mac) = host.link(&network.parent).and_then(|parent| parent.mac) else { continue };
            now.insert(network.parent.clone(), mac);
            if self.shared_macs.get(&network.parent).is_some_and(|before| *before != mac) {
                let on_it = state.endpoints_on(&network.name).filter(|endpoint| endpoint.is_wanted());
                changed.extend(on_it.cloned());
            }
        }
        self.shared_macs = now;
        changed
    }

    /// Makes the host ask again by which MAC an endpoint is reached. Announcements are sent through the shim
    /// or the bridge, and a link does not hear what it sends itself: without this the host would use the old
    /// MAC of an address for most of a minute. Permanent neighbour entries belong to the plan or to the user,
    /// and stay.
    pub(super) fn asks_anew(&self, observed: &Observed, state: &State, endpoint: &Endpoint) {
        let Some(network) = state.network_of(endpoint) else { return };
        let Some(mac) = endpoint.mac_on_lan() else { return };
        let is_port = network.kind == LinkKind::Bridge;
        let way = if is_port { network.parent.clone() } else { shim_name(&network.parent) };
        let Some(link) = observed.host.link(&way) else { return };
        let entries = endpoint.addresses.iter().map(|net| (link, net.addr()));
        let permanent =
            |index, ip| observed.host.neighbours.iter().any(|there| (there.index, there.ip) == (index, ip));
        let steps: Vec<Step> = entries
            .filter(|(link, ip)| !permanent(link.index, *ip))
            .map(|(link, ip)| Step::DelNeighbour { place: Place::Host, link: link.name.clone(), ip, mac })
            .collect();
        // A missing entry is no error.
        for error in self.kernel.apply(&steps, OnError::GoOn).errors {
            tracing::warn!("{error}");
        }
    }
}
