//! The stages of a container engine's attach: the same reservation, plan and record as in any other attach,
//! spread over the calls that the engine makes.
//!
//! An engine repeats calls whose answers it lost, so every stage answers a repeated call as it answered the
//! first.

use std::time::{Duration, Instant};

use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::state::Change;

use super::{Controller, Inner};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

mod address;
mod endpoint;
mod join;
mod network;

/// How long a request that was announced is expected.
const EXPECTED_FOR: Duration = Duration::from_secs(5);

impl Controller {
    pub(super) fn engine_call(&self, unlocked: &mut Unlocked, stage: EngineCall) -> Result<Reply, Refusal> {
        match stage {
            EngineCall::Begin(kind) => {
                let mut inner = self.lock(unlocked);
                inner.begin(kind);
                inner.note_unfinished_ones(kind);
                Ok(done())
            }
            EngineCall::OpenPool(requested) => self.open_pool(unlocked, &requested),
            EngineCall::ClosePool(key) => {
                let mut inner = self.lock(unlocked);
                inner.strangers.closes(&key);
                let open = inner.state().pools.contains_key(&key);
                inner.commit(open.then_some(Change::DelPool(key)).into_iter().collect())?;
                Ok(done())
            }
            EngineCall::Expect { network, name } => {
                let (mut inner, now) = (self.lock(unlocked), Instant::now());
                let engine =
                    inner.state().network_of_engine(&network).and_then(|there| there.engine.as_ref());
                let kind = engine.map(|engine| engine.kind).unwrap_or_default();
                let expected = &mut inner.engines.calls_mut(kind).expected;
                expected.retain(|_, (_, until)| now < *until);
                expected.insert(network, (name, now + EXPECTED_FOR));
                Ok(done())
            }
            EngineCall::Foresee { pool, ip } => {
                let inner = self.lock(unlocked);
                let networks: Vec<&Network> =
                    inner.state().networks_of(&pool).map(|(network, _)| network).collect();
                for network in networks {
                    self.lan.glance(&network.parent, &pool.net, ip.as_slice());
                }
                Ok(done())
            }
            EngineCall::Reserve(requested) => self.reserve_address(unlocked, &requested),
            EngineCall::Free { pool, ip } => self.free_address(unlocked, &pool, ip),
            EngineCall::Unheard { ip } => self.free_unheard(unlocked, ip),
            EngineCall::CreateNetwork(spec) => self.create_engine_network(unlocked, spec),
            EngineCall::RemoveNetwork { id } => self.remove_engine_network(unlocked, &id),
            EngineCall::Prepare(requested) => self.prepare(unlocked, &requested),
            EngineCall::Join { id, sandbox } => self.join(unlocked, &id, sandbox.as_deref()),
            EngineCall::Leave { id } => self.leave(unlocked, &id),
            EngineCall::HasLink { id } => match self.lock(unlocked).engine_endpoint(&id)? {
                endpoint if endpoint.stage == Stage::Reserved => Err(no_endpoint(&id)),
                _ => Ok(done()),
            },
            EngineCall::Delete { id } => self.delete(unlocked, &id),
        }
    }
}

impl Inner {
    pub(super) fn engine_network(&self, id: &str) -> Result<Network, Refusal> {
        self.state().network_of_engine(id).cloned().ok_or_else(|| refusal::no_network_of_engine(id))
    }

    fn engine_endpoint(&self, id: &str) -> Result<Endpoint, Refusal> {
        self.state().endpoint_of_engine(id).cloned().ok_or_else(|| no_endpoint(id))
    }
}

fn no_endpoint(id: &str) -> Refusal {
    Refusal::of(Code::NoEndpoint, format!("there is no endpoint {id}"), "`ashore status` lists the endpoints")
}

pub(super) fn done() -> Reply {
    Reply::Done { warnings: Vec::new() }
}
