//! Links: what Ashore makes and where, and the tag that identifies Ashore's own links.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use crate::net::name::{EndpointName, IfName, NetworkName};
use crate::net::vlan::VlanId;

mod names;

pub use names::{ALL_PORTS, engine_link_name, port_name, shim_name};
pub(crate) use names::{is_engine_link_name, is_port_name, own_port_name};

/// A network namespace other than the host's: how to open it, and how to recognise it.
///
/// A path may later lead to another namespace: a process id is reused, or a container is created again.
/// Therefore the identity of the namespace behind the path is stored too. Two values are equal if they are
/// the same namespace, whatever their paths, so that everything in one namespace is handled together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Netns {
    /// A path that opens it, such as `/run/netns/web` or `/proc/4711/ns/net`.
    #[serde(with = "crate::net::odd_path")]
    pub path: PathBuf,
    /// `st_dev` of the file that the path opened.
    pub dev: u64,
    /// `st_ino` of the file that the path opened. When a namespace is gone, the kernel soon gives its number
    /// to another one.
    pub ino: u64,
    /// The kernel's unique number for this namespace, if the kernel reports one (Linux 5.14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Box<Cookie>>,
    /// The path by which it was attached, if that path no longer leads to this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::net::odd_path::optional")]
    pub attached_by: Option<Box<Path>>,
}

/// The kernel's number for a namespace (`SO_NETNS_COOKIE`) together with the boot in which it is valid. The
/// kernel does not reuse the number until the host reboots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cookie {
    /// The kernel's identifier of the boot (`boot_id`).
    pub boot: String,
    /// The number.
    pub number: u64,
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Netns {}

impl PartialOrd for Netns {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Netns {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.dev, self.ino, &self.cookie).cmp(&(other.dev, other.ino, &other.cookie))
    }
}

impl Hash for Netns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.dev, self.ino, &self.cookie).hash(state);
    }
}

impl Netns {
    /// Returns the namespace that a path opened, identified only by its file: without a cookie.
    pub fn new(path: PathBuf, dev: u64, ino: u64) -> Self {
        Netns { path, dev, ino, cookie: None, attached_by: None }
    }

    /// Whether both have the same file. Of two namespaces that exist at the same time, only one can have it.
    pub fn has_file_of(&self, other: &Netns) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Returns the same namespace under another path, because the path by which it was attached no longer
    /// leads to it.
    #[must_use]
    pub fn found_by(&self, path: PathBuf) -> Self {
        let attached_by = self.attached_by.clone().or_else(|| Some(self.path.as_path().into()));
        Netns { path, attached_by, ..self.clone() }
    }

    /// The name by which `ip -n` finds the namespace. Returns `None` if it is not directly in `/run/netns`.
    pub fn ip_name(&self) -> Option<&str> {
        let name =
            ["/run/netns", "/var/run/netns"].iter().find_map(|dir| self.path.strip_prefix(dir).ok())?;
        name.to_str().filter(|name| !name.contains('/') && !name.is_empty())
    }
}

/// Where a link, address or route is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The host's namespace, which holds the parents: the namespace in which the daemon runs.
    Host,
    /// A container's namespace.
    Netns(Netns),
}

/// The type of a link, with everything that is needed to make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkType {
    /// A macvlan child of a link on the host.
    Macvlan {
        /// Its parent on the host.
        parent: IfName,
        /// How it treats its siblings.
        mode: MacvlanMode,
        /// `IFLA_MACVLAN_BC_QUEUE_LEN`: the length of the broadcast queue in frames. Without one it is the
        /// kernel's default (1000).
        bc_queue_len: Option<u32>,
        /// `IFLA_MACVLAN_BC_CUTOFF` (Linux 6.4): frames for groups that more links than this are in wait in that
        /// queue. Without one it is the kernel's default (1).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bc_limit: Option<i32>,
    },
    /// An ipvlan child of a link on the host.
    Ipvlan {
        /// Its parent on the host.
        parent: IfName,
        /// At which layer it switches. The kernel keeps one mode for all children of a parent.
        mode: IpvlanMode,
    },
    /// One end of a veth pair.
    Veth {
        /// The other end's name.
        peer: IfName,
        /// Where the other end is made.
        peer_place: Place,
        /// The other end's MAC. Without one the kernel chooses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer_mac: Option<Mac>,
    },
    /// A bridge.
    Bridge,
    /// An 802.1Q sub-interface.
    Vlan {
        /// The link that carries the tagged frames.
        parent: IfName,
        /// The VLAN ID.
        id: VlanId,
        /// Whether GVRP announces the VLAN to switches (`VLAN_FLAG_GVRP`).
        gvrp: bool,
    },
}

impl LinkType {
    /// The link kind with its mode. Returns `None` for types without modes.
    pub(crate) fn mode(&self) -> Option<LinkKind> {
        match self {
            LinkType::Macvlan { mode, .. } => Some(LinkKind::Macvlan(*mode)),
            LinkType::Ipvlan { mode, .. } => Some(LinkKind::Ipvlan(*mode)),
            LinkType::Veth { .. } | LinkType::Bridge | LinkType::Vlan { .. } => None,
        }
    }
}

/// A link to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// Its name in the namespace where it is made.
    pub name: IfName,
    /// Its type.
    pub kind: LinkType,
    /// Its MAC. Without one the kernel chooses it, and udev may change it.
    pub mac: Option<Mac>,
    /// Its MTU in bytes. Without one it is the parent's.
    pub mtu: Option<u32>,
}

/// The owner of a link, as written in its `ifalias`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Tag {
    /// The link of an endpoint: `ashore:<network>:<endpoint>`.
    Endpoint(NetworkName, EndpointName),
    /// The host's end of an endpoint's veth: `ashore-port:<network>:<endpoint>`.
    Port(NetworkName, EndpointName),
    /// The shim on a parent: `ashore-shim:<parent>`.
    Shim(IfName),
    /// A VLAN interface that Ashore made for networks: `ashore-vlan:<name>`.
    Vlan(IfName),
    /// The far end of Ashore's own port in a VLAN of a bridge: `ashore-vlan-port:<name>`.
    VlanPort(IfName),
}

impl Tag {
    /// Whether it is the tag of a veth end that is made and deleted together with the other end.
    pub fn is_far_end(&self) -> bool {
        matches!(self, Tag::Port(..) | Tag::VlanPort(_))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Endpoint(network, endpoint) => write!(f, "ashore:{network}:{endpoint}"),
            Tag::Port(network, endpoint) => write!(f, "ashore-port:{network}:{endpoint}"),
            Tag::Shim(parent) => write!(f, "ashore-shim:{parent}"),
            Tag::Vlan(name) => write!(f, "ashore-vlan:{name}"),
            Tag::VlanPort(name) => write!(f, "ashore-vlan-port:{name}"),
        }
    }
}

/// The text is not an Ashore tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ashore tag")]
pub struct NotATag;

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let (kind, rest) = text.split_once(':').ok_or(NotATag)?;
        let pair = || -> Option<(NetworkName, EndpointName)> {
            let (network, endpoint) = rest.split_once(':')?;
            Some((network.parse().ok()?, endpoint.to_owned().try_into().ok()?))
        };
        let tag = match kind {
            "ashore" => pair().map(|(n, e)| Tag::Endpoint(n, e)),
            "ashore-port" => pair().map(|(n, e)| Tag::Port(n, e)),
            "ashore-shim" => rest.parse().ok().map(Tag::Shim),
            "ashore-vlan" => rest.parse().ok().map(Tag::Vlan),
            "ashore-vlan-port" => rest.parse().ok().map(Tag::VlanPort),
            _ => None,
        };
        tag.ok_or(NotATag)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.to_string()
    }
}

impl TryFrom<String> for Tag {
    type Error = NotATag;

    fn try_from(text: String) -> Result<Self, NotATag> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_reads_back_and_foreign_aliases_are_nobodys() {
        for text in [
            "ashore:lan:web",
            "ashore-port:lan:web",
            "ashore-shim:eth0",
            "ashore-vlan:eth0.200",
            "ashore-vlan-port:br0-vlan200",
        ] {
            assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }
        for text in ["", "ashore", "ashore:", "ashore:lan", "ashore:lan:web:x", "ashore-shim:a/b", "uplink"] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
    }

    #[test]
    fn kinds_stand_beside_each_other_where_the_kernel_allows_it() {
        let beside = |one: &str, other: &str| {
            let (one, other) = (one.parse::<LinkKind>().unwrap(), other.parse::<LinkKind>().unwrap());
            assert_eq!(one.compatible_with(other), other.compatible_with(one));
            one.compatible_with(other)
        };
        assert!(
            beside("macvlan", "macvlan:private") && beside("ipvlan", "ipvlan") && beside("bridge", "bridge")
        );
        assert!(beside("macvlan", "bridge") && beside("ipvlan", "bridge"));
        assert!(!beside("macvlan", "ipvlan") && !beside("macvlan:passthru", "bridge"));
        assert!(!beside("ipvlan:l2", "ipvlan:l3") && !beside("macvlan", "macvlan:passthru"));
    }

    #[test]
    fn every_link_kind_reads_back() {
        for text in [
            "macvlan:bridge",
            "macvlan:private",
            "macvlan:vepa",
            "macvlan:passthru",
            "ipvlan:l2",
            "ipvlan:l3",
            "ipvlan:l3s",
            "bridge",
        ] {
            assert_eq!(text.parse::<LinkKind>().unwrap().to_string(), text);
        }
        assert!("macvtap".parse::<LinkKind>().is_err());
    }
}
