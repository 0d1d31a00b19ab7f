//! Routes, as carried by the classless static route option (RFC 3442).

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A route that a DHCPv4 server gives (RFC 3442).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub to: Ipv4Net,
    /// The router to the destination. `None` if the destination is on the link itself.
    pub via: Option<Ipv4Addr>,
}

impl Route {
    /// The default route through a router.
    pub fn default_via(router: Ipv4Addr) -> Self {
        Route { to: Ipv4Net::default(), via: Some(router) }
    }

    /// Whether it is the default route.
    pub fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    /// Whether a host can have this route: all of the destination can lie behind a router or on the link.
    pub(super) fn is_sensible(&self) -> bool {
        const NOWHERE: [Ipv4Net; 3] = [
            Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
            Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
            // Multicast groups, and the reserved class E.
            Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
        ];
        !NOWHERE.iter().any(|net| net.contains(&self.to))
    }

    /// Parses the option. Returns `None` if any part of it is invalid. Bits beyond a destination's prefix
    /// length are dropped, as RFC 3442 says.
    pub(super) fn list(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        while let [length, rest @ ..] = bytes {
            let significant = usize::from(length.div_ceil(8));
            let (prefix, rest) = rest.split_at_checked(significant)?;
            let (router, rest) = rest.split_first_chunk::<4>()?;
            let mut octets = [0; 4];
            octets.get_mut(..significant)?.copy_from_slice(prefix);
            let router = Ipv4Addr::from(*router);
            if !router.is_unspecified() && !is_host(router) {
                return None;
            }
            let to = Ipv4Net::new(octets.into(), *length).ok()?.trunc();
            all.push(Route { to, via: Some(router).filter(|router| !router.is_unspecified()) });
            bytes = rest;
        }
        Some(all).filter(|all| !all.is_empty())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_default(), self.via) {
            (true, Some(router)) => write!(f, "default via {router}"),
            (true, None) => f.write_str("default"),
            (false, Some(router)) => write!(f, "{} via {router}", self.to),
            (false, None) => write!(f, "{}", self.to),
        }
    }
}

/// Whether an address can be that of a single host on a LAN.
pub(super) fn is_host(ip: Ipv4Addr) -> bool {
    let first = ip.octets()[0];
    // Class E is reserved, and contains the limited broadcast address (RFC 1112, 4).
    first != 0 && first != 127 && first < 224
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(bytes: &[u8]) -> Option<Vec<String>> {
        Some(Route::list(bytes)?.iter().map(Route::to_string).collect())
    }

    #[test]
    fn the_destinations_of_rfc_3442_read_as_it_says() {
        let bytes = [
            &[0, 10, 0, 0, 1][..],
            &[8, 10, 10, 0, 0, 1],
            &[25, 10, 17, 0, 129, 10, 0, 0, 1],
            &[32, 10, 198, 122, 47, 0, 0, 0, 0],
        ];
        let read = texts(&bytes.concat()).unwrap();
        let expected = [
            "default via 10.0.0.1",
            "10.0.0.0/8 via 10.0.0.1",
            "10.17.0.128/25 via 10.0.0.1",
            "10.198.122.47/32",
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn an_option_of_which_a_part_makes_no_sense_has_no_routes() {
        for bytes in [
            &[][..],
            &[24],
            &[24, 10, 0, 0, 10, 0, 0],
            &[33, 1, 2, 3, 4, 10, 0, 0, 1],
            &[0, 10, 0, 0, 1, 8],
            &[0, 224, 0, 0, 1],
        ] {
            assert_eq!(texts(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Route::list(&bytes);
        }
    }
}
