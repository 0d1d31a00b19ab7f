//! Troubles: what is wrong at present, as values. `ashore status` prints them; programs tell them apart by their
//! codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::about::About;
use crate::net::remedy::{Front, Remedy, with_remedy};

/// Something that is wrong at present, or needs a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What it concerns.
    pub about: About,
    /// What is wrong, where, and why. What helps is not in it.
    pub message: String,
    /// What helps. The front that was asked spells it.
    pub remedy: Option<Remedy>,
}

/// How bad a trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something does not work now.
    Broken,
    /// Something may break, or needs a look.
    Warning,
}

/// Declares the codes, each with its severity.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $severity:ident;)*) => {
        /// The kind of a trouble. Programs know it by its name, which is never changed. The manual has a table of
        /// all codes, with what helps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
            /// A code that this version does not know: the daemon is of a later one.
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name,)* Code::Unknown];

            /// How bad a trouble of this kind is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)*
                    Code::Unknown => Severity::Warning,
                }
            }
        }
    };
}

codes! {
    /// A network's parent does not exist.
    ParentMissing = Broken;
    /// A network's parent is down.
    ParentDown = Broken;
    /// A network's parent has become a port of a bridge or bond, which receives its frames.
    ParentIsPort = Broken;
    /// No frame can leave through a network's parent: a cable is out.
    NoCarrier = Broken;
    /// The bridge below a network filters VLANs and drops the network's.
    VlanNotOnBridge = Broken;
    /// The bridge below a network no longer filters VLANs.
    BridgeUnfiltered = Broken;
    /// A network hands out addresses of another LAN than its parent is on.
    OtherLan = Broken;
    /// The host does not answer the ARP requests of endpoints.
    ArpIgnored = Broken;
    /// The host drops what endpoints send to it, because of its reverse path filter.
    ReversePath = Broken;
    /// The host's firewall drops bridged packets unless a rule accepts them.
    FirewallDrops = Warning;
    /// The host's firewall cuts the host and its containers off from each other, and not the LAN.
    HostFirewall = Warning;
    /// Users other than root may put containers on a network whose parent carries VLANs.
    VlansOpen = Warning;
    /// The LAN's router answers the host and not a container: something on the way drops frames of other MACs.
    MacDropped = Broken;
    /// The router of a network does not answer.
    RouterSilent = Warning;
    /// The router of a network is this host, which does not forward packets.
    RouterIsHost = Warning;
    /// The router of a network is another than that of this host, or of the LAN's DHCP server.
    OtherRouter = Warning;
    /// A machine that is not Ashore's has an address of a network's range.
    AddressInUse = Warning;
    /// One machine answers for addresses that nobody has.
    ProxyArp = Warning;
    /// No DHCP server answers on the LAN of a network whose addresses are leased.
    NoDhcpServer = Warning;
    /// The API of a container engine cannot be reached.
    EngineUnreachable = Warning;
    /// A container engine is older than those on which Ashore works.
    EngineTooOld = Warning;
    /// The socket by which Docker finds Ashore's driver is gone.
    PluginSocketGone = Broken;
    /// The kernel does not have the kind of link that a network is of.
    KindMissing = Broken;
    /// Another program of the host manages a link of Ashore's.
    ManagedElsewhere = Warning;
    /// A bridge lets a new port wait before it forwards.
    BridgeWaits = Warning;
    /// A network has IPv6, and it is turned off on the network's parent.
    Ipv6Off = Warning;
    /// A link that is not Ashore's gives the host access to addresses of a network, as the scripts for macvlan do.
    OtherShim = Warning;
    /// A network's links take larger frames than its parent.
    MtuTooLarge = Warning;
    /// The kernel differs from the state, and the next reconciliation mends that.
    Pending = Warning;
    /// A machine of the LAN that should answer does not.
    MachineSilent = Warning;
    /// The clock of the host is not set.
    ClockNotSet = Warning;
    /// Addresses cannot be probed on the LAN.
    ProbeFailed = Broken;
    /// A link or route of somebody else's is in the way.
    InTheWay = Broken;
    /// A machine on the LAN claims an address of a container or of the host.
    AddressClaimed = Broken;
    /// A container has added the address of another one.
    AddressAdded = Broken;
    /// A container has another address than its own, which a machine on the LAN had.
    StandIn = Warning;
    /// A container has another address or MAC than its own.
    NotItsOwn = Broken;
    /// Two containers have one name on one LAN, and two addresses.
    NameTwice = Warning;
    /// A container was disconnected, to get its own address, and could not be connected again.
    NotReconnected = Broken;
    /// A container has lost its lease.
    NoLease = Broken;
    /// A container has no IPv6 address.
    NoIpv6 = Broken;
    /// A DHCP server offers addresses that a network hands out.
    RangeInPool = Warning;
    /// Several DHCP servers answer on one LAN.
    SeveralServers = Warning;
    /// The link of an engine's container is missing.
    LinkMissing = Broken;
    /// A container has moved its link to another namespace.
    LinkMoved = Warning;
    /// A link has another name than was asked for.
    LinkRenamed = Warning;
    /// A container has changed the MAC of its link.
    MacChanged = Warning;
    /// A link of a container that has left its network is still on the LAN.
    LinkLeft = Warning;
    /// A link has the MAC of a name that is not attached.
    MacTaken = Warning;
    /// A link has the MAC of the host's shim.
    ShimMacTaken = Broken;
    /// A link in a container has a tag of Ashore's, and the state does not know it.
    UnknownLink = Warning;
    /// A container cannot be read.
    Unreadable = Warning;
    /// The namespace of an endpoint is not found.
    NamespaceLost = Warning;
    /// The path of an endpoint's namespace leads elsewhere, and another path leads to the namespace.
    PathChanged = Warning;
    /// An adopted network was created again by its engine, with other settings.
    AdoptionLost = Broken;
    /// A network of an engine has Ashore's IPAM driver and another network driver.
    OtherDriver = Broken;
    /// A NIC's move into or out of a bridge is on trial.
    MoveOnTrial = Warning;
    /// The kernel has refused a step.
    StepFailed = Broken;
    /// A reconciliation has failed.
    NotReconciled = Broken;
    /// The state cannot be written.
    NotWritten = Broken;
    /// More names are remembered than should be, and none of them may be forgotten.
    TooManyNames = Warning;
    /// The state is of another machine than this one.
    OtherMachine = Warning;
    /// Requests are being carried out, and the kernel is not compared with the state.
    Busy = Warning;
}

impl Trouble {
    /// A trouble of a kind, which has the severity of its kind.
    pub fn new(code: Code, about: About, message: impl Into<String>, remedy: Option<Remedy>) -> Self {
        Trouble { code, severity: code.severity(), about, message: message.into(), remedy }
    }
}

/// A sentence with what helps, in the words of the command line.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_remedy(&self.message, self.remedy.as_ref(), Front::CommandLine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_says_what_it_is_and_what_helps() {
        let about = About::parent(&"eth0".parse().unwrap());
        let remedy = Some(Remedy::run("ip link set dev eth0 up"));
        let trouble = Trouble::new(Code::ParentDown, about, "the parent `eth0` is down", remedy);
        assert_eq!(trouble.to_string(), "the parent `eth0` is down; try: ip link set dev eth0 up");
        let json = r#"{"code":"parent-down","severity":"broken","about":{"parent":"eth0"},"message":"the parent `eth0` is down","remedy":"ip link set dev eth0 up"}"#;
        assert_eq!(serde_json::to_string(&trouble).unwrap(), json);
        assert_eq!(serde_json::from_str::<Trouble>(json).unwrap().to_string(), trouble.to_string());
    }

    #[test]
    fn a_code_of_a_later_version_is_unknown_and_the_rest_is_kept() {
        let json = r#"{"code":"on-fire","severity":"broken","about":{"rack":"7"},"message":"it burns","remedy":null}"#;
        let trouble: Trouble = serde_json::from_str(json).unwrap();
        assert_eq!((trouble.code, trouble.severity), (Code::Unknown, Severity::Broken));
        assert_eq!(trouble.to_string(), "it burns");
    }
}
