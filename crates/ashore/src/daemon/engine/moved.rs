//! Networks whose parents have other names than before, or that their user moves to another parent.

use std::collections::BTreeMap;

use ashore_core::observed::View;
use ashore_core::request::{Refusal, RefusalKind, Reply};
use ashore_core::state::Change;
use ashore_core::{IfName, NetworkName};

use super::network::no_network;
use super::{Engine, Inner};
use crate::daemon::refusal;

impl Inner {
    /// The name of the interface that a user means by some name of it.
    pub(super) fn resolved(&self, named: Option<&IfName>) -> Result<Option<IfName>, Refusal> {
        let Some(named) = named else { return Ok(None) };
        Ok(Some(self.observe(&[])?.host.resolved(named)))
    }

    /// Whether there is no interface of a name.
    pub(super) fn is_gone(&self, named: &IfName) -> bool {
        self.observe(&[]).is_ok_and(|observed| observed.host.link(named).is_none())
    }

    /// A network goes along where its parent is renamed. Its containers are on that all the time: the kernel goes by numbers.
    pub(super) fn follow_renames(&mut self, host: &View) -> Result<(), Refusal> {
        let renamed = self.state().renamed_parents(&self.parents_seen, host);
        for (network, was, is) in &renamed {
            tracing::warn!(network = network.label(), "`{was}` is called `{is}` now");
        }
        let written =
            self.commit(renamed.into_iter().map(|(network, ..)| Change::PutNetwork(network)).collect());
        let parents = self.state().networks.values().map(|network| network.lowest(host));
        let seen: BTreeMap<IfName, u32> =
            parents.filter_map(|parent| Some((parent.clone(), host.link(parent)?.index))).collect();
        // What could not be written down is tried again.
        if written.is_ok() {
            self.parents_seen = seen;
        }
        written
    }
}

impl Engine {
    /// Gives a network another parent, with all that it remembers.
    pub(super) fn move_network(&self, name: &NetworkName, parent: &IfName) -> Result<Reply, Refusal> {
        let mut inner = self.lock();
        let observed = inner.observe(&[])?;
        let host = &observed.host;
        let network = inner.state().networks.get(name).cloned().ok_or_else(|| no_network(name))?;
        let label = network.label();
        if network.adopted {
            let hint = format!(
                "make it anew: docker network rm {label}, docker network create … -o parent={parent} {label}"
            );
            return Err(taken(
                format!("network `{label}` is Docker's, and its parent is Docker's to choose"),
                hint,
            ));
        }
        let (was, is) = (network.lowest(host).clone(), host.resolved(parent));
        let on_it = inner.state().endpoints_on(name).count();
        if host.link(&was).is_some() && was != is && on_it > 0 {
            let off = if network.engine.is_some() { "docker stop" } else { "ashore detach" };
            let message = format!("network `{label}` has {on_it} endpoint(s) on `{was}`, which is there");
            return Err(taken(message, format!("take them off first: {off} …")));
        }
        let moved = inner.state().moved_to(&network, parent, host);
        let moved = moved.map_err(|error| refusal::network(&error))?;
        self.check_not_on_trial(moved.lowest(host))?;
        inner.commit(vec![Change::PutNetwork(moved)])?;
        let (observed, errors) = inner.sweep(&super::all_netns(inner.state()))?;
        self.follow(&inner, &observed);
        self.soon();
        Ok(Reply::Done { warnings: errors.iter().map(ToString::to_string).collect() })
    }
}

fn taken(message: String, hint: String) -> Refusal {
    Refusal { kind: RefusalKind::Taken, message, hint: Some(hint) }
}
