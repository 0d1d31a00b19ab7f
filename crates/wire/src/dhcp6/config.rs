//! The identity of a client, and what it asks for.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::duid::Duid;
use super::{Options, Update, code};
use crate::dhcp;
use crate::dhcp4::ClientId;
use crate::domain::DomainName;

/// Which servers' answers are accepted, by DUID.
pub type Servers = dhcp::Servers<Duid>;

/// The configuration of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The client's DUID. The client keeps its lease only as long as this does not change.
    pub duid: Duid,
    /// The number of the interface. The client keeps its lease only as long as this does not change.
    pub iaid: u32,
    /// The name that the client tells the server, and who updates the DNS with it (RFC 4704).
    pub name: Option<(DomainName, Update)>,
    /// The vendor class, by which servers can group clients.
    pub vendor_class: Option<Vec<u8>>,
    /// Whether a server may assign the address at once, without being selected first (rapid commit). If
    /// several servers do so, all but one assign theirs in vain.
    pub rapid_commit: bool,
    /// Which servers' answers are accepted.
    pub servers: Servers,
    /// The address that the client asks for.
    pub requested: Option<Ipv6Addr>,
    /// How long a recorded lease waits for its confirmation before it is used unconfirmed.
    pub confirm: Duration,
}

impl Config {
    /// A configuration that identifies the client and asks for nothing more. `rapid_commit` is on, `confirm`
    /// is 2 seconds.
    pub fn new(duid: Duid, iaid: u32) -> Self {
        let (name, vendor_class, rapid_commit, requested) = (None, None, true, None);
        let (servers, confirm) = (Servers::default(), Duration::from_secs(2));
        Config { duid, iaid, name, vendor_class, rapid_commit, servers, requested, confirm }
    }

    /// The configuration of the client that DHCPv4 servers know under the identifier `id`. With it, a server
    /// of both protocols sees one host (RFC 4361, 6.1). Returns `None` if `id` does not have the form of
    /// RFC 4361.
    pub fn of(id: &ClientId) -> Option<Self> {
        let ([255, iaid @ ..], duid) = id.bytes().split_first_chunk::<5>()? else { return None };
        Some(Config::new(Duid::try_from(duid.to_vec()).ok()?, u32::from_be_bytes(*iaid)))
    }

    /// Adds the options of every message in which the client asks for an address (RFC 8415, 18.2).
    pub(super) fn describe(&self, options: &mut Options) {
        let mut wanted = vec![code::DNS, code::DOMAIN_SEARCH, code::SOL_MAX_RT];
        if let Some((name, update)) = &self.name {
            // The flags of RFC 4704, 4.1, differ from those of RFC 4702.
            let flag = match update {
                Update::Server => 1,
                Update::Client => 0,
                Update::Nobody => 4,
            };
            options.push(code::FQDN, [&[flag][..], &name.labels()].concat());
            wanted.push(code::FQDN);
        }
        if let Some(class) = self.vendor_class.as_ref().filter(|class| !class.is_empty()) {
            options.push(code::VENDOR_CLASS, vendor_class(class));
        }
        options.push(code::OPTION_REQUEST, codes(&wanted));
    }
}

/// The vendor class as the option carries it (RFC 8415, 21.16): an enterprise's number, and each class with its
/// length. The class is the user's, so the number is the reserved one, which servers compare with by default.
fn vendor_class(class: &[u8]) -> Vec<u8> {
    const NOBODYS: u32 = 0;
    let class = &class[..class.len().min(u16::MAX.into())];
    [&NOBODYS.to_be_bytes()[..], &(class.len() as u16).to_be_bytes(), class].concat()
}

/// Option codes as bytes.
pub(super) fn codes(codes: &[u16]) -> Vec<u8> {
    codes.iter().flat_map(|code| code.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mac;

    #[test]
    fn both_kinds_of_dhcp_know_the_client_as_one() {
        let id = ClientId::duid(0x0102_0304, &[0, 4, 7]).unwrap();
        let config = Config::of(&id).unwrap();
        assert_eq!((config.iaid, config.duid.bytes()), (0x0102_0304, &[0, 4, 7][..]));
        assert_eq!(Config::of(&ClientId::mac(Mac([2, 0, 0, 0, 0, 1]))), None);
        assert_eq!(Config::of(&ClientId::try_from(vec![255, 0, 0, 0, 1, 0, 4]).unwrap()), None);
    }

    #[test]
    fn a_vendor_class_has_an_enterprise_and_a_length() {
        let described = |class: Option<&[u8]>| {
            let vendor_class = class.map(<[u8]>::to_vec);
            let config = Config { vendor_class, ..Config::new(Duid::try_from(vec![0; 3]).unwrap(), 1) };
            let mut options = Options::default();
            config.describe(&mut options);
            options.get(code::VENDOR_CLASS).map(<[u8]>::to_vec)
        };
        assert_eq!(described(Some(b"nas")).unwrap(), *b"\0\0\0\0\0\x03nas");
        assert_eq!((described(Some(b"")), described(None)), (None, None));
    }

    #[test]
    fn a_name_goes_with_rfc_4704s_flags() {
        let labels = b"\x03web\x03lan\x00";
        for (update, flag) in [(Update::Server, 1), (Update::Client, 0), (Update::Nobody, 4)] {
            let name = Some(("web.lan".parse().unwrap(), update));
            let config = Config { name, ..Config::new(Duid::try_from(vec![0; 3]).unwrap(), 1) };
            let mut options = Options::default();
            config.describe(&mut options);
            assert_eq!(options.get(code::FQDN).unwrap(), [&[flag][..], labels].concat());
        }
    }
}
