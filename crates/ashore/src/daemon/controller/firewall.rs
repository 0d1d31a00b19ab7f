//! What the host's own firewall does to networks on a bridge, and to what the host and its containers send each other by
//! a shim. It is reported, and left to the owner of the rules.

use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ashore_core::api::about::About;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::network::Network;
use ashore_core::net::family::Family;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::{Tag, shim_name};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, View};
use ashore_core::net::remedy::Remedy;
use ashore_kernel::{By, Fate, Firewall, Hook, Namespace, Packets, Rules, bridged_pass_hooks};
use ipnet::IpNet;

use super::Controller;
use crate::unlocked::Unlocked;

/// What was found in the firewall.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What it cuts.
    pub(super) troubles: Vec<Trouble>,
    /// What could not be found out.
    pub(super) unknown: Vec<(About, String)>,
}

impl Looked {
    /// What is wrong, as warnings.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.troubles.iter().map(ToString::to_string)
    }
}

/// The host's firewall. It is read once for an answer, and only if something depends on it.
pub(super) struct HostFirewall<'a> {
    host: &'a Namespace,
    read: OnceCell<io::Result<Firewall>>,
}

impl HostFirewall<'_> {
    fn read(&self) -> &io::Result<Firewall> {
        self.read.get_or_init(|| Firewall::of(self.host))
    }
}

impl Controller {
    /// The host's firewall, to be read when it is asked for.
    pub(super) fn firewall(&self) -> HostFirewall<'_> {
        HostFirewall { host: self.copies.host(), read: OnceCell::new() }
    }

    /// What the host's firewall keeps from the endpoints of these networks on a bridge, with the remedy.
    pub(super) fn cut_by_firewall<'a>(
        &self,
        _: &Unlocked,
        firewall: &HostFirewall<'_>,
        networks: impl IntoIterator<Item = &'a Network>,
    ) -> Looked {
        let mut looked = Looked::default();
        let on_bridges = networks.into_iter().filter(|network| network.kind == LinkKind::Bridge);
        for (network, net) in on_bridges.flat_map(|network| nets(network).map(move |net| (network, net))) {
            let family = Family::of(net.addr());
            let about = About { parent: Some(network.bridge().clone()), ..About::network(network) };
            // What is so of one family says nothing of the other.
            let why = match bridged_pass_hooks(self.copies.host(), family) {
                Ok(false) => continue,
                Err(error) => error.to_string(),
                Ok(true) => match firewall.read().as_ref().map(|rules| bridged(rules, network, net)) {
                    Ok(Fate::Pass) => continue,
                    Ok(Fate::Dropped { by, but_some }) => {
                        looked.troubles.push(cut(network, family, &by, but_some, about));
                        continue;
                    }
                    Ok(Fate::Unclear) => UNCLEAR.to_owned(),
                    Err(error) => error.to_string(),
                },
            };
            let kind = match family {
                Family::Ipv4 => "IPv4",
                Family::Ipv6 => "IPv6",
            };
            let what = format!(
                "whether this host's firewall lets {kind} packets pass the bridge `{}` of network `{}` could not be found \
                 out: {why}",
                network.bridge(),
                network.label()
            );
            looked.unknown.push((about, what));
        }
        looked
    }

    /// What the host's firewall keeps from the host and its containers, and not from the host and the LAN.
    pub(super) fn host_cut_by_firewall<'a>(
        _: &Unlocked,
        firewall: &HostFirewall<'_>,
        networks: impl IntoIterator<Item = &'a Network>,
        host: &View,
    ) -> Looked {
        let mut looked = Looked::default();
        // What ipvlan's containers send to their host arrives by the parent.
        let by_shim =
            |network: &&Network| network.uses_shim() && !matches!(network.kind, LinkKind::Ipvlan(_));
        for network in networks.into_iter().filter(by_shim) {
            let parent = host.link(&network.parent);
            let shim = host.tagged(&Tag::Shim(network.parent.clone()));
            let Some((parent, shim)) = parent.zip(shim) else { continue };
            let about = About { parent: Some(shim.name.clone()), ..About::network(network) };
            for (net, own) in own_in(network, parent, host) {
                let mut unclear = None;
                match firewall.read() {
                    Ok(firewall) => {
                        let ways = CUTS.map(|way| (way.is_cut(firewall, (parent, shim), net, own), way));
                        if ways.iter().any(|(is, _)| *is == Is::Unclear) {
                            unclear = Some(UNCLEAR.to_owned());
                        }
                        let cuts = ways.iter().find_map(|(is, way)| match is {
                            Is::Cut(by, but_some) => Some(way.told(network, Family::of(own), by, *but_some)),
                            Is::Open | Is::Unclear => None,
                        });
                        if let Some((message, remedy)) = cuts {
                            unclear = None;
                            let trouble =
                                Trouble::new(Code::HostFirewall, about.clone(), message, Some(remedy));
                            looked.troubles.push(trouble);
                        }
                    }
                    Err(error) => unclear = Some(error.to_string()),
                }
                let unclear = unclear.map(|why| {
                    format!(
                        "whether this host's firewall lets it and the containers of network `{}` reach each other could not be \
                         found out: {why}",
                        network.label()
                    )
                });
                looked.unknown.extend(unclear.map(|what| (about.clone(), what)));
            }
        }
        looked
    }
}

/// Why it is not known what the rules do, although they were read.
const UNCLEAR: &str = "a rule of it that may decide is not understood, or drops some packets alone";

/// The nets of a network, one for each family.
fn nets(network: &Network) -> impl Iterator<Item = IpNet> {
    let of = |is_v4: bool| {
        network.subnets.iter().map(|subnet| subnet.net).find(|net| net.addr().is_ipv4() == is_v4)
    };
    // Where routers say what the prefix is, any may be.
    let any = || IpNet::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    let v6 = of(false).or_else(|| network.follows_routers().then(any));
    of(true).into_iter().chain(v6)
}

/// The nets of a network in which the host has an address on the parent, with that address.
fn own_in(network: &Network, parent: &Link, host: &View) -> Vec<(IpNet, IpAddr)> {
    let own = |net: IpNet| Some((net, host.host_address(parent, &net)?));
    network.subnets.iter().filter_map(|subnet| own(subnet.net)).collect()
}

fn bridged(firewall: &Firewall, network: &Network, net: IpNet) -> Fate {
    // The kernel shows these hooks the bridge in place of its ports.
    let bridge = Some(By { name: network.bridge().clone(), index: 0 });
    firewall.fate(&Packets {
        hook: Hook::Forward,
        into: bridge.clone(),
        out: bridge,
        bridged: true,
        source: net,
        destination: net,
        begin: true,
    })
}

/// What is said of rules that accept some of what they drop otherwise.
const BUT_SOME: &str = ", but for some that a rule accepts";

fn cut(network: &Network, family: Family, by: &Rules, but_some: bool, about: About) -> Trouble {
    let tables = iptables(family);
    let but_some = if but_some { BUT_SOME } else { "" };
    let message = format!(
        "network `{}` is on the bridge `{}`, and this host's firewall drops bridged packets{but_some}: \
         net.bridge.bridge-nf-call-{tables} is 1, and {} drops them",
        network.label(),
        network.bridge(),
        named(by, "FORWARD"),
    );
    let remedy = Remedy::run(format!("sysctl -w net.bridge.bridge-nf-call-{tables}=0"));
    let bridge = network.bridge();
    let remedy = match (by, iptables_of(by, family)) {
        (Rules::Nftables { table, .. }, _) if table == FIREWALLD => {
            let command = in_zone(bridge, "--add-forward");
            remedy.and(", or let its zone pass it on: ").and_run(command).and(UNTIL_RELOAD)
        }
        (_, Some(program)) => remedy
            .and(", or ")
            .and_run(format!("{program} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT")),
        (Rules::Nftables { family, table, chain }, None) => remedy.and(", or ").and_run(format!(
            "nft insert rule {family} {table} {chain} iifname {bridge} oifname {bridge} accept"
        )),
        (Rules::Legacy, None) => remedy,
    };
    Trouble::new(Code::FirewallDrops, about, message, Some(remedy))
}

/// The table of firewalld, which nobody else changes.
const FIREWALLD: &str = "firewalld";

fn iptables(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    }
}

/// The program whose rules these are, if that is iptables of some kind. Its chains are in capitals: rules that it puts
/// into other chains are met by nobody.
fn iptables_of(by: &Rules, of: Family) -> Option<String> {
    let kind = match by {
        Rules::Legacy => "legacy",
        Rules::Nftables { family: "ip" | "ip6", table, chain }
            if table == "filter" && ["INPUT", "FORWARD", "OUTPUT"].contains(&chain.as_str()) =>
        {
            "nft"
        }
        Rules::Nftables { .. } => return None,
    };
    Some(format!("{}-{kind}", iptables(of)))
}

/// What firewalld is to do with the zone of a link. A link that is put into none is in the default one.
fn in_zone(link: &IfName, does: &str) -> String {
    let link = link.word();
    format!(
        "firewall-cmd --zone=$(firewall-cmd --get-zone-of-interface={link} || firewall-cmd --get-default-zone) {does}"
    )
}

/// How long that lasts.
const UNTIL_RELOAD: &str =
    ", and the same with `--permanent`, or firewalld forgets it when it is next reloaded";

/// Rules as their owner knows them. `hook` is the chain's name in iptables.
fn named(by: &Rules, hook: &str) -> String {
    match by {
        Rules::Nftables { family, table, chain } => {
            format!("the chain `{chain}` of the table `{family} {table}`")
        }
        Rules::Legacy => format!("the chain `{hook}` of the table `filter`"),
    }
}

/// A way that packets between the host and its containers take.
struct Way {
    hook: Hook,
    begin: bool,
    /// What it means that they are dropped.
    means: &'static str,
}

/// From what harms most.
const CUTS: [Way; 3] = [
    Way { hook: Hook::Output, begin: true, means: "this host does not reach them" },
    Way { hook: Hook::Input, begin: false, means: "this host does not get their answers" },
    Way { hook: Hook::Input, begin: true, means: "they do not reach this host" },
];

/// Whether packets pass a way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    /// These rules drop them, perhaps but for some.
    Cut(Rules, bool),
    /// Nothing drops them, or drops the LAN's too: a host that lets nobody in means that.
    Open,
    /// A rule that is not understood may decide.
    Unclear,
}

impl Way {
    /// Whether rules drop what goes this way by the shim, and not all of the same by the parent.
    fn is_cut(&self, firewall: &Firewall, (parent, shim): (&Link, &Link), net: IpNet, own: IpAddr) -> Is {
        let packets = |link: &Link| {
            let by = Some(By { name: link.name.clone(), index: link.index });
            let own = IpNet::from(own);
            let (hook, begin, bridged) = (self.hook, self.begin, false);
            match hook {
                Hook::Output => {
                    Packets { hook, into: None, out: by, bridged, source: own, destination: net, begin }
                }
                _ => Packets { hook, into: by, out: None, bridged, source: net, destination: own, begin },
            }
        };
        let (by_shim, by_parent) = (packets(shim), packets(parent));
        match (firewall.fate(&by_shim), firewall.fate(&by_parent)) {
            // Nothing is dropped, or the LAN's all, or both let some in, such as those to a port.
            (Fate::Pass, _)
            | (_, Fate::Dropped { but_some: false, .. })
            | (Fate::Dropped { but_some: true, .. }, Fate::Dropped { .. }) => Is::Open,
            _ if firewall.treats_alike(&by_shim, &by_parent) => Is::Open,
            (Fate::Dropped { .. }, Fate::Unclear) | (Fate::Unclear, _) => Is::Unclear,
            (Fate::Dropped { by, but_some }, _) => Is::Cut(by, but_some),
        }
    }

    fn told(&self, network: &Network, family: Family, by: &Rules, but_some: bool) -> (String, Remedy) {
        let (parent, shim) = (&network.parent, shim_name(&network.parent));
        let (hook, option, key, to_or_from) = match self.hook {
            Hook::Output => ("OUTPUT", "-o", "oifname", "sends to"),
            _ => ("INPUT", "-i", "iifname", "gets from"),
        };
        let but_some = if but_some { BUT_SOME } else { "" };
        let message = format!(
            "this host's firewall treats what this host {to_or_from} containers of network `{}` by `{shim}` otherwise than the \
             LAN by `{parent}`: {} drops it{but_some}, so {}",
            network.label(),
            named(by, hook),
            self.means
        );
        (message, accepted(by, family, &shim, parent, hook, option, key))
    }
}

/// To let the firewall accept what comes or goes by the shim.
fn accepted(
    by: &Rules,
    family: Family,
    shim: &IfName,
    parent: &IfName,
    hook: &str,
    option: &str,
    key: &str,
) -> Remedy {
    let command =
        |program: String| Remedy::run(format!("{program} -I {hook} {option} {} -j ACCEPT", shim.word()));
    match (by, iptables_of(by, family)) {
        (Rules::Nftables { table, .. }, _) if table == FIREWALLD => {
            let adds = format!("--add-interface={}", shim.word());
            let command = in_zone(parent, &adds);
            Remedy::from("put the link into the zone of the parent: ").and_run(command).and(UNTIL_RELOAD)
        }
        (_, Some(program)) => command(program),
        (Rules::Nftables { family, table, chain }, None) => {
            Remedy::run(format!("nft insert rule {family} {table} {chain} {key} {} accept", shim.word()))
        }
        (Rules::Legacy, None) => command(iptables(family).to_owned()),
    }
}
