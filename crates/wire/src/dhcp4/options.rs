//! The options of a message. They are kept as bytes under their codes and interpreted when they are read, so
//! that an invalid option does not affect the others.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::route::{Route, is_host};
use crate::dhcp::words;
use crate::domain::DomainName;

/// The codes of the options that this client understands (RFC 2132 unless another RFC is named).
pub mod code {
    /// Padding. It has no length byte.
    pub const PAD: u8 = 0;
    /// The subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers, in order of preference.
    pub const ROUTER: u8 = 3;
    /// DNS servers.
    pub const DNS: u8 = 6;
    /// The client's host name.
    pub const HOST_NAME: u8 = 12;
    /// The client's domain name.
    pub const DOMAIN_NAME: u8 = 15;
    /// The link's MTU.
    pub const MTU: u8 = 26;
    /// The subnet's broadcast address.
    pub const BROADCAST: u8 = 28;
    /// NTP servers.
    pub const NTP: u8 = 42;
    /// The address that the client asks for.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// The lifetime of the lease, in seconds.
    pub const LEASE_TIME: u8 = 51;
    /// Which fields of the message also hold options.
    pub const OVERLOAD: u8 = 52;
    /// The message type.
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server identifier.
    pub const SERVER_ID: u8 = 54;
    /// The options that the client asks for.
    pub const PARAMETER_LIST: u8 = 55;
    /// An explanation as text, such as the reason for a refusal.
    pub const MESSAGE: u8 = 56;
    /// The longest message that the client accepts.
    pub const MAX_SIZE: u8 = 57;
    /// T1, in seconds.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2, in seconds.
    pub const REBINDING_TIME: u8 = 59;
    /// The vendor class.
    pub const VENDOR_CLASS: u8 = 60;
    /// The client identifier.
    pub const CLIENT_ID: u8 = 61;
    /// The client's fully qualified domain name (RFC 4702).
    pub const FQDN: u8 = 81;
    /// The search domains (RFC 3397).
    pub const DOMAIN_SEARCH: u8 = 119;
    /// Classless routes (RFC 3442).
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// Classless routes under the number that Microsoft used before RFC 3442.
    pub const CLASSLESS_ROUTES_MICROSOFT: u8 = 249;
    /// Marks the end of the options. It has no length byte.
    pub const END: u8 = 255;
}

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client looks for servers.
    Discover = 1,
    /// The server offers an address.
    Offer = 2,
    /// The client accepts an offer, or asks to keep its address.
    Request = 3,
    /// The client reports that another host already has the address.
    Decline = 4,
    /// The server grants the request.
    Ack = 5,
    /// The server refuses the request.
    Nak = 6,
    /// The client gives its address back.
    Release = 7,
    /// The client has an address, and asks for other configuration.
    Inform = 8,
    /// The server asks the client to renew its lease (RFC 3203).
    ForceRenew = 9,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::{Ack, Decline, Discover, ForceRenew, Inform, Nak, Offer, Release, Request};
        let all = [Discover, Offer, Request, Decline, Ack, Nak, Release, Inform, ForceRenew];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The error of an option that is present but does not have the format that its RFC prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The smallest MTU that a link is given, in bytes.
pub const LEAST_MTU: u16 = 576;

/// The options of a message, each joined from its parts (RFC 3396).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// The bytes of an option. Returns `None` if it is absent.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Sets an option, and replaces an earlier value.
    ///
    /// # Panics
    ///
    /// Panics for `PAD` and `END`, which hold no value.
    pub fn set(&mut self, code: u8, bytes: impl Into<Vec<u8>>) {
        assert!(code != code::PAD && code != code::END, "option {code} holds no value");
        self.0.insert(code, bytes.into());
    }

    /// The codes of all options, in ascending order.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }

    /// Reads the options field, and those of the other two fields that it names as holding more options
    /// (RFC 3396, 5).
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
        // An overload option inside an overloaded field has no effect.
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

    /// Writes the options. The message type comes first, as some servers expect.
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

    /// The message type. Returns `None` if it is absent or unknown.
    pub fn kind(&self) -> Option<Kind> {
        match self.get(code::MESSAGE_TYPE)? {
            [number] => Kind::of(*number),
            _ => None,
        }
    }

    /// The value of an option that holds one address. Returns `None` if it is absent.
    pub fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, Malformed> {
        Ok(self.fixed::<4>(code)?.map(Ipv4Addr::from))
    }

    /// The value of an option that holds one number of four bytes, as all times are. Returns `None` if it is
    /// absent.
    pub fn number(&self, code: u8) -> Result<Option<u32>, Malformed> {
        Ok(self.fixed(code)?.map(u32::from_be_bytes))
    }

    fn fixed<const LENGTH: usize>(&self, code: u8) -> Result<Option<[u8; LENGTH]>, Malformed> {
        self.get(code).map(|bytes| bytes.try_into().map_err(|_| Malformed)).transpose()
    }

    /// The addresses of an option, without those that no host can have. Returns an empty list if it is absent
    /// or malformed.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (all, rest) = self.get(code).unwrap_or_default().as_chunks::<4>();
        let all = if rest.is_empty() { all } else { &[] };
        all.iter().copied().map(Ipv4Addr::from).filter(|ip| is_host(*ip)).collect()
    }

    /// The subnet's prefix length. Returns `None` if there is no mask.
    pub fn prefix(&self) -> Result<Option<u8>, Malformed> {
        let Some(mask) = self.number(code::SUBNET_MASK)? else { return Ok(None) };
        let length = mask.leading_ones();
        if length == 0 || mask.count_ones() != length { Err(Malformed) } else { Ok(Some(length as u8)) }
    }

    /// The link's MTU. RFC 2132, 5.1, allows 68 bytes, with which little works. Every host accepts packets of
    /// 576 bytes (RFC 791, 3.1), so a smaller MTU counts as absent.
    pub fn mtu(&self) -> Option<u16> {
        self.fixed(code::MTU).ok().flatten().map(u16::from_be_bytes).filter(|mtu| *mtu >= LEAST_MTU)
    }

    /// The domain name. Some servers end it with a NUL or a dot.
    pub fn domain(&self) -> Option<DomainName> {
        std::str::from_utf8(self.get(code::DOMAIN_NAME)?).ok()?.trim_end_matches('\0').parse().ok()
    }

    /// The search domains.
    pub fn search(&self) -> Vec<DomainName> {
        self.get(code::DOMAIN_SEARCH).and_then(DomainName::list).unwrap_or_default()
    }

    /// All routes. Valid classless routes override the router option (RFC 3442); invalid ones count as
    /// absent.
    pub fn routes(&self) -> Vec<Route> {
        let classless = [code::CLASSLESS_ROUTES, code::CLASSLESS_ROUTES_MICROSOFT];
        if let Some(routes) = classless.into_iter().find_map(|code| Route::list(self.get(code)?)) {
            return routes;
        }
        self.addresses(code::ROUTER).first().copied().map(Route::default_via).into_iter().collect()
    }

    /// The explanation in the message. Returns `None` if there is none.
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
        assert_eq!(options.routes(), via(3), "a prefix of 33 bits is invalid");
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
