//! What the host's firewall does to a kind of packets: those that cross a bridge, or come and go by a link.
//!
//! With `br_netfilter`, bridged packets pass the hooks for routed packets. A FORWARD policy of DROP, which
//! Docker sets, then cuts machines on one bridge off from each other. This module only reads, and never
//! changes a rule. It follows the rules as a packet would. What it does not understand in a rule makes the
//! answer unclear, if the rule may decide.

use std::collections::BTreeSet;
use std::io;

use ashore_core::net::family::Family;
use ashore_core::net::name::IfName;
use ipnet::IpNet;

use crate::netns::Namespace;

mod legacy;
mod nftables;
mod register;
mod rule;
mod walk;
mod xtables;

/// Where a packet passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// On its way to the host (`NF_INET_LOCAL_IN`).
    Input = 1,
    /// On its way through the host (`NF_INET_FORWARD`).
    Forward = 2,
    /// On its way from the host (`NF_INET_LOCAL_OUT`).
    Output = 3,
}

/// A link that a packet passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Its name.
    pub name: IfName,
    /// Its index.
    pub index: u32,
}

/// A kind of packets.
#[derive(Debug, Clone)]
pub struct Packets {
    /// Where they pass.
    pub hook: Hook,
    /// The link that they come by.
    pub into: Option<By>,
    /// The link that they leave by.
    pub out: Option<By>,
    /// The bridge that they cross, if they do nothing else. Of its ports, `into` and `out` are asked by
    /// [`Firewall::fates_of_frames`] alone; the hooks for packets are shown the bridge itself.
    pub bridge: Option<IfName>,
    /// Their senders, which decides the family too.
    pub source: IpNet,
    /// Their receivers.
    pub destination: IpNet,
    /// Whether they begin a connection. Otherwise they belong to one that has begun.
    pub begin: bool,
}

impl Packets {
    fn family(&self) -> Family {
        Family::of(self.source.addr())
    }
}

/// What becomes of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They pass.
    Pass,
    /// They are dropped.
    Dropped {
        /// The rules that drop them.
        by: Rules,
        /// Whether a rule accepts some of them, such as those to one port.
        but_some: bool,
    },
    /// A rule that is not understood may accept or drop them, or a rule drops some of them.
    Unclear,
}

/// A set of rules with a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// A base chain of nftables, which iptables-nft has too.
    Nftables {
        /// The family of its table: `ip`, `ip6`, `inet` or `bridge`.
        family: &'static str,
        /// Its table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// The table `filter` of iptables-legacy.
    Legacy,
}

/// Where frames meet rules on their way across a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before it is known where they go.
    Before,
    /// At the hook of their kind of packets.
    Within,
    /// When it is no longer known where they come from.
    After,
}

/// Where rules are about packets of one kind and not about those of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Apart {
    /// A rule of nftables, by its table's family and its table.
    Rule(&'static str, String),
    /// A set of nftables that has a name, and in which a value of one kind alone is: the same of it.
    Set(&'static str, String, String),
}

/// The rules of a namespace, as they were when they were read.
#[derive(Debug, Clone, Default)]
pub struct Firewall {
    nftables: nftables::Tables,
    legacy: Vec<legacy::Table>,
}

impl Firewall {
    /// Reads the rules of a namespace.
    pub fn of(namespace: &Namespace) -> io::Result<Self> {
        namespace.run(|| {
            let legacy = [Family::Ipv4, Family::Ipv6].into_iter().map(legacy::read);
            let legacy = legacy.filter_map(Result::transpose).collect::<io::Result<_>>()?;
            Ok(Firewall { nftables: nftables::read()?, legacy })
        })?
    }

    /// What becomes of packets.
    pub fn fate(&self, packets: &Packets) -> Fate {
        let mut fates: Vec<Fate> = self.nftables.fates(packets);
        fates.extend(self.legacy(packets).map(|table| table.fate(packets)));
        worst(&fates)
    }

    /// What becomes of packets that cross a bridge, or come and go by it, as frames: in each chain of nftables' family
    /// `bridge` that they pass. Those of IPv4 need ARP besides.
    pub fn fates_of_frames(&self, packets: &Packets) -> Vec<(At, Fate)> {
        self.nftables.fates_of_frames(packets)
    }

    /// Where nftables' rules are about packets of one kind, and not about those of another.
    pub fn tells_apart(&self, one: &Packets, other: &Packets) -> BTreeSet<Apart> {
        self.nftables.tells_apart(one, other)
    }

    /// Whether packets of two kinds meet the same rules, and each rule is about as many of them. They have the same fate
    /// then, although it may be unclear which.
    pub fn treats_alike(&self, one: &Packets, other: &Packets) -> bool {
        let met = |packets| {
            let legacy: Vec<_> = self.legacy(packets).map(|table| table.met(packets)).collect();
            (self.nftables.met(packets), legacy)
        };
        met(one) == met(other)
    }

    fn legacy(&self, packets: &Packets) -> impl Iterator<Item = &legacy::Table> {
        let family = packets.family();
        self.legacy.iter().filter(move |table| table.family == family)
    }
}

/// Every set of rules has to let packets pass.
fn worst(fates: &[Fate]) -> Fate {
    let is_certain = |fate: &&Fate| matches!(fate, Fate::Dropped { .. });
    let of_some = |fate: &&Fate| matches!(fate, Fate::Dropped { but_some: false, .. });
    let worst = fates.iter().find(of_some).or_else(|| fates.iter().find(is_certain));
    worst.or_else(|| fates.iter().find(|fate| **fate == Fate::Unclear)).cloned().unwrap_or(Fate::Pass)
}

/// Whether bridged packets of a family pass the hooks for routed packets in a namespace.
pub fn bridged_pass_hooks(namespace: &Namespace, family: Family) -> io::Result<bool> {
    let key = match family {
        Family::Ipv4 => "bridge-nf-call-iptables",
        Family::Ipv6 => "bridge-nf-call-ip6tables",
    };
    namespace.run(|| match std::fs::read_to_string(format!("/proc/sys/net/bridge/{key}")) {
        Ok(value) => Ok(value.trim() == "1"),
        // The file is missing if br_netfilter is not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    })?
}
