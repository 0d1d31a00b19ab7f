//! By what Ashore knows a link as its own.
//!
//! On the host a link is known by its tag and its name, which go together; whoever can write there is root. A link that an
//! engine gives back comes from a container, which may have written any tag and any MAC on it. It comes under the name that
//! Ashore chose for it, and it is a child of a link of the host.
//!
//! In a container nothing that is written on a link proves anything. There an endpoint's link has to be a child of a link on
//! the host (for a veth: the other end of the endpoint's port), and has to show one more `Evidence`. A child of the same
//! parent that shows none is somebody else's: an engine's, or one that the user has made by hand.

use std::collections::{BTreeMap, BTreeSet};

use ashore_wire::Mac;

use crate::model::endpoint::{Endpoint, Seen, Stage};
use crate::model::identity;
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::kind::LinkKind;
use crate::net::link::{Netns, Place, Tag, is_engine_link_name, is_port_name, own_port_name};
use crate::net::name::{EndpointKey, IfName};
use crate::net::observed::{Link, Observed, ObservedKind, Seat, View};
use crate::net::step::Step;

/// What tells that a child of a parent in an endpoint's container is the endpoint's link: the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// The kernel's number for it. A link that does not leave its namespace keeps it, whatever else is changed.
    Number,
    /// The MAC that the endpoint was given, which is no other machine's.
    Mac,
    /// The MAC that its link was last seen with.
    SeenMac,
    /// The endpoint's own tag.
    Tag,
    /// The endpoint's address.
    Address,
    /// The name, of a link that was made and not tagged when the daemon died.
    Name,
}

/// Whose a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The one that has this tag, whatever tag the link bears.
    Of(Tag),
    /// An endpoint's of which the state knows nothing any more.
    Gone,
}

/// Ashore's links in what was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// By their number on the host.
    host: BTreeMap<u32, Owner>,
    /// By their number in each container, those that Ashore itself has put there and may take away.
    inside: BTreeMap<Netns, BTreeMap<u32, Owner>>,
    /// For each endpoint the link by which it is on the LAN, also where an engine or somebody else has put it there.
    links: BTreeMap<EndpointKey, (Netns, u32)>,
}

impl Owners {
    /// Looks at everything that was observed.
    pub fn of(state: &State, observed: &Observed) -> Self {
        let host = &observed.host;
        let known = |link: &Link| Some((link.index, state.owner_on_host(host, link)?));
        let mut owners = Owners { host: host.links.iter().filter_map(known).collect(), ..Owners::default() };
        for (netns, endpoints) in state.by_container(observed) {
            owners.look_into(netns, &observed.netns[netns], host, endpoints);
        }
        owners
    }

    /// Whose a link is; none if it is not Ashore's to change or to take away.
    pub fn owner(&self, place: &Place, link: &Link) -> Option<&Owner> {
        match place {
            Place::Host => self.host.get(&link.index),
            Place::Netns(netns) => self.inside.get(netns)?.get(&link.index),
        }
    }

    /// The link on the host that has a name, if it is the one of a tag.
    pub(crate) fn on_host(&self, tag: &Tag, name: &IfName, host: &View) -> Option<u32> {
        let index = host.link(name)?.index;
        (self.host.get(&index) == Some(&Owner::Of(tag.clone()))).then_some(index)
    }

    /// The link by which an endpoint is on the LAN, and where it is.
    pub fn link_of<'a>(
        &self,
        endpoint: &Endpoint,
        observed: &'a Observed,
    ) -> Option<(&'a Netns, &'a View, &'a Link)> {
        let (netns, index) = self.links.get(&endpoint.key())?;
        let (netns, view) = observed.netns.get_key_value(netns)?;
        Some((netns, view, view.link_at(*index)?))
    }

    /// Whether another endpoint is on the LAN by a link in a container.
    pub fn is_of_another(&self, endpoint: &Endpoint, netns: &Netns, link: &Link) -> bool {
        let here = |(key, one): (&EndpointKey, &(Netns, u32))| {
            *key != endpoint.key() && one.0 == *netns && one.1 == link.index
        };
        self.links.iter().any(here)
    }

    /// Whether an endpoint is whole in the kernel, though its record says that it is on its way: its link is up, which comes
    /// after tag and addresses. What comes after that, routes, can be mended. An engine's link is up only once the engine has
    /// brought it up.
    pub fn is_whole(&self, endpoint: &Endpoint, observed: &Observed) -> bool {
        let up = || self.link_of(endpoint, observed).is_some_and(|(_, _, link)| link.up);
        endpoint.stage == Stage::Attaching && endpoint.netns().is_some() && up()
    }

    /// What there is of an endpoint is not touched for now.
    pub(crate) fn leave_alone(&mut self, endpoint: &Endpoint, host: &View) {
        self.leave_on_host(&endpoint.port_tag().host_name(), host);
        if let Some((netns, index)) = self.links.get(&endpoint.key()) {
            self.inside.get_mut(netns).and_then(|owners| owners.remove(index));
        }
    }

    /// The link of a name on the host is not touched for now.
    pub(crate) fn leave_on_host(&mut self, name: &IfName, host: &View) {
        host.link(name).and_then(|link| self.host.remove(&link.index));
    }

    /// The far end of an endpoint's veth.
    fn port_of(&self, endpoint: &Endpoint, host: &View) -> Option<u32> {
        let tag = endpoint.port_tag();
        self.on_host(&tag, &tag.host_name(), host)
    }

    /// Says whose the links in one container are. Each is one endpoint's at most, and each endpoint has one at most, which is
    /// the one with the best evidence. Of an endpoint that is to go, all go that show any.
    fn look_into(&mut self, netns: &Netns, view: &View, host: &View, endpoints: Vec<(&Endpoint, &Network)>) {
        let place = Place::Netns(netns.clone());
        let mut shown = Vec::new();
        for (endpoint, network) in endpoints {
            let port = self.port_of(endpoint, host);
            let case = Case { endpoint, network, port, place: &place, view, host };
            shown.extend(view.links.iter().filter_map(|link| Some((case.evidence(link)?, endpoint, link))));
        }
        // A link that is up is the one of several.
        shown.sort_by_key(|(evidence, _, link)| (*evidence, !link.up, link.index));
        let mut taken = BTreeMap::new();
        for (_, endpoint, link) in &shown {
            if !taken.contains_key(&link.index) && !self.links.contains_key(&endpoint.key()) {
                taken.insert(link.index, *endpoint);
                self.links.insert(endpoint.key(), (netns.clone(), link.index));
            }
        }
        for (_, endpoint, link) in shown.iter().filter(|(_, endpoint, _)| !endpoint.is_wanted()) {
            taken.entry(link.index).or_insert(endpoint);
        }
        let own = taken.into_iter().filter(|(_, endpoint)| endpoint.netns().is_some());
        let own = own.map(|(index, endpoint)| (index, Owner::Of(endpoint.tag())));
        self.inside.insert(netns.clone(), own.collect());
    }
}

/// The question whether a link in a container is an endpoint's.
struct Case<'a> {
    endpoint: &'a Endpoint,
    network: &'a Network,
    /// The other end of its veth.
    port: Option<u32>,
    place: &'a Place,
    view: &'a View,
    host: &'a View,
}

impl Case<'_> {
    fn evidence(&self, link: &Link) -> Option<Evidence> {
        let lower = link.lower.filter(|lower| lower.seat == Seat::Host)?;
        match (self.network.kind, &link.kind) {
            (LinkKind::Bridge, ObservedKind::Veth) => {
                return (self.port == Some(lower.index)).then_some(Evidence::Number);
            }
            (LinkKind::Macvlan(_), ObservedKind::Macvlan { .. } | ObservedKind::Tap)
            | (LinkKind::Ipvlan(_), ObservedKind::Ipvlan { .. } | ObservedKind::Tap) => {}
            _ => return None,
        }
        let strong = self.strong(link);
        let parent = self.host.link(&self.network.parent);
        if parent.is_some_and(|parent| link.is_child_of(parent, self.place)) {
            return strong.or_else(|| self.weak(link));
        }
        // The parent may be another by now. A link of Ashore's own on the old one is made anew, and an engine's is left alone.
        strong.filter(|_| self.endpoint.netns().is_some())
    }

    fn strong(&self, link: &Link) -> Option<Evidence> {
        let Endpoint { mac, seen, .. } = self.endpoint;
        if seen.as_ref().is_some_and(|seen| seen.index == link.index) {
            Some(Evidence::Number)
        } else if mac.is_some() && *mac == link.mac {
            Some(Evidence::Mac)
        } else {
            None
        }
    }

    fn weak(&self, link: &Link) -> Option<Evidence> {
        let endpoint = self.endpoint;
        let holds = || self.view.addresses_of(link).any(|there| endpoint.holds(there.net.addr()));
        // What is only left alone, and what is to go from the LAN, may be known by less than what will be changed. Of those that
        // share the parent's MAC there is less to know.
        let by_less = endpoint.netns().is_none() || !endpoint.is_wanted() || endpoint.mac.is_none();
        let may_bear = by_less || endpoint.seen.is_none();
        // Before it was seen, whoever has its address in this namespace had it before it came.
        let may_hold = by_less && (endpoint.seen.is_some() || endpoint.netns().is_none());
        let unseen = endpoint.mac.is_none() && endpoint.seen.is_none() && endpoint.is_cut_short();
        if endpoint.mac.is_some() && endpoint.mac_on_lan() == link.mac {
            Some(Evidence::SeenMac)
        } else if may_bear && link.tag() == Some(endpoint.tag()) {
            Some(Evidence::Tag)
        } else if may_hold && holds() {
            Some(Evidence::Address)
        } else if unseen && link.alias.is_none() && link.name == *endpoint.link().1 {
            Some(Evidence::Name)
        } else {
            None
        }
    }
}

impl State {
    /// The endpoints that have, or may have, a link in each of the containers that were observed.
    fn by_container<'a>(
        &'a self,
        observed: &'a Observed,
    ) -> BTreeMap<&'a Netns, Vec<(&'a Endpoint, &'a Network)>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for endpoint in self.endpoints.values().filter(|endpoint| endpoint.stage != Stage::Reserved) {
            let own = || observed.netns.get_key_value(endpoint.netns()?);
            let found = own().or_else(|| observed.at(endpoint.sandbox()?));
            if let (Some((netns, _)), Some(network)) = (found, self.network_of(endpoint)) {
                all.entry(netns).or_default().push((endpoint, network));
            }
        }
        all
    }

    /// What takes away from a container what is left there of an endpoint that the state does not have there.
    pub fn clearing(&self, endpoint: &Endpoint, netns: &Netns, observed: &Observed) -> Vec<Step> {
        let (Some(inside), Some(network)) = (observed.netns.get(netns), self.network_of(endpoint)) else {
            return Vec::new();
        };
        let is_left = |link: &&Link| endpoint.has_left(network, link, (netns, inside), &observed.host);
        let mut left: Vec<&Link> = inside.links.iter().filter(is_left).collect();
        if !left.is_empty() {
            let owners = Owners::of(self, observed);
            let others = |link: &Link| owners.links.values().any(|one| *one == (netns.clone(), link.index));
            left.retain(|link| !others(link));
        }
        let place = Place::Netns(netns.clone());
        left.iter().map(|link| Step::DelLink { place: place.clone(), link: link.name.clone() }).collect()
    }

    /// Other children of an endpoint's parent in its container, which Ashore has not made and leaves alone.
    pub fn others_beside(&self, endpoint: &Endpoint, observed: &Observed) -> Vec<Link> {
        let owners = Owners::of(self, observed);
        let inside = endpoint.netns().and_then(|netns| observed.netns.get_key_value(netns));
        let parent = self.network_of(endpoint).and_then(|network| observed.host.link(&network.parent));
        let (Some((netns, view)), Some(parent)) = (inside, parent) else { return Vec::new() };
        let place = Place::Netns(netns.clone());
        let known = |link: &Link| owners.links.values().any(|one| *one == (netns.clone(), link.index));
        let beside = |link: &&Link| link.is_child() && link.is_child_of(parent, &place) && !known(link);
        view.links.iter().filter(beside).cloned().collect()
    }

    /// Links in containers that stand on one of the host's, bear an endpoint's tag, and are no endpoint's that is in the state, as far as
    /// their MACs tell. Who made them has lost its state, or goes on with an older one. In a container that is no proof: they are told of
    /// and left alone. Containers with an endpoint in them are not to be among those that were observed.
    pub fn unowned<'a>(&self, observed: &'a Observed) -> Vec<(&'a Netns, &'a Link)> {
        let known: BTreeSet<Mac> = self.endpoints.values().flat_map(Endpoint::macs).collect();
        let is_unowned = |link: &&Link| {
            let on_host = link.lower.filter(|lower| lower.seat == Seat::Host);
            let has_parent = on_host.is_some_and(|lower| observed.host.link_at(lower.index).is_some());
            let tagged = matches!(link.tag(), Some(Tag::Endpoint(..)));
            link.is_child() && has_parent && tagged && !link.mac.is_some_and(|mac| known.contains(&mac))
        };
        let inside = |(netns, view): (&'a Netns, &'a View)| {
            view.links.iter().filter(is_unowned).map(move |link| (netns, link)).collect::<Vec<_>>()
        };
        observed.netns.iter().flat_map(inside).collect()
    }

    /// Whose a link on the host is.
    pub(crate) fn owner_on_host(&self, host: &View, link: &Link) -> Option<Owner> {
        let tag = link.tag().filter(|tag| may_bear(&link.kind, tag));
        if tag.as_ref().is_some_and(|tag| tag.host_name() == link.name) {
            return tag.map(Owner::Of);
        }
        let own = || self.endpoints.values().filter_map(|one| Some((one, self.network_of(one)?)));
        let own = || own().filter(|(_, network)| !network.adopted);
        let for_engine = is_engine_link_name(&link.name) && may_bear_endpoints(&link.kind);
        if for_engine {
            let named = |one: &Endpoint| one.netns().is_none() && *one.link().1 == link.name;
            if let Some((endpoint, _)) = own().find(|(one, _)| named(one)) {
                return Some(Owner::Of(endpoint.tag()));
            }
        }
        let parent = link.lower.filter(|lower| lower.seat == Seat::Here);
        let parent = parent.and_then(|lower| host.link_at(lower.index)).filter(|_| link.is_child());
        if let (Some(parent), Some(mac), ObservedKind::Macvlan { .. }) = (parent, link.mac, &link.kind) {
            if shim_mac(parent) == Some(mac) {
                return Some(Owner::Of(Tag::Shim(parent.name.clone())));
            }
            // What a container has given its link for a MAC may be the MAC of a link that the user has made here.
            let with_mac = |(one, network): &(&Endpoint, &Network)| {
                network.parent == parent.name && one.mac == Some(mac)
            };
            if let Some((endpoint, _)) = own().find(with_mac) {
                return Some(Owner::Of(endpoint.tag()));
            }
        }
        if let Some(tag) = tag {
            return Some(Owner::Of(tag));
        }
        // An engine takes a link down when it moves it back.
        let given_back = for_engine && parent.is_some() && !link.up;
        if given_back || parent.is_some_and(|parent| self.had_lately(parent, link)) {
            return Some(Owner::Gone);
        }
        self.untagged_port(link).map(Owner::Of)
    }

    /// Whether a name that has gone had this link: its MAC follows from the name, and no other machine has it.
    fn had_lately(&self, parent: &Link, link: &Link) -> bool {
        let Some(mac) = link.mac else { return false };
        let of_network = |network: &Network| network.parent == parent.name && !network.adopted;
        matches!(link.kind, ObservedKind::Macvlan { .. })
            && self.networks.values().any(of_network)
            && self.identities.iter().any(|((scope, name), identity)| {
                identity.mac == Some(mac) && (0..4).any(|n| self.seed.mac(scope, name, n) == mac)
            })
    }

    /// The far end of a veth is tagged after the other one may be up already, and an endpoint whose link is up is whole. Its
    /// name is a hash, which nobody else chooses.
    fn untagged_port(&self, link: &Link) -> Option<Tag> {
        if link.kind != ObservedKind::Veth || !is_port_name(&link.name) {
            return None;
        }
        let networks = self.networks.values().filter(|network| network.kind == LinkKind::Bridge);
        for network in networks {
            if network.bridge_vlan().is_some() && own_port_name(&network.parent) == link.name {
                return Some(Tag::VlanPort(network.parent.clone()));
            }
            let tags = self.endpoints_on(&network.name).map(Endpoint::port_tag);
            if let Some(tag) = tags.into_iter().find(|tag| tag.host_name() == link.name) {
                return Some(tag);
            }
        }
        None
    }

    /// What was seen of endpoints' links and is not written down yet. An endpoint whose link was not seen keeps what was seen
    /// last.
    pub fn sightings(&self, observed: &Observed) -> Vec<Change> {
        let owners = Owners::of(self, observed);
        let attached = self.endpoints.values().filter(|endpoint| endpoint.stage == Stage::Attached);
        let seen = attached.filter_map(|endpoint| {
            let (_, view, link) = owners.link_of(endpoint, observed)?;
            let seen = Some(endpoint.seen_as(link, view));
            (endpoint.seen != seen).then(|| Change::PutEndpoint(Endpoint { seen, ..endpoint.clone() }))
        });
        seen.collect()
    }

    /// The parents of endpoints whose link is not to be seen up in their container, and the MACs that it may have. Whether it is on the
    /// LAN all the same the parents tell, see [`Observed::children`].
    pub fn parents_to_ask(&self, observed: &Observed) -> BTreeMap<IfName, BTreeSet<Mac>> {
        let missing = |endpoint: &Endpoint| {
            let (netns, view) = observed.netns.get_key_value(endpoint.netns()?)?;
            let network = self.network_of(endpoint)?;
            let place = Place::Netns(netns.clone());
            let parent = observed.host.link(&network.parent);
            let mut children = view.links.iter().filter(|link| {
                link.is_child() && parent.is_some_and(|parent| link.is_child_of(parent, &place))
            });
            let there = children.any(|link| endpoint.is_up_as(link));
            let is_child = matches!(network.kind, LinkKind::Macvlan(_)) && endpoint.mac.is_some();
            (is_child && !there && endpoint.stage != Stage::Attaching).then(|| network.parent.clone())
        };
        let mut to_ask: BTreeMap<IfName, BTreeSet<Mac>> = BTreeMap::new();
        for endpoint in self.endpoints.values() {
            if let Some(parent) = missing(endpoint) {
                to_ask.entry(parent).or_default().extend(self.macs_of(endpoint));
            }
        }
        to_ask
    }

    /// The MAC by which an endpoint is on the LAN although its link is not in its container: the container has moved it into
    /// another namespace. None also where nothing can tell.
    pub fn adrift(&self, endpoint: &Endpoint, owners: &Owners, observed: &Observed) -> Option<Mac> {
        observed.netns.get(endpoint.netns()?)?;
        let network = self.network_of(endpoint)?;
        let at_home = owners.link_of(endpoint, observed).map(|(_, _, link)| link);
        if at_home.is_some_and(|link| network.kind == LinkKind::Bridge || endpoint.is_up_as(link)) {
            return None;
        }
        if network.kind == LinkKind::Bridge {
            // The two ends of a veth come and go together.
            return owners.port_of(endpoint, &observed.host).and_then(|_| endpoint.mac_on_lan());
        }
        let children = observed.children.get(&network.parent)?;
        // A link that its container has given the MAC of some other machine is not that machine.
        let is_meant = |mac: &Mac| at_home.is_none() || endpoint.mac == Some(*mac);
        self.macs_of(endpoint).filter(is_meant).find(|mac| children.contains(mac))
    }
}

impl Endpoint {
    /// Whether a link in a container is its, though the state does not have it there: it is left of an earlier one of the same
    /// name.
    pub(crate) fn has_left(
        &self,
        network: &Network,
        link: &Link,
        (netns, inside): (&Netns, &View),
        host: &View,
    ) -> bool {
        let place = &Place::Netns(netns.clone());
        // A veth is left with its port.
        let tag = self.port_tag();
        let port = host.link(&tag.host_name()).filter(|port| port.tag() == Some(tag));
        let case =
            Case { endpoint: self, network, port: port.map(|port| port.index), place, view: inside, host };
        case.evidence(link).is_some_and(|evidence| evidence != Evidence::Name)
    }

    /// Whether a child of its parent, in its container, is its link and on the LAN, so that it is nowhere else: the kernel
    /// brings no second child up with a MAC, and gives a number once.
    fn is_up_as(&self, link: &Link) -> bool {
        let has_number = self.seen.as_ref().is_some_and(|seen| seen.index == link.index);
        link.up && (has_number || self.mac.is_some() && self.mac == link.mac)
    }

    /// What is to be kept in mind of its link.
    pub fn seen_as(&self, link: &Link, view: &View) -> Seen {
        let engines = self.netns().is_none();
        let name = engines.then(|| link.name.clone());
        // An engine sets all of it before it brings the link up, but for the routes.
        let before = || self.seen.as_ref()?.set.clone();
        let set = if engines && link.up { Some(view.set_of(link)) } else { before() };
        // Where the MAC is the parent's, it is none of its own.
        Seen { index: link.index, mac: link.mac.filter(|_| self.mac.is_some()), name, set }
    }
}

/// The MAC of the shim on a parent.
pub fn shim_mac(parent: &Link) -> Option<Mac> {
    let vlan = if let ObservedKind::Vlan { id, .. } = parent.kind { Some(id) } else { None };
    Some(identity::shim_mac(parent.mac?, vlan))
}

impl View {
    /// The MAC of the shim on a parent: the one that it has where the parent's changes by itself, as a bridge's or a bond's does when a
    /// port comes or goes. The endpoints know the host by it.
    pub(crate) fn shim_mac(&self, parent: &Link) -> Option<Mac> {
        let changes = match &parent.kind {
            ObservedKind::Bridge => true,
            ObservedKind::Other(kind) => kind == "bond" || kind == "team",
            _ => false,
        };
        let shim = self.tagged(&Tag::Shim(parent.name.clone())).filter(|_| changes);
        let has =
            shim.filter(|shim| matches!(shim.kind, ObservedKind::Macvlan { .. })).and_then(|shim| shim.mac);
        has.filter(|mac| mac.is_station()).or_else(|| shim_mac(parent))
    }
}

/// Whether Ashore makes links of a kind for that. A NIC that was lent to a container comes back with whatever the container
/// has written on it, and a tap on the host is the user's own.
fn may_bear(kind: &ObservedKind, tag: &Tag) -> bool {
    match tag {
        Tag::Endpoint(..) => may_bear_endpoints(kind),
        Tag::Shim(_) => matches!(kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. }),
        Tag::Port(..) | Tag::VlanPort(_) => *kind == ObservedKind::Veth,
        Tag::Vlan(_) => matches!(kind, ObservedKind::Vlan { .. } | ObservedKind::Veth),
    }
}

fn may_bear_endpoints(kind: &ObservedKind) -> bool {
    matches!(kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Veth)
}
