//! The leases of names: the client identifier, what is left of a lease, and when it is released.

use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::dhcp4::ClientId;
use ashore_wire::dhcp6;

use crate::model::endpoint::{Endpoint, Mark};
use crate::model::identity::{self, Identity, Scope};
use crate::model::inventory::Inventory;
use crate::model::lease::{Fallback, LeaseRecord, Release};
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::family::Family;
use crate::net::name::EndpointName;
use crate::net::observed::View;

/// The state of an endpoint's lease, on a network whose addresses are leased.
#[derive(Debug, Clone, Copy)]
pub enum LeaseOutcome<'a> {
    /// The lease is still to be requested. Only the other requirements are checked.
    NotYet,
    /// The lease was obtained.
    Got(&'a LeaseRecord),
    /// No server answered, and the endpoint gets an address from the range instead.
    Instead,
}

impl State {
    /// Returns a network as it is shown. If the leases of all its endpoints are from another subnet than the
    /// one it was made with, that subnet is shown.
    pub fn as_leased(&self, network: &Network) -> Network {
        let mut shown = network.clone();
        if network.leasing.fallback != Fallback::None || !network.leases(Family::Ipv4) {
            return shown;
        }
        let leases = || self.endpoints_on(&network.name).filter_map(|one| Some(&one.lease.as_ref()?.lease));
        let Some(subnet) = shown.subnets.iter_mut().find(|subnet| subnet.net.addr().is_ipv4()) else {
            return shown;
        };
        if let Some(other) = leases().next()
            && !leases().any(|lease| subnet.net.contains(&IpAddr::V4(lease.address.addr())))
        {
            subnet.net = other.address.trunc().into();
            subnet.gateway = other.router().map(IpAddr::V4);
        }
        shown
    }

    /// The endpoints that DHCP servers know by a client identifier.
    pub(super) fn endpoints_by(&self, id: &ClientId) -> impl Iterator<Item = &Endpoint> {
        let marks = [Mark::Lease(id.clone()), Mark::Lease6(id.clone()), Mark::ClientId(id.clone())];
        marks.into_iter().flat_map(|mark| self.endpoints.with(mark)).map(|(_, endpoint)| endpoint)
    }

    /// The client identifier of a name's lease. It is in use by no other name, and a renamed container keeps
    /// its identifier.
    pub fn client_id(&self, network: &Network, name: &EndpointName) -> ClientId {
        self.client_id_if(network, name, |_| true)
    }

    /// The same for a DHCPv6 server, which knows a client by an identifier of RFC 4361's form alone.
    pub fn client_id6(&self, network: &Network, name: &EndpointName) -> ClientId {
        self.client_id_if(network, name, |id| dhcp6::Config::of(id).is_some())
    }

    fn client_id_if(
        &self,
        network: &Network,
        name: &EndpointName,
        fits: impl Fn(&ClientId) -> bool,
    ) -> ClientId {
        let scope = State::scope(network);
        // DHCPv4 and DHCPv6 servers can tell by it that this is one machine (RFC 4361, 6.1).
        let own = self.identities.get(&(scope.clone(), name.clone()));
        if let Some(id) = own.and_then(|own| own.client_id.iter().chain(own.client_ids()).find(|id| fits(id)))
        {
            return id.clone();
        }
        let is_taken = |id: &ClientId| {
            self.endpoints_by(id).next().is_some()
                || self.identities.with(identity::Mark::Client(id.clone())).next().is_some()
        };
        let mut derived = (0..=u8::MAX).map(|attempt| self.seed.client_id(&scope, name, attempt));
        derived.find(|id| !is_taken(id)).unwrap_or_else(|| self.seed.client_id(&scope, name, 0))
    }

    /// Names that are remembered with a lease and whose containers are gone, with the seconds after which the
    /// lease is released. A stopped container of an engine is not gone, and without the list of that very
    /// engine none of its containers is. With `on_stop`, a stopped container counts as gone. `lists` has the
    /// last list of each engine.
    pub fn gone_with_lease<'a>(
        &'a self,
        lists: &'a [&'a Inventory],
    ) -> impl Iterator<Item = (&'a (Scope, EndpointName), u32)> {
        self.identities.with(identity::Mark::Leased).filter_map(move |(key, identity)| {
            let release = identity.lease.as_ref().map(|record| record.release);
            let release = release.or(identity.lease6.as_ref().map(|record| record.release));
            let (after, may_stop) = match release? {
                Release::Never => return None,
                Release::OnStop => (0, false),
                Release::OnRemove(after) => (after, true),
            };
            let (scope, name) = key;
            let stopped = may_stop && self.may_be_stopped(scope, name, lists);
            // An endpoint whose name is not known yet may have the lease.
            let has = |id: &ClientId| self.endpoints.with(Mark::Lease(id.clone())).next().is_some();
            let in_use = identity.client_ids().any(has);
            (!stopped && !in_use && !self.is_attached(scope, name)).then_some((key, after))
        })
    }

    /// Whether an engine may still have a container that is not running: one that an engine lists, or any of
    /// an engine whose list is not known.
    pub(crate) fn may_be_stopped(&self, scope: &Scope, name: &EndpointName, lists: &[&Inventory]) -> bool {
        let is_listed =
            lists.iter().any(|list| list.containers.iter().any(|container| container.name == *name));
        let mut engines = self
            .networks
            .values()
            .filter(|network| network.engine.is_some() && State::scope(network) == *scope);
        is_listed || engines.any(|network| !lists.iter().any(|list| list.may_have_made(network)))
    }

    /// Whether a DHCP server would receive a message for a name now. As far as this host can tell, that is so
    /// if the parent is up and has a carrier: the network's parent, or else the parent by which the lease
    /// came.
    pub fn is_heard(&self, key: &(Scope, EndpointName), host: &View) -> bool {
        let network = self.networks.values().find(|network| State::scope(network) == key.0);
        let of_lease = || {
            let identity = self.identities.get(key)?;
            let parent = identity.lease.as_ref().and_then(|record| record.parent.as_ref());
            parent.or_else(|| identity.lease6.as_ref().and_then(|record| record.parent.as_ref()))
        };
        let parent = network.map(|network| &network.parent).or_else(of_lease);
        parent.is_none_or(|parent| host.link(parent).is_some_and(|parent| parent.up && parent.carrier))
    }

    /// The addresses of unexpired leases, on this network's parent, of names that are not attached to it, the
    /// name that left last first. An expired address may already belong to another machine. If that machine
    /// is probing it, it would see our probe and give the address up.
    pub fn still_leased(&self, network: &Network, now: u64) -> impl Iterator<Item = Ipv4Addr> {
        let scope = State::scope(network);
        let lease = move |name: &EndpointName| {
            self.identities.get(&(scope.clone(), name.clone())).and_then(|identity| identity.lease.as_deref())
        };
        let names = network.leases(Family::Ipv4).then(|| self.left_last(network));
        let here =
            |record: &&LeaseRecord| record.parent.as_ref().is_none_or(|parent| *parent == network.parent);
        let records = names.into_iter().flatten().filter_map(lease).filter(here);
        records.filter(move |record| record.left(now) != Some(0)).map(|record| record.lease.address.addr())
    }

    /// The change to the state when a name's leases are released. The name still remembers the IPv4 address,
    /// and requests it again.
    pub fn without_lease(&self, (scope, name): &(Scope, EndpointName)) -> Option<Change> {
        let identity = self.identities.get(&(scope.clone(), name.clone()))?;
        Some(Change::PutIdentity(
            scope.clone(),
            name.clone(),
            Identity { lease: None, lease6: None, ..identity.clone() },
        ))
    }
}
