//! The names of containers on the LAN, by multicast DNS: who finds them, and what becomes of a name that two want.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ashore_lab::Machine;
use ashore_wire::mdns::{GROUP_V4, Message, Name, PORT, kind};
use home::{Home, addresses, eventually, ip};

/// A network with both families whose names the LAN is told.
const CREATE: &str = "network create lan --mdns --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 --gateway 192.168.88.1";

const LAPTOP: &str = "192.168.88.50";
const NAS: &str = "192.168.88.9";

/// A program at the port of multicast DNS, as a resolver on a LAN is.
struct Resolver(UdpSocket);

impl Resolver {
    fn on(machine: &Machine, at: IpAddr) -> Resolver {
        let IpAddr::V4(at) = at else { panic!("{at}") };
        let socket = machine.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))).unwrap().unwrap();
        socket.join_multicast_v4(&GROUP_V4, &at).unwrap();
        // It need not hear itself.
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        Resolver(socket)
    }

    /// What it hears until it is still for a moment.
    fn hears(&self) -> Vec<Message> {
        let (mut buffer, mut all) = ([0; 9000], Vec::new());
        while let Ok((length, _)) = self.0.recv_from(&mut buffer) {
            all.extend(Message::read(&buffer[..length]));
        }
        all
    }

    /// Asks for the addresses of a name, and hears what is said of them.
    fn finds(&self, name: &str) -> BTreeSet<IpAddr> {
        self.0.send_to(&query(name), (GROUP_V4, PORT)).unwrap();
        let (name, heard) = (named(name), self.hears());
        let said = heard.iter().flat_map(|message| message.answers.iter().chain(&message.additionals));
        said.filter(|said| said.record.name == name && said.ttl > 0)
            .filter_map(|said| said.record.data.ip())
            .collect()
    }

    /// Waits until it finds what there is.
    #[track_caller]
    fn comes_to_find(&self, name: &str, there: &[IpAddr]) {
        let (there, mut found) = (there.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::new());
        eventually(&format!("{name} is {there:?}"), || {
            found.extend(self.finds(name));
            found.is_superset(&there)
        });
        assert_eq!(found, there);
    }
}

fn named(name: &str) -> Name {
    Name::new(name.split('.')).unwrap()
}

/// A message with one record or question for each of these ends, which all are about one name.
fn message(flags: u16, counts: [u16; 2], name: &str, ends: &[&[u8]]) -> Vec<u8> {
    let numbers = [0, flags, counts[0], counts[1], 0, 0];
    let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u16::to_be_bytes).collect();
    for end in ends {
        for label in name.split('.') {
            bytes.push(label.len().try_into().unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(*end);
    }
    bytes
}

/// Asks for the addresses of both families.
fn query(name: &str) -> Vec<u8> {
    let end = |kind: u16| [kind.to_be_bytes(), [0, 1]].concat();
    message(0, [2, 0], name, &[&end(kind::A), &end(kind::AAAA)])
}

/// Says that a name has an address.
fn response(name: &str, at: [u8; 4]) -> Vec<u8> {
    let end = [&kind::A.to_be_bytes()[..], &[0x80, 1, 0, 0, 0, 120, 0, 4], &at].concat();
    message(0x8400, [0, 1], name, &[&end])
}

/// The name that an endpoint has on the LAN, once the LAN is told of it.
fn name_of(home: &Home, endpoint: &str) -> Option<String> {
    let status = home.status();
    let mut endpoints = status["endpoints"].as_array().unwrap().iter();
    let told = &endpoints.find(|there| there["name"] == endpoint)?["lan_name"];
    (told["state"] == "announced").then(|| told["name"].as_str().unwrap().to_owned())
}

#[track_caller]
fn is_told(home: &Home, endpoint: &str, name: &str) {
    eventually(&format!("the LAN is told of {name}"), || name_of(home, endpoint).as_deref() == Some(name));
}

#[test]
fn laptop_host_and_sibling_find_a_container_by_its_name_until_it_goes() {
    let home = Home::new();
    home.ok(&format!("{CREATE} --parent eth0"));
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at_web = addresses(&home.attach("lan", &web, ""));
    let at_db = addresses(&home.attach("lan", &db, ""));
    is_told(&home, "web", "web.local");
    assert!(home.ok("status").contains("web.local"), "{}", home.ok("status"));
    let laptop = Resolver::on(&home.laptop, ip(LAPTOP));
    let host = Resolver::on(&home.nas, ip(NAS));
    let sibling = Resolver::on(&db, at_db[0]);
    for resolver in [&laptop, &host, &sibling] {
        resolver.comes_to_find("web.local", &at_web);
    }
    Resolver::on(&web, at_web[0]).comes_to_find("db.local", &at_db);
    laptop.hears();
    home.ok("detach lan web");
    eventually("the laptop is told that the name is gone", || {
        let mut heard = laptop.hears().into_iter().flat_map(|message| message.answers);
        heard.any(|said| said.record.name == named("web.local") && said.ttl == 0)
    });
    assert_eq!(laptop.finds("web.local"), BTreeSet::new());
    laptop.comes_to_find("db.local", &at_db);
}

#[test]
fn on_a_bridge_laptop_host_and_sibling_find_it_too() {
    let home = Home::bridged();
    home.ok(&format!("{CREATE} --parent br0"));
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    let at_web = addresses(&home.attach("lan", &web, ""));
    let at_db = addresses(&home.attach("lan", &db, ""));
    let askers = [(&home.laptop, ip(LAPTOP)), (&home.nas, ip(NAS)), (&db, at_db[0])];
    for (machine, at) in askers {
        Resolver::on(machine, at).comes_to_find("web.local", &at_web);
    }
}

#[test]
fn of_two_who_want_a_name_one_gets_another() {
    let home = Home::new();
    home.ok(&format!("{CREATE} --parent eth0"));
    let laptop = Resolver::on(&home.laptop, ip(LAPTOP));
    let web = home.world.container("web").unwrap();
    let over = AtomicBool::new(false);
    // The laptop itself is web.local, and says so to whoever asks.
    std::thread::scope(|scope| {
        let speaks = scope.spawn(|| {
            let is_asked = |message: &Message| {
                let mut asked = message.questions.iter();
                !message.response && asked.any(|asked| asked.name == named("web.local"))
            };
            while !over.load(Ordering::Relaxed) {
                let (mut buffer, socket) = ([0; 9000], &laptop.0);
                let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                if Message::read(&buffer[..length]).as_ref().is_some_and(is_asked) {
                    socket.send_to(&response("web.local", [192, 168, 88, 50]), (GROUP_V4, PORT)).unwrap();
                }
            }
        });
        let told = catch_unwind(AssertUnwindSafe(|| {
            home.attach("lan", &web, "");
            is_told(&home, "web", "web-2.local");
        }));
        over.store(true, Ordering::Relaxed);
        speaks.join().unwrap();
        told.unwrap();
    });
    let told = home.status()["endpoints"][0]["lan_name"].take();
    assert_eq!((told["wanted"].as_str(), told["taken_by"].as_str()), (Some("web.local"), Some(LAPTOP)));
    let shown = home.ok("status");
    assert!(shown.contains("web-2.local (web.local is 192.168.88.50's)"), "{shown}");
    // No character but letters, digits and `-` is in a name, and so two may come to want one.
    let names = ["my_app", "my-app"];
    let machines = names.map(|name| home.world.container(name).unwrap());
    for machine in &machines {
        drop(home.attach("lan", machine, ""));
    }
    eventually("both have a name", || {
        let told: BTreeSet<_> = names.map(|name| name_of(&home, name)).into();
        told == BTreeSet::from(["my-app.local", "my-app-2.local"].map(|name| Some(name.to_owned())))
    });
}

#[test]
fn who_did_not_ask_for_it_is_not_told_to_the_lan() {
    let home = Home::new();
    home.create_lan();
    home.ok("network create told --mdns --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.224/28");
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    let at_db = addresses(&home.attach("told", &db, ""));
    let laptop = Resolver::on(&home.laptop, ip(LAPTOP));
    laptop.comes_to_find("db.local", &at_db);
    assert_eq!(laptop.finds("web.local"), BTreeSet::new());
    assert_eq!(name_of(&home, "web"), None);
}
