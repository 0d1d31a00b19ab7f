//! The 48-bit link-layer address.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet MAC address (IEEE 802-2014, section 8: EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

/// The error of parsing a string that is not a MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address: six pairs of hexadecimal digits are expected, as in 02:5a:00:00:00:01")]
pub struct MacParseError(String);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// `00:00:00:00:00:00`, which no host has. ARP probes carry it as their target (RFC 5227, 2.1.1).
    pub const ZERO: Mac = Mac([0; 6]);

    /// Whether this can be the address of a single station, which multicast (broadcast included) and zero
    /// cannot.
    pub fn is_station(self) -> bool {
        self.0[0] & 0x01 == 0 && self != Mac::ZERO
    }

    /// Whether the address was assigned locally rather than by a vendor (the U/L bit).
    pub fn is_local(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// Turns any six bytes into a locally administered unicast address. Only two bits change; the other 46
    /// are kept.
    #[must_use]
    pub fn into_local_unicast(self) -> Mac {
        let mut bytes = self.0;
        bytes[0] = (bytes[0] | 0x02) & !0x01;
        Mac(bytes)
    }

    /// The IPv6 link-local address derived from this MAC by modified EUI-64 (RFC 4291, appendix A).
    pub fn link_local(self) -> std::net::Ipv6Addr {
        let m = self.0;
        std::net::Ipv6Addr::from([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            m[0] ^ 0x02,
            m[1],
            m[2],
            0xff,
            0xfe,
            m[3],
            m[4],
            m[5],
        ])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(f, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5])
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacParseError;

    /// Accepts the two common forms, `02:5a:…` and `02-5a-…`, in upper or lower case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || MacParseError(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(bad)?, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Mac(bytes)) }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = MacParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_back_what_it_prints() {
        let mac = Mac([0x02, 0x5a, 0, 0xff, 0x10, 0x01]);
        assert_eq!(mac.to_string(), "02:5a:00:ff:10:01");
        assert_eq!("02-5A-00-FF-10-01".parse(), Ok(mac));
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }

    #[test]
    fn what_is_not_a_mac_is_refused() {
        for text in [
            "",
            "02:5a:00:ff:10",
            "02:5a:00:ff:10:01:02",
            "02:5a:00:ff:10:0g",
            "+2:5a:00:ff:10:01",
            "25a00ff1001",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn groups_broadcast_and_zero_are_no_station_and_a_bit_tells_who_assigned_it() {
        for (mac, station, local) in [
            ("00:00:00:00:00:00", false, false),
            ("00:00:00:00:00:01", true, false),
            ("02:00:00:00:00:01", true, true),
            ("fe:00:00:00:00:01", true, true),
            ("01:00:5e:00:00:01", false, false),
            ("33:33:00:00:00:01", false, true),
            ("ff:ff:ff:ff:ff:ff", false, true),
        ] {
            let parsed: Mac = mac.parse().unwrap();
            assert_eq!((parsed.is_station(), parsed.is_local()), (station, local), "{mac}");
        }
    }

    #[test]
    fn a_made_mac_is_local_and_unicast_whatever_the_bytes() {
        for first in 0..=255 {
            let mac = Mac([first, 0, 0, 0, 0, 0]).into_local_unicast();
            assert!(mac.is_local() && mac.is_station(), "{mac}");
        }
    }

    #[test]
    fn the_link_local_address_is_that_of_rfc_4291_appendix_a() {
        assert_eq!(
            Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]).link_local().to_string(),
            "fe80::3656:78ff:fe9a:bcde"
        );
    }
}
