//! DHCP servers and LANs that differ from the RFCs: what they do, and what the result must be.
//!
//! Every row is tried twice: with a container that gets these answers from the beginning, and with one that
//! has a lease and gets them at its renewal. Rows in which the engine plays a part are also tried with the
//! engine's containers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ashore_core::net::observed::View;
use ashore_kernel::{Kernel, Namespace};
use ashore_lab::{Machine, cannot_run};
use ashore_wire::Mac;
use ashore_wire::arp::{Arp, Operation};
use ashore_wire::dhcp4::{Message, code};
use home::frames::What;
use home::scripted::{Answer, Frame, Question, Reply, Scripted};
use home::site::on_engine;
use home::voice::Answering;
use home::{BEYOND, HOST, Home, ip, is_root};

/// A server's answers in place of a correct reply to a question.
type Answers = fn(&Question, Reply) -> Vec<Answer>;

/// The required result. The container is on the LAN in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The container reaches the internet by a default route.
    Default,
    /// The container has no default route, and reaches one machine on the internet.
    OneRoute,
    /// The container reaches only the LAN.
    Lan,
}

use Then::{Default, Lan, OneRoute};

const ROWS: &[(&str, Answers, Then)] = &[
    // Missing options.
    ("no server id (54)", |_, good| now(good.without(code::SERVER_ID)), Default),
    (NO_TIME, |_, good| now(good.without(code::LEASE_TIME)), Default),
    ("no mask (1)", |_, good| now(good.without(code::SUBNET_MASK)), Default),
    ("no router (3)", |_, good| now(good.without(code::ROUTER)), Lan),
    // Routes (option 121).
    ("routes and no router", |_, good| now(routes(good, &[DEFAULT]).without(code::ROUTER)), Default),
    ("routes beside the router", |_, good| now(routes(good, &[TO_BEYOND])), OneRoute),
    ("a route to the LAN itself", |_, good| now(routes(good, &[TO_LAN, DEFAULT])), Default),
    ("the LAN itself on the link", |_, good| now(routes(good, &[LAN_ON_LINK, DEFAULT])), Default),
    ("a router by a route on the link", |_, good| now(routes(good, &[FAR_LAN, FAR_DEFAULT])), Default),
    ("all is on the link", |_, good| now(routes(good, &[&[0, 0, 0, 0, 0], TO_BEYOND])), Default),
    ("one route twice", |_, good| now(routes(good, &[DEFAULT, TO_BEYOND, TO_BEYOND, DEFAULT])), Default),
    ("absurd routes", |_, good| now(routes(good, &[&ABSURD.concat(), DEFAULT])), Default),
    ("a route that the kernel refuses", |_, good| now(routes(good, &[DEFAULT, BY_NOBODY])), Default),
    // Prefixes and routers.
    ("a mask of 32 bits", |_, good| now(good.with(code::SUBNET_MASK, [255; 4])), Default),
    ("a router elsewhere", |_, good| now(good.with(code::ROUTER, FAR)), Default),
    ("both", |_, good| now(good.with(code::ROUTER, FAR).with(code::SUBNET_MASK, [255; 4])), Default),
    // The link.
    ("a tiny MTU", |_, good| now(good.with(code::MTU, [0, 68])), Default),
    ("a huge MTU", |_, good| now(good.with(code::MTU, [255; 2])), Default),
    // The form of the message.
    ("no checksum", |_, good| frame(good, Frame { summed: false, ..Frame::default() }), Default),
    ("a short reply", |_, good| vec![good.now().short()], Default),
    ("a padded reply", |_, good| vec![good.now().padded(200)], Default),
    ("a trailer", |_, good| frame(good, Frame { trailer: 40, ..Frame::default() }), Default),
    ("another port", |_, good| frame(good, Frame { port: 1067, ..Frame::default() }), Default),
    ("from 0.0.0.0", |_, good| frame(good, Frame { source: [0; 4].into(), ..Frame::default() }), Default),
    ("to the client alone", to_the_client_alone, Default),
    ("a priority and no VLAN", |_, good| frame(good, Frame { priority: true, ..Frame::default() }), Default),
    ("five times", |_, good| vec![good.now(); 5], Default),
    ("three seconds late", |_, good| vec![good.after(Duration::from_secs(3))], Default),
    // A second server. What real servers do at restarts is in `leases_options.rs`.
    ("a second server denies it", denied_by_a_second, Default),
    ("a second server has a pool of its own, and denies what is not of it", beside_a_second, Default),
    // The LAN.
    (OWN_MAC, |_, good| now(good), Default),
    // What affects the whole LAN has a LAN of its own:
    // - a switch that sends broadcasts back, a router that answers ARP for every address, and an IPv6 router and a
    //   DHCPv6 server with a priority and no VLAN: below
    // - a switch that forwards nothing at first: `spanning_tree.rs`
    // - a server in a container, and a clock that is behind the lease: `leases.rs`
];

/// The rows in which Docker has a part: it configures the link that it gets, and sets routes by its own
/// rules.
const BY_DOCKER: &[&str] = &[
    "no server id (54)",
    NO_TIME,
    "the LAN itself on the link",
    "both",
    "a tiny MTU",
    "a huge MTU",
    "a short reply",
    "a padded reply",
    OWN_MAC,
];

/// A renewal without a time is for the time that the lease had before.
const NO_TIME: &str = "no lease time (51)";

/// A router or an access point answers ARP requests for its leases with the client's own MAC.
const OWN_MAC: &str = "ARP is answered for it";

const DEFAULT: &[u8] = &[0, 192, 168, 88, 1];
const TO_BEYOND: &[u8] = &[32, 203, 0, 113, 7, 192, 168, 88, 1];
const TO_LAN: &[u8] = &[24, 192, 168, 88, 192, 168, 88, 1];
const LAN_ON_LINK: &[u8] = &[24, 192, 168, 88, 0, 0, 0, 0];
/// Another address of the router, in a subnet without containers.
const FAR: [u8; 4] = [10, 9, 9, 1];
const FAR_LAN: &[u8] = &[24, 10, 9, 9, 0, 0, 0, 0];
const FAR_DEFAULT: &[u8] = &[0, 10, 9, 9, 1];
/// Routes to this machine, to nothing, to groups, to all, and to the host not through the host.
const ABSURD: [&[u8]; 5] = [
    &[8, 127, 192, 168, 88, 50],
    &[8, 0, 192, 168, 88, 50],
    &[4, 224, 192, 168, 88, 50],
    &[32, 255, 255, 255, 255, 192, 168, 88, 50],
    &[32, 192, 168, 88, 9, 192, 168, 88, 50],
];
/// A route through the LAN's broadcast address.
const BY_NOBODY: &[u8] = &[24, 10, 1, 1, 192, 168, 88, 255];

/// The time of a lease that is renewed. T1 comes after half of it.
const SHORT: u32 = 16;
/// T2 of such a lease: late, so that a client that has its answer does not come to it on a slow machine.
const SHORT_T2: u32 = 15;
const LONG: u32 = 600;

fn now(reply: Reply) -> Vec<Answer> {
    vec![reply.now()]
}

fn frame(reply: Reply, frame: Frame) -> Vec<Answer> {
    vec![reply.now().in_frame(frame)]
}

fn routes(reply: Reply, routes: &[&[u8]]) -> Reply {
    reply.with(code::CLASSLESS_ROUTES, routes.concat())
}

/// The client asks for a broadcast answer, and gets a unicast.
fn to_the_client_alone(question: &Question, reply: Reply) -> Vec<Answer> {
    let mut client = None;
    let reply = reply.changed(|message| {
        message.broadcast = false;
        client = Some((question.message.chaddr, message.yiaddr));
    });
    frame(reply, Frame { client, ..Frame::default() })
}

fn denied_by_a_second(question: &Question, reply: Reply) -> Vec<Answer> {
    let nak = question.nak().with(code::SERVER_ID, [192, 168, 88, 50]).now();
    vec![nak.clone(), reply.after(Duration::from_millis(50)), nak]
}

/// The second server is as good as the first, and a moment later. It is authoritative and denies leases that
/// are not its own.
fn beside_a_second(question: &Question, reply: Reply) -> Vec<Answer> {
    if question.what != What::Discover {
        return denied_by_a_second(question, reply);
    }
    let other = question.offer([192, 168, 88, 250].into(), LONG).with(code::SERVER_ID, [192, 168, 88, 50]);
    vec![reply.now(), other.after(Duration::from_millis(20))]
}

/// A container that a row applies to, from the beginning or at its renewal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    row: usize,
    renews: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        (0..ROWS.len()).flat_map(|row| [true, false].map(|renews| Case { row, renews }))
    }

    fn name(self) -> String {
        format!("row{}-{}", self.row, if self.renews { "renewal" } else { "attach" })
    }

    /// The case by the name that the client sends.
    fn of(message: &Message) -> Option<Case> {
        let name = std::str::from_utf8(message.options.get(code::HOST_NAME)?).ok()?;
        Case::all().find(|case| case.name() == name)
    }

    fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 88, 100 + 2 * self.row as u8 + u8::from(self.renews))
    }

    /// The time that its lease has once it was renewed.
    fn renewed_for(self) -> u32 {
        if ROWS[self.row].0 == NO_TIME { SHORT } else { LONG }
    }

    fn title(self) -> String {
        format!("{}, at its {}", ROWS[self.row].0, if self.renews { "renewal" } else { "attach" })
    }
}

/// The answers of the server.
fn script(question: &Question) -> Vec<Answer> {
    let Some(case) = Case::of(&question.message) else { return Vec::new() };
    let begins = matches!(question.what, What::Discover | What::Select);
    let seconds = if case.renews && begins { SHORT } else { LONG };
    let Some(good) = question.good(case.ip(), seconds) else { return Vec::new() };
    if case.renews && begins {
        now(good.with(code::REBINDING_TIME, SHORT_T2.to_be_bytes()))
    } else {
        ROWS[case.row].1(question, good)
    }
}

fn eth0(machine: &Machine) -> Mac {
    let host = machine.kernel().observe(&[]).unwrap().host;
    host.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap()
}

/// Answers ARP requests for some clients with their own MACs.
fn answering_for_clients(router: &Machine, clients: Arc<Mutex<BTreeMap<Ipv4Addr, Mac>>>) -> Answering {
    let mac = eth0(router);
    Answering::by(router, "eth0", move |frame| {
        let asked = Arp::parse(frame).filter(|arp| arp.operation == Operation::Request)?;
        let client = *clients.lock().unwrap().get(&asked.target_ip)?;
        let answer = Arp {
            operation: Operation::Reply,
            sender_mac: client,
            sender_ip: asked.target_ip,
            target_mac: asked.sender_mac,
            target_ip: asked.sender_ip,
        };
        // The frame itself comes from the router's MAC.
        let mut frame = answer.broadcast_frame().to_vec();
        frame[6..12].copy_from_slice(&mac.0);
        Some(frame)
    })
}

/// The LAN with its server, as long as both are kept.
fn odd_lan(home: &Home) -> (Scripted, Answering) {
    home.router.add_address("eth0", "10.9.9.1/24".parse().unwrap()).unwrap();
    // With a /32 lease all traffic goes through the router, also to the LAN.
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    let clients: Arc<Mutex<BTreeMap<Ipv4Addr, Mac>>> = Arc::default();
    let known = Arc::clone(&clients);
    let server = Scripted::on(&home.router, move |question| {
        if let Some(case) = Case::of(&question.message).filter(|case| ROWS[case.row].0 == OWN_MAC) {
            known.lock().unwrap().insert(case.ip(), question.message.chaddr);
        }
        script(question)
    });
    (server, answering_for_clients(&home.router, clients))
}

/// Containers that are to renew come first, so that the others can start while those wait.
fn in_order(cases: impl Iterator<Item = Case>) -> Vec<Case> {
    let mut cases: Vec<Case> = cases.collect();
    cases.sort_by_key(|case| !case.renews);
    cases
}

/// Checks the results: first of the containers that got these answers from the beginning, and, once all
/// leases that were not renewed since then have ended, of the others.
fn look_at_all(
    home: &Home,
    server: &Scripted,
    containers: &[(Case, Namespace)],
    since: Instant,
    failures: &Mutex<Vec<String>>,
) {
    let failed = |case: Case, what: &str| failures.lock().unwrap().push(format!("{}: {what}", case.title()));
    for (case, container) in containers.iter().filter(|(case, _)| !case.renews) {
        look_at(home, *case, container, &failed);
    }
    std::thread::sleep(Duration::from_secs(u64::from(SHORT) + 2).saturating_sub(since.elapsed()));
    let status = home.status();
    for (case, container) in containers.iter().filter(|(case, _)| case.renews) {
        look_at(home, *case, container, &failed);
        look_at_renewal(*case, server, &status, &failed);
    }
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let troubles = home.troubles();
    assert_eq!(troubles.as_array().map(Vec::len), Some(0), "{troubles:#}");
}

#[test]
fn what_servers_and_lans_do_and_what_comes_of_it() {
    if !is_root() {
        return cannot_run("odd servers", "a DHCP server needs root");
    }
    let home = Home::new();
    let (server, _answering) = odd_lan(&home);
    home.ok("network create lan --parent eth0 --dhcp");
    let containers: Vec<(Case, Machine)> = in_order(Case::all())
        .into_iter()
        .map(|case| (case, home.world.container(&case.name()).unwrap()))
        .collect();
    let failures = Mutex::new(Vec::new());
    let attach = |(case, container): &(Case, Machine)| {
        let netns = container.namespace().path().display();
        (*case, format!("attach lan --netns {netns} --name {}", case.name()))
    };
    let attaches: Vec<(Case, String)> = containers.iter().map(attach).collect();
    let (daemon, next) = (home.daemon(), Mutex::new(attaches.into_iter()));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some((case, line)) = next.lock().unwrap().next() else { break };
                    let ran = daemon.run(&line.split(' ').collect::<Vec<_>>()).unwrap();
                    if ran.code != Some(0) {
                        failures.lock().unwrap().push(format!("{}: {}", case.title(), ran.stderr));
                    }
                }
            });
        }
    });
    let namespaces: Vec<(Case, Namespace)> =
        containers.iter().map(|(case, container)| (*case, container.namespace().clone())).collect();
    look_at_all(&home, &server, &namespaces, Instant::now(), &failures);
}

#[test]
fn dockers_containers_come_off_as_well() {
    if !is_root() {
        return cannot_run("odd servers, docker", "a DHCP server needs root");
    }
    on_engine("sid", "odd servers, docker", |site| {
        let (server, _answering) = odd_lan(&site.home);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
        let cases = in_order(Case::all().filter(|case| BY_DOCKER.contains(&ROWS[case.row].0)));
        assert_eq!(cases.len(), 2 * BY_DOCKER.len());
        let failures = Mutex::new(Vec::new());
        let (mut started, mut since) = (Vec::new(), Instant::now());
        // One after the other: with several at once Docker 28 does not say who they are, and the server
        // identifies them by name.
        for case in cases {
            let name = case.name();
            let ran = site.docker(&format!("run -d --init --name {name} --network lan box sleep 1000"));
            if case.renews {
                since = Instant::now();
            }
            if ran.code == Some(0) {
                started.push(case);
            } else {
                failures.lock().unwrap().push(format!("{}: {}", case.title(), ran.stderr));
            }
        }
        let names: Vec<String> = started.iter().map(|case| case.name()).collect();
        let keys =
            site.ok(&format!("inspect --format {{{{.NetworkSettings.SandboxKey}}}} {}", names.join(" ")));
        let open =
            |key: &str| Namespace::open(&site.docker.root().join(key.trim_start_matches('/'))).unwrap();
        let containers: Vec<(Case, Namespace)> = started.into_iter().zip(keys.lines().map(open)).collect();
        look_at_all(&site.home, &server, &containers, since, &failures);
    });
}

#[test]
fn a_switch_that_sends_broadcasts_back_where_they_come_from() {
    if !is_root() {
        return cannot_run("odd servers, broadcasts sent back", "a DHCP server needs root");
    }
    let home = Home::new();
    home.world.set_hairpin(&home.nas, true).unwrap();
    let leased: Ipv4Addr = [192, 168, 88, 100].into();
    let server =
        Scripted::on(&home.router, move |question| question.good(leased, SHORT).map(now).unwrap_or_default());
    home.ok("network create leased --parent eth0 --dhcp");
    home.ok("network create own --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --conflict full");
    let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
    let all = [home.attach("leased", &web, ""), home.attach("own", &db, "")]
        .map(|report| home::addresses(&report)[0]);
    assert_eq!(all, [leased.into(), ip("192.168.88.192")]);
    server.wait_for(What::Renew);
    for at in all {
        assert!(home.laptop.ping(at).is_some() && home.nas.ping(at).is_some());
    }
    assert!(web.ping(all[1]).is_some());
    let asked = server
        .heard()
        .iter()
        .filter(|question| question.message.options.get(code::HOST_NAME).is_some())
        .count();
    assert!(asked <= 4, "it asked {asked} times");
    assert_eq!(home.troubles(), serde_json::json!([]));
}

/// As with proxy ARP on a router, or on a mobile hotspot.
#[test]
fn a_router_that_answers_arp_for_every_address() {
    if !is_root() {
        return cannot_run("odd servers, proxy ARP", "a DHCP server needs root");
    }
    let home = Home::new();
    home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
    let leased: Ipv4Addr = [192, 168, 88, 100].into();
    let server =
        Scripted::on(&home.router, move |question| question.good(leased, LONG).map(now).unwrap_or_default());
    let _proxy = Answering::that_has(&home.router, eth0(&home.router), |_| true);
    let web = home.world.container("web").unwrap();
    home.ok("network create looked --parent eth0 --dhcp --lease-timeout 3");
    let netns = web.namespace().path().display().to_string();
    let ran = home.run(&format!("attach looked --netns {netns} --name web"));
    assert!(ran.code == Some(6) && ran.stderr.contains("which another machine has"), "{}", ran.stderr);
    assert_eq!(server.count(What::Decline), 1);
    home.ok("network rm looked");
    home.ok("network create lan --parent eth0 --dhcp --conflict off");
    assert_eq!(home::addresses(&home.attach("lan", &web, "")), [leased]);
    home::eventually("the LAN reaches it", || home.laptop.ping(leased.into()).is_some());
    assert!(web.ping(ip(BEYOND)).is_some());
}

#[test]
fn an_ipv6_router_and_a_dhcpv6_server_with_a_priority_and_no_vlan() {
    let home = Home::new();
    let leased = ip("fd88::77");
    let _router = home::priority::router(&home.router, "fd88::77".parse().unwrap());
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --ipv6 auto",
    );
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    home::eventually("the LAN reaches the leased address", || home.laptop.ping(leased).is_some());
    let routes = web.kernel().observe(&[]).unwrap().host.routes;
    assert!(routes.iter().any(|there| there.route.to == "::/0".parse().unwrap()), "{routes:?}");
}

/// Checks one container.
fn look_at(home: &Home, case: Case, container: &Namespace, failed: &dyn Fn(Case, &str)) {
    let then = ROWS[case.row].2;
    if home.laptop.ping(case.ip().into()).is_none() {
        failed(case, "the LAN does not reach it");
    }
    let ping = |to| container.run(|| ashore_lab::ping(to, 2)).unwrap();
    if ping(ip(HOST)).is_none() {
        failed(case, "it does not reach the host");
    }
    if ping(ip(BEYOND)).is_some() != (then != Lan) {
        failed(case, "it reaches the internet or not, and should not or should");
    }
    let view: View = Kernel::of(container).unwrap().observe(&[]).unwrap().host;
    if view.routes.iter().any(|there| there.route.to.prefix_len() == 0) != (then == Default) {
        failed(case, &format!("its routes: {:?}", view.routes));
    }
    let strange = view.routes.iter().find(|there| there.route.via == Some(ip("192.168.88.50")));
    if let Some(strange) = strange {
        failed(case, &format!("it has a route `{}`", strange.way()));
    }
    if view.link(&"eth0".parse().unwrap()).map(|link| link.mtu) != Some(1500) {
        failed(case, "it has another MTU");
    }
}

/// Checks that a container has its lease by the answer to a RENEW, or to a REBIND on a busy machine. A client that
/// ignored these answers would lose the lease, get another by a DISCOVER, and be on the LAN as well.
fn look_at_renewal(case: Case, server: &Scripted, status: &serde_json::Value, failed: &dyn Fn(Case, &str)) {
    let heard = server.heard();
    let of_case = heard.iter().filter(|question| Case::of(&question.message) == Some(case));
    let asked: Vec<What> = of_case.map(|question| question.what).collect();
    let mut since = asked.iter().skip_while(|what| **what != What::Renew);
    if !asked.contains(&What::Renew) || since.any(|what| ![What::Renew, What::Rebind].contains(what)) {
        failed(case, &format!("it was not renewed: it asked {asked:?}"));
    }
    let endpoints = status["endpoints"].as_array().unwrap();
    let report = endpoints.iter().find(|report| report["name"] == case.name());
    let end = report.and_then(|report| report["lease"]["term"]["end"].as_u64());
    if end != Some(case.renewed_for().into()) {
        failed(case, &format!("its lease is for {end:?} s"));
    }
}
