//! Networks: made, shown, removed; and the state replaced.

use ashore_core::NetworkName;
use ashore_core::attach::AttachError;
use ashore_core::endpoint::Endpoint;
use ashore_core::network::Network;
use ashore_core::pool::PoolKey;
use ashore_core::request::{NetworkSpec, Refusal, RefusalKind, Reply};
use ashore_core::state::Change;
use ashore_core::store::Document;

use super::{Engine, Inner};
use crate::daemon::refusal;

impl Engine {
    /// Makes a network. The kernel is not touched: the shim comes with the first endpoint.
    pub(super) fn create_network(&self, spec: &NetworkSpec) -> Result<Reply, Refusal> {
        self.make_network(spec, Vec::new()).map(Reply::Network)
    }

    /// Makes a network of pools, which are no pools any more then.
    pub(super) fn make_network(&self, spec: &NetworkSpec, pools: Vec<PoolKey>) -> Result<Network, Refusal> {
        let network = spec.network().map_err(|error| refusal::network(&error))?;
        let mut inner = self.lock();
        let observed = inner.observe(&[])?;
        inner.state().check_beside_others(&network).map_err(|error| refusal::network(&error))?;
        network.check(&observed.host).map_err(|error| refusal::network(&error))?;
        let mut changes = vec![Change::PutNetwork(network.clone())];
        changes.extend(pools.into_iter().map(Change::DelPool));
        inner.commit(changes)?;
        self.follow(&inner, &observed);
        Ok(network)
    }

    pub(super) fn inspect_network(&self, name: &NetworkName) -> Result<Reply, Refusal> {
        match self.lock().state().networks.get(name) {
            Some(network) => Ok(Reply::Network(network.clone())),
            None => Err(no_network(name)),
        }
    }

    /// Removes a network that is no engine's: an engine would go on using it.
    pub(super) fn remove_own_network(&self, name: &NetworkName) -> Result<Reply, Refusal> {
        let engines =
            self.lock().state().networks.get(name).filter(|network| network.engine.is_some()).cloned();
        match engines {
            Some(network) => Err(Refusal {
                kind: RefusalKind::Taken,
                message: format!("network `{}` is Docker's", network.label()),
                hint: Some(format!("docker network rm {}", network.label())),
            }),
            None => self.remove_network(name),
        }
    }

    pub(super) fn remove_network(&self, name: &NetworkName) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        inner.check_removable(name)?;
        inner.commit(vec![Change::DelNetwork(name.clone())])?;
        // The shim goes with the last network on its parent.
        let (observed, errors) = inner.sweep(&[])?;
        self.follow(&inner, &observed);
        Ok(Reply::Done { warnings: errors.iter().map(ToString::to_string).collect() })
    }

    pub(super) fn import(&self, document: Document) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        if let Some(Endpoint { network, name, .. }) = inner.state().endpoints.values().next() {
            return Err(Refusal {
                kind: RefusalKind::Taken,
                message: format!(
                    "there are endpoints, such as `{name}` on `{network}`, and an import would forget them"
                ),
                hint: Some(format!("detach them first: ashore detach {network} {name}")),
            });
        }
        inner.store.import(document).map_err(|error| refusal::import(&error))?;
        let (observed, errors) = inner.sweep(&[])?;
        self.follow(&inner, &observed);
        Ok(Reply::Done { warnings: errors.iter().map(ToString::to_string).collect() })
    }
}

impl Inner {
    pub(super) fn check_removable(&self, name: &NetworkName) -> Result<(), Refusal> {
        if !self.state().networks.contains_key(name) {
            return Err(no_network(name));
        }
        let endpoints: Vec<&Endpoint> = self.state().endpoints_on(name).collect();
        match endpoints.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(Refusal {
                kind: RefusalKind::Taken,
                message: format!(
                    "network `{name}` has {} endpoint(s), such as `{}`",
                    endpoints.len(),
                    first.name
                ),
                hint: Some(format!("detach them first: ashore detach {name} {}", first.name)),
            }),
        }
    }
}

fn no_network(name: &NetworkName) -> Refusal {
    refusal::attach(&AttachError::NoNetwork(name.clone()))
}
