//! Links that their containers have moved to namespaces of their own.
//!
//! Such a link is on the LAN, and its endpoint has its addresses. It is left where it is, and taken off from there when the endpoint is.

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::endpoint::Endpoint;
use ashore_core::link::{LinkKind, MacvlanMode, Netns, Place};
use ashore_core::observed::{Link, Lower, Seat, View};
use ashore_core::request::Refusal;
use ashore_core::state::EndpointKey;
use ashore_core::step::Step;
use ashore_kernel::{Holders, Kernel, Namespace, OnError};
use ashore_wire::Mac;

use super::{Engine, Inner};
use crate::daemon::refusal;

/// Into so many namespaces it is looked at a time.
const AT_A_TIME: usize = 64;

/// What parents take in, each asked once.
#[derive(Default)]
pub(super) struct TakenIn(BTreeMap<u32, Option<BTreeSet<Mac>>>);

impl Engine {
    /// Takes the link of an endpoint off wherever it is, if it is found. Tells whether it was.
    pub(super) fn take_off_elsewhere(&self, key: &EndpointKey) -> Result<bool, Refusal> {
        let (endpoint, parent, host) = {
            let inner = self.lock();
            let Some(endpoint) = inner.state().endpoints.get(key).cloned() else { return Ok(false) };
            let Some(network) = inner.state().network_of(&endpoint) else { return Ok(false) };
            // Of a veth the host has the other end.
            if network.kind == LinkKind::Bridge {
                return Ok(false);
            }
            (endpoint, network.parent.clone(), inner.kernel.host().clone())
        };
        // With sockets of its own: others need not wait.
        let kernel = Kernel::of(&host).map_err(|error| refusal::namespace(&error))?;
        let observe = |netns: &[Netns]| kernel.observe(netns).map_err(|error| refusal::kernel(&error));
        let Some(parent) = observe(&[])?.host.link(&parent).map(|link| link.index) else { return Ok(false) };
        let holders = Holders::look();
        let opened = holders.all().filter_map(|mut paths| paths.find_map(|path| Namespace::open(path).ok()));
        let found: Vec<Netns> = opened.filter(|there| *there != host).map(|there| there.identity()).collect();
        let mut taken = false;
        for some in found.chunks(AT_A_TIME) {
            for (netns, view) in observe(some)?.netns {
                for link in view.links.iter().filter(|link| is_of(&endpoint, link, &view, parent)) {
                    let step = Step::DelLink { place: Place::Netns(netns.clone()), link: link.name.clone() };
                    tracing::info!(target: "ashore::step", "{step}");
                    match kernel.apply(&[step], OnError::GoOn).errors.first() {
                        Some(error) => return Err(refusal::step(error)),
                        None => taken = true,
                    }
                }
            }
        }
        Ok(taken)
    }
}

/// Whether a link in some namespace is that of an endpoint on a parent. A tag alone may be another daemon's, in another namespace
/// of this machine.
fn is_of(endpoint: &Endpoint, link: &Link, view: &View, parent: u32) -> bool {
    let by_address = || {
        let tagged = link.tag().as_ref() == Some(&endpoint.tag());
        tagged && view.addresses_of(link).any(|there| endpoint.holds(there.net.addr()))
    };
    let by_mac = || endpoint.macs().any(|mac| link.mac == Some(mac));
    link.lower == Some(Lower { index: parent, seat: Seat::Host })
        && if endpoint.mac.is_some() { by_mac() } else { by_address() }
}

impl Inner {
    /// Whether the link of an endpoint is on the LAN, wherever it is, as far as the host sees that: by the far end of a veth, or by what
    /// the parent takes in. None where it sees neither.
    pub(super) fn is_on_lan(&self, endpoint: &Endpoint, host: &View, taken_in: &mut TakenIn) -> Option<bool> {
        let network = self.state().network_of(endpoint)?;
        if network.kind == LinkKind::Bridge {
            return Some(host.tagged(&endpoint.port_tag()).is_some());
        }
        // With its parent a link goes, wherever it is.
        let Some(parent) = host.link(&network.parent) else { return Some(false) };
        match network.kind {
            LinkKind::Macvlan(MacvlanMode::Passthru) | LinkKind::Ipvlan(_) | LinkKind::Bridge => None,
            LinkKind::Macvlan(_) => {
                let ask = || self.kernel.taken_in(parent.index).ok().flatten();
                let macs = taken_in.0.entry(parent.index).or_insert_with(ask).as_ref()?;
                Some(endpoint.macs().any(|mac| macs.contains(&mac)))
            }
        }
    }
}
