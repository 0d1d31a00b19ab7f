//! The refusals of the rules. No match has a wildcard: a new error gets its code here, or does not compile.

use super::{Code, Refusal};
use crate::api::about::About;
use crate::plan::diff::Blocked;
use crate::plan::nic_move::BridgeError;
use crate::rules::adopt::AdoptError;
use crate::rules::allocate::AddressError;
use crate::rules::attach::AttachError;
use crate::rules::create::{Ipv6Error, LeaseError, NetworkError};
use crate::rules::readdress::ReaddressError;
use crate::rules::users::UserError;
use crate::rules::wishes::WishError;

impl From<&NetworkError> for Refusal {
    fn from(error: &NetworkError) -> Self {
        Refusal::new(of_network(error), about_network(error), error.to_string(), error.remedy())
    }
}

impl From<&AttachError> for Refusal {
    fn from(error: &AttachError) -> Self {
        Refusal::new(of_attach(error), about_attach(error), error.to_string(), error.remedy())
    }
}

impl From<&AdoptError> for Refusal {
    fn from(error: &AdoptError) -> Self {
        let (code, label) = match error {
            AdoptError::Network(error) => return error.into(),
            AdoptError::NoNetwork { name, .. } => (Code::NoNetwork, name),
            AdoptError::OtherDriver { name, .. } => (Code::OtherDriver, name),
            AdoptError::Option { name, .. }
            | AdoptError::OwnNetwork(name)
            | AdoptError::NoParent { name, .. } => (Code::NotAdoptable, name),
            AdoptError::NotAdopted(name) => (Code::NotAdopted, name),
        };
        Refusal::new(code, About::label(label), error.to_string(), error.remedy())
    }
}

impl From<&ReaddressError> for Refusal {
    fn from(error: &ReaddressError) -> Self {
        let (code, about) = match error {
            ReaddressError::Network(error) => return error.into(),
            ReaddressError::NoNetwork(name) => (Code::NoNetwork, About::label(name.as_str())),
            ReaddressError::OfEngine { network, engine } => {
                (Code::NetworkOfEngine, About { engine: Some(*engine), ..About::label(network) })
            }
            ReaddressError::HasEnginesContainer { network, name }
            | ReaddressError::HasEndpoints { network, name, .. } => {
                (Code::EndpointsAttached, About { endpoint: Some(name.clone()), ..About::label(network) })
            }
            ReaddressError::RangeLeft { network, .. } => (Code::RangeOutside, About::label(network)),
        };
        Refusal::new(code, about, error.to_string(), error.remedy())
    }
}

impl From<&BridgeError> for Refusal {
    fn from(error: &BridgeError) -> Self {
        let (code, link) = match error {
            BridgeError::NoNic { nic, .. } => (Code::ParentMissing, nic),
            BridgeError::NicUnfit(nic, _) => (Code::ParentUnfit, nic),
            BridgeError::NicIsPort { nic, .. } => (Code::NicIsPort, nic),
            BridgeError::NicIsWifi(nic) => (Code::ParentIsWifi, nic),
            BridgeError::NicDown { nic, up: false } => (Code::ParentDown, nic),
            BridgeError::NicDown { nic, up: true } => (Code::NoCarrier, nic),
            BridgeError::Carries { link, network, .. } => {
                let about = About::label(network).on(link);
                return Refusal::new(Code::NicInUse, about, error.to_string(), error.remedy());
            }
            BridgeError::HasUpper { link, .. } => (Code::NicInUse, link),
            BridgeError::Unmovable { link, .. } => (Code::NicUnmovable, link),
            BridgeError::BridgeExists(bridge) => (Code::BridgeExists, bridge),
            BridgeError::NoBridge(bridge)
            | BridgeError::NotInIt { bridge, .. }
            | BridgeError::OtherMac { bridge, .. } => (Code::NoBridge, bridge),
            BridgeError::OtherPorts { bridge, .. } => (Code::BridgeHasPorts, bridge),
        };
        Refusal::new(code, About::parent(link), error.to_string(), error.remedy())
    }
}

impl From<&Blocked> for Refusal {
    fn from(blocked: &Blocked) -> Self {
        let (code, link) = match blocked {
            Blocked::Link { name, .. } | Blocked::Vlan { name, .. } => (Code::InTheWay, name),
            Blocked::Route { there, .. } => (Code::InTheWay, &there.route.dev),
            Blocked::Unfiltered { bridge, .. } => (Code::BridgeNoLongerFilters, bridge),
        };
        Refusal::new(code, About::parent(link), blocked.to_string(), Some(blocked.remedy()))
    }
}

fn of_network(error: &NetworkError) -> Code {
    match error {
        NetworkError::Exists(_) => Code::NetworkExists,
        NetworkError::Differs { .. } => Code::NetworkDiffers,
        NetworkError::NoParent { .. } => Code::ParentMissing,
        NetworkError::ParentUnnamed
        | NetworkError::NoDefaultRoute { .. }
        | NetworkError::NobodyInSubnet { .. }
        | NetworkError::InternalOffLan { .. }
        | NetworkError::SeveralParents { .. } => Code::ParentUnknown,
        NetworkError::NoAddress { .. } | NetworkError::NoSubnet => Code::SubnetUnknown,
        NetworkError::NoFreeRange(_) | NetworkError::RangeHoldsNothing { .. } => Code::NoFreeRange,
        NetworkError::NoRangeBesidePool { .. } => Code::NoRangeBesidePool,
        NetworkError::RangeInPool { .. } => Code::RangeInPool,
        NetworkError::ParentDown(_) => Code::ParentDown,
        NetworkError::ParentIsNoBridge(_) => Code::ParentIsNoBridge,
        NetworkError::ParentIsPort { .. } => Code::ParentIsPort,
        NetworkError::ParentIsWifi(..) => Code::ParentIsWifi,
        NetworkError::VlanOnWifi(_) => Code::VlanOnWifi,
        NetworkError::BridgeFilters { .. } => Code::VlanNotOnBridge,
        NetworkError::BridgeMixes { .. } => Code::BridgeUnfiltered,
        NetworkError::GvrpOnBridge(_)
        | NetworkError::GvrpOnForeign(_)
        | NetworkError::TaggedWithoutVlan
        | NetworkError::HostAddressWithoutAccess
        | NetworkError::NoQueue(..)
        | NetworkError::NoPorts(..) => Code::OptionsConflict,
        NetworkError::NoVlan { .. } => Code::VlanIdUnfit,
        NetworkError::VlanNameTaken { .. } => Code::VlanNameTaken,
        NetworkError::ParentUnfit(..) => Code::ParentUnfit,
        NetworkError::ParentHasChild { .. } => Code::ParentHasChild,
        NetworkError::ParentTaken { .. } => Code::ParentTaken,
        NetworkError::SubnetTooSmall(_) | NetworkError::SubnetUnfit(..) => Code::SubnetUnfit,
        NetworkError::HostAddressOnLan { .. } => Code::AddressOnLan,
        NetworkError::SubnetsOverlap(..) => Code::SubnetsOverlap,
        NetworkError::ForeignSubnet { .. } => Code::ForeignSubnet,
        NetworkError::RangeOutside(..) => Code::RangeOutside,
        NetworkError::RangesOverlap { .. } => Code::RangesOverlap,
        NetworkError::AddressOutside { .. } => Code::AddressOutside,
        NetworkError::AddressUnfit { .. } => Code::AddressUnfit,
        NetworkError::AddressTwice { .. }
        | NetworkError::TwoRanges(..)
        | NetworkError::TwoGateways(..)
        | NetworkError::TwoAux(..) => Code::GivenTwice,
        NetworkError::AddressHeld { .. } => Code::AddressHeld,
        NetworkError::MtuTooLarge { .. } | NetworkError::MtuTooSmall { .. } => Code::MtuUnfit,
        NetworkError::PassthruCutsHost { .. } => Code::PassthruCutsHost,
        NetworkError::PassthruForUsers(_) => Code::KindUnfit,
        NetworkError::NoHostAccess(_) => Code::NoHostAccess,
        NetworkError::StrictReversePath(_) => Code::StrictReversePath,
        NetworkError::ShimByHand { .. } => Code::ShimByHand,
        NetworkError::Leases(error) => match error {
            LeaseError::Unheard(_) => Code::KindUnfit,
            LeaseError::Range(_)
            | LeaseError::NoRange(_)
            | LeaseError::NotLeasing(_)
            | LeaseError::Both(_)
            | LeaseError::Tagged => Code::OptionsConflict,
            LeaseError::NoServer(_) => Code::AddressUnfit,
        },
        NetworkError::Ipv6(error) => match error {
            Ipv6Error::Unheard(_) | Ipv6Error::OneMac(_) => Code::KindUnfit,
            Ipv6Error::Subnet(..) => Code::OptionsConflict,
        },
    }
}

/// What a network's error concerns. The name of a network that is not made concerns nothing yet.
fn about_network(error: &NetworkError) -> About {
    match error {
        NetworkError::Exists(name) => About::label(name.as_str()),
        NetworkError::ParentTaken { parent, network, .. } => About::label(network).on(parent),
        NetworkError::RangesOverlap { network, .. } | NetworkError::Differs { network, .. } => {
            About::label(network)
        }
        NetworkError::NoParent { parent, .. }
        | NetworkError::NoAddress { parent, .. }
        | NetworkError::ParentDown(parent)
        | NetworkError::ParentIsNoBridge(parent)
        | NetworkError::ParentIsPort { parent, .. }
        | NetworkError::ParentIsWifi(parent, _)
        | NetworkError::NoVlan { parent, .. }
        | NetworkError::GvrpOnForeign(parent)
        | NetworkError::ParentUnfit(parent, _)
        | NetworkError::ParentHasChild { parent, .. }
        | NetworkError::ForeignSubnet { parent, .. }
        | NetworkError::MtuTooLarge { parent, .. }
        | NetworkError::PassthruCutsHost { parent, .. }
        | NetworkError::PassthruForUsers(parent)
        | NetworkError::StrictReversePath(parent) => About::parent(parent),
        NetworkError::VlanOnWifi(vlan)
        | NetworkError::BridgeFilters { vlan, .. }
        | NetworkError::BridgeMixes { vlan, .. }
        | NetworkError::GvrpOnBridge(vlan) => About::parent(&vlan.lower),
        NetworkError::VlanNameTaken { name, .. } => About::parent(name),
        NetworkError::ShimByHand { ip, link } => About::address(*ip).on(link),
        NetworkError::HostAddressOnLan { ip, .. }
        | NetworkError::RangeHoldsNothing { ip, .. }
        | NetworkError::AddressOutside { ip, .. }
        | NetworkError::AddressUnfit { ip, .. }
        | NetworkError::AddressTwice { ip, .. } => About::address(*ip),
        NetworkError::Leases(LeaseError::NoServer(ip) | LeaseError::Both(ip)) => About::address((*ip).into()),
        NetworkError::ParentUnnamed
        | NetworkError::NoDefaultRoute { .. }
        | NetworkError::NobodyInSubnet { .. }
        | NetworkError::InternalOffLan { .. }
        | NetworkError::SeveralParents { .. }
        | NetworkError::NoFreeRange(_)
        | NetworkError::NoRangeBesidePool { .. }
        | NetworkError::RangeInPool { .. }
        | NetworkError::TaggedWithoutVlan
        | NetworkError::NoSubnet
        | NetworkError::SubnetTooSmall(_)
        | NetworkError::SubnetUnfit(..)
        | NetworkError::SubnetsOverlap(..)
        | NetworkError::RangeOutside(..)
        | NetworkError::AddressHeld { .. }
        | NetworkError::MtuTooSmall { .. }
        | NetworkError::NoHostAccess(_)
        | NetworkError::HostAddressWithoutAccess
        | NetworkError::TwoRanges(..)
        | NetworkError::TwoGateways(..)
        | NetworkError::TwoAux(..)
        | NetworkError::NoQueue(..)
        | NetworkError::NoPorts(..)
        | NetworkError::Leases(_)
        | NetworkError::Ipv6(_) => About::default(),
    }
}

fn of_address(error: &AddressError) -> Code {
    match error {
        AddressError::Outside { .. } => Code::AddressOutside,
        AddressError::Unassignable { .. } => Code::AddressUnfit,
        AddressError::Held { .. } => Code::AddressHeld,
        AddressError::Host(_) => Code::AddressOfHost,
        AddressError::OnLan { .. } => Code::AddressOnLan,
        AddressError::NotLeased { .. } => Code::AddressNotLeased,
        AddressError::BeingTaken(_) => Code::AddressBeingTaken,
        AddressError::TwoOfFamily(..) => Code::GivenTwice,
        AddressError::Exhausted { .. } => Code::RangeUsedUp,
    }
}

fn about_address(error: &AddressError) -> About {
    match error {
        AddressError::Outside { ip, network, .. } | AddressError::Held { ip, network, .. } => {
            About { address: Some(*ip), ..About::label(network) }
        }
        AddressError::Unassignable { ip, .. }
        | AddressError::Host(ip)
        | AddressError::OnLan { ip, .. }
        | AddressError::NotLeased { ip, .. }
        | AddressError::BeingTaken(ip) => About::address(*ip),
        AddressError::TwoOfFamily(..) => About::default(),
        AddressError::Exhausted { network, .. } => About::label(network),
    }
}

fn of_attach(error: &AttachError) -> Code {
    match error {
        AttachError::NoNetwork(_) => Code::NoNetwork,
        AttachError::NameTaken { .. } => Code::NameTaken,
        AttachError::ParentGone { .. } => Code::ParentGone,
        AttachError::ParentDown(_) => Code::ParentDown,
        AttachError::ParentIsPort { .. } => Code::ParentIsPort,
        AttachError::PassthruTaken { .. } => Code::PassthruTaken,
        AttachError::HostNamespace(_) => Code::HostNamespace,
        AttachError::IfnameTaken { .. } => Code::IfnameTaken,
        AttachError::DefaultRouteTaken { .. } => Code::DefaultRouteTaken,
        AttachError::MacOnIpvlan(_) => Code::MacNotSettable,
        AttachError::MacUnfit(_) => Code::MacUnfit,
        AttachError::MacTaken { .. } => Code::MacTaken,
        AttachError::Wish(WishError::ClientIdTaken { .. }) => Code::ClientIdTaken,
        AttachError::Wish(WishError::AsksNoServer { .. }) => Code::OptionsConflict,
        AttachError::CutsHost(error) => of_network(error),
        AttachError::Address(error) => of_address(error),
        AttachError::User(error) => of_user(error),
    }
}

fn about_attach(error: &AttachError) -> About {
    match error {
        AttachError::NoNetwork(name) => About::label(name.as_str()),
        AttachError::NameTaken { network, name, .. }
        | AttachError::DefaultRouteTaken { network, name, .. } => {
            About { endpoint: Some(name.clone()), ..About::label(network) }
        }
        AttachError::ParentGone { parent, network, .. }
        | AttachError::ParentIsPort { parent, network, .. } => About::label(network).on(parent),
        AttachError::ParentDown(parent) => About::parent(parent),
        AttachError::Wish(WishError::ClientIdTaken { holder, network, .. }) => {
            About { endpoint: Some(holder.clone()), ..About::label(network) }
        }
        AttachError::Wish(WishError::AsksNoServer { network, .. }) => About::label(network),
        AttachError::PassthruTaken { parent, holder } => {
            About { endpoint: Some(holder.clone()), ..About::parent(parent) }
        }
        AttachError::HostNamespace(_)
        | AttachError::IfnameTaken { .. }
        | AttachError::MacOnIpvlan(_)
        | AttachError::MacUnfit(_)
        | AttachError::MacTaken { .. } => About::default(),
        AttachError::CutsHost(error) => about_network(error),
        AttachError::Address(error) => about_address(error),
        AttachError::User(error) => about_user(error),
    }
}

fn of_user(error: &UserError) -> Code {
    match error {
        UserError::NotAllowed { .. } => Code::UserNotAllowed,
        UserError::TooMany { .. } | UserError::Share { .. } => Code::UserHasTooMany,
        UserError::Address { .. } => Code::AddressNotAllowed,
        UserError::Mac { .. } => Code::MacNotAllowed,
        UserError::ClientId { .. } => Code::ClientIdNotAllowed,
    }
}

fn about_user(error: &UserError) -> About {
    match error {
        UserError::NotAllowed { network, .. } => About::label(network.as_str()),
        UserError::Share { network, .. } => About::label(network),
        UserError::Address { ip, network, .. } => About { address: Some(*ip), ..About::label(network) },
        UserError::TooMany { .. } | UserError::Mac { .. } | UserError::ClientId { .. } => About::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::model::ownership::EngineKind;
    use crate::net::kind::{LinkKind, MacvlanMode};
    use crate::net::link::{Netns, Place};
    use crate::net::name::IfName;
    use crate::net::remedy::Front;
    use crate::net::vlan::Vlan;
    use crate::rules::remedies::{of_containers, of_networks};

    fn eth0() -> IfName {
        "eth0".parse().unwrap()
    }

    fn of_adoptions() -> Vec<AdoptError> {
        let (engine, name) = (EngineKind::Podman, || "lan".to_owned());
        vec![
            AdoptError::NoNetwork { engine: EngineKind::Docker, name: name(), present: "`iot`".into() },
            AdoptError::NoNetwork { engine, name: name(), present: "`iot`".into() },
            AdoptError::OtherDriver { engine, name: name(), driver: "bridge".into() },
            AdoptError::OwnNetwork(name()),
            AdoptError::NoParent { engine, name: name() },
            AdoptError::Option { name: name(), option: "macvlan_mode", value: "odd".into() },
            AdoptError::NotAdopted(name()),
        ]
    }

    fn of_moves() -> Vec<BridgeError> {
        let br0 = || "br0".parse::<IfName>().unwrap();
        let carries = |engine| BridgeError::Carries {
            link: eth0(),
            network: "lan".into(),
            kind: LinkKind::Macvlan(MacvlanMode::Bridge),
            engine,
        };
        let upper = |vlan| BridgeError::HasUpper { link: eth0(), upper: "eth0.20".parse().unwrap(), vlan };
        vec![
            BridgeError::NoNic { nic: eth0(), present: "`eth1`".into() },
            BridgeError::NicUnfit(eth0(), "loopback".into()),
            BridgeError::NicIsPort { nic: eth0(), master: "br9".into() },
            BridgeError::NicIsWifi(eth0()),
            BridgeError::NicDown { nic: eth0(), up: false },
            BridgeError::NicDown { nic: eth0(), up: true },
            carries(None),
            carries(Some(EngineKind::Docker)),
            carries(Some(EngineKind::Podman)),
            upper(true),
            upper(false),
            BridgeError::Unmovable { link: eth0(), what: "a filter".into() },
            BridgeError::BridgeExists(br0()),
            BridgeError::NoBridge(br0()),
            BridgeError::NotInIt { nic: eth0(), bridge: br0(), ports: "nothing".into() },
            BridgeError::OtherPorts { bridge: br0(), ports: "`eth1`".into() },
            BridgeError::OtherMac { nic: eth0(), bridge: br0() },
        ]
    }

    fn of_plans() -> Vec<Blocked> {
        let netns = Netns { path: "/run/netns/web".into(), dev: 4, ino: 1, cookie: None, attached_by: None };
        let vlan = Vlan { lower: eth0(), id: "20".parse().unwrap(), gvrp: false };
        vec![
            Blocked::Link { place: Place::Host, name: eth0() },
            Blocked::Link { place: Place::Netns(netns), name: eth0() },
            Blocked::Vlan { name: "iot".parse().unwrap(), vlan: vlan.clone() },
            Blocked::Unfiltered { bridge: "br0".parse().unwrap(), vlan: vlan.id },
        ]
    }

    /// Every refusal of a rule in the words of each front, as in `remedies.txt`: for people to read, and to see what
    /// a change does to the words.
    #[test]
    fn every_refusal_is_spelled_for_each_front() {
        let mut refusals: Vec<Refusal> = of_networks().iter().map(Refusal::from).collect();
        refusals.extend(of_containers().iter().map(Refusal::from));
        refusals.extend(of_adoptions().iter().map(Refusal::from));
        refusals.extend(of_moves().iter().map(Refusal::from));
        refusals.extend(of_plans().iter().map(Refusal::from));
        let mut spelled = String::new();
        for Refusal { code, message, remedy, .. } in &refusals {
            assert_ne!(*code, Code::Unknown, "{message}");
            let code = serde_json::to_value(code).unwrap();
            writeln!(spelled, "{}: {message}", code.as_str().unwrap()).unwrap();
            let Some(remedy) = remedy else { continue };
            let [typed, docker, compose, podman, cni, rootless] =
                Front::ALL.map(|front| remedy.spelled(front));
            if [&docker, &compose, &podman, &cni].iter().all(|other| **other == typed) {
                writeln!(spelled, "    {typed}").unwrap();
            } else {
                writeln!(spelled, "    ashore:  {typed}\n    docker:  {docker}\n    compose: {compose}")
                    .unwrap();
                writeln!(spelled, "    podman:  {podman}\n    cni:     {cni}").unwrap();
            }
            if ![&typed, &podman].contains(&&rootless) {
                writeln!(spelled, "    rootless: {rootless}").unwrap();
            }
        }
        assert!(spelled == include_str!("remedies.txt"), "the words are now:\n{spelled}");
    }
}
