//! Who a client is, and what it wants.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::duid::Duid;
use super::{Options, Update, code};
use crate::dhcp;
use crate::dhcp4::ClientId;
use crate::domain::DomainName;

/// Whose answers count, by the servers' DUIDs.
pub type Servers = dhcp::Servers<Duid>;

/// What a client is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who it is. It must stay the same for as long as a lease is to.
    pub duid: Duid,
    /// Which of its interfaces this is; the same holds for it.
    pub iaid: u32,
    /// Its name, and who is to write it into the DNS (RFC 4704).
    pub name: Option<(DomainName, Update)>,
    /// Whether a server may give the address at once, without having been chosen. Of several that do, all but one give theirs
    /// in vain.
    pub rapid_commit: bool,
    /// Whose answers count.
    pub servers: Servers,
    /// The address that it would like.
    pub requested: Option<Ipv6Addr>,
    /// How long a recorded lease waits for its confirmation before it is used without.
    pub confirm: Duration,
}

impl Config {
    /// A client that says who it is and wants nothing more.
    pub fn new(duid: Duid, iaid: u32) -> Self {
        let (name, rapid_commit, requested) = (None, true, None);
        let (servers, confirm) = (Servers::default(), Duration::from_secs(2));
        Config { duid, iaid, name, rapid_commit, servers, requested, confirm }
    }

    /// The client that is known to DHCPv4's servers under this identifier, so that who keeps addresses of both kinds sees one
    /// machine (RFC 4361, 6.1); none if it is of another form.
    pub fn of(id: &ClientId) -> Option<Self> {
        let ([255, iaid @ ..], duid) = id.bytes().split_first_chunk::<5>()? else { return None };
        Some(Config::new(Duid::try_from(duid.to_vec()).ok()?, u32::from_be_bytes(*iaid)))
    }

    /// Puts in what goes with every message in which the client asks for an address (RFC 8415, 18.2).
    pub(super) fn describe(&self, options: &mut Options) {
        let mut wanted = vec![code::DNS, code::DOMAIN_SEARCH, code::SOL_MAX_RT];
        if let Some((name, update)) = &self.name {
            // RFC 4704, 4.1, has other bits than RFC 4702.
            let flag = match update {
                Update::Server => 1,
                Update::Client => 0,
                Update::Nobody => 4,
            };
            options.push(code::FQDN, [&[flag][..], &name.labels()].concat());
            wanted.push(code::FQDN);
        }
        options.push(code::OPTION_REQUEST, codes(&wanted));
    }
}

/// Codes as bytes.
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
