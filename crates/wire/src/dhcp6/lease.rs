//! What a server gives: an address for a while, and what a machine on its LAN needs to know. Routes and prefixes are none of
//! DHCPv6's: routers advertise them.

use std::net::Ipv6Addr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::options::is_lease;
use super::{Duid, Ignored, Message, Options, SHORTEST, Status, code};
use crate::dhcp;
use crate::domain::DomainName;
use crate::random::Random;

/// What stands for a lifetime without end (RFC 8415, 7.7).
const ENDLESS: u32 = u32::MAX;
/// How long an address is used between two renewals of which neither its lifetimes nor the server say anything, in seconds.
const UNSAID: u32 = 3600;

/// A lease as it is recorded and applied. It does not say when it was obtained: [`Held`] does for as long as the program runs,
/// and whoever records it converts that to a time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address. It has no prefix: what is on the link is the routers' to say.
    pub address: Ipv6Addr,
    /// Who gave it.
    pub server: Duid,
    /// How long it lasts; none if for ever.
    pub term: Option<Term>,
    /// How names are looked up.
    pub dns: Dns,
}

/// How names are looked up on a LAN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<Ipv6Addr>,
    /// The domains in which names are looked for.
    pub search: Vec<DomainName>,
}

impl Dns {
    /// Whether nothing is said of it.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.search.is_empty()
    }

    pub(super) fn read(options: &Options) -> Self {
        Dns { servers: options.dns(), search: options.search() }
    }
}

/// A lease's times, in seconds from when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// When its server is asked to renew it (T1).
    pub renew: u32,
    /// When any server is asked to (T2).
    pub rebind: u32,
    /// Until when new connections begin from it.
    pub preferred: u32,
    /// When it ends; none if never.
    pub end: Option<u32>,
}

impl Term {
    /// From what a server says. Times of renewal that it leaves to the client (zero), or that come too late, are half and four
    /// fifths of the preferred lifetime, as RFC 8415, 21.4, has them for servers, spread a little, so that machines that start
    /// together do not renew together. An address that is not preferred any longer is renewed by its other lifetime.
    fn new(preferred: u32, end: Option<u32>, renew: u32, rebind: u32, random: &mut Random) -> Self {
        let base = if preferred < SHORTEST { end.unwrap_or(UNSAID) } else { preferred };
        let mut about = |part: u64| {
            let spread = u64::from(base / 40);
            (u64::from(base) * part / 10 + u64::from(random.number()) % (spread + 1) - spread / 2) as u32
        };
        let (half, most) = (about(5), about(8));
        let last = end.unwrap_or(ENDLESS);
        let rebind = Some(rebind).filter(|rebind| (2..last).contains(rebind)).unwrap_or(most);
        let before = |renew: &u32| (1..rebind).contains(renew);
        let shortened = (u64::from(rebind) * 5 / 8) as u32;
        let renew = Some(renew).filter(before).or(Some(half).filter(before)).unwrap_or(shortened);
        Term { renew, rebind, preferred, end }
    }
}

/// What of a lease differs from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The address.
    Address,
    /// Name servers or search list.
    Dns,
    /// The server. It changes nothing on the link.
    Server,
}

/// What a message says of the addresses of one interface (`IA_NA`; RFC 8415, 21.4).
#[derive(Debug, Default)]
pub(super) struct Association {
    renew: u32,
    rebind: u32,
    options: Options,
}

/// One of its addresses (RFC 8415, 21.6).
struct Address {
    ip: Ipv6Addr,
    preferred: u32,
    valid: u32,
}

impl Association {
    /// That of the client's, empty if there is none.
    pub(super) fn read(message: &Message, iaid: u32) -> Self {
        let head = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let read = |bytes: &[u8]| {
            let (renew, rebind) = (head(bytes, 4)?, head(bytes, 8)?);
            let options = Options::decode(&bytes[12..]);
            (head(bytes, 0)? == iaid).then_some(Association { renew, rebind, options })
        };
        message.options.all(code::IA_NA).find_map(read).unwrap_or_default()
    }

    /// What a client says of an address, if it has or wants one: of its times, nothing (RFC 8415, 18.2.1 and 18.2.4).
    pub(super) fn ask(iaid: u32, ip: Option<Ipv6Addr>) -> Vec<u8> {
        let mut bytes = [&iaid.to_be_bytes()[..], &[0; 8]].concat();
        let mut options = Options::default();
        if let Some(ip) = ip {
            options.push(code::IA_ADDRESS, [&ip.octets()[..], &[0; 8]].concat());
        }
        options.encode(&mut bytes);
        bytes
    }

    /// How it went, in the message as a whole and for this interface.
    pub(super) fn status(&self, message: &Message) -> (Status, Option<String>) {
        match message.options.status() {
            (Status::Success, _) => self.options.status(),
            failed => failed,
        }
    }

    /// Whether the server takes an address back: it lets it end now (RFC 8415, 18.3.4).
    pub(super) fn withdraws(&self, ip: Ipv6Addr) -> bool {
        self.addresses().any(|address| address.ip == ip && address.valid == 0)
    }

    fn addresses(&self) -> impl Iterator<Item = Address> {
        self.options.all(code::IA_ADDRESS).filter_map(|bytes| {
            let (ip, rest) = bytes.split_first_chunk::<16>()?;
            let (preferred, rest) = rest.split_first_chunk()?;
            let (valid, options) = rest.split_first_chunk()?;
            let (status, _) = Options::decode(options).status();
            (status == Status::Success).then_some(Address {
                ip: Ipv6Addr::from(*ip),
                preferred: u32::from_be_bytes(*preferred),
                valid: u32::from_be_bytes(*valid),
            })
        })
    }
}

impl Address {
    /// Whether it can be taken. One that is preferred for longer than it is valid must not be (RFC 8415, 21.6).
    fn check(&self) -> Result<(), Ignored> {
        if !is_lease(self.ip) {
            Err(Ignored::Address(self.ip))
        } else if self.valid < SHORTEST || self.preferred > self.valid {
            Err(Ignored::Lifetime)
        } else {
            Ok(())
        }
    }
}

impl Lease {
    /// Reads an offer or what was given: of several addresses the favourite one, or else the first that can be taken.
    pub(super) fn read(
        message: &Message,
        association: &Association,
        server: Duid,
        favourite: Option<Ipv6Addr>,
        random: &mut Random,
    ) -> Result<Self, Ignored> {
        let Association { renew, rebind, .. } = *association;
        // Such an option must be as though it were not there (RFC 8415, 21.4).
        if renew > rebind && rebind > 0 {
            return Err(Ignored::Lifetime);
        }
        let (mut taken, mut refused) = (None, Ignored::NoAddress);
        for address in association.addresses() {
            match address.check() {
                Ok(()) if Some(address.ip) == favourite => {
                    taken = Some(address);
                    break;
                }
                Ok(()) => taken = taken.or(Some(address)),
                Err(why) => refused = why,
            }
        }
        let Address { ip, preferred, valid } = taken.ok_or(refused)?;
        let end = Some(valid).filter(|valid| *valid != ENDLESS);
        let endless = preferred == ENDLESS;
        let term = (!endless).then(|| Term::new(preferred, end, renew, rebind, random));
        Ok(Lease { address: ip, server, term, dns: Dns::read(&message.options) })
    }
}

impl dhcp::Lease for Lease {
    type Ip = Ipv6Addr;
    type Part = Part;

    fn ip(&self) -> Ipv6Addr {
        self.address
    }

    fn end(&self) -> Option<u32> {
        self.term?.end
    }

    fn changes(&self, before: &Lease) -> Vec<Part> {
        [
            (Part::Address, self.address != before.address),
            (Part::Dns, self.dns != before.dns),
            (Part::Server, self.server != before.server),
        ]
        .into_iter()
        .filter_map(|(part, differs)| differs.then_some(part))
        .collect()
    }
}

/// A lease, and since when it runs.
pub type Held = dhcp::Held<Lease>;

/// A lease from the record.
pub type Recorded = dhcp::Recorded<Lease>;

/// How a lease became good.
pub type Change = dhcp::Change<Part>;

impl Held {
    /// When no new connection is to begin from it any longer (`preferred_lft`); none if never.
    pub fn deprecates(&self) -> Option<Instant> {
        Some(self.after(self.lease.term?.preferred))
    }

    /// When it is to be renewed; none if never.
    pub fn renews(&self) -> Option<Instant> {
        Some(self.after(self.lease.term?.renew))
    }

    /// When any server is asked to renew it; none if never.
    pub fn rebinds(&self) -> Option<Instant> {
        Some(self.after(self.lease.term?.rebind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp6::Kind;
    use proptest::prelude::*;

    const IAID: u32 = 1;
    const IP: &str = "fd88::7";

    /// A reply of one association with these times, and these addresses with their preferred and valid lifetimes.
    fn message(times: [u32; 2], addresses: &[(&str, u32, u32)]) -> Message {
        let mut association = [IAID, times[0], times[1]].map(u32::to_be_bytes).concat();
        let mut inner = Options::default();
        for (ip, preferred, valid) in addresses {
            let ip: Ipv6Addr = ip.parse().unwrap();
            let bytes = [&ip.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat();
            inner.push(code::IA_ADDRESS, bytes);
        }
        inner.encode(&mut association);
        let mut options = Options::default();
        options.push(code::IA_NA, association);
        Message { kind: Kind::Reply, xid: 1, options }
    }

    fn read(message: &Message, favourite: Option<&str>) -> Result<Lease, Ignored> {
        let server = Duid::try_from(vec![0, 3, 0]).unwrap();
        let favourite = favourite.map(|ip| ip.parse().unwrap());
        Lease::read(message, &Association::read(message, IAID), server, favourite, &mut Random(1))
    }

    fn times(times: [u32; 2], preferred: u32, valid: u32) -> Result<Option<Term>, Ignored> {
        Ok(read(&message(times, &[(IP, preferred, valid)]), None)?.term)
    }

    proptest! {
        #[test]
        fn whatever_the_server_says_times_are_in_their_order(
            end in proptest::option::of(SHORTEST..u32::MAX), preferred in 0..u32::MAX,
            renew in any::<u32>(), rebind in any::<u32>(), random in any::<u64>(),
        ) {
            let last = end.unwrap_or(ENDLESS);
            for scale in [1, last / 4 + 1] {
                let preferred = (preferred / scale).min(last);
                let term = Term::new(preferred, end, renew / scale, rebind / scale, &mut Random(random));
                prop_assert!(0 < term.renew && term.renew < term.rebind && term.rebind < last, "{term:?}");
            }
        }

        #[test]
        fn no_bytes_of_an_association_make_the_reader_panic(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(5), Just(24), any::<u8>()], 0..90),
        ) {
            let mut options = Options::default();
            options.push(code::IA_NA, [&IAID.to_be_bytes()[..], &bytes].concat());
            let _ = read(&Message { kind: Kind::Reply, xid: 1, options }, None);
        }

        #[test]
        fn unsaid_times_are_about_half_and_four_fifths(preferred in 40..1_000_000u32, random in any::<u64>()) {
            let term = Term::new(preferred, Some(2 * preferred), 0, 0, &mut Random(random));
            let is = |time: u32, part: f64| (f64::from(time) / f64::from(preferred) - part).abs() < 0.04;
            prop_assert!(is(term.renew, 0.5) && is(term.rebind, 0.8), "{term:?}");
        }
    }

    #[test]
    fn times_that_make_sense_are_the_servers() {
        let term = |renew, rebind| Ok(Some(Term { renew, rebind, preferred: 100, end: Some(200) }));
        assert_eq!(times([20, 30], 100, 200), term(20, 30));
        assert_eq!(times([150, 180], 100, 200), term(150, 180), "as late as that");
        assert_eq!(times([0, 30], 100, 200), term(18, 30), "T1 is left to the client");
        let unsaid = times([0, 0], 100, 200).unwrap().unwrap();
        assert_eq!(times([ENDLESS; 2], 100, 200), Ok(Some(unsaid)), "it ends, so it has to be renewed");
        assert_eq!(times([40, 30], 100, 200), Err(Ignored::Lifetime), "T1 behind T2");
    }

    #[test]
    fn a_lifetime_may_be_endless_and_must_not_be_too_short_or_outlived_by_the_preferred_one() {
        assert_eq!(times([20, 30], ENDLESS, ENDLESS), Ok(None));
        assert_eq!(times([0, 0], 100, ENDLESS).unwrap().unwrap().end, None);
        assert_eq!(times([0, 0], 0, 10).unwrap().unwrap().preferred, 0);
        for (preferred, valid) in [(0, 0), (0, 9), (101, 100), (ENDLESS, 100)] {
            assert_eq!(times([0, 0], preferred, valid), Err(Ignored::Lifetime), "{preferred} {valid}");
        }
    }

    #[test]
    fn an_address_that_is_no_machines_is_not_taken_but_another_beside_it_is() {
        let given = |ip| (ip, 100, 200);
        for bad in ["::", "::1", "ff02::1", "fe80::1"] {
            assert_eq!(
                read(&message([0; 2], &[given(bad)]), None),
                Err(Ignored::Address(bad.parse().unwrap()))
            );
            let both = message([0; 2], &[given(bad), given(IP)]);
            assert_eq!(read(&both, None).unwrap().address.to_string(), IP);
        }
        let all = message([0; 2], &[given("fd88::8"), given(IP), ("fd88::9", 0, 0)]);
        let address = |favourite| read(&all, favourite).unwrap().address.to_string();
        assert_eq!((address(None), address(Some(IP))), ("fd88::8".into(), IP.into()));
        assert_eq!(address(Some("fd88::9")), "fd88::8", "which was taken back");
        let association = Association::read(&all, IAID);
        assert!(association.withdraws("fd88::9".parse().unwrap()));
        assert!(!association.withdraws(IP.parse().unwrap()));
    }

    #[test]
    fn another_interfaces_addresses_and_such_as_went_wrong_are_not_given() {
        let good = message([0; 2], &[(IP, 100, 200)]);
        let association = Association::read(&good, IAID + 1);
        assert_eq!(association.addresses().count(), 0);
        let mut bad = good.clone();
        let mut bytes = good.options.get(code::IA_NA).unwrap().to_vec();
        bytes.extend([0, 13, 0, 2, 0, 3]);
        bad.options.set(code::IA_NA, bytes);
        assert_eq!(Association::read(&bad, IAID).status(&bad).0, Status::NoBinding);
        assert_eq!(read(&message([0; 2], &[]), None), Err(Ignored::NoAddress));
    }
}
