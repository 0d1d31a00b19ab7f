//! `ashore doctor` and the host's own settings: each trouble is made on a real host, and found with what helps.

use std::os::unix::fs::PermissionsExt;

use ashore_lab::{Engines, Ran, cannot_run};
use home::rules::{command_in, on_a_bridge, typed};
use home::told::Told;
use home::{Home, does_not_reach, eventually, ip, reaches};
use serde_json::Value;

fn with_tools(test: &str, run: impl FnOnce(&Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(engines) => run(&engines),
    }
}

/// What a firewall has, whether it cuts the container off, and the words with which that is told.
const BRIDGED: [(&str, bool, &[&str]); 12] = [
    // Docker's rules: they drop by policy, and accept what is of its own bridge.
    (
        "nft -f - <<E\ntable ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; \
         jump DOCKER-USER; jump DOCKER-FORWARD; }\n chain DOCKER-USER { return; }\n chain DOCKER-FORWARD { \
         oifname \"docker0\" ct state related,established accept; iifname \"docker0\" accept; }; }\nE",
        true,
        &["the chain `FORWARD` of the table `ip filter`", "iptables-nft -I FORWARD -m physdev"],
    ),
    (
        "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT",
        false,
        &[],
    ),
    ("iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -i br0 -o br0 -j ACCEPT", false, &[]),
    (
        "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -s 192.168.88.0/24 -d 192.168.88.0/24 -m comment --comment lan -j ACCEPT",
        false,
        &[],
    ),
    (
        "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; \
         iptables-nft -A FORWARD -p tcp --dport 80 -j ACCEPT",
        true,
        &["but for some that a rule accepts"],
    ),
    // A policy of accept, and a rule at the end that rejects: firewalld, and the images of some clouds.
    (
        "nft -f - <<E\ntable inet own { chain through { type filter hook forward priority 10; policy accept; \
         ct state { established, related } accept; iifname \"lo\" accept; reject; }; }\nE",
        true,
        &[
            "the chain `through` of the table `inet own`",
            "nft insert rule inet own through iifname br0 oifname br0 accept",
        ],
    ),
    (
        "iptables-nft -A FORWARD -i docker0 -j REJECT; iptables-nft -A FORWARD -m conntrack --ctstate INVALID -j DROP",
        false,
        &[],
    ),
    (
        "nft -f - <<E\ntable inet own { chain through { type filter hook forward priority 0; policy drop; meta nfproto ipv4 ip saddr 192.168.0.0/16 accept; }; }\nE",
        false,
        &[],
    ),
    // That of a name that iptables does not give its chains.
    (
        "nft add table ip filter; nft 'add chain ip filter forward { type filter hook forward priority 0; policy drop; }'",
        true,
        &[
            "the chain `forward` of the table `ip filter`",
            "nft insert rule ip filter forward iifname br0 oifname br0 accept",
        ],
    ),
    // What a bit is asked for is some packets, such as those to a published port.
    (
        "nft -f - <<E\ntable inet own { chain through { type filter hook forward priority 0; policy drop; ct status dnat accept; }; }\nE",
        true,
        &["but for some that a rule accepts"],
    ),
    (
        "nft -f - <<E\ntable inet own { chain through { type filter hook forward priority 0; policy drop; ct mark and 1 != 0 accept; }; }\nE",
        true,
        &["but for some that a rule accepts"],
    ),
    (
        "nft -f - <<E\ntable ip6 own { chain through { type filter hook forward priority 0; policy drop; }; }\nE",
        false,
        &[],
    ),
];

/// What may drop some packets or all: neither is claimed.
const UNCLEAR: [&str; 5] = [
    "set lan { type ipv4_addr; flags interval; elements = { 192.168.88.0/25 }; }; \
     chain through { type filter hook forward priority 0; policy drop; ip saddr @lan accept; }",
    "chain through { type filter hook forward priority 0; policy accept; tcp dport 25 drop; }",
    "chain through { type filter hook forward priority 0; policy accept; ct mark and 1 != 0 drop; }",
    "chain through { type filter hook forward priority 0; policy drop; ct mark and 1 == 0 accept; }",
    "chain through { type filter hook forward priority 0; policy accept; jump some; }; chain some { fib saddr type unicast drop; }",
];

/// The rules that firewalld makes for a zone with the host's NIC and one that is the default, where `input` and `forward`
/// are what the zone with the NIC accepts.
fn firewalld(nic: &str, input: &str, forward: &str) -> String {
    let zones = |kind: &str, end: &str| {
        let chains = ["lan", "public"].map(|zone| {
            let accepted = match (zone, kind) {
                ("lan", "IN") => input,
                ("lan", _) => forward,
                _ => "",
            };
            let jumps = ["pre", "log", "deny", "allow", "post"]
                .map(|step| format!("jump filter_{kind}_{zone}_{step}"))
                .join("; ");
            let steps = ["pre", "log", "deny", "post"]
                .map(|step| format!("chain filter_{kind}_{zone}_{step} {{ }}\n"));
            let steps = steps.concat();
            format!(
                "{steps}chain filter_{kind}_{zone}_allow {{ {accepted}; }}\n\
                 chain filter_{kind}_{zone} {{ {jumps}; {end}reject with icmpx admin-prohibited; }}\n"
            )
        });
        chains.concat()
    };
    let no_v4_in_v6 = "ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002:0000::/24, 2002:0a00::/24 } reject with icmpv6 addr-unreachable;";
    format!(
        "nft -f - <<E\ntable inet firewalld {{\n\
         {}{}\
         chain filter_INPUT_ZONES {{ iifname \"{nic}\" goto filter_IN_lan; goto filter_IN_public; }}\n\
         chain filter_FORWARD_ZONES {{ iifname \"{nic}\" goto filter_FWD_lan; goto filter_FWD_public; }}\n\
         chain filter_INPUT {{ type filter hook input priority filter + 10; policy accept;\n\
         ct state {{ established, related }} accept; ct status dnat accept; iifname \"lo\" accept; ct state invalid drop;\n\
         jump filter_INPUT_ZONES; reject with icmpx admin-prohibited; }}\n\
         chain filter_FORWARD {{ type filter hook forward priority filter + 10; policy accept;\n\
         ct state {{ established, related }} accept; ct status dnat accept; iifname \"lo\" accept; ct state invalid drop;\n\
         {no_v4_in_v6} jump filter_FORWARD_ZONES; reject with icmpx admin-prohibited; }}\n\
         chain filter_OUTPUT {{ type filter hook output priority filter + 10; policy accept;\n\
         ct state {{ established, related }} accept; oifname \"lo\" accept; {no_v4_in_v6} }}\n}}\nE",
        zones("IN", "meta l4proto { icmp, ipv6-icmp } accept; "),
        zones("FWD", ""),
    )
}

/// Types a remedy that firewalld's program is to carry out, which does what nft has to do then.
#[track_caller]
fn typed_to_firewalld(engines: &Engines, home: &Home, remedy: &str, option: &str, nft: &str) {
    let programs = home.directory.path().join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in\n--get-zone-of-interface=*) echo 'no zone' >&2; exit 2 ;;\n--get-default-zone) echo lan ;;\n\
         '--zone=lan {option}') {nft} ;;\n*) exit 9 ;;\nesac\n"
    );
    let program = programs.join("firewall-cmd");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(remedy.contains("--permanent"), "{remedy}");
    let line = command_in(remedy, "firewall-cmd");
    typed(engines, &home.nas, &format!("PATH={}:$PATH; {line}", programs.display()));
}

#[test]
fn rules_of_firewalld_are_understood_and_its_program_cures_them() {
    with_tools("doctor, firewalld", |engines| {
        let Some((home, _web)) = on_a_bridge() else { return };
        let (nas, at) = (&home.nas, ip("192.168.88.192"));
        typed(engines, nas, &firewalld("br0", "tcp dport 22 accept", "oifname \"br0\" accept"));
        reaches(&home.laptop, at);
        let told = Told::of(&home, "");
        told.is_well();
        assert_eq!(told.unknown(), [""; 0]);
        typed(engines, nas, "nft flush ruleset");
        typed(engines, nas, &firewalld("br0", "tcp dport 22 accept", ""));
        does_not_reach(&home.laptop, at);
        let told = Told::of(&home, "");
        told.is_only("firewall-drops", 10, &["the chain `filter_FORWARD` of the table `inet firewalld`"]);
        let nft = "nft insert rule inet firewalld filter_FWD_lan_allow oifname br0 accept";
        typed_to_firewalld(engines, &home, &told.trouble("firewall-drops"), "--add-forward", nft);
        reaches(&home.laptop, at);
        Told::of(&home, "").is_well();
    });
}

#[test]
fn a_setting_of_one_family_that_cannot_be_read_says_nothing_of_the_other() {
    with_tools("doctor, unread setting", |engines| {
        let Some((mut home, _web)) = on_a_bridge() else { return };
        home.daemon = None;
        // What is in the file is no text.
        let spoilt = "printf '\\377' >\"$0\" && mount --bind \"$0\" /proc/sys/net/bridge/bridge-nf-call-ip6tables && exec \"$@\"";
        let file = home.directory.path().join("no-text");
        home.start_by(&["unshare", "--mount", "sh", "-c", spoilt, file.to_str().unwrap()]);
        home.ok("network create six --parent br0 --kind bridge --subnet 192.168.88.0/24 --ip-range 192.168.88.208/28 --gateway 192.168.88.1 --ipv6 auto");
        let of_firewall = |told: &Told| -> Vec<String> {
            told.unknown().into_iter().filter(|why| why.contains("firewall")).map(str::to_owned).collect()
        };
        let told = Told::of(&home, "");
        assert_eq!(told.codes(), [""; 0], "{}", told.ran.stdout);
        let unknown = of_firewall(&told);
        assert!(unknown.len() == 1 && unknown[0].contains("IPv6 packets"), "{unknown:?}");
        typed(engines, &home.nas, BRIDGED[0].0);
        let told = Told::of(&home, "");
        assert_eq!(
            told.codes(),
            ["firewall-drops", "firewall-drops"],
            "IPv4 of both networks: {}",
            told.ran.stdout
        );
        assert_eq!(of_firewall(&told), unknown);
    });
}

#[test]
fn rules_that_cut_a_bridge_are_found_and_those_that_cure_it_count() {
    with_tools("doctor, bridge firewall", |engines| {
        let Some((home, web)) = on_a_bridge() else { return };
        Told::of(&home, "").is_well();
        for (rules, cuts, words) in BRIDGED {
            typed(engines, &home.nas, "nft flush ruleset");
            typed(engines, &home.nas, rules);
            let told = Told::of(&home, "");
            assert_eq!(told.unknown(), [""; 0], "{rules}");
            if !cuts {
                reaches(&home.laptop, ip("192.168.88.192"));
                told.is_well();
                continue;
            }
            does_not_reach(&home.laptop, ip("192.168.88.192"));
            told.is_only("firewall-drops", 10, words);
            // The remedies cure it, each for itself.
            let remedy = told.trouble("firewall-drops");
            let program = if remedy.contains(", or nft ") { "nft insert" } else { "iptables-nft -I" };
            typed(engines, &home.nas, &command_in(&remedy, program));
            reaches(&home.laptop, ip("192.168.88.192"));
            reaches(&web, ip("192.168.88.1"));
            Told::of(&home, "").is_well();
        }
        // What is not understood is not called either.
        for rules in UNCLEAR {
            typed(engines, &home.nas, "nft flush ruleset");
            typed(engines, &home.nas, &format!("nft -f - <<E\ntable inet own {{ {rules}; }}\nE"));
            let told = Told::of(&home, "");
            assert_eq!(told.codes(), [""; 0], "{rules}");
            assert!(told.unknown()[0].contains("could not be found out"), "{rules}: {:?}", told.unknown());
            assert!(!told.ran.stdout.contains("firewall lets packets pass"), "{rules}");
        }
    });
}

#[test]
fn rules_of_legacy_iptables_that_cure_it_count_too() {
    with_tools("doctor, legacy firewall", |engines| {
        let Some((home, _web)) = on_a_bridge() else { return };
        let typed = |line: &str| typed(engines, &home.nas, line);
        typed("iptables-legacy -P FORWARD DROP");
        does_not_reach(&home.laptop, ip("192.168.88.192"));
        let told = Told::of(&home, "");
        told.is_only("firewall-drops", 10, &["the chain `FORWARD` of the table `filter`"]);
        let remedy = command_in(&told.trouble("firewall-drops"), "iptables-legacy -I");
        typed(&remedy);
        reaches(&home.laptop, ip("192.168.88.192"));
        Told::of(&home, "").is_well();
        typed(&remedy.replace("-I", "-D"));
        for cure in [
            "-m physdev --physdev-is-bridged -j ACCEPT",
            "-i br+ -j ACCEPT",
            "-s 192.168.88.0/24 -j ACCEPT",
            "-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
        ] {
            typed(&format!("iptables-legacy -A FORWARD {cure}"));
            reaches(&home.laptop, ip("192.168.88.192"));
            Told::of(&home, "").is_well();
            typed(&format!("iptables-legacy -D FORWARD {cure}"));
        }
        for none in ["-i docker0 -j ACCEPT", "-p udp -j ACCEPT", "-s 10.0.0.0/8 -j ACCEPT", "-i br0 -j LOG"] {
            typed(&format!("iptables-legacy -A FORWARD {none}"));
            does_not_reach(&home.laptop, ip("192.168.88.192"));
            assert_eq!(Told::of(&home, "").codes(), ["firewall-drops"], "{none}");
            typed(&format!("iptables-legacy -D FORWARD {none}"));
        }
    });
}

#[test]
fn a_firewall_that_lets_the_lan_in_and_not_the_shim_is_found() {
    with_tools("doctor, shim firewall", |engines| {
        let home = Home::new();
        home.create_lan();
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "--ip 192.168.88.192");
        let at = ip("192.168.88.192");
        let of_firewall = |told: &Told| -> Vec<String> {
            told.unknown().into_iter().filter(|why| why.contains("firewall")).map(str::to_owned).collect()
        };
        let table = |rules: &str| {
            typed(engines, &home.nas, "nft flush ruleset");
            typed(engines, &home.nas, &format!("nft -f - <<E\ntable inet own {{ {rules}; }}\nE"));
        };
        // These treat all links alike, or let nobody in: that is meant.
        for healthy in [
            "chain input { type filter hook input priority 0; policy drop; ct state established,related accept; \
             iif lo accept; icmp type echo-request accept; tcp dport 22 accept; }",
            "chain input { type filter hook input priority 0; policy drop; iifname { \"eth0\", \"shim-eth0\" } accept; }",
            "chain input { type filter hook input priority 0; policy drop; ip saddr 192.168.88.0/24 accept; }",
            "chain input { type filter hook input priority 0; policy drop; ct state established accept; }",
            "chain output { type filter hook output priority 0; policy accept; oifname \"eth0\" counter; }",
            "chain input { type filter hook input priority 0; policy accept; tcp dport 23 drop; ct mark and 1 != 0 drop; }",
            "chain input { type filter hook input priority 0; policy drop; ct state established accept; ct status dnat accept; \
             iif lo accept; }",
        ] {
            table(healthy);
            let told = Told::of(&home, "");
            told.is_well();
            assert_eq!(of_firewall(&told), [""; 0], "{healthy}");
        }
        // What may spare the shim, or cut it alone, is not claimed to do so or not to.
        for unclear in [
            "set lan { type ipv4_addr; flags interval; elements = { 192.168.88.128/25 }; }; \
             chain input { type filter hook input priority 0; policy drop; ct state established accept; iif lo accept; \
             iifname \"eth0\" accept; ip saddr @lan accept; }",
            "chain input { type filter hook input priority 0; policy accept; iifname \"eth0\" accept; ct mark and 1 == 0 drop; }",
            "set lan { type ipv4_addr; flags interval; elements = { 192.168.88.128/25 }; }; \
             chain input { type filter hook input priority 0; policy drop; iifname \"shim-eth0\" drop; ip saddr @lan accept; }",
        ] {
            table(unclear);
            let told = Told::of(&home, "");
            assert_eq!(told.codes(), [""; 0], "{unclear}");
            let unknown = of_firewall(&told);
            assert!(
                unknown.len() == 1 && unknown[0].contains("reach each other could not be found out"),
                "{unknown:?}"
            );
        }
        table(
            "chain input { type filter hook input priority 0; policy drop; ct state established accept; iif lo accept; iifname \"eth0\" accept; }",
        );
        reaches(&home.nas, at);
        does_not_reach(&web, ip("192.168.88.9"));
        let words = [
            "shim-eth0",
            "they do not reach this host",
            "nft insert rule inet own input iifname shim-eth0 accept",
        ];
        let told = Told::of(&home, "");
        told.is_only("host-firewall", 10, &words);
        assert!(home.codes().contains(&"host-firewall".to_owned()), "status shows it too");
        typed(engines, &home.nas, &command_in(&told.trouble("host-firewall"), "nft insert"));
        reaches(&web, ip("192.168.88.9"));
        Told::of(&home, "").is_well();

        table(
            "chain input { type filter hook input priority 0; policy drop; iif lo accept; iifname \"eth0\" accept; }",
        );
        does_not_reach(&home.nas, at);
        Told::of(&home, "").is_only("host-firewall", 10, &["this host does not get their answers"]);
        table(
            "chain output { type filter hook output priority 0; policy drop; oif lo accept; oifname \"eth0\" accept; }",
        );
        does_not_reach(&home.nas, at);
        Told::of(&home, "").is_only(
            "host-firewall",
            10,
            &["this host does not reach them", "oifname shim-eth0 accept"],
        );
    });
}

#[test]
fn the_rules_of_each_program_are_cured_by_what_that_program_is_told() {
    with_tools("doctor, shim firewall's cures", |engines| {
        let home = Home::new();
        home.create_lan();
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "--ip 192.168.88.192");
        let cures = |rules: &str, cure: &dyn Fn(&str)| {
            typed(engines, &home.nas, "nft flush ruleset");
            typed(engines, &home.nas, rules);
            does_not_reach(&web, ip("192.168.88.9"));
            let told = Told::of(&home, "");
            told.is_only("host-firewall", 10, &["they do not reach this host"]);
            cure(&told.trouble("host-firewall"));
            reaches(&web, ip("192.168.88.9"));
            Told::of(&home, "").is_well();
        };
        let nas = &home.nas;
        let as_printed =
            |program: &'static str| move |remedy: &str| typed(engines, nas, &command_in(remedy, program));
        let firewalld = firewalld("eth0", "accept", "");
        // Its zones answer pings.
        let firewalld = firewalld.replace("meta l4proto { icmp, ipv6-icmp } accept; ", "");
        cures(&firewalld, &|remedy| {
            let nft =
                "nft insert rule inet firewalld filter_INPUT_ZONES iifname shim-eth0 goto filter_IN_lan";
            typed_to_firewalld(engines, &home, remedy, "--add-interface=shim-eth0", nft);
        });
        cures(
            "nft add table ip filter; nft 'add chain ip filter input { type filter hook input priority 0; policy drop; }'; \
             nft 'add rule ip filter input ct state established accept'; nft add rule ip filter input iifname eth0 accept",
            &as_printed("nft insert"),
        );
        let by_iptables = |program: &str| {
            [
                "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
                "-A INPUT -i eth0 -j ACCEPT",
                "-P INPUT DROP",
            ]
            .map(|rule| format!("{program} {rule}"))
            .join("; ")
        };
        cures(&by_iptables("iptables-nft"), &as_printed("iptables-nft -I"));
        cures(&by_iptables("iptables-legacy"), &as_printed("iptables-legacy -I"));
    });
}

#[test]
fn a_link_that_networkd_manages_is_named_with_its_file() {
    let mut home = Home::new();
    home.daemon = None;
    // A /run of the daemon's own, because networkd of this machine has one too.
    let own_run = "mount -t tmpfs none /run && mkdir -p /run/systemd/netif/links && exec \"$0\" \"$@\"";
    home.start_by(&["unshare", "--mount", "sh", "-c", own_run]);
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let host = home.nas.kernel().observe(&[]).unwrap().host;
    let shim = host.link(&"shim-eth0".parse().unwrap()).unwrap().index;
    let pid = home.status()["pid"].as_u64().unwrap();
    let file = format!("/proc/{pid}/root/run/systemd/netif/links/{shim}");
    let state = |admin: &str| {
        let file_in_force = "NETWORK_FILE=/etc/systemd/network/all.network\n";
        std::fs::write(&file, format!("ADMIN_STATE={admin}\nOPER_STATE=routable\n{file_in_force}")).unwrap();
    };
    state("unmanaged");
    Told::of(&home, "").is_well();
    state("configured");
    let words = ["shim-eth0", "/etc/systemd/network/all.network", "Unmanaged=yes", "networkctl reload"];
    Told::of(&home, "").is_only("managed-elsewhere", 10, &words);
    std::fs::remove_file(&file).unwrap();
    Told::of(&home, "").is_well();
}

#[test]
fn a_kind_that_the_kernel_does_not_have_is_named() {
    let home = Home::new();
    home.create_lan();
    let told = Told::of(&home, "");
    assert!(told.ran.stdout.contains("the kernel has macvlan"), "{}", told.ran.stdout);
    // The kernel of before had it: the state comes from there.
    let mut state: Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let text = state["rows"].to_string().replace(r#"{"macvlan":"bridge"}"#, r#"{"ipvlan":"l2"}"#);
    state["rows"] = serde_json::from_str(&text).unwrap();
    let file = home.directory.path().join("state.json");
    std::fs::write(&file, state.to_string()).unwrap();
    let mut import = home.daemon().client();
    import.args(["state", "import"]).stdin(std::fs::File::open(file).unwrap());
    Ran::of(&mut import).unwrap().expect_success();
    let told = Told::of(&home, "");
    if told.ran.stdout.contains("the kernel has ipvlan") {
        return cannot_run("doctor, kinds", "this kernel has ipvlan");
    }
    told.is_only("kind-missing", 11, &["`lan`", "ipvlan", "start it again", "ashore network rm lan"]);
}

#[test]
fn a_socket_of_the_plugin_that_is_gone_is_told() {
    use home::fake_engine::{FakeEngine, plugin_socket};
    use serde_json::json;

    let engine = FakeEngine::new();
    let pool = json!({ "Pool": "192.168.88.0/24", "SubPool": "192.168.88.192/27" });
    engine.create_network(&"ab".repeat(32), &pool);
    let told = Told::of(&engine.home, "");
    assert!(told.ran.stdout.contains("the socket for Docker's calls answers"), "{}", told.ran.stdout);
    assert!(!told.codes().contains(&"plugin-socket-gone"), "{}", told.ran.stdout);
    std::fs::remove_file(plugin_socket(&engine.home)).unwrap();
    let told = Told::of(&engine.home, "");
    let trouble = told.trouble("plugin-socket-gone");
    assert!(trouble.contains("systemctl restart ashore.socket ashore"), "{trouble}");
    assert_eq!(told.ran.code, Some(11));
}

#[test]
fn without_a_cable_and_without_advertisements_nothing_is_claimed() {
    with_tools("doctor, unasked", |_| {
        let home = Home::new();
        home.ok("network create six --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.208/28 --gateway 192.168.88.1 --ipv6 auto");
        let told = Told::of(&home, "six");
        told.is_well();
        assert!(
            told.unknown().iter().any(|why| why.contains("no router on the LAN of `eth0`")),
            "{:?}",
            told.unknown()
        );
        home.ok("network rm six");
        home.world.set_cable(&home.nas, false).unwrap();
        eventually("the daemon sees it", || {
            let made = home.run("network create lan --parent eth0");
            if made.code == Some(0) {
                home.ok("network rm lan");
            }
            made.stderr.contains("nobody was asked whether its addresses are free")
        });
    });
}

#[test]
fn each_leased_network_of_a_parent_has_its_line() {
    let home = Home::new();
    for name in ["one", "two"] {
        home.ok(&format!("network create {name} --parent eth0 --dhcp"));
    }
    let told = Told::of(&home, "");
    assert_eq!(told.codes(), ["no-dhcp-server", "no-dhcp-server"], "{}", told.ran.stdout);
}

#[test]
fn what_is_wrong_has_a_code_that_is_explained() {
    let home = Home::new();
    home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.2");
    let shown = home.run("doctor").stdout;
    assert!(shown.contains("\n  more: ashore explain router-silent\n"), "{shown}");
    // Both commands that create it again are there.
    for command in ["first ashore network rm lan", "then ashore network create lan …"] {
        assert!(shown.contains(command), "{shown}");
    }
    home.ok("explain router-silent");
}
