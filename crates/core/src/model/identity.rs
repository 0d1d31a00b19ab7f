//! What a container keeps for life. Its MAC is derived from its name on its network, and so is its address as
//! long as that is free.

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ashore_wire::Mac;
use ashore_wire::dhcp4::ClientId;
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::model::indexed::Marked;
use crate::model::lease::{LeaseRecord, LeaseRecord6};
use crate::model::network::Subnet;
use crate::net::family::Family;
use crate::net::name::{EndpointName, IfName};

/// Sixteen random bytes, drawn when the state is created and stored with it. Because of them, containers of
/// the same name on two hosts of a LAN have different MACs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Seed(pub [u8; 16]);

/// What is known of whoever bears a name. It decides whether the name may be forgotten when too many are
/// remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bearer {
    /// Earlier versions did not record it.
    #[default]
    Unknown,
    /// The user of the command line chose the name, and no list says whether it will be asked for again.
    User,
    /// A container that its engine has, as far as is known.
    Container,
    /// A container that its engine no longer has. One of the same name may be made.
    Removed,
    /// Nobody chose the name, and what bore it is gone.
    MadeUp,
}

impl Bearer {
    /// Whether it is the default, which is not serialised.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    fn is_unknown(&self) -> bool {
        *self == Bearer::Unknown
    }

    /// In which order names may be forgotten, if they may be.
    fn rank(self) -> Option<Rank> {
        match self {
            Bearer::MadeUp => Some(Rank::MadeUp),
            Bearer::Removed => Some(Rank::Removed),
            Bearer::Unknown | Bearer::User | Bearer::Container => None,
        }
    }
}

/// The names that may be forgotten, in the order in which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Nobody will ask for the name again.
    MadeUp,
    /// Somebody may.
    Removed,
}

/// What is remembered for a name on a network, even while nothing is attached under it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its last MAC.
    pub mac: Option<Mac>,
    /// Whether its user chose that MAC. Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_by_user: Option<bool>,
    /// The last addresses that Ashore or the user chose for it.
    pub addresses: Vec<IpAddr>,
    /// The addresses that the user requested explicitly. They may be outside the network's range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<IpAddr>,
    /// The last stand-in addresses: it got them because a machine on the LAN used its own. When it comes
    /// back, its own addresses are tried first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meanwhile: Vec<IpAddr>,
    /// The last address that a DHCP server assigned to it. Only that server can assign it again; Ashore does
    /// not choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased: Option<Ipv4Addr>,
    /// The addresses that it made from advertised prefixes, the latest first. It gets them again wherever the
    /// prefixes are advertised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<Ipv6Addr>,
    /// The lease of its IPv4 address. It requests this address first when it comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Box<LeaseRecord>>,
    /// The lease of its DHCPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease6: Option<Box<LeaseRecord6>>,
    /// The client identifier that its user chose. DHCP servers know it by this one whenever it comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// When it was last used, in seconds since 1970.
    pub last_used: u64,
    /// Its place in the order in which all names were last used: the higher, the later. Clocks jump, and this does
    /// not. Zero in the rows of versions that did not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub used: u64,
    /// Who bears the name.
    #[serde(default, skip_serializing_if = "Bearer::is_unknown")]
    pub bearer: Bearer,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What an identity can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// An address that is kept for the name, whether chosen or leased.
    Ip(IpAddr),
    /// An address that occurs in it otherwise: one that was asked for, or that of a lease's record.
    Named(IpAddr),
    /// The last MAC.
    Mac(Mac),
    /// An address that it made from an advertised prefix.
    Made(Ipv6Addr),
    /// The client identifier of a lease, or the one that its user chose.
    Client(ClientId),
    /// It has a lease of either protocol.
    Leased,
    /// An engine has a container of this name, as far as is known.
    Container,
    /// It may be forgotten. With its place in the order of uses.
    Spare(Rank, u64),
    /// It may be forgotten once its leases have ended. With the time, in seconds since 1970.
    SpareAfter(Rank, u64),
    /// Its place in the order of uses. The last of all marks is that of the name that was used last.
    Used(u64),
}

impl Marked for Identity {
    type Mark = Mark;

    fn marks(&self) -> BTreeSet<Mark> {
        let mut marks: BTreeSet<Mark> = self.all_addresses().map(Mark::Ip).collect();
        let of_lease = self.lease.iter().map(|record| IpAddr::V4(record.lease.address.addr()));
        marks.extend(self.asked.iter().copied().chain(of_lease).map(Mark::Named));
        marks.extend(self.mac.map(Mark::Mac));
        marks.extend(self.made.iter().copied().map(Mark::Made));
        marks.extend(self.client_ids().cloned().map(Mark::Client));
        if self.lease.is_some() || self.lease6.is_some() {
            marks.insert(Mark::Leased);
        }
        if self.bearer == Bearer::Container {
            marks.insert(Mark::Container);
        }
        marks.extend(self.spare());
        marks.insert(Mark::Used(self.used));
        marks
    }
}

/// A network as identities know it: by the name that users give it, which outlives the network itself. It does not
/// depend on the engine, so a container that moves to another engine keeps its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope(pub String);

impl Scope {
    /// The name that users give the network.
    pub fn label(&self) -> &str {
        &self.0
    }
}

impl Seed {
    /// What tells files of this state from those of others by their names. The seed does not follow from it.
    pub fn mark(&self) -> String {
        let [a, b, c, d, ..] = self.hash(&[b"mark"]);
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }

    /// Returns the MAC number `attempt` of a name on a network: stable, locally administered, unicast.
    /// Attempts after the first are for the case that another endpoint already has that MAC (46 bits: 1 in
    /// 10^9 for 300 containers).
    pub fn mac(&self, scope: &Scope, name: &EndpointName, attempt: u8) -> Mac {
        let hash = self.hash(&[b"mac", scope.0.as_bytes(), name.as_str().as_bytes(), &[attempt]]);
        let [a, b, c, d, e, f, ..] = hash;
        Mac([a, b, c, d, e, f]).into_local_unicast()
    }

    /// Returns the DHCP client identifier of a name on a network, in the form of RFC 4361: the single
    /// interface of a machine whose DUID is a UUID (RFC 6355). It does not depend on a MAC that the user
    /// chooses, and differs on every host. `attempt` counts as for the MAC.
    pub fn client_id(&self, scope: &Scope, name: &EndpointName, attempt: u8) -> ClientId {
        const DUID_UUID: [u8; 2] = [0, 4];
        let uuid = self.hash(&[b"client-id", scope.0.as_bytes(), name.as_str().as_bytes(), &[attempt]]);
        ClientId::duid(1, &[&DUID_UUID[..], &uuid].concat()).expect("18 bytes are fewer than 130")
    }

    /// Returns the interface identifier of a name in a prefix (RFC 7217, 5).
    pub(crate) fn interface_id(
        &self,
        scope: &Scope,
        name: &EndpointName,
        prefix: Ipv6Net,
        counter: u8,
    ) -> u64 {
        let network = prefix.network().octets();
        let parts: [&[u8]; 5] =
            [b"interface-id", &network, scope.0.as_bytes(), name.as_str().as_bytes(), &[counter]];
        let [a, b, c, d, e, f, g, h, ..] = self.hash(&parts);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns the offset in a large range at which the search for a name's address begins.
    pub fn offset(&self, scope: &Scope, name: &EndpointName) -> u128 {
        u128::from_le_bytes(self.hash(&[b"offset", scope.0.as_bytes(), name.as_str().as_bytes()]))
    }

    pub(crate) fn hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            // Each part is hashed with its length, so that ("ab", "c") and ("a", "bc") differ.
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_bytes()
    }
}

/// Returns the MAC of the shim on a parent. The parent may be a VLAN, which has the MAC of the interface
/// below. The shim's MAC depends only on the parent's MAC and the VLAN ID, so a shim that is made again has
/// the same link-local address. That address is the next hop of the containers' IPv6 route to the host.
pub fn shim_mac(parent: Mac, vlan: Option<u16>) -> Mac {
    let mut hasher = SipHasher24::new_with_key(b"ashore host shim");
    hasher.write(&parent.0);
    if let Some(id) = vlan {
        hasher.write(&id.to_le_bytes());
    }
    let [a, b, c, d, e, f, ..] = hasher.finish128().as_bytes();
    Mac([a, b, c, d, e, f]).into_local_unicast()
}

/// Returns the MAC of a port on a bridge, derived from the port's name. No NIC has a higher MAC:
/// manufacturers' MACs are not locally administered, and fe is the highest first byte of a station's MAC.
pub fn port_mac(port: &IfName) -> Mac {
    let mut hasher = SipHasher24::new_with_key(b"ashore host port");
    hasher.write(port.as_str().as_bytes());
    let [a, b, c, d, ..] = hasher.finish128().as_bytes();
    Mac([0xfe, 0xff, a, b, c, d])
}

impl Identity {
    /// All addresses that are kept for the name, whether chosen or leased.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.own_first().chain(self.leased.map(IpAddr::V4))
    }

    /// The addresses that were chosen for the name: its own first, then its stand-ins.
    pub(crate) fn own_first(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.meanwhile).copied()
    }

    /// Whether the name may get this kept address in a subnet: the address is in the subnet's range, or the
    /// user requested it. Outside the range another party hands out addresses, such as the LAN's DHCP server.
    pub(crate) fn may_have_of(&self, subnet: &Subnet, ip: IpAddr) -> bool {
        subnet.pool().contains(ip) || self.asked.contains(&ip)
    }

    /// The chosen address of a family that is kept for the name.
    pub(crate) fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// When it was last used, to be compared with other identities. The time counts among those that were last
    /// used by a version that did not count.
    pub fn last_use(&self) -> (u64, u64) {
        (self.used, self.last_used)
    }

    /// The mark of a name that may be forgotten. A name keeps an address or a client identifier that its user chose,
    /// and an address whose lease never ends.
    fn spare(&self) -> Option<Mark> {
        let rank = self.bearer.rank().filter(|_| self.asked.is_empty() && self.client_id.is_none())?;
        let leases = [self.lease.as_ref().map(|one| one.ends()), self.lease6.as_ref().map(|one| one.ends())];
        let mut ends = leases.into_iter().flatten();
        let Some(first) = ends.next() else { return Some(Mark::Spare(rank, self.used)) };
        Some(Mark::SpareAfter(rank, ends.fold(first, |last, end| Some(last?.max(end?)))?))
    }

    /// The client identifiers under which DHCP servers know the name.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = &ClientId> {
        let id = self.lease.iter().map(|record| &record.id);
        id.chain(self.lease6.iter().map(|record| &record.id)).chain(&self.client_id)
    }
}

/// The seed is written as 32 hexadecimal digits.
impl From<Seed> for String {
    fn from(seed: Seed) -> String {
        format!("{:032x}", u128::from_be_bytes(seed.0))
    }
}

impl TryFrom<String> for Seed {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a seed is 32 hexadecimal digits";
        if text.len() != 32 || !text.is_ascii() {
            return Err(WRONG);
        }
        let mut seed = [0; 16];
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| WRONG)?;
        }
        Ok(Seed(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_mac_for_life_and_every_name_another() {
        let (seed, other_host) = (Seed([7; 16]), Seed([8; 16]));
        let (lan, dmz) = (Scope("lan".into()), Scope("dmz".into()));
        let (web, db) = ("web".parse().unwrap(), "db".parse().unwrap());
        // A fixed expectation: if this changes, every existing container changes its MAC at the next upgrade.
        assert_eq!(seed.mac(&lan, &web, 0).to_string(), "b2:9b:83:c8:47:b7");
        let all = [
            seed.mac(&lan, &web, 0),
            seed.mac(&lan, &web, 1),
            seed.mac(&lan, &db, 0),
            seed.mac(&dmz, &web, 0),
            other_host.mac(&lan, &web, 0),
            shim_mac(seed.mac(&lan, &web, 0), None),
            shim_mac(seed.mac(&lan, &web, 0), Some(200)),
        ];
        for (at, mac) in all.iter().enumerate() {
            assert!(mac.is_local() && mac.is_station());
            assert!(!all[..at].contains(mac));
        }
    }
}
