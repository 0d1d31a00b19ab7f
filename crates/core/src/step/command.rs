//! A step as the one command that a person would type for it.

use std::fmt;

use super::host::Manner;
use super::{Family, ROUTE_PROTOCOL, Route, Step, Sysctl};
use crate::link::{LinkKind, LinkSpec, LinkType, Place};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddLink { place, link } => write!(f, "{}", AddLinkCommand { place, link }),
            Step::DelLink { place, link } => write!(f, "{} link del dev {link}", Ip(place)),
            Step::SetAlias { place, link, tag: Some(tag) } => {
                write!(f, "{} link set dev {link} alias {tag}", Ip(place))
            }
            Step::SetAlias { place, link, tag: None } => {
                write!(f, "{} link set dev {link} alias ''", Ip(place))
            }
            Step::SetNoLinkLocal { place, link } => {
                write!(f, "{} link set dev {link} addrgenmode none", Ip(place))
            }
            Step::SetMaster { place, link, master: Some(master), .. } => {
                write!(f, "{} link set dev {link} master {master}", Ip(place))
            }
            Step::SetMaster { place, link, master: None, .. } => {
                write!(f, "{} link set dev {link} nomaster", Ip(place))
            }
            Step::SetPort { place, link, option, on } => {
                let (setting, on) = option.setting(*on);
                write!(f, "{} link set dev {link} {setting} {}", Tool("bridge", place), on_off(on))
            }
            Step::SetPortVlan { place, link, vlan, membership, .. } => {
                write!(f, "{} vlan add dev {link} vid {vlan}{membership}", Tool("bridge", place))
            }
            Step::DelPortVlan { place, link, vlan, .. } => {
                write!(f, "{} vlan del dev {link} vid {vlan}", Tool("bridge", place))
            }
            Step::SetMtu { place, link, mtu, .. } => write!(f, "{} link set dev {link} mtu {mtu}", Ip(place)),
            Step::SetMode { place, link, kind, .. } => {
                write!(f, "{} link set dev {link} type {}", Ip(place), with_mode(*kind))
            }
            Step::SetGvrp { place, link, on } => {
                write!(f, "{} link set dev {link} type vlan gvrp {}", Ip(place), on_off(*on))
            }
            Step::SetUp { place, link, up } => {
                write!(f, "{} link set dev {link} {}", Ip(place), if *up { "up" } else { "down" })
            }
            Step::AddAddress { place, link, address } => {
                write!(f, "{} addr add {} dev {link}", Ip(place), address.net)?;
                if address.has_broadcast() {
                    f.write_str(" brd +")?;
                }
                if address.nodad { f.write_str(" nodad") } else { Ok(()) }
            }
            Step::DelAddress { place, link, address } => {
                write!(f, "{} addr del {} dev {link}", Ip(place), address.net)
            }
            Step::SetDeprecated { place, link, net, on } => {
                let preferred = if *on { "0" } else { "forever" };
                write!(f, "{} addr change {net} dev {link} nodad preferred_lft {preferred}", Ip(place))
            }
            Step::SetRoute { place, route, instead_of } => {
                let verb = if instead_of.is_some() { "replace" } else { "add" };
                write!(f, "{}{} route {verb} {route}", Ip(place), route.family_flag())
            }
            Step::DelRoute { place, route } => {
                write!(f, "{}{} route del {route}", Ip(place), route.family_flag())
            }
            Step::AddNeighbour { place, link, ip, mac } => {
                write!(
                    f,
                    "{} neigh replace {ip} lladdr {mac} dev {link} nud permanent protocol {ROUTE_PROTOCOL}",
                    Ip(place)
                )
            }
            Step::DelNeighbour { place, link, ip, .. } => {
                write!(f, "{} neigh del {ip} dev {link}", Ip(place))
            }
            Step::PutHostAddress { place, link, address } => {
                write!(f, "{} addr replace {address} dev {link}{}", Ip(place), Manner(address))
            }
            Step::DelHostAddress { place, link, address } => {
                write!(f, "{} addr del {address} dev {link}", Ip(place))
            }
            Step::Reroute { place, route, .. } => {
                write!(f, "{}{} route replace {route}", Ip(place), route.route.family_flag())
            }
            Step::SetSysctl { place, sysctl, value, .. } => {
                write!(f, "{}sysctl -w {sysctl}={value}", Enter(place))
            }
        }
    }
}

impl Route {
    fn family_flag(&self) -> &'static str {
        if self.to.addr().is_ipv6() { " -6" } else { "" }
    }

    /// The route without a word of whose it is.
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
        let Route { to, via, dev, src } = self.0;
        if to.prefix_len() == 0 {
            f.write_str("default")?;
        } else {
            write!(f, "{to}")?;
        }
        if let Some(via) = via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {dev}")?;
        src.map_or(Ok(()), |src| write!(f, " src {src}"))
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        // sysctl(8) takes `/` for the dots that belong to an interface's own name.
        let link = self.link.as_str().replace('.', "/");
        write!(f, "net.{family}.conf.{link}.{}", self.key.as_str())
    }
}

impl Place {
    /// What stands before a command that is to run there, with a space after it; nothing for the host.
    pub fn enter(&self) -> impl fmt::Display {
        Enter(self)
    }
}

struct Enter<'a>(&'a Place);

impl fmt::Display for Enter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Host => Ok(()),
            Place::Netns(netns) => write!(f, "nsenter --net={} ", netns.path.display()),
        }
    }
}

/// `ip`, told where to act.
struct Ip<'a>(&'a Place);

impl fmt::Display for Ip<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Tool("ip", self.0).fmt(f)
    }
}

/// A program of iproute2, told where to act.
struct Tool<'a>(&'a str, &'a Place);

impl fmt::Display for Tool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tool(program, place) = self;
        match place {
            Place::Netns(netns) => match netns.ip_name() {
                Some(name) => write!(f, "{program} -n {name}"),
                None => write!(f, "{}{program}", Enter(place)),
            },
            Place::Host => f.write_str(program),
        }
    }
}

/// `ip link add`, which is typed on the host even when the link is made elsewhere.
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
            write!(f, " link {parent}")?;
        }
        write!(f, " name {name}")?;
        write_netns(f, self.place)?;
        if let Some(mac) = mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = mtu {
            write!(f, " mtu {mtu}")?;
        }
        match kind {
            LinkType::Macvlan { mode, bc_queue_len, .. } => {
                write!(f, " type {}", with_mode(LinkKind::Macvlan(*mode)))?;
                bc_queue_len.map_or(Ok(()), |length| write!(f, " bcqueuelen {length}"))
            }
            LinkType::Ipvlan { mode, .. } => write!(f, " type {}", with_mode(LinkKind::Ipvlan(*mode))),
            LinkType::Veth { peer, peer_place, peer_mac } => {
                write!(f, " type veth peer name {peer}")?;
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

/// A kind of link and its mode, as `ip link` takes them.
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
            Some(name) => write!(f, " netns {name}"),
            None => write!(f, " netns {}", netns.path.display()),
        },
    }
}
