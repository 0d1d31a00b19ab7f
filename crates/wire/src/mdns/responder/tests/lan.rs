//! Several hosts on a simulated LAN that loses, delays, repeats and reflects, and that is cut and healed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A packet on its way: to which host, from whom, and what.
struct Flight {
    to: usize,
    from: usize,
    to_group: bool,
    packet: Vec<u8>,
    reflected: bool,
}

/// How bad the LAN is, each of a thousand.
#[derive(Debug, Clone, Copy)]
struct Weather {
    lost: u32,
    /// By what passes, late, into the LAN that it came from too.
    reflected: u32,
    most_delay: Duration,
}

const CALM: Weather = Weather { lost: 0, reflected: 0, most_delay: Duration::from_millis(3) };

struct Lan {
    hosts: Vec<Responder>,
    now: Boottime,
    random: Random,
    weather: Weather,
    /// Hosts of different sides do not hear each other.
    side: Vec<usize>,
    flights: BTreeMap<(Boottime, u64), Flight>,
    count: u64,
    /// When which host renamed a name, and to what.
    renamed: Vec<(Duration, usize, String)>,
    packets: usize,
}

impl Lan {
    fn new(hosts: usize, seed: u64, weather: Weather) -> Self {
        let channel: Channels = Channel::V4.into();
        let mut random = Random(seed);
        let hosts: Vec<Responder> =
            (0..hosts).map(|_| Responder::new(channel, u64::from(random.number()))).collect();
        let side = vec![0; hosts.len()];
        Lan {
            hosts,
            now: SOME_TIME,
            random,
            weather,
            side,
            flights: BTreeMap::new(),
            count: 0,
            renamed: Vec::new(),
            packets: 0,
        }
    }

    fn address(host: usize) -> IpAddr {
        IpAddr::from([192, 168, 88, 10 + host as u8])
    }

    fn chance(&mut self, of_thousand: u32) -> bool {
        self.random.number() % 1000 < of_thousand
    }

    fn fly(&mut self, flight: Flight, least: Duration) {
        let most = if flight.reflected { Duration::from_millis(800) } else { self.weather.most_delay };
        let at = self.now + least + self.random.between(Duration::ZERO, most);
        self.count += 1;
        self.flights.insert((at, self.count), flight);
    }

    fn send(&mut self, from: usize, packet: &Packet) {
        self.packets += 1;
        for to in 0..self.hosts.len() {
            let meant = packet.to.is_none_or(|peer| peer.ip() == Lan::address(to));
            if !meant || self.side[to] != self.side[from] {
                continue;
            }
            let to_group = packet.to.is_none();
            let flight = |reflected| Flight { to, from, to_group, packet: packet.payload.clone(), reflected };
            if to != from && !self.chance(self.weather.lost) {
                self.fly(flight(false), Duration::ZERO);
            }
            // A reflector sends back what it hears, to all.
            if packet.to.is_none() && self.chance(self.weather.reflected) {
                self.fly(flight(true), ms(1));
            }
        }
    }

    /// Lets so much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut next = None::<Boottime>;
            for host in 0..self.hosts.len() {
                loop {
                    match self.hosts[host].poll(self.now) {
                        Action::Send(packet) => self.send(host, &packet),
                        Action::Renamed { to, .. } => {
                            self.renamed.push((self.now - SOME_TIME, host, to.to_string()));
                        }
                        Action::Wait(until) => {
                            next = [next, until].into_iter().flatten().min();
                            break;
                        }
                    }
                }
            }
            let arrives = self.flights.first_key_value().map(|((at, _), _)| *at);
            let Some(now) = [next, arrives].into_iter().flatten().min().filter(|now| *now <= end) else {
                break;
            };
            self.now = self.now.max(now);
            if arrives == Some(now) {
                let (_, flight) = self.flights.pop_first().unwrap();
                self.arrive(&flight);
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, flight: &Flight) {
        let Flight { to, from, to_group, packet, reflected } = flight;
        // A reflector sends from an address of its own.
        let from = if *reflected { ip("192.168.88.254") } else { Lan::address(*from) };
        let datagram = Datagram {
            channel: Channel::V4,
            from: (from, 5353).into(),
            to_group: *to_group,
            prefixes: &["192.168.88.0/24".parse().unwrap()],
            payload: packet,
        };
        self.hosts[*to].receive(&datagram, self.now);
    }

    /// Another host asks for a name, as a phone would, by which hosts hear of each other.
    fn ask(&mut self, name: &'static str, kind: u16) {
        let payload = Query::of(name, kind).bytes();
        for to in 0..self.hosts.len() {
            let datagram = Datagram {
                channel: Channel::V4,
                from: PEER.parse().unwrap(),
                to_group: true,
                prefixes: &[],
                payload: &payload,
            };
            self.hosts[to].receive(&datagram, self.now);
        }
    }

    /// Ten minutes in which somebody asks every few seconds.
    fn ten_minutes(&mut self) {
        for _ in 0..120 {
            for name in ["web.local", "web-2.local", "web-3.local"] {
                self.ask(name, kind::ANY);
            }
            self.ask("_http._tcp.local", kind::PTR);
            self.run(seconds(5));
        }
    }

    /// The labels of all names, all of which must be announced.
    fn labels(&self) -> Vec<String> {
        let mut labels = Vec::new();
        for host in &self.hosts {
            for listed in host.names() {
                assert_eq!(listed.state, State::Announced, "{} of {:?}", listed.label, listed.addresses);
                labels.push(listed.label.as_str().to_ascii_lowercase());
            }
        }
        labels.sort();
        labels
    }
}

fn expected(hosts: usize) -> Vec<String> {
    (1..=hosts).map(|number| if number == 1 { "web".to_owned() } else { format!("web-{number}") }).collect()
}

/// Each host publishes `web`, with a service at a port of its own.
fn publish_all(lan: &mut Lan, apart: Duration) {
    for host in 0..lan.hosts.len() {
        let service = format!("_http._tcp:{}", 8000 + (host * 7) % 5);
        let wanted = wanted("web", &Lan::address(host).to_string(), &service);
        lan.hosts[host].publish("web", wanted, lan.now);
        lan.run(apart);
    }
}

#[test]
fn hosts_with_one_name_come_to_stable_names_on_a_calm_lan() {
    for seed in 0..20 {
        let hosts = 2 + (seed as usize) % 3;
        let mut lan = Lan::new(hosts, seed, CALM);
        publish_all(&mut lan, ms([0, 1, 100, 400, 2000][seed as usize % 5]));
        lan.run(seconds(20));
        assert_eq!(lan.labels(), expected(hosts), "seed {seed}");
        let before = lan.renamed.len();
        lan.ten_minutes();
        assert_eq!((lan.labels(), lan.renamed.len()), (expected(hosts), before), "seed {seed}");
    }
}

#[test]
fn they_do_on_one_that_loses_delays_and_reflects() {
    for seed in 100..115 {
        let hosts = 2 + (seed as usize) % 2;
        let weather = Weather { lost: 300, reflected: [0, 200, 1000][seed as usize % 3], most_delay: ms(60) };
        let mut lan = Lan::new(hosts, seed, weather);
        publish_all(&mut lan, ms([0, 50, 3000][seed as usize % 3]));
        lan.ten_minutes();
        lan.weather = Weather { lost: 0, ..weather };
        lan.run(seconds(60));
        lan.ten_minutes();
        let labels = lan.labels();
        let mut once = labels.clone();
        once.dedup();
        assert_eq!(labels, once, "seed {seed}");
        // A host takes a number more only when it has heard of another one with its name: loss makes that rare.
        assert!(lan.renamed.len() <= 2 * hosts, "seed {seed}: {:?}", lan.renamed);
        let late = lan.renamed.iter().filter(|(at, ..)| *at > seconds(660)).count();
        assert_eq!(late, 0, "seed {seed}: {:?}", lan.renamed);
    }
}

#[test]
fn a_lan_that_was_cut_and_is_healed_has_each_name_once() {
    for seed in 200..212 {
        let hosts = 2 + (seed as usize) % 3;
        let weather = Weather { reflected: [0, 500][seed as usize % 2], ..CALM };
        let mut lan = Lan::new(hosts, seed, weather);
        lan.side = (0..hosts).collect();
        publish_all(&mut lan, ms(0));
        lan.run(seconds(30));
        assert_eq!(lan.labels(), vec!["web"; hosts], "seed {seed}");
        lan.side = vec![0; hosts];
        lan.ten_minutes();
        if weather.reflected == 0 {
            assert_eq!(lan.labels(), expected(hosts), "seed {seed}");
        }
        let labels = lan.labels();
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), hosts, "seed {seed}: {labels:?}");
        assert!(lan.renamed.len() < 2 * hosts * hosts, "seed {seed}: {:?}", lan.renamed);
        assert!(lan.renamed.iter().all(|(at, ..)| *at < seconds(60)), "seed {seed}: {:?}", lan.renamed);
        // Cut once more: the names stay apart.
        let before = lan.renamed.len();
        lan.side = (0..hosts).collect();
        lan.ten_minutes();
        lan.side = vec![0; hosts];
        lan.ten_minutes();
        assert_eq!((lan.labels(), lan.renamed.len()), (labels, before), "seed {seed}");
    }
}

#[test]
fn ones_own_packets_alone_disturb_nothing() {
    for seed in 300..310 {
        let weather = Weather { reflected: 1000, ..CALM };
        let mut lan = Lan::new(1, seed, weather);
        publish_all(&mut lan, ms(0));
        // The address changes all the time, and is heard of late.
        for at in 0..200u32 {
            let change = wanted("web", &format!("192.168.88.{}", 10 + at % 3), "_http._tcp:80");
            lan.hosts[0].publish("web", change, lan.now);
            let pause = lan.random.between(ms(0), ms(3000));
            lan.run(pause);
        }
        lan.run(seconds(30));
        assert_eq!((lan.labels(), lan.renamed.len()), (expected(1), 0), "seed {seed}");
        let before = lan.packets;
        lan.run(seconds(600));
        assert_eq!(lan.packets, before, "seed {seed}: nobody asks, and nothing is said");
    }
}

#[test]
fn two_hosts_with_two_hundred_common_names_settle() {
    let mut lan = Lan::new(2, 1, CALM);
    for host in 0..2 {
        for at in 0..200u8 {
            let address = format!("10.0.{host}.{at}");
            lan.hosts[host].publish(&format!("{at}"), wanted(&format!("app{at}"), &address, ""), lan.now);
        }
        lan.run(ms(100));
    }
    lan.run(seconds(60));
    let labels = lan.labels();
    let mut once = labels.clone();
    once.dedup();
    assert_eq!((labels.len(), once.len()), (400, 400));
    assert_eq!(lan.renamed.len(), 200);
}
