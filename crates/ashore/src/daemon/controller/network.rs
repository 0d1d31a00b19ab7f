//! Creates, shows and removes networks, and replaces the state.

use std::net::{IpAddr, Ipv4Addr};

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::Code as TroubleCode;
use ashore_core::checks;
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::lease::{Addressing, Fallback};
use ashore_core::model::network::{EngineNetwork, HOST_AUX, Network, Subnet};
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::{Pool, PoolKey};
use ashore_core::model::state::{Change, State};
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::NetworkName;
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::attach::AttachError;
use ashore_core::rules::create::{NetworkError, NetworkSpec};
use ashore_wire::conflict::Profile;

use super::bridge::check_not_on_trial;
use super::moved_links::check_beside_children_elsewhere;
use super::{Controller, Inner, Locked};
use crate::daemon::lan::Sought;
use crate::daemon::refusal;
use crate::nearest::nearest;
use crate::unlocked::Unlocked;

/// That nobody on the LAN could be asked, because no frame leaves. Nobody's silence means anything then.
fn unasked(network: &Network, host: &View) -> Option<String> {
    let trouble = network.trouble_of_parent(host).filter(|trouble| trouble.code == TroubleCode::NoCarrier)?;
    let word = network.word();
    Some(format!(
        "{}; so nobody was asked whether its addresses are free, or where the router's DHCP pool is; try, once it has one: \
         ashore doctor {word}",
        trouble.message
    ))
}

impl Controller {
    /// Creates a network. The kernel is changed only for a VLAN of the network's own: the shim comes with the
    /// first endpoint.
    pub(super) fn create_network(
        &self,
        unlocked: &mut Unlocked,
        spec: &NetworkSpec,
    ) -> Result<Reply, Refusal> {
        let (network, warnings) = self.make_network(unlocked, spec, &[])?;
        Ok(Reply::Created { network, warnings })
    }

    /// Creates a network, from pools if there are any. These pools are then no longer pools.
    pub(super) fn make_network(
        &self,
        unlocked: &mut Unlocked,
        spec: &NetworkSpec,
        pools: &[Pool],
    ) -> Result<(Network, Vec<String>), Refusal> {
        let (mut inner, observed, network, mut warnings) = self.checked(unlocked, spec)?;
        let network = marked(network, pools);
        let mut changes = vec![Change::PutNetwork(network.clone())];
        changes.extend(pools.iter().map(|pool| Change::DelPool(pool.key)));
        let before = inner.state().with_open_vlans(&observed.host);
        inner.commit(changes)?;
        warnings.extend(network.trouble_of_arp(&observed.host).map(|trouble| trouble.to_string()));
        warnings.extend(self.routers_elsewhere(&network, &observed.host));
        warnings.extend(unasked(&network, &observed.host));
        warnings.extend(inner.engines_vlan(&network, &observed.host));
        let open = inner.state().newly_open_vlans(&observed.host, &before);
        warnings.extend(open.iter().map(ToString::to_string));
        warnings.extend(self.beside_leave(&network));
        if observed.host.link(&network.parent).is_some() {
            inner.vlans.sees(&network);
        }
        // The VLAN is created now, as Docker's drivers do: the LAN can be listened to before the first
        // endpoint comes.
        let made = network.vlan.is_some().then(|| inner.carry_out(&observed, &[]));
        drop(inner);
        warnings
            .extend(self.cut_by_firewall(unlocked, &self.firewall(), [&network], &observed.host).warnings());
        warnings.extend(self.own_server(unlocked, &network));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let Some(made) = made else { return Ok((network, warnings)) };
        let made = made.and_then(|_| self.await_parent(unlocked, &network)).and_then(|_| {
            let host = self.lock(unlocked).observe(&[])?.host;
            // On an interface that did not exist, no address could be probed before.
            let new = observed.host.link(&network.parent).is_none();
            if new { self.look_on_lan(unlocked, &network, &host) } else { Ok(Vec::new()) }
        });
        match made {
            Ok(more) => {
                warnings.extend(more);
                Ok((network, warnings))
            }
            Err(refusal) => {
                self.lock(unlocked).take_network_back(&network, pools);
                Err(refusal)
            }
        }
    }

    /// Warns of routers that may be none. That they answer says nothing: a printer does too.
    fn routers_elsewhere(&self, network: &Network, host: &View) -> Vec<String> {
        let parent = &network.parent;
        let mac = |router: Ipv4Addr| self.lan.said_of(parent, router.into());
        let mut found = checks::elsewhere(network, host, &self.lan.named_routers(parent));
        // Two addresses may be of one router.
        found.retain(|one| mac(one.router).is_none() || mac(one.router) != mac(one.other));
        found.into_iter().map(|one| checks::other_router(network, one).to_string()).collect()
    }

    /// Returns the network that is asked for, if it can be created, and warnings that do not prevent this.
    pub(super) fn checked<'a>(
        &'a self,
        unlocked: &'a mut Unlocked,
        spec: &NetworkSpec,
    ) -> Result<(Locked<'a>, Observed, Network, Vec<String>), Refusal> {
        let host = self.lock(unlocked).observe(&[])?.host;
        let network = self.complete(unlocked, spec, &host)?;
        network.check(&host).map_err(|error| refusal::network(&error))?;
        // What is refused without asking the LAN is refused first.
        self.lock(unlocked)
            .state()
            .check_beside_others(&network)
            .map_err(|error| refusal::network(&error))?;
        check_beside_children_elsewhere(unlocked, self.copies.host(), &network)?;
        let warnings = self.look_on_lan(unlocked, &network, &host)?;
        let (inner, trial) = self.lock_beside_trial(unlocked);
        let observed = inner.observe(&[])?;
        inner.state().check_beside_others(&network).map_err(|error| refusal::network(&error))?;
        network.check(&observed.host).map_err(|error| refusal::network(&error))?;
        check_not_on_trial(trial.as_ref(), network.lower_device(&observed.host))?;
        Ok((inner, observed, network, warnings))
    }

    /// Checks a network against the LAN: its host addresses and the DHCP servers' pools. Returns warnings.
    fn look_on_lan(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        host: &View,
    ) -> Result<Vec<String>, Refusal> {
        self.look_for_host_addresses(unlocked, network, host)?;
        self.clear_of_pools(unlocked, network, host)
    }

    /// Returns the network that is asked for, and fills in what was left out: parent, subnet and gateway from
    /// the host, and a range that no machine uses for a subnet that the user did not name.
    fn complete(&self, unlocked: &mut Unlocked, spec: &NetworkSpec, host: &View) -> Result<Network, Refusal> {
        let mut completed = spec.completed(host).map_err(|error| refusal::network(&error))?;
        if spec.kind.is_none() && completed.kind == Some(LinkKind::Bridge) {
            let network = completed.network().map_err(|error| refusal::network(&error))?;
            // Frames of macvlan endpoints are not bridged, and neither are the host's own.
            let cut = self.cut_by_firewall(unlocked, &self.firewall(), [&network], host);
            if !(cut.troubles.is_empty() && cut.unknown.is_empty()) {
                completed.kind = Some(LinkKind::default());
            }
        }
        let found = spec.subnets.is_empty() && spec.ranges.is_empty();
        let leases_alone = spec.addressing == Addressing::Dhcp && spec.leasing.fallback == Fallback::None;
        let chooses = found && !leases_alone;
        if let (true, Some(net)) = (chooses, completed.subnets.first()) {
            let network = completed.network().map_err(|error| refusal::network(&error))?;
            // The interface that Ashore makes for the network does not exist yet.
            let asked_by = network.hosts_own(host).map_or(&network.parent, |link| &link.name);
            let (parent, gateway) = (asked_by.clone(), completed.gateways.first().copied());
            let range = self.choose_range(unlocked, &parent, *net, gateway, host, Vec::new())?;
            tracing::info!(%parent, subnet = %net, %range, "found on this host, and chosen");
            completed.ranges.push(range);
        }
        let mut network = completed.network().map_err(|error| refusal::network(&error))?;
        if spec.kind.is_none() {
            tracing::info!(parent = %network.parent, kind = %network.kind, "chosen for this parent");
        }
        network.subnets.iter_mut().for_each(|subnet| subnet.chosen = found);
        // With Docker's own IPAM Docker chooses the addresses.
        let ours = spec.engine.as_ref().is_none_or(|engine| engine.kind != EngineKind::Docker);
        let is_told = ours && !leases_alone && network.conflict != Profile::Off;
        // A network that will be refused without asking the LAN does not wait for the LAN.
        if !found && is_told && network.check(host).is_ok() {
            let parent = network.hosts_own(host).map_or(&network.parent, |link| &link.name).clone();
            for subnet in network.subnets.iter_mut().filter(|subnet| subnet.range.is_none()) {
                subnet.range = self.range_for_want_of_one(unlocked, &parent, subnet, host);
                subnet.chosen = subnet.range.is_some();
            }
        }
        Ok(network)
    }

    /// Refuses a network if another machine has an address that the host is to have on it.
    pub(super) fn look_for_host_addresses(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        host: &View,
    ) -> Result<(), Refusal> {
        let reserved: Vec<IpAddr> =
            network.subnets.iter().filter_map(|subnet| subnet.aux.get(HOST_AUX)).copied().collect();
        let ours = |ip: &IpAddr| host.has_address(*ip);
        let there = host.link(&network.parent).is_some();
        if network.conflict == Profile::Off || !there || reserved.is_empty() || reserved.iter().all(ours) {
            return Ok(());
        }
        let _listening = self.lan.listen(&network.parent, host);
        let sought: Vec<Sought> = reserved.iter().map(|ip| (*ip, None)).collect();
        let probed = self.lan.probe(unlocked, &network.parent, &sought, network.conflict);
        let answered =
            probed.map_err(|why| refusal::unreachable(&reserved, &why, refusal::conflict_off()))?;
        match answered.into_iter().next() {
            Some((ip, mac)) => Err(refusal::network(&NetworkError::HostAddressOnLan { ip, mac })),
            None => Ok(()),
        }
    }

    pub(super) fn inspect_network(&self, name: &NetworkName) -> Result<Reply, Refusal> {
        match self.copies.state().networks.get(name) {
            Some(network) => Ok(Reply::Network(network.clone())),
            None => Err(no_network(name)),
        }
    }

    /// Removes a network that belongs to no engine. An engine would go on using its network.
    pub(super) fn remove_own_network(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
    ) -> Result<Reply, Refusal> {
        let engines = self
            .lock(unlocked)
            .state()
            .networks
            .get(name)
            // Podman may have rejected a network after it was made, and tells nobody.
            .filter(|network| network.engine.as_ref().is_none_or(EngineNetwork::is_surely_its))
            .and_then(|network| Some((network.clone(), network.ownership().engine()?)));
        match engines {
            Some((network, engine)) if network.adopted => Err(Refusal::new(
                Code::NetworkOfEngine,
                About::network(&network),
                format!("network `{}` belongs to {engine}, and is adopted", network.label()),
                Some(Remedy::run(format!("ashore adopt --undo {}", network.word()))),
            )),
            Some((network, engine)) if !Self::podman_lacks(unlocked, &network) => Err(Refusal::new(
                Code::NetworkOfEngine,
                About::network(&network),
                format!("network `{}` belongs to {engine}", network.label()),
                Some(Remedy::run(format!("{} network rm {}", engine.program(), network.word()))),
            )),
            _ => self.remove_network(unlocked, name),
        }
    }

    pub(super) fn remove_network(
        &self,
        unlocked: &mut Unlocked,
        name: &NetworkName,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        inner.check_removable(name)?;
        let parent = inner.state().networks.get(name).map(|network| network.parent.clone());
        let mut changes = vec![Change::DelNetwork(name.clone())];
        changes.extend(inner.state().none_returns(name));
        inner.commit(changes)?;
        // Somebody may have begun to use it since the network was made.
        inner.vlans.forget_unused();
        // The shim goes with the last network on its parent, and so does a VLAN interface that nothing else
        // uses.
        let (mut observed, mut errors) = inner.sweep(&[])?;
        if inner.vlans.are_unlooked() {
            drop(inner);
            self.look_at_vlans(unlocked);
            inner = self.lock(unlocked);
            (observed, errors) = inner.sweep(&[])?;
        }
        let spared = parent.and_then(|parent| inner.spared(&parent, &observed.host));
        Ok(Reply::Done { warnings: errors.iter().map(ToString::to_string).chain(spared).collect() })
    }
}

impl Inner {
    /// Removes a network that could not be completed, and gives its pools back to the engine.
    fn take_network_back(&mut self, network: &Network, pools: &[Pool]) {
        if self.check_removable(&network.name).is_err() {
            return;
        }
        let mut changes = vec![Change::DelNetwork(network.name.clone())];
        changes.extend(pools.iter().cloned().map(Change::PutPool));
        // This is done even if the change cannot be written to disk: then the network stays, and the next
        // reconciliation makes its VLAN.
        let swept = self.sweep_to(&self.state().with(&changes), &[]);
        if let Err(refusal) = swept.and_then(|_| self.commit(changes)) {
            tracing::error!("{refusal}; the network stays");
        }
    }

    pub(super) fn check_removable(&self, name: &NetworkName) -> Result<(), Refusal> {
        if !self.state().networks.contains_key(name) {
            return Err(no_network(name));
        }
        let endpoints: Vec<&Endpoint> = self.state().endpoints_on(name).collect();
        match endpoints.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(Refusal::new(
                Code::EndpointsAttached,
                About::endpoint(first, self.state()),
                format!("network `{name}` has {} endpoint(s), such as `{}`", endpoints.len(), first.name),
                Some(
                    Remedy::from("detach them first: ")
                        .and_run(format!("ashore detach {name} {}", first.name)),
                ),
            )),
        }
    }
}

/// Returns the network with those subnets marked whose pools have a range that Ashore chose.
fn marked(mut network: Network, pools: &[Pool]) -> Network {
    let chosen = |subnet: &Subnet| {
        let key = PoolKey::of(&network, subnet);
        subnet.chosen || pools.iter().any(|pool| pool.chosen && pool.key == key)
    };
    let chosen: Vec<bool> = network.subnets.iter().map(chosen).collect();
    network.subnets.iter_mut().zip(chosen).for_each(|(subnet, chosen)| subnet.chosen = chosen);
    network
}

/// Tells whoever has misspelt a network which one is like it.
pub(super) fn name_the_meant(refusal: &mut Refusal, state: &State) {
    let Some(name) = refusal.about.network.as_ref().filter(|_| refusal.code == Code::NoNetwork) else {
        return;
    };
    if let Some(meant) = nearest(name, state.networks.values().map(Network::label)) {
        let remedy = Remedy::from(format!("`{meant}`, if you mean that; ")).and_run("`ashore network ls`");
        refusal.remedy = Some(remedy.and(" lists the networks"));
    }
}

pub(super) fn no_network(name: &NetworkName) -> Refusal {
    refusal::attach(&AttachError::NoNetwork(name.clone()))
}
