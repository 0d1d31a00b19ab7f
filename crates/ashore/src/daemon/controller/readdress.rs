//! Networks whose user gives them other addresses.

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::network::Network;
use ashore_core::model::state::Change;
use ashore_core::net::name::EndpointKey;
use ashore_core::net::observed::{Observed, View};
use ashore_core::plan::nic_move::Move;
use ashore_core::rules::readdress::Readdress;

use super::bridge::check_not_on_trial;
use super::{Controller, Inner, Locked, all_netns};
use crate::unlocked::Unlocked;

/// A network that may have other addresses.
struct Checked<'a> {
    inner: Locked<'a>,
    observed: Observed,
    /// The network as it is.
    before: Network,
    /// The network as it will be.
    moved: Network,
    /// What does not prevent it.
    warnings: Vec<String>,
}

impl Inner {
    /// Returns the network as it is and as it will be, if nothing that is known without asking the LAN prevents that.
    fn may_readdress(
        &self,
        to: &Readdress,
        host: &View,
        trial: Option<&Move>,
    ) -> Result<(Network, Network), Refusal> {
        let before = self.state().may_readdress(&to.network, to.reconnect);
        let before = before.map_err(|error| Refusal::from(&error))?;
        let moved = self.state().readdressed(before, to, host).map_err(|error| Refusal::from(&error))?;
        check_not_on_trial(trial, before.lower_device(host))?;
        Ok((before.clone(), moved))
    }
}

impl Controller {
    /// Gives a network other addresses. The endpoints that are on it are taken off, and attached again.
    ///
    /// The new addresses, and who goes and comes back, are on disk at once, before the first one is off. So a daemon
    /// that is killed meanwhile has changed nothing, or goes on when it starts again.
    pub(super) fn readdress(&self, unlocked: &mut Unlocked, to: &Readdress) -> Result<Reply, Refusal> {
        let turn = self.returns.turn();
        let Checked { mut inner, observed, before, moved, mut warnings } =
            self.checked_readdress(unlocked, to)?;
        let host = &observed.host;
        if moved == before {
            drop(inner);
            // The request may be repeated because its answer was lost.
            warnings.extend(self.bring_back(unlocked, &turn));
            return Ok(Reply::Created { network: moved, warnings });
        }
        let going = inner.state().taking_off(&to.network);
        let keys: Vec<EndpointKey> = going.iter().filter_map(returning).collect();
        warnings.extend(inner.put_moved(host, &before, &moved, going)?);
        warnings.extend(before.no_longer_reserved(&moved));
        drop(inner);
        warnings.extend(self.take_off_for_a_moment(unlocked, &keys));
        let inner = self.lock(unlocked);
        match self.settled(inner, &before, &moved, host) {
            Ok((_, more)) => warnings.extend(more),
            Err(refusal) => warnings.push(format!("{refusal}; it is tried again every minute")),
        }
        let back = self.bring_back(unlocked, &turn);
        let news: Vec<String> = back.into_iter().filter(|warning| !warnings.contains(warning)).collect();
        warnings.extend(news);
        drop(turn);
        warnings.extend(self.seen_from_outside(unlocked, &moved, host));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reply::Created { network: moved, warnings })
    }

    /// Takes endpoints off that are on disk as those that come back. Returns warnings.
    pub(super) fn take_off_for_a_moment(&self, unlocked: &mut Unlocked, keys: &[EndpointKey]) -> Vec<String> {
        let mut warnings = Vec::new();
        for (network, name) in keys {
            match self.detach(unlocked, network, name) {
                Ok(Reply::Done { warnings: more }) => warnings.extend(more),
                Ok(_) => {}
                Err(refusal) => warnings.push(format!("`{name}`: {refusal}; it is tried again every minute")),
            }
        }
        warnings
    }

    /// What it would change: the endpoints go, and the host's side is made anew.
    pub(super) fn plan_readdress(&self, unlocked: &mut Unlocked, to: &Readdress) -> Result<Reply, Refusal> {
        let Checked { inner, before, moved, .. } = self.checked_readdress(unlocked, to)?;
        let observed = inner.observe(&all_netns(inner.state()))?;
        let mut changes = Vec::new();
        if moved != before {
            changes = inner.state().taking_off(&to.network);
            changes.push(Change::PutNetwork(moved));
        }
        inner.planned(&inner.state().with(&changes), &observed)
    }

    /// Checks that nothing prevents it, also on the LAN.
    fn checked_readdress<'a>(
        &'a self,
        unlocked: &'a mut Unlocked,
        to: &Readdress,
    ) -> Result<Checked<'a>, Refusal> {
        let (inner, trial) = self.lock_beside_trial(unlocked);
        let host = inner.observe(&[])?.host;
        let (before, moved) = inner.may_readdress(to, &host, trial.as_ref())?;
        drop(inner);
        let mut warnings = Vec::new();
        if moved != before {
            self.look_for_host_addresses(unlocked, &moved, &host)?;
            warnings = self.clear_of_pools(unlocked, &moved, &host)?;
        }
        let (inner, trial) = self.lock_beside_trial(unlocked);
        let observed = inner.observe(&[])?;
        let (before, moved) = inner.may_readdress(to, &observed.host, trial.as_ref())?;
        Ok(Checked { inner, observed, before, moved, warnings })
    }
}

/// The endpoint that a change takes off for a moment.
pub(super) fn returning(change: &Change) -> Option<EndpointKey> {
    match change {
        Change::PutReturning(endpoint) => Some(endpoint.key()),
        _ => None,
    }
}
