//! MikroTik RouterOS 7. Its default configuration has the bridge `bridge`, the interface lists `LAN` and `WAN`, and a
//! firewall whose last rules drop what does not come from `LAN`, known by their comments. Where somebody has made his own, our
//! rules hold by themselves.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, joined, private};

/// The comments of the default rules before which what is to be accepted has to stand.
const LAST_V4: &str = "defconf: drop all not coming from LAN";
const LAST_V6: &str = "defconf: drop everything else not coming from LAN";

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let bridge = plan.lan_or("bridge");
    let mut parts = Parts::default();
    parts.before.note(
        "Keep a copy, then press Ctrl+X (safe mode): if a line cuts you off, the router takes all of them back, once it has noticed \
         that your session is dead, which takes up to nine minutes of waiting. Press Ctrl+X again at the end to keep them. Safe mode \
         undoes the last 100 changes or so; this is fewer.",
    );
    parts.before.shown("/export file=before-ashore");
    let Some(vlan) = plan.vlan else {
        untagged(plan, bridge, &mut parts);
        return parts;
    };
    parts.before.note(
        "Names that these lines count upon, what the bridge filters now, and whether a rule accepts everything before these would be asked:",
    );
    parts.before.shown("/interface bridge print; /interface list member print; /ip firewall filter print");
    parts.before.note(
        "These have to show nothing; otherwise the number or the name is somebody else's, and another one is to be chosen:",
    );
    parts.before.shown(format_args!(
        "/interface print where name={}; /interface bridge vlan print where vlan-ids={vlan}",
        plan.name
    ));
    parts.before.note("Without the default configuration make the lists first, with the interface that leads to the internet:");
    parts.before.shown("/interface list add name=WAN; /interface list member add list=WAN interface=ether1");
    if plan.policy == Some(Policy::Open) {
        parts.before.shown(format_args!(
            "/interface list add name=LAN; /interface list member add list=LAN interface={bridge}"
        ));
    }
    let page = &mut parts.lines;
    let (lan, bridge) = (bridge, plan.trunk_or("bridge"));
    interfaces(plan, bridge, vlan, page);
    addresses(plan, page);
    dhcp(plan, page);
    firewall(plan, lan, page);
    page.gap();
    page.note(
        "Last. The LAN stays untagged, as VLAN 1 inside the bridge. Some models switch in hardware no longer with it (`/interface bridge \
         port print` then shows no H). A bridge that filters carries only the VLANs that are listed: one that only passes through it, between \
         an access point and a switch say, has to be listed first as the line above lists this one. Where the router itself is in \
         another, which would be cut off, this line only says so.",
    );
    page.line(format_args!(
        ":if (([:len [/interface vlan find interface={bridge}]] > 1) and ([/interface bridge get [find name={bridge}] vlan-filtering] = \
         false)) do={{ :put \"list the other VLANs in /interface bridge vlan, then: /interface bridge set {bridge} vlan-filtering=yes\" }} else={{ \
         /interface bridge set {bridge} vlan-filtering=yes }}"
    ));
    page.gap();
    page.note(
        "Names: the VLAN asks the router, which answers if `/ip dns print` shows allow-remote-requests (by default it does; without the \
         default firewall it then answers the internet too). Masquerade: the rule has to cover the VLAN, as the default one does.",
    );
    page.gap();
    let nas_ports = plan.ports_or("ether2");
    page.note(&format!(
        "If {} is a port of its own, in no bridge, this one line stands for all /interface lines but the lists above:",
        nas_ports[0]
    ));
    page.shown(format_args!(
        "/interface vlan add name={} interface={} vlan-id={vlan}",
        plan.name, nas_ports[0]
    ));
    away(plan, bridge, &mut parts.away);
    parts
}

fn untagged(plan: &RouterPlan, bridge: &str, parts: &mut Parts) {
    let read =
        format!("/ip pool print where name=[/ip dhcp-server get [find interface={bridge}] address-pool]");
    lan_pool::unknown(plan, &read, &mut parts.lines);
    let ranges: Vec<String> = plan.served().iter().map(|subnet| joined(&subnet.pools, ",")).collect();
    if !ranges.is_empty() {
        parts.lines.note(&format!(
            "The pool of the DHCP server on {bridge}. Leases inside the range end by themselves; to end them at once: \
             /ip dhcp-server lease print, and remove."
        ));
        parts.lines.line(format_args!(
            "/ip pool set [/ip dhcp-server get [find interface={bridge}] address-pool] ranges={}",
            ranges.join(",")
        ));
    }
    parts.away.note("The same line with the ranges that were there (they are in before-ashore.rsc).");
}

fn interfaces(plan: &RouterPlan, bridge: &str, vlan: VlanId, page: &mut Page) {
    let ports = plan.ports_or("ether2");
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
        "/interface bridge vlan add bridge={bridge} tagged={} vlan-ids={vlan} comment=\"{name}\"",
        tagged.join(",")
    ));
}

fn addresses(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    for subnet in plan.v4() {
        page.line(format_args!("/ip address add address={} interface={name}", subnet.interface_address()));
    }
    for subnet in plan.v6() {
        let (address, advertise) =
            (subnet.interface_address(), if subnet.is_advertised() { "yes" } else { "no" });
        page.line(format_args!("/ipv6 address add address={address} interface={name} advertise={advertise}"));
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
            "/ip dhcp-server network add address={net} gateway={router} dns-server={router} comment=\"{name}\""
        ));
    }
}

fn firewall(plan: &RouterPlan, lan: &str, page: &mut Page) {
    let (name, policy) = (&plan.name, plan.policy.unwrap_or_default());
    page.gap();
    if policy == Policy::Open {
        page.note("The default firewall treats the interfaces of the list LAN alike.");
        page.line(format_args!("/interface list member add list=LAN interface={name}"));
    }
    if policy != Policy::Closed {
        page.note("Who may open connections to the VLAN. A VPN whose peers are to count as the LAN is added to this list.");
        page.line(format_args!("/interface list add name={name}-from comment=\"{name}\""));
        for from in [lan, name] {
            page.line(format_args!("/interface list member add list={name}-from interface={from}"));
        }
    }
    for v4 in [true, false] {
        if plan.subnets.iter().all(|subnet| subnet.is_v4() != v4) {
            continue;
        }
        if policy != Policy::Open {
            input(plan, v4, page);
        }
        forward(plan, policy, v4, page);
    }
}

/// What the VLAN may want of the router itself, and no more: also where no default rule keeps it from `WinBox` and SSH.
fn input(plan: &RouterPlan, v4: bool, page: &mut Page) {
    let (name, family) = (&plan.name, family(v4));
    let add = format!("/{family} firewall filter add chain=input in-interface={name}");
    page.line(format_args!(
        "{add} action=accept connection-state=established,related comment=\"{name}: answers\""
    ));
    let udp = if v4 { "53,67" } else { "53" };
    for (protocol, ports) in [("udp", udp), ("tcp", "53")] {
        page.line(format_args!(
            "{add} action=accept protocol={protocol} dst-port={ports} comment=\"{name}: DNS and DHCP\""
        ));
    }
    let icmp = if v4 { "icmp" } else { "icmpv6" };
    page.line(format_args!("{add} action=accept protocol={icmp} comment=\"{name}: ping\""));
    page.line(format_args!("{add} action=drop comment=\"{name}: nothing else of the router\""));
    let last = if v4 { LAST_V4 } else { LAST_V6 };
    page.note("With the default firewall these have to stand before its last rule, without it they stay where they are.");
    page.line(format_args!(
        ":if ([:len [/{family} firewall filter find chain=input comment=\"{last}\"]] > 0) do={{ /{family} firewall filter move [find \
         chain=input in-interface={name}] destination=[find chain=input comment=\"{last}\"] }}"
    ));
}

fn family(v4: bool) -> &'static str {
    if v4 { "ip" } else { "ipv6" }
}

/// New connections alone: replies to the LAN's pass whatever stands before.
fn forward(plan: &RouterPlan, policy: Policy, v4: bool, page: &mut Page) {
    let (name, family) = (&plan.name, family(v4));
    let add = format!("/{family} firewall filter add chain=forward connection-state=new");
    if policy != Policy::Open {
        page.note("Private addresses are not the internet, also those behind a second router.");
        for net in private(v4) {
            page.line(format_args!(
                "/{family} firewall address-list add list={name}-private address={net} comment=\"{name}\""
            ));
        }
        page.line(format_args!(
            "{add} action=drop in-interface={name} dst-address-list={name}-private comment=\"{name}: not to private addresses\""
        ));
        page.line(format_args!(
            "{add} action=drop in-interface={name} out-interface-list=!WAN comment=\"{name}: to nowhere but the internet\""
        ));
        if !v4 {
            page.line(format_args!(
                "{add} action=accept in-interface={name} out-interface-list=WAN comment=\"{name}: to the internet\""
            ));
        }
    }
    // Port forwards are the user's choice; IPv6 has none.
    let forwards = if v4 { " connection-nat-state=!dstnat" } else { "" };
    let from =
        if policy == Policy::Closed { String::new() } else { format!(" in-interface-list=!{name}-from") };
    page.line(format_args!(
        "{add} action=drop{forwards}{from} out-interface={name} comment=\"{name}: not from the internet\""
    ));
    if !v4 {
        page.line(format_args!(
            ":if ([:len [/{family} firewall filter find chain=forward comment=\"{LAST_V6}\"]] > 0) do={{ /{family} firewall filter move \
             [find chain=forward comment~\"^{name}: \"] destination=[find chain=forward comment=\"{LAST_V6}\"] }}"
        ));
        if policy == Policy::OneWay {
            page.note("The default IPv6 firewall lets the LAN open connections anywhere, the VLAN too.");
        }
    }
}

fn away(plan: &RouterPlan, bridge: &str, page: &mut Page) {
    let name = &plan.name;
    page.note("In safe mode again. Lines that find nothing do no harm.");
    for family in ["ip", "ipv6"] {
        page.shown(format_args!("/{family} firewall filter remove [find comment~\"^{name}: \"]"));
        page.shown(format_args!("/{family} firewall address-list remove [find list={name}-private]"));
    }
    page.shown(format_args!("/interface list member remove [find list={name}-from]"));
    page.shown(format_args!("/interface list member remove [find interface={name}]"));
    page.shown(format_args!("/interface list remove [find name={name}-from]"));
    page.shown(format_args!("/ip dhcp-server remove [find name={name}]"));
    page.shown(format_args!("/ip dhcp-server network remove [find comment=\"{name}\"]"));
    page.shown(format_args!("/ip pool remove [find name={name}]"));
    page.shown(format_args!("/ip address remove [find interface={name}]"));
    page.shown(format_args!("/ipv6 address remove [find interface={name}]"));
    page.shown(format_args!("/interface bridge vlan remove [find comment=\"{name}\"]"));
    page.shown(format_args!("/interface vlan remove [find name={name}]"));
    page.note(&format!(
        "And if vlan-filtering was off before: /interface bridge set {bridge} vlan-filtering=no. The list WAN goes too if it was made for \
         this."
    ));
}
