//! The options of a message: kept as bytes under their codes, and given a meaning when they are asked for, so that one that
//! makes no sense spoils no other.

use std::net::Ipv6Addr;

use super::Duid;
use crate::dhcp::words;
use crate::domain::DomainName;
use crate::ipv6::is_host;

/// The codes of the options that have a meaning here (RFC 8415, 21, unless another is named).
pub mod code {
    /// Who the client is.
    pub const CLIENT_ID: u16 = 1;
    /// Who the server is.
    pub const SERVER_ID: u16 = 2;
    /// Addresses for one interface.
    pub const IA_NA: u16 = 3;
    /// One of them.
    pub const IA_ADDRESS: u16 = 5;
    /// What the client wants to know.
    pub const OPTION_REQUEST: u16 = 6;
    /// How much the server wants to be chosen.
    pub const PREFERENCE: u16 = 7;
    /// Hundredths of a second since the exchange began.
    pub const ELAPSED_TIME: u16 = 8;
    /// How it went.
    pub const STATUS: u16 = 13;
    /// Two messages are enough.
    pub const RAPID_COMMIT: u16 = 14;
    /// Name servers (RFC 3646).
    pub const DNS: u16 = 23;
    /// Domains in which names are looked for (RFC 3646).
    pub const DOMAIN_SEARCH: u16 = 24;
    /// When a client without a lease asks again.
    pub const REFRESH_TIME: u16 = 32;
    /// The client's name with its domain (RFC 4704).
    pub const FQDN: u16 = 39;
    /// The longest pause between SOLICITs.
    pub const SOL_MAX_RT: u16 = 82;
    /// The longest pause between INFORMATION-REQUESTs.
    pub const INF_MAX_RT: u16 = 83;
}

/// How it went (RFC 8415, 21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Well. It need not be said.
    Success,
    /// Not, for reasons that the client does not need to know.
    UnspecFail,
    /// There are no addresses left.
    NoAddrsAvail,
    /// The server knows nothing of this lease.
    NoBinding,
    /// The address does not belong to this link.
    NotOnLink,
    /// The server wants to be asked by multicast.
    UseMulticast,
    /// In a way that this does not know.
    Other(u16),
}

impl From<u16> for Status {
    fn from(number: u16) -> Self {
        match number {
            0 => Status::Success,
            1 => Status::UnspecFail,
            2 => Status::NoAddrsAvail,
            3 => Status::NoBinding,
            4 => Status::NotOnLink,
            5 => Status::UseMulticast,
            other => Status::Other(other),
        }
    }
}

/// A message's options, or those of an option that holds others, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(Vec<(u16, Vec<u8>)>);

impl Options {
    /// An option's bytes; the first's, if it stands there twice where it may not.
    pub fn get(&self, code: u16) -> Option<&[u8]> {
        self.all(code).next()
    }

    /// The bytes of all options of a code.
    pub fn all(&self, code: u16) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(each, _)| *each == code).map(|(_, bytes)| bytes.as_slice())
    }

    /// Puts an option at the end.
    pub fn push(&mut self, code: u16, bytes: impl Into<Vec<u8>>) {
        self.0.push((code, bytes.into()));
    }

    /// Puts an option in, in the place of all that were there.
    pub fn set(&mut self, code: u16, bytes: impl Into<Vec<u8>>) {
        self.0.retain(|(each, _)| *each != code);
        self.push(code, bytes);
    }

    /// The codes that are there, in the order of the options.
    pub fn codes(&self) -> impl Iterator<Item = u16> {
        self.0.iter().map(|(code, _)| *code)
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        let mut options = Options::default();
        while let Some(([a, b, c, d], rest)) = bytes.split_first_chunk::<4>() {
            let length = u16::from_be_bytes([*c, *d]);
            let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else { break };
            options.push(u16::from_be_bytes([*a, *b]), value);
            bytes = rest;
        }
        options
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            bytes.extend(code.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend(value);
        }
    }

    /// Who the server is.
    pub fn server(&self) -> Option<Duid> {
        Duid::try_from(self.get(code::SERVER_ID)?.to_vec()).ok()
    }

    /// An option of one number of four bytes, as all times are; none if it has another length.
    pub fn number(&self, code: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// How much the server wants to be chosen: 0 if it does not say, and 255 at the most.
    pub fn preference(&self) -> u8 {
        match self.get(code::PREFERENCE) {
            Some([preference]) => *preference,
            _ => 0,
        }
    }

    /// How it went, and why in the server's words. One that cannot be read says that it went wrong.
    pub fn status(&self) -> (Status, Option<String>) {
        match self.get(code::STATUS).map(<[u8]>::split_first_chunk) {
            None => (Status::Success, None),
            Some(None) => (Status::UnspecFail, None),
            Some(Some((number, text))) => (u16::from_be_bytes(*number).into(), words(text)),
        }
    }

    /// Name servers, without addresses that no machine has.
    pub fn dns(&self) -> Vec<Ipv6Addr> {
        let (all, rest) = self.get(code::DNS).unwrap_or_default().as_chunks::<16>();
        let all = if rest.is_empty() { all } else { &[] };
        all.iter().copied().map(Ipv6Addr::from).filter(|ip| is_host(*ip)).collect()
    }

    /// The domains in which names are looked for.
    pub fn search(&self) -> Vec<DomainName> {
        self.get(code::DOMAIN_SEARCH).and_then(DomainName::list).unwrap_or_default()
    }
}

/// Whether an address is one that a server can give.
pub(super) fn is_lease(ip: Ipv6Addr) -> bool {
    is_host(ip) && !ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(code: u16, bytes: &[u8]) -> Options {
        let mut options = Options::default();
        options.push(code, bytes);
        options
    }

    #[test]
    fn lists_of_addresses_are_whole_and_name_machines() {
        let good: [Ipv6Addr; 2] = ["fd88::1".parse().unwrap(), "fe80::1".parse().unwrap()];
        let bad = ["::", "::1", "ff02::1", "::ffff:192.168.88.1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap());
        let bytes: Vec<u8> = good.iter().chain(&bad).flat_map(Ipv6Addr::octets).collect();
        assert_eq!(with(code::DNS, &bytes).dns(), good);
        assert!(with(code::DNS, &bytes[..31]).dns().is_empty());
        assert!(!is_lease(good[1]) && is_lease(good[0]));
    }

    #[test]
    fn a_status_that_is_not_there_is_success_and_one_that_cannot_be_read_is_none() {
        assert_eq!(Options::default().status(), (Status::Success, None));
        assert_eq!(with(code::STATUS, &[0]).status(), (Status::UnspecFail, None));
        assert_eq!(with(code::STATUS, &[0, 3]).status(), (Status::NoBinding, None));
        let words = Some("no[2J".to_owned());
        assert_eq!(with(code::STATUS, b"\x00\x02no\x1b[2J").status(), (Status::NoAddrsAvail, words));
        for number in 0..9 {
            assert_eq!(Status::from(number) == Status::Other(number), number > 5);
        }
    }

    #[test]
    fn a_server_is_a_duid_of_a_length_that_rfc_8415_allows() {
        assert!(with(code::SERVER_ID, &[0, 3, 0]).server().is_some());
        for length in [0, 2, 131] {
            assert_eq!(with(code::SERVER_ID, &vec![0; length]).server(), None);
        }
    }

    #[test]
    fn what_stands_there_twice_counts_once_and_may_be_replaced() {
        let mut options = with(code::PREFERENCE, &[7]);
        options.push(code::PREFERENCE, [9]);
        assert_eq!((options.preference(), options.all(code::PREFERENCE).count()), (7, 2));
        options.set(code::PREFERENCE, [1, 2]);
        assert_eq!((options.preference(), options.codes().count()), (0, 1));
    }
}
