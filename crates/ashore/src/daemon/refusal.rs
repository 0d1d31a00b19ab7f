//! Every error that a request can meet, as the one kind that a caller sees: what was wrong, and what helps.

use std::net::IpAddr;
use std::path::Path;

use ashore_core::api::refusal::{Refusal, RefusalKind};
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::pool::PoolKey;
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::net::step::Step;
use ashore_core::plan::diff::Blocked;
use ashore_core::plan::nic_move::BridgeError;
use ashore_core::rules::adopt::AdoptError;
use ashore_core::rules::allocate::AddressError;
use ashore_core::rules::attach::AttachError;
use ashore_core::rules::create::NetworkError;
use ashore_kernel::{Errno, NamespaceError, ObserveError, StepError};
use ashore_store::StoreError;
use ashore_wire::dhcp4::Ignored;
use ipnet::IpNet;

use super::lan::{NoLease, Unreachable};

fn refusal(kind: RefusalKind, message: &(impl ToString + ?Sized), hint: Option<String>) -> Refusal {
    Refusal { kind, message: message.to_string(), hint }
}

pub(super) fn network(error: &NetworkError) -> Refusal {
    let kind = match error {
        NetworkError::Exists(_)
        | NetworkError::ParentTaken { .. }
        | NetworkError::RangesOverlap { .. }
        | NetworkError::RangeInPool { .. }
        | NetworkError::NoRangeBesidePool { .. }
        | NetworkError::HostAddressOnLan { .. }
        | NetworkError::AddressHeld { .. } => RefusalKind::Taken,
        _ => RefusalKind::Invalid,
    };
    refusal(kind, error, error.hint())
}

pub(super) fn adopt(error: &AdoptError) -> Refusal {
    let kind = match error {
        AdoptError::Network(error) => return network(error),
        AdoptError::NoNetwork { .. } | AdoptError::NotAdopted(_) => RefusalKind::NotFound,
        _ => RefusalKind::Invalid,
    };
    refusal(kind, error, error.hint())
}

pub(super) fn bridge(error: &BridgeError) -> Refusal {
    let kind = match error {
        BridgeError::NicIsPort { .. }
        | BridgeError::Carries { .. }
        | BridgeError::HasUpper { .. }
        | BridgeError::BridgeExists(_)
        | BridgeError::OtherPorts { .. } => RefusalKind::Taken,
        _ => RefusalKind::Invalid,
    };
    refusal(kind, error, error.hint())
}

pub(super) fn attach(error: &AttachError) -> Refusal {
    let kind = match error {
        AttachError::NoNetwork(_) => RefusalKind::NotFound,
        AttachError::NameTaken { .. }
        | AttachError::PassthruTaken { .. }
        | AttachError::DefaultRouteTaken { .. }
        | AttachError::MacTaken { .. } => RefusalKind::Taken,
        AttachError::Address(address) => match address {
            AddressError::Outside { .. }
            | AddressError::Unassignable { .. }
            | AddressError::TwoOfFamily(..) => RefusalKind::Invalid,
            AddressError::Held { .. }
            | AddressError::NotLeased { .. }
            | AddressError::Host(_)
            | AddressError::OnLan { .. }
            | AddressError::BeingTaken(_)
            | AddressError::Exhausted { .. } => RefusalKind::Taken,
        },
        _ => RefusalKind::Invalid,
    };
    refusal(kind, error, error.hint())
}

pub(super) fn namespace(error: &NamespaceError) -> Refusal {
    let kind =
        if let NamespaceError::System { .. } = error { RefusalKind::Kernel } else { RefusalKind::Invalid };
    let hint = match error {
        NamespaceError::Missing(_) => {
            Some("`ip netns` lists named ones; a process has one at /proc/PID/ns/net".into())
        }
        NamespaceError::Other(_) => Some("name a file such as /run/netns/NAME or /proc/PID/ns/net".into()),
        NamespaceError::Permission(_) => Some("run the daemon as root".into()),
        NamespaceError::System { .. } => None,
    };
    refusal(kind, error, hint)
}

/// A namespace that may be there and cannot be seen: neither what is in it nor that it is gone is known.
/// The endpoint of a name whose container has left it on the LAN.
pub(super) fn left_behind(name: &EndpointName, says: &impl ToString) -> Refusal {
    Refusal {
        kind: RefusalKind::Taken,
        message: format!("`{name}` {}", says.to_string()),
        hint: Some("end what was started in its namespace, or give this one another --name".into()),
    }
}

pub(super) fn unreadable(path: &Path, why: &str) -> Refusal {
    let message = format!("the network namespace at {} cannot be looked into: {why}", path.display());
    refusal(RefusalKind::Kernel, &message, Some("it is left as it is: ask again once it can be".into()))
}

pub(super) fn namespace_gone(path: &Path) -> Refusal {
    namespace(&NamespaceError::Missing(path.to_owned()))
}

pub(super) fn blocked(blocked: &Blocked) -> Refusal {
    refusal(RefusalKind::Taken, blocked, Some(blocked.hint()))
}

pub(super) fn step(error: &StepError) -> Refusal {
    refusal(RefusalKind::Kernel, error, error.hint())
}

pub(super) fn kernel(error: &ObserveError) -> Refusal {
    refusal(RefusalKind::Kernel, error, None)
}

pub(super) const CONFLICT_OFF: &str = "a network made with --conflict off looks for nobody";

/// Addresses that could not be looked for on the LAN are not handed out. Something else may do `without` the look.
pub(super) fn unreachable(ips: &[IpAddr], unreachable: &Unreachable, without: &str) -> Refusal {
    let Unreachable { parent, why, errno } = unreachable;
    let ips = match ips {
        [ip] => ip.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => "an address".to_owned(),
    };
    let message = format!("{ips} could not be looked for on the LAN by `{parent}`: {why}");
    let hint = match errno.map(Errno::from_raw) {
        Some(Errno::ENETDOWN) => format!("ip link set dev {} up", parent.word()),
        Some(Errno::ENODEV | Errno::ENXIO) => {
            "the interface has gone meanwhile: `ip link` shows what there is".into()
        }
        _ => format!("ask again; {without}"),
    };
    refusal(RefusalKind::Kernel, &message, Some(hint))
}

/// A parent without a MAC, in whose stead nobody can ask a server.
pub(super) fn no_mac(parent: &IfName) -> Refusal {
    refusal(
        RefusalKind::Invalid,
        &format!("`{parent}` is gone, or has no MAC to ask a DHCP server from"),
        None,
    )
}

/// A server that cannot tell endpoints apart which share their parent's MAC.
pub(super) fn by_mac_alone(ip: IpAddr, holder: &Endpoint) -> Refusal {
    let message = format!(
        "the LAN's DHCP server gives it {ip}, which `{}` has: it tells machines apart by their MAC alone, and these share one",
        holder.name
    );
    let hint = "use --kind macvlan, or a DHCP server that goes by client identifiers, such as dnsmasq or Kea";
    refusal(RefusalKind::Invalid, &message, Some(hint.into()))
}

impl From<NoLease> for Refusal {
    fn from(error: NoLease) -> Self {
        let hint = match &error {
            NoLease::Silent { .. } => {
                "see whether the router's DHCP server is on and has addresses left; a network without --dhcp needs none"
            }
            NoLease::Unheeded { .. } => {
                "see whether the router's DHCP server is on; which servers count was said with --dhcp-allow and --dhcp-deny"
            }
            NoLease::Unfit { why: Ignored::Named(..), .. } => {
                "a machine that is the LAN's router or DHCP server itself takes no lease: a network without --dhcp gives it that address \
                 with --ip"
            }
            NoLease::Unfit { .. } => {
                "mend it in the router's DHCP server; a network without --dhcp needs none"
            }
            NoLease::Taken { .. } => {
                "give that machine another address, or take it out of the router's pool; then ask again"
            }
            NoLease::Busy(_) => "ask again in a few seconds",
            NoLease::Refused(refusal) => return refusal.clone(),
        };
        refusal(RefusalKind::Kernel, &error, Some(hint.to_owned()))
    }
}

/// The kernel took every step and is not as planned: something else changes the same things at the same time.
pub(super) fn not_as_planned(step: &Step) -> Refusal {
    let message =
        format!("the kernel took every step, and `{step}` is still to be done: something undoes it");
    let hint =
        "look for another program that manages these interfaces (NetworkManager, systemd-networkd)".into();
    refusal(RefusalKind::Kernel, &message, Some(hint))
}

pub(super) fn state(error: &StoreError) -> Refusal {
    let hint = "nothing was changed that is not written down; free space on that disk and ask again".into();
    refusal(RefusalKind::State, error, Some(hint))
}

pub(super) fn import(error: &StoreError) -> Refusal {
    match error {
        StoreError::Document { source, .. } => refusal(RefusalKind::Invalid, source, None),
        other => state(other),
    }
}

/// An address of a pool with its subnet's prefix, or why an engine cannot have it.
pub(super) fn address_in(pool: &PoolKey, ip: IpAddr) -> Result<IpNet, Refusal> {
    let address = IpNet::new(ip, pool.net.prefix_len()).ok().filter(|_| pool.net.contains(&ip));
    let message = format!("{ip} does not lie in the subnet {}", pool.net);
    let hint = "choose one that does, or give the network that subnet too".to_owned();
    address.ok_or_else(|| refusal(RefusalKind::Invalid, &message, Some(hint)))
}

/// An engine's network that Ashore does not know.
pub(super) fn no_network_of_engine(what: &str) -> Refusal {
    let hint = "make it anew: docker network rm NAME; docker network create -d ashore …".to_owned();
    refusal(RefusalKind::NotFound, &format!("no network of Ashore's is known as {what}"), Some(hint))
}

/// A network without a gateway on a host that has no default route in its subnet.
pub(super) fn no_router_in(pool: &PoolKey) -> Refusal {
    let message = format!("this host has no default route in {}, so the LAN's router is not known", pool.net);
    refusal(RefusalKind::Invalid, &message, Some("name it with --gateway".into()))
}
