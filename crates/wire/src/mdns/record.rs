//! Records: what is known of a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;

/// Types of records and questions (RFC 1035, 3.2.2; RFC 3596; RFC 2782; RFC 4034).
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A pointer to another name.
    pub const PTR: u16 = 12;
    /// Strings that belong to a service.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// The host and port of a service.
    pub const SRV: u16 = 33;
    /// Which types a name has.
    pub const NSEC: u16 = 47;
    /// In a question: any type.
    pub const ANY: u16 = 255;
}

/// A record without its lifetime. Two of them are equal where RFC 6762 calls the data identical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Whose record it is.
    pub name: Name,
    /// What it says.
    pub data: Data,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// Another name.
    Ptr(Name),
    /// Strings, each after its length (RFC 6763, 6.1).
    Txt(Vec<u8>),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service is (RFC 2782). Priority and weight are 0 in what is published here.
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// How often it is chosen among those of the same priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// The types that the name has, as the blocks of RFC 4034, 4.1.2. In mDNS the next name is the name itself
    /// (RFC 6762, 6.1), and is not kept.
    Nsec(Vec<u8>),
    /// Data of any other type, as it came.
    Other(u16, Vec<u8>),
}

impl Data {
    /// The address record of an address.
    pub fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Data::A(ip),
            IpAddr::V6(ip) => Data::Aaaa(ip),
        }
    }

    /// Says that a name has records of these types, and no others. They must be below 256, as RFC 6762, 6.1,
    /// restricts it.
    pub(super) fn only(kinds: &[u16]) -> Self {
        let mut bits = [0u8; 32];
        for kind in kinds {
            bits[usize::from(kind / 8)] |= 0x80 >> (kind % 8);
        }
        let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Data::Nsec([&[0, length as u8], &bits[..length]].concat())
    }

    /// The type.
    pub fn kind(&self) -> u16 {
        match self {
            Data::A(_) => kind::A,
            Data::Ptr(_) => kind::PTR,
            Data::Txt(_) => kind::TXT,
            Data::Aaaa(_) => kind::AAAA,
            Data::Srv { .. } => kind::SRV,
            Data::Nsec(_) => kind::NSEC,
            Data::Other(kind, _) => *kind,
        }
    }

    /// The address, if this is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Data::A(ip) => Some((*ip).into()),
            Data::Aaaa(ip) => Some((*ip).into()),
            _ => None,
        }
    }

    /// The name that this leads to, if any.
    pub(super) fn target(&self) -> Option<&Name> {
        match self {
            Data::Ptr(target) | Data::Srv { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The data as bytes without compression, which simultaneous probes are compared by (RFC 6762, 8.2).
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Data::A(ip) => ip.octets().to_vec(),
            Data::Aaaa(ip) => ip.octets().to_vec(),
            Data::Ptr(target) => target.bytes().to_vec(),
            Data::Srv { priority, weight, port, target } => {
                [&[priority, weight, port].map(|number| number.to_be_bytes()).concat(), target.bytes()]
                    .concat()
            }
            Data::Txt(bytes) | Data::Nsec(bytes) | Data::Other(_, bytes) => bytes.clone(),
        }
    }

    /// Reads the data of a type from a message. `None` if it does not have the form of its type.
    pub(super) fn read(kind: u16, message: &[u8], start: usize, end: usize) -> Option<Self> {
        let bytes = message.get(start..end)?;
        let number = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        // A name within data ends where the data ends.
        let name = |at: usize| Name::read(&message[..end], at).filter(|(_, after)| *after <= end);
        Some(match kind {
            kind::A => Data::A(<[u8; 4]>::try_from(bytes).ok()?.into()),
            kind::AAAA => Data::Aaaa(<[u8; 16]>::try_from(bytes).ok()?.into()),
            kind::PTR => Data::Ptr(name(start)?.0),
            kind::SRV => Data::Srv {
                priority: number(0)?,
                weight: number(2)?,
                port: number(4)?,
                target: name(start + 6)?.0,
            },
            kind::TXT => Data::Txt(bytes.to_vec()),
            kind::NSEC => Data::Nsec(message[name(start)?.1..end].to_vec()),
            _ => Data::Other(kind, bytes.to_vec()),
        })
    }
}

impl Record {
    /// The type.
    pub fn kind(&self) -> u16 {
        self.data.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nsec_lists_types_as_rfc_4034_says() {
        assert_eq!(Data::only(&[kind::A]), Data::Nsec(vec![0, 1, 0x40]));
        assert_eq!(Data::only(&[kind::A, kind::AAAA]), Data::Nsec(vec![0, 4, 0x40, 0, 0, 0x08]));
        assert_eq!(Data::only(&[kind::TXT, kind::SRV]), Data::Nsec(vec![0, 5, 0, 0, 0x80, 0, 0x40]));
    }
}
