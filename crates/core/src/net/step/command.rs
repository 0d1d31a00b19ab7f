//! Displays a step as the single command that a user would type for it.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::host::Manner;
use super::{ROUTE_PROTOCOL, Route, Step, Sysctl};
use crate::net::family::Family;
use crate::net::kind::LinkKind;
use crate::net::link::{LinkSpec, LinkType, Place};
use crate::net::name::IfName;
use crate::net::text::Word;

/// Names and paths are quoted because the output is meant for a shell and they may come from a container.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = self.link().word();
        let ip = Ip(self.place());
        let bridge = Tool("bridge", self.place());
        match self {
            Step::AddLink { place, link } => write!(f, "{}", AddLinkCommand { place, link }),
            Step::DelLink { .. } => write!(f, "{ip} link del dev {link}"),
            Step::SetAlias { tag: Some(tag), .. } => {
                write!(f, "{ip} link set dev {link} alias {}", Word(tag.to_string().as_bytes()))
            }
            Step::SetAlias { tag: None, .. } => write!(f, "{ip} link set dev {link} alias ''"),
            Step::SetNoLinkLocal { .. } => write!(f, "{ip} link set dev {link} addrgenmode none"),
            Step::SetMaster { master: Some(master), .. } => {
                write!(f, "{ip} link set dev {link} master {}", master.word())
            }
            Step::SetMaster { master: None, .. } => write!(f, "{ip} link set dev {link} nomaster"),
            Step::SetPort { option, on, .. } => {
                let (setting, on) = option.setting(*on);
                write!(f, "{bridge} link set dev {link} {setting} {}", on_off(on))
            }
            Step::SetPortVlan { vlan, membership, .. } => {
                write!(f, "{bridge} vlan add dev {link} vid {vlan}{membership}")
            }
            Step::DelPortVlan { vlan, .. } => write!(f, "{bridge} vlan del dev {link} vid {vlan}"),
            Step::SetMtu { mtu, .. } => write!(f, "{ip} link set dev {link} mtu {mtu}"),
            Step::SetMode { kind, .. } => write!(f, "{ip} link set dev {link} type {}", with_mode(*kind)),
            Step::SetGvrp { on, .. } => write!(f, "{ip} link set dev {link} type vlan gvrp {}", on_off(*on)),
            Step::SetUp { up, .. } => {
                write!(f, "{ip} link set dev {link} {}", if *up { "up" } else { "down" })
            }
            Step::AddAddress { address, .. } => {
                write!(f, "{ip} addr add {} dev {link}", address.net)?;
                if address.has_broadcast() {
                    f.write_str(" brd +")?;
                }
                if address.nodad { f.write_str(" nodad") } else { Ok(()) }
            }
            Step::DelAddress { address, .. } => write!(f, "{ip} addr del {} dev {link}", address.net),
            Step::SetDeprecated { net, on, .. } => {
                let preferred = if *on { "0" } else { "forever" };
                write!(f, "{ip} addr change {net} dev {link} nodad preferred_lft {preferred}")
            }
            Step::SetRoute { route, instead_of, .. } => {
                let verb = if instead_of.is_some() { "replace" } else { "add" };
                write!(f, "{ip}{} route {verb} {route}", route.family_flag())
            }
            Step::DelRoute { route, .. } => write!(f, "{ip}{} route del {route}", route.family_flag()),
            Step::AddNeighbour { ip: to, mac, .. } => {
                write!(
                    f,
                    "{ip} neigh replace {to} lladdr {mac} dev {link} nud permanent protocol {ROUTE_PROTOCOL}"
                )
            }
            Step::DelNeighbour { ip: to, .. } => write!(f, "{ip} neigh del {to} dev {link}"),
            Step::PutHostAddress { address, .. } => {
                write!(f, "{ip} addr replace {address} dev {link}{}", Manner(address))
            }
            Step::DelHostAddress { address, .. } => write!(f, "{ip} addr del {address} dev {link}"),
            Step::Reroute { route, .. } => {
                write!(f, "{ip}{} route replace {route}", route.route.family_flag())
            }
            Step::SetSysctl { place, sysctl, value, .. } => {
                write!(f, "{}{}", Enter(place), sysctl.command(*value))
            }
        }
    }
}

impl IfName {
    /// The name as a word for a shell.
    pub fn word(&self) -> String {
        Word(&self.bytes()).to_string()
    }
}

/// Returns a path as a word for a shell.
fn path(path: &Path) -> String {
    Word(path.as_os_str().as_bytes()).to_string()
}

impl Route {
    fn family_flag(&self) -> &'static str {
        if self.to.addr().is_ipv6() { " -6" } else { "" }
    }

    /// The destination, as `ip route` takes it.
    pub(crate) fn destination(&self) -> String {
        if self.to.prefix_len() == 0 { "default".into() } else { self.to.to_string() }
    }

    /// The route without its protocol.
    pub fn way(&self) -> impl fmt::Display {
        Way(self)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} proto {ROUTE_PROTOCOL}", self.way())
    }
}

struct Way<'a>(&'a Route);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { to, via, dev, src, metric } = self.0;
        f.write_str(&self.0.destination())?;
        if let Some(via) = via {
            let family = if via.is_ipv6() && to.addr().is_ipv4() { "inet6 " } else { "" };
            write!(f, " via {family}{via}")?;
        }
        write!(f, " dev {}", dev.word())?;
        if let Some(src) = src {
            write!(f, " src {src}")?;
        }
        metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        // sysctl(8) takes `/` in place of the dots that belong to an interface's own name.
        let link = self.link.as_str().replace('.', "/");
        write!(f, "net.{family}.conf.{link}.{}", self.key.as_str())
    }
}

impl Sysctl {
    /// The command that sets it.
    pub(crate) fn command(&self, value: i32) -> String {
        format!("sysctl -w {}", Word::of(&format!("{self}={value}")))
    }
}

impl Place {
    /// The `nsenter` prefix of a command that runs in this place, with a trailing space. It is empty for the
    /// host.
    pub fn enter(&self) -> impl fmt::Display {
        Enter(self)
    }
}

struct Enter<'a>(&'a Place);

impl fmt::Display for Enter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Host => Ok(()),
            Place::Netns(netns) => write!(f, "nsenter --net={} ", path(&netns.path)),
        }
    }
}

/// `ip`, with the place in which it acts.
struct Ip<'a>(&'a Place);

impl fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Tool("ip", self.0).fmt(f)
    }
}

/// A program of iproute2, with the place in which it acts.
struct Tool<'a>(&'a str, &'a Place);

impl fmt::Display for Tool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tool(program, place) = self;
        match place {
            Place::Netns(netns) => match netns.ip_name() {
                Some(name) => write!(f, "{program} -n {}", Word(name.as_bytes())),
                None => write!(f, "{}{program}", Enter(place)),
            },
            Place::Host => f.write_str(program),
        }
    }
}

/// `ip link add`, which runs on the host even if the link is made in another place.
struct AddLinkCommand<'a> {
    place: &'a Place,
    link: &'a LinkSpec,
}

impl fmt::Display for AddLinkCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinkSpec { name, kind, mac, mtu } = self.link;
        f.write_str("ip link add")?;
        if let LinkType::Macvlan { parent, .. }
        | LinkType::Ipvlan { parent, .. }
        | LinkType::Vlan { parent, .. } = kind
        {
            write!(f, " link {}", parent.word())?;
        }
        write!(f, " name {}", name.word())?;
        write_netns(f, self.place)?;
        if let Some(mac) = mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = mtu {
            write!(f, " mtu {mtu}")?;
        }
        match kind {
            LinkType::Macvlan { mode, bc_queue_len, bc_limit, .. } => {
                write!(f, " type {}", with_mode(LinkKind::Macvlan(*mode)))?;
                bc_queue_len.map_or(Ok(()), |length| write!(f, " bcqueuelen {length}"))?;
                bc_limit.map_or(Ok(()), |limit| write!(f, " bclim {limit}"))
            }
            LinkType::Ipvlan { mode, .. } => write!(f, " type {}", with_mode(LinkKind::Ipvlan(*mode))),
            LinkType::Veth { peer, peer_place, peer_mac } => {
                write!(f, " type veth peer name {}", peer.word())?;
                write_netns(f, peer_place)?;
                peer_mac.map_or(Ok(()), |mac| write!(f, " address {mac}"))
            }
            LinkType::Bridge => f.write_str(" type bridge"),
            LinkType::Vlan { id, gvrp, .. } => {
                write!(f, " type vlan id {id}")?;
                if *gvrp { f.write_str(" gvrp on") } else { Ok(()) }
            }
        }
    }
}

/// A link kind and its mode, as `ip link` takes them.
fn with_mode(kind: LinkKind) -> String {
    match kind {
        LinkKind::Macvlan(mode) => format!("macvlan mode {}", mode.as_str()),
        LinkKind::Ipvlan(mode) => format!("ipvlan mode {}", mode.as_str()),
        LinkKind::Bridge => "bridge".into(),
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn write_netns(f: &mut fmt::Formatter<'_>, place: &Place) -> fmt::Result {
    match place {
        Place::Host => Ok(()),
        Place::Netns(netns) => match netns.ip_name() {
            Some(name) => write!(f, " netns {}", Word(name.as_bytes())),
            None => write!(f, " netns {}", path(&netns.path)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::link::Netns;

    #[test]
    fn whoever_chooses_a_name_chooses_no_command() {
        let place = |path: &str| Place::Netns(Netns::new(path.into(), 4, 7));
        let del = |bytes: &[u8], path: &str| {
            Step::DelLink { place: place(path), link: IfName::seen(bytes).unwrap() }.to_string()
        };
        assert_eq!(del(b"eth0", "/run/netns/web"), "ip -n web link del dev eth0");
        assert_eq!(del(b"$(id)", "/run/netns/a b"), "ip -n 'a b' link del dev '$(id)'");
        assert_eq!(del(b";id", "/tmp/$x"), "nsenter --net='/tmp/$x' ip link del dev ';id'");
        assert_eq!(
            del(b"x\xffy\n", "/proc/7/ns/net"),
            r"nsenter --net=/proc/7/ns/net ip link del dev $'x\xffy\x0a'"
        );

        let dev = IfName::seen(b"`id`").unwrap();
        let route =
            Route { to: "0.0.0.0/0".parse().unwrap(), via: None, dev: dev.clone(), src: None, metric: None };
        let removed = Step::DelRoute { place: Place::Host, route }.to_string();
        assert_eq!(removed, "ip route del default dev '`id`' proto 65");
        let sysctl = Sysctl { family: Family::Ipv6, link: dev, key: crate::net::step::SysctlKey::Mtu };
        let set = Step::SetSysctl { place: Place::Host, sysctl, value: 1400, was: None }.to_string();
        assert_eq!(set, "sysctl -w 'net.ipv6.conf.`id`.mtu=1400'");
    }
}
