//! MikroTik RouterOS 7. Its default configuration has the bridge `bridge`, the interface lists `LAN` and `WAN`, and a
//! firewall whose last rules drop what does not come from `LAN`, known by their comments.

use super::page::Page;
use super::{Policy, RouterPlan, joined};

/// The comments of the default rules before which what is to be accepted has to stand.
const LAST_V4: &str = "defconf: drop all not coming from LAN";
const LAST_V6: &str = "defconf: drop everything else not coming from LAN";

pub(super) fn render(plan: &RouterPlan, page: &mut Page) {
    page.gap();
    let bridge = plan.lan_or("bridge");
    let Some(vlan) = plan.vlan else {
        page.note(&format!(
            "The pool of the DHCP server on {bridge}. Leases inside the range end by themselves; to end them at once: \
             /ip dhcp-server lease print, and remove."
        ));
        for subnet in plan.v4() {
            page.line(format_args!(
                "/ip pool set [/ip dhcp-server get [find interface={bridge}] address-pool] ranges={}",
                joined(&subnet.pools, ",")
            ));
        }
        return;
    };
    let ports = plan.ports_or("ether2");
    page.note(
        "Press Ctrl+X first (safe mode): if a line cuts you off, the router takes all of them back. Press Ctrl+X again at \
         the end to keep them.",
    );
    page.gap();
    page.note(&format!(
        "The VLAN on {bridge}. Towards the NAS, or the switch before it: {}.",
        ports.join(", ")
    ));
    let (name, comment) = (&plan.name, plan.description());
    page.line(format_args!(
        "/interface vlan add name={name} interface={bridge} vlan-id={vlan} comment=\"{comment}\""
    ));
    let tagged: Vec<&str> = [bridge].into_iter().chain(ports.iter().copied()).collect();
    page.line(format_args!(
        "/interface bridge vlan add bridge={bridge} tagged={} vlan-ids={vlan}",
        tagged.join(",")
    ));
    addresses(plan, page);
    dhcp(plan, page);
    firewall(plan, page);
    page.gap();
    page.note(
        "Last, and only if it is not on yet. The LAN stays untagged, as VLAN 1 inside the bridge. Some models switch in \
         hardware no longer with it (`/interface bridge port print` then shows no H).",
    );
    page.line(format_args!("/interface bridge set {bridge} vlan-filtering=yes"));
    page.gap();
    page.note(&format!(
        "If {} is a port of its own, in no bridge, this one line stands for all /interface lines above:",
        ports[0]
    ));
    page.line(format_args!("# /interface vlan add name={name} interface={} vlan-id={vlan}", ports[0]));
}

fn addresses(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    for subnet in plan.v4() {
        page.line(format_args!("/ip address add address={} interface={name}", subnet.interface_address()));
    }
    for subnet in plan.v6() {
        let address = subnet.interface_address();
        page.line(format_args!("/ipv6 address add address={address} interface={name} advertise=yes"));
    }
}

fn dhcp(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    let served = plan.served();
    if served.is_empty() {
        return;
    }
    page.gap();
    page.note("DHCP for everybody else on the VLAN, clear of Ashore's range.");
    let ranges: Vec<String> = served.iter().map(|subnet| joined(&subnet.pools, ",")).collect();
    page.line(format_args!("/ip pool add name={name} ranges={}", ranges.join(",")));
    page.line(format_args!(
        "/ip dhcp-server add name={name} interface={name} address-pool={name} lease-time=12h disabled=no"
    ));
    for subnet in served {
        let (net, router) = (subnet.net, subnet.router);
        page.line(format_args!(
            "/ip dhcp-server network add address={net} gateway={router} dns-server={router}"
        ));
    }
}

fn firewall(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    if plan.policy == Some(Policy::Open) {
        page.note("The default firewall treats the interfaces of the list LAN alike.");
        page.line(format_args!("/interface list member add list=LAN interface={name}"));
        return;
    }
    page.note(&format!(
        "Beside MikroTik's default firewall, which keeps out what comes from neither LAN nor an established connection. \
         Where its rule \"{LAST_V4}\" is missing, leave place-before out."
    ));
    for (protocol, ports, what) in [("udp", "53,67", "DNS and DHCP"), ("tcp", "53", "DNS")] {
        page.line(format_args!(
            "/ip firewall filter add chain=input action=accept in-interface={name} protocol={protocol} \
             dst-port={ports} comment=\"{name}: {what} of the router\" place-before=[find comment=\"{LAST_V4}\"]"
        ));
    }
    forward(plan, "ip", page);
    if plan.v6().next().is_none() {
        return;
    }
    for protocol in ["udp", "tcp"] {
        page.line(format_args!(
            "/ipv6 firewall filter add chain=input action=accept in-interface={name} protocol={protocol} dst-port=53 \
             comment=\"{name}: DNS of the router\" place-before=[find chain=input comment=\"{LAST_V6}\"]"
        ));
    }
    page.line(format_args!(
        "/ipv6 firewall filter add chain=forward action=accept in-interface={name} out-interface-list=WAN \
         comment=\"{name}: to the internet\" place-before=[find chain=forward comment=\"{LAST_V6}\"]"
    ));
    forward(plan, "ipv6", page);
}

/// New connections alone: replies to the LAN's pass whatever stands before.
fn forward(plan: &RouterPlan, family: &str, page: &mut Page) {
    let name = &plan.name;
    page.line(format_args!(
        "/{family} firewall filter add chain=forward action=drop connection-state=new in-interface={name} \
         out-interface-list=!WAN comment=\"{name}: to nowhere but the internet\""
    ));
    if plan.policy == Some(Policy::Closed) {
        page.line(format_args!(
            "/{family} firewall filter add chain=forward action=drop connection-state=new out-interface={name} \
             comment=\"{name}: from nobody\""
        ));
    }
}
