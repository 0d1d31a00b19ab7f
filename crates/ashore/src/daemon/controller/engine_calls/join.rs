//! The engine asks for the link of an endpoint, gives it back, and deletes the endpoint.

use std::path::Path;

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Placement, Source, Stage};
use ashore_core::model::state::Change;
use ashore_core::plan::desired::far_gateways;
use ipnet::IpNet;

use super::super::{Controller, Inner, addresses_in};
use super::done;
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Controller {
    /// Makes the link of an endpoint on the host. The engine moves it.
    pub(super) fn join(
        &self,
        unlocked: &mut Unlocked,
        id: &str,
        sandbox: Option<&Path>,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock_after_last_link(unlocked, id);
        let endpoint = inner.engine_endpoint(id)?;
        let about = addresses_in(inner.state(), &[], Some(&endpoint));
        let observed = inner.observe_about(&[], about)?;
        let network = inner.state().usable_network(&endpoint.network, &observed.host);
        let network = network.map_err(|error| refusal::attach(&error))?.clone();
        let placement = in_sandbox(&endpoint, sandbox);
        let endpoint = Endpoint { stage: Stage::Attaching, placement, since: now(), seen: None, ..endpoint };
        // The address is on the disk since it was reserved. All else outlives the daemon, and need not outlive the
        // host, because the container does not.
        inner.record(vec![Change::PutEndpoint(endpoint.clone())])?;
        let done = inner.carry_out(&observed, &[]).and_then(|observed| {
            // This is recorded at once, because it cannot be observed later: the engine moves the link.
            let attached = inner.state().attached(&endpoint, now());
            inner.record(attached).map(|()| observed)
        });
        self.schedule_deferred();
        match done {
            Ok(observed) => {
                self.announce(&inner, &observed, inner.state(), &endpoint);
                // The engine is not told of the addresses that routers advertise, and its next answer need
                // not wait for them.
                self.lan.look_at_routers(Some(&network.parent));
                // The engine is not told of the advertised routers either, because it would set them too.
                // This may be a repeated call.
                let told = endpoint.clone().without_learned();
                let (gateways, on_link) =
                    (network.gateways_of(&told).collect(), far_gateways(&network, &told));
                if let Some(kind) = endpoint.ownership.engine() {
                    inner.engines.calls_mut(kind).starting.insert(id.to_owned());
                }
                let (link, ifname) = (endpoint.link().1.clone(), endpoint.inside().cloned());
                Ok(Reply::Joined { link, ifname, gateways, on_link })
            }
            Err(refusal) => {
                let reserved = as_reserved(&endpoint);
                inner.take_back(&endpoint, Change::PutEndpoint(reserved));
                Err(refusal)
            }
        }
    }

    /// Takes an endpoint out of a container that stops. Its link is still in the container, and comes back to
    /// the host or ends with the container.
    pub(super) fn leave(&self, unlocked: &mut Unlocked, id: &str) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let Some(endpoint) = inner.state().endpoint_of_engine(id).cloned() else { return Ok(done()) };
        // If this fails, the engine leaves once more, and then the endpoint is not wanted any more.
        if endpoint.is_wanted() {
            inner.leaves(endpoint.clone());
        }
        let warnings = inner.back_to_reserved(&endpoint)?;
        self.schedule_deferred();
        Ok(Reply::Done { warnings })
    }

    /// Deletes an endpoint. The kernel takes 20 ms to delete a link that has left its container, and no
    /// caller waits for that.
    pub(super) fn delete(&self, unlocked: &mut Unlocked, id: &str) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let Some(endpoint) = inner.state().endpoint_of_engine(id).cloned() else { return Ok(done()) };
        let addresses = endpoint.addresses.iter().map(IpNet::addr).collect();
        // The engine's own IPAM does not say when it releases an address.
        let changes = if endpoint.source == Source::Engine {
            inner.state().detached(&endpoint, now())
        } else {
            let ifname = endpoint.link().1.clone();
            let placement = Placement::Engine { id: None, ifname, sandbox: None, inside: None };
            let endpoint = endpoint.without_learned();
            vec![Change::PutEndpoint(Endpoint { stage: Stage::Reserved, placement, seen: None, ..endpoint })]
        };
        inner.record(changes)?;
        inner.leftovers.set(true);
        self.schedule_deferred();
        Ok(Reply::Deleted { addresses })
    }
}

impl Inner {
    /// Removes an endpoint's link and routes from the host, and keeps its addresses.
    fn back_to_reserved(&mut self, endpoint: &Endpoint) -> Result<Vec<String>, Refusal> {
        self.record(vec![Change::PutEndpoint(as_reserved(endpoint))])?;
        let about = addresses_in(self.state(), &[], Some(endpoint));
        let before = self.observe_about(&[], about)?;
        let swept = self.sweep_from(before, self.state(), &[]);
        self.note_unfinished(&swept);
        let (_, errors) = swept?;
        let left = errors.iter().map(|error| format!("{error}; it is tried again every minute"));
        Ok(left.collect())
    }
}

/// An engine's endpoint with its addresses and without a link.
fn as_reserved(endpoint: &Endpoint) -> Endpoint {
    let placement = in_sandbox(endpoint, None);
    Endpoint { stage: Stage::Reserved, placement, seen: None, ..endpoint.clone().without_learned() }
}

/// An engine's endpoint in another sandbox, or in none.
fn in_sandbox(endpoint: &Endpoint, sandbox: Option<&Path>) -> Placement {
    Placement::Engine {
        id: endpoint.engine_id().map(str::to_owned),
        ifname: endpoint.link().1.clone(),
        sandbox: sandbox.map(Path::to_owned),
        inside: endpoint.inside().cloned(),
    }
}
