//! What has happened, as values. `ashore events` prints them; programs tell them apart by their kinds.

use std::net::IpAddr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::net::name::{EndpointName, IfName};

/// The maximum length of an event's text, in characters. A part of it may come from outside.
const LONGEST: usize = 400;
/// The code of the trouble that a machine claims an address.
pub const ADDRESS_CLAIMED: &str = "address-claimed";
/// How many events are kept of claims that begin to be a trouble, and of those that end to be one.
const CLAIMS_AS_TROUBLES: usize = 20;

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number. A later event has a higher one. A claim that is made again gets a new number.
    pub number: u64,
    /// When it happened last, in seconds since 1970.
    pub at: u64,
    /// When it happened first, if it has happened several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// How often it has happened.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
    /// What has happened.
    #[serde(flatten)]
    pub what: Happening,
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_once(times: &u64) -> bool {
    *times == 1
}

/// What has happened: the kind, each thing that it can name, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Its kind.
    pub kind: Kind,
    /// The user's name for the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The endpoint, on that network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<EndpointName>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The MAC: of the endpoint, or of the machine that claims its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The parent, or another link of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<IfName>,
    /// The code of the trouble that begins or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// A sentence. It may contain text from outside.
    pub text: String,
}

/// Declares the kinds, each with the number of events that are kept.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal, $most:literal;)*) => {
        /// The kind of an event. Programs know it by its name, which is never changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[doc = $doc])* #[serde(rename = $word)] $name,)*
            /// A kind that this version does not know: the daemon is of a later one.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Kind {
            /// All kinds that this version knows.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// Its name.
            pub fn word(self) -> &'static str {
                match self {
                    $(Kind::$name => $word,)*
                    Kind::Unknown => "unknown",
                }
            }

            /// How many events of the kind are kept. Each kind has room of its own, so that what anybody can cause
            /// pushes out nothing else.
            pub fn most(self) -> usize {
                match self {
                    $(Kind::$name => $most,)*
                    Kind::Unknown => 0,
                }
            }
        }
    };
}

kinds! {
    /// A container is on the LAN.
    Attached = "attached", 180;
    /// A container has left the LAN.
    Detached = "detached", 180;
    /// A container has another name.
    Renamed = "renamed", 20;
    /// A container has other addresses, and not by a lease.
    Address = "address", 80;
    /// A container has got a lease.
    LeaseGot = "lease-got", 80;
    /// A container has a lease of another address.
    LeaseChanged = "lease-changed", 40;
    /// A container has lost its lease.
    LeaseLost = "lease-lost", 40;
    /// A machine claims an address of a container or of the host.
    Conflict = "conflict", 130;
    /// A network was made.
    NetworkMade = "network-made", 15;
    /// A network was removed.
    NetworkRemoved = "network-removed", 15;
    /// A network has another parent.
    Moved = "moved", 20;
    /// A trouble has begun.
    TroubleBegun = "trouble-begun", 70;
    /// A trouble has ended.
    TroubleEnded = "trouble-ended", 70;
    /// The daemon has started.
    Started = "started", 10;
    /// The daemon was asked to end.
    Stopped = "stopped", 10;
}

impl Happening {
    /// Something of a kind, with a sentence. A longer one is cut.
    pub fn new(kind: Kind, text: &str) -> Self {
        let mut short: String = text.chars().take(LONGEST).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        Happening {
            kind,
            network: None,
            name: None,
            address: None,
            mac: None,
            parent: None,
            trouble: None,
            text: short,
        }
    }

    /// Whether a machine on the LAN makes it up as it likes: a claim, or a claim as a trouble.
    fn is_claim(&self) -> bool {
        self.kind == Kind::Conflict || self.trouble.as_deref() == Some(ADDRESS_CLAIMED)
    }

    /// The room that it takes a place of.
    pub(crate) fn room(&self) -> Room {
        Room { kind: self.kind, is_of_claims: self.is_claim() }
    }

    /// What it is about.
    pub(crate) fn thing(&self) -> Thing<'_> {
        Thing {
            network: self.network.as_deref(),
            name: self.name.as_ref(),
            parent: self.parent.as_ref(),
            trouble: self.trouble.as_deref(),
            address: self.address.filter(|_| self.is_claim()),
        }
    }

    /// Who causes it.
    pub(crate) fn party(&self) -> Party<'_> {
        if self.is_claim() {
            return match &self.parent {
                Some(parent) => Party::Lan(parent),
                None => Party::Network(self.network.as_deref()),
            };
        }
        if let Some(uid) = self.name.as_ref().and_then(EndpointName::user) {
            return Party::User(uid);
        }
        Party::Thing(self.network.as_deref(), self.name.as_ref(), self.parent.as_ref())
    }

    /// Whether both are of the same kind and about the same thing. One container's events push out no other's.
    pub fn is_beside(&self, other: &Happening) -> bool {
        self.kind == other.kind && self.thing() == other.thing()
    }

    /// Whether it is about something that a user calls so: a network, an endpoint, a parent, an address, a MAC or the code of a trouble.
    pub fn concerns(&self, called: &str) -> bool {
        let is = |text: Option<&str>| text == Some(called);
        is(self.network.as_deref())
            || is(self.name.as_ref().map(EndpointName::as_str))
            || is(self.parent.as_ref().map(IfName::as_str))
            || is(self.trouble.as_deref())
            || called.parse::<IpAddr>().is_ok_and(|ip| self.address == Some(ip))
            || called.parse::<Mac>().is_ok_and(|mac| self.mac == Some(mac))
    }
}

/// Events that share the places that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    /// Their kind.
    pub(crate) kind: Kind,
    /// Whether they are claims. As troubles, claims have room apart from what nobody on the LAN can make up.
    is_of_claims: bool,
}

impl Room {
    /// How many places there are.
    pub(crate) fn most(self) -> usize {
        match self.kind {
            Kind::TroubleBegun | Kind::TroubleEnded if self.is_of_claims => CLAIMS_AS_TROUBLES,
            kind => kind.most(),
        }
    }

    /// All rooms.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Room> {
        let rooms = |kind: &Kind| match *kind {
            kind @ (Kind::TroubleBegun | Kind::TroubleEnded) => {
                vec![Room { kind, is_of_claims: false }, Room { kind, is_of_claims: true }]
            }
            kind => vec![Room { kind, is_of_claims: kind == Kind::Conflict }],
        };
        Kind::ALL.iter().flat_map(rooms)
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing<'a> {
    network: Option<&'a str>,
    name: Option<&'a EndpointName>,
    parent: Option<&'a IfName>,
    trouble: Option<&'a str>,
    address: Option<IpAddr>,
}

/// Who causes events. Whoever has most of a room loses the next place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party<'a> {
    /// Anybody on the LAN of a parent, who may claim any address in the name of any machine.
    Lan(&'a IfName),
    /// Anybody on the LAN of a network.
    Network(Option<&'a str>),
    /// A user other than root, who may have any number of containers.
    User(u32),
    /// A container, a network or a link.
    Thing(Option<&'a str>, Option<&'a EndpointName>, Option<&'a IfName>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_flat_json_and_one_of_a_later_version_can_be_read() {
        let what =
            Happening { name: Some("web".parse().unwrap()), ..Happening::new(Kind::Attached, "it came") };
        let event = Event { number: 7, at: 100, first: None, times: 1, what };
        let json = r#"{"number":7,"at":100,"kind":"attached","name":"web","text":"it came"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        let later = r#"{"number":7,"at":100,"kind":"melted","colour":"red","text":"it melted"}"#;
        assert_eq!(serde_json::from_str::<Event>(later).unwrap().what.kind, Kind::Unknown);
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
    }

    #[test]
    fn a_text_is_bounded() {
        let long = Happening::new(Kind::Attached, &"ä".repeat(100_000));
        assert_eq!(long.text.chars().count(), LONGEST + 1);
    }

    #[test]
    fn it_is_found_by_what_users_call_it() {
        let mut what = Happening::new(Kind::Conflict, "");
        what.network = Some("lan".to_owned());
        what.name = Some("web".parse().unwrap());
        what.address = Some("192.168.88.7".parse().unwrap());
        what.mac = Some(Mac([2, 0, 0, 0, 0, 7]));
        for called in ["lan", "web", "192.168.88.7", "02:00:00:00:00:07"] {
            assert!(what.concerns(called), "{called}");
        }
        for called in ["", "we", "192.168.88.70", "02:00:00:00:00:70"] {
            assert!(!what.concerns(called), "{called}");
        }
    }
}
