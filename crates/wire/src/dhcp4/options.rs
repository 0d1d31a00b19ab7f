//! The options of a message: kept as bytes under their codes, and given a meaning when they are asked for, so that one that
//! makes no sense spoils no other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::route::{Route, is_host};
use crate::dhcp::words;
use crate::domain::DomainName;

/// The codes of the options that have a meaning here (RFC 2132 unless another is named).
pub mod code {
    /// Fills gaps, and has no length.
    pub const PAD: u8 = 0;
    /// The subnet's mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers, the preferred one first.
    pub const ROUTER: u8 = 3;
    /// Name servers.
    pub const DNS: u8 = 6;
    /// The client's name.
    pub const HOST_NAME: u8 = 12;
    /// The client's domain.
    pub const DOMAIN_NAME: u8 = 15;
    /// The link's MTU.
    pub const MTU: u8 = 26;
    /// The subnet's broadcast address.
    pub const BROADCAST: u8 = 28;
    /// Time servers.
    pub const NTP: u8 = 42;
    /// The address that the client wants.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// How long the lease lasts.
    pub const LEASE_TIME: u8 = 51;
    /// Which fields of the message hold options, too.
    pub const OVERLOAD: u8 = 52;
    /// What the message is.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Who the server is.
    pub const SERVER_ID: u8 = 54;
    /// What the client wants to know.
    pub const PARAMETER_LIST: u8 = 55;
    /// Why, in words.
    pub const MESSAGE: u8 = 56;
    /// The longest message that the client takes.
    pub const MAX_SIZE: u8 = 57;
    /// T1.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2.
    pub const REBINDING_TIME: u8 = 59;
    /// The client's make.
    pub const VENDOR_CLASS: u8 = 60;
    /// Who the client is.
    pub const CLIENT_ID: u8 = 61;
    /// The client's name with its domain (RFC 4702).
    pub const FQDN: u8 = 81;
    /// Domains in which names are looked for (RFC 3397).
    pub const DOMAIN_SEARCH: u8 = 119;
    /// Routes (RFC 3442).
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// The same, as Microsoft numbered them before.
    pub const CLASSLESS_ROUTES_MICROSOFT: u8 = 249;
    /// Ends the options, and has no length.
    pub const END: u8 = 255;
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who has an address for me?
    Discover = 1,
    /// I have this one.
    Offer = 2,
    /// I take it, or go on using it.
    Request = 3,
    /// That address is somebody else's already.
    Decline = 4,
    /// It is yours.
    Ack = 5,
    /// It is not.
    Nak = 6,
    /// I do not need it any longer.
    Release = 7,
    /// I have an address, and want to know the rest.
    Inform = 8,
    /// Renew now (RFC 3203).
    ForceRenew = 9,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::{Ack, Decline, Discover, ForceRenew, Inform, Nak, Offer, Release, Request};
        let all = [Discover, Offer, Request, Decline, Ack, Nak, Release, Inform, ForceRenew];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The option is there and has not the form that its RFC gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The least MTU that a link is given.
pub const LEAST_MTU: u16 = 576;

/// A message's options, each joined from its parts (RFC 3396).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// An option's bytes.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Puts an option in, in the place of one that was there. `PAD` and `END` are none.
    pub fn set(&mut self, code: u8, bytes: impl Into<Vec<u8>>) {
        assert!(code != code::PAD && code != code::END, "{code} holds nothing");
        self.0.insert(code, bytes.into());
    }

    /// The codes that are there, in their order.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }

    /// Reads the options' field, and of the other two those that it says hold more of them (RFC 3396, 5).
    pub(super) fn decode(field: &[u8], file: &[u8], sname: &[u8]) -> Self {
        let mut options = Options::default();
        options.read(field);
        let overload = match options.0.remove(&code::OVERLOAD).as_deref() {
            Some([fields @ 1..=3]) => *fields,
            _ => 0,
        };
        for (bit, field) in [(1, file), (2, sname)] {
            if overload & bit != 0 {
                options.read(field);
            }
        }
        // Overloaded fields overload no further.
        options.0.remove(&code::OVERLOAD);
        options
    }

    fn read(&mut self, mut field: &[u8]) {
        loop {
            match field {
                [] | [code::END, ..] => return,
                [code::PAD, rest @ ..] => field = rest,
                [code, length, rest @ ..] => {
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { return };
                    self.0.entry(*code).or_default().extend(value);
                    field = rest;
                }
                [_] => return,
            }
        }
    }

    /// Writes them: what the message is comes first, as some servers expect.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let first = self.0.get_key_value(&code::MESSAGE_TYPE);
        for (code, value) in
            first.into_iter().chain(self.0.iter().filter(|(code, _)| **code != code::MESSAGE_TYPE))
        {
            if value.is_empty() {
                bytes.extend([*code, 0]);
            }
            for part in value.chunks(255) {
                bytes.extend([*code, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(code::END);
    }

    /// What the message is.
    pub fn kind(&self) -> Option<Kind> {
        match self.get(code::MESSAGE_TYPE)? {
            [number] => Kind::of(*number),
            _ => None,
        }
    }

    /// An option of one address.
    pub fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, Malformed> {
        Ok(self.fixed::<4>(code)?.map(Ipv4Addr::from))
    }

    /// An option of one number of four bytes, as all times are.
    pub fn number(&self, code: u8) -> Result<Option<u32>, Malformed> {
        Ok(self.fixed(code)?.map(u32::from_be_bytes))
    }

    fn fixed<const LENGTH: usize>(&self, code: u8) -> Result<Option<[u8; LENGTH]>, Malformed> {
        self.get(code).map(|bytes| bytes.try_into().map_err(|_| Malformed)).transpose()
    }

    /// An option of addresses, without those that no machine has.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (all, rest) = self.get(code).unwrap_or_default().as_chunks::<4>();
        let all = if rest.is_empty() { all } else { &[] };
        all.iter().copied().map(Ipv4Addr::from).filter(|ip| is_host(*ip)).collect()
    }

    /// The length of the subnet's prefix.
    pub fn prefix(&self) -> Result<Option<u8>, Malformed> {
        let Some(mask) = self.number(code::SUBNET_MASK)? else { return Ok(None) };
        let length = mask.leading_ones();
        if length == 0 || mask.count_ones() != length { Err(Malformed) } else { Ok(Some(length as u8)) }
    }

    /// The link's MTU. RFC 2132, 5.1, allows 68, with which little works: every host takes packets of 576 bytes (RFC 791, 3.1).
    pub fn mtu(&self) -> Option<u16> {
        self.fixed(code::MTU).ok().flatten().map(u16::from_be_bytes).filter(|mtu| *mtu >= LEAST_MTU)
    }

    /// The domain. Some servers end it with a NUL or a dot.
    pub fn domain(&self) -> Option<DomainName> {
        std::str::from_utf8(self.get(code::DOMAIN_NAME)?).ok()?.trim_end_matches('\0').parse().ok()
    }

    /// The domains in which names are looked for.
    pub fn search(&self) -> Vec<DomainName> {
        self.get(code::DOMAIN_SEARCH).and_then(DomainName::list).unwrap_or_default()
    }

    /// All routes. Where there are classless ones, the router's option is void (RFC 3442); where they make no sense, it is as
    /// though they were not there.
    pub fn routes(&self) -> Vec<Route> {
        let classless = [code::CLASSLESS_ROUTES, code::CLASSLESS_ROUTES_MICROSOFT];
        if let Some(routes) = classless.into_iter().find_map(|code| Route::list(self.get(code)?)) {
            return routes;
        }
        self.addresses(code::ROUTER).first().copied().map(Route::default_via).into_iter().collect()
    }

    /// The server's words.
    pub fn message(&self) -> Option<String> {
        words(self.get(code::MESSAGE)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(code: u8, bytes: &[u8]) -> Options {
        let mut options = Options::default();
        options.set(code, bytes);
        options
    }

    #[test]
    fn a_mask_is_the_length_of_a_prefix_or_none() {
        assert_eq!(with(code::SUBNET_MASK, &[255, 255, 254, 0]).prefix(), Ok(Some(23)));
        assert_eq!(with(code::SUBNET_MASK, &[255; 4]).prefix(), Ok(Some(32)));
        for bad in [&[255, 0, 255, 0][..], &[0; 4], &[255; 3], &[255; 8]] {
            assert_eq!(with(code::SUBNET_MASK, bad).prefix(), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn lists_of_addresses_are_whole_and_name_machines() {
        let ip = Ipv4Addr::new(192, 168, 88, 1);
        let bytes = [192, 168, 88, 1, 0, 0, 0, 0, 255, 255, 255, 255, 224, 0, 0, 1, 127, 0, 0, 1];
        assert_eq!(with(code::DNS, &bytes).addresses(code::DNS), [ip]);
        assert!(with(code::DNS, &bytes[..7]).addresses(code::DNS).is_empty());
    }

    #[test]
    fn classless_routes_void_the_router_and_microsofts_number_comes_second() {
        let mut options = with(code::ROUTER, &[192, 168, 88, 1, 192, 168, 88, 2]);
        let via = |last| [Route::default_via(Ipv4Addr::new(192, 168, 88, last))];
        assert_eq!(options.routes(), via(1));
        options.set(code::CLASSLESS_ROUTES_MICROSOFT, [0, 192, 168, 88, 3]);
        assert_eq!(options.routes(), via(3));
        options.set(code::CLASSLESS_ROUTES, [0, 192, 168, 88, 4]);
        assert_eq!(options.routes(), via(4));
        options.set(code::CLASSLESS_ROUTES, [33, 192, 168, 88, 4]);
        assert_eq!(options.routes(), via(3), "no prefix is that long");
    }

    #[test]
    fn an_mtu_below_ipv4s_least_is_none() {
        assert_eq!(with(code::MTU, &[5, 220]).mtu(), Some(1500));
        assert_eq!(with(code::MTU, &[2, 64]).mtu(), Some(576));
        assert_eq!(with(code::MTU, &[2, 63]).mtu(), None);
        assert_eq!(with(code::MTU, &[5]).mtu(), None);
    }

    #[test]
    fn a_domain_may_end_with_a_nul_and_holds_nothing_that_writes_a_line() {
        assert_eq!(with(code::DOMAIN_NAME, b"home.arpa.\0").domain().unwrap().as_str(), "home.arpa");
        assert_eq!(with(code::DOMAIN_NAME, b"lan\nnameserver 6.6.6.6").domain(), None);
    }
}
