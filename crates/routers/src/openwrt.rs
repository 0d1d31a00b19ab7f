//! OpenWrt 23.05 and later with DSA: a bridge holds the switch's ports, and the firewall zones are `lan` and
//! `wan`.
//!
//! The output is a script. It checks before it writes, and stops with a message if the router is not as
//! expected; pasted lines would continue after a failed one. It does not commit the pending changes of
//! others. It restores the old files unless the user confirms.

use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, joined, private};

/// The time after which the old files are restored, in seconds.
const TRIAL: u32 = 180;

/// The beginning of all scripts.
const BEGIN: &str = r#"set -euf
stop() { echo "$*; nothing was changed" >&2; exit 1; }
[ -z "$(uci changes)" ] || stop 'there are changes that are not committed (uci changes shows them): commit or revert them first'"#;

/// The configurations that change.
const FILES: [&str; 3] = ["network", "dhcp", "firewall"];

/// The section that makes the LAN VLAN 1 of its bridge. No router has a section with this name by default.
/// All of Ashore's VLANs share it.
const LAN_VLAN: &str = "network.ashore_lan";

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let Some(vlan) = plan.vlan else { return untagged(plan) };
    let (name, bridge) = (&plan.name, plan.trunk_or("br-lan"));
    let towards_nas = plan.ports_or("lan1");
    let mut parts = Parts::default();
    parts.before.note(&format!(
        "Work over SSH. Ports towards the NAS, or the switch in front of it: {}. The script keeps a copy of \
         three files in /root/before-{name}, and restores the files after {TRIAL} s unless you confirm. If \
         even that fails: failsafe mode (press a key during boot), mount_root, and cp /root/before-{name}/* \
         /etc/config/. To be on the safe side, make a backup of everything:",
        towards_nas.join(", ")
    ));
    parts.before.shown("sysupgrade -b /tmp/backup.tar.gz");
    parts.before.note("First the script is written that removes everything again.");
    parts.before.file(&format!("/root/{name}-away.sh"), &away(plan, bridge), "AWAY");

    parts.lines.file(&format!("/tmp/{name}.sh"), &script(plan, bridge, vlan, &towards_nas), "SCRIPT");
    parts.lines.line(format_args!("sh /tmp/{name}.sh"));
    told_that_all_is_well(name, &mut parts.lines);
    clicks(plan, bridge, vlan, &towards_nas, &mut parts.lines);

    parts.away.note(&format!(
        "This removes everything named {name}. The LAN leaves VLAN 1 of {bridge} again if no other VLAN needs \
         it. Changes made in LuCI have to be removed in LuCI."
    ));
    parts.away.shown(format_args!("sh /root/{name}-away.sh"));
    told_that_all_is_well(name, &mut parts.away);
    parts.away.note("Then only the copy and the script are left:");
    parts.away.shown(format_args!("rm -r /root/before-{name} /root/{name}-away.sh"));
    parts
}

fn told_that_all_is_well(name: &str, page: &mut Page) {
    page.note(&format!("If LAN, Wi-Fi and internet work as before, confirm within {TRIAL} s:"));
    page.shown(format_args!("rm /tmp/{name}.trial"));
}

/// All sections that any policy creates.
fn sections(name: &str) -> String {
    let firewall = ["", "_wan", "_private", "_dns", "_dhcp", "_ping", "_icmp6", "_lan"];
    let mut all = vec![format!("network.{name}"), format!("network.{name}_ports"), format!("dhcp.{name}")];
    all.extend(firewall.iter().map(|of| format!("firewall.{name}{of}")));
    all.push(format!("firewall.lan_{name}"));
    all.join(" ")
}

fn script(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str]) -> Page {
    let (name, mut page) = (&plan.name, Page::default());
    page.lines(BEGIN);
    checks(plan, bridge, vlan, towards_nas, &mut page);
    page.gap();
    page.note("Keep a copy, unless an earlier run has made one.");
    page.line(format_args!("if ! uci -q get network.{name}_ports >/dev/null; then"));
    page.line(format_args!("  mkdir -p /root/before-{name}"));
    page.line(format_args!("  cp -a {} /root/before-{name}/", files()));
    page.line("fi");
    delete_sections(name, &mut page);
    lan_stays(bridge, &mut page);
    bridge_vlan(plan, bridge, vlan, towards_nas, &mut page);
    dhcp(plan, &mut page);
    firewall(plan, &mut page);
    on_trial(plan, &mut page);
    page
}

/// The script that removes everything.
fn away(plan: &RouterPlan, bridge: &str) -> Page {
    let (name, mut page) = (&plan.name, Page::default());
    page.lines(BEGIN);
    delete_sections(name, &mut page);
    page.note(&format!(
        "Put the LAN back on the whole {bridge}, if that was changed for Ashore and no other VLAN is left."
    ));
    page.line("vlans=");
    for_each("bridge-vlan", &mut page);
    page.line(format_args!("  [ network.$section != {LAN_VLAN} ] || continue"));
    page.line(format_args!(
        "  [ \"$(uci -q get network.$section.device || true)\" != {bridge} ] || vlans=yes"
    ));
    page.line("done");
    page.line(format_args!(
        "if [ -z \"$vlans\" ] && [ \"$(uci -q get {LAN_VLAN}.device || true)\" = {bridge} ]; then"
    ));
    page.line(format_args!("  uci delete {LAN_VLAN}"));
    page.line(
        "  for section in $(uci show network | sed -n 's/^network\\.\\([^.]*\\)=interface$/\\1/p'); do",
    );
    page.line(format_args!(
        "    [ \"$(uci -q get network.$section.device || true)\" != {bridge}.1 ] || uci set network.$section.device='{bridge}'"
    ));
    page.line("  done");
    page.line("fi");
    on_trial(plan, &mut page);
    page
}

/// Begins a loop over all sections of a type, including unnamed ones (`@bridge-vlan[0]`).
fn for_each(kind: &str, page: &mut Page) {
    page.line(format_args!(
        "for section in $(uci show network | sed -n 's/^network\\.\\([^.]*\\)={kind}$/\\1/p'); do"
    ));
}

fn files() -> String {
    FILES.map(|file| format!("/etc/config/{file}")).join(" ")
}

fn delete_sections(name: &str, page: &mut Page) {
    page.note("From here on, a failure reverts everything that is staged.");
    page.line("trap 'uci revert network; uci revert dhcp; uci revert firewall' EXIT");
    page.line(format_args!("for section in {}; do uci -q delete $section || true; done", sections(name)));
}

/// Applies what is staged, and restores the old files unless the user confirms.
fn on_trial(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note("The way back, which continues after this session ends.");
    page.line(format_args!("old=/tmp/{name}-before"));
    page.line(format_args!("mkdir -p $old; [ -e /tmp/{name}.trial ] || cp -a {} $old/", files()));
    for file in FILES {
        page.line(format_args!("uci commit {file}"));
    }
    page.line("trap - EXIT");
    page.line(format_args!("echo $$ > /tmp/{name}.trial"));
    page.line(format_args!(
        "( trap '' HUP; sleep {TRIAL}; [ \"$(cat /tmp/{name}.trial 2>/dev/null)\" = $$ ] || exit 0; rm /tmp/{name}.trial; cp -a $old/network \
         $old/dhcp $old/firewall /etc/config/; service network restart; service firewall restart; service dnsmasq restart; service odhcpd \
         restart ) </dev/null >/dev/null 2>&1 &"
    ));
    page.line("service network reload");
    page.line("service dnsmasq restart");
    if !plan.advertised().is_empty() {
        page.line("service odhcpd restart");
    }
    page.line("service firewall restart");
}

/// Stops the script if this is not the router that the lines are for.
fn checks(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str], page: &mut Page) {
    let name = &plan.name;
    page.line(
        "[ -z \"$(swconfig list 2>/dev/null)\" ] || stop 'the router has swconfig instead of DSA, and this \
         script is for DSA only'",
    );
    page.line(format_args!(
        "[ -d /sys/class/net/{bridge}/brif ] || stop 'there is no bridge {bridge}: set the bridge that holds \
         the LAN with --lan-interface'"
    ));
    page.line(format_args!("for port in {}; do", towards_nas.join(" ")));
    page.line(format_args!(
        "  [ -e /sys/class/net/{bridge}/brif/$port ] || stop \"$port is no port of {bridge}, which has: $(ls \
         /sys/class/net/{bridge}/brif | tr '\\n' ' ')(set one with --port)\""
    ));
    page.line("done");
    for zone in ["lan", "wan"] {
        page.line(format_args!(
            "uci show firewall | grep -q \"\\.name='{zone}'\" || stop 'the firewall has no zone {zone}'"
        ));
    }
    page.line(format_args!(
        "uci -q get network.{name}_ports >/dev/null || ! uci -q get network.{name} >/dev/null || stop 'there is an interface {name} already'"
    ));
    page.line(format_args!(
        "uci -q get network.{name}_ports >/dev/null || ! uci show firewall | grep -q \"\\.name='{name}'\" || stop 'the firewall has a zone \
         {name} already'"
    ));
    page.note(&format!(
        "Find the VLANs of {bridge}, and the interfaces on the whole bridge. Those of other \
                        bridges do not count."
    ));
    page.line("vlans= lans=");
    for_each("bridge-vlan", page);
    page.line(format_args!("  [ \"$(uci -q get network.$section.device || true)\" = {bridge} ] || continue"));
    page.line(format_args!("  [ $section != {name}_ports ] || continue"));
    page.line(format_args!(
        "  [ \"$(uci -q get network.$section.vlan || true)\" != {vlan} ] || stop '{bridge} has a VLAN {vlan} already'"
    ));
    page.line("  vlans=yes");
    page.line("done");
    for_each("interface", page);
    page.line(format_args!(
        "  [ \"$(uci -q get network.$section.device || true)\" != {bridge} ] || lans=\"$lans $section\""
    ));
    page.line("done");
    page.line(format_args!("[ -n \"$vlans$lans\" ] || stop 'no interface has the device {bridge}'"));
}

/// Once a bridge has a VLAN, it carries nothing else. The LAN has to become a VLAN too, or it is cut off.
fn lan_stays(bridge: &str, page: &mut Page) {
    page.gap();
    page.note(&format!(
        "If {bridge} has no VLANs yet, the LAN becomes its VLAN 1, untagged on every port as before. Wi-Fi \
         joins by itself."
    ));
    page.line("if [ -z \"$vlans\" ]; then");
    page.line(format_args!("  uci set {LAN_VLAN}=bridge-vlan"));
    page.line(format_args!("  uci set {LAN_VLAN}.device='{bridge}'"));
    page.line(format_args!("  uci set {LAN_VLAN}.vlan='1'"));
    page.line(format_args!("  for port in $(ls /sys/class/net/{bridge}/brif); do"));
    page.line(format_args!(
        "    [ -e /sys/class/net/$port/phy80211 ] || uci add_list {LAN_VLAN}.ports=\"$port:u*\""
    ));
    page.line("  done");
    page.line(format_args!("  for section in $lans; do uci set network.$section.device='{bridge}.1'; done"));
    page.line("fi");
}

fn bridge_vlan(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str], page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note(&format!("VLAN {vlan}, tagged towards the NAS, and the router's address in it."));
    page.line(format_args!("uci set network.{name}_ports=bridge-vlan"));
    page.line(format_args!("uci set network.{name}_ports.device='{bridge}'"));
    page.line(format_args!("uci set network.{name}_ports.vlan='{vlan}'"));
    for port in towards_nas {
        page.line(format_args!("uci add_list network.{name}_ports.ports='{port}:t'"));
    }
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

/// A pool in OpenWrt's terms: the offset from the subnet's own address, and the number of addresses.
fn start_and_limit(subnet: &RouterSubnet) -> Option<(u128, u128)> {
    let pool = subnet.largest_pool()?;
    let before = Range::of_net(&subnet.net).offset_of(pool.first())?;
    Some((before, pool.len()))
}

/// The subnet with the pool. OpenWrt has one pool for each interface, in the interface's first subnet.
fn with_pool(plan: &RouterPlan) -> Option<&RouterSubnet> {
    plan.v4().next().filter(|subnet| !subnet.pools.is_empty())
}

fn dhcp(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.line(format_args!("uci set dhcp.{name}=dhcp"));
    page.line(format_args!("uci set dhcp.{name}.interface='{name}'"));
    match with_pool(plan).and_then(|subnet| Some((subnet, start_and_limit(subnet)?))) {
        Some((subnet, (start, limit))) => {
            if subnet.pools.len() > 1 {
                page.note(&format!(
                    "OpenWrt's pool is one piece and cannot leave out its middle. This is the largest part of \
                     {}. Put Ashore's range at one end of the subnet to lose nothing.",
                    joined(&subnet.pools, ", ")
                ));
            }
            // The default differs between releases.
            page.line(format_args!("uci set dhcp.{name}.dhcpv4='server'"));
            page.line(format_args!("uci set dhcp.{name}.start='{start}'"));
            page.line(format_args!("uci set dhcp.{name}.limit='{limit}'"));
            page.line(format_args!("uci set dhcp.{name}.leasetime='12h'"));
        }
        None => page.line(format_args!("uci set dhcp.{name}.dhcpv4='disabled'")),
    }
    for subnet in plan.v4().skip(1).filter(|subnet| !subnet.pools.is_empty()) {
        page.note(&format!(
            "{} has no pool: OpenWrt has one for each interface, in its first subnet.",
            subnet.net
        ));
    }
    if !plan.advertised().is_empty() {
        page.line(format_args!("uci set dhcp.{name}.ra='server'"));
    }
}

fn firewall(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    let open = plan.policy == Some(Policy::Open);
    page.gap();
    page.note("A separate firewall zone. Traffic passes between zones only where a forwarding allows it.");
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
    page.note("Private addresses do not count as the internet, even behind a second router.");
    let section = format!("firewall.{name}_private");
    page.line(format_args!("uci set {section}=rule"));
    for (option, value) in [
        ("name", &*format!("{name}-private")),
        ("src", name),
        ("dest", "wan"),
        ("proto", "all"),
        ("target", "REJECT"),
    ] {
        page.line(format_args!("uci set {section}.{option}='{value}'"));
    }
    for net in private(true).into_iter().chain(private(false)) {
        page.line(format_args!("uci add_list {section}.dest_ip='{net}'"));
    }
    page.note("What the VLAN may use on the router itself.");
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

/// Adds a rule that allows traffic from the zone to the router itself.
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

fn clicks(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str], page: &mut Page) {
    let name = &plan.name;
    let addresses: Vec<String> =
        plan.subnets.iter().map(|subnet| subnet.interface_address().to_string()).collect();
    page.gap();
    page.note("Or do the same in LuCI, which undoes a change by itself if it is cut off for 90 s:");
    page.note(&format!(
        "Network > Interfaces > Devices > {bridge} > Configure > Bridge VLAN filtering: enable it; VLAN 1 \
         untagged and primary on all ports; VLAN {vlan} tagged on {}. Before you save, set Interfaces > lan > \
         Device to {bridge}.1.",
        towards_nas.join(", ")
    ));
    page.note(&format!(
        "Network > Interfaces > Add new interface: name {name}, static address, device {bridge}.{vlan}, address {}, \
         firewall zone: a new one, {name}.",
        addresses.join(", ")
    ));
    if let Some((start, limit)) = with_pool(plan).and_then(start_and_limit) {
        page.note(&format!("Its tab DHCP Server > General Setup: set up, start {start}, limit {limit}."));
    }
    if !plan.advertised().is_empty() {
        page.note("Its tab DHCP Server > IPv6 Settings: RA-Service server mode; DHCPv6-Service and NDP-Proxy disabled.");
    }
    let pairs: Vec<String> = forwardings(plan).iter().map(|(from, to)| format!("{from} to {to}")).collect();
    page.note(&format!("Network > Firewall > Zones: forward {}; nothing else.", pairs.join(", ")));
    if plan.policy != Some(Policy::Open) {
        page.note(&format!(
            "There, input of {name}: reject. Traffic Rules from {name} to this device: accept ports 53 (TCP, \
             UDP) and 67 (UDP), and ICMP; from {name} to wan, destination addresses {}: reject.",
            private(true).join(", ")
        ));
    }
    page.note(&format!(
        "With swconfig (the router has a page Network > Switch, and ports are called eth0.1): create VLAN \
         {vlan} there, tagged on the CPU and on the port towards the NAS, and change nothing else. Then create \
         the interface as above, with the device eth0.{vlan}."
    ));
}

/// The LAN's own pool: the script reads it, and removes the range from it.
fn untagged(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note(
        "Work over SSH. The script saves the two numbers that it changes in another script, \
                       which restores them.",
    );
    let of = plan.v4().next().expect("without IPv4 nothing is to be done");
    lan_pool::first_advice(plan, of, &mut parts.lines);
    parts.lines.file("/tmp/lan-pool.sh", &pool_script(of), "SCRIPT");
    parts.lines.line("sh /tmp/lan-pool.sh");
    for subnet in plan.v4().skip(1) {
        parts.lines.note(&format!(
            "{} has no pool on OpenWrt, which has one for each interface, in its first subnet.",
            subnet.net
        ));
    }
    parts.lines.note(
        "In LuCI: Network > Interfaces > lan > Edit > DHCP Server. Start counts from the subnet's own address; \
         limit is the number of addresses. Leases inside the range expire by themselves. To end them at once: \
         service dnsmasq stop; rm /tmp/dhcp.leases; service dnsmasq start.",
    );
    parts.away.shown("sh /root/lan-pool-away.sh && rm /root/lan-pool-away.sh");
    parts
}

fn pool_script(subnet: &RouterSubnet) -> Page {
    let whole = Range::of_net(&subnet.net);
    let offset = |ip| whole.offset_of(ip).unwrap_or_default();
    let (first, last) = (offset(subnet.range.first()), offset(subnet.range.last()));
    let mut page = Page::default();
    page.lines(BEGIN);
    page.lines(&format!(
        r#"# Find the interface with this as its first subnet, and its pool.
lan=
for section in $(uci show network | sed -n 's/^network\.\([^.]*\)=interface$/\1/p'); do
  set -- $(uci -q get network.$section.ipaddr || true)
  [ $# -gt 0 ] || continue
  case $1 in
    */*) eval "$(ipcalc.sh $1)" ;;
    *) eval "$(ipcalc.sh $1 $(uci -q get network.$section.netmask || echo 255.255.255.0))" ;;
  esac
  [ "$NETWORK/$PREFIX" != {} ] || lan=$section
done
[ -n "$lan" ] || stop 'no interface has {0} as its first subnet'
says() {{ case " $2 " in *" $(uci -q get dhcp.$section.$1 || echo '?') "*) return 0 ;; esac; return 1; }}
pools=
for section in $(uci show dhcp | sed -n "s/^dhcp\.\([^.]*\)\.interface='$lan'$/\1/p"); do
  ! says ignore '1 on true yes enabled' || continue
  ! says dhcpv4 disabled || continue
  ! says dynamicdhcp '0 off false no disabled' || continue
  pools="$pools $section"
done
set -- $pools
if [ $# -eq 0 ]; then
  echo "$lan has no pool here: nothing has to change"
  exit 0
fi
[ $# -eq 1 ] || stop "$lan has several pools ($*): none of them may contain the numbers {first} to {last}"
pool=$1
# The current values as OpenWrt counts them, or its defaults.
start=$(uci -q get dhcp.$pool.start || echo 100)
limit=$(uci -q get dhcp.$pool.limit || echo 150)
case $start$limit in *[!0-9]*) stop "start and limit of the pool $pool have to be numbers, and are $start and $limit" ;; esac
last=$((start + limit - 1))
[ $last -le {1} ] || last={1}
if [ $last -lt {first} ] || [ $start -gt {last} ]; then
  echo 'the pool is clear of the range: nothing has to change'
  exit 0
fi
old_start=$start old_limit=$limit
# The pool is one piece: keep the larger part that the range leaves.
before=$(({first} - start))
behind=$((last - {last}))
if [ $before -ge $behind ]; then
  limit=$before
else
  start={2}
  limit=$behind
fi
[ $limit -gt 0 ] || stop 'the pool lies inside the range: give Ashore another range'
[ -e /root/lan-pool-away.sh ] || cat > /root/lan-pool-away.sh <<END
uci set dhcp.$pool.start=$old_start
uci set dhcp.$pool.limit=$old_limit
uci commit dhcp
service dnsmasq restart
[ ! -x /etc/init.d/odhcpd ] || service odhcpd restart
END
uci set dhcp.$pool.start="$start"
uci set dhcp.$pool.limit="$limit"
uci commit dhcp
service dnsmasq restart
# Either of the two may be set to serve IPv4.
[ ! -x /etc/init.d/odhcpd ] || service odhcpd restart
echo "the pool is $limit addresses from number $start on""#,
        subnet.net,
        whole.len().saturating_sub(2),
        last + 1,
    ));
    page
}
