//! MikroTik RouterOS 7. Its default configuration has the bridge `bridge`, the interface lists `LAN` and
//! `WAN`, and a firewall whose last rules drop what does not come from `LAN`. The comments of these rules
//! identify them. On a router with another configuration, the lines' rules work without them.

use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, joined, private};

/// The comments of the default rules. The rules that accept traffic must come before these.
const LAST_V4: &str = "defconf: drop all not coming from LAN";
const LAST_V6: &str = "defconf: drop everything else not coming from LAN";

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let bridge = plan.lan_or("bridge");
    let mut parts = Parts::default();
    parts.before.note(
        "Keep a copy, then press Ctrl+X (safe mode): if a line cuts you off, the router undoes all of them \
         once it notices that your session is dead. That takes up to nine minutes. Press Ctrl+X again at the \
         end to keep them. Safe mode can undo about the last 100 changes; these are fewer.",
    );
    parts.before.shown("/export file=before-ashore");
    let Some(vlan) = plan.vlan else {
        untagged(plan, bridge, &mut parts);
        return parts;
    };
    parts.before.note(
        "These commands show the names that the lines rely on, what the bridge filters now, and whether an \
         earlier rule accepts everything before the new rules apply:",
    );
    parts.before.shown("/interface bridge print; /interface list member print; /ip firewall filter print");
    parts.before.note(
        "These must show nothing. Otherwise the number or the name is already in use, and you have to choose \
         another one:",
    );
    parts.before.shown(format_args!(
        "/interface print where name={}; /interface bridge vlan print where vlan-ids={vlan}",
        plan.name
    ));
    parts.before.note(
        "Without the default configuration, create the lists first, with the interface that \
                       leads to the internet:",
    );
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
        "Last step. The LAN stays untagged, as VLAN 1 inside the bridge. Some models then stop switching in \
         hardware (`/interface bridge port print` shows no H). A filtering bridge carries only the VLANs that \
         are listed: first list each VLAN that only passes through it, for example between an access point and \
         a switch, as the line above lists this one. If the router itself is in another VLAN, which would be \
         cut off, this line only prints a message.",
    );
    page.line(format_args!(
        ":if (([:len [/interface vlan find interface={bridge}]] > 1) and ([/interface bridge get [find name={bridge}] vlan-filtering] = \
         false)) do={{ :put \"list the other VLANs in /interface bridge vlan, then: /interface bridge set {bridge} vlan-filtering=yes\" }} else={{ \
         /interface bridge set {bridge} vlan-filtering=yes }}"
    ));
    page.gap();
    page.note(
        "DNS: the VLAN asks the router, which answers if `/ip dns print` shows allow-remote-requests (on by \
         default; without the default firewall it then answers the internet too). Masquerade: the rule must \
         cover the VLAN, as the default rule does.",
    );
    page.gap();
    let nas_ports = plan.ports_or("ether2");
    page.note(&format!(
        "If {} is a separate port, in no bridge, this one line replaces all /interface lines except the lists \
         above:",
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
            "The pool of the DHCP server on {bridge}. Leases inside the range expire by themselves. To end \
             them at once: /ip dhcp-server lease print, and remove."
        ));
        parts.lines.line(format_args!(
            "/ip pool set [/ip dhcp-server get [find interface={bridge}] address-pool] ranges={}",
            ranges.join(",")
        ));
    }
    parts.away.note("Run the same line with the previous ranges (they are in before-ashore.rsc).");
}

fn interfaces(plan: &RouterPlan, bridge: &str, vlan: VlanId, page: &mut Page) {
    let ports = plan.ports_or("ether2");
    page.note(&format!(
        "The VLAN on {bridge}. Ports towards the NAS, or the switch in front of it: {}.",
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
    page.note("DHCP for all other machines in the VLAN, clear of Ashore's range.");
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
        page.note(
            "The interfaces that may open connections to the VLAN. Add a VPN here if its peers count as \
                   the LAN.",
        );
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

/// The rules for traffic from the VLAN to the router itself. They also hold where no default rule protects
/// `WinBox` and SSH.
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
    page.note(
        "With the default firewall, these rules must come before its last rule. Without it, they stay \
               where they are.",
    );
    page.line(format_args!(
        ":if ([:len [/{family} firewall filter find chain=input comment=\"{last}\"]] > 0) do={{ /{family} firewall filter move [find \
         chain=input in-interface={name}] destination=[find chain=input comment=\"{last}\"] }}"
    ));
}

fn family(v4: bool) -> &'static str {
    if v4 { "ip" } else { "ipv6" }
}

/// The rules match only new connections, so replies to the LAN pass whatever stands before.
fn forward(plan: &RouterPlan, policy: Policy, v4: bool, page: &mut Page) {
    let (name, family) = (&plan.name, family(v4));
    let add = format!("/{family} firewall filter add chain=forward connection-state=new");
    if policy != Policy::Open {
        page.note("Private addresses do not count as the internet, even behind a second router.");
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
            page.note(
                "The default IPv6 firewall lets the LAN open connections anywhere, including to the \
                       VLAN.",
            );
        }
    }
}

fn away(plan: &RouterPlan, bridge: &str, page: &mut Page) {
    let name = &plan.name;
    page.note("Use safe mode again. Lines that find nothing do no harm.");
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
        "If vlan-filtering was off before: /interface bridge set {bridge} vlan-filtering=no. Remove the list \
         WAN too if you created it for this."
    ));
}
