//! What the host's own firewall does to networks on a bridge, and to what the host and its containers send each other by
//! a shim. It is reported, and left to the owner of the rules.

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
use ashore_kernel::{By, Fate, Firewall, Hook, Packets, Rules, bridged_pass_hooks};
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

impl Controller {
    /// What the host's firewall keeps from the endpoints of these networks on a bridge, with the remedy.
    pub(super) fn cut_by_firewall<'a>(
        &self,
        _: &Unlocked,
        networks: impl IntoIterator<Item = &'a Network>,
    ) -> Looked {
        let mut looked = Looked::default();
        let on_bridges = networks.into_iter().filter(|network| network.kind == LinkKind::Bridge);
        let of_families = on_bridges.flat_map(|network| nets(network).map(move |net| (network, net)));
        let mut firewall: Option<io::Result<Firewall>> = None;
        for (network, net) in of_families {
            let family = Family::of(net.addr());
            let passes = bridged_pass_hooks(self.copies.host(), family);
            if matches!(passes, Ok(false)) {
                continue;
            }
            let read = || passes.and_then(|_| Firewall::of(self.copies.host()));
            let firewall = firewall.get_or_insert_with(read);
            let about = About { parent: Some(network.bridge().clone()), ..About::network(network) };
            let fate = firewall.as_ref().map(|firewall| bridged(firewall, network, net));
            match fate {
                Ok(Fate::Pass) => {}
                Ok(Fate::Dropped { by, but_some }) => {
                    looked.troubles.push(cut(network, family, &by, but_some, about));
                }
                Ok(Fate::Unclear) => {
                    looked.unknown.push((about, unclear(network, "a rule of it is not understood")))
                }
                Err(error) => looked.unknown.push((about, unclear(network, &error.to_string()))),
            }
        }
        looked
    }

    /// What the host's firewall keeps from the host and its containers, and not from the host and the LAN.
    pub(super) fn host_cut_by_firewall<'a>(
        &self,
        _: &Unlocked,
        networks: impl IntoIterator<Item = &'a Network>,
        host: &View,
    ) -> Looked {
        let mut looked = Looked::default();
        let mut firewall = None;
        for network in networks.into_iter().filter(|network| network.uses_shim()) {
            let parent = host.link(&network.parent);
            let shim = host.tagged(&Tag::Shim(network.parent.clone()));
            let Some((parent, shim)) = parent.zip(shim) else { continue };
            let about = About { parent: Some(shim.name.clone()), ..About::network(network) };
            for (net, own) in own_in(network, parent, host) {
                match firewall.get_or_insert_with(|| Firewall::of(self.copies.host())) {
                    Ok(firewall) => {
                        let cuts = CUTS.iter().find_map(|way| way.is_cut(firewall, (parent, shim), net, own));
                        looked.troubles.extend(cuts.map(|(way, by)| {
                            let (message, remedy) = way.told(network, Family::of(own), &by);
                            Trouble::new(Code::HostFirewall, about.clone(), message, Some(remedy))
                        }));
                    }
                    Err(error) => {
                        let what = format!(
                            "whether this host's firewall lets it and the containers of network `{}` reach each other could \
                             not be found out: {error}",
                            network.label()
                        );
                        looked.unknown.push((about.clone(), what));
                    }
                }
            }
        }
        looked
    }
}

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

fn unclear(network: &Network, why: &str) -> String {
    format!(
        "whether this host's firewall lets packets pass the bridge `{}` of network `{}` could not be found out: {why}",
        network.bridge(),
        network.label()
    )
}

fn cut(network: &Network, family: Family, by: &Rules, but_some: bool, about: About) -> Trouble {
    let tables = iptables(family);
    let but_some = if but_some { ", but for some that a rule accepts" } else { "" };
    let message = format!(
        "network `{}` is on the bridge `{}`, and this host's firewall drops bridged packets{but_some}: \
         net.bridge.bridge-nf-call-{tables} is 1, and {} drops them",
        network.label(),
        network.bridge(),
        named(by, "FORWARD"),
    );
    let remedy = Remedy::run(format!("sysctl -w net.bridge.bridge-nf-call-{tables}=0"));
    let bridge = network.bridge();
    let remedy = match by {
        Rules::Nftables { table, .. } if table == FIREWALLD => {
            remedy.and(", or let its zone pass it on: ").and_run("firewall-cmd --zone=ZONE --add-forward")
        }
        _ if is_iptables(by) => remedy
            .and(", or ")
            .and_run(format!("{tables} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT")),
        Rules::Nftables { family, table, chain } => remedy.and(", or ").and_run(format!(
            "nft insert rule {family} {table} {chain} iifname {bridge} oifname {bridge} accept"
        )),
        Rules::Legacy => remedy,
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

/// Whether rules are those of iptables, of which kind ever.
fn is_iptables(by: &Rules) -> bool {
    match by {
        Rules::Legacy => true,
        Rules::Nftables { family, table, .. } => *family != "inet" && table == "filter",
    }
}

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

impl Way {
    /// The rules that drop what goes this way by the shim, and not all of the same by the parent. A host that lets nobody
    /// in means that.
    fn is_cut(
        &self,
        firewall: &Firewall,
        (parent, shim): (&Link, &Link),
        net: IpNet,
        own: IpAddr,
    ) -> Option<(&Way, Rules)> {
        let fate = |link: &Link| {
            let by = Some(By { name: link.name.clone(), index: link.index });
            let own = IpNet::from(own);
            let (hook, begin, bridged) = (self.hook, self.begin, false);
            firewall.fate(&match hook {
                Hook::Output => {
                    Packets { hook, into: None, out: by, bridged, source: own, destination: net, begin }
                }
                _ => Packets { hook, into: by, out: None, bridged, source: net, destination: own, begin },
            })
        };
        let Fate::Dropped { by, but_some: false } = fate(shim) else { return None };
        let is_open = matches!(fate(parent), Fate::Pass | Fate::Dropped { but_some: true, .. });
        is_open.then_some((self, by))
    }

    fn told(&self, network: &Network, family: Family, by: &Rules) -> (String, Remedy) {
        let (parent, shim) = (&network.parent, shim_name(&network.parent));
        let (hook, option, key, to_or_from) = match self.hook {
            Hook::Output => ("OUTPUT", "-o", "oifname", "sends to"),
            _ => ("INPUT", "-i", "iifname", "gets from"),
        };
        let message = format!(
            "this host's firewall treats what this host {to_or_from} containers of network `{}` by `{shim}` otherwise than the \
             LAN by `{parent}`: {} drops it, so {}",
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
    match by {
        Rules::Nftables { table, .. } if table == FIREWALLD => {
            Remedy::from("put the link into the zone of the parent: ")
                .and_run(format!("firewall-cmd --get-zone-of-interface={}", parent.word()))
                .and(", ")
                .and_run(format!("firewall-cmd --zone=ZONE --add-interface={}", shim.word()))
        }
        Rules::Nftables { family, table, chain } if !is_iptables(by) => {
            Remedy::run(format!("nft insert rule {family} {table} {chain} {key} {} accept", shim.word()))
        }
        _ => Remedy::run(format!("{} -I {hook} {option} {} -j ACCEPT", iptables(family), shim.word())),
    }
}
