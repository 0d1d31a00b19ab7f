//! `ashore status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::allocate::Known;
use ashore_core::desired::{Adrift, Desired, desired};
use ashore_core::endpoint::{Endpoint, Home, Source, Stage};
use ashore_core::link::{Tag, shim_name};
use ashore_core::network::Network;
use ashore_core::observed::{Link, Observed};
use ashore_core::owner::Owners;
use ashore_core::plan::plan;
use ashore_core::request::{EndpointReport, NetworkReport, Refusal, Reply, Status};
use ipnet::IpNet;

use super::plans::shown;
use super::{Engine, Inner, all_netns};
use crate::daemon::refusal;

impl Engine {
    pub(super) fn status(&self) -> Result<Reply, Refusal> {
        let inner = self.lock();
        let observed = inner.observe(&all_netns(inner.state()))?;
        let wanted = desired(&inner.state_to_come(), &observed);
        let plan = plan(&wanted, &observed);
        let endpoints: Vec<EndpointReport> =
            inner.state().endpoints.values().map(|endpoint| self.report(&inner, endpoint)).collect();

        let blocked = plan.blocked.iter().map(|blocked| format!("{blocked}; try: {}", blocked.hint()));
        let waiting = wanted.waiting.iter().map(|waiting| {
            format!("network `{}` waits for its parent `{}` to come back", waiting.network, waiting.parent)
        });
        let claimed = endpoints.iter().flat_map(|endpoint| {
            let name = &endpoint.name;
            endpoint
                .conflicts
                .keys()
                .map(move |mac| format!("{mac} on the LAN claims the address of `{name}`, which is defended"))
        });
        let of_host = self.lan.conflicts_of_host(inner.state());
        let of_host = of_host.into_iter().map(|(ip, mac)| {
            format!("{mac} on the LAN claims {ip}, the host's own on a shim, which is defended")
        });
        let claimed = claimed.chain(of_host);
        let unleased = endpoints.iter().filter(|one| one.source == Source::Lease && one.lease.is_none());
        let unleased = unleased.map(|one| {
            format!("`{}` has no IPv4 address: the LAN's DHCP server has given it no other since its lease was lost", one.name)
        });
        let altered = inner.altered(&observed);
        let moved = inner.moved_elsewhere(&wanted, &observed);
        // One that is not planned any more is mended.
        let failed = inner.failed.iter().filter(|error| plan.steps.contains(&error.step));
        let failed = failed.map(ToString::to_string);
        let stopped = inner.stopped.iter().map(|refusal| match &refusal.hint {
            Some(hint) => format!("{refusal}; try: {hint}"),
            None => refusal.to_string(),
        });
        let deaf =
            self.lan.deaf().into_iter().map(|deaf| {
                format!("the LAN cannot be asked for addresses by `{}`: {}", deaf.parent, deaf.why)
            });
        let pools = self.pool_troubles(inner.state());
        let cut = inner.cut_by_firewall(inner.state().networks.values());
        let troubles = self
            .on_trial()
            .into_iter()
            .chain(blocked)
            .chain(unleased)
            .chain(self.unadvertised(inner.state()))
            .chain(waiting)
            .chain(cut)
            .chain(pools)
            .chain(claimed)
            .chain(deaf)
            .chain(moved)
            .chain(altered);
        let troubles = troubles.chain(failed).chain(stopped).collect();
        Ok(Reply::Status(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            networks: inner
                .state()
                .networks
                .values()
                .map(|n| self.network_report(&inner, &observed, n))
                .collect(),
            endpoints,
            pending: shown(plan.steps),
            troubles,
        }))
    }

    fn network_report(&self, inner: &Inner, observed: &Observed, network: &Network) -> NetworkReport {
        let on_lan = self.lan.on_lan();
        let known = Known { host: &observed.host, on_lan: &on_lan, held: &inner.held };
        let free = |subnet| inner.state().candidates(network, subnet, None, &known).count() as u64;
        let free: BTreeMap<IpNet, u64> =
            network.handed_out().map(|subnet| (subnet.net, free(subnet))).collect();
        let shim =
            observed.host.tagged(&Tag::Shim(network.parent.clone())).map(|_| shim_name(&network.parent));
        NetworkReport {
            network: network.clone(),
            shim: shim.filter(|_| network.wants_shim()),
            endpoints: inner.state().endpoints_on(&network.name).count(),
            free,
        }
    }

    /// An endpoint, for people and programs.
    pub(super) fn report(&self, inner: &Inner, endpoint: &Endpoint) -> EndpointReport {
        let network = inner.state().network_of(endpoint);
        let gateways: Vec<IpAddr> =
            network.into_iter().flat_map(|network| network.gateways_of(endpoint)).collect();
        let (ifname, netns) = match &endpoint.home {
            Home::Netns { netns, ifname } => (Some(ifname.clone()), Some(netns.path.clone())),
            Home::Engine { .. } => (None, None),
        };
        EndpointReport {
            network: network
                .map_or_else(|| endpoint.network.to_string(), |network| network.label().to_owned()),
            name: endpoint.name.clone(),
            mac: endpoint.mac,
            seen_mac: endpoint.mac_on_lan().filter(|mac| endpoint.mac != Some(*mac)),
            addresses: endpoint.addresses.clone(),
            ifname,
            netns,
            gateways,
            source: endpoint.source,
            lease: endpoint.lease.clone(),
            lease6: endpoint.lease6.clone(),
            learned: endpoint.learned.clone(),
            stage: endpoint.stage,
            since: endpoint.since,
            conflicts: self.lan.conflicts_of(endpoint),
            warnings: Vec::new(),
        }
    }
}

impl Inner {
    /// What containers have made of their links, and what engines have.
    fn altered(&self, observed: &Observed) -> Vec<String> {
        let owners = Owners::of(self.state(), observed);
        let attached = self.state().endpoints.values().filter(|one| one.stage == Stage::Attached);
        let found = attached.filter_map(|one| Some((one, owners.link_of(one, observed)?.2)));
        found.flat_map(|(endpoint, link)| altered(endpoint, link)).collect()
    }

    /// Endpoints that are on the LAN by links which their containers have moved elsewhere.
    fn moved_elsewhere(&self, wanted: &Desired, observed: &Observed) -> Vec<String> {
        let away = wanted.adrift.iter().map(|Adrift { name, mac, parent }| {
            format!("`{name}` is on the LAN as {mac} by a link on `{parent}` that its container has moved elsewhere")
        });
        let going = self.adrift.iter().filter_map(|key| self.state().endpoints.get(key));
        let going = going.filter_map(|endpoint| {
            let mac = self.state().adrift(endpoint, &wanted.owners, observed)?;
            Some(refusal::adrift(endpoint, mac).to_string())
        });
        let left = self.still_on_lan().map(|left| {
            format!("`{}` has left its network, and a link of its container is still on the LAN", left.name)
        });
        away.chain(going).chain(left).collect()
    }
}

/// In what the link of an endpoint's container is not as it was made.
fn altered(endpoint: &Endpoint, link: &Link) -> Vec<String> {
    let mut all = Vec::new();
    let name = &endpoint.name;
    if let (Some(own), Some(seen)) = (endpoint.mac, link.mac)
        && own != seen
    {
        all.push(format!("`{name}` has the MAC {seen}, not its own {own}: its container has changed it"));
    }
    match &endpoint.home {
        Home::Netns { ifname, .. } if link.name != *ifname => {
            all.push(format!("`{name}` has {} and not {ifname}: its container has renamed it", link.name));
        }
        // To Docker 29.7 it numbers a plugin's links itself.
        Home::Engine { inside: Some(wanted), .. } if link.up && link.name != *wanted => all.push(format!(
            "`{name}` has {} where {wanted} was asked for: its engine or its container chose it",
            link.name
        )),
        _ => {}
    }
    all
}
