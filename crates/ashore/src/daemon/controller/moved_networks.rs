//! Networks whose parents were renamed, or that their user moves to another parent.

use std::collections::BTreeMap;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::state::Change;
use ashore_core::net::name::{EndpointKey, IfName, NetworkName};
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::remedy::Remedy;
use ashore_core::plan::nic_move::Move;
use ashore_core::rules::attach::AttachSpec;
use ashore_core::rules::create::NetworkError;
use ashore_kernel::StepError;

use super::bridge::check_not_on_trial;
use super::moved_links::check_beside_children_elsewhere;
use super::network::no_network;
use super::readdress::returning;
use super::{Controller, Inner, Locked, all_netns};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Inner {
    /// Returns the name of the interface that a user means by any of its names.
    pub(super) fn resolved(&self, named: Option<&IfName>) -> Result<Option<IfName>, Refusal> {
        let Some(named) = named else { return Ok(None) };
        Ok(Some(self.observe(&[])?.host.resolved(named)))
    }

    /// Whether there is no interface of a name.
    pub(super) fn is_gone(&self, named: &IfName) -> bool {
        self.observe(&[]).is_ok_and(|observed| observed.host.link(named).is_none())
    }

    /// If a parent was renamed, its networks follow. Their containers have been on it all the time: the
    /// kernel goes by indexes.
    pub(super) fn follow_renames(&mut self, host: &View) -> Result<(), Refusal> {
        let renamed = self.state().renamed_parents(&self.parents_seen, host);
        for (network, was, is) in &renamed {
            tracing::warn!(network = network.label(), "`{was}` was renamed to `{is}`");
        }
        let written =
            self.commit(renamed.into_iter().map(|(network, ..)| Change::PutNetwork(network)).collect());
        let parents = self.state().networks.values().map(|network| network.lower_device(host));
        let seen: BTreeMap<IfName, u32> =
            parents.filter_map(|parent| Some((parent.clone(), host.link(parent)?.index))).collect();
        // A failed write is tried again.
        if written.is_ok() {
            self.parents_seen = seen;
        }
        written
    }

    /// Returns the network as it is and as it will be, if nothing that is known without asking the LAN
    /// prevents the move.
    fn may_move(
        &self,
        name: &NetworkName,
        parent: &IfName,
        reconnect: bool,
        host: &View,
        trial: Option<&Move>,
    ) -> Result<(Network, Network), Refusal> {
        let network = self.state().networks.get(name).cloned().ok_or_else(|| no_network(name))?;
        let label = network.label();
        if network.adopted {
            let engine = network.ownership().engine().unwrap_or_default();
            let (program, word) = (engine.program(), network.word());
            return Err(Refusal::new(
                Code::NetworkOfEngine,
                About::network(&network),
                format!("network `{label}` belongs to {engine}, and {engine} chooses its parent"),
                Some(
                    Remedy::from("create it again: ")
                        .and_run(format!("{program} network rm {word}"))
                        .and(", ")
                        .and_run(format!("{program} network create … -o parent={} {word}", parent.word())),
                ),
            ));
        }
        let moved = self.state().moved_to(&network, parent, host);
        let moved = moved.map_err(|error| of_a_move(&error, &network))?;
        let was = network.lower_device(host).clone();
        let on_it = self.state().endpoints_on(name).count();
        // One that is coming or going cannot be taken off for a moment.
        let returns = |one: &Endpoint| one.stage == Stage::Attached && AttachSpec::again(one).is_some();
        let all_return = self.state().endpoints_on(name).all(returns);
        if leaves(&network, &moved, host) && on_it > 0 && !(reconnect && all_return) {
            let off = network
                .ownership()
                .engine()
                .map_or("ashore detach …".to_owned(), |engine| format!("{} stop …", engine.program()));
            let may_return = if all_return { ", or for a moment, with --reconnect" } else { "" };
            return Err(Refusal::new(
                Code::EndpointsAttached,
                About::network(&network).on(&was),
                format!("network `{label}` has {on_it} endpoint(s) on `{was}`, which still exists"),
                Some(Remedy::from("take them off first: ").and_run(off).and(may_return)),
            ));
        }
        check_not_on_trial(trial, moved.lower_device(host))?;
        Ok((network, moved))
    }

    /// Writes a network that was moved to disk, together with other changes. Returns warnings.
    pub(super) fn put_moved(
        &mut self,
        host: &View,
        before: &Network,
        moved: &Network,
        along: Vec<Change>,
    ) -> Result<Vec<String>, Refusal> {
        let were_open = self.state().with_open_vlans(host);
        let changes = std::iter::once(Change::PutNetwork(moved.clone())).chain(along);
        self.commit(changes.collect())?;
        let mut open = self.state().newly_open_vlans(host, &were_open);
        // Where it is now there are other VLANs, if it had some before.
        let is_elsewhere = (&before.parent, &before.vlan) != (&moved.parent, &moved.vlan);
        let had = |_: &_| is_elsewhere && were_open.contains(&before.name);
        open.extend(self.state().open_vlans(moved, host).filter(had));
        let mut warnings: Vec<String> = open.iter().map(ToString::to_string).collect();
        warnings.extend(moved.trouble_of_arp(host).map(|trouble| trouble.to_string()));
        warnings.extend(self.engines_vlan(moved, host));
        warnings.extend(still_told_by_engine(before, moved));
        Ok(warnings)
    }
}

impl Controller {
    /// Gives a network another parent. The network keeps everything that it remembers. Endpoints on the old parent are
    /// taken off and attached again on the new one, if that is said.
    pub(super) fn move_network(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
        parent: &IfName,
        reconnect: bool,
    ) -> Result<Reply, Refusal> {
        if !reconnect {
            return self.move_idle_network(unlocked, name, parent);
        }
        let turn = self.returns.turn();
        let mut warnings = self.take_off_the_old(unlocked, name, parent)?;
        let reply = self.move_idle_network(unlocked, name, parent);
        // They come back also if the network stays where it is.
        warnings.extend(self.bring_back(unlocked, &turn));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let Reply::Created { network, warnings: mut all } = reply? else {
            unreachable!("a move is answered so")
        };
        warnings.retain(|warning| !all.contains(warning));
        all.extend(warnings);
        Ok(Reply::Created { network, warnings: all })
    }

    /// Takes the endpoints of a network off the parent that they are on, if the network can move. They are on disk as
    /// those that come back. Returns warnings.
    fn take_off_the_old(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
        parent: &IfName,
    ) -> Result<Vec<String>, Refusal> {
        let (mut inner, observed, moved, _) = self.checked_move(unlocked, name, parent, true)?;
        let before = inner.state().networks.get(name).ok_or_else(|| no_network(name))?;
        if !leaves(before, &moved, &observed.host) {
            return Ok(Vec::new());
        }
        let going = inner.state().taking_off(name);
        let keys: Vec<EndpointKey> = going.iter().filter_map(returning).collect();
        inner.commit(going)?;
        drop(inner);
        Ok(self.take_off_for_a_moment(unlocked, &keys))
    }

    fn move_idle_network(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
        parent: &IfName,
    ) -> Result<Reply, Refusal> {
        let (mut inner, observed, moved, mut warnings) = self.checked_move(unlocked, name, parent, false)?;
        let before = inner.state().networks.get(name).cloned().ok_or_else(|| no_network(name))?;
        warnings.extend(inner.put_moved(&observed.host, &before, &moved, Vec::new())?);
        let is_new = observed.host.link(&moved.parent).is_none();
        let (observed, more) = self.settled(inner, &before, &moved, &observed.host)?;
        warnings.extend(more);
        warnings.extend(self.seen_from_outside(unlocked, &moved, &observed.host));
        if is_new {
            match self.look_where_it_goes(unlocked, &before, &moved, &observed.host) {
                Ok(more) => warnings.extend(more),
                Err(refusal) => {
                    self.move_back(unlocked, before, &moved)?;
                    return Err(refusal);
                }
            }
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reply::Created { network: moved, warnings })
    }

    /// Brings the kernel to a network that was moved. Returns what is observed then, and warnings.
    pub(super) fn settled<'a>(
        &'a self,
        inner: Locked<'a>,
        before: &Network,
        moved: &Network,
        host: &View,
    ) -> Result<(Observed, Vec<String>), Refusal> {
        let (inner, observed, errors) = self.swept(inner)?;
        self.schedule_deferred();
        let mut warnings: Vec<String> = errors.iter().map(ToString::to_string).collect();
        warnings.extend(inner.spared(&before.parent, host).filter(|_| before.parent != moved.parent));
        Ok((observed, warnings))
    }

    /// Returns what other programs on the host do to a network that was moved.
    pub(super) fn seen_from_outside(&self, unlocked: &Unlocked, moved: &Network, host: &View) -> Vec<String> {
        let cut = self.cut_by_firewall(unlocked, &self.firewall(), [moved], host);
        cut.warnings().chain(self.own_server(unlocked, moved)).collect()
    }

    /// Moves a network back to where it was, because of what the LAN answered in the VLAN that was made for
    /// it.
    fn move_back(&self, unlocked: &mut Unlocked, before: Network, moved: &Network) -> Result<(), Refusal> {
        let mut inner = self.lock(unlocked);
        let is_idle = inner.state().endpoints_on(&before.name).next().is_none();
        if !is_idle || inner.state().networks.get(&before.name) != Some(moved) {
            return Ok(());
        }
        inner.commit(vec![Change::PutNetwork(before)])?;
        self.swept(inner)?;
        Ok(())
    }

    /// Brings the kernel to what the state asks for. A VLAN interface that nothing is known to use is removed
    /// before the answer.
    fn swept<'a>(&'a self, inner: Locked<'a>) -> Result<(Locked<'a>, Observed, Vec<StepError>), Refusal> {
        let (observed, errors) = inner.sweep(&all_netns(inner.state()))?;
        if !inner.vlans.are_unlooked() {
            return Ok((inner, observed, errors));
        }
        let unlocked = inner.release();
        self.look_at_vlans(unlocked);
        let inner = self.lock(unlocked);
        let (observed, errors) = inner.sweep(&all_netns(inner.state()))?;
        Ok((inner, observed, errors))
    }

    /// Returns a network with another parent, if it may move there, and warnings that do not prevent this.
    pub(super) fn checked_move<'a>(
        &'a self,
        unlocked: &'a mut Unlocked,
        name: &NetworkName,
        parent: &IfName,
        reconnect: bool,
    ) -> Result<(Locked<'a>, Observed, Network, Vec<String>), Refusal> {
        let (inner, trial) = self.lock_beside_trial(unlocked);
        let host = inner.observe(&[])?.host;
        let (before, moved) = inner.may_move(name, parent, reconnect, &host, trial.as_ref())?;
        let is_idle = inner.state().endpoints_on(name).next().is_none();
        drop(inner);
        let mut warnings = Vec::new();
        if moved != before {
            // If the parent has only another name, the links of the network's own endpoints may be on it.
            if is_idle || leaves(&before, &moved, &host) {
                check_beside_children_elsewhere(unlocked, self.copies.host(), &moved)?;
            }
            warnings = self.look_where_it_goes(unlocked, &before, &moved, &host)?;
        }
        let (inner, trial) = self.lock_beside_trial(unlocked);
        let observed = inner.observe(&[])?;
        let (_, moved) = inner.may_move(name, parent, reconnect, &observed.host, trial.as_ref())?;
        Ok((inner, observed, moved, warnings))
    }

    /// Checks a network that moves to a LAN against that LAN, also if Ashore chose its range on another LAN.
    /// If the old parent is gone, the endpoints are on no LAN and come back first: then the result is a
    /// warning.
    fn look_where_it_goes(
        &self,
        unlocked: &mut Unlocked,
        before: &Network,
        moved: &Network,
        host: &View,
    ) -> Result<Vec<String>, Refusal> {
        self.look_for_host_addresses(unlocked, moved, host)?;
        let mut asked = moved.clone();
        asked.subnets.iter_mut().for_each(|subnet| subnet.chosen = false);
        match self.clear_of_pools(unlocked, &asked, host) {
            Err(refusal) if host.link(before.lower_device(host)).is_none() => {
                Ok(vec![format!("{refusal}; try: ashore pool-check {}", moved.word())])
            }
            Err(refusal) => {
                let hint = format!(
                    "take the range out of that pool, as ashore router-config prints; or create the network again on `{}` with another range",
                    moved.parent
                );
                Err(Refusal { remedy: Some(hint.into()), ..refusal })
            }
            Ok(warnings) => Ok(warnings),
        }
    }
}

/// Whether a network that moves leaves a parent that is still there, so that its endpoints are to be made anew.
pub(super) fn leaves(before: &Network, moved: &Network, host: &View) -> bool {
    let on = |network: &Network| (network.parent.clone(), network.vlan.clone());
    host.link(before.lower_device(host)).is_some() && on(before) != on(moved)
}

/// Converts an error of a move. A remedy with options of a network helps only if the network is created
/// again, so the remedy says so.
fn of_a_move(error: &NetworkError, network: &Network) -> Refusal {
    let mut refusal = refusal::network(error);
    refusal.remedy = match (error, refusal.remedy.take()) {
        (NetworkError::ParentIsPort { instead: Some(instead), .. }, _) => {
            let command = format!("ashore network move {} --parent {}", network.word(), instead.word());
            Some(Remedy::run(command))
        }
        (_, Some(remedy)) if remedy.has_option() => {
            let again = "create the network again under the same name, by which its containers' addresses are remembered; ";
            Some(Remedy::from(again).then(remedy.in_words_of(network.front())))
        }
        (_, remedy) => remedy,
    };
    refusal
}

/// An engine keeps the options that its network was created with, and so does the file that created it.
fn still_told_by_engine(before: &Network, moved: &Network) -> Option<String> {
    let engine = moved.ownership().engine()?;
    (before.parent != moved.parent).then(|| {
        format!(
            "{engine}, and a Compose file, still name the parent `{}`: to create `{}` again there, use parent={}",
            before.parent,
            moved.label(),
            moved.parent
        )
    })
}
