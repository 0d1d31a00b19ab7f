//! The difference between what the kernel should hold and what it holds, as steps.
//!
//! These functions are pure: the same input gives the same plan, and after a plan was carried out there is
//! nothing left to plan, unless a container made more than one plan removes. A plan removes only what has
//! Ashore's tag or Ashore's `rtm_protocol`, and never changes a link that somebody else made.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::owner::Owner;
use crate::net::family::Family;
use crate::net::kind::{MacvlanMode, PortOption};
use crate::net::link::{LinkType, Place, Tag};
use crate::net::name::IfName;
use crate::net::observed::{Link, LinkAddress, Observed, ObservedKind, ObservedRoute, Standing, View, Ways};
use crate::net::step::{Route, Step, Sysctl, SysctlKey};
use crate::net::vlan::{Membership, Vlan};
use crate::plan::desired::{Custody, Desired, PortVlan, WantedLink};

mod blocked;

pub use blocked::Blocked;

/// How many routes, and how many neighbours, a plan removes from one container at most. Whoever administers
/// the container can make any number with Ashore's protocol. The rest goes with the next plans.
const MOST_OF_CONTAINER: usize = 256;

/// The MTU of the far end of a new veth (`ETH_DATA_LEN`), in bytes.
const VETH_MTU: u32 = 1500;

/// The steps in their order, and what is in the way of further steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to change.
    pub steps: Vec<Step>,
    /// Changes that cannot be made, because something that is not Ashore's is in the way.
    pub blocked: Vec<Blocked>,
}

impl Plan {
    /// Whether there is nothing to do and nothing is in the way.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }
}

/// Returns what has to change so that what was observed becomes what is desired.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let diff_in = |place, view, wanted| Diff::of(place, view, wanted, desired, observed);
    let mut places = vec![diff_in(Place::Host, &observed.host, desired.host.as_slice())];
    for (netns, view) in &observed.netns {
        let wanted = desired.netns.get(netns).map_or(&[][..], Vec::as_slice);
        places.push(diff_in(Place::Netns(netns.clone()), view, wanted));
    }
    // Removals come first, because a MAC, a name or a passthru parent may be needed again at once. Only a
    // VLAN interface is removed after the links on it, which would go with it.
    for place in &places {
        place.removals(&mut plan);
    }
    for place in &places {
        place.link_removals(&mut plan, true);
    }
    for place in &places {
        place.additions(&mut plan, false);
    }
    // The far end of a veth exists once the container's end does.
    for place in &places {
        place.additions(&mut plan, true);
    }
    plan
}

/// The comparison of one place.
struct Diff<'a> {
    place: Place,
    view: &'a View,
    wanted: &'a [WantedLink],
    desired: &'a Desired,
    observed: &'a Observed,
    /// The view in which parents' indices are valid.
    host: &'a View,
    /// The routes in this place, by their destination. The host has one for each endpoint.
    routes: BTreeMap<IpNet, Vec<&'a ObservedRoute>>,
    /// The destinations of the wanted routes.
    destinations: BTreeSet<IpNet>,
}

impl<'a> Diff<'a> {
    fn of(
        place: Place,
        view: &'a View,
        wanted: &'a [WantedLink],
        desired: &'a Desired,
        observed: &'a Observed,
    ) -> Self {
        let mut routes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for there in &view.routes {
            routes.entry(there.route.to).or_default().push(there);
        }
        let destinations = wanted.iter().flat_map(|link| &link.routes).map(|route| route.to).collect();
        Diff { place, view, wanted, desired, observed, host: &observed.host, routes, destinations }
    }
}

impl Diff<'_> {
    /// Removes the VLAN interfaces that are not wanted, or all other links that are not wanted. Returns the
    /// names of the removed links.
    fn link_removals(&self, plan: &mut Plan, vlans: bool) -> BTreeSet<IfName> {
        let mut dying = BTreeSet::new();
        for link in &self.view.links {
            let Some(owner) = self.owner(link) else { continue };
            let of_vlan = matches!(owner, Owner::Of(Tag::Vlan(_) | Tag::VlanPort(_)));
            if of_vlan != vlans {
                continue;
            }
            // Both ends of this veth are on the host, and removing one removes the other.
            let near = link.lower.and_then(|near| self.view.link_at(near.index));
            let goes_along =
                matches!(owner, Owner::Of(Tag::VlanPort(_))) && near.is_some_and(|near| !self.stays(near));
            let is_kept = self.stays(link) || (vlans && self.others_use(link));
            if !goes_along && !is_kept {
                dying.insert(link.name.clone());
                plan.steps.push(Step::DelLink { place: self.place.clone(), link: link.name.clone() });
            }
        }
        dying
    }

    /// Whether a link stays, as it is or changed. `false` if it is removed or made again.
    fn stays(&self, link: &Link) -> bool {
        match self.wanted.iter().find(|wanted| wanted.there == Some(link.index)) {
            Some(wanted) => self.is_same(link, wanted),
            None => self.owner(link).is_none(),
        }
    }

    fn owner(&self, link: &Link) -> Option<&Owner> {
        self.desired.owners.owner(&self.place, link)
    }

    /// Whether somebody else uses a VLAN interface, as far as the host shows: it has addresses (Ashore gives
    /// it none), somebody else's links are on it, or it is a port. An interface that has to be made again is
    /// not checked.
    fn others_use(&self, link: &Link) -> bool {
        let is_wanted = self.wanted.iter().any(|wanted| wanted.spec.name == link.name);
        let is_vlan = matches!(link.kind, ObservedKind::Vlan { .. });
        let stands_on_it =
            |other: &&Link| other.is_child_of(link, &self.place) && self.owner(other).is_none();
        let has_address = || self.view.addresses_of(link).any(|there| !there.link_scope);
        let used =
            || link.master.is_some() || has_address() || self.view.links.iter().any(|one| stands_on_it(&one));
        !is_wanted && is_vlan && used()
    }

    fn removals(&self, plan: &mut Plan) {
        let dying = self.link_removals(plan, false);
        let most = if self.place == Place::Host { usize::MAX } else { MOST_OF_CONTAINER };
        let neighbours = self.view.neighbours.iter().filter_map(|there| {
            let link = self.view.link_at(there.index).filter(|link| !dying.contains(&link.name))?;
            let wanted = self.wanted.iter().find(|wanted| wanted.spec.name == link.name);
            let kept = wanted.is_some_and(|wanted| wanted.neighbours.contains(&(there.ip, there.mac)));
            // All entries on a shim are Ashore's, even if the kernel does not keep the protocol of neighbour
            // entries.
            let is_meant = self.place != Place::Host || self.observed.is_about(there.ip);
            let is_ours = there.ours || wanted.is_some_and(|wanted| wanted.no_other_addresses);
            let (place, link) = (self.place.clone(), link.name.clone());
            (is_meant && !kept && is_ours).then_some(Step::DelNeighbour {
                place,
                link,
                ip: there.ip,
                mac: there.mac,
            })
        });
        plan.steps.extend(neighbours.take(most));
        let ours =
            self.view.routes.iter().filter(|there| there.is_ours() && !dying.contains(&there.route.dev));
        // A destination that stays but is reached in another way is replaced in one step below.
        let going = ours.filter(|there| !self.destinations.contains(&there.route.to)).take(most);
        plan.steps.extend(
            going.map(|there| Step::DelRoute { place: self.place.clone(), route: there.route.clone() }),
        );
    }

    fn additions(&self, plan: &mut Plan, far_ends: bool) {
        for wanted in self.wanted.iter().filter(|wanted| wanted.tag.is_far_end() == far_ends) {
            if wanted.custody == Custody::Borrowed {
                self.set_neighbours(self.view.link(&wanted.spec.name), wanted, plan);
                wanted.routes.iter().for_each(|route| self.set_route(route, wanted.custody, false, plan));
                continue;
            }
            let there = wanted.there.and_then(|index| self.view.link_at(index));
            let there = there.filter(|link| self.is_same(link, wanted));
            match there {
                Some(link) => self.mend(link, wanted, plan),
                None => self.make(wanted, plan),
            }
        }
    }

    fn make(&self, wanted: &WantedLink, plan: &mut Plan) {
        let name = &wanted.spec.name;
        let foreign = |link: &Link| self.owner(link).is_none();
        if self.view.link(name).is_some_and(|link| self.stays(link)) {
            plan.blocked.push(Blocked::Link { place: self.place.clone(), name: name.clone() });
            return;
        }
        if let LinkType::Vlan { parent, id, .. } = &wanted.spec.kind {
            let vlan = Vlan { lower: parent.clone(), id: *id, gvrp: false };
            if let Some(there) = self.view.links.iter().find(|link| foreign(link) && vlan.is(link, self.view))
            {
                plan.blocked.push(Blocked::Vlan { name: there.name.clone(), vlan });
                return;
            }
        }
        // A veth is made from the container's side, both ends at once.
        let is_far_end = wanted.tag.is_far_end();
        if !is_far_end {
            plan.steps.push(Step::AddLink { place: self.place.clone(), link: wanted.spec.clone() });
        } else if !self.far_end_is_coming(wanted) {
            return;
        } else if let Some(mtu) = wanted.spec.mtu.filter(|mtu| *mtu != VETH_MTU) {
            let (place, link) = (self.place.clone(), name.clone());
            plan.steps.push(Step::SetMtu { place, link, mtu, was: VETH_MTU });
        }
        self.finish(None, wanted, plan);
    }

    /// Whether the container's end of this veth is wanted too. Its namespace may not have been observed, and
    /// then this end cannot be made.
    fn far_end_is_coming(&self, wanted: &WantedLink) -> bool {
        match &wanted.spec.kind {
            LinkType::Veth { peer_place: Place::Netns(netns), .. } => {
                self.desired.netns.get(netns).is_some_and(|links| !links.is_empty())
            }
            LinkType::Veth { peer, peer_place: Place::Host, .. } => {
                self.desired.host.iter().any(|link| link.spec.name == *peer)
            }
            _ => false,
        }
    }

    fn mend(&self, link: &Link, wanted: &WantedLink, plan: &mut Plan) {
        if let Some(mtu) = wanted.spec.mtu.filter(|mtu| *mtu != link.mtu) {
            plan.steps.push(Step::SetMtu {
                place: self.place.clone(),
                link: link.name.clone(),
                mtu,
                was: link.mtu,
            });
        }
        // The kernel changes mode `source` to any mode but passthru, even while the link is up, and drops the
        // sources (Linux 6.18, `macvlan_changelink`). The mode of a tap can be changed only under the tap's
        // own kind (`rtnl_changelink`).
        let (was, kind) = (link.kind.mode(), wanted.spec.kind.mode());
        if let Some(kind) = kind.filter(|kind| was != Some(*kind) && link.kind != ObservedKind::Tap) {
            let (place, link) = (self.place.clone(), link.name.clone());
            plan.steps.push(Step::SetMode { place, link, kind, was });
        }
        if let (ObservedKind::Vlan { gvrp: was, .. }, LinkType::Vlan { gvrp, .. }) =
            (&link.kind, &wanted.spec.kind)
            && was != gvrp
        {
            plan.steps.push(Step::SetGvrp { place: self.place.clone(), link: link.name.clone(), on: *gvrp });
        }
        self.finish(Some(link), wanted, plan);
    }

    /// Adds all that belongs to a link, in the order that the kernel requires: tag and sysctls while the link
    /// is down, then the addresses, then up, then what needs the link to be up.
    fn finish(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let (place, name) = (&self.place, &wanted.spec.name);
        // The container of an engine may change the alias.
        let moved = matches!(wanted.custody, Custody::Moved { .. });
        if !moved && link.and_then(Link::tag).as_ref() != Some(&wanted.tag) {
            plan.steps.push(Step::SetAlias {
                place: place.clone(),
                link: name.clone(),
                tag: Some(wanted.tag.clone()),
            });
        }
        if link.is_none() && wanted.no_link_local {
            plan.steps.push(Step::SetNoLinkLocal { place: place.clone(), link: name.clone() });
        }
        for (sysctl, value) in &wanted.sysctls {
            // The sysctl may be one of another link, and counts only if that link exists.
            let other = (sysctl.link != *name).then(|| self.view.link(&sysctl.link));
            if other.is_some_and(|other| other.is_none()) {
                continue;
            }
            let was = other.unwrap_or(link).and_then(|link| link.sysctl(sysctl.key));
            if was != Some(*value) {
                let (sysctl, value) = (sysctl.clone(), *value);
                plan.steps.push(Step::SetSysctl { place: place.clone(), sysctl, value, was });
            }
        }
        self.set_master(link, wanted, plan);
        self.set_addresses(link, wanted, plan);
        let up = wanted.custody != Custody::HandedOver && self.can_go_up(wanted);
        if up && link.is_none_or(|link| !link.up) {
            plan.steps.push(Step::SetUp { place: place.clone(), link: name.clone(), up: true });
        }
        if up {
            self.set_ipv6_mtu(link, wanted, plan);
        }
        self.set_neighbours(link, wanted, plan);
        for route in &wanted.routes {
            self.set_route(route, wanted.custody, link.is_none(), plan);
        }
    }

    /// Sets the IPv6 MTU. This is done once the link is up and has its own MTU, because the kernel resets the
    /// IPv6 MTU to the link's own when either of these changes (Linux 6.18, `addrconf_notify`).
    fn set_ipv6_mtu(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let Some(most) = wanted.ipv6_mtu else { return };
        let parents = match &wanted.spec.kind {
            LinkType::Macvlan { parent, .. } | LinkType::Ipvlan { parent, .. } => self.host.link(parent),
            _ => None,
        };
        // A child of the parent begins with the parent's MTU.
        let Some(mtu) = wanted.spec.mtu.or(link.or(parents).map(|link| link.mtu)) else { return };
        let stays = link.filter(|link| link.up && link.mtu == mtu);
        // A link that had no IPv6 until now begins with its own MTU.
        let was = stays.and_then(|link| link.ipv6_mtu).unwrap_or(mtu.cast_signed());
        let value = most.min(mtu).cast_signed();
        // The kernel has no IPv6 on a link with a smaller MTU (RFC 8200, 5).
        if value != was && mtu >= 1280 {
            let sysctl = Sysctl { family: Family::Ipv6, link: wanted.spec.name.clone(), key: SysctlKey::Mtu };
            plan.steps.push(Step::SetSysctl { place: self.place.clone(), sysctl, value, was: Some(was) });
        }
    }

    /// Whether a link can be set up. A VLAN interface cannot while the link below is down (`ENETDOWN`), and
    /// comes up with that link by itself.
    fn can_go_up(&self, wanted: &WantedLink) -> bool {
        match &wanted.spec.kind {
            LinkType::Vlan { parent, .. } => self.host.link(parent).is_some_and(|below| below.up),
            _ => true,
        }
    }

    fn set_master(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let Some(master) = &wanted.master else { return };
        let bridge = self.view.link(master);
        if let Some(vlan) = &wanted.vlan
            && bridge.is_none_or(|bridge| bridge.vlans.is_none())
        {
            // As a port, the link would be on the LAN of the bridge itself, from which it must be kept.
            plan.blocked.push(Blocked::Unfiltered { bridge: master.clone(), vlan: vlan.id });
            return;
        }
        let was = link.and_then(|link| self.view.link_at(link.master?)).map(|master| master.name.clone());
        // A new port has no options (Linux 6.18, `new_nbp`).
        let as_port = link.filter(|_| was.as_ref() == Some(master));
        if as_port.is_none() {
            let (link, master) = (wanted.spec.name.clone(), wanted.master.clone());
            plan.steps.push(Step::SetMaster { place: self.place.clone(), link, master, was });
        }
        self.set_port(as_port, wanted, plan);
        self.set_port_vlan(as_port, bridge, wanted, plan);
    }

    /// Sets the VLAN of a port. It leaves other VLANs first, so it is never in two.
    fn set_port_vlan(
        &self,
        there: Option<&Link>,
        bridge: Option<&Link>,
        wanted: &WantedLink,
        plan: &mut Plan,
    ) {
        let Some(PortVlan { id: vlan, membership }) = wanted.vlan else { return };
        let (place, link) = (&self.place, &wanted.spec.name);
        let joins = bridge.and_then(|bridge| bridge.default_pvid).map(|id| (id, Membership::UNTAGGED));
        let member_of = match there {
            Some(port) => port.vlans.clone().unwrap_or_default(),
            None => joins.into_iter().collect(),
        };
        for (other, was) in member_of.iter().filter(|(id, _)| **id != vlan) {
            let (place, link) = (place.clone(), link.clone());
            plan.steps.push(Step::DelPortVlan { place, link, vlan: *other, was: *was });
        }
        let was = member_of.get(&vlan).copied();
        if was != Some(membership) {
            let (place, link) = (place.clone(), link.clone());
            plan.steps.push(Step::SetPortVlan { place, link, vlan, membership, was });
        }
    }

    fn set_port(&self, there: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        for option in PortOption::ALL {
            let on = wanted.port.contains(&option);
            if on != there.is_some_and(|there| there.port.contains(&option)) {
                let (place, link) = (self.place.clone(), wanted.spec.name.clone());
                plan.steps.push(Step::SetPort { place, link, option, on });
            }
        }
    }

    fn set_addresses(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let (place, name) = (&self.place, &wanted.spec.name);
        let there: Vec<_> = link.into_iter().flat_map(|link| self.view.addresses_of(link)).collect();
        let off = |there: &LinkAddress| {
            wanted.lost.contains(&there.net) || (wanted.no_other_addresses && there.life.is_none())
        };
        for other in there.iter().filter(|there| off(there)) {
            if !wanted.addresses.iter().any(|address| address.net == other.net) {
                let address = crate::net::step::Address { net: other.net, nodad: false };
                plan.steps.push(Step::DelAddress { place: place.clone(), link: name.clone(), address });
            }
        }
        for address in &wanted.addresses {
            if !there.iter().any(|there| there.net == address.net) {
                plan.steps.push(Step::AddAddress {
                    place: place.clone(),
                    link: name.clone(),
                    address: *address,
                });
            }
            let on = wanted.deprecated.contains(&address.net);
            let was =
                there.iter().any(|there| there.net == address.net && there.standing == Standing::Deprecated);
            if address.net.addr().is_ipv6() && on != was {
                let (place, link, net) = (place.clone(), name.clone(), address.net);
                plan.steps.push(Step::SetDeprecated { place, link, net, on });
            }
        }
    }

    fn set_neighbours(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let (place, name) = (&self.place, &wanted.spec.name);
        let there: Vec<_> = self
            .view
            .neighbours
            .iter()
            .filter(|entry| link.is_some_and(|link| link.index == entry.index))
            .collect();
        for (ip, mac) in &wanted.neighbours {
            if !there.iter().any(|entry| entry.ip == *ip && entry.mac == *mac) {
                let (link, ip, mac) = (name.clone(), *ip, *mac);
                plan.steps.push(Step::AddNeighbour { place: place.clone(), link, ip, mac });
            }
        }
    }

    /// Sets a route. If the link was made again, its old routes are gone (`anew`).
    fn set_route(&self, route: &Route, custody: Custody, anew: bool, plan: &mut Plan) {
        let is_there = |there: &&ObservedRoute| !anew || there.route.dev != route.dev;
        let same_destination = self.routes.get(&route.to).into_iter().flatten().copied();
        let same_destination: Vec<&ObservedRoute> = same_destination.filter(is_there).collect();
        if same_destination.iter().any(|there| there.route == *route && there.ways == Ways::One) {
            return;
        }
        let place = self.place.clone();
        let engines = |there: &ObservedRoute| {
            custody == Custody::Moved { leased: true } && there.metric == 0 && there.route.dev == route.dev
        };
        // The kernel refuses a second route of the same metric.
        let metric = route.has_metric();
        let is_ours = |there: &ObservedRoute| there.is_ours() && there.route.metric == route.metric;
        let ours = same_destination.iter().find(|there| is_ours(there) || engines(there));
        let in_the_way = |there: &&&ObservedRoute| there.metric == metric && !there.is_heard_by(&route.dev);
        if let Some(foreign) = same_destination.iter().find(in_the_way).filter(|_| ours.is_none()) {
            plan.blocked.push(Blocked::Route { place, there: (**foreign).clone() });
            return;
        }
        let instead_of = ours.map(|there| there.route.clone());
        plan.steps.push(Step::SetRoute { place, route: route.clone(), instead_of });
    }

    /// Whether one of Ashore's links can become the wanted one by changes. Otherwise it has to be made again.
    /// In an engine's container no link is made again: the container would lose what the engine has set on
    /// it.
    fn is_same(&self, link: &Link, wanted: &WantedLink) -> bool {
        let spec = &wanted.spec;
        let is_child =
            |parent| self.host.link(parent).is_some_and(|there| link.is_child_of(there, &self.place));
        let kind = match (&link.kind, &spec.kind) {
            (
                ObservedKind::Macvlan { mode: there, bc_queue_len: queue },
                LinkType::Macvlan { parent, mode, bc_queue_len, .. },
            ) => {
                // No mode can be changed to passthru, and passthru to no other mode (Linux 6.18,
                // `macvlan_changelink`).
                (*there == Some(MacvlanMode::Passthru)) == (*mode == MacvlanMode::Passthru)
                    && (bc_queue_len.is_none() || bc_queue_len == queue)
                    && is_child(parent)
            }
            // A container that has put a tap in place of its link keeps the tap, like any other change that
            // it makes to its link.
            (ObservedKind::Tap, LinkType::Macvlan { parent, .. } | LinkType::Ipvlan { parent, .. })
            | (ObservedKind::Ipvlan { .. }, LinkType::Ipvlan { parent, .. }) => is_child(parent),
            (ObservedKind::Vlan { id: there, .. }, LinkType::Vlan { parent, id, .. }) => {
                *there == id.get() && is_child(parent)
            }
            (ObservedKind::Bridge, LinkType::Bridge) | (ObservedKind::Veth, LinkType::Veth { .. }) => true,
            _ => false,
        };
        kind && link.name == spec.name && (spec.mac.is_none() || spec.mac == link.mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_empty_if_nothing_is_to_be_done_and_nothing_is_in_the_way() {
        let name: IfName = "eth0".parse().unwrap();
        let steps = vec![Step::DelLink { place: Place::Host, link: name.clone() }];
        let blocked = vec![Blocked::Link { place: Place::Host, name }];
        assert!(Plan::default().is_empty());
        assert!(!Plan { steps: steps.clone(), ..Plan::default() }.is_empty());
        assert!(!Plan { blocked: blocked.clone(), ..Plan::default() }.is_empty());
        assert!(!Plan { steps, blocked }.is_empty());
    }
}
