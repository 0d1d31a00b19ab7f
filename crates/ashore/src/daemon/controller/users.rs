//! What users other than root ask for, and what root allows them. Whatever a user says, his containers get names and ids
//! here that no engine of root's and no other user has.

use std::time::Instant;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::{Request, TearDown, UserCall};
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::model::users::{Allowed, User};
use ashore_core::net::name::NetworkName;
use ashore_core::net::remedy::Front;
use ashore_core::rules::attach::{AttachError, AttachSpec, Caller};
use ashore_core::rules::create::NetworkSpec;

use super::Controller;
use super::engine_calls::done;
use super::network::no_network;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Controller {
    /// Whether a user may have anything here, or has something still.
    pub(crate) fn knows(&self, user: &User) -> bool {
        is_known(&self.copies.state(), user)
    }

    /// The answer to a user to whom nothing is allowed. It costs nobody the lock.
    pub(super) fn answer_to_stranger(&self, request: &Request) -> Option<Reply> {
        let Request::OfUser { user, call } = request else { return None };
        let state = self.copies.state();
        if is_known(&state, user) {
            return None;
        }
        let network = match call {
            UserCall::TearDown(_) => return Some(done()),
            UserCall::FindNetwork(network) | UserCall::SetUp { network, .. } => network,
        };
        let refused = state.allowed_network(user, &network.name).err()?;
        Some(Reply::Refused(refusal::attach(&refused.into())))
    }

    /// Answers a user.
    pub(super) fn of_user(
        &self,
        unlocked: &mut Unlocked,
        user: &User,
        call: UserCall,
    ) -> Result<Reply, Refusal> {
        match call {
            UserCall::FindNetwork(asked) => {
                let network = self.allowed(user, &asked)?;
                Ok(Reply::Created { network, warnings: Vec::new() })
            }
            UserCall::SetUp { network: asked, attach } => {
                // Podman adds a router of its own where none is known.
                let network = self.allowed(user, &NetworkSpec { gateways: Vec::new(), ..*asked })?;
                self.set_up_on(unlocked, &network, &his(user, *attach)?, Instant::now())
            }
            // What is his goes, whatever is allowed to him by now.
            UserCall::TearDown(gone) => {
                let gone = TearDown { container: user.container(&gone.container), ..gone };
                let inner = self.lock(unlocked);
                let network = inner.state().network_called(&gone.network_name);
                let network = network.map(|network| network.name.clone());
                self.tear_down_on(inner, network, &gone)
            }
        }
    }

    /// The network that a user asks for. He is to know nothing of one that is not allowed to him.
    fn allowed(&self, user: &User, asked: &NetworkSpec) -> Result<Network, Refusal> {
        let state = self.copies.state();
        let network = state.allowed_network(user, &asked.name);
        let network = network.map_err(|error| refusal::attach(&error.into()))?.clone();
        network.has_all_of(asked).map_err(|error| {
            let refusal = refusal::network(&error);
            // He has given the option to his Podman, although the network is root's.
            Refusal { remedy: refusal.remedy.map(|remedy| remedy.in_words_of(Front::Podman)), ..refusal }
        })?;
        Ok(network)
    }

    /// Allows users to put containers on a network, or does so no longer.
    pub(super) fn allow(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
        whom: &Allowed,
        no_longer: bool,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let network = inner.state().networks.get(name).cloned().ok_or_else(|| no_network(name))?;
        if network.adopted {
            let engine = network.ownership().engine().unwrap_or_default();
            return Err(Refusal::new(
                Code::NetworkOfEngine,
                About::network(&network),
                format!("network `{}` is adopted, and only {engine} puts containers on it", network.label()),
                Some("allow another network".into()),
            ));
        }
        let allowed = if no_longer { network.allowed.without(whom) } else { network.allowed.and(whom) };
        let network = Network { allowed, ..network };
        // What is taken back is never refused.
        if !no_longer {
            network.check_users().map_err(|error| refusal::network(&error))?;
        }
        let host = inner.observe(&[])?.host;
        inner.commit(vec![Change::PutNetwork(network.clone())])?;
        let open = inner.state().open_vlans(&network, &host);
        let warnings: Vec<String> = open.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reply::Created { network, warnings })
    }
}

fn is_known(state: &State, user: &User) -> bool {
    state.allows_anything(user) || state.endpoints.keys().any(|(_, name)| user.has_name(name))
}

/// What a user asks for, as his: under his name for it, for his container, in the namespace that he has opened.
fn his(user: &User, attach: AttachSpec) -> Result<AttachSpec, Refusal> {
    let caller = attach.caller.filter(|caller| caller.opened.is_some());
    let caller = caller.ok_or_else(|| refusal::attach(&AttachError::HostNamespace(attach.netns.clone())))?;
    Ok(AttachSpec {
        name: attach.name.of_user(user.uid),
        caller: Some(Caller {
            container: user.container(&caller.container),
            user: Some(user.clone()),
            ..caller
        }),
        ..attach
    })
}
