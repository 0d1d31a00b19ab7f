//! The options of a message. They are kept as bytes under their codes and interpreted when they are read, so
//! that an invalid option does not affect the others.

use std::net::Ipv6Addr;

use super::Duid;
use crate::dhcp::words;
use crate::domain::DomainName;
use crate::ipv6::is_host;

/// The codes of the options that this client understands (RFC 8415, 21, unless another RFC is named).
pub mod code {
    /// The client's DUID.
    pub const CLIENT_ID: u16 = 1;
    /// The server's DUID.
    pub const SERVER_ID: u16 = 2;
    /// The addresses of one interface.
    pub const IA_NA: u16 = 3;
    /// One address, inside `IA_NA`.
    pub const IA_ADDRESS: u16 = 5;
    /// The options that the client asks for.
    pub const OPTION_REQUEST: u16 = 6;
    /// How much the server wants to be selected.
    pub const PREFERENCE: u16 = 7;
    /// The time since the exchange began, in hundredths of a second.
    pub const ELAPSED_TIME: u16 = 8;
    /// Whether a request succeeded.
    pub const STATUS: u16 = 13;
    /// The client accepts, or the server sends, a REPLY directly after the SOLICIT.
    pub const RAPID_COMMIT: u16 = 14;
    /// The vendor class.
    pub const VENDOR_CLASS: u16 = 16;
    /// DNS servers (RFC 3646).
    pub const DNS: u16 = 23;
    /// The search domains (RFC 3646).
    pub const DOMAIN_SEARCH: u16 = 24;
    /// After how many seconds a client without a lease asks again.
    pub const REFRESH_TIME: u16 = 32;
    /// The client's fully qualified domain name (RFC 4704).
    pub const FQDN: u16 = 39;
    /// The longest pause between SOLICITs, in seconds.
    pub const SOL_MAX_RT: u16 = 82;
    /// The longest pause between INFORMATION-REQUESTs, in seconds.
    pub const INF_MAX_RT: u16 = 83;
}

/// A status code (RFC 8415, 21.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Success. An absent status option means the same.
    Success,
    /// A failure without a specified reason.
    UnspecFail,
    /// The server has no addresses left.
    NoAddrsAvail,
    /// The server does not know the lease.
    NoBinding,
    /// The address does not belong to this link.
    NotOnLink,
    /// The server wants the client to use multicast.
    UseMulticast,
    /// A status that this client does not know.
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

/// The options of a message, or those inside another option, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(Vec<(u16, Vec<u8>)>);

impl Options {
    /// The bytes of an option. Returns `None` if it is absent. If it is present more than once, the first one
    /// counts.
    pub fn get(&self, code: u16) -> Option<&[u8]> {
        self.all(code).next()
    }

    /// The bytes of all options with this code.
    pub fn all(&self, code: u16) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(each, _)| *each == code).map(|(_, bytes)| bytes.as_slice())
    }

    /// Appends an option.
    pub fn push(&mut self, code: u16, bytes: impl Into<Vec<u8>>) {
        self.0.push((code, bytes.into()));
    }

    /// Sets an option, and replaces all earlier ones with this code.
    pub fn set(&mut self, code: u16, bytes: impl Into<Vec<u8>>) {
        self.0.retain(|(each, _)| *each != code);
        self.push(code, bytes);
    }

    /// The codes of all options, in their order.
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

    /// The server's DUID. Returns `None` if it is absent or invalid.
    pub fn server(&self) -> Option<Duid> {
        Duid::try_from(self.get(code::SERVER_ID)?.to_vec()).ok()
    }

    /// The value of an option that holds one number of four bytes, as all times are. Returns `None` if it is
    /// absent or has another length.
    pub fn number(&self, code: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// How much the server wants to be selected, from 0 to 255. An absent option means 0.
    pub fn preference(&self) -> u8 {
        match self.get(code::PREFERENCE) {
            Some([preference]) => *preference,
            _ => 0,
        }
    }

    /// The status, with the server's message. An unreadable option counts as a failure.
    pub fn status(&self) -> (Status, Option<String>) {
        match self.get(code::STATUS).map(<[u8]>::split_first_chunk) {
            None => (Status::Success, None),
            Some(None) => (Status::UnspecFail, None),
            Some(Some((number, text))) => (u16::from_be_bytes(*number).into(), words(text)),
        }
    }

    /// The DNS servers, without addresses that no host can have.
    pub fn dns(&self) -> Vec<Ipv6Addr> {
        let (all, rest) = self.get(code::DNS).unwrap_or_default().as_chunks::<16>();
        let all = if rest.is_empty() { all } else { &[] };
        all.iter().copied().map(Ipv6Addr::from).filter(|ip| is_host(*ip)).collect()
    }

    /// The search domains.
    pub fn search(&self) -> Vec<DomainName> {
        self.get(code::DOMAIN_SEARCH).and_then(DomainName::list).unwrap_or_default()
    }
}

/// Whether a server can assign this address.
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
