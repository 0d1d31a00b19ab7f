//! How Ashore recognises its own links.
//!
//! On the host, Ashore recognises a link by its tag together with its name. Only root can write there. A link
//! that an engine gives back comes from a container, which may have written any tag and any MAC on it. Such a
//! link comes back under the name that Ashore chose for it, and it is a child of a link on the host.
//!
//! In a container, nothing that is written on a link proves anything. There an endpoint's link must be a
//! child of a link on the host (for a veth: the other end of the endpoint's port), and it must show one more
//! piece of `Evidence`. A child of the same parent without evidence belongs to another party: an engine, or
//! the user, who made it by hand.

use std::collections::{BTreeMap, BTreeSet};

use ashore_wire::Mac;

use crate::model::endpoint::{Endpoint, Mark, Seen, Stage};
use crate::model::identity;
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::kind::LinkKind;
use crate::net::link::{Netns, Place, Tag, is_engine_link_name, is_port_name, own_port_name};
use crate::net::name::{EndpointKey, IfName};
use crate::net::observed::{Link, Observed, ObservedKind, Seat, View};
use crate::net::step::Step;

/// The evidence that a child of a parent in an endpoint's container is the endpoint's link. The strongest
/// comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    /// The kernel's index for it. A link that does not leave its namespace keeps its index, whatever else is
    /// changed.
    Number,
    /// The MAC that was assigned to the endpoint. No other machine has it.
    Mac,
    /// The MAC with which its link was last seen.
    SeenMac,
    /// The endpoint's own tag.
    Tag,
    /// The endpoint's address.
    Address,
    /// The link's name, for a link that was made but not yet tagged when the daemon died.
    Name,
}

/// The owner of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The owner with this tag, whatever tag the link has.
    Of(Tag),
    /// An endpoint that is no longer in the state.
    Gone,
}

/// Ashore's links among the observed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// Links on the host, by their index.
    host: BTreeMap<u32, Owner>,
    /// Links in each container, by their index: those that Ashore itself put there and may delete.
    inside: BTreeMap<Netns, BTreeMap<u32, Owner>>,
    /// The link by which each endpoint is on the LAN, including links that an engine or another party put
    /// there.
    links: BTreeMap<EndpointKey, (Netns, u32)>,
}

impl Owners {
    /// Finds Ashore's links in everything that was observed.
    pub fn of(state: &State, observed: &Observed) -> Self {
        let host = &observed.host;
        let known = |link: &Link| Some((link.index, state.owner_on_host(host, link)?));
        let mut owners = Owners { host: host.links.iter().filter_map(known).collect(), ..Owners::default() };
        for (netns, endpoints) in state.by_container(observed) {
            owners.look_into(netns, &observed.netns[netns], host, endpoints);
        }
        owners
    }

    /// The owner of a link. Returns `None` if Ashore may not change or delete the link.
    pub fn owner(&self, place: &Place, link: &Link) -> Option<&Owner> {
        match place {
            Place::Host => self.host.get(&link.index),
            Place::Netns(netns) => self.inside.get(netns)?.get(&link.index),
        }
    }

    /// The index of the link with this name on the host, if its owner is `tag`.
    pub(crate) fn on_host(&self, tag: &Tag, name: &IfName, host: &View) -> Option<u32> {
        let index = host.link(name)?.index;
        (self.host.get(&index) == Some(&Owner::Of(tag.clone()))).then_some(index)
    }

    /// The link by which an endpoint is on the LAN, with its namespace.
    pub fn link_of<'a>(
        &self,
        endpoint: &Endpoint,
        observed: &'a Observed,
    ) -> Option<(&'a Netns, &'a View, &'a Link)> {
        let (netns, index) = self.links.get(&endpoint.key())?;
        let (netns, view) = observed.netns.get_key_value(netns)?;
        Some((netns, view, view.link_at(*index)?))
    }

    /// Whether this link in a container belongs to another endpoint.
    pub fn is_of_another(&self, endpoint: &Endpoint, netns: &Netns, link: &Link) -> bool {
        let here = |(key, one): (&EndpointKey, &(Netns, u32))| {
            *key != endpoint.key() && one.0 == *netns && one.1 == link.index
        };
        self.links.iter().any(here)
    }

    /// Whether an endpoint is complete in the kernel although its record says `Attaching`: its link is up,
    /// which happens after the tag and the addresses are set. Only the routes come later, and they can be
    /// added afterwards. `false` for an engine's endpoint: only the engine brings its link up.
    pub fn is_whole(&self, endpoint: &Endpoint, observed: &Observed) -> bool {
        let up = || self.link_of(endpoint, observed).is_some_and(|(_, _, link)| link.up);
        endpoint.stage == Stage::Attaching && endpoint.netns().is_some() && up()
    }

    /// Makes the plan leave the endpoint's links alone for now.
    pub(crate) fn leave_alone(&mut self, endpoint: &Endpoint, host: &View) {
        self.leave_on_host(&endpoint.port_tag().host_name(), host);
        if let Some((netns, index)) = self.links.get(&endpoint.key()) {
            self.inside.get_mut(netns).and_then(|owners| owners.remove(index));
        }
    }

    /// Makes the plan leave the link with this name on the host alone for now.
    pub(crate) fn leave_on_host(&mut self, name: &IfName, host: &View) {
        host.link(name).and_then(|link| self.host.remove(&link.index));
    }

    /// The index of the far end of an endpoint's veth.
    fn port_of(&self, endpoint: &Endpoint, host: &View) -> Option<u32> {
        let tag = endpoint.port_tag();
        self.on_host(&tag, &tag.host_name(), host)
    }

    /// Finds the owners of the links in one container. Each link belongs to at most one endpoint, and each
    /// endpoint has at most one link: the one with the best evidence. For an endpoint that is to be removed,
    /// all links with any evidence are removed.
    fn look_into(&mut self, netns: &Netns, view: &View, host: &View, endpoints: Vec<(&Endpoint, &Network)>) {
        let place = Place::Netns(netns.clone());
        let mut shown = Vec::new();
        for (endpoint, network) in endpoints {
            let port = self.port_of(endpoint, host);
            let case = Case { endpoint, network, port, place: &place, view, host };
            shown.extend(view.links.iter().filter_map(|link| Some((case.evidence(link)?, endpoint, link))));
        }
        // Among links with equal evidence, one that is up comes first.
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

/// The inputs for the question whether a link in a container belongs to an endpoint.
struct Case<'a> {
    endpoint: &'a Endpoint,
    network: &'a Network,
    /// The index of the other end of its veth.
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
        // The network may have another parent by now. A link of Ashore's on the old parent is made again, and
        // an engine's link is left alone.
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
        // Weaker evidence is enough for a link that is only left alone, and for one that is removed from the
        // LAN, than for a link that will be changed. A link that shares the parent's MAC offers less
        // evidence.
        let by_less = endpoint.netns().is_none() || !endpoint.is_wanted() || endpoint.mac.is_none();
        let may_bear = by_less || endpoint.seen.is_none();
        // While the endpoint's link has never been seen, a link that has its address in this namespace had
        // the address before the endpoint came.
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
    /// The endpoints that have, or may have, a link in each of the observed containers.
    fn by_container<'a>(
        &'a self,
        observed: &'a Observed,
    ) -> BTreeMap<&'a Netns, Vec<(&'a Endpoint, &'a Network)>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (netns, endpoint) in self.in_containers(observed) {
            if let Some(network) = self.network_of(endpoint).filter(|_| endpoint.stage != Stage::Reserved) {
                all.entry(netns).or_default().push((endpoint, network));
            }
        }
        for endpoints in all.values_mut() {
            endpoints.sort_by_key(|(endpoint, _)| (&endpoint.network, &endpoint.name));
        }
        all
    }

    /// The endpoints of the observed containers. Others are not looked at.
    fn in_containers<'a>(
        &'a self,
        observed: &'a Observed,
    ) -> impl Iterator<Item = (&'a Netns, &'a Endpoint)> {
        let own = |netns| self.endpoints_in(netns).map(move |endpoint| (netns, endpoint));
        let of_engines = observed.paths.keys().filter_map(|path| Some((path, observed.at(path)?.0)));
        let of_engines = of_engines.flat_map(|(path, netns)| {
            let there = self.endpoints.with(Mark::Sandbox(path.clone()));
            there.map(move |(_, endpoint)| (netns, endpoint))
        });
        observed.netns.keys().flat_map(own).chain(of_engines)
    }

    /// The endpoints that a plan for the observed places may be about, in the order of their keys: those in
    /// the observed containers, those with a link on the host, and all of the networks whose endpoints have
    /// one.
    pub(crate) fn concerned<'a>(&'a self, observed: &'a Observed) -> BTreeMap<EndpointKey, &'a Endpoint> {
        let host = &observed.host;
        let has_ports = |network: &&Network| {
            network.kind == LinkKind::Bridge || !network.adopted && host.link(&network.parent).is_none()
        };
        let of_networks = self.networks.values().filter(has_ports);
        let of_networks = of_networks.flat_map(|network| self.endpoints_on(&network.name));
        let on_host = host.links.iter().filter(|link| is_engine_link_name(&link.name));
        let on_host = on_host.flat_map(|link| self.endpoints.with(Mark::OnHost(link.name.clone())));
        let of_engines = on_host.chain(self.endpoints.with(Mark::Unfinished)).map(|(_, endpoint)| endpoint);
        let inside = self.in_containers(observed).map(|(_, endpoint)| endpoint);
        let all = inside.chain(of_engines).chain(of_networks);
        all.map(|endpoint| (endpoint.key(), endpoint)).collect()
    }

    /// The steps that delete from a container what is left of an endpoint that the state does not have there.
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

    /// Other children of an endpoint's parent in its container, which Ashore did not make and leaves alone.
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

    /// Links in containers that are children of a link on the host and have an endpoint's tag, but whose MACs
    /// belong to no endpoint in the state. Whoever made them lost its state, or continues with an older one.
    /// In a container the tag is no proof, so these links are reported and left alone. The caller must not
    /// include containers with an endpoint in `observed`.
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

    /// The owner of a link on the host.
    pub(crate) fn owner_on_host(&self, host: &View, link: &Link) -> Option<Owner> {
        let tag = link.tag().filter(|tag| may_bear(&link.kind, tag));
        if tag.as_ref().is_some_and(|tag| tag.host_name() == link.name) {
            return tag.map(Owner::Of);
        }
        let own = |mark| {
            let with = self.endpoints.with(mark).map(|(_, endpoint)| endpoint);
            let with = with.filter_map(|one| Some((one, self.network_of(one)?)));
            with.filter(|(_, network)| !network.adopted)
        };
        let for_engine = is_engine_link_name(&link.name) && may_bear_endpoints(&link.kind);
        if for_engine && let Some((endpoint, _)) = own(Mark::OnHost(link.name.clone())).next() {
            return Some(Owner::Of(endpoint.tag()));
        }
        let parent = link.lower.filter(|lower| lower.seat == Seat::Here);
        let parent = parent.and_then(|lower| host.link_at(lower.index)).filter(|_| link.is_child());
        if let (Some(parent), Some(mac), ObservedKind::Macvlan { .. }) = (parent, link.mac, &link.kind) {
            if shim_mac(parent) == Some(mac) {
                return Some(Owner::Of(Tag::Shim(parent.name.clone())));
            }
            // Only the endpoint's own MAC counts: a MAC that a container set on its link may be the MAC of a
            // link that the user made here.
            let mut with_mac = own(Mark::Mac(mac));
            if let Some((endpoint, _)) = with_mac.find(|(_, network)| network.parent == parent.name) {
                return Some(Owner::Of(endpoint.tag()));
            }
        }
        if let Some(tag) = tag {
            return Some(Owner::Of(tag));
        }
        // An engine brings a link down when it moves it back to the host.
        let given_back = for_engine && parent.is_some() && !link.up;
        if given_back || parent.is_some_and(|parent| self.had_lately(parent, link)) {
            return Some(Owner::Gone);
        }
        self.untagged_port(link).map(Owner::Of)
    }

    /// Whether a remembered name had this link: the MAC is derived from the name, and no other machine has
    /// it.
    fn had_lately(&self, parent: &Link, link: &Link) -> bool {
        let Some(mac) = link.mac else { return false };
        let of_network = |network: &Network| network.parent == parent.name && !network.adopted;
        matches!(link.kind, ObservedKind::Macvlan { .. })
            && self.networks.values().any(of_network)
            && self
                .identities
                .with(identity::Mark::Mac(mac))
                .any(|((scope, name), _)| (0..4).any(|n| self.seed.mac(scope, name, n) == mac))
    }

    /// Returns the tag for the far end of a veth that is not tagged yet. The far end is tagged later than the
    /// other end may come up, and an endpoint whose link is up counts as complete. The far end is recognised
    /// by its name, a hash that no other party chooses.
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

    /// The changes that record what was newly observed of the endpoints' links. An endpoint whose link was
    /// not observed keeps its last observation.
    pub fn sightings(&self, observed: &Observed) -> Vec<Change> {
        let owners = Owners::of(self, observed);
        let found = owners.links.keys().filter_map(|key| self.endpoints.get(key));
        let attached = found.filter(|endpoint| endpoint.stage == Stage::Attached);
        let seen = attached.filter_map(|endpoint| {
            let (_, view, link) = owners.link_of(endpoint, observed)?;
            let seen = Some(endpoint.seen_as(link, view));
            (endpoint.seen != seen).then(|| Change::PutEndpoint(Endpoint { seen, ..endpoint.clone() }))
        });
        seen.collect()
    }

    /// The parents of endpoints whose link was not seen up in their container, with the MACs that these links
    /// may have. Those parents know whether such a link is on the LAN nevertheless, see
    /// [`Observed::children`].
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
        for endpoint in observed.netns.keys().flat_map(|netns| self.endpoints_in(netns)) {
            if let Some(parent) = missing(endpoint) {
                to_ask.entry(parent).or_default().extend(self.macs_of(endpoint));
            }
        }
        to_ask
    }

    /// The MAC by which an endpoint is on the LAN although its link is not in its container, because the
    /// container moved the link to another namespace. Returns `None` also if this cannot be determined.
    pub fn adrift(&self, endpoint: &Endpoint, owners: &Owners, observed: &Observed) -> Option<Mac> {
        observed.netns.get(endpoint.netns()?)?;
        let network = self.network_of(endpoint)?;
        let at_home = owners.link_of(endpoint, observed).map(|(_, _, link)| link);
        if at_home.is_some_and(|link| network.kind == LinkKind::Bridge || endpoint.is_up_as(link)) {
            return None;
        }
        if network.kind == LinkKind::Bridge {
            // The two ends of a veth are made and deleted together.
            return owners.port_of(endpoint, &observed.host).and_then(|_| endpoint.mac_on_lan());
        }
        let children = observed.children.get(&network.parent)?;
        // A container may have set another machine's MAC on its link. That does not make the link that
        // machine.
        let is_meant = |mac: &Mac| at_home.is_none() || endpoint.mac == Some(*mac);
        self.macs_of(endpoint).filter(is_meant).find(|mac| children.contains(mac))
    }
}

impl Endpoint {
    /// Whether a link in a container is left from an earlier endpoint of the same name, although the state
    /// does not have it there.
    pub(crate) fn has_left(
        &self,
        network: &Network,
        link: &Link,
        (netns, inside): (&Netns, &View),
        host: &View,
    ) -> bool {
        let place = &Place::Netns(netns.clone());
        // For a veth, the port on the host is left too.
        let tag = self.port_tag();
        let port = host.link(&tag.host_name()).filter(|port| port.tag() == Some(tag));
        let case =
            Case { endpoint: self, network, port: port.map(|port| port.index), place, view: inside, host };
        case.evidence(link).is_some_and(|evidence| evidence != Evidence::Name)
    }

    /// Whether a child of its parent, in its container, is its link and is on the LAN. Then the link is
    /// nowhere else: the kernel brings up no second child with the same MAC, and gives an index only once.
    fn is_up_as(&self, link: &Link) -> bool {
        let has_number = self.seen.as_ref().is_some_and(|seen| seen.index == link.index);
        link.up && (has_number || self.mac.is_some() && self.mac == link.mac)
    }

    /// Returns the observation of its link that is stored.
    pub fn seen_as(&self, link: &Link, view: &View) -> Seen {
        let engines = self.netns().is_none();
        let name = engines.then(|| link.name.clone());
        // An engine makes all settings, except the routes, before it brings the link up.
        let before = || self.seen.as_ref()?.set.clone();
        let set = if engines && link.up { Some(view.set_of(link)) } else { before() };
        // A MAC that the link shares with the parent is not stored.
        Seen { index: link.index, mac: link.mac.filter(|_| self.mac.is_some()), name, set }
    }
}

/// The MAC that is derived for the shim on a parent. Returns `None` if the parent has no MAC.
pub fn shim_mac(parent: &Link) -> Option<Mac> {
    let vlan = if let ObservedKind::Vlan { id, .. } = parent.kind { Some(id) } else { None };
    Some(identity::shim_mac(parent.mac?, vlan))
}

impl View {
    /// The MAC of the shim on a parent. A bridge's or bond's MAC changes by itself when a port is added or
    /// removed. On such a parent an existing shim keeps its MAC, because the endpoints know the host by it.
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

/// Whether Ashore makes links of this kind for this tag. A NIC that was lent to a container comes back with
/// whatever the container wrote on it, and a tap on the host is the user's own.
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
