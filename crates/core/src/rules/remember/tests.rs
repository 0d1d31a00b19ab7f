use std::fmt::Write;

use ipnet::IpNet;

use super::*;
use crate::model::endpoint::Placement;
use crate::model::learned::LearnedAddress;
use crate::model::lease::Addressing;
use crate::rules::learn::tests::{endpoint, network};

/// Networks, endpoints and identities in words. `.7` and `::7` are addresses, and `m7` is a MAC. `L.7=id:m7`
/// is a lease that was requested with the identifier `id` and that MAC, and `D::7=id` is a DHCPv6 lease. In
/// an identity, `l.7` is the leased address.
pub(crate) struct Words {
    pub(crate) state: State,
}

impl Words {
    /// The network `lan`, whose addresses Ashore chooses or a DHCP server leases.
    pub(crate) fn new(addressing: Addressing, identities: &[&str]) -> Self {
        let mut state = State::new(Seed([7; 16]));
        let engine = serde_json::json!({ "id": "n1", "name": null, "of": "e1" });
        let network = Network {
            addressing,
            engine: Some(serde_json::from_value(engine).unwrap()),
            subnets: serde_json::from_value(serde_json::json!([
                { "net": "192.168.88.0/24", "range": null, "gateway": "192.168.88.1", "aux": {} },
                { "net": "fd88::/64", "range": null, "gateway": "fd88::1", "aux": {} },
            ]))
            .unwrap(),
            ..network("range")
        };
        state.apply(Change::PutNetwork(network));
        let mut words = Words { state };
        for identity in identities {
            words.remember(identity);
        }
        words
    }

    /// `NAME WORDS…`
    fn remember(&mut self, text: &str) {
        let mut words = text.split(' ');
        let name = words.next().unwrap().parse().unwrap();
        let mut identity = Identity { last_used: 1, ..Identity::default() };
        for word in words {
            match word.split_at(1) {
                ("l", ip) => identity.leased = Some(v4(ip)),
                ("L", lease) => identity.lease = Some(Box::new(record(lease))),
                ("D", lease) => identity.lease6 = Some(Box::new(record6(lease))),
                ("m", _) => identity.mac = Some(self.mac(word, &name)),
                ("s", made) => identity.made.push(made.parse().unwrap()),
                _ => identity.addresses.push(ip(word)),
            }
        }
        self.state.apply(Change::PutIdentity(self.scope(), name, identity));
    }

    /// `NAME CHOSEN SOURCE WORDS…`, where what a user chose ends in `!`. The engine's id is the name, and the
    /// sandbox is `/s`.
    pub(crate) fn endpoint(&self, text: &str) -> Endpoint {
        let mut words = text.split(' ');
        let name = words.next().unwrap();
        let chosen = serde_json::from_str(&format!("{:?}", words.next().unwrap())).unwrap();
        let source = serde_json::from_str(&format!("{:?}", words.next().unwrap())).unwrap();
        let placement = Placement::Engine {
            id: Some(format!("id-{name}")),
            ifname: "ash0".parse().unwrap(),
            sandbox: Some("/s".into()),
            inside: None,
        };
        let mut made = Endpoint { chosen, source, placement, addresses: Vec::new(), ..endpoint(name) };
        for word in words {
            let (word, by_user) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
            match word.split_at(1) {
                ("L", lease) => {
                    let record = record(lease);
                    made.addresses.push(record.lease.address.into());
                    if by_user {
                        made.by_user.addresses.push(record.lease.address.addr().into());
                    }
                    made.lease = Some(Box::new(record));
                }
                ("D", lease) => made.lease6 = Some(Box::new(record6(lease))),
                ("m", _) => {
                    made.mac = Some(self.mac(word, &made.name));
                    made.by_user.mac = by_user;
                }
                ("s", ip) => {
                    let ip = ip.parse().unwrap();
                    let prefix = "fd99::/64".parse().unwrap();
                    let address = LearnedAddress {
                        ip,
                        prefix,
                        on_link: true,
                        leased: false,
                        deprecated: false,
                        preferred: None,
                        valid: None,
                    };
                    made.addresses.push(address.net());
                    made.learned.get_or_insert_default().addresses.push(address);
                }
                _ => {
                    let ip = ip(word);
                    let length = if ip.is_ipv4() { 24 } else { 64 };
                    made.addresses.push(IpNet::new(ip, length).unwrap());
                    if by_user {
                        made.by_user.addresses.push(ip);
                    }
                }
            }
        }
        made
    }

    /// Puts endpoints into the state without changing the identities.
    pub(crate) fn with(mut self, endpoints: &[&str]) -> Self {
        for text in endpoints {
            let endpoint = self.endpoint(text);
            self.state.apply(Change::PutEndpoint(endpoint));
        }
        self
    }

    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.state.apply(change);
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.state.networks[&"lan".parse().unwrap()]
    }

    fn scope(&self) -> Scope {
        State::scope(self.network())
    }

    /// `mown` is the MAC that is derived from the name.
    fn mac(&self, word: &str, name: &EndpointName) -> Mac {
        match &word[1..] {
            "own" => self.state.seed.mac(&self.scope(), name, 0),
            number => format!("02:00:00:00:00:0{number}").parse().unwrap(),
        }
    }

    /// The identities in words.
    pub(crate) fn identities(&self) -> Vec<String> {
        let words = |((_, name), identity): (&(Scope, EndpointName), &Identity)| {
            let mut words = name.to_string();
            if let Some(mac) = identity.mac {
                let own = mac == self.state.seed.mac(&self.scope(), name, 0);
                let text = mac.to_string();
                write!(words, " m{}", if own { "own" } else { text.trim_start_matches("02:00:00:00:00:0") })
                    .unwrap();
            }
            for ip in &identity.addresses {
                write!(words, " {}", short(*ip)).unwrap();
            }
            if let Some(ip) = identity.leased {
                write!(words, " l{}", short(ip.into())).unwrap();
            }
            if let Some(record) = &identity.lease {
                write!(
                    words,
                    " L{}={}",
                    short(record.lease.address.addr().into()),
                    record.id.to_string().replace("00:", "")
                )
                .unwrap();
            }
            if let Some(record) = &identity.lease6 {
                let ip = short(record.lease.address.into());
                write!(words, " D{ip}={}", record.id.to_string().replace("00:", "")).unwrap();
            }
            for ip in &identity.made {
                write!(words, " s{ip}").unwrap();
            }
            words
        };
        self.state.identities.iter().map(words).collect()
    }
}

fn v4(word: &str) -> Ipv4Addr {
    format!("192.168.88{word}").parse().unwrap()
}

pub(crate) fn ip(word: &str) -> IpAddr {
    match word.split_at(1).0 {
        "." => v4(word).into(),
        ":" => format!("fd88{word}").parse().unwrap(),
        _ => word.parse().unwrap(),
    }
}

fn short(ip: IpAddr) -> String {
    ip.to_string().replace("192.168.88", "").replace("fd88", "")
}

/// `.7=id:m7`
fn record(text: &str) -> LeaseRecord {
    let (address, rest) = text.split_once('=').unwrap();
    let (id, mac) = rest.split_once(":m").unwrap_or((rest, "9"));
    serde_json::from_value(serde_json::json!({
        "address": format!("{}/24", v4(address)), "server": "192.168.88.1", "term": null, "routes": [], "dns": [], "domain": null,
        "search": [], "ntp": [], "mtu": null, "broadcast": null, "since": 1, "id": format!("00:{id}"),
        "mac": format!("02:00:00:00:00:0{mac}"),
    }))
    .unwrap()
}

/// `::7=id`
fn record6(text: &str) -> LeaseRecord6 {
    let (address, id) = text.split_once('=').unwrap();
    serde_json::from_value(serde_json::json!({
        "address": ip(address), "server": "00:03:00:01:02:00:00:00:00:01", "term": null,
        "dns": { "servers": [], "search": [] }, "since": 1, "id": format!("00:{id}"), "mac": "02:00:00:00:00:01",
    }))
    .unwrap()
}

/// What is known before, an endpoint that comes, and what is known afterwards.
type Row<'a> = (&'a [&'a str], &'a str, &'a [&'a str]);

#[track_caller]
fn holds(addressing: Addressing, rows: &[Row<'_>]) {
    for (before, endpoint, after) in rows {
        let mut words = Words::new(addressing, before);
        let endpoint = words.endpoint(endpoint);
        for _ in 0..2 {
            let changes = words.state.remember(&endpoint, 2);
            words.apply(changes);
            assert_eq!(words.identities(), *after, "{before:?} and {}", endpoint.name);
        }
    }
}

#[test]
fn what_was_chosen_for_a_name_is_its_own_and_no_other_names() {
    holds(
        Addressing::Range,
        &[
            (&[], "web for-name range .192 m1", &["web m1 .192"]),
            (&["web m1 .192"], "web for-name range .192 m1", &["web m1 .192"]),
            (&["web m1 .192 ::c0"], "web for-name range .193 m2", &["web m2 .193 ::c0"]),
            (&["web m1 .192 ::c0"], "web for-name range ::c1 m1", &["web m1 .192 ::c1"]),
            // ipvlan has no MAC of its own. The previous one is kept for when the network is another one.
            (&["web m1 .192"], "web for-name range .192", &["web m1 .192"]),
            // A name that was gone for long has lost its address, but is still known by its MAC.
            (&["old m2 .192 ::c2"], "web for-name range .192 m1", &["old m2 ::c2", "web m1 .192"]),
            (&["old m2 .192"], "web for-name range .192 m1", &["old m2", "web m1 .192"]),
            (&["old mown .192"], "web for-name range .192 m1", &["web m1 .192"]),
            (&["old .192"], "web for-name range .192 m1", &["web m1 .192"]),
            (&["old m1 .200"], "web for-name range .192 m1!", &["old .200", "web m1 .192"]),
            (&["old m1"], "web for-name range .192 m1!", &["web m1 .192"]),
            (&["old .200"], "web for-name range .192 m1", &["old .200", "web m1 .192"]),
            (&["web m1 .192"], "web for-name fixed .200! m1", &["web m1 .200"]),
            // Addresses that were generated in a router's prefix.
            (&["web sfd99::1"], "web for-name range .192 sfd99::2", &["web .192 sfd99::2"]),
            (&["web sfd98::1"], "web for-name range .192 sfd99::2", &["web .192 sfd99::2 sfd98::1"]),
            (&["old sfd99::2"], "web for-name range .192 sfd99::2", &["web .192 sfd99::2"]),
            // A network that no longer leases addresses.
            (&["web l.100 L.100=aa D::9=aa"], "web for-name range .192 m1", &["web m1 .192 l.100"]),
        ],
    );
}

#[test]
fn of_a_container_whose_name_is_not_known_nothing_is_remembered_and_it_takes_nothing() {
    let known: &[&str] = &["files m1 .200 ::c0", "web m2 .192"];
    for endpoint in [
        "at-192.168.88.200 unnamed fixed .200! m1",
        "at-192.168.88.200 unnamed fixed .200! m3",
        "at-192.168.88.192 unnamed range .192 ::c0 m1!",
        "at-192.168.88.193 unnamed engine .193 m4",
    ] {
        holds(Addressing::Range, &[(known, endpoint, known)]);
    }
    let leased: &[&str] = &["web m2 l.100 L.100=aa"];
    holds(Addressing::Dhcp, &[(leased, "at-192.168.88.100 unnamed lease L.100=aa:m2 m2", leased)]);
}

#[test]
fn what_stands_in_for_a_names_own_neither_replaces_it_nor_is_taken_from_another() {
    holds(
        Addressing::Range,
        &[
            // The name keeps everything that it remembers, and gets what it lacks.
            (&["web m1 .192"], "web stand-in range .195 m5", &["web m1 .192"]),
            (&["web m1"], "web stand-in range .195 m5", &["web m1 .195"]),
            (&["web .192"], "web stand-in range .195 m5", &["web m5 .192"]),
            (&["web m1 .192"], "web stand-in range .195 ::c5 m5", &["web m1 .192 ::c5"]),
            (&[], "web stand-in range .195 m5", &["web m5 .195"]),
            // It gets nothing that another name remembers.
            (&["db m2 .193"], "web stand-in range .193 m5", &["db m2 .193", "web m5"]),
            (&["db m2 .193 ::c3"], "web stand-in range .193 m5", &["db m2 .193 ::c3", "web m5"]),
            (&["db m2 .193"], "web stand-in range .195 m2", &["db m2 .193", "web .195"]),
            (&["db m2 .193", "web m1 .192"], "web stand-in range .193 m2", &["db m2 .193", "web m1 .192"]),
            // What the user chose replaces what the name had, and is taken from another name.
            (&["files m1 .200"], "files stand-in fixed .200! m1", &["files m1 .200"]),
            (&["files m1 .200"], "files stand-in fixed .200! m5", &["files m1 .200"]),
            (&["files m1 .200"], "files stand-in fixed .201! m5", &["files m1 .201"]),
            (&["files m1 .200"], "files stand-in range .195 m5!", &["files m5 .200"]),
            (&["files m1 .200", "web m2 .192"], "web stand-in fixed .200! m1", &["files m1", "web m2 .200"]),
            (
                &["files m1 .200", "web m2 .192"],
                "web stand-in range .195 m1!",
                &["files .200", "web m1 .192"],
            ),
            // The user may choose the address of one family only.
            (&["files m1 .200 ::c0"], "files stand-in fixed .201! ::c5 m5", &["files m1 .201 ::c0"]),
            (&["files m1 .200 ::c0"], "files stand-in range .195 ::c1! m5", &["files m1 .200 ::c1"]),
        ],
    );
}

#[test]
fn of_an_engines_own_choice_the_mac_alone_is_a_names() {
    holds(
        Addressing::Range,
        &[
            (&[], "web for-name engine .2 m1", &["web m1"]),
            (&["web m1 .192"], "web for-name engine .2 m1", &["web m1 .192"]),
            // The engine gives one address to several containers in turn. MACs that a user chose stay with
            // their containers.
            (&["db m2 .2"], "web for-name engine .2 m1", &["db m2 .2", "web m1"]),
            (&["web m1"], "web stand-in engine .3 m5", &["web m1"]),
            (&["web m1"], "web stand-in engine .3 m5!", &["web m5"]),
            (&[], "web stand-in engine .3 m5", &["web m5"]),
            (&["db m5"], "web stand-in engine .3 m5", &["db m5", "web"]),
        ],
    );
}

#[test]
fn a_lease_is_remembered_as_whom_it_was_asked_for() {
    holds(
        Addressing::Dhcp,
        &[
            (&[], "web for-name lease L.100=aa:m1 m1", &["web m1 l.100 L.100=aa"]),
            (&["web m1 l.100 L.100=aa"], "web for-name lease L.101=aa:m1 m1", &["web m1 l.101 L.101=aa"]),
            (&["web m1 l.100 L.100=aa"], "web for-name lease m1", &["web m1 l.100"]),
            // Without a server the endpoint gets an address of the range, and the lease is requested again.
            (&["web m1 l.100 L.100=aa"], "web for-name range .192 m1", &["web m1 .192 l.100 L.100=aa"]),
            (
                &["old m2 l.100 L.100=bb"],
                "web for-name lease L.100=aa:m1 m1",
                &["old m2", "web m1 l.100 L.100=aa"],
            ),
            // The lease was requested for a container of unknown name.
            (&["web m1 l.100 L.100=aa"], "web stand-in lease L.105=cc:m5 m5", &["web m1 l.100 L.100=aa"]),
            (&["web m1"], "web stand-in lease L.105=cc:m5 m5", &["web m1 l.105 L.105=cc"]),
            (&["web m1 l.100 L.100=aa"], "web stand-in lease L.101=aa:m1 m5", &["web m1 l.101 L.101=aa"]),
            (&["web m1 l.100"], "web stand-in lease m5", &["web m1 l.100"]),
            // The name's lease was given back to the server, and is requested again.
            (&["web m1 l.100"], "web stand-in lease L.105=cc:m5 m5", &["web m1 l.100"]),
            (&["web m1 .100"], "web for-name lease L.100=aa:m1 m1", &["web m1 l.100 L.100=aa"]),
            // Two names with one identifier, as an export that was imported on two hosts may produce.
            (
                &["old l.105 L.105=aa"],
                "web for-name lease L.100=aa:m1 m1",
                &["old l.105", "web m1 l.100 L.100=aa"],
            ),
            (&["old l.105 L.105=bb"], "web for-name range .192 m1", &["old l.105 L.105=bb", "web m1 .192"]),
            (&["old m1 L.105=bb"], "web for-name range .192 m1!", &["old L.105=bb", "web m1 .192"]),
            // The lease was requested for another name, whose address the user has given to this one.
            (
                &["files m1 l.110 L.110=aa"],
                "web stand-in lease L.110=aa:m1! m1",
                &["files m1", "web l.110 L.110=aa"],
            ),
        ],
    );
}

#[test]
fn a_lease_of_dhcp6_is_a_names_own() {
    let mut words = Words::new(Addressing::Range, &["old D::9=aa", "web m1 .192"]);
    let network = Network { ipv6: crate::model::ipv6::Ipv6Mode::Auto, ..words.network().clone() };
    words.apply(vec![Change::PutNetwork(network)]);
    let endpoint = words.endpoint("web for-name range .192 m1 D::9=aa");
    words.apply(words.state.remember(&endpoint, 2));
    assert_eq!(words.identities(), ["web m1 .192 D::9=aa"]);
    // While the endpoint is away, the name keeps the lease. While it is attached, the name loses what the
    // endpoint has lost.
    let without = words.endpoint("web for-name range .192 m1");
    words.apply(words.state.remember(&without, 2));
    assert_eq!(words.identities(), ["web m1 .192 D::9=aa"]);
    words.apply(vec![Change::PutEndpoint(endpoint)]);
    words.apply(words.state.remember(&without, 2));
    assert_eq!(words.identities(), ["web m1 .192"]);
}

#[test]
fn names_of_two_networks_are_two_and_have_no_address_in_common() {
    let mut words = Words::new(Addressing::Range, &["web m1 .192"]);
    let elsewhere: (Scope, EndpointName) = (Scope("dmz".into()), "web".parse().unwrap());
    let identity = words.state.identities.values().next().unwrap().clone();
    let other = Identity { mac: Some("02:00:00:00:00:02".parse().unwrap()), ..identity };
    words.apply(vec![Change::PutIdentity(elsewhere.0.clone(), elsewhere.1.clone(), other)]);
    words.apply(words.state.remember(&words.endpoint("web for-name range .192 m1"), 2));
    let left = &words.state.identities[&elsewhere];
    assert_eq!((left.mac.is_some(), left.addresses.len()), (true, 0));
    assert!(words.state.name_for_chosen(words.network(), ip(".192")).is_some());
    words.state.identities.retain(|(scope, _), _| *scope == elsewhere.0);
    words.state.identities.change_all(|_, one| one.addresses = vec![ip(".192")]);
    assert_eq!(words.state.name_for_chosen(words.network(), ip(".192")), None);
}

#[test]
fn a_chosen_address_names_whom_it_is_for_but_not_one_that_is_there() {
    let words = Words::new(Addressing::Dhcp, &["files m1 .200 ::c0", "web m2 .193 l.110"]);
    let named =
        |words: &Words, text| words.state.name_for_chosen(words.network(), ip(text)).map(ToString::to_string);
    assert_eq!(named(&words, ".200").as_deref(), Some("files"));
    assert_eq!(named(&words, ".110").as_deref(), Some("web"));
    assert_eq!(named(&words, ".111"), None);
    let words = words.with(&["files for-name fixed .201! m1"]);
    assert_eq!(named(&words, ".200"), None);
}

#[test]
fn a_mac_that_a_user_may_have_chosen_is_lent_to_nobody() {
    let words = Words::new(Addressing::Range, &["files m1 .200", "web mown .192"]);
    let of = |name: &str| words.state.seed.mac(&words.scope(), &name.parse().unwrap(), 0);
    let placeholder = words.state.seed.mac(&words.scope(), &EndpointName::of_unnamed(ip(".201")), 3);
    assert!(!words.state.may_lend("02:00:00:00:00:01".parse().unwrap()));
    assert!(
        words.state.may_lend(of("web"))
            && words.state.may_lend(of("db"))
            && words.state.may_lend(placeholder)
    );
    let mut words = Words::new(Addressing::Range, &["first .201 ::c1"]);
    let scope = words.scope();
    let key = (scope, "first".parse().unwrap());
    let first = Identity { mac: Some(placeholder), ..words.state.identities[&key].clone() };
    words.state.identities.insert(key, first);
    assert!(words.state.may_lend(placeholder));
}

#[test]
fn leases_that_are_given_back_leave_a_name_all_else() {
    let words = Words::new(Addressing::Dhcp, &["web m7 .7 l.9 L.9=aa:m7 D::9=bb s2001:db8::7"]);
    let key = (words.scope(), "web".parse().unwrap());
    let before = words.state.identities[&key].clone();
    assert!(before.lease.is_some() && before.lease6.is_some());
    let Some(Change::PutIdentity(scope, name, left)) = words.state.without_lease(&key) else {
        panic!("it is known")
    };
    assert_eq!((scope, name), key);
    assert_eq!(left, Identity { lease: None, lease6: None, ..before });
    assert!(words.state.without_lease(&(words.scope(), "db".parse().unwrap())).is_none());
}
