use std::net::Ipv4Addr;

use ashore_core::model::survey::{PoolReport, PoolSeen};
use ashore_core::net::range::Range;
use ipnet::IpNet;

use super::*;
use crate::plan::span;

fn range(text: &str) -> Range {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn of(subnets: &[&str], ranges: &[&str], requested: RouterRequest) -> Result<RouterPlan, RouterError> {
    let ranges: Vec<Range> = ranges.iter().map(|text| range(text)).collect();
    RouterPlan::of_subnets(&nets(subnets), &ranges, requested)
}

fn in_vlan(id: u16) -> RouterRequest {
    RouterRequest { vlan: Some(id.to_string().parse().unwrap()), ..RouterRequest::default() }
}

fn vlan_200() -> RouterPlan {
    of(&["10.0.200.0/24", "fd88:200::/64"], &["10.0.200.192/27", "fd88:200::c0/122"], in_vlan(200)).unwrap()
}

fn told(pools: &[&str]) -> RouterRequest {
    RouterRequest { pools: pools.iter().map(|text| range(text)).collect(), ..RouterRequest::default() }
}

fn lan(requested: RouterRequest) -> Result<RouterPlan, RouterError> {
    of(&["192.168.88.0/24"], &["192.168.88.192/27"], requested)
}

fn host(interface: &str, net: &str, steady: bool) -> HostAddress {
    HostAddress { interface: interface.parse().unwrap(), net: net.parse().unwrap(), steady, outward: true }
}

fn pools(plan: &RouterPlan) -> Vec<String> {
    plan.subnets.iter().flat_map(|subnet| subnet.pools.iter().map(span)).collect()
}

/// The lines that run if a user pastes the whole output.
fn pasted(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

#[test]
fn a_pool_is_what_is_there_without_the_range_and_never_more() {
    for (there, left) in [
        (
            &["192.168.88.100-192.168.88.249"][..],
            &["192.168.88.100-192.168.88.191", "192.168.88.224-192.168.88.249"][..],
        ),
        (&["192.168.88.10-192.168.88.200"], &["192.168.88.10-192.168.88.191"]),
        (&["192.168.88.200-192.168.88.254"], &["192.168.88.224-192.168.88.254"]),
        (&["192.168.88.20-192.168.88.99"], &["192.168.88.20-192.168.88.99"]),
        // Many pools include the router's own address, and some the ends of the subnet.
        (&["192.168.88.0-192.168.88.255"], &["192.168.88.2-192.168.88.191", "192.168.88.224-192.168.88.254"]),
        (
            &["192.168.88.10-192.168.88.19", "192.168.88.180-192.168.88.199"],
            &["192.168.88.10-192.168.88.19", "192.168.88.180-192.168.88.191"],
        ),
    ] {
        assert_eq!(pools(&lan(told(there)).unwrap()), left, "{there:?}");
    }
    let inside = lan(told(&["192.168.88.200-192.168.88.210"]));
    assert!(matches!(inside, Err(RouterError::PoolInside { .. })), "{inside:?}");
}

#[test]
fn without_a_word_of_the_lans_pool_none_is_made_up() {
    let plan = lan(RouterRequest::default()).unwrap();
    assert_eq!((pools(&plan), &plan.subnets[0].present), (Vec::new(), &Present::Unknown));
    for system in System::ALL {
        let text = plan.render(system);
        for made_up in ["192.168.88.2-", "192.168.88.2 ", "192.168.88.2,", "192.168.88.254", "start='2'"] {
            assert!(!text.contains(made_up), "{}: {made_up}\n{text}", system.name());
        }
    }
}

#[test]
fn addresses_that_this_machine_has_for_ever_are_in_no_pool_and_leases_stay_in_theirs() {
    let requested = RouterRequest {
        host: vec![host("eth0", "192.168.88.110/24", true), host("eth0", "192.168.88.120/24", false)],
        ..told(&["192.168.88.100-192.168.88.150"])
    };
    assert_eq!(
        pools(&lan(requested).unwrap()),
        ["192.168.88.100-192.168.88.109", "192.168.88.111-192.168.88.150"]
    );
}

#[test]
fn a_new_vlans_pool_leaves_its_low_addresses_free_where_there_is_room() {
    assert_eq!(pools(&vlan_200()), ["10.0.200.10-10.0.200.191", "10.0.200.224-10.0.200.254"]);
    let small = of(&["10.0.200.0/28"], &["10.0.200.8/30"], in_vlan(200)).unwrap();
    assert_eq!(pools(&small), ["10.0.200.2-10.0.200.7", "10.0.200.12-10.0.200.14"]);
    // Ashore may hand out the whole subnet.
    let whole = of(&["10.0.200.0/24"], &[], in_vlan(200)).unwrap();
    assert_eq!(pools(&whole), [""; 0]);
}

fn seen(offers: &[(&str, &str)]) -> RouterRequest {
    let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let offers = offers.iter().map(|(asked, offered)| (ip(asked), ip(offered))).collect();
    let servers = vec![PoolSeen { server: ip("192.168.88.1"), offers }];
    let range = range("192.168.88.192/27");
    let parent = "eth0".parse().unwrap();
    RouterRequest {
        seen: vec![PoolReport { parent, range, asked: Vec::new(), servers, beside: None }],
        ..RouterRequest::default()
    }
}

#[test]
fn where_no_address_of_the_range_is_offered_nothing_changes_whatever_the_router() {
    let plan = lan(seen(&[("192.168.88.192", "192.168.88.130")])).unwrap();
    assert_eq!(plan.subnets[0].present, Present::Clear(vec!["192.168.88.1".parse().unwrap()]));
    for system in System::ALL.into_iter().filter(|system| *system != System::Switch) {
        let text = plan.render(system);
        assert_eq!(pasted(&text), [""; 0], "{}", system.name());
        assert!(text.contains("nothing changes"), "{text}");
    }
}

#[test]
fn what_is_offered_is_told_and_no_pool_is_made_of_so_little() {
    let plan =
        lan(seen(&[("192.168.88.192", "192.168.88.192"), ("192.168.88.200", "192.168.88.150")])).unwrap();
    assert_eq!(pools(&plan), [""; 0]);
    for system in System::ALL.into_iter().filter(|system| *system != System::Switch) {
        let text = plan.render(system);
        let words: Vec<&str> = text.split_whitespace().filter(|word| *word != "#").collect();
        assert!(words.join(" ").contains("(seen: 192.168.88.150-192.168.88.192)"), "{text}");
    }
}

#[test]
fn vlan_1_is_the_lan() {
    let refused = of(&["10.0.1.0/24"], &[], in_vlan(1));
    assert_eq!(refused, Err(RouterError::VlanOne));
    assert!(of(&["10.0.1.0/24"], &[], in_vlan(2)).is_ok());
}

#[test]
fn a_vlan_has_no_subnet_that_this_machine_has_without_a_tag() {
    let with = |own: HostAddress| {
        of(&["192.168.88.0/24"], &["192.168.88.192/27"], RouterRequest { host: vec![own], ..in_vlan(200) })
    };
    for own in ["192.168.88.9/24", "192.168.0.9/16", "192.168.88.140/25"] {
        let refused = with(host("eth0", own, true));
        assert!(matches!(refused, Err(RouterError::LanInVlan { .. })), "{own}: {refused:?}");
    }
    // The machine may have an address in the VLAN itself, and other subnets elsewhere.
    assert!(with(host("eth0.200", "192.168.88.9/24", true)).is_ok());
    assert!(with(host("eth0", "192.168.89.9/24", true)).is_ok());
    let bridge = HostAddress { outward: false, ..host("docker0", "192.168.88.1/24", true) };
    assert!(with(bridge).is_ok());
}

#[test]
fn the_lans_router_is_the_one_that_this_machine_sends_by_and_a_guess_is_called_one() {
    let text = |plan: &RouterPlan, system: System| {
        plan.render(system).split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ")
    };
    let there = &["192.168.88.100-192.168.88.254"];
    // Many provider boxes have the last address of their LAN.
    let routers = vec!["fe80::1".parse().unwrap(), "192.168.88.254".parse().unwrap()];
    let known = lan(RouterRequest { routers, ..told(there) }).unwrap();
    assert_eq!(known.subnets[0].router.to_string(), "192.168.88.254");
    assert_eq!(pools(&known), ["192.168.88.100-192.168.88.191", "192.168.88.224-192.168.88.253"]);
    assert!(text(&known, System::Kea).contains("--ip-range 192.168.88.192/27 --gateway 192.168.88.254"));

    let guessed = lan(told(there)).unwrap();
    for system in System::ALL {
        let text = text(&guessed, system);
        assert!(text.contains("has 192.168.88.1 (a guess: set it with --gateway)"), "{text}");
        assert!(!text.contains("--gateway 192.168.88.1") && text.contains("Add --gateway with"), "{text}");
    }
    // The LAN's clients already know their router, even if no pool is known.
    for plan in [known, guessed] {
        assert!(!plan.render(System::Dnsmasq).contains("option:router"));
    }
    // The router of a VLAN is where the plan puts it.
    let vlan = of(&["10.0.200.0/24"], &["10.0.200.192/27"], in_vlan(200)).unwrap();
    let vlan = text(&vlan, System::Dnsmasq);
    assert!(!vlan.contains("a guess") && vlan.contains("option:router,10.0.200.1"), "{vlan}");
}

#[test]
fn a_vlan_is_beside_a_lan_that_is_in_one_and_not_inside_it() {
    let on = |lan: &str, vlan| {
        let lan_interface = Some(lan.parse().unwrap());
        of(&["10.0.200.0/24"], &["10.0.200.192/27"], RouterRequest { lan_interface, ..in_vlan(vlan) })
    };
    for system in System::ALL {
        let text = on("eth1.10", 200).unwrap().render(system);
        assert!(!text.contains("eth1.10.200") && !text.contains("eth1.10 vif"), "{}: {text}", system.name());
    }
    // The policy names the LAN as it is.
    for (system, lines) in [
        (
            System::Networkd,
            &["networkctl reconfigure eth1\n", "elements = { \"eth1.10\" }", "Name=eth1.200"][..],
        ),
        (System::Netplan, &["    eth1.200:", "link: eth1\n"]),
        (System::NetworkManager, &["ifname eth1.200 dev eth1 id 200"]),
        (System::Ifupdown, &["auto eth1.200", "vlan-raw-device eth1\n"]),
        (System::Vyos, &["ethernet eth1 vif 200 address", "rule 30 inbound-interface name 'eth1.10'"]),
    ] {
        let text = on("eth1.10", 200).unwrap().render(system);
        assert!(lines.iter().all(|line| text.contains(line)), "{}: {text}", system.name());
    }
    assert!(on("br-lan.10", 200).unwrap().render(System::OpenWrt).contains("vlan200.device='br-lan.200'"));
    let refused = on("eth1.200", 200).unwrap_err();
    assert_eq!(refused.to_string(), "VLAN 200 on the router is the LAN itself, which `eth1.200` carries");
    // A dot alone does not make a VLAN.
    assert!(on("lan.home", 200).unwrap().render(System::Netplan).contains("link: lan.home\n"));
}

#[test]
fn public_subnets_and_prefixes_that_nobody_can_choose_from_are_told() {
    let text = |subnet| {
        let text = of(&[subnet], &[], in_vlan(200)).unwrap().render(System::Ifupdown);
        text.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ")
    };
    assert!(text("11.0.200.0/24").contains("11.0.200.0/24 is public"));
    assert!(text("2003:0:0:200::/64").contains("2003:0:0:200::/64 is public"));
    assert!(text("fd88:200::/120").contains("fd88:200::/120 is no /64"));
    for private in ["10.0.200.0/24", "100.64.200.0/24", "172.31.0.0/24", "fd88:200::/64"] {
        assert!(!text(private).contains("is public"), "{private}");
    }
    for system in System::ALL {
        let text = of(&["fd88:200::/120"], &[], in_vlan(200)).unwrap().render(system);
        for advertised in
            ["ra-only", "advertise=yes", "ra='server'", "router-advert interface eth1.200 prefix", "RA Mode"]
        {
            assert!(!text.contains(advertised), "{}: {advertised}", system.name());
        }
    }
}

#[test]
fn every_output_has_three_parts_the_last_of_which_nobody_pastes() {
    let lan = lan(told(&["192.168.88.100-192.168.88.249"])).unwrap();
    let unknown = self::lan(RouterRequest::default()).unwrap();
    for system in System::ALL {
        for policy in Policy::ALL {
            for plan in [&lan, &unknown, &RouterPlan { policy: Some(policy), ..vlan_200() }] {
                let text = plan.render(system);
                let at =
                    |title: &str| text.find(title).unwrap_or_else(|| panic!("{}: {title}", system.name()));
                let (before, lines, away) =
                    (at("# --- 1. Before"), at("# --- 2. The lines"), at("# --- 3. To take"));
                assert!(before < lines && lines < away);
                for part in [&text[before..lines], &text[lines..away], &text[away..]] {
                    assert!(
                        part.lines().filter(|line| !line.is_empty()).count() > 1,
                        "{}: {part}",
                        system.name()
                    );
                }
                assert_eq!(pasted(&text[away..]), [""; 0], "{}", system.name());
                assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
            }
        }
    }
}

#[test]
fn what_was_not_run_says_so_and_of_when_its_words_are() {
    for system in System::ALL {
        let text = vlan_200().render(system);
        let run = system.held_to().is_none();
        assert_eq!(text.contains("# Not tested on such a system. Written from"), !run, "{}", system.name());
        assert!(
            run || system == System::Switch || system.held_to().unwrap().contains("as of 20"),
            "{}",
            system.name()
        );
    }
}

#[test]
fn a_switch_is_pointed_to_and_a_port_that_says_nothing_is_told() {
    let plan = RouterPlan { ports: vec!["sw3".parse().unwrap()], ..vlan_200() };
    for system in System::ALL.into_iter().filter(|system| *system != System::Switch) {
        let text = plan.render(system);
        assert!(text.contains("--port sw3 --for switch"), "{text}");
        let elsewhere = text.replace("--port sw3 --for switch", "");
        assert!(elsewhere.contains("sw3"), "{}: {text}", system.name());
    }
}

#[test]
fn a_name_that_the_kernel_takes_is_given_where_the_usual_one_is_too_long() {
    let plan = RouterPlan { lan_interface: Some("enx001122334455".parse().unwrap()), ..vlan_200() };
    for system in [System::Networkd, System::Ifupdown, System::Netplan, System::NetworkManager] {
        let text = plan.render(system);
        assert!(!text.contains("enx001122334455.200") && text.contains("iifname \"vlan200\""), "{text}");
    }
}

#[test]
fn a_bridge_filters_nothing_yet_that_pasted_lines_would_cut_off() {
    let plan = RouterPlan { lan_interface: Some("br0".parse().unwrap()), ..vlan_200() };
    for line in pasted(&plan.render(System::Vyos)) {
        assert!(!line.contains("enable-vlan") && !line.contains("native-vlan"), "{line}");
    }
    let text = plan.render(System::RouterOs);
    let filters: Vec<&str> =
        text.lines().filter(|line| line.starts_with('/') && line.contains("vlan-filtering=yes")).collect();
    assert_eq!(filters, [""; 0], "only where no other VLAN is on the bridge");
}

#[test]
fn a_vlan_that_ashore_hands_out_whole_has_no_pool_to_be_read() {
    let whole = of(&["10.0.200.0/24"], &[], in_vlan(200)).unwrap();
    for system in System::ALL {
        let text = whole.render(system);
        assert!(
            !text.contains("First find out") && !text.contains("nothing has to change"),
            "{}: {text}",
            system.name()
        );
    }
}

#[test]
fn a_second_subnet_overwrites_no_first_ones_pool() {
    let requested = told(&["192.168.88.100-192.168.88.249", "10.0.0.10-10.0.0.99"]);
    let plan =
        of(&["192.168.88.0/24", "10.0.0.0/24"], &["192.168.88.192/27", "10.0.0.64/27"], requested).unwrap();
    let text = plan.render(System::RouterOs);
    let set: Vec<&str> = text.lines().filter(|line| line.contains("/ip pool set")).collect();
    assert_eq!(set.len(), 1, "{text}");
    assert!(set[0].ends_with(
        "ranges=192.168.88.100-192.168.88.191,192.168.88.224-192.168.88.249,10.0.0.10-10.0.0.63,10.0.0.96-10.0.0.99"
    ));
    let requested = RouterRequest { vlan: Some("200".parse().unwrap()), ..RouterRequest::default() };
    let plan = of(&["10.0.200.0/24", "10.0.201.0/24"], &["10.0.200.192/27"], requested);
    let text = plan.unwrap().render(System::OpenWrt);
    assert_eq!(text.matches("dhcp.vlan200.start=").count(), 1, "{text}");
}

#[test]
fn on_a_box_without_vlans_a_pool_is_two_addresses_in_words() {
    let text = |plan: &RouterPlan, system: System| {
        plan.render(system).split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ")
    };
    let unknown = lan(RouterRequest::default()).unwrap();
    let words = text(&unknown, System::Consumer);
    for part in [
        "起始地址",
        "结束地址",
        "below 192.168.88.192, or the first above 192.168.88.223, change nothing",
        "set the last (last, end, to; 结束地址, 结束 IP) to 192.168.88.191",
        "to 192.168.88.224",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let known = lan(told(&["192.168.88.2-192.168.88.254"])).unwrap();
    let words = text(&known, System::Consumer);
    assert!(
        words.contains("起始地址, 开始 IP: 192.168.88.2.") && words.contains("结束 IP: 192.168.88.191."),
        "{words}"
    );
    assert!(text(&unknown, System::FritzBox).contains("192.168.178.20 to 192.168.178.200"));
    let words = text(&vlan_200(), System::Consumer);
    assert!(words.contains("has no VLANs") && words.contains("second router"), "{words}");
}

#[test]
fn no_output_turns_on_what_flushes_a_routers_own_rules() {
    for system in [System::Networkd, System::Ifupdown, System::Netplan, System::NetworkManager] {
        let text = vlan_200().render(system);
        for harm in ["enable nftables", "/etc/nftables.conf", "flush"] {
            assert!(!pasted(&text).iter().any(|line| line.contains(harm)), "{}: {harm}", system.name());
        }
    }
}
