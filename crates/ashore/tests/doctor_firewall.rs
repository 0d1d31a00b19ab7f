//! What `ashore doctor` says of the host's firewall, held against what passes: rules for frames on a bridge, tables that
//! are asleep, links by their numbers, and rules by which the LAN may reach some of the host.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ashore_lab::{Engines, Machine, cannot_run};
use home::rules::{on_a_bridge, remedy, typed, unclear};
use home::told::Told;
use home::{HOST, Home, does_not_reach, ip, reaches, type_on};

/// The container of each test.
const WEB: &str = "192.168.88.192";

fn with_tools(test: &str, run: impl FnOnce(&Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(engines) => run(&engines),
    }
}

/// Replaces all rules by a table of nftables.
fn table(engines: &Engines, nas: &Machine, name: &str, rules: &str) {
    typed(engines, nas, "nft flush ruleset");
    typed(engines, nas, &format!("nft -f - <<'E'\ntable {name} {{ {rules}; }}\nE"));
}

/// Rules for frames, who does not reach whom by them, and the words with which that is told.
const FRAMES: &[(&str, Cut, &[&str])] = &[
    (
        "chain through { type filter hook forward priority 0; policy drop; }",
        Cut::FromLan,
        &["the chain `through` of the table `bridge own`", "its containers and the LAN send each other"],
    ),
    (
        "chain through { type filter hook forward priority 0; policy drop; meta protocol { ip, arp } accept; }",
        Cut::Nobody,
        &[],
    ),
    (
        "chain through { type filter hook forward priority 0; policy drop; ether type ip accept; arp operation { request, reply } accept; }",
        Cut::Nobody,
        &[],
    ),
    // One may ask, and nobody gets an answer.
    (
        "chain through { type filter hook forward priority 0; policy drop; ether type ip accept; arp operation request accept; }",
        Cut::FromLan,
        &["the chain `through`"],
    ),
    // Packets pass, and nobody knows where to send them.
    (
        "chain through { type filter hook forward priority 0; policy drop; ether type ip accept; }",
        Cut::FromLan,
        &["the chain `through`"],
    ),
    (
        "chain before { type filter hook prerouting priority 0; policy accept; iifname \"eth0\" ether type ip drop; }",
        Cut::FromLan,
        &["the chain `before`"],
    ),
    (
        "chain after { type filter hook postrouting priority 0; policy accept; oifname \"eth0\" ip saddr 192.168.0.0/16 drop; }",
        Cut::FromLan,
        &["the chain `after`"],
    ),
    (
        "chain through { type filter hook forward priority 0; policy accept; oifname \"asp*\" ip saddr 10.0.0.0/8 drop; }",
        Cut::Nobody,
        &[],
    ),
    (
        "chain through { type filter hook forward priority 0; policy accept; iifname \"docker0\" drop; ip saddr 10.0.0.0/8 drop; }",
        Cut::Nobody,
        &[],
    ),
    (
        "chain own { type filter hook input priority 0; policy accept; iifname != \"eth0\" drop; }",
        Cut::FromHost,
        &["its containers send to this host"],
    ),
    (
        "chain own { type filter hook output priority 0; policy accept; oifname != \"eth0\" drop; }",
        Cut::FromHost,
        &["this host sends to its containers"],
    ),
    // A host that gets nothing from the LAN either is meant to.
    ("chain own { type filter hook input priority 0; policy drop; }", Cut::AsMeant, &[]),
];

/// From whom a container is cut off.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Nobody,
    FromLan,
    FromHost,
    /// From the host, as the whole LAN is.
    AsMeant,
}

#[test]
fn rules_for_the_frames_of_a_bridge_are_followed_too() {
    with_tools("doctor, frames", |engines| {
        let Some((home, web)) = on_a_bridge() else { return };
        // Not even packets of routed networks are looked at.
        home.nas
            .inside(|| std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0"))
            .unwrap()
            .unwrap();
        let forget = || {
            for machine in [&home.laptop, &home.nas, &web] {
                type_on(machine, "ip neigh flush all");
            }
        };
        for (rules, cut, words) in FRAMES {
            table(engines, &home.nas, "bridge own", rules);
            forget();
            let told = Told::of(&home, "");
            assert_eq!(unclear(&told), [""; 0], "{rules}");
            match cut {
                Cut::Nobody => reaches(&home.laptop, ip(WEB)),
                Cut::FromLan => does_not_reach(&home.laptop, ip(WEB)),
                Cut::FromHost | Cut::AsMeant => does_not_reach(&web, ip(HOST)),
            }
            if matches!(cut, Cut::Nobody | Cut::AsMeant) {
                told.is_well();
                continue;
            }
            told.is_only("firewall-drops", 10, words);
            typed(engines, &home.nas, &remedy(&told, "firewall-drops"));
            forget();
            reaches(&home.laptop, ip(WEB));
            reaches(&web, ip(HOST));
            Told::of(&home, "").is_well();
        }
        table(
            engines,
            &home.nas,
            "bridge own",
            "chain through { type filter hook forward priority 0; policy accept; tcp dport 25 drop; }",
        );
        let told = Told::of(&home, "");
        assert_eq!(told.codes(), [""; 0]);
        assert!(unclear(&told)[0].contains("pass the bridge `br0`"), "{:?}", unclear(&told));
        // Which protocols there are is not known, and no reason for an alarm.
        let rules = "chain through { type filter hook forward priority 0; policy accept; ip protocol != { icmp, tcp } drop; }";
        table(engines, &home.nas, "bridge own", rules);
        reaches(&home.laptop, ip(WEB));
        assert_eq!(Told::of(&home, "").codes(), [""; 0]);
    });
}

#[test]
fn tables_that_are_asleep_and_links_by_their_numbers() {
    with_tools("doctor, dormant tables", |engines| {
        let Some((home, web)) = on_a_bridge() else { return };
        let drops = "type filter hook forward priority 0; policy drop";
        for (name, rules) in [
            ("inet own", format!("flags dormant; chain through {{ {drops}; }}")),
            ("bridge own", format!("flags dormant; chain through {{ {drops}; }}")),
            ("inet own", format!("chain through {{ {drops}; iif \"br0\" oif \"br0\" accept; }}")),
            (
                "inet own",
                "chain through { type filter hook forward priority 0; policy accept; iif \"lo\" drop; }"
                    .to_owned(),
            ),
        ] {
            table(engines, &home.nas, name, &rules);
            reaches(&home.laptop, ip(WEB));
            reaches(&web, ip(HOST));
            let told = Told::of(&home, "");
            told.is_well();
            assert_eq!(unclear(&told), [""; 0], "{rules}");
        }
        let wakes = "flags dormant; chain through { type filter hook forward priority 0; policy drop; }";
        table(engines, &home.nas, "inet own", wakes);
        typed(engines, &home.nas, "nft 'add table inet own { }'");
        does_not_reach(&home.laptop, ip(WEB));
        Told::of(&home, "").is_only("firewall-drops", 10, &["the table `inet own`"]);
    });
}

/// Firewalls by which the LAN reaches one port of the host, and nothing else.
const ONE_PORT: &[&str] = &[
    "nft -f - <<'E'\ntable inet own { chain input { type filter hook input priority 0; policy drop; ct state established accept; \
     iif lo accept; iifname \"eth0\" tcp dport 8080 counter accept comment \"the page\"; }; }\nE",
    "nft -f - <<'E'\ntable inet own { chain input { type filter hook input priority 0; policy drop; ct state established accept; \
     iif lo accept; iif \"eth0\" tcp dport 8080 accept; }; }\nE",
    "nft -f - <<'E'\ntable inet own { chain lan { tcp dport 8080 accept; drop; }; chain input { type filter hook input priority 0; \
     policy drop; ct state established accept; iif lo accept; iifname \"eth0\" goto lan; }; }\nE",
    "nft -f - <<'E'\ntable inet own { chain rest { iifname { \"eth0\", \"wg0\" } tcp dport 8080 accept; }; chain input { type filter \
     hook input priority 0; policy drop; ct state established accept; iif lo accept; jump rest; }; }\nE",
    "nft -f - <<'E'\ntable inet own { set home { type ifname; elements = { \"eth0\", \"wg0\" }; }; chain input { type filter hook \
     input priority 0; policy drop; ct state established accept; iif lo accept; iifname @home tcp dport 8080 accept; }; }\nE",
    "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; \
     iptables-nft -A INPUT -i eth0 -s 10.0.0.0/8 -j DROP; \
     iptables-nft -A INPUT -i eth0 -p tcp --dport 8080 -m comment --comment 'the page' -j ACCEPT",
    "iptables-nft -P INPUT DROP; iptables-nft -N HOME; iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; \
     iptables-nft -A HOME -i eth0 -p tcp --dport 8080 -j ACCEPT; iptables-nft -A INPUT -j HOME",
    "iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; \
     iptables-legacy -A INPUT -i eth0 -p tcp --dport 8080 -j ACCEPT",
];

/// Such firewalls, with a rule about all but the parent.
const ALL_BUT: &[&str] = &[
    "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; \
     iptables-nft -A INPUT ! -i eth0 -j DROP; iptables-nft -A INPUT -i eth0 -p tcp --dport 8080 -j ACCEPT",
    "nft -f - <<'E'\ntable inet own { chain input { type filter hook input priority 0; policy drop; ct state established accept; \
     iif lo accept; iifname != \"eth0\" drop; iifname \"eth0\" tcp dport 8080 accept; }; }\nE",
];

#[test]
fn the_shim_is_let_do_what_the_parent_may_and_no_more() {
    with_tools("doctor, copied rules", |engines| {
        let home = Home::new();
        home.create_lan();
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, &format!("--ip {WEB}"));
        let ports = [8080, 8081];
        let listeners = ports.map(|port| {
            home.nas.inside(|| TcpListener::bind(("0.0.0.0", port))).unwrap().expect("a port of its own")
        });
        let open = |from: &Machine| {
            let is_open = |port| {
                let at = SocketAddr::new(ip(HOST), port);
                from.inside(|| TcpStream::connect_timeout(&at, Duration::from_secs(2))).unwrap().is_ok()
            };
            ports.map(is_open)
        };
        assert_eq!(open(&web), [true, true]);
        let mut by_command = 0;
        for rules in ONE_PORT.iter().chain(ALL_BUT) {
            typed(
                engines,
                &home.nas,
                "nft flush ruleset; iptables-legacy -P INPUT ACCEPT; iptables-legacy -F INPUT",
            );
            typed(engines, &home.nas, rules);
            assert_eq!((open(&home.laptop), open(&web)), ([true, false], [false, false]), "{rules}");
            let told = Told::of(&home, "");
            told.is_only("host-firewall", 10, &["shim-eth0", "they do not reach this host"]);
            let remedy = remedy(&told, "host-firewall");
            let Some(command) = remedy.strip_prefix("put the shim where the parent is: ") else {
                assert!(remedy.contains("let the rules about `eth0` be about `shim-eth0` too"), "{remedy}");
                continue;
            };
            assert!(rules.contains("set home"), "{rules}: {command}");
            typed(engines, &home.nas, command);
            assert_eq!(
                (open(&home.laptop), open(&web)),
                ([true, false], [true, false]),
                "{rules}: {command}"
            );
            Told::of(&home, "").is_well();
            by_command += 1;
        }
        assert_eq!(by_command, 1);
        drop(listeners);
    });
}
