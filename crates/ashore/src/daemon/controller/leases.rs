//! Leases: acquired for an endpoint that is about to be attached, and followed as long as the endpoint
//! exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ashore_core::api::refusal::Refusal;
use ashore_core::checks::SERVE_ELSEWHERE;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::identity::Scope;
use ashore_core::model::inventory::Inventory;
use ashore_core::model::lease::{Fallback, LeaseRecord, LeaseTimeout};
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::family::Family;
use ashore_core::net::name::{EndpointKey, EndpointName};
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::allocate::AddressError;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_kernel::has_dhcp_server;
use ashore_wire::conflict::Profile;
use ashore_wire::dhcp::Lease as _;
use ashore_wire::dhcp4::Part;

use super::{Controller, Inner, Locked, all_netns};
use crate::clock::now;
use crate::daemon::lan::{Acquired, Changed, NoLease, Sought, Standing, Wanted};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How long a request waits for a lease, unless its network says otherwise. This covers DISCOVERs after 0 and 4 s and a server that pings for 3 s
/// before it offers. It also covers a former address that turns out within a second to belong to another machine,
/// the pause of 10 s after that, and a server that pings.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same if an address of the range can take the lease's place: two DISCOVERs, and a server that pings.
const PATIENCE_WITH_FALLBACK: Duration = Duration::from_secs(8);

/// The lease that a request needs.
#[derive(Default)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is passed on whole")]
pub(super) enum Asked<'c> {
    /// The server was not asked yet.
    #[default]
    Not,
    Got(Acquired<'c>),
    /// No server gave one. An address of the network's range takes its place.
    InVain,
}

impl Asked<'_> {
    pub(super) fn outcome(&self) -> LeaseOutcome<'_> {
        match self {
            Asked::Not => LeaseOutcome::NotYet,
            Asked::Got(lease) => LeaseOutcome::Got(lease.record()),
            Asked::InVain => LeaseOutcome::Instead,
        }
    }
}

impl Controller {
    /// Acquires a lease for an endpoint that is about to be attached, with the lock released. Fails if no server
    /// gives one within a time and the network has no fallback.
    pub(super) fn acquire<'a, 'c: 'a>(
        &'c self,
        inner: Locked<'a>,
        network: &Network,
        endpoint: &Endpoint,
        requested: Option<Ipv4Addr>,
        host: &View,
        within: Duration,
    ) -> Result<(Locked<'a>, Asked<'c>), Refusal> {
        let wanted = Wanted::of_draft(inner.state(), network, endpoint, requested, host);
        let wanted = wanted.ok_or_else(|| refusal::no_mac(&network.parent))?;
        inner.publication.again();
        let unlocked = inner.release();
        // The endpoint most likely gets the address that it had before, so that address is probed while the
        // server is asked.
        let lasts = |record: &&LeaseRecord| record.left(now()) != Some(0);
        if let Some(record) =
            wanted.record.as_ref().filter(lasts).filter(|_| network.conflict != Profile::Off)
        {
            let ip = record.lease.address.addr();
            self.lan.begin_look(&network.parent, (ip.into(), Some(wanted.mac)), network.conflict);
        }
        let is_free = |unlocked: &mut Unlocked, ip: Ipv4Addr| {
            self.is_free(unlocked, network, &wanted.key, (ip.into(), Some(wanted.mac)))
        };
        let fallback = network.leasing.fallback == Fallback::Range;
        let usual = if fallback { PATIENCE_WITH_FALLBACK } else { PATIENCE };
        let patience = network.leasing.timeout.map_or(usual, LeaseTimeout::duration).min(within);
        let acquired = match self.lan.acquire(unlocked, wanted.clone(), patience, is_free) {
            Ok(acquired) => acquired,
            Err(
                error @ (NoLease::Silent { .. }
                | NoLease::Unheeded { .. }
                | NoLease::Unfit { .. }
                | NoLease::Taken { .. }),
            ) if fallback => {
                let name = &wanted.key.1;
                tracing::warn!(network = network.label(), %name, "{error}; it gets an address of the range instead");
                return Ok((self.lock(unlocked), Asked::InVain));
            }
            Err(error) => {
                let is_silent = matches!(error, NoLease::Silent { .. });
                let refusal = Refusal::from(error);
                let own = self.own_server(unlocked, network).filter(|_| is_silent);
                return Err(Refusal { remedy: own.map(Remedy::from).or(refusal.remedy), ..refusal });
            }
        };
        let got = acquired.record().lease.address.addr();
        let inner = self.lock(unlocked);
        if inner.another(&wanted.key, got.into()).is_some() {
            return Err(NoLease::Taken { parent: wanted.parent, ip: got }.into());
        }
        match requested.filter(|requested| *requested != got) {
            None => Ok((inner, Asked::Got(acquired))),
            Some(ip) => {
                let (got, mac) = (got.into(), wanted.mac);
                Err(refusal::attach(&AddressError::NotLeased { ip: ip.into(), got, mac }.into()))
            }
        }
    }

    /// Whether an address that a server gave is free: it is not another endpoint's, the host's, a router's or
    /// set aside, and no other machine has it. Any machine on the LAN can act as a server and give any
    /// address.
    pub(super) fn is_free(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        key: &EndpointKey,
        sought: Sought,
    ) -> Result<bool, Refusal> {
        /// A look has no result if the parent or the shim is made again meanwhile.
        const LOOKS: usize = 3;
        let ip = sought.0;
        let taken = {
            let inner = self.lock(unlocked);
            let holder = inner.another(key, ip);
            if let Some(holder) = holder.filter(|_| network.kind.shares_parents_mac()) {
                // A DECLINE, or a RELEASE, would take the address from the endpoint that has it.
                self.lan.abandon(key);
                return Err(refusal::by_mac_alone(ip, holder));
            }
            let host = inner.observe_host()?.host;
            let routers = inner.kernel.routers().map_err(|error| refusal::kernel(&error))?;
            let kept = inner.state().is_never_leased(ip, &host, &routers);
            let is_routers = matches!(ip, IpAddr::V6(ip) if self.lan.offer(&network.parent).is_routers(ip));
            holder.is_some() || inner.held.contains(&ip) || kept || is_routers
        };
        if taken || network.conflict == Profile::Off {
            return Ok(!taken);
        }
        // A machine that was heard to have the address may be silent for some seconds.
        let claimed = network.conflict == Profile::Quick && self.lan.is_claimed(&network.parent, ip);
        let profile = if claimed { Profile::Full } else { network.conflict };
        for _ in 0..LOOKS {
            let free = self.lan.is_free(unlocked, &network.parent, sought, profile);
            let free = free.map_err(|why| refusal::unreachable(&[ip], &why, refusal::conflict_off()))?;
            if let Some(free) = free {
                return Ok(free);
            }
        }
        Ok(false)
    }

    /// Says where to report a lease that has changed.
    pub(crate) fn hear_of_leases(&self, changed: Changed) {
        self.lan.tell(changed);
    }

    /// Looks at all leases again, in case a notification was lost or could not be acted on.
    pub(crate) fn look_at_leases(&self) {
        self.lan.tell_all();
    }

    /// Follows leases forever.
    pub(crate) fn follow_leases(&self, unlocked: &mut Unlocked, changed: &Receiver<EndpointKey>) {
        while let Ok(first) = changed.recv() {
            // All notifications that have arrived by now are handled together. Changed leases come before the
            // addresses that are to be probed, because probes take time.
            let keys: BTreeSet<EndpointKey> = std::iter::once(first).chain(changed.try_iter()).collect();
            let asked: Vec<_> = keys.into_iter().filter_map(|key| self.follow_lease(unlocked, key)).collect();
            self.look_for_leased(unlocked, &asked);
        }
    }

    /// Brings an endpoint in line with its lease. Returns the address that its server has given it, if that
    /// is still to be probed.
    fn follow_lease(&self, unlocked: &mut Unlocked, key: EndpointKey) -> Option<(EndpointKey, IpAddr)> {
        let standing = self.lan.standing(&key)?;
        if let Err(refusal) = self.has_lease(unlocked, &key) {
            tracing::error!(network = %key.0, name = %key.1, "{refusal}");
            return None;
        }
        standing.asks.map(|ip| (key, ip.into()))
    }

    /// Probes addresses that servers have given to endpoints, in parallel, because one check can take
    /// seconds. An address that cannot be probed is not used, and its client asks again until it can be.
    pub(super) fn look_for_leased(&self, _: &Unlocked, asked: &[(EndpointKey, IpAddr)]) {
        /// How many addresses are probed at once.
        const SIDE_BY_SIDE: usize = 16;
        for some in asked.chunks(SIDE_BY_SIDE) {
            std::thread::scope(|scope| {
                for (key, ip) in some {
                    let look = || {
                        let unlocked = &mut Unlocked::of_this_thread();
                        if let Err(refusal) = self.look_and_settle(unlocked, key, *ip) {
                            tracing::error!(network = %key.0, name = %key.1, "{refusal}");
                        }
                    };
                    // If no thread can be started, the address is probed the next time.
                    let _ = std::thread::Builder::new().spawn_scoped(scope, look);
                }
            });
        }
    }

    fn look_and_settle(&self, unlocked: &mut Unlocked, key: &EndpointKey, ip: IpAddr) -> Result<(), Refusal> {
        let Some(network) = self.lock(unlocked).state().networks.get(&key.0).cloned() else { return Ok(()) };
        let mac = self.lan.mac_of_client(key, ip);
        let free = self.is_free(unlocked, &network, key, (ip, mac))?;
        match ip {
            IpAddr::V4(ip) => self.lan.settle(key, ip, free),
            IpAddr::V6(ip) => self.lan.settle6(key, ip, free),
        }
        Ok(())
    }

    /// Writes the standing of a lease to disk, and brings the container's link in line. If the write fails,
    /// the rest is done all the same and the write is tried again, because another machine may get an address
    /// whose lease is lost.
    fn has_lease(&self, unlocked: &mut Unlocked, key: &EndpointKey) -> Result<(), Refusal> {
        let mut inner = self.lock(unlocked);
        // This is read under the lock: the endpoint may be another one by now.
        let Some(Standing { lease, unclear: false, .. }) = self.lan.standing(key) else { return Ok(()) };
        let lease = lease.map(|(record, _)| record);
        let Some(before) = inner.state().endpoints.get(key).cloned() else { return Ok(()) };
        if lease == before.lease.as_deref().cloned() {
            return Ok(());
        }
        let address = lease.as_ref().map(|record| record.lease.address.addr());
        if let Some(ip) = address.filter(|ip| inner.another(key, (*ip).into()).is_some()) {
            tracing::warn!(%ip, name = %key.1, "belongs to another container on this host, and is declined");
            self.lan.settle(key, ip, false);
            return Ok(());
        }
        let endpoint = before.clone().with_lease(lease);
        let change = Change::PutEndpoint(endpoint.clone());
        let written = inner.commit(vec![change.clone()]);
        let on_link = |part: &Part| matches!(part, Part::Address | Part::Routes | Part::Mtu);
        let same = match (&before.lease, &endpoint.lease) {
            (Some(before), Some(now)) => !now.lease.changes(&before.lease).iter().any(on_link),
            _ => false,
        };
        if same || endpoint.stage == Stage::Reserved {
            return written;
        }
        tracing::info!(network = %key.0, name = %key.1, addresses = ?endpoint.addresses, "its lease has changed");
        let wanted = inner.state().with(&[change]);
        let netns = all_netns(&wanted);
        // When the last address of a link goes, its routes go too, and this can be seen only afterwards.
        let mut seen = Observed::default();
        for _ in 0..2 {
            let (observed, errors) = inner.sweep_to(&wanted, &netns)?;
            for error in errors {
                tracing::warn!("{error}");
            }
            seen = observed;
        }
        if before.addresses != endpoint.addresses {
            self.announce(&inner, &seen, &wanted, &endpoint);
        }
        written
    }
}

impl Controller {
    /// Releases the leases of containers that have been gone for long enough. The state forgets them here,
    /// and they are released at the next look at the state. Returns whether there are any.
    pub(super) fn give_back_departed(&self, inner: &mut Inner) -> Result<bool, Refusal> {
        let lists: Vec<&Inventory> = inner.engines.inventories().collect();
        let gone = inner.state().gone_with_lease(&lists);
        let gone: BTreeMap<_, u32> = gone.map(|(key, after)| (key.clone(), after)).collect();
        inner.departed.retain(|key, _| gone.contains_key(key));
        let mut due = Vec::new();
        for (key, after) in gone {
            let since = inner.departed.entry(key.clone()).or_insert_with(Instant::now);
            if since.elapsed().as_secs() >= after.into() {
                due.push(key);
            }
        }
        if due.is_empty() {
            return Ok(false);
        }
        let host = inner.observe_host()?.host;
        due.retain(|key| inner.state().is_heard(key, &host) && !self.is_awaited(inner.state(), key));
        // A daemon that has just started must know the leases before it sees that they are no longer
        // remembered.
        inner.publication.again();
        self.publish(inner);
        for (scope, name) in &due {
            tracing::info!(network = %scope.0, %name, "is gone, and its lease is no longer remembered");
        }
        let changes: Vec<Change> = due.iter().filter_map(|key| inner.state().without_lease(key)).collect();
        inner.commit(changes)?;
        Ok(!due.is_empty())
    }

    /// Whether a request is about to get the lease of a name that has no endpoint yet.
    fn is_awaited(&self, state: &State, (scope, name): &(Scope, EndpointName)) -> bool {
        let mut of_name = state.networks.values().filter(|network| State::scope(network) == *scope);
        of_name.any(|network| self.lan.awaits_lease(&(network.name.clone(), name.clone())))
    }
}

/// Names that are remembered with a lease, and since when they are gone. A daemon that restarts counts from
/// its start.
pub(super) type Departed = BTreeMap<(Scope, EndpointName), Instant>;

impl Inner {
    /// Another endpoint that has an address.
    pub(super) fn another(&self, key: &EndpointKey, ip: IpAddr) -> Option<&Endpoint> {
        self.state().holder(ip).filter(|holder| (&holder.network, &holder.name) != (&key.0, &key.1))
    }

    /// Refuses a leased address that another endpoint has got since it was leased: the lock may have been
    /// released meanwhile.
    pub(super) fn check_lease_is_free(&self, network: &Network, leased: &Endpoint) -> Result<(), Refusal> {
        match leased.leased_address().filter(|ip| self.another(&leased.key(), (*ip).into()).is_some()) {
            Some(ip) => Err(NoLease::Taken { parent: network.parent.clone(), ip }.into()),
            None => Ok(()),
        }
    }
}

impl Controller {
    /// The warning about leases on a host that runs a DHCP server itself.
    pub(super) fn own_server(&self, unlocked: &Unlocked, network: &Network) -> Option<String> {
        self.deaf_server(unlocked, network).map(|why| format!("{why}: {SERVE_ELSEWHERE}"))
    }

    /// That a DHCP server on this host does not answer for a network. It is not known which LAN that
    /// server serves. It never hears of those who ask by the parent: what is sent by a NIC leaves the host, and what is
    /// sent by a bridge goes to the bridge's ports. Ashore's own port in a VLAN of a bridge is such a port itself, so what
    /// is sent there goes to the host as to any other machine.
    pub(super) fn deaf_server(&self, _: &Unlocked, network: &Network) -> Option<String> {
        let apart = network.bridge_vlan().is_none();
        let own = apart && network.leases(Family::Ipv4) && has_dhcp_server(self.copies.host());
        own.then(|| {
            format!(
                "a DHCP server runs on this host (UDP port 67 is in use), but what Ashore asks for leases by `{parent}` does not reach it",
                parent = network.parent
            )
        })
    }
}

pub(super) fn as_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}
