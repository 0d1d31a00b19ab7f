//! The refusal of a request, as a value. Programs tell refusals apart by their codes; users read the message and
//! the remedy.

use serde::{Deserialize, Serialize};

use crate::api::about::About;
use crate::net::remedy::Remedy;

mod of_rules;

/// The refusal of a request.
///
/// On the control socket the remedy has its earlier name, `hint`, and is text: a client of an earlier version reads
/// the kind, the message and the hint, and ignores the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of refusal. The exit code depends on it.
    pub kind: RefusalKind,
    /// What is wrong, for programs. A daemon of an earlier version says no code.
    #[serde(default)]
    pub code: Code,
    /// What it concerns.
    #[serde(default, skip_serializing_if = "About::is_empty")]
    pub about: About,
    /// What was wrong, where, and why. What helps is not in it.
    pub message: String,
    /// What helps: a command, or an option to give. The front that was asked spells it.
    #[serde(rename = "hint", alias = "remedy")]
    pub remedy: Option<Remedy>,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The request itself is invalid or does not fit the host.
    Invalid,
    /// The request names something that does not exist.
    NotFound,
    /// The request needs something that is already in use: a name, an address, a parent.
    Taken,
    /// The kernel refused a step. What was done is undone.
    Kernel,
    /// The state could not be written. What was done is undone.
    State,
    /// The daemon had an internal error. The next reconciliation finishes or undoes what the request began.
    Internal,
}

/// Declares the codes, each with its kind.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $kind:ident;)*) => {
        /// What is wrong with a request. Programs know it by its name, which is never changed. The manual has a
        /// table of all codes, with what helps.
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
            /// A code that this version does not know, or none: the daemon is of another version.
            #[default]
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name,)* Code::Unknown];

            /// The kind of the refusals with this code.
            pub fn kind(self) -> RefusalKind {
                match self {
                    $(Code::$name => RefusalKind::$kind,)*
                    Code::Unknown => RefusalKind::Invalid,
                }
            }
        }
    };
}

codes! {
    /// There is a network of that name already.
    NetworkExists = Taken;
    /// There is a network of that name already, and it has something else than was asked for.
    NetworkDiffers = Taken;
    /// A command asks questions, and there is no terminal to ask them on.
    NotATerminal = Invalid;
    /// There is no such network.
    NoNetwork = NotFound;
    /// The network belongs to an engine, which alone may do that.
    NetworkOfEngine = Taken;
    /// Endpoints are attached, and would lose their network.
    EndpointsAttached = Taken;

    /// There is no such interface.
    ParentMissing = Invalid;
    /// The interface that faces the LAN is not named and cannot be found.
    ParentUnknown = Invalid;
    /// The parent existed when the network was made, but does not now.
    ParentGone = Invalid;
    /// The interface is down.
    ParentDown = Invalid;
    /// No frame can leave through the interface: its cable is out.
    NoCarrier = Invalid;
    /// The parent is no bridge, so nothing can be a port of it.
    ParentIsNoBridge = Invalid;
    /// The parent is a port of a bridge or bond, which receives its frames.
    ParentIsPort = Invalid;
    /// The interface is Wi-Fi, where only frames with its own MAC pass.
    ParentIsWifi = Invalid;
    /// The interface cannot face a LAN, or cannot be put into a bridge.
    ParentUnfit = Invalid;
    /// The interface has no MAC to ask a DHCP server from.
    ParentWithoutMac = Invalid;
    /// The parent carries a link that is not Ashore's, and the kernel allows no other beside it.
    ParentHasChild = Invalid;
    /// The parent carries another network, of a kind that allows no other beside it.
    ParentTaken = Taken;
    /// macvlan passthru would cut the host off.
    PassthruCutsHost = Invalid;
    /// macvlan passthru has room for one endpoint.
    PassthruTaken = Taken;

    /// The name of the parent looks like a VLAN's, and its VLAN ID is invalid; or the VLAN is that of the LAN.
    VlanIdUnfit = Invalid;
    /// Another link has the name of the VLAN interface.
    VlanNameTaken = Invalid;
    /// Wi-Fi carries no VLAN tags.
    VlanOnWifi = Invalid;
    /// The bridge filters VLANs and drops this one.
    VlanNotOnBridge = Invalid;
    /// The bridge does not filter VLANs.
    BridgeUnfiltered = Invalid;
    /// The bridge no longer filters VLANs, so that a port would be on another LAN.
    BridgeNoLongerFilters = Taken;

    /// No subnet is given, and the LAN's is not known.
    SubnetUnknown = Invalid;
    /// The subnet cannot be a LAN's, or has no room.
    SubnetUnfit = Invalid;
    /// Two subnets of the network overlap.
    SubnetsOverlap = Invalid;
    /// The subnet is not the parent's.
    ForeignSubnet = Invalid;
    /// The subnet has no default route on this host, so the LAN's router is not known.
    RouterUnknown = Invalid;
    /// No block of addresses is free for a range, or the range has no usable address.
    NoFreeRange = Invalid;
    /// No block of addresses is free beside a DHCP server's pool.
    NoRangeBesidePool = Taken;
    /// The range overlaps the pool of a DHCP server.
    RangeInPool = Taken;
    /// The range is not inside its subnet.
    RangeOutside = Invalid;
    /// The range overlaps another network's.
    RangesOverlap = Taken;
    /// Every address of the range is taken.
    RangeUsedUp = Taken;
    /// The network hands out no IPv4 addresses of its own, or the range is of IPv6: there is no pool to compare it
    /// with.
    NoPoolToCheck = Invalid;

    /// The address lies in no subnet of the network.
    AddressOutside = Invalid;
    /// The address can never be a machine's.
    AddressUnfit = Invalid;
    /// One address, or one thing that there is one of, is given twice.
    GivenTwice = Invalid;
    /// A container, or this host on another network, has the address.
    AddressHeld = Taken;
    /// The address is this host's own.
    AddressOfHost = Taken;
    /// A machine on the LAN has the address.
    AddressOnLan = Taken;
    /// Another attach is about to take the address.
    AddressBeingTaken = Taken;
    /// The LAN's DHCP server gives another address.
    AddressNotLeased = Taken;
    /// Addresses cannot be probed on the LAN, so none is handed out.
    ProbeFailed = Kernel;

    /// The MTU is larger than the parent's, or too small for the address family.
    MtuUnfit = Invalid;
    /// The link kind does not do what the options ask for: the LAN's answers do not reach its endpoints, or they
    /// share one MAC.
    KindUnfit = Invalid;
    /// Options exclude each other, or one is given without the one that it belongs to.
    OptionsConflict = Invalid;
    /// A value is none of those that there are.
    ValueUnknown = Invalid;
    /// The link kind gives the host no access to the endpoints.
    NoHostAccess = Invalid;
    /// The host drops what its endpoints send to it.
    StrictReversePath = Invalid;
    /// A link that was made by hand has the `host` address.
    ShimByHand = Invalid;

    /// The name has an endpoint on the network already.
    NameTaken = Taken;
    /// What the name had is still on the LAN, left behind in another namespace.
    LeftBehind = Taken;
    /// The name is attached, so that what is remembered of it is in use.
    NameAttached = Taken;
    /// Nothing is remembered for the name.
    NothingRemembered = NotFound;
    /// No endpoint name can be derived from the namespace.
    NameUnderivable = Invalid;
    /// There is no such endpoint.
    NoEndpoint = NotFound;
    /// An engine has the endpoint's container, and alone may take it off.
    EndpointOfEngine = Taken;
    /// The endpoint has the parent's MAC and cannot have another.
    MacNotSettable = Invalid;
    /// The MAC cannot be a single machine's.
    MacUnfit = Invalid;
    /// The MAC is in use.
    MacTaken = Taken;
    /// The DHCP client identifier is another endpoint's.
    ClientIdTaken = Taken;

    /// Root has not allowed the network to a user.
    UserNotAllowed = Invalid;
    /// A user has as many containers on the LAN as one may have.
    UserHasTooMany = Taken;
    /// A user may not choose the address.
    AddressNotAllowed = Invalid;
    /// A user may not choose the MAC.
    MacNotAllowed = Invalid;
    /// A user other than root asks for a DHCP client identifier.
    ClientIdNotAllowed = Invalid;

    /// There is no network namespace there.
    NoNamespace = Invalid;
    /// This user may not open the network namespace.
    NamespaceForbidden = Invalid;
    /// The network namespace cannot be read.
    NamespaceUnreadable = Kernel;
    /// The namespace is the host's own.
    HostNamespace = Invalid;
    /// The namespace has a link of that name.
    IfnameTaken = Invalid;
    /// Another endpoint in the namespace has the default route.
    DefaultRouteTaken = Taken;
    /// A link, route or file that is not Ashore's is in the way.
    InTheWay = Taken;

    /// No DHCP server answers.
    NoDhcpServer = Kernel;
    /// Only a DHCP server whose answers do not count has answered.
    DhcpServerIgnored = Kernel;
    /// The DHCP server's answer cannot be used.
    LeaseUnfit = Kernel;
    /// The DHCP server gives an address that another machine has.
    LeaseOnLan = Kernel;
    /// Another request is acquiring a lease for the name.
    LeaseBusy = Kernel;

    /// An engine does not answer.
    EngineSilent = NotFound;
    /// The engine's network has another driver than it needs.
    OtherDriver = Invalid;
    /// The network cannot be adopted: it is Ashore's own, is on no LAN, or has an unknown option.
    NotAdoptable = Invalid;
    /// The network is not adopted.
    NotAdopted = NotFound;

    /// The NIC is a port already.
    NicIsPort = Taken;
    /// The NIC or the bridge carries a network or another link.
    NicInUse = Taken;
    /// The NIC or the bridge has something that no step can move.
    NicUnmovable = Invalid;
    /// A link has the name of the bridge already.
    BridgeExists = Taken;
    /// There is no such bridge, or the NIC is not a port of it.
    NoBridge = Invalid;
    /// The bridge has other ports, which would be cut off.
    BridgeHasPorts = Taken;
    /// The router does not answer, so that its silence after a move would mean nothing.
    RouterSilent = Invalid;
    /// A NIC's move is on trial.
    MoveOnTrial = Taken;
    /// No NIC's move is on trial.
    NoTrial = NotFound;
    /// The way back from a move could not be secured.
    TrialNotSecured = State;
    /// The NIC was moved, and everything was put back.
    MovePutBack = Kernel;
    /// Another program manages the interface.
    OtherManager = Taken;
    /// What manages this host's network has settings that are not understood, or cannot be read.
    SettingsUnreadable = Invalid;
    /// A file of the host's network settings cannot be written.
    SettingsNotWritten = State;

    /// The network and what was given for the router differ.
    RouterPlanDiffers = Invalid;
    /// The router's own pool leaves no room, or is not on this LAN.
    RouterPoolUnfit = Invalid;

    /// The kernel refused a step, or lacks a module.
    StepFailed = Kernel;
    /// Something undoes the steps.
    StepUndone = Kernel;
    /// The kernel's state cannot be read.
    KernelUnreadable = Kernel;
    /// The state cannot be written.
    NotWritten = State;
    /// The state on disk cannot be read.
    StateUnreadable = State;
    /// What is to be imported is no exported state.
    DocumentInvalid = Invalid;

    /// Nothing but reading passes at this socket.
    ReadOnly = Invalid;
    /// The daemon does not know the request: the client is of another version.
    OtherVersion = Invalid;
    /// The request is too long.
    RequestTooLong = Invalid;
    /// The request changes nothing in the kernel, so there is nothing to plan.
    NothingToPlan = Invalid;
    /// Another daemon is running.
    OtherDaemon = Taken;
    /// A directory, or a socket that the init system passed, is not fit for the daemon.
    PlaceUnfit = Invalid;
    /// A unit was changed by hand.
    UnitChanged = Taken;
    /// A package has installed Ashore, and only the package manager may change that.
    Packaged = Taken;
    /// The daemon had an internal error.
    Internal = Internal;
}

impl Refusal {
    /// A refusal with a code, which gives its kind.
    pub fn new(code: Code, about: About, message: impl Into<String>, remedy: Option<Remedy>) -> Self {
        Refusal { kind: code.kind(), code, about, message: message.into(), remedy }
    }

    /// A refusal that concerns nothing with a name.
    pub fn of(code: Code, message: impl Into<String>, remedy: impl Into<Remedy>) -> Self {
        Refusal::new(code, About::default(), message, Some(remedy.into()))
    }

    /// The same about something else.
    #[must_use]
    pub fn about(self, about: About) -> Self {
        Refusal { about, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_value_and_an_earlier_client_reads_its_text() {
        #[derive(Deserialize)]
        struct Earlier {
            kind: RefusalKind,
            message: String,
            hint: Option<String>,
        }
        let about = About::parent(&"eth0".parse().unwrap());
        let refusal = Refusal::new(Code::ParentDown, about, "it is down", Some(Remedy::run("ip link")));
        let json = r#"{"kind":"invalid","code":"parent-down","about":{"parent":"eth0"},"message":"it is down","hint":"ip link"}"#;
        assert_eq!(serde_json::to_string(&refusal).unwrap(), json);
        let Earlier { kind, message, hint } = serde_json::from_str(json).unwrap();
        assert_eq!(
            (kind, message.as_str(), hint.as_deref()),
            (RefusalKind::Invalid, "it is down", Some("ip link"))
        );
    }

    #[test]
    fn the_refusal_of_an_earlier_or_a_later_daemon_is_read() {
        let earlier = r#"{"kind":"taken","message":"m","hint":"h"}"#;
        let later = r#"{"kind":"taken","code":"on-fire","about":{"rack":"7"},"message":"m","hint":"h"}"#;
        for json in [earlier, later] {
            let refusal: Refusal = serde_json::from_str(json).unwrap();
            assert_eq!((refusal.code, refusal.kind), (Code::Unknown, RefusalKind::Taken));
            assert_eq!(refusal.remedy.unwrap().to_string(), "h");
        }
    }
}
