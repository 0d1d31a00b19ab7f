//! The difference between what should be and what is, as steps.
//!
//! Pure: the same two values give the same plan, and a plan that was carried out leaves nothing to plan. It takes away
//! only what bears Ashore's tag or Ashore's `rtm_protocol`, and never touches a link that somebody else made.

use std::collections::BTreeSet;

use crate::model::owner::Owner;
use crate::net::family::Family;
use crate::net::kind::{MacvlanMode, PortOption};
use crate::net::link::{LinkType, Place, Tag};
use crate::net::name::IfName;
use crate::net::observed::{
    IPV6_METRIC, Link, LinkAddress, Observed, ObservedKind, ObservedRoute, Standing, View, Ways,
};
use crate::net::step::{Route, Step, Sysctl, SysctlKey};
use crate::net::vlan::{Membership, Vlan, VlanId};
use crate::plan::desired::{Custody, Desired, PortVlan, WantedLink};

/// What the far end of a new veth has (`ETH_DATA_LEN`), in bytes.
const VETH_MTU: u32 = 1500;

/// Steps in the order in which they must be made, and what stands in the way of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to change.
    pub steps: Vec<Step>,
    /// What should be changed and cannot be, because something that is not Ashore's is in the way.
    pub blocked: Vec<Blocked>,
}

/// Something of somebody else's that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// A link of that name.
    #[error("{}: there is a link `{name}` already, and it is not Ashore's", shown(.place))]
    Link {
        /// Where.
        place: Place,
        /// Its name.
        name: IfName,
    },
    /// The same VLAN on the same link, by another name; the kernel takes no second one.
    #[error("on this host: `{name}` is VLAN {} on `{}`, and it is not Ashore's", .vlan.id, .vlan.lower)]
    Vlan {
        /// What it is called.
        name: IfName,
        /// The VLAN.
        vlan: Vlan,
    },
    /// A bridge that would put a port on another LAN than its network's.
    #[error(
        "on this host: the bridge `{bridge}` does not filter VLANs any more, so nothing can be kept in VLAN {vlan}"
    )]
    Unfiltered {
        /// The bridge.
        bridge: IfName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// A route to the same destination.
    #[error("{}: there is a route `{}` already, and it is not Ashore's", shown(.place), .there.way())]
    Route {
        /// Where.
        place: Place,
        /// The route in the way.
        there: ObservedRoute,
    },
}

impl Blocked {
    /// Whether it stands in the way of a route in a container that an endpoint is on the LAN without.
    pub fn is_of_extra(&self) -> bool {
        matches!(self, Blocked::Route { place: Place::Netns(_), there } if there.route.is_extra())
    }

    /// What helps.
    pub fn hint(&self) -> String {
        /// `RTPROT_KERNEL`.
        const BY_ADDRESS: u8 = 2;
        match self {
            Blocked::Link { place: Place::Netns(_), name } => {
                format!("choose another name with --ifname, or remove `{name}` in that namespace")
            }
            Blocked::Link { place: Place::Host, name } => {
                format!("rename it while it is down: ip link set dev {} name NEW", name.word())
            }
            Blocked::Vlan { name, vlan } => {
                let (name, wanted) = (name.word(), vlan.name().word());
                format!("rename it while it is down, and it is used: ip link set dev {name} name {wanted}")
            }
            Blocked::Unfiltered { bridge, .. } => {
                format!("ip link set dev {} type bridge vlan_filtering 1", bridge.word())
            }
            Blocked::Route { there, .. } if there.route.to.prefix_len() == 0 => {
                "keep that default route and give none to this endpoint with --no-default-route, or remove it"
                    .into()
            }
            // Without it the link's other addresses would reach nobody.
            Blocked::Route { there, .. } if there.protocol == BY_ADDRESS => format!(
                "leave it: the kernel made it for an address of `{}`, and it goes with that address",
                there.route.dev
            ),
            Blocked::Route { there, .. } => {
                let how = if let Ways::None(how) = there.ways { how } else { "" };
                format!(
                    "remove it: ip route del {how}{}{}",
                    if how.is_empty() { "" } else { " " },
                    there.route.to
                )
            }
        }
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::Host => "on this host".into(),
        Place::Netns(netns) => format!("in {}", netns.path.display()),
    }
}

impl Plan {
    /// Whether all is as it should be.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }
}

/// What has to change for the observed to become the desired.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let mut places = vec![(Place::Host, &observed.host, desired.host.as_slice())];
    for (netns, view) in &observed.netns {
        let wanted = desired.netns.get(netns).map_or(&[][..], Vec::as_slice);
        places.push((Place::Netns(netns.clone()), view, wanted));
    }
    // Everything that goes, goes first: a MAC, a name or a passthru parent may be needed again at once.
    // Only a VLAN's interface goes after what stands on it, which would go with it.
    for (place, view, wanted) in &places {
        Diff { place, view, wanted, desired, host: &observed.host }.removals(&mut plan);
    }
    for (place, view, wanted) in &places {
        Diff { place, view, wanted, desired, host: &observed.host }.link_removals(&mut plan, true);
    }
    for (place, view, wanted) in &places {
        Diff { place, view, wanted, desired, host: &observed.host }.additions(&mut plan, false);
    }
    // The far ends of veths exist once the containers' ends do.
    for (place, view, wanted) in &places {
        Diff { place, view, wanted, desired, host: &observed.host }.additions(&mut plan, true);
    }
    plan
}

/// The comparison of one place.
struct Diff<'a> {
    place: &'a Place,
    view: &'a View,
    wanted: &'a [WantedLink],
    desired: &'a Desired,
    /// The view in which parents' indices mean something.
    host: &'a View,
}

impl Diff<'_> {
    /// Takes away the VLAN interfaces that are not wanted, or everything else, and tells what went.
    fn link_removals(&self, plan: &mut Plan, vlans: bool) -> BTreeSet<IfName> {
        let mut dying = BTreeSet::new();
        for link in &self.view.links {
            let Some(owner) = self.owner(link) else { continue };
            let of_vlan = matches!(owner, Owner::Of(Tag::Vlan(_) | Tag::VlanPort(_)));
            if of_vlan != vlans {
                continue;
            }
            // Both ends of one veth are here, and either takes the other along.
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

    /// Whether a link is left as it is, or changed, but neither taken away nor made anew.
    fn stays(&self, link: &Link) -> bool {
        match self.wanted.iter().find(|wanted| wanted.there == Some(link.index)) {
            Some(wanted) => self.is_same(link, wanted),
            None => self.owner(link).is_none(),
        }
    }

    fn owner(&self, link: &Link) -> Option<&Owner> {
        self.desired.owners.owner(self.place, link)
    }

    /// Whether somebody else uses a VLAN's interface, as far as the host shows: it has addresses, of which Ashore gives it none, links
    /// of others stand on it, or it is a port. What has to be made anew is not asked.
    fn others_use(&self, link: &Link) -> bool {
        let is_wanted = self.wanted.iter().any(|wanted| wanted.spec.name == link.name);
        let is_vlan = matches!(link.kind, ObservedKind::Vlan { .. });
        let stands_on_it = |other: &&Link| other.is_child_of(link, self.place) && self.owner(other).is_none();
        let has_address = || self.view.addresses_of(link).any(|there| !there.link_scope);
        let used =
            || link.master.is_some() || has_address() || self.view.links.iter().any(|one| stands_on_it(&one));
        !is_wanted && is_vlan && used()
    }

    fn removals(&self, plan: &mut Plan) {
        let dying = self.link_removals(plan, false);
        for there in &self.view.neighbours {
            let Some(link) = self.view.link_at(there.index).filter(|link| !dying.contains(&link.name)) else {
                continue;
            };
            let wanted = self.wanted.iter().find(|wanted| wanted.spec.name == link.name);
            let kept = wanted.is_some_and(|wanted| wanted.neighbours.contains(&(there.ip, there.mac)));
            // A shim is Ashore's with all that is on it, also where the kernel keeps no protocol of neighbours.
            if !kept && (there.ours || wanted.is_some_and(|wanted| wanted.no_other_addresses)) {
                let (place, link) = (self.place.clone(), link.name.clone());
                plan.steps.push(Step::DelNeighbour { place, link, ip: there.ip, mac: there.mac });
            }
        }
        let ours =
            self.view.routes.iter().filter(|there| there.is_ours() && !dying.contains(&there.route.dev));
        for there in ours {
            let kept =
                self.wanted.iter().flat_map(|link| &link.routes).any(|route| route.to == there.route.to);
            // A destination that stays, by another way, is replaced in one step below.
            if !kept {
                plan.steps.push(Step::DelRoute { place: self.place.clone(), route: there.route.clone() });
            }
        }
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

    /// Whether the container's end of this veth is wanted too: its namespace may be out of sight, and then there is
    /// nothing that this end could be made with.
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
        // The kernel leaves `source` too for any mode but passthru, also while the link is up, and forgets the sources (Linux
        // 6.18, `macvlan_changelink`). That of a tap it changes only under the tap's own kind (`rtnl_changelink`).
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

    /// All that belongs to a link, in the order in which the kernel takes it: tag and sysctls while it is down, then
    /// addresses, then up, then what needs it up.
    fn finish(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let (place, name) = (self.place, &wanted.spec.name);
        // An engine's container may write what it likes.
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
            // One of another link, which is there or is none of its business.
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

    /// Once the link is up and has its own MTU: whenever one of these changes, the kernel takes the other to it (Linux 6.18,
    /// `addrconf_notify`).
    fn set_ipv6_mtu(&self, link: Option<&Link>, wanted: &WantedLink, plan: &mut Plan) {
        let Some(most) = wanted.ipv6_mtu else { return };
        let parents = match &wanted.spec.kind {
            LinkType::Macvlan { parent, .. } | LinkType::Ipvlan { parent, .. } => self.host.link(parent),
            _ => None,
        };
        // A child of the parent begins with its MTU.
        let Some(mtu) = wanted.spec.mtu.or(link.or(parents).map(|link| link.mtu)) else { return };
        let stays = link.filter(|link| link.up && link.mtu == mtu);
        // A link that had no IPv6 until now begins with its own.
        let was = stays.and_then(|link| link.ipv6_mtu).unwrap_or(mtu.cast_signed());
        let value = most.min(mtu).cast_signed();
        // The kernel has none on a link with less (RFC 8200, 5).
        if value != was && mtu >= 1280 {
            let sysctl = Sysctl { family: Family::Ipv6, link: wanted.spec.name.clone(), key: SysctlKey::Mtu };
            plan.steps.push(Step::SetSysctl { place: self.place.clone(), sysctl, value, was: Some(was) });
        }
    }

    /// A VLAN cannot while the link below it is down (`ENETDOWN`), and comes up with it by itself.
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
            // As a port it would be on the LAN that the bridge is on, of which it is to be kept out.
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

    /// First what it is in and should not be: there is no moment in which it is in two.
    fn set_port_vlan(
        &self,
        there: Option<&Link>,
        bridge: Option<&Link>,
        wanted: &WantedLink,
        plan: &mut Plan,
    ) {
        let Some(PortVlan { id: vlan, membership }) = wanted.vlan else { return };
        let (place, link) = (self.place, &wanted.spec.name);
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
        let (place, name) = (self.place, &wanted.spec.name);
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
        let (place, name) = (self.place, &wanted.spec.name);
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

    /// The routes of a link that is made anew have gone with it.
    fn set_route(&self, route: &Route, custody: Custody, anew: bool, plan: &mut Plan) {
        let is_there = |there: &&ObservedRoute| !anew || there.route.dev != route.dev;
        let same_destination: Vec<&ObservedRoute> =
            self.view.routes.iter().filter(is_there).filter(|there| there.route.to == route.to).collect();
        if same_destination.iter().any(|there| there.route == *route && there.ways == Ways::One) {
            return;
        }
        let place = self.place.clone();
        let engines = |there: &ObservedRoute| {
            custody == Custody::Moved { leased: true } && there.metric == 0 && there.route.dev == route.dev
        };
        let ours = same_destination.iter().find(|there| there.is_ours() || engines(there));
        // The kernel refuses a second one of the same metric.
        let metric = if route.to.addr().is_ipv4() { 0 } else { IPV6_METRIC };
        let in_the_way = |there: &&&ObservedRoute| there.metric == metric && !there.is_heard_by(&route.dev);
        if let Some(foreign) = same_destination.iter().find(in_the_way).filter(|_| ours.is_none()) {
            plan.blocked.push(Blocked::Route { place, there: (**foreign).clone() });
            return;
        }
        let instead_of = ours.map(|there| there.route.clone());
        plan.steps.push(Step::SetRoute { place, route: route.clone(), instead_of });
    }

    /// Whether a link of Ashore's can become the wanted one by changes to it, or has to be made anew. In an engine's container
    /// nothing is: the container would lose what the engine has made of its link.
    fn is_same(&self, link: &Link, wanted: &WantedLink) -> bool {
        let spec = &wanted.spec;
        let is_child =
            |parent| self.host.link(parent).is_some_and(|there| link.is_child_of(there, self.place));
        let kind = match (&link.kind, &spec.kind) {
            (
                ObservedKind::Macvlan { mode: there, bc_queue_len: queue },
                LinkType::Macvlan { parent, mode, bc_queue_len },
            ) => {
                // Nothing turns into passthru, and passthru into nothing (Linux 6.18, `macvlan_changelink`).
                (*there == Some(MacvlanMode::Passthru)) == (*mode == MacvlanMode::Passthru)
                    && (bc_queue_len.is_none() || bc_queue_len == queue)
                    && is_child(parent)
            }
            // A container that has put a tap in its link's place keeps it, as it keeps what else it has made of its link.
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
