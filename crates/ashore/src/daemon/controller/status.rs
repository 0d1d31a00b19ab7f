//! `ashore status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::about::About;
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::{EndpointReport, NetworkReport, Reply, Status};
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::checks;
use ashore_core::model::endpoint::{Endpoint, Placement, Source, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::owner::Owners;
use ashore_core::model::ownership::Ownership;
use ashore_core::net::link::{Netns, Place, Tag, shim_name};
use ashore_core::net::observed::{Link, Observed};
use ashore_core::net::remedy::Remedy;
use ashore_core::plan::desired::{Desired, Waiting, desired};
use ashore_core::plan::diff::{Blocked, plan};
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::spare::MOST_NAMES;
use ashore_kernel::Namespace;
use ipnet::IpNet;

use super::firewall::HostFirewall;
use super::lost_namespaces::Says;
use super::plans::shown;
use super::read::busy;
use super::{Controller, Inner, all_netns};
use crate::clock::now;
use crate::unlocked::Unlocked;

impl Controller {
    /// Reports what is so, also while a request holds the lock. Then the kernel is compared with a state that it
    /// is on its way to. The differences are no troubles: a link that is still to be made has not been taken away.
    /// Only those are told that outlast the requests.
    pub(super) fn status(&self, unlocked: &mut Unlocked) -> Result<Reply, Refusal> {
        self.status_behind(unlocked, &self.firewall())
    }

    /// The same on a host whose firewall was perhaps read already.
    pub(super) fn status_behind(
        &self,
        unlocked: &mut Unlocked,
        firewall: &HostFirewall<'_>,
    ) -> Result<Reply, Refusal> {
        let ((mut status, differences, lasting), settled) = self.read(unlocked, |unlocked, reader| {
            let (status, differences) = self.status_of(unlocked, reader, firewall)?;
            let lasting = self.lasting.sees(reader.turn(), &differences);
            Ok((status, differences, lasting))
        })?;
        if settled {
            self.lasting.hold(&differences);
            status.troubles.extend(differences);
        } else {
            status.troubles.extend(lasting);
            let message = "what is pending may be their work, and what else the kernel has differently is told only if it \
                           lasts";
            status.troubles.push(busy(message));
        }
        Ok(Reply::Status(status))
    }

    /// Returns the status, and apart from it the troubles that are differences between the kernel and the state.
    fn status_of(
        &self,
        unlocked: &mut Unlocked,
        inner: &Inner,
        firewall: &HostFirewall<'_>,
    ) -> Result<(Status, Vec<Trouble>), Refusal> {
        let observed = inner.observe(&all_netns(inner.state()))?;
        let wanted = desired(&inner.state_to_come(&observed), &observed);
        let mut plan = plan(&wanted, &observed);
        inner.spare_others(&mut plan, &observed);
        let endpoints: Vec<EndpointReport> =
            inner.state().endpoints.values().map(|endpoint| self.report(inner, endpoint)).collect();

        let blocked = plan.blocked.iter().map(|blocked| inner.blocked(blocked));
        let waiting = inner.waiting(&wanted);
        let claimed = self.claimed(inner, &observed, &endpoints);
        let all = inner.state().endpoints.values();
        let unleased = all.filter(|one| one.source == Source::Lease && one.lease.is_none()).map(|one| {
            let message = format!(
                "`{}` has no IPv4 address: its lease was lost, and the LAN's DHCP server has given it no other one since",
                one.name
            );
            let remedy = "check that the router's DHCP server is on and has free addresses".into();
            Trouble::new(Code::NoLease, inner.about(one), message, Some(remedy))
        });
        let altered = inner.altered(&wanted.owners, &observed);
        // A step that is no longer planned is repaired.
        let failed = inner.failed.iter().filter(|error| plan.steps.contains(&error.step));
        let failed = failed.map(|error| {
            let remedy = error.hint().map(Remedy::from);
            Trouble::new(Code::StepFailed, About::default(), error.to_string(), remedy)
        });
        let unreconciled = inner.unreconciled.iter();
        let unreconciled = unreconciled
            .map(|refusal| (Code::NotReconciled, format!("could not reconcile: {refusal}"), refusal));
        let unwritten = inner.unwritten.iter().filter(|refusal| inner.unreconciled.as_ref() != Some(refusal));
        let stopped =
            unreconciled.chain(unwritten.map(|refusal| (Code::NotWritten, refusal.to_string(), refusal)));
        let stopped = stopped.map(|(code, message, refusal)| {
            Trouble::new(code, About::default(), message, refusal.remedy.clone())
        });
        let unreachable = self.lan.unreachable().into_iter().map(|unreachable| {
            let parent = &unreachable.parent;
            let message =
                format!("addresses cannot be probed on the LAN through `{parent}`: {}", unreachable.why);
            Trouble::new(Code::ProbeFailed, About::parent(parent), message, None)
        });
        let pools = self.pool_troubles(inner);
        let all = || inner.state().networks.values();
        let cut = self.cut_by_firewall(unlocked, firewall, all(), &observed.host).troubles.into_iter();
        let cut = cut.chain(Self::host_cut_by_firewall(unlocked, firewall, all(), &observed.host).troubles);
        let troubles = self
            .on_trial(unlocked)
            .into_iter()
            .chain(inner.unreadable(&observed))
            .chain(inner.unowned_troubles())
            .chain(inner.unlinked_troubles())
            .chain(inner.removed_troubles())
            .chain(inner.stranger_troubles())
            .chain(inner.too_many_names())
            .chain(self.machine_trouble(inner))
            .chain(unleased)
            .chain(self.not_themselves(inner))
            .chain(checks::names(inner.state(), inner.engines.inventories()))
            .chain(self.lists.troubles())
            .chain(self.unanswered_troubles(inner, &observed.host))
            .chain(self.engine_trouble(inner.state()))
            .chain(self.unadvertised(inner.state()))
            .chain(pools)
            .chain(claimed)
            .chain(unreachable)
            .chain(failed)
            .chain(stopped)
            .collect();
        let networks = || inner.state().networks.values();
        let differences = inner
            .astray(&wanted, &observed)
            .into_iter()
            .chain(inner.lookalikes(&observed))
            .chain(blocked)
            .chain(waiting)
            .chain(networks().filter_map(|one| one.trouble_of_parent(&observed.host)))
            .chain(networks().filter_map(|one| one.trouble_of_subnets(&observed.host)))
            .chain(networks().filter_map(|one| one.trouble_of_arp(&observed.host)))
            .chain(networks().filter_map(|one| one.trouble_of_reverse_path(&observed.host)))
            .chain(networks().filter_map(|one| inner.state().open_vlans(one, &observed.host)))
            .chain(cut)
            .chain(altered)
            .collect();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            networks: inner
                .state()
                .networks
                .values()
                .map(|n| self.network_report(inner, &observed, n))
                .collect(),
            endpoints,
            pending: shown(plan.steps),
            troubles,
        };
        Ok((status, differences))
    }

    /// Reports claims on addresses that are in use, and endpoints that have another address because a machine
    /// had their own.
    fn claimed(&self, inner: &Inner, observed: &Observed, reports: &[EndpointReport]) -> Vec<Trouble> {
        let state = inner.state();
        let claimed = |about, mac, what: &str| {
            let claimant = state.claimant(mac, &observed.host);
            let message = format!("{claimant} on the LAN claims {what}, which is defended");
            let remedy = match &claimant.known_as {
                Some(known_as) => format!("remove the address from {known_as}").into(),
                None => "give that machine another address".into(),
            };
            Trouble::new(Code::AddressClaimed, about, message, Some(remedy))
        };
        let mut told = Vec::new();
        for (endpoint, report) in state.endpoints.values().zip(reports) {
            let what = format!("the address of `{}`", endpoint.name);
            told.extend(report.conflicts.keys().map(|mac| claimed(inner.about(endpoint), *mac, &what)));
        }
        told.extend(self.lan.conflicts_of_host(state).into_iter().map(|((parent, ip), mac)| {
            let what = format!("{ip}, the host's own address on a shim");
            claimed(About::parent(&parent), mac, &what)
        }));
        for endpoint in state.endpoints.values() {
            told.extend(endpoint.stand_ins.iter().filter_map(|ip| {
                let own = state.own_beside_stand_in(endpoint, *ip)?;
                let name = &endpoint.name;
                let message = format!(
                    "`{name}` has {ip}: another machine had its own address {own} when it was attached"
                );
                Some(Trouble::new(Code::StandIn, inner.about(endpoint), message, None))
            }));
        }
        told
    }

    fn network_report(&self, inner: &Inner, observed: &Observed, network: &Network) -> NetworkReport {
        let (heard, none) = (self.heard_on(network), BTreeMap::new());
        let known =
            AddressesInUse { host: &observed.host, heard: &heard, answered: &none, held: &inner.held };
        let free = |subnet| {
            let candidates = inner.state().candidates(network, subnet, None, &known);
            candidates.filter(|ip| !heard.contains_key(ip)).count() as u64
        };
        let free: BTreeMap<IpNet, u64> =
            network.handed_out().map(|subnet| (subnet.net, free(subnet))).collect();
        let shim =
            observed.host.tagged(&Tag::Shim(network.parent.clone())).map(|_| shim_name(&network.parent));
        NetworkReport {
            network: inner.state().as_leased(network),
            shim: shim.filter(|_| network.uses_shim()),
            endpoints: inner.state().endpoints_on(&network.name).count(),
            free,
        }
    }

    /// An endpoint as it is reported to people and programs.
    pub(super) fn report(&self, inner: &Inner, endpoint: &Endpoint) -> EndpointReport {
        let network = inner.state().network_of(endpoint);
        let gateways: Vec<IpAddr> =
            network.into_iter().flat_map(|network| network.gateways_of(endpoint)).collect();
        let (ifname, netns) = match &endpoint.placement {
            Placement::Netns { netns, ifname } => {
                // A container may have chosen the path, which need not be text.
                (Some(ifname.clone()), Some(netns.path.to_string_lossy().into_owned().into()))
            }
            Placement::Engine { .. } => (None, None),
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
            ownership: endpoint.ownership,
            source: endpoint.source,
            lease: endpoint.lease.clone(),
            lease6: endpoint.lease6.clone(),
            learned: endpoint.learned.clone(),
            own_routes: endpoint.own_routes.routes.clone(),
            stage: endpoint.stage,
            since: endpoint.since,
            conflicts: self.lan.conflicts_of(inner.state(), endpoint),
            lan_name: network.and_then(|network| self.lan.name_of(network, endpoint)),
            warnings: network
                .and_then(|network| endpoint.note_of_ports(network.label()))
                .into_iter()
                .collect(),
        }
    }
}

/// The maximum number of addresses of others that are reported for one container.
const MOST_SHOWN: usize = 4;

impl Inner {
    fn about(&self, endpoint: &Endpoint) -> About {
        About::endpoint(endpoint, self.state())
    }

    /// Reports networks whose parents are not there.
    pub(super) fn waiting(&self, wanted: &Desired) -> Vec<Trouble> {
        let told = wanted.waiting.iter().filter_map(|Waiting { network, parent, remedy }| {
            let network = self.state().networks.get(network)?;
            let message =
                format!("network `{}` waits for its parent `{parent}` to come back", network.label());
            let about = About { parent: Some(parent.clone()), ..About::network(network) };
            Some(Trouble::new(Code::ParentMissing, about, message, Some(remedy.clone())))
        });
        told.collect()
    }

    /// Reports that more names are remembered than should be, and that none of them goes by itself.
    fn too_many_names(&self) -> Option<Trouble> {
        let state = self.state();
        state.remembers_too_many(now()).then(|| {
            let message = format!(
                "{} names are remembered, more than {MOST_NAMES}, and of none it is known that nobody will ask for it again",
                state.identities.len()
            );
            let remedy = Remedy::from("find those that are no longer needed, under identity/, with ")
                .and_run("ashore state export")
                .and(", and drop each with ")
                .and_run("ashore forget NAME");
            Trouble::new(Code::TooManyNames, About::default(), message, Some(remedy))
        })
    }

    /// Reports what is in the way of a change.
    fn blocked(&self, blocked: &Blocked) -> Trouble {
        let inside = |netns: &Netns| {
            let there = self.state().endpoints.values().find(|endpoint| endpoint.netns() == Some(netns));
            there.map(|endpoint| self.about(endpoint)).unwrap_or_default()
        };
        let (code, about) = match blocked {
            Blocked::Unfiltered { bridge, .. } => (Code::BridgeUnfiltered, About::parent(bridge)),
            Blocked::Link { place: Place::Host, name } | Blocked::Vlan { name, .. } => {
                (Code::InTheWay, About::parent(name))
            }
            Blocked::Route { place: Place::Host, there } => (Code::InTheWay, About::parent(&there.route.dev)),
            Blocked::Link { place: Place::Netns(netns), .. }
            | Blocked::Route { place: Place::Netns(netns), .. } => (Code::InTheWay, inside(netns)),
        };
        Trouble::new(code, about, blocked.to_string(), Some(blocked.remedy()))
    }

    /// Reports endpoints that are not where they were attached.
    fn astray(&self, wanted: &Desired, observed: &Observed) -> Vec<Trouble> {
        let told = self.state().endpoints.values().filter_map(|endpoint| {
            let name = &endpoint.name;
            let netns = endpoint.netns()?;
            let path = netns.path.display();
            let trouble =
                |code, message, remedy| Some(Trouble::new(code, self.about(endpoint), message, remedy));
            if let Some(says) = self.lost.says(endpoint).filter(|says| !matches!(says, Says::Gone | Says::Nobody)) {
                let message = format!("`{name}` {says}: {path} no longer leads to its namespace");
                return trouble(Code::NamespaceLost, message, None);
            }
            if let Some(mac) = self.state().adrift(endpoint, &wanted.owners, observed) {
                let word = self.state().network_of(endpoint)?.word();
                let message = format!(
                    "`{name}` is on the LAN as {mac}: its container has moved its link to another namespace; it keeps its address"
                );
                let off = Remedy::from("to take it off the LAN: ").and_run(format!("ashore detach {word} {name}"));
                return trouble(Code::LinkMoved, message, Some(off));
            }
            // An engine names a path that lasts as long as its call. Its user never sees it.
            let attached_by = netns.attached_by.as_ref().filter(|_| endpoint.ownership == Ownership::Cli)?.display();
            let message =
                format!("`{name}`: {attached_by} no longer leads to its namespace, which was found by {path}");
            trouble(Code::PathChanged, message, None)
        });
        let left = self.still_on_lan().map(|left| {
            let message = format!(
                "`{}` has left its network, but a link of its container is still on the LAN",
                left.name
            );
            Trouble::new(Code::LinkLeft, self.about(left), message, None)
        });
        told.chain(left).collect()
    }

    /// Reports containers that cannot be read, and why.
    fn unreadable(&self, observed: &Observed) -> Vec<Trouble> {
        let why = |endpoint: &Endpoint| match &endpoint.placement {
            Placement::Netns { .. } => observed.unreadable(endpoint).map(str::to_owned),
            Placement::Engine { sandbox, .. } => {
                let error = Namespace::open(sandbox.as_ref()?).err()?;
                (!error.leads_nowhere()).then(|| error.to_string())
            }
        };
        let told = self.state().endpoints.values().filter_map(|endpoint| Some((endpoint, why(endpoint)?)));
        let told = told.map(|(endpoint, why)| {
            let message =
                format!("the container of `{}` cannot be read, and is left as it is: {why}", endpoint.name);
            Trouble::new(Code::Unreadable, self.about(endpoint), message, None)
        });
        told.collect()
    }

    /// Reports what containers and engines have changed on endpoints' links.
    fn altered(&self, owners: &Owners, observed: &Observed) -> Vec<Trouble> {
        let attached = self.state().endpoints.values().filter(|one| one.stage == Stage::Attached);
        let found = attached.filter_map(|one| Some((one, owners.link_of(one, observed)?)));
        let mut all = Vec::new();
        for (endpoint, (_, _, link)) in found {
            let told = altered(endpoint, link).into_iter();
            all.extend(told.map(|(code, message)| Trouble::new(code, self.about(endpoint), message, None)));
            all.extend(self.taken_by(endpoint, owners, observed));
        }
        all
    }

    /// Reports addresses of other endpoints that an endpoint's container has added to one of its links.
    fn taken_by(&self, endpoint: &Endpoint, owners: &Owners, observed: &Observed) -> Vec<Trouble> {
        let Some((netns, view, _)) = owners.link_of(endpoint, observed) else { return Vec::new() };
        let taken = view.addresses.iter().filter_map(|there| {
            let holder = self.state().holder(there.net.addr()).filter(|holder| holder.is_wanted())?;
            // A container may be on several networks.
            let is_here = owners.link_of(holder, observed).is_some_and(|(its, ..)| its == netns);
            (!is_here).then(|| {
                let message = format!(
                    "the container of `{}` has added {}, which is the address of `{}`",
                    endpoint.name,
                    there.net.addr(),
                    holder.name
                );
                Trouble::new(Code::AddressAdded, self.about(endpoint), message, None)
            })
        });
        taken.take(MOST_SHOWN).collect()
    }
}

/// Reports how the link of an endpoint differs from the link that was made.
fn altered(endpoint: &Endpoint, link: &Link) -> Vec<(Code, String)> {
    let mut all = Vec::new();
    let name = &endpoint.name;
    if let (Some(own), Some(seen)) = (endpoint.mac, link.mac)
        && own != seen
    {
        let message = format!("`{name}` has the MAC {seen}, not its own {own}: its container has changed it");
        all.push((Code::MacChanged, message));
    }
    match &endpoint.placement {
        Placement::Netns { ifname, .. } if link.name != *ifname => {
            let message = format!(
                "`{name}` has the link name {} and not {ifname}: its container has renamed it",
                link.name
            );
            all.push((Code::LinkRenamed, message));
        }
        // Docker up to 29.7 numbers a plugin's links itself.
        Placement::Engine { inside: Some(wanted), .. } if link.up && link.name != *wanted => {
            let message = format!(
                "`{name}` has the link name {}, but {wanted} was asked for: its engine or its container chose the name",
                link.name
            );
            all.push((Code::LinkRenamed, message));
        }
        _ => {}
    }
    all
}
