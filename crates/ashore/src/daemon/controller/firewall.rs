//! What the host's own firewall does to networks on a bridge, and to what the host and its containers send each other by
//! a shim. It is reported, and left to the owner of the rules.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ashore_core::api::about::About;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::network::Network;
use ashore_core::net::family::Family;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::link::{ALL_PORTS, Tag, port_name, shim_name};
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::net::observed::{Link, View};
use ashore_core::net::remedy::Remedy;
use ashore_kernel::{Apart, At, By, Fate, Firewall, Hook, Namespace, Packets, Rules, bridged_pass_hooks};
use ipnet::IpNet;

use self::copied::copied;
use super::Controller;
use crate::unlocked::Unlocked;

mod copied;

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
        host: &View,
    ) -> Looked {
        let mut looked = Looked::default();
        let on_bridges = networks.into_iter().filter(|network| network.kind == LinkKind::Bridge);
        for (network, net) in on_bridges.flat_map(|network| nets(network).map(move |net| (network, net))) {
            let Some(bridge) = host.link(network.bridge()) else { continue };
            let family = Family::of(net.addr());
            let about = About { parent: Some(network.bridge().clone()), ..About::network(network) };
            let rules = || firewall.read().as_ref().map_err(ToString::to_string);
            let frames = rules().map(|rules| crossing(rules, network, net, bridge, host));
            let frames = frames.map(|is| is.map(|cut| cut_frames(network, &cut, about.clone())));
            // What is so of one family says nothing of the other.
            let packets = match bridged_pass_hooks(self.copies.host(), family) {
                Ok(false) => Ok(Bridged::Passes),
                Ok(true) => rules().map(|rules| Bridged::of(rules.fate(&bridged(bridge, net)))),
                Err(error) => Err(error.to_string()),
            };
            let told = |(by, but_some)| cut(network, family, &by, but_some, about.clone());
            let packets = packets.map(|is| is.map(told));
            let mut why = None;
            for one in [frames, packets] {
                match one {
                    Ok(Bridged::Passes) => {}
                    Ok(Bridged::Cut(trouble)) => looked.troubles.push(trouble),
                    Ok(Bridged::Unclear) => why = Some(UNCLEAR.to_owned()),
                    Err(error) => why = Some(error),
                }
            }
            let Some(why) = why else { continue };
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

    /// Whether the host's rules for frames drop what it asks the LAN by a bridge, or what it is answered. Silence means
    /// nothing then.
    pub(super) fn is_deaf(firewall: &HostFirewall<'_>, network: &Network, net: IpNet, host: &View) -> bool {
        let bridge = host.link(network.bridge()).filter(|_| network.kind == LinkKind::Bridge);
        let Some((bridge, rules)) = bridge.zip(firewall.read().as_ref().ok()) else { return false };
        let is_dropped = |fate: &Fate| matches!(fate, Fate::Dropped { but_some: false, .. });
        [Hook::Input, Hook::Output]
            .into_iter()
            .any(|hook| of_lan(rules, net, bridge, host, hook).iter().any(is_dropped))
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
                            Is::Cut(cut) => Some(way.told(network, Family::of(own), cut)),
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

/// Whether what crosses a bridge passes.
enum Bridged<C> {
    Passes,
    Cut(C),
    Unclear,
}

impl<C> Bridged<C> {
    fn map<D>(self, cut: impl FnOnce(C) -> D) -> Bridged<D> {
        match self {
            Bridged::Passes => Bridged::Passes,
            Bridged::Cut(by) => Bridged::Cut(cut(by)),
            Bridged::Unclear => Bridged::Unclear,
        }
    }
}

impl Bridged<(Rules, bool)> {
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Pass => Bridged::Passes,
            Fate::Dropped { by, but_some } => Bridged::Cut((by, but_some)),
            Fate::Unclear => Bridged::Unclear,
        }
    }
}

/// Packets as the hooks for routed ones are shown them, with the bridge in place of its ports.
fn bridged(bridge: &Link, net: IpNet) -> Packets {
    Packets {
        hook: Hook::Forward,
        into: Some(by(bridge)),
        out: Some(by(bridge)),
        bridge: Some(bridge.name.clone()),
        source: net,
        destination: net,
        begin: true,
    }
}

fn by(link: &Link) -> By {
    By { name: link.name.clone(), index: link.index }
}

/// Frames that do not pass a bridge.
struct CutFrames {
    /// Whose they are.
    whose: &'static str,
    by: Rules,
    but_some: bool,
    /// What nftables compares to know them there, each by itself.
    known_by: Vec<String>,
}

/// Whether frames between a network's containers, the LAN and this host pass the rules for frames.
fn crossing(
    rules: &Firewall,
    network: &Network,
    net: IpNet,
    bridge: &Link,
    host: &View,
) -> Bridged<CutFrames> {
    let frames = |hook, into: Option<&By>, out: Option<&By>| frames(rules, net, bridge, hook, into, out);
    let is_own = |link: &&Link| {
        link.master == Some(bridge.index)
            && matches!(link.tag(), Some(Tag::Port(of, _)) if of == network.name)
    };
    let mut own: Vec<By> = host.links.iter().filter(is_own).take(MOST_PORTS).map(by).collect();
    if own.is_empty() {
        // That of the first container.
        let name: Result<EndpointName, _> = "first".parse();
        own.extend(name.map(|name| By { name: port_name(&network.name, &name), index: 0 }));
    }
    let facing = facing(bridge, host);
    // A host that gets nothing from the LAN either is meant to.
    let passes = |fate: &Fate| *fate == Fate::Pass;
    let [to_host, of_host] =
        [Hook::Input, Hook::Output].map(|hook| of_lan(rules, net, bridge, host, hook).iter().all(passes));
    let (mut all, ports) = (Vec::new(), format!("'{ALL_PORTS}'"));
    let both = || vec![format!("iifname {ports}"), format!("oifname {ports}")];
    let mut meets = |whose, hook, into: (Option<&By>, &str), out: (Option<&By>, &str)| {
        all.extend(frames(hook, into.0, out.0).into_iter().map(|(at, fate)| {
            let known_by = match (at, hook) {
                (At::Before, _) | (At::Within, Hook::Input) => vec![format!("iifname {}", into.1)],
                (At::After, _) | (At::Within, Hook::Output) => vec![format!("oifname {}", out.1)],
                (At::Within, Hook::Forward) => both(),
            };
            (whose, fate, known_by)
        }));
    };
    for port in &own {
        let port = (Some(port), ports.as_str());
        for nic in &facing {
            let word = nic.name.word();
            let nic = (Some(nic), &*word);
            meets(BETWEEN_LAN, Hook::Forward, nic, port);
            meets(BETWEEN_LAN, Hook::Forward, port, nic);
        }
        if to_host {
            meets(TO_HOST, Hook::Input, port, (None, ""));
        }
        if of_host {
            meets(OF_HOST, Hook::Output, (None, ""), port);
        }
    }
    let is_unclear = all.iter().any(|(_, fate, _)| *fate == Fate::Unclear);
    let cut = all.into_iter().find_map(|(whose, fate, known_by)| match fate {
        Fate::Dropped { by, but_some } => Some(Bridged::Cut(CutFrames { whose, by, but_some, known_by })),
        Fate::Pass | Fate::Unclear => None,
    });
    cut.unwrap_or(if is_unclear { Bridged::Unclear } else { Bridged::Passes })
}

/// Rules seldom name ports, and a look at each is another walk through all rules.
const MOST_PORTS: usize = 16;

/// The ports of a bridge that face the LAN.
fn facing(bridge: &Link, host: &View) -> Vec<By> {
    host.facing(bridge).into_iter().take(MOST_PORTS).map(by).collect()
}

/// What becomes of frames of a bridge, in each chain.
fn frames(
    rules: &Firewall,
    net: IpNet,
    bridge: &Link,
    hook: Hook,
    into: Option<&By>,
    out: Option<&By>,
) -> Vec<(At, Fate)> {
    let (bridge, begin, into, out) = (Some(bridge.name.clone()), true, into.cloned(), out.cloned());
    rules.fates_of_frames(&Packets { hook, into, out, bridge, source: net, destination: net, begin })
}

/// What becomes of the frames that this host gets from the LAN (`Hook::Input`), or sends to it (`Hook::Output`).
fn of_lan(rules: &Firewall, net: IpNet, bridge: &Link, host: &View, hook: Hook) -> Vec<Fate> {
    let all = facing(bridge, host).into_iter().flat_map(|nic| match hook {
        Hook::Output => frames(rules, net, bridge, hook, None, Some(&nic)),
        _ => frames(rules, net, bridge, hook, Some(&nic), None),
    });
    all.map(|(_, fate)| fate).collect()
}

const BETWEEN_LAN: &str = "its containers and the LAN send each other";
const TO_HOST: &str = "its containers send to this host";
const OF_HOST: &str = "this host sends to its containers";

/// That the rules for frames drop what crosses a bridge.
fn cut_frames(network: &Network, cut: &CutFrames, about: About) -> Trouble {
    let but_some = if cut.but_some { BUT_SOME } else { "" };
    let message = format!(
        "network `{}` is on the bridge `{}`, and this host's firewall drops what {}{but_some}: {} drops it as it crosses the \
         bridge",
        network.label(),
        network.bridge(),
        cut.whose,
        named(&cut.by, "FORWARD"),
    );
    let remedy = match &cut.by {
        // An accept at the head of a list of what is allowed would allow all.
        Rules::Nftables { .. } if cut.but_some => {
            Some("let that chain accept what its containers are to get and send, ARP included".into())
        }
        Rules::Nftables { family, table, chain } => inserts(family, table, chain).map(|inserts| {
            let accepts = cut.known_by.iter().map(|known| format!("{inserts} {known} accept"));
            Remedy::run(accepts.collect::<Vec<_>>().join(" && "))
        }),
        Rules::Legacy => None,
    };
    Trouble::new(Code::FirewallDrops, about, message, remedy)
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
        (Rules::Nftables { family, table, chain }, None) => match inserts(family, table, chain) {
            Some(inserts) => {
                let bridge = bridge.word();
                remedy.and(", or ").and_run(format!("{inserts} iifname {bridge} oifname {bridge} accept"))
            }
            None => remedy,
        },
        (Rules::Legacy, None) => remedy,
    };
    Trouble::new(Code::FirewallDrops, about, message, Some(remedy))
}

/// The table of firewalld, which nobody else changes.
const FIREWALLD: &str = "firewalld";

/// The command that puts a rule before all others of a chain. `None` if a name in it cannot be typed: nftables takes any
/// from other programs, and commands of its own in one are carried out.
fn inserts(family: &str, table: &str, chain: &str) -> Option<String> {
    [table, chain].into_iter().all(is_plain).then(|| format!("nft insert rule {family} {table} {chain}"))
}

/// Whether a name is one word for a shell, for nft and in an expression of sed.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain)
}

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
    /// Rules drop them.
    Cut(Cut),
    /// Nothing drops them, or drops the LAN's too: a host that lets nobody in means that.
    Open,
    /// A rule that is not understood may decide.
    Unclear,
}

/// Rules that drop what goes by the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    by: Rules,
    /// Whether they accept some of it.
    but_some: bool,
    /// Where they are about the parent and not the shim, if of what goes by the parent some alone is accepted.
    copied: Option<BTreeSet<Apart>>,
}

impl Way {
    /// Whether rules drop what goes this way by the shim, and not all of the same by the parent.
    fn is_cut(&self, firewall: &Firewall, (parent, shim): (&Link, &Link), net: IpNet, own: IpAddr) -> Is {
        let packets = |link: &Link| {
            let by = Some(by(link));
            let own = IpNet::from(own);
            let (hook, begin, bridge) = (self.hook, self.begin, None);
            match hook {
                Hook::Output => {
                    Packets { hook, into: None, out: by, bridge, source: own, destination: net, begin }
                }
                _ => Packets { hook, into: by, out: None, bridge, source: net, destination: own, begin },
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
            (Fate::Dropped { by, but_some }, of_parent) => {
                let apart = || firewall.tells_apart(&by_parent, &by_shim);
                let copied = (of_parent != Fate::Pass).then(apart);
                Is::Cut(Cut { by, but_some, copied })
            }
        }
    }

    fn told(&self, network: &Network, family: Family, cut: &Cut) -> (String, Remedy) {
        let (parent, shim) = (&network.parent, shim_name(&network.parent));
        let (hook, option, key, to_or_from) = match self.hook {
            Hook::Output => ("OUTPUT", "-o", "oifname", "sends to"),
            _ => ("INPUT", "-i", "iifname", "gets from"),
        };
        let but_some = if cut.but_some { BUT_SOME } else { "" };
        let message = format!(
            "this host's firewall treats what this host {to_or_from} containers of network `{}` by `{shim}` otherwise than the \
             LAN by `{parent}`: {} drops it{but_some}, so {}",
            network.label(),
            named(&cut.by, hook),
            self.means
        );
        let copied = copied(cut, [parent, &shim]);
        let remedy = copied.unwrap_or_else(|| accepted(&cut.by, family, &shim, parent, hook, option, key));
        (message, remedy)
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
        (Rules::Nftables { family, table, chain }, None) => match inserts(family, table, chain) {
            Some(inserts) => Remedy::run(format!("{inserts} {key} {} accept", shim.word())),
            None => format!("let that chain accept what has {key} {shim}").into(),
        },
        (Rules::Legacy, None) => command(iptables(family).to_owned()),
    }
}
