//! OpenWrt 23.05 and later with DSA: `br-lan` holds the switch's ports, firewall zones are called `lan` and `wan`.

use super::page::Page;
use super::{Policy, RouterPlan, RouterSubnet, joined};
use crate::vlan::VlanId;

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    let Some(vlan) = plan.vlan else {
        untagged(plan, page);
        return;
    };
    let bridge = plan.lan_or("br-lan");
    let ports = plan.ports_or("lan1");
    page.note(&format!(
        "Over SSH. Towards the NAS, or the switch before it: {}. The last lines take effect; before them `uci changes` \
         shows all, and `uci revert network; uci revert dhcp; uci revert firewall` takes it back.",
        ports.join(", ")
    ));
    lan_stays(bridge, page);
    bridge_vlan(plan, bridge, vlan, &ports, page);
    dhcp(plan, page);
    firewall(plan, page);
    page.gap();
    page.line("uci commit");
    page.line("service network reload");
    page.line("service dnsmasq restart");
    if plan.v6().next().is_some() {
        page.line("service odhcpd restart");
    }
    page.line("service firewall restart");
    clicks(plan, bridge, vlan, &ports, page);
}

/// Once a bridge has one VLAN it carries nothing else: the LAN has to become one too, or it is cut off.
fn lan_stays(bridge: &str, page: &mut Page) {
    page.gap();
    page.note(&format!(
        "If {bridge} has no VLANs yet, the LAN becomes VLAN 1 of it, untagged on every port as before. Wi-Fi joins by \
         itself."
    ));
    page.line("if ! uci show network | grep -q '=bridge-vlan$'; then");
    page.line("  uci set network.lan_vlan=bridge-vlan");
    page.line(format_args!("  uci set network.lan_vlan.device='{bridge}'"));
    page.line("  uci set network.lan_vlan.vlan='1'");
    page.line(format_args!("  for port in $(ls /sys/class/net/{bridge}/brif); do"));
    page.line("    [ -e /sys/class/net/$port/phy80211 ] || uci add_list network.lan_vlan.ports=\"$port:u*\"");
    page.line("  done");
    page.line(format_args!("  uci set network.lan.device='{bridge}.1'"));
    page.line("fi");
}

fn bridge_vlan(plan: &RouterPlan, bridge: &str, vlan: VlanId, ports: &[&str], page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note(&format!("VLAN {vlan}, tagged towards the NAS, and the router's address in it."));
    page.line(format_args!("uci -q delete network.{name}_ports"));
    page.line(format_args!("uci set network.{name}_ports=bridge-vlan"));
    page.line(format_args!("uci set network.{name}_ports.device='{bridge}'"));
    page.line(format_args!("uci set network.{name}_ports.vlan='{vlan}'"));
    for port in ports {
        page.line(format_args!("uci add_list network.{name}_ports.ports='{port}:t'"));
    }
    page.line(format_args!("uci -q delete network.{name}"));
    page.line(format_args!("uci set network.{name}=interface"));
    page.line(format_args!("uci set network.{name}.device='{bridge}.{vlan}'"));
    page.line(format_args!("uci set network.{name}.proto='static'"));
    for subnet in plan.v4() {
        page.line(format_args!("uci add_list network.{name}.ipaddr='{}'", subnet.interface_address()));
    }
    for subnet in plan.v6() {
        page.line(format_args!("uci add_list network.{name}.ip6addr='{}'", subnet.interface_address()));
    }
}

/// A pool as OpenWrt counts it: how far from the subnet's own address, and how many.
fn start_and_limit(subnet: &RouterSubnet) -> Option<(u128, u128)> {
    let pool = subnet.largest_pool()?;
    let before = crate::range::Range::of_net(&subnet.net).offset_of(pool.first())?;
    Some((before, pool.len()))
}

fn pool(section: &str, subnet: &RouterSubnet, page: &mut Page) {
    let Some((start, limit)) = start_and_limit(subnet) else { return };
    if subnet.pools.len() > 1 {
        page.note(&format!(
            "OpenWrt's pool is one piece and cannot leave out its middle. Of {} this is the largest; put Ashore's range at \
             an end of the subnet to lose nothing.",
            joined(&subnet.pools, ", ")
        ));
    }
    page.line(format_args!("uci set dhcp.{section}.start='{start}'"));
    page.line(format_args!("uci set dhcp.{section}.limit='{limit}'"));
}

fn dhcp(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.line(format_args!("uci -q delete dhcp.{name}"));
    page.line(format_args!("uci set dhcp.{name}=dhcp"));
    page.line(format_args!("uci set dhcp.{name}.interface='{name}'"));
    match plan.v4().find(|subnet| !subnet.pools.is_empty()) {
        Some(subnet) => {
            // Releases differ in what they do without a word.
            page.line(format_args!("uci set dhcp.{name}.dhcpv4='server'"));
            pool(name, subnet, page);
            page.line(format_args!("uci set dhcp.{name}.leasetime='12h'"));
        }
        None => page.line(format_args!("uci set dhcp.{name}.dhcpv4='disabled'")),
    }
    if plan.v6().next().is_some() {
        page.line(format_args!("uci set dhcp.{name}.ra='server'"));
    }
}

fn firewall(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    let open = plan.policy == Some(Policy::Open);
    page.gap();
    page.note("A firewall zone of its own. What is not forwarded from zone to zone does not pass.");
    // Also what another policy left.
    page.line(format_args!(
        "for old in {name} {name}_wan {name}_lan lan_{name} {name}_dns {name}_dhcp {name}_ping {name}_icmp6; do \
         uci -q delete firewall.$old; done"
    ));
    page.line(format_args!("uci set firewall.{name}=zone"));
    page.line(format_args!("uci set firewall.{name}.name='{name}'"));
    page.line(format_args!("uci add_list firewall.{name}.network='{name}'"));
    page.line(format_args!("uci set firewall.{name}.input='{}'", if open { "ACCEPT" } else { "REJECT" }));
    page.line(format_args!("uci set firewall.{name}.output='ACCEPT'"));
    page.line(format_args!("uci set firewall.{name}.forward='REJECT'"));
    for (from, to) in forwardings(plan) {
        page.line(format_args!("uci set firewall.{from}_{to}=forwarding"));
        page.line(format_args!("uci set firewall.{from}_{to}.src='{from}'"));
        page.line(format_args!("uci set firewall.{from}_{to}.dest='{to}'"));
    }
    if open {
        return;
    }
    rule(plan, "dns", &[("proto", "tcp udp"), ("dest_port", "53")], page);
    rule(plan, "dhcp", &[("proto", "udp"), ("family", "ipv4"), ("dest_port", "67")], page);
    rule(plan, "ping", &[("proto", "icmp"), ("family", "ipv4"), ("icmp_type", "echo-request")], page);
    if plan.v6().next().is_some() {
        // Neighbour discovery and router solicitations are ICMPv6.
        rule(plan, "icmp6", &[("proto", "icmp"), ("family", "ipv6")], page);
    }
}

fn forwardings(plan: &RouterPlan) -> Vec<(&str, &str)> {
    let mut pairs = vec![(plan.name.as_str(), "wan")];
    if plan.policy != Some(Policy::Closed) {
        pairs.push(("lan", &plan.name));
    }
    if plan.policy == Some(Policy::Open) {
        pairs.push((&plan.name, "lan"));
    }
    pairs
}

/// Lets something from the zone to the router itself.
fn rule(plan: &RouterPlan, what: &str, options: &[(&str, &str)], page: &mut Page) {
    let name = &plan.name;
    page.line(format_args!("uci set firewall.{name}_{what}=rule"));
    page.line(format_args!("uci set firewall.{name}_{what}.name='{name}-{what}'"));
    page.line(format_args!("uci set firewall.{name}_{what}.src='{name}'"));
    for (option, value) in options {
        page.line(format_args!("uci set firewall.{name}_{what}.{option}='{value}'"));
    }
    page.line(format_args!("uci set firewall.{name}_{what}.target='ACCEPT'"));
}

fn clicks(plan: &RouterPlan, bridge: &str, vlan: VlanId, ports: &[&str], page: &mut Page) {
    let name = &plan.name;
    let addresses: Vec<String> =
        plan.subnets.iter().map(|subnet| subnet.interface_address().to_string()).collect();
    page.gap();
    page.note("The same in LuCI:");
    page.note(&format!(
        "Network > Interfaces > Devices > {bridge} > Configure > Bridge VLAN filtering: enable it; VLAN 1 untagged and \
         primary on all ports; VLAN {vlan} tagged on {}. Then Interfaces > lan > Device: {bridge}.1.",
        ports.join(", ")
    ));
    page.note(&format!(
        "Network > Interfaces > Add new interface: name {name}, static address, device {bridge}.{vlan}, address {}, \
         firewall zone: a new one, {name}.",
        addresses.join(", ")
    ));
    if let Some((start, limit)) = plan.v4().find_map(start_and_limit) {
        page.note(&format!("Its tab DHCP Server: set up, start {start}, limit {limit}."));
    }
    let pairs: Vec<String> = forwardings(plan).iter().map(|(from, to)| format!("{from} to {to}")).collect();
    page.note(&format!("Network > Firewall > Zones: forward {}; nothing else.", pairs.join(", ")));
    if plan.policy != Some(Policy::Open) {
        page.note(&format!(
            "There, input of {name}: reject; and Traffic Rules from {name} to this device: ports 53 and 67."
        ));
    }
}

fn untagged(plan: &RouterPlan, page: &mut Page) {
    page.note(
        "The pool of the interface lan. Leases inside the range end by themselves; to end them at once: service dnsmasq \
         stop; rm /tmp/dhcp.leases; service dnsmasq start.",
    );
    for subnet in plan.v4() {
        pool("lan", subnet, page);
    }
    page.line("uci commit dhcp");
    page.line("service dnsmasq restart");
    if let Some((start, limit)) = plan.v4().find_map(start_and_limit) {
        page.note(&format!(
            "In LuCI: Network > Interfaces > lan > Edit > DHCP Server: start {start}, limit {limit}."
        ));
    }
}
