//! The DHCPv6 client against real servers, without a daemon. A machine on the LAN runs the client itself, on
//! a clock that the test controls, so that T1 comes when the test wants it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ashore_kernel::{PacketSocket, boottime};
use ashore_lab::{Engines, Machine, cannot_run};
use ashore_wire::dhcp::Client as _;
use ashore_wire::dhcp6::{
    Action, Change, Checksum, Client, Config, Datagram, Duid, Held, Inquiry, Loss, Message, Recorded, State,
    Told,
};
use ashore_wire::filter::dhcp6_to_client;
use ashore_wire::{Boottime, Mac};
use home::dhcp::Server;
use home::{Home, eventually, is_root, reaches};

const POOL: &str = "fd88::100,fd88::1ff,64,2m";
const DUID: [u8; 6] = [0, 4, 1, 2, 3, 4];
const DUID_TEXT: &str = "00:04:01:02:03:04";

/// A machine with a packet socket.
struct Speaker {
    machine: Machine,
    mac: Mac,
    socket: PacketSocket,
    /// How far its clock is ahead.
    ahead: Duration,
}

fn with(test: &str, run: impl FnOnce(&Home, &Engines, Speaker)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let home = Home::new();
            let machine = home.world.machine("web", 77).unwrap();
            let link = "eth0".parse().unwrap();
            let host = machine.kernel().observe(&[]).unwrap().host;
            let link = host.link(&link).unwrap();
            let socket = PacketSocket::open(machine.namespace(), link.index, &dhcp6_to_client()).unwrap();
            let mac = link.mac.unwrap();
            run(&home, &engines, Speaker { machine, mac, socket, ahead: Duration::ZERO });
        }
    }
}

fn dnsmasq(engines: &Engines, home: &Home, options: &[&str]) -> Server {
    let options = [&["--enable-ra", "--dhcp-option=option6:dns-server,[fd88::1]"], options].concat();
    Server::dnsmasq(engines, &home.router, home.directory.path(), POOL, &options)
}

fn config() -> Config {
    let name = Some(("web".parse().unwrap(), ashore_wire::dhcp6::Update::Server));
    Config { name, ..Config::new(Duid::try_from(DUID.to_vec()).unwrap(), 7) }
}

impl Speaker {
    fn now(&self) -> Boottime {
        boottime() + self.ahead
    }

    fn client(&self) -> Client {
        Client::new(config(), self.now(), 7)
    }

    /// The messages since the last call.
    fn heard(&self) -> Vec<Message> {
        let (mut buffer, mut heard) = ([0; 2048], Vec::new());
        while let Some(frame) = self.socket.receive(&mut buffer).unwrap() {
            let datagram = Datagram::to_client(frame, Checksum::Partial).expect("the filter passed it");
            heard.extend(Message::decode(datagram.payload));
        }
        heard
    }

    fn say(&self, outgoing: &ashore_wire::dhcp6::Outgoing) {
        self.socket.send(&outgoing.frame(self.mac, self.mac.link_local())).unwrap();
    }

    /// Drives a client until it performs the wanted action. Every address is free.
    fn until<T>(&self, client: &mut Client, what: &str, mut is: impl FnMut(&Action) -> Option<T>) -> T {
        let mut found = None;
        eventually(what, || {
            for message in self.heard() {
                let _ = client.receive(self.now(), &message);
            }
            let action = client.poll(self.now());
            match &action {
                Action::Send(outgoing) => self.say(outgoing),
                Action::Probe(ip) => client.clear(*ip),
                _ => {}
            }
            found = found.take().or_else(|| is(&action));
            found.is_some()
        });
        found.unwrap()
    }

    /// Drives a client until it has a lease, or has it again.
    fn bound(&self, client: &mut Client, what: &str) -> (Held, Change) {
        self.until(client, what, |action| match action {
            Action::Bound(held, change) => Some((held.clone(), change.clone())),
            _ => None,
        })
    }

    fn until_state(&self, client: &mut Client, state: State) {
        eventually("it comes so far", || {
            for message in self.heard() {
                let _ = client.receive(self.now(), &message);
            }
            if let Action::Send(outgoing) = client.poll(self.now()) {
                self.say(&outgoing);
            }
            client.state() == state
        });
    }

    fn use_address(&self, ip: Ipv6Addr) {
        self.machine.add_address("eth0", format!("{ip}/128").parse().unwrap()).unwrap();
    }
}

fn is_in_pool(ip: Ipv6Addr) -> bool {
    (0x100..=0x1ff).contains(&ip.segments()[7]) && ip.segments()[0] == 0xfd88
}

#[test]
fn dnsmasq_gives_renews_confirms_and_takes_back_an_address() {
    with("dhcp6, dnsmasq", |home, engines, mut web| {
        let server = dnsmasq(engines, home, &[]);
        let mut client = web.client();
        let (held, change) = web.bound(&mut client, "there is a lease");
        assert!(is_in_pool(held.ip()) && change == Change::New, "{held:?}");
        assert_eq!(held.lease.dns.servers, ["fd88::1".parse::<Ipv6Addr>().unwrap()]);
        web.use_address(held.ip());
        reaches(&home.laptop, IpAddr::V6(held.ip()));
        let rows = server.rows();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        let told = (row.mac.as_str(), row.ip.as_str(), row.name.as_str(), row.client_id.as_str());
        assert_eq!(told, ("7", held.ip().to_string().as_str(), "web", DUID_TEXT));

        let renews = held.renews().unwrap();
        web.ahead = renews - boottime();
        let (renewed, change) = web.bound(&mut client, "it is renewed");
        assert_eq!((change, renewed.ip()), (Change::Renewed(vec![]), held.ip()));
        assert!(renewed.since >= renews);
        assert_eq!(server.count("DHCPRENEW"), 1);

        let recorded = Recorded { lease: renewed.lease, age: Duration::from_secs(1), in_use: true };
        let mut client = Client::resume(config(), recorded, web.now(), 8);
        let (_, change) = web.bound(&mut client, "it is confirmed");
        assert_eq!((change, server.count("DHCPCONFIRM")), (Change::Renewed(vec![]), 1));

        client.release(web.now());
        web.until_state(&mut client, State::Released);
        assert_eq!(server.count("DHCPRELEASE"), 1);
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn a_server_that_has_forgotten_a_lease_takes_it_up_again() {
    with("dhcp6, forgotten", |home, engines, mut web| {
        let server = dnsmasq(engines, home, &[]);
        let mut client = web.client();
        let (held, _) = web.bound(&mut client, "there is a lease");
        server.lose_table();
        let server = dnsmasq(engines, home, &[]);
        assert_eq!(server.rows(), []);
        web.ahead = held.renews().unwrap() - boottime();
        let mut lost = false;
        let renewed = web.until(&mut client, "it goes on", |action| match action {
            Action::Bound(held, Change::Renewed(_)) => Some(held.clone()),
            Action::Lost(_) => {
                lost = true;
                None
            }
            _ => None,
        });
        assert!(!lost && renewed.ip() == held.ip());
        eventually("it is written down again", || {
            server.rows().iter().any(|row| row.ip == held.ip().to_string())
        });
    });
}

#[test]
fn an_address_that_a_machine_has_is_declined_and_another_is_got() {
    with("dhcp6, declined", |home, engines, mut web| {
        let server = dnsmasq(engines, home, &[]);
        let mut client = web.client();
        let first = web.until(&mut client, "an address is given", |action| match action {
            Action::Probe(ip) => Some(*ip),
            _ => None,
        });
        // The driver found the address free, and now another machine has it.
        client.taken(first, web.now());
        web.until_state(&mut client, State::Init);
        assert_eq!(server.count("DHCPDECLINE"), 1);
        web.ahead += Duration::from_secs(10);
        let (held, _) = web.bound(&mut client, "another is given");
        assert!(held.ip() != first && is_in_pool(held.ip()), "{held:?}");
    });
}

#[test]
fn an_address_of_another_link_is_lost_when_dnsmasq_says_so() {
    with("dhcp6, not on link", |home, engines, web| {
        let _server = dnsmasq(engines, home, &[]);
        let mut client = web.client();
        let (held, _) = web.bound(&mut client, "there is a lease");
        let elsewhere = "fd99::7".parse().unwrap();
        let lease = ashore_wire::dhcp6::Lease { address: elsewhere, ..held.lease.clone() };
        let recorded = Recorded { lease, age: Duration::from_secs(1), in_use: true };
        let mut client = Client::resume(config(), recorded, web.now(), 8);
        let loss = web.until(&mut client, "it is lost", |action| match action {
            Action::Lost(loss) => Some(loss.clone()),
            _ => None,
        });
        assert!(matches!(loss, Loss::Refused(_)), "{loss:?}");
        let (again, _) = web.bound(&mut client, "there is another");
        assert_eq!(again.ip(), held.ip());
    });
}

#[test]
fn kea_gives_renews_confirms_and_takes_back_an_address() {
    with("dhcp6, Kea", |home, engines, mut web| {
        let server = Server::kea6(engines, &home.router, home.directory.path(), "fd88::100-fd88::1ff");
        let mut client = web.client();
        let (held, _) = web.bound(&mut client, "there is a lease");
        assert!(is_in_pool(held.ip()), "{held:?}");
        let term = held.lease.term.unwrap();
        assert_eq!((term.renew, term.rebind, term.preferred, term.end), (30, 48, 60, Some(120)));
        web.use_address(held.ip());
        reaches(&home.laptop, IpAddr::V6(held.ip()));
        let row = |table: &str| {
            let last = table.lines().rfind(|line| line.starts_with(&held.ip().to_string()));
            last.map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
        };
        let told = row(&server.table()).expect("the server has written it down");
        assert_eq!((told[1].as_str(), told[7].as_str()), (DUID_TEXT, "7"), "{told:?}");

        web.ahead = held.renews().unwrap() - boottime();
        let (renewed, change) = web.bound(&mut client, "it is renewed");
        assert_eq!((change, renewed.ip()), (Change::Renewed(vec![]), held.ip()));
        let recorded = Recorded { lease: renewed.lease, age: Duration::from_secs(1), in_use: true };
        let mut client = Client::resume(config(), recorded, web.now(), 8);
        web.bound(&mut client, "it is confirmed");
        client.release(web.now());
        web.until_state(&mut client, State::Released);
        // A lease that has ended is written once more, with a lifetime of 0.
        eventually("the lease is released", || row(&server.table()).is_some_and(|told| told[2] == "0"));
    });
}

#[test]
fn what_there_is_to_know_is_told_without_an_address() {
    with("dhcp6, stateless", |home, engines, web| {
        let server = dnsmasq(engines, home, &["--dhcp-option=option6:domain-search,home.arpa"]);
        let mut inquiry = Inquiry::new(config(), web.now(), 7);
        let mut told = None;
        eventually("it is reported", || {
            for message in web.heard() {
                let _ = inquiry.receive(web.now(), &message);
            }
            match inquiry.poll(web.now()) {
                Told::Send(outgoing) => web.say(&outgoing),
                Told::Dns(dns) => told = Some(dns),
                Told::Wait(_) => {}
            }
            told.is_some()
        });
        let dns = told.unwrap();
        assert_eq!(dns.servers, ["fd88::1".parse::<Ipv6Addr>().unwrap()]);
        let search: Vec<_> = dns.search.iter().map(ToString::to_string).collect();
        assert_eq!(search, ["home.arpa"]);
        assert_eq!(server.rows(), []);
    });
}
