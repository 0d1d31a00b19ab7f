//! Turns every error of a request into the one type that a caller sees: what is wrong, and the remedy.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::Network;
use ashore_core::model::pool::PoolKey;
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::net::option::{self, NetworkOption};
use ashore_core::net::remedy::Remedy;
use ashore_core::net::step::Step;
use ashore_core::plan::diff::Blocked;
use ashore_core::plan::nic_move::BridgeError;
use ashore_core::rules::adopt::AdoptError;
use ashore_core::rules::attach::AttachError;
use ashore_core::rules::create::NetworkError;
use ashore_kernel::{Errno, NamespaceError, ObserveError, StepError};
use ashore_store::{DocumentError, StoreError};
use ashore_wire::dhcp4::Ignored;
use ipnet::IpNet;

use super::lan::{NoLease, Unreachable};

fn refusal(code: Code, message: &(impl ToString + ?Sized), remedy: Option<Remedy>) -> Refusal {
    Refusal::new(code, About::default(), message.to_string(), remedy)
}

pub(super) fn network(error: &NetworkError) -> Refusal {
    error.into()
}

pub(super) fn adopt(error: &AdoptError) -> Refusal {
    error.into()
}

pub(super) fn bridge(error: &BridgeError) -> Refusal {
    error.into()
}

pub(super) fn attach(error: &AttachError) -> Refusal {
    error.into()
}

pub(super) fn namespace(error: &NamespaceError) -> Refusal {
    let (code, remedy) = match error {
        NamespaceError::Missing(_) => (
            Code::NoNamespace,
            Some("`ip netns` lists named namespaces; that of a process is /proc/PID/ns/net".into()),
        ),
        NamespaceError::Other(_) => {
            (Code::NoNamespace, Some("name a file such as /run/netns/NAME or /proc/PID/ns/net".into()))
        }
        NamespaceError::Permission(_) => (Code::NamespaceForbidden, Some("run the daemon as root".into())),
        NamespaceError::System { .. } => (Code::NamespaceUnreadable, None),
    };
    refusal(code, error, remedy)
}

/// Refuses a name whose endpoint is still on the LAN, left behind in another namespace.
pub(super) fn left_behind(name: &EndpointName, says: &impl ToString) -> Refusal {
    Refusal::new(
        Code::LeftBehind,
        About { endpoint: Some(name.clone()), ..About::default() },
        format!("`{name}` {}", says.to_string()),
        Some(
            Remedy::from("stop what was started in its namespace, or choose another ")
                .and_give(&option::NAME),
        ),
    )
}

/// Refuses a request about a namespace that may exist but cannot be read: it is not known what is in it, nor
/// whether it is gone.
pub(super) fn unreadable(path: &Path, why: &str) -> Refusal {
    let message = format!("cannot read the network namespace at {}: {why}", path.display());
    refusal(
        Code::NamespaceUnreadable,
        &message,
        Some("it is left unchanged; try again when it can be read".into()),
    )
}

pub(super) fn namespace_gone(path: &Path) -> Refusal {
    namespace(&NamespaceError::Missing(path.to_owned()))
}

pub(super) fn blocked(blocked: &Blocked) -> Refusal {
    blocked.into()
}

pub(super) fn step(error: &StepError) -> Refusal {
    refusal(Code::StepFailed, error, error.hint().map(Remedy::from))
}

pub(super) fn kernel(error: &ObserveError) -> Refusal {
    refusal(Code::KernelUnreadable, error, None)
}

pub(super) fn conflict_off() -> Remedy {
    Remedy::from("a network with ").and_set(&option::CONFLICT, "off").and(" does not probe addresses")
}

/// What has to be there before the LAN is asked for addresses does not stay.
pub(super) fn never_begins(network: &Network) -> Refusal {
    let message = format!(
        "cannot begin on network `{}`: its parent `{}` comes and goes, or something in the container makes links all the time",
        network.label(),
        network.parent
    );
    Refusal::new(Code::InTheWay, About::network(network), message, Some("`ip -d link` shows them".into()))
}

/// Other machines claim each address as soon as it was found free.
pub(super) fn always_claimed(network: &Network, longest: Duration) -> Refusal {
    let message = format!(
        "no address was found on network `{}` in {} seconds that no other machine claims",
        network.label(),
        longest.as_secs()
    );
    let remedy = "the daemon's log names the machines; turn off the one that claims them".into();
    Refusal::new(Code::AddressOnLan, About::network(network), message, Some(remedy))
}

/// Refuses addresses that could not be probed on the LAN, because they must not be handed out. `without`
/// names a way that needs no probe.
pub(super) fn unreachable(ips: &[IpAddr], unreachable: &Unreachable, without: Remedy) -> Refusal {
    let Unreachable { parent, why, errno } = unreachable;
    let about = About { address: ips.first().copied(), ..About::parent(parent) };
    let ips = match ips {
        [ip] => ip.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => "an address".to_owned(),
    };
    let message = format!("cannot probe {ips} on the LAN through `{parent}`: {why}");
    let hint = match errno.map(Errno::from_raw) {
        Some(Errno::ENETDOWN) => Remedy::run(format!("ip link set dev {} up", parent.word())),
        Some(Errno::ENODEV | Errno::ENXIO) => "the interface is gone: `ip link` lists the interfaces".into(),
        _ => Remedy::from("try again; ").then(without),
    };
    refusal(Code::ProbeFailed, &message, Some(hint)).about(about)
}

/// Refuses a parent that has no MAC, so that no endpoint on it can ask a DHCP server.
pub(super) fn no_mac(parent: &IfName) -> Refusal {
    let message = format!("`{parent}` is gone, or has no MAC to ask a DHCP server from");
    refusal(Code::ParentWithoutMac, &message, None).about(About::parent(parent))
}

/// Refuses a lease from a server that cannot tell apart the endpoints that share their parent's MAC.
pub(super) fn by_mac_alone(ip: IpAddr, holder: &Endpoint) -> Refusal {
    let message = format!(
        "the LAN's DHCP server gave it {ip}, which `{}` has: the server identifies clients by MAC alone, and the two share one MAC",
        holder.name
    );
    let hint = Remedy::from("use ")
        .and_set(&option::KIND, "macvlan")
        .and(", or a DHCP server that uses client identifiers, such as dnsmasq or Kea");
    let about = About { endpoint: Some(holder.name.clone()), ..About::address(ip) };
    refusal(Code::KindUnfit, &message, Some(hint)).about(about)
}

/// A container's label has a value that its option does not take.
pub(super) fn label(option: &'static NetworkOption, name: &EndpointName, why: &str) -> Refusal {
    let message = format!("the label `{}{}` of `{name}`: {why}", option::LABEL, option.key());
    let about = About { endpoint: Some(name.clone()), ..About::default() };
    refusal(Code::ValueUnknown, &message, Some(Remedy::unset(option))).about(about)
}

impl From<NoLease> for Refusal {
    fn from(error: NoLease) -> Self {
        let without_dhcp = |what: &str| {
            Remedy::from(what).and("; a network without ").and_give(&option::DHCP).and(" needs no server")
        };
        let (code, about, remedy) = match &error {
            NoLease::Silent { parent, .. } => (
                Code::NoDhcpServer,
                About::parent(parent),
                without_dhcp("check that the router's DHCP server is on and has free addresses"),
            ),
            NoLease::Unheeded { parent, server } => (
                Code::DhcpServerIgnored,
                About::address((*server).into()).on(parent),
                Remedy::from("check that the router's DHCP server is on; ")
                    .and_give(&option::DHCP_ALLOW)
                    .and(" and ")
                    .and_give(&option::DHCP_DENY)
                    .and(" say which servers count"),
            ),
            NoLease::Unfit { parent, server, why } => (
                Code::LeaseUnfit,
                About::address((*server).into()).on(parent),
                if let Ignored::Named(..) = why {
                    Remedy::from(
                        "a container that is itself the LAN's router or DHCP server takes no lease: attach it to a network without ",
                    )
                    .and_give(&option::DHCP)
                    .and(", with ")
                    .and_give(&option::IP)
                    .and(" and that address")
                } else {
                    without_dhcp("correct it in the router's DHCP server")
                },
            ),
            NoLease::Taken { parent, ip } => (
                Code::LeaseOnLan,
                About::address((*ip).into()).on(parent),
                "give that machine another address, or take it out of the router's pool; then try again"
                    .into(),
            ),
            NoLease::Busy(name) => (
                Code::LeaseBusy,
                About { endpoint: Some(name.clone()), ..About::default() },
                "try again in a few seconds".into(),
            ),
            NoLease::SameClient(error) => return attach(&error.clone().into()),
            NoLease::Refused(refusal) => return refusal.clone(),
        };
        Refusal::new(code, about, error.to_string(), Some(remedy))
    }
}

/// Refuses a request whose steps all succeeded although the kernel is not as planned: something else changes
/// the same objects at the same time.
pub(super) fn not_as_planned(step: &Step) -> Refusal {
    let message =
        format!("the kernel accepted every step, but `{step}` is still to be done: something undoes it");
    let hint =
        "look for another program that manages these interfaces (NetworkManager, systemd-networkd)".into();
    refusal(Code::StepUndone, &message, Some(hint))
}

pub(super) fn state(error: &StoreError) -> Refusal {
    let hint = "nothing was changed that is not on disk; free space on that disk and try again".into();
    refusal(Code::NotWritten, error, Some(hint))
}

pub(super) fn import(error: &DocumentError) -> Refusal {
    refusal(Code::DocumentInvalid, error, None)
}

/// Returns an address of a pool with the prefix length of its subnet. Refuses an address outside the subnet.
pub(super) fn address_in(pool: &PoolKey, ip: IpAddr) -> Result<IpNet, Refusal> {
    let address = IpNet::new(ip, pool.net.prefix_len()).ok().filter(|_| pool.net.contains(&ip));
    let message = format!("{ip} does not lie in the subnet {}", pool.net);
    let hint = "choose an address in that subnet, or give the network its subnet too".into();
    address.ok_or_else(|| refusal(Code::AddressOutside, &message, Some(hint)).about(About::address(ip)))
}

/// Refuses a call about an engine's network that Ashore does not know.
pub(super) fn no_network_of_engine(what: &str) -> Refusal {
    let remedy = Remedy::from("create it again: ")
        .and_engine("network rm NAME")
        .and("; ")
        .and_engine("network create -d ashore …");
    refusal(Code::NoNetwork, &format!("Ashore knows no network {what}"), Some(remedy))
}

/// Refuses a network without a gateway on a host that has no default route in the network's subnet.
pub(super) fn no_router_in(pool: &PoolKey) -> Refusal {
    let message = format!("this host has no default route in {}, so the LAN's router is unknown", pool.net);
    refusal(Code::RouterUnknown, &message, Some(Remedy::from("name it with ").and_give(&option::GATEWAY)))
}
