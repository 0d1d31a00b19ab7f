//! Claims on addresses. A container may claim only its own addresses, and an unsolicited claim does not make
//! Ashore refuse an address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ashore_lab::{Machine, Ran, World, cannot_run};
use ashore_wire::Mac;
use ashore_wire::conflict::announcement;
use home::frames::Frames;
use home::scripted::{Reply, Scripted};
use home::voice::{Answering, Voice};
use home::{
    Home, addresses, eventually, eventually_within, ip, is_root, mac_known_to, reaches, type_on, waits_beside,
};

/// A network with both families.
const BOTH: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 --gateway 192.168.88.1";
/// A range with two addresses.
const FEW: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/31 --gateway 192.168.88.1";

fn attached(home: &Home, name: &str, options: &str) -> (Machine, IpAddr, Mac) {
    let container = home.world.container(name).unwrap();
    let report = home.attach("lan", &container, options);
    (container, addresses(&report)[0], report["mac"].as_str().unwrap().parse().unwrap())
}

fn try_attach(home: &Home, container: &Machine, options: &str) -> Ran {
    let (netns, name) = (container.namespace().path().display(), container.name());
    home.run(&format!("attach lan --netns {netns} --name {name} {options}"))
}

#[track_caller]
fn is_refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(5), "{}{}", ran.stdout, ran.stderr);
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

#[test]
fn an_address_that_a_container_takes_beside_its_own_is_not_handed_out() {
    let home = Home::new();
    home.create_lan();
    let (web, at_web, mac_of_web) = attached(&home, "web", "");
    assert_eq!(at_web, ip("192.168.88.192"));
    for net in ["192.168.88.193/24", "192.168.88.200/24"] {
        web.add_address("eth0", net.parse().unwrap()).unwrap();
    }
    let (_db, at_db, _) = attached(&home, "db", "");
    assert_eq!(at_db, ip("192.168.88.194"));
    reaches(&home.laptop, ip("192.168.88.193"));
    assert_eq!(mac_known_to(&home.laptop, ip("192.168.88.193")), mac_of_web.to_string());
    let cache = home.world.container("cache").unwrap();
    let said = format!("in use on the LAN by {mac_of_web} (the endpoint `web` of network `lan`)");
    is_refused(&try_attach(&home, &cache, "--ip 192.168.88.200"), &["192.168.88.200", &said]);
    // Once the address is off the other link, it can be assigned.
    web.del_address("eth0", "192.168.88.200/24".parse().unwrap()).unwrap();
    assert_eq!(attached(&home, "cache", "--ip 192.168.88.200").1, ip("192.168.88.200"));
}

#[test]
fn an_address_that_a_container_has_kept_beyond_its_detach_is_not_handed_out() {
    let home = Home::new();
    home.create_lan();
    let (web, at, mac_of_web) = attached(&home, "web", "");
    // The container creates a link with the MAC of the endpoint that goes.
    type_on(&web, "ip link add own0 link eth0 type macvlan mode bridge");
    home.ok("detach lan web");
    for command in ["ip link set own0 address MAC", "ip link set own0 up", "ip addr add AT/24 dev own0"] {
        let command = command.replace("MAC", &mac_of_web.to_string()).replace("AT", &at.to_string());
        type_on(&web, &command);
    }
    reaches(&home.laptop, at);
    let db = home.world.container("db").unwrap();
    is_refused(&try_attach(&home, &db, &format!("--ip {at}")), &[&at.to_string(), &mac_of_web.to_string()]);
    assert_ne!(attached(&home, "db", "").1, at);
    // The returning container gets its address.
    type_on(&web, "ip link del own0");
    assert_eq!(attached(&home, "web", "").1, at);
}

#[test]
fn an_address_of_a_container_that_a_sibling_claims_is_defended_and_shown() {
    let home = Home::new();
    home.ok(BOTH);
    siblings_claims_are_defended(&home);
}

#[test]
fn the_same_where_the_containers_are_on_a_bridge() {
    let home = Home::bridged();
    home.ok(&BOTH.replace("eth0", "br0 --kind bridge"));
    siblings_claims_are_defended(&home);
}

fn siblings_claims_are_defended(home: &Home) {
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let (at, mac_of_web) = (addresses(&report), report["mac"].as_str().unwrap().to_owned());
    let (db, _, mac_of_db) = attached(home, "db", "");
    for ip in &at {
        reaches(&home.laptop, *ip);
    }
    let frames = Frames::addresses_from(&home.world, &home.nas);
    let voice = Voice::of(&db);
    for ip in &at {
        voice.claims(mac_of_db, *ip);
        let mut claims = Vec::new();
        eventually("it is defended", || {
            claims.extend(frames.heard().into_iter().filter(|heard| heard.claims && heard.ip == *ip));
            claims.iter().any(|heard| heard.sender == mac_of_db)
                && claims.last().is_some_and(|heard| heard.sender.to_string() == mac_of_web)
        });
        reaches(&home.laptop, *ip);
    }
    assert_eq!(mac_known_to(&home.laptop, at[0]), mac_of_web);
    let status = home.status();
    assert_eq!(conflicts(home, "web"), [mac_of_db.to_string()]);
    let said =
        format!("{mac_of_db} (the endpoint `db` of network `lan`) on the LAN claims the address of `web`");
    assert!(status["troubles"].to_string().contains(&said), "{}", status["troubles"]);
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// Claims that machines accept although they are unusual: what is odd about each, which address it claims for
/// which MAC, and the frame. The last one is for a machine that asks for its own address.
fn odd_claims(at: &[IpAddr], owner: Mac, asked: IpAddr) -> Vec<(&'static str, IpAddr, Mac, Vec<u8>)> {
    let by_arp = |last| (at[0], mac(last), announcement(mac(last), at[0]));
    let by_ndp = |last| (at[1], mac(last), announcement(mac(last), at[1]));
    let tagged = |frame: &[u8]| [&frame[..12], &[0x81, 0, 0xe0, 0, 0x81, 0, 0, 0], &frame[12..]].concat();
    let mut claims = Vec::new();
    let (ip, by, mut frame) = by_arp(0xa1);
    frame[15] = 6;
    claims.push(("hardware of IEEE 802", ip, by, frame));
    let (ip, by, frame) = by_arp(0xa2);
    claims.push(("two tags without a VLAN", ip, by, tagged(&frame)));
    let (ip, by, mut frame) = by_ndp(0xa3);
    frame[6..12].copy_from_slice(&owner.0);
    claims.push(("sent as by the owner", ip, by, frame));
    let (ip, by, mut frame) = by_ndp(0xa4);
    drop(frame.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]));
    (frame[19], frame[20]) = (frame[19] + 8, 60);
    claims.push(("behind options", ip, by, frame));
    let (ip, by, mut frame) = by_ndp(0xa5);
    // A solicitation from the owner, and where the answer has to go.
    let (IpAddr::V6(asked), mut question) = (asked, frame.split_off(54)) else { unreachable!() };
    (question[0], question[4], question[24]) = (135, 0, 1);
    question[8..24].copy_from_slice(&asked.octets());
    question[2..4].fill(0);
    let pseudo = [&frame[22..54], &[0, 0, 0, question.len() as u8, 0, 0, 0, 58], &question].concat();
    question[2..4].copy_from_slice(&checksum(&pseudo));
    claims.push(("where an answer is to go", ip, by, [frame, question].concat()));
    claims
}

#[test]
fn a_claim_that_machines_heed_is_shown_however_it_is_said() {
    let mut home = Home::new();
    home.ok(BOTH);
    let web = home.world.container("web").unwrap();
    let report = home.attach("lan", &web, "");
    let (at, owner) = (addresses(&report), report["mac"].as_str().unwrap().parse().unwrap());
    let (db, ..) = attached(&home, "db", "");
    let claims = odd_claims(&at, owner, ip("fd88::50"));
    let voice = Voice::of(&db);
    // Without a daemon nothing defends the address, and the laptop believes each claim.
    home.daemon.take().unwrap().kill().unwrap();
    for (what, ip, by, frame) in &claims {
        reaches(&home.laptop, *ip);
        eventually(&format!("{what}: the laptop heeds it"), || {
            voice.says(frame);
            mac_known_to(&home.laptop, *ip) == by.to_string()
        });
        type_on(&home.laptop, "ip neigh flush dev eth0");
    }
    home.start();
    let mut defended = BTreeSet::new();
    for (what, ip, by, frame) in &claims {
        reaches(&home.laptop, *ip);
        // The daemon may exist before it listens on the LAN.
        eventually(&format!("{what}: it is shown"), || {
            voice.says(frame);
            conflicts(&home, "web").contains(&by.to_string())
        });
        // A defence is due once in ten seconds.
        if defended.insert(ip) {
            eventually("it is defended", || mac_known_to(&home.laptop, *ip) == owner.to_string());
        }
        type_on(&home.laptop, "ip neigh flush dev eth0");
    }
    assert!(conflicts(&home, "db").is_empty());
}

#[test]
fn who_has_left_an_address_is_anybody_once_another_has_it() {
    let home = Home::new();
    home.create_lan();
    let (_web, at, mac_of_web) = attached(&home, "web", "");
    let (cache, ..) = attached(&home, "cache", "");
    home.ok("detach lan web");
    let (_db, _, mac_of_db) = attached(&home, "db", &format!("--ip {at}"));
    reaches(&home.laptop, at);
    Voice::of(&cache).claims(mac_of_web, at);
    eventually("it is shown", || conflicts(&home, "db") == [mac_of_web.to_string()]);
    eventually("it is defended", || mac_known_to(&home.laptop, at) == mac_of_db.to_string());
    assert_eq!(conflicts(&home, "db"), [mac_of_web.to_string()]);
}

#[test]
fn who_insists_to_be_one_that_has_left_keeps_nobody_else_waiting() {
    let home = Home::new();
    home.create_lan();
    let (_web, at, mac_of_web) = attached(&home, "web", "");
    let db = home.world.container("db").unwrap();
    let insisting = Answering::insisting(&home.laptop, mac_of_web, at);
    home.ok("detach lan web");
    let mut all = Vec::new();
    // A busy machine may keep a call waiting too, but not each time.
    while all.iter().all(|longest| *longest >= Duration::from_secs(1)) {
        assert!(all.len() < 3, "{all:?}");
        let (ran, waits) = waits_beside(&home, || try_attach(&home, &db, &format!("--ip {at}")));
        // The last check may be over before the claim is heard.
        if ran.code == Some(0) {
            let soon = Duration::from_secs(5);
            eventually_within(soon, "it is shown", || conflicts(&home, "db") == [mac_of_web.to_string()]);
            home.ok("detach lan db");
        } else {
            is_refused(&ran, &["in use on the LAN by", &mac_of_web.to_string()]);
        }
        all.push(waits.into_iter().max().unwrap_or_default());
    }
    drop(insisting);
    assert_eq!(attached(&home, "db", &format!("--ip {at}")).1, at);
}

#[test]
fn who_waits_for_the_last_look_and_claims_the_address_then_holds_up_no_attach() {
    let home = Home::new();
    home.create_lan();
    let at = ip("192.168.88.200");
    // Three probes find the address clear, and one more comes when it is taken.
    let asked = AtomicU32::new(0);
    let is_last = move |of: IpAddr| of == at && asked.fetch_add(1, Ordering::Relaxed) % 4 == 3;
    let late = Answering::that_has(&home.laptop, mac(9), is_last);
    let web = home.world.container("web").unwrap();
    let ran = try_attach(&home, &web, &format!("--ip {at}"));
    is_refused(&ran, &["in use on the LAN by", &mac(9).to_string()]);
    drop(late);
    assert_eq!(attached(&home, "db", &format!("--ip {at}")).1, at);
}

#[test]
fn what_a_switch_sends_back_is_no_conflict() {
    let home = Home::new();
    home.ok(BOTH);
    let echo = Answering::echo_of(&home.world, &home.nas);
    let (_web, at_web, _) = attached(&home, "web", "");
    let (_db, at_db, _) = attached(&home, "db", "");
    assert_eq!([at_web, at_db], ["192.168.88.192", "192.168.88.193"].map(ip));
    home.ok("detach lan web");
    let (_web, at_web, _) = attached(&home, "web", "");
    assert_eq!(at_web, ip("192.168.88.192"));
    drop(echo);
    reaches(&home.laptop, at_web);
    let status = home.status();
    assert!(!status["troubles"].to_string().contains("claims"), "{}", status["troubles"]);
}

#[test]
fn a_claim_that_is_heard_without_asking_takes_no_address_from_a_name() {
    let home = Home::new();
    home.ok(BOTH);
    let web = home.world.container("web").unwrap();
    let at = addresses(&home.attach("lan", &web, ""));
    let voice = Voice::of(&home.laptop);
    for claims in [true, false] {
        home.ok("detach lan web");
        for ip in &at {
            if claims {
                voice.claims(mac(1), *ip);
            } else {
                voice.looks_for(mac(1), *ip);
            }
        }
        assert_eq!(addresses(&home.attach("lan", &web, "")), at);
    }
    for ip in at {
        reaches(&home.laptop, ip);
    }
}

#[test]
fn a_range_is_not_used_up_by_what_was_said_of_it() {
    let home = Home::new();
    home.create_lan();
    let voice = Voice::of(&home.laptop);
    for last in 192..=223 {
        voice.claims(mac(last), IpAddr::from([192, 168, 88, last]));
    }
    // Another machine really has some of these addresses.
    let had: Vec<IpAddr> = (196..=200).map(|last| IpAddr::from([192, 168, 88, last])).collect();
    for ip in &had {
        home.laptop.add_address("eth0", format!("{ip}/24").parse().unwrap()).unwrap();
    }
    for name in ["web", "db", "cache"] {
        let (_container, at, _) = attached(&home, name, "");
        assert!(!had.contains(&at), "{at}");
        reaches(&home.router, at);
    }
}

#[test]
fn an_address_that_was_asked_for_is_looked_for_and_not_refused_from_memory() {
    let home = Home::new();
    home.create_lan();
    let (at, voice) = (ip("192.168.88.200"), Voice::of(&home.laptop));
    home.laptop.add_address("eth0", "192.168.88.200/24".parse().unwrap()).unwrap();
    let web = home.world.container("web").unwrap();
    for _ in 0..2 {
        is_refused(&try_attach(&home, &web, &format!("--ip {at}")), &["is in use on the LAN by"]);
    }
    home.laptop.del_address("eth0", "192.168.88.200/24".parse().unwrap()).unwrap();
    voice.claims(mac(1), at);
    assert_eq!(addresses(&home.attach("lan", &web, &format!("--ip {at}"))), [at]);
    reaches(&home.router, at);
}

#[test]
fn a_machine_that_answers_for_every_address_is_named() {
    let home = Home::new();
    home.create_lan();
    let router = mac(7);
    let web = home.world.container("web").unwrap();
    let in_range = |ip: IpAddr| ip >= home::ip("192.168.88.192") && ip <= home::ip("192.168.88.223");
    let answering = Answering::that_has(&home.laptop, router, in_range);
    is_refused(&try_attach(&home, &web, ""), &["used up", "32 are in use on the LAN by 02:00:00:00:00:07"]);
    is_refused(&try_attach(&home, &web, "--ip 192.168.88.200"), &["in use on the LAN by 02:00:00:00:00:07"]);
    // Without conflict detection, claims that were heard do not count either.
    home.ok("network create blind --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --conflict off");
    let report = home.attach("blind", &web, "--ip 192.168.88.200");
    assert_eq!(addresses(&report), [ip("192.168.88.200")]);
    home.ok("detach blind web");
    drop(answering);
    assert!(in_range(addresses(&home.attach("lan", &web, ""))[0]));
}

#[test]
fn ones_own_mac_is_no_conflict() {
    let home = Home::new();
    home.create_lan();
    // Access points answer for their stations in this way.
    let (own, at) = (mac(9), ip("192.168.88.200"));
    let other = ip("192.168.88.201");
    let _answering = Answering::that_has(&home.laptop, own, move |ip| ip == at || ip == other);
    let (_web, at_web, _) = attached(&home, "web", &format!("--ip {at} --mac {own}"));
    assert_eq!(at_web, at);
    let db = home.world.container("db").unwrap();
    is_refused(
        &try_attach(&home, &db, &format!("--ip {other} --mac {}", mac(8))),
        &["is in use on the LAN by"],
    );
}

#[test]
fn a_lease_for_which_an_access_point_answers_with_the_clients_own_mac_is_kept() {
    if !is_root() {
        return cannot_run("claims, a lease", "a DHCP server needs root");
    }
    let home = Home::new();
    let (own, leased) = (mac(9), Ipv4Addr::new(192, 168, 88, 100));
    let _server = Scripted::on(&home.router, move |question| {
        question.good(leased, 600).map(Reply::now).into_iter().collect()
    });
    home.ok("network create lan --parent eth0 --dhcp");
    let _answering = Answering::that_has(&home.laptop, own, move |ip| ip == leased);
    let (_web, at, _) = attached(&home, "web", &format!("--mac {own}"));
    assert_eq!(at, leased);
    reaches(&home.router, at);
}

#[test]
fn an_address_that_another_looks_for_at_the_same_time_is_given_up() {
    let home = Home::new();
    home.ok(&format!("{FEW} --subnet fd88::/64 --ip-range fd88::c0-fd88::c2"));
    // Another host that assigns from the same range probes an address at the same time.
    let other = mac(9);
    let first = [ip("192.168.88.192"), ip("fd88::c0")];
    let looking = Answering::by(&home.laptop, "eth0", move |frame| {
        let heard = ashore_wire::heard(frame).filter(|heard| !heard.claims && first.contains(&heard.ip))?;
        Some(ashore_wire::conflict::probe_frame(other, heard.ip))
    });
    let web = home.world.container("web").unwrap();
    assert_eq!(addresses(&home.attach("lan", &web, "")), [ip("192.168.88.193"), ip("fd88::c1")]);
    let db = home.world.container("db").unwrap();
    is_refused(&try_attach(&home, &db, ""), &["used up", "1 are in use on the LAN by 02:00:00:00:00:09"]);
    drop(looking);
    assert_eq!(addresses(&home.attach("lan", &db, ""))[0], first[0]);
}

#[test]
fn a_machine_that_looks_for_an_address_that_was_taken_a_moment_ago_is_told() {
    let home = Home::new();
    home.create_lan();
    let (_web, at, mac_of_web) = attached(&home, "web", "");
    let frames = Frames::addresses_from(&home.world, &home.nas);
    Voice::of(&home.laptop).looks_for(mac(1), at);
    // The container's kernel answers once its link is up. Until then Ashore answers with a probe.
    let mut heard = Vec::new();
    eventually("both answer", || {
        heard.extend(frames.heard().into_iter().filter(|heard| heard.ip == at));
        let kernel = heard.iter().any(|heard| heard.claims && heard.sender == mac_of_web);
        kernel && heard.iter().any(|heard| !heard.claims && heard.sender != mac_of_web)
    });
}

/// A network on the second LAN with the first LAN's subnet, as in two homes that were never meant to be
/// connected.
const SAME: &str =
    "--subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.64/27 --gateway 192.168.88.1";
const OTHER: &str = "--subnet 10.7.0.0/24 --ip-range 10.7.0.64/27";

#[test]
fn what_is_said_on_another_lan_counts_there_alone() {
    counts_there_alone(OTHER);
}

#[test]
fn the_same_where_both_lans_have_one_subnet() {
    counts_there_alone(SAME);
}

/// A NAS with a second NIC on another LAN. There a camera claims and probes all addresses that are in use on
/// the first LAN.
fn counts_there_alone(subnets: &str) {
    let (home, beyond) = (Home::new(), World::new(None).unwrap());
    beyond.plug_in_by(&home.nas, "eth1").unwrap();
    let camera = beyond.machine("camera", 60).unwrap();
    home.ok(BOTH);
    home.ok(&format!("network create iot --parent eth1 {subnets}"));
    let [web, cam] = ["web", "cam"].map(|name| home.world.container(name).unwrap());
    let at = addresses(&home.attach("lan", &web, ""));
    home.ok("detach lan web");
    let ranges = [([192, 168, 88], 192), ([192, 168, 88], 64), ([10, 7, 0], 64)];
    let all = ranges.map(|([a, b, c], first)| (first..first + 32).map(move |n| IpAddr::from([a, b, c, n])));
    let all = all.into_iter().flatten().chain(at.iter().copied()).collect();
    let flood = Answering::flood(&camera, mac(1), all);
    let attach_cam =
        || home.run(&format!("attach iot --netns {} --name cam", cam.namespace().path().display()));
    eventually("on its own LAN it has all", || {
        let ran = attach_cam();
        if ran.code == Some(0) {
            home.ok("detach iot cam");
        }
        ran.stderr.contains("32 are in use on the LAN by 02:00:00:00:00:01")
    });
    let report = home.attach("lan", &web, "");
    assert_eq!(addresses(&report), at);
    assert_eq!(attached(&home, "db", "").1, ip("192.168.88.193"));
    // By then, everything that is announced about a new endpoint has been sent.
    std::thread::sleep(Duration::from_secs(3));
    let frames = Frames::addresses_from(&home.world, &home.nas);
    std::thread::sleep(Duration::from_secs(2));
    let of_web = report["mac"].as_str().unwrap().parse().unwrap();
    let said_again = || -> BTreeSet<IpAddr> {
        let heard = frames.heard().into_iter().filter(|heard| heard.claims && heard.sender == of_web);
        // The endpoint resolves its neighbours with its own address.
        let heard = heard.filter(|heard| at.contains(&heard.ip));
        heard.map(|heard| heard.ip).collect()
    };
    assert_eq!(said_again(), BTreeSet::new(), "nobody on this LAN has claimed them");
    assert_eq!(conflicts(&home, "web"), [""; 0]);
    drop(flood);

    eventually("its own LAN is free again", || attach_cam().code == Some(0));
    let at_cam = addresses(&endpoint(&home, "cam"))[0];
    let (there, here) = (Voice::of(&camera), Voice::of(&home.laptop));
    for ip in at.iter().chain([&at_cam]) {
        there.claims(mac(2), *ip);
    }
    eventually("it is shown there", || conflicts(&home, "cam").contains(&mac(2).to_string()));
    assert_eq!(conflicts(&home, "web"), [""; 0]);
    assert_eq!(said_again(), BTreeSet::new(), "nor now");
    for ip in at.iter().chain([&at_cam]) {
        here.claims(mac(3), *ip);
    }
    let mut defended = BTreeSet::new();
    eventually("they are defended here", || {
        defended.append(&mut said_again());
        defended == at.iter().copied().collect()
    });
    assert_eq!(conflicts(&home, "web"), [mac(3).to_string()]);
    assert!(!conflicts(&home, "cam").contains(&mac(3).to_string()));
}

fn endpoint(home: &Home, name: &str) -> serde_json::Value {
    let status = home.status();
    status["endpoints"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

/// The machines that are shown to claim a container's addresses.
fn conflicts(home: &Home, name: &str) -> Vec<String> {
    let shown = endpoint(home, name)["conflicts"].clone();
    shown.as_object().map_or_else(Vec::new, |shown| shown.keys().cloned().collect())
}
