//! OpenWrt 23.05 and later with DSA: a bridge holds the switch's ports, firewall zones are called `lan` and `wan`.
//!
//! A script, which looks before it writes, and stops with a word where the router is another than it thinks: pasted lines go
//! on after one that failed. It takes nobody else's pending changes along, and puts the old files back unless it is told that
//! all is well.

use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::{Policy, RouterPlan, RouterSubnet, joined, private};

/// How long the old files wait to be put back, in seconds.
const TRIAL: u32 = 180;

/// What all scripts begin with.
const BEGIN: &str = r#"set -euf
stop() { echo "$*; nothing was changed" >&2; exit 1; }
[ -z "$(uci changes)" ] || stop 'there are changes that are not committed (uci changes shows them): commit or revert them first'"#;

/// The configurations that are changed.
const FILES: [&str; 3] = ["network", "dhcp", "firewall"];

/// The section by which the LAN is VLAN 1 of its bridge. No router has one called so by itself, and all VLANs of Ashore share it.
const LAN_VLAN: &str = "network.ashore_lan";

pub(super) fn render(plan: &RouterPlan) -> Parts {
    let Some(vlan) = plan.vlan else { return untagged(plan) };
    let (name, bridge) = (&plan.name, plan.trunk_or("br-lan"));
    let towards_nas = plan.ports_or("lan1");
    let mut parts = Parts::default();
    parts.before.note(&format!(
        "Over SSH. Towards the NAS, or the switch before it: {}. The script keeps a copy of three files in /root/before-{name}, and puts \
         them back after {TRIAL} s unless it is told that all is well. If even that fails: failsafe mode (a key while it boots), \
         mount_root, and cp /root/before-{name}/* /etc/config/. A backup of everything, to be on the safe side:",
        towards_nas.join(", ")
    ));
    parts.before.shown("sysupgrade -b /tmp/backup.tar.gz");
    parts.before.note("The script that takes all away again is written first.");
    parts.before.file(&format!("/root/{name}-away.sh"), &away(plan, bridge), "AWAY");

    parts.lines.file(&format!("/tmp/{name}.sh"), &script(plan, bridge, vlan, &towards_nas), "SCRIPT");
    parts.lines.line(format_args!("sh /tmp/{name}.sh"));
    told_that_all_is_well(name, &mut parts.lines);
    clicks(plan, bridge, vlan, &towards_nas, &mut parts.lines);

    parts.away.note(&format!(
        "Everything that bears the name {name} goes, and the LAN leaves VLAN 1 of {bridge} again if no other VLAN needs that. What was done \
         in LuCI is taken away there."
    ));
    parts.away.shown(format_args!("sh /root/{name}-away.sh"));
    told_that_all_is_well(name, &mut parts.away);
    parts.away.note("What is left then are the copy and the script:");
    parts.away.shown(format_args!("rm -r /root/before-{name} /root/{name}-away.sh"));
    parts
}

fn told_that_all_is_well(name: &str, page: &mut Page) {
    page.note(&format!("LAN, Wi-Fi and internet work as before? Then, within {TRIAL} s:"));
    page.shown(format_args!("rm /tmp/{name}.trial"));
}

/// All sections that any policy makes.
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
    page.note("A copy, unless it was made by an earlier run.");
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

/// The whole way back.
fn away(plan: &RouterPlan, bridge: &str) -> Page {
    let (name, mut page) = (&plan.name, Page::default());
    page.lines(BEGIN);
    delete_sections(name, &mut page);
    page.note(&format!(
        "The LAN is on {bridge} as a whole again, if that was changed for Ashore and no other VLAN is left."
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

/// The head of a loop over all sections of a type, unnamed ones (`@bridge-vlan[0]`) among them.
fn for_each(kind: &str, page: &mut Page) {
    page.line(format_args!(
        "for section in $(uci show network | sed -n 's/^network\\.\\([^.]*\\)={kind}$/\\1/p'); do"
    ));
}

fn files() -> String {
    FILES.map(|file| format!("/etc/config/{file}")).join(" ")
}

fn delete_sections(name: &str, page: &mut Page) {
    page.note("From here on what fails takes back what it staged.");
    page.line("trap 'uci revert network; uci revert dhcp; uci revert firewall' EXIT");
    page.line(format_args!("for section in {}; do uci -q delete $section || true; done", sections(name)));
}

/// Puts what is staged into force, and what was there before back again unless somebody says that all is well.
fn on_trial(plan: &RouterPlan, page: &mut Page) {
    let name = &plan.name;
    page.gap();
    page.note("The way back, which outlives this session.");
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

/// Stops where this is another router than the lines are for.
fn checks(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str], page: &mut Page) {
    let name = &plan.name;
    page.line(
        "[ -z \"$(swconfig list 2>/dev/null)\" ] || stop 'the router has swconfig instead of DSA, and this is not for it'",
    );
    page.line(format_args!(
        "[ -d /sys/class/net/{bridge}/brif ] || stop 'there is no bridge {bridge}: --lan-interface names the one that holds the LAN'"
    ));
    page.line(format_args!("for port in {}; do", towards_nas.join(" ")));
    page.line(format_args!(
        "  [ -e /sys/class/net/{bridge}/brif/$port ] || stop \"$port is no port of {bridge}, which has: $(ls \
         /sys/class/net/{bridge}/brif | tr '\\n' ' ')(--port names one)\""
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
    page.note(&format!("The VLANs that {bridge} has, and the interfaces that are on it as a whole. Another bridge's do not count."));
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

/// Once a bridge has one VLAN it carries nothing else: the LAN has to become one too, or it is cut off.
fn lan_stays(bridge: &str, page: &mut Page) {
    page.gap();
    page.note(&format!(
        "If {bridge} has no VLANs yet, the LAN becomes VLAN 1 of it, untagged on every port as before. Wi-Fi joins by \
         itself."
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

/// A pool as OpenWrt counts it: how far from the subnet's own address, and how many.
fn start_and_limit(subnet: &RouterSubnet) -> Option<(u128, u128)> {
    let pool = subnet.largest_pool()?;
    let before = Range::of_net(&subnet.net).offset_of(pool.first())?;
    Some((before, pool.len()))
}

/// The subnet that has the pool: OpenWrt counts from an interface's first address, and has one pool for each interface.
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
                    "OpenWrt's pool is one piece and cannot leave out its middle. Of {} this is the largest; put Ashore's range at \
                     an end of the subnet to lose nothing.",
                    joined(&subnet.pools, ", ")
                ));
            }
            // Releases differ in what they do without a word.
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
    page.note("A firewall zone of its own. What is not forwarded from zone to zone does not pass.");
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
    page.note("Private addresses are not the internet, also those behind a second router.");
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
    page.note("What it may want of the router itself.");
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

fn clicks(plan: &RouterPlan, bridge: &str, vlan: VlanId, towards_nas: &[&str], page: &mut Page) {
    let name = &plan.name;
    let addresses: Vec<String> =
        plan.subnets.iter().map(|subnet| subnet.interface_address().to_string()).collect();
    page.gap();
    page.note("Or the same in LuCI, which takes back by itself what cuts it off for 90 s:");
    page.note(&format!(
        "Network > Interfaces > Devices > {bridge} > Configure > Bridge VLAN filtering: enable it; VLAN 1 untagged and \
         primary on all ports; VLAN {vlan} tagged on {}. Before that is saved, Interfaces > lan > Device: {bridge}.1.",
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
            "There, input of {name}: reject; and Traffic Rules from {name} to this device: accept ports 53 (TCP, UDP) and 67 (UDP), and \
             ICMP; from {name} to wan, destination addresses {}: reject.",
            private(true).join(", ")
        ));
    }
    page.note(&format!(
        "With swconfig (there is a page Network > Switch, and ports are called eth0.1): there a VLAN {vlan}, tagged on the CPU and on the \
         port towards the NAS, and nothing else changed; then the interface as above, with the device eth0.{vlan}."
    ));
}

/// The LAN's own pool: the script reads it, and takes the range out of what is there.
fn untagged(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Over SSH. The script writes down the two numbers that it changes, in a script of its own that puts them back.");
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
        "In LuCI: Network > Interfaces > lan > Edit > DHCP Server. Start counts from the subnet's own address, limit is how many. \
         Leases inside the range end by themselves; to end them at once: service dnsmasq stop; rm /tmp/dhcp.leases; service dnsmasq \
         start.",
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
        r#"# The interface whose first subnet this is, and its pool.
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
[ $# -eq 1 ] || stop "$lan has several pools ($*): the numbers {first} to {last} may be in none of them"
pool=$1
# What is there, as OpenWrt counts it, and what it has where nothing is said.
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
# The pool is one piece: of what the range leaves of it, the larger.
before=$(({first} - start))
behind=$((last - {last}))
if [ $before -ge $behind ]; then
  limit=$before
else
  start={2}
  limit=$behind
fi
[ $limit -gt 0 ] || stop 'the pool lies inside the range: give Ashore another one'
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
# Which of the two hands out IPv4 is a setting.
[ ! -x /etc/init.d/odhcpd ] || service odhcpd restart
echo "the pool is $limit addresses from number $start on""#,
        subnet.net,
        whole.len().saturating_sub(2),
        last + 1,
    ));
    page
}
