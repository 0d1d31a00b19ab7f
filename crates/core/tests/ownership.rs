//! How a link is recognised as Ashore's, and what Ashore then does to it. The steps are shown as the commands
//! that a person would type.

mod model;

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::identity::Seed;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::owner::Owners;
use ashore_core::model::state::{Change, State};
use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Netns, Place, Tag, engine_link_name};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, Lower, ObservedKind, ObservedRoute, Seat, View};
use ashore_core::net::step::{Route, Step};
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_wire::Mac;
use model::Model;

const OTHER: Mac = Mac([2, 0, 0, 0, 0, 0x77]);

struct World {
    state: State,
    model: Model,
    /// The endpoint `web`.
    web: Endpoint,
    netns: Netns,
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn container(ino: u64) -> Netns {
    Netns::new(format!("/run/netns/c{ino}").into(), 4, ino)
}

impl World {
    /// A container that Ashore itself has attached.
    fn attached() -> World {
        let spec: NetworkSpec = serde_json::from_str(
            r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"gateways":["192.168.88.1"],"mtu":1400}"#,
        )
        .unwrap();
        let mut state = State::new(Seed([3; 16]));
        state.apply(Change::PutNetwork(spec.network().unwrap()));
        let (mut model, netns) = (Model::new(), container(1));
        model.open(&netns);
        let spec = AttachSpec {
            network: "lan".parse().unwrap(),
            name: "web".parse().unwrap(),
            netns: netns.path.clone(),
            ips: Vec::new(),
            mac: None,
            ifname: name("eth0"),
            default_route: true,
            own_routes: OwnRoutes::default(),
            unaddressed: false,
            only_requested: false,
            wishes: LeaseWishes::default(),
            caller: None,
        };
        let (heard, answered, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let known =
            AddressesInUse { host: &model.observed.host, heard: &heard, answered: &answered, held: &held };
        let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned: None };
        let inside = &model.observed.netns[&netns];
        let web = state.draft(&spec, &netns, inside, &known, from_lan, 1).unwrap();
        state.apply(Change::PutEndpoint(web.clone()));
        let mut world = World { state, model, web, netns };
        world.carry_out();
        world.web.stage = Stage::Attached;
        world.state.apply(Change::PutEndpoint(world.web.clone()));
        world.look();
        world
    }

    /// A container whose link an engine has moved, renamed and configured.
    fn with_engine() -> World {
        let mut world = World::attached();
        let ifname = engine_link_name(&world.web.network, &world.web.name);
        let sandbox = Some(world.netns.path.clone());
        world.web.placement = Placement::Engine { id: Some("4711".into()), ifname, sandbox, inside: None };
        world.state.apply(Change::PutEndpoint(world.web.clone()));
        world.model.observed.paths.insert(world.netns.path.clone(), world.netns.clone());
        // `RTPROT_BOOT`, the protocol of routes whose maker does not set one.
        world.inside().routes.iter_mut().for_each(|there| there.protocol = 3);
        world.look();
        world
    }

    /// The links in containers that do not belong to the state.
    fn unowned(&self, state: &State) -> Vec<String> {
        state.unowned(&self.model.observed).iter().map(|(_, link)| link.name.to_string()).collect()
    }

    fn planned(&self) -> Vec<Step> {
        let plan = plan(&desired(&self.state, &self.model.observed), &self.model.observed);
        assert!(plan.blocked.is_empty(), "{:?}", plan.blocked);
        plan.steps
    }

    fn carry_out(&mut self) {
        for step in self.planned() {
            self.model.apply(&step).unwrap();
        }
        assert_eq!(self.planned(), []);
    }

    /// Records in the state what the daemon records whenever it has observed the kernel.
    fn look(&mut self) {
        for change in self.state.sightings(&self.model.observed) {
            self.state.apply(change);
        }
        self.web = self.state.endpoints[&self.web.key()].clone();
    }

    fn inside(&mut self) -> &mut View {
        self.model.observed.netns.get_mut(&self.netns).unwrap()
    }

    fn host(&mut self) -> &mut View {
        &mut self.model.observed.host
    }

    /// The link of `web`.
    fn link(&mut self) -> &mut Link {
        self.inside().links.iter_mut().find(|link| link.index > 2 && link.alias.is_some()).unwrap()
    }

    /// Adds another child of the parent in the container.
    fn add_child(&mut self, called: &str, mac: Mac, alias: Option<&str>) {
        let place = Place::Netns(self.netns.clone());
        self.model.apply(&Step::AddLink { place, link: child(called, mac) }).unwrap();
        self.inside().links.last_mut().unwrap().alias = alias.map(str::to_owned);
    }

    /// Takes the link out of the container.
    fn take_out(&mut self) -> Link {
        let link = self.link().clone();
        self.inside().links.retain(|there| there.index != link.index);
        self.inside().addresses.retain(|there| there.index != link.index);
        self.inside().routes.clear();
        link
    }

    /// Moves the link to the host, as when an engine gives it back.
    fn give_back(&mut self) -> &mut Link {
        let mut link = self.take_out();
        let index = self.model.observed.host.link(&Model::nic()).unwrap().index;
        (link.index, link.up) = (link.index + 1000, false);
        link.lower = Some(Lower { index, seat: Seat::Here });
        link.name = engine_link_name(&self.web.network, &self.web.name);
        self.host().links.push(link);
        self.host().links.last_mut().unwrap()
    }

    fn is_going(&mut self, stage: Stage) {
        self.web.stage = stage;
        self.state.apply(Change::PutEndpoint(self.web.clone()));
    }

    /// The planned steps, without the path of the container.
    fn typed(&self) -> Vec<String> {
        self.planned().iter().map(|step| step.to_string().replace(" -n c1", "")).collect()
    }
}

fn child(called: &str, mac: Mac) -> LinkSpec {
    let (parent, mode) = (Model::nic(), MacvlanMode::Bridge);
    let kind = LinkType::Macvlan { parent, mode, bc_queue_len: None, bc_limit: None };
    LinkSpec { name: name(called), kind, mac: Some(mac), mtu: None }
}

type Trick = (&'static str, fn(&mut World));
type Writing = (&'static str, fn(&mut Link));

/// In mode `source`, which no network has.
const SOURCE: ObservedKind = ObservedKind::Macvlan { mode: None, bc_queue_len: Some(1000) };

const MADE_ANEW: &[&str] = &["link add", "alias", "addr add", "up", "route add"];

/// What a container may do to its link, and the steps that follow: for a container that Ashore has attached,
/// and for an engine's.
const TRICKS: &[(Trick, &[&str], &[&str])] = &[
    (("nothing", |_| {}), &[], &[]),
    (("another tag", |w| w.link().alias = Some("ashore:lan:db".into())), &["alias ashore:lan:web"], &[]),
    (("another name", |w| rename(w, "wan0")), &[], &[]),
    (("another MAC", |w| w.link().mac = Some(OTHER)), &[], &[]),
    (("all three", all_three), &["alias ashore:lan:web"], &[]),
    (
        ("another mode", |w| set_mode(w, Some(MacvlanMode::Private))),
        &["type macvlan mode bridge"],
        &["type macvlan mode bridge"],
    ),
    (
        ("a mode of no network", |w| set_mode(w, None)),
        &["type macvlan mode bridge"],
        &["type macvlan mode bridge"],
    ),
    (
        ("all three and the mode", all_three_and_mode),
        &["type macvlan mode bridge", "alias ashore:lan:web"],
        &["type macvlan mode bridge"],
    ),
    (("a tap in its place", tap_in_its_place), &[], &[]),
    (("another MTU", |w| w.link().mtu = 1300), &["mtu 1400"], &["mtu 1400"]),
    (("a shorter queue", |w| set_queue(w, 7)), &[], &[]),
    (("down", |w| w.link().up = false), &["up"], &[]),
    (("no address", |w| w.inside().addresses.clear()), &["addr add"], &[]),
    (("one more address", |w| add_address(w, "192.168.88.99/24")), &[], &[]),
    (("no route", |w| w.inside().routes.clear()), &["route add default"], &[]),
    (("another router", |w| via(w, "192.168.88.7")), &["route replace default"], &[]),
    (("gone", |w| drop(w.take_out())), MADE_ANEW, &[]),
    (("moved elsewhere", moved_elsewhere), &[], &[]),
    (("one more child", |w| w.add_child("x", OTHER, None)), &[], &[]),
    (("one more with the tag", |w| w.add_child("x", OTHER, Some("ashore:lan:web"))), &[], &[]),
    (("one more with another's tag", |w| w.add_child("x", OTHER, Some("ashore:lan:db"))), &[], &[]),
    (("one more in a mode of no network", |w| add_child_of_kind(w, SOURCE)), &[], &[]),
    (("one more that is a tap", |w| add_child_of_kind(w, ObservedKind::Tap)), &[], &[]),
    (("a veth with the tag", |w| add_foreign(w, ObservedKind::Veth)), &[], &[]),
    (("a NIC with the tag", |w| add_foreign(w, ObservedKind::Physical)), &[], &[]),
    (("another's child under its number", of_third_namespace), MADE_ANEW, &[]),
    (
        ("a child of another NIC", of_another_nic),
        &["link del", "link add", "alias", "addr add", "up", "route add"],
        &[],
    ),
];

fn rename(world: &mut World, to: &str) {
    let was = std::mem::replace(&mut world.link().name, name(to));
    for there in world.inside().routes.iter_mut().filter(|there| there.route.dev == was) {
        there.route.dev = name(to);
    }
}

fn all_three(world: &mut World) {
    rename(world, "wan0");
    let link = world.link();
    (link.mac, link.alias) = (Some(OTHER), Some("uplink".into()));
}

fn all_three_and_mode(world: &mut World) {
    all_three(world);
    // The link is the first one without a tag of Ashore's.
    let own = |link: &&mut Link| link.name == name("wan0");
    world.inside().links.iter_mut().find(own).unwrap().kind = SOURCE;
}

/// The container has removed its link, and made a tap with the link's MAC.
fn tap_in_its_place(world: &mut World) {
    let link = world.link();
    (link.index, link.kind) = (900, ObservedKind::Tap);
    world.inside().addresses.iter_mut().for_each(|there| there.index = 900);
}

fn add_child_of_kind(world: &mut World, kind: ObservedKind) {
    world.add_child("x", OTHER, None);
    world.inside().links.last_mut().unwrap().kind = kind;
}

fn set_mode(world: &mut World, to: Option<MacvlanMode>) {
    if let ObservedKind::Macvlan { mode, .. } = &mut world.link().kind {
        *mode = to;
    }
}

fn set_queue(world: &mut World, length: u32) {
    if let ObservedKind::Macvlan { bc_queue_len, .. } = &mut world.link().kind {
        *bc_queue_len = Some(length);
    }
}

fn add_address(world: &mut World, net: &str) {
    let one = world.inside().addresses[0].clone();
    world
        .inside()
        .addresses
        .push(ashore_core::net::observed::LinkAddress { net: net.parse().unwrap(), ..one });
}

fn via(world: &mut World, router: &str) {
    let there: &mut ObservedRoute = world.inside().routes.first_mut().unwrap();
    there.route = Route { via: Some(router.parse().unwrap()), ..there.route.clone() };
}

fn moved_elsewhere(world: &mut World) {
    let mac = world.take_out().mac.unwrap();
    world.model.observed.children.insert(Model::nic(), [mac].into());
}

fn add_foreign(world: &mut World, kind: ObservedKind) {
    let link = Link {
        index: 900,
        name: name("x"),
        kind,
        lower: Some(Lower { index: 2, seat: Seat::Here }),
        ..world.link().clone()
    };
    world.inside().links.push(link);
}

/// A link with the same index. The link below it is in a namespace that the container made, and has the
/// parent's index there.
fn of_third_namespace(world: &mut World) {
    let mut link = world.take_out();
    link.lower = link.lower.map(|lower| Lower { seat: Seat::Elsewhere, ..lower });
    (link.name, link.mac) = (name("x"), Some(OTHER));
    world.inside().links.push(link);
}

fn of_another_nic(world: &mut World) {
    let index = world.link().lower.unwrap().index + 500;
    world.link().lower = Some(Lower { index, seat: Seat::Host });
}

#[test]
fn what_a_container_does_to_its_link_costs_it_no_link() {
    for ((what, trick), own, engines) in TRICKS {
        for (whose, mut world, expected) in
            [("own", World::attached(), own), ("an engine's", World::with_engine(), engines)]
        {
            trick(&mut world);
            let typed = world.typed();
            let fits = typed.len() == expected.len()
                && typed.iter().zip(*expected).all(|(typed, words)| typed.contains(words));
            assert!(fits, "{whose}, {what}: {typed:#?} instead of {expected:?}");
            // What was observed is known from then on, and nothing more is to be done.
            world.carry_out();
            world.look();
            assert_eq!(world.typed(), [""; 0], "{whose}, {what}");
        }
    }
}

#[test]
fn the_mac_that_is_seen_is_kept_in_mind_beside_the_one_that_it_was_given() {
    for mut world in [World::attached(), World::with_engine()] {
        let own = world.web.mac.unwrap();
        assert_eq!(world.web.mac_on_lan(), Some(own));
        all_three(&mut world);
        world.look();
        assert_eq!((world.web.mac, world.web.mac_on_lan()), (Some(own), Some(OTHER)));
        assert_eq!(world.web.macs().collect::<Vec<_>>(), [own, OTHER]);
        // What is not observed keeps its record.
        world.take_out();
        world.look();
        assert_eq!(world.web.mac_on_lan(), Some(OTHER));
    }
}

#[test]
fn an_endpoint_that_goes_takes_its_link_along_and_no_other() {
    let after: &[(Trick, &[&str])] = &[
        (("nothing", |_| {}), &["eth0"]),
        (("another tag", |w| w.link().alias = Some("ashore:lan:db".into())), &["eth0"]),
        (("another name", |w| rename(w, "wan0")), &["wan0"]),
        (("another MAC", |w| w.link().mac = Some(OTHER)), &["eth0"]),
        (("all three", all_three), &["wan0"]),
        (("a mode of no network", |w| set_mode(w, None)), &["eth0"]),
        (("all three and the mode", all_three_and_mode), &["wan0"]),
        (("a tap in its place", tap_in_its_place), &["eth0"]),
        (
            ("its MAC on a tap besides", |w| {
                its_mac_on_another(w);
                w.inside().links.last_mut().unwrap().kind = ObservedKind::Tap;
            }),
            &["eth0", "x"],
        ),
        (("a tap that the user has made", |w| add_child_of_kind(w, ObservedKind::Tap)), &["eth0"]),
        (("down", |w| w.link().up = false), &["eth0"]),
        (("its MAC on another child", its_mac_on_another), &["eth0", "x"]),
        (("its tag on another child", |w| w.add_child("x", OTHER, Some("ashore:lan:web"))), &["eth0", "x"]),
        (("its address on another child", its_address_on_another), &["eth0", "x"]),
        (("there and back under another number", renumbered), &["wan0"]),
        (("a child that the user has made", |w| w.add_child("m0", OTHER, None)), &["eth0"]),
        (("a veth with its tag", |w| add_foreign(w, ObservedKind::Veth)), &["eth0"]),
        (("a NIC with its tag", |w| add_foreign(w, ObservedKind::Physical)), &["eth0"]),
        (("gone", |w| drop(w.take_out())), &[]),
        (
            ("gone, and a child that the user has made", |w| {
                w.take_out();
                w.add_child("m0", OTHER, None);
            }),
            &[],
        ),
    ];
    for ((what, trick), gone) in after {
        let mut world = World::attached();
        trick(&mut world);
        world.is_going(Stage::Detaching);
        let deleted: Vec<String> = world
            .planned()
            .iter()
            .filter_map(|step| match step {
                Step::DelLink { place: Place::Netns(_), link } => Some(link.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(deleted, *gone, "{what}");
    }
}

fn its_mac_on_another(world: &mut World) {
    let own = world.link().mac.replace(OTHER).unwrap();
    world.add_child("x", own, None);
}

fn its_address_on_another(world: &mut World) {
    world.add_child("x", OTHER, None);
    let index = world.inside().links.last().unwrap().index;
    world.inside().addresses[0].index = index;
}

fn renumbered(world: &mut World) {
    all_three(world);
    let was = world.inside().links.iter().find(|link| link.name == name("wan0")).unwrap().index;
    for there in world.inside().addresses.iter_mut().filter(|there| there.index == was) {
        there.index = 800;
    }
    world.inside().links.iter_mut().find(|link| link.index == was).unwrap().index = 800;
}

#[test]
fn nothing_is_taken_from_an_engines_container() {
    for (what, trick) in TRICKS.iter().map(|(trick, ..)| trick) {
        for stage in [Stage::Reserved, Stage::Detaching] {
            let mut world = World::with_engine();
            trick(&mut world);
            world.is_going(stage);
            let inside = |step: &Step| matches!(step.place(), Place::Netns(_));
            let touched: Vec<Step> = world.planned().into_iter().filter(inside).collect();
            let routes = |step: &Step| matches!(step, Step::DelRoute { .. });
            assert!(touched.iter().all(routes), "{what}, {stage:?}: {touched:#?}");
        }
    }
}

#[test]
fn what_an_engine_gives_back_is_known_whatever_the_container_has_written_on_it() {
    let written: &[Writing] = &[
        ("nothing", |_| {}),
        ("another tag", |link| link.alias = Some("ashore:lan:db".into())),
        ("the shim's tag", |link| link.alias = Some("ashore-shim:eth0".into())),
        ("a port's tag", |link| link.alias = Some("ashore-port:lan:db".into())),
        ("no tag", |link| link.alias = None),
        ("another MAC", |link| link.mac = Some(OTHER)),
        ("another MAC and no tag", |link| (link.mac, link.alias) = (Some(OTHER), None)),
    ];
    for (what, write) in written {
        for stage in [Some(Stage::Reserved), None] {
            let mut world = World::with_engine();
            // A sibling, which is recognised by its tag.
            let db = Endpoint {
                name: "db".parse().unwrap(),
                mac: Some(Mac([2, 0, 0, 0, 0, 9])),
                addresses: vec!["192.168.88.9/24".parse().unwrap()],
                placement: Placement::Engine {
                    id: Some("4712".into()),
                    ifname: engine_link_name(&world.web.network, &"db".parse().unwrap()),
                    sandbox: None,
                    inside: None,
                },
                ..world.web.clone()
            };
            world.state.apply(Change::PutEndpoint(db));
            write(world.give_back());
            // While the link is on its way, it belongs to the engine.
            let stray = |world: &World| {
                let gone = |step: &Step| matches!(step, Step::DelLink { place: Place::Host, .. });
                world.planned().into_iter().filter(gone).map(|step| step.link().clone()).collect::<Vec<_>>()
            };
            assert_eq!(stray(&world), [], "{what}");
            match stage {
                Some(stage) => world.is_going(stage),
                None => world.state.apply(Change::DelEndpoint(world.web.key())),
            }
            let given_back = engine_link_name(&world.web.network, &world.web.name);
            assert_eq!(stray(&world), [given_back], "{what}, {stage:?}");
        }
    }
}

#[test]
fn links_of_the_users_own_on_the_host_are_left_alone() {
    let mut world = World::attached();
    let before = world.model.observed.host.links.len();
    for (called, mac) in [("mv0", 0x70), ("shim-eth1", 0x71), ("ash-mine", 0x72), ("asp0", 0x73)] {
        let link = child(called, Mac([2, 0, 0, 0, 0, mac]));
        world.model.apply(&Step::AddLink { place: Place::Host, link }).unwrap();
    }
    // A link with a name of the form that Ashore uses, and in use.
    let link = child("ash0123456789ab", Mac([2, 0, 0, 0, 0, 0x74]));
    world.model.apply(&Step::AddLink { place: Place::Host, link }).unwrap();
    world.host().links.last_mut().unwrap().up = true;
    // Taps, whatever of Ashore's they have.
    let mac = world.web.mac;
    for (called, mac, alias) in
        [("tap0", mac, None), ("tap1", mac, Some("ashore:lan:web")), ("ash0123456789ac", None, None)]
    {
        let link = child(called, Mac([2, 0, 0, 0, 0, called.as_bytes()[3]]));
        world.model.apply(&Step::AddLink { place: Place::Host, link }).unwrap();
        let link = world.host().links.last_mut().unwrap();
        (link.kind, link.mac, link.alias) = (ObservedKind::Tap, mac.or(link.mac), alias.map(str::to_owned));
    }
    // A NIC that was lent to a container, which has set its alias.
    let nic = Link {
        index: 990,
        name: name("lent0"),
        alias: Some("ashore:lan:web".into()),
        ..world.host().links[0].clone()
    };
    world.host().links.push(nic);
    assert_eq!(world.planned(), []);
    let owners = Owners::of(&world.state, &world.model.observed);
    let owned =
        world.model.observed.host.links.iter().filter(|link| owners.owner(&Place::Host, link).is_some());
    assert_eq!(owned.map(Link::tag).collect::<Vec<_>>(), [Some(Tag::Shim(name("eth0")))]);
    assert_eq!(world.model.observed.host.links.len(), before + 9);

    // A link that came to the host from one of Ashore's containers is recognised by its MAC.
    let mac = world.web.mac.unwrap();
    let moved = Link { mac: Some(mac), alias: None, ..world.give_back().clone() };
    *world.host().links.last_mut().unwrap() = Link { name: name("wan0"), ..moved };
    let gone: Vec<String> = world
        .planned()
        .iter()
        .filter(|step| matches!(step, Step::DelLink { .. }))
        .map(ToString::to_string)
        .collect();
    assert_eq!(gone, ["ip link del dev wan0"]);
}

#[test]
fn a_link_that_the_state_has_lost_makes_room_for_the_same_name_alone() {
    for (alias, mac, makes_room) in [
        (Some("ashore:lan:web"), OTHER, true),
        (None, OTHER, false),
        (Some("ashore:lan:db"), OTHER, false),
        (None, World::attached().web.mac.unwrap(), true),
    ] {
        let mut world = World::attached();
        world.take_out();
        world.state.apply(Change::DelEndpoint(world.web.key()));
        world.add_child("eth0", mac, alias);
        let again = Endpoint { stage: Stage::Attaching, seen: None, ..world.web.clone() };
        let cleared = world.state.clearing(&again, &world.netns, &world.model.observed);
        assert_eq!(cleared.len(), usize::from(makes_room), "{alias:?} {mac}");
    }
}

#[test]
fn a_link_with_a_tag_of_which_the_state_knows_nothing_is_told_of() {
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Link));
    let lost = State::new(Seed([4; 16]));
    let world = World::attached();
    assert_eq!(world.unowned(&lost), ["eth0"]);
    assert!(world.unowned(&world.state).is_empty(), "its MAC is that of an endpoint");
    let changes: [Change<'_>; 6] = [
        ("no tag", &|link| link.alias = None),
        ("another program's", &|link| link.alias = Some("uplink".into())),
        ("a tag for the host's links", &|link| link.alias = Some("ashore-shim:eth0".into())),
        ("on a link of its own namespace", &|link| {
            link.lower = link.lower.map(|lower| Lower { seat: Seat::Here, ..lower });
        }),
        ("on a link that the host does not have", &|link| {
            link.lower = link.lower.map(|lower| Lower { index: 99, ..lower });
        }),
        ("no child", &|link| link.kind = ObservedKind::Veth),
    ];
    for (what, change) in changes {
        let mut world = World::attached();
        world.inside().links.iter_mut().for_each(change);
        assert!(world.unowned(&lost).is_empty(), "{what}");
    }
    let mut world = World::attached();
    world.inside().links.iter_mut().for_each(|link| link.mac = Some(OTHER));
    assert_eq!(world.unowned(&world.state), ["eth0"], "its MAC belongs to no endpoint");
}

#[test]
fn of_many_routes_that_a_container_makes_with_ashores_protocol_each_plan_removes_some() {
    let mut world = World::attached();
    let own = world.inside().routes.iter().find(|there| there.is_ours()).unwrap().clone();
    let to = |n: usize| format!("10.0.{}.{}/32", n / 256, n % 256).parse().unwrap();
    let more =
        (0..600).map(|n| ObservedRoute { route: Route { to: to(n), ..own.route.clone() }, ..own.clone() });
    world.inside().routes.extend(more);
    for count in [256, 256, 88, 0] {
        let steps = world.planned();
        assert_eq!(steps.len(), count);
        for step in &steps {
            world.model.apply(step).unwrap();
        }
    }
}
