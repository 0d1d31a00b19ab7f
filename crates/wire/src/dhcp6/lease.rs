//! The lease that a server assigns: an address for a limited time, and the DNS configuration. DHCPv6 carries
//! no routes or prefixes, because routers advertise them.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::options::is_lease;
use super::{Duid, Ignored, Message, Options, SHORTEST, Status, code};
use crate::Boottime;
use crate::dhcp;
use crate::domain::DomainName;
use crate::random::Random;

/// The value that stands for an infinite lifetime (RFC 8415, 7.7).
const ENDLESS: u32 = u32::MAX;
/// The base for T1 and T2, in seconds, if an address is deprecated, never expires, and its server states no
/// times.
const UNSAID: u32 = 3600;

/// A lease as it is recorded and applied. It does not say when it was obtained: [`Held`] does while the
/// program runs, and the caller that records it converts that to a time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address. It has no prefix length, because only routers say which prefixes are on the link.
    pub address: Ipv6Addr,
    /// The server that assigned it.
    pub server: Duid,
    /// The lease's times. `None` if it is valid and preferred for ever.
    pub term: Option<Term>,
    /// The DNS configuration.
    pub dns: Dns,
}

/// The DNS configuration of a LAN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// DNS servers.
    pub servers: Vec<Ipv6Addr>,
    /// The search domains.
    pub search: Vec<DomainName>,
}

impl Dns {
    /// Whether it names neither servers nor search domains.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.search.is_empty()
    }

    pub(super) fn read(options: &Options) -> Self {
        Dns { servers: options.dns(), search: options.search() }
    }
}

/// The times of a lease, in seconds from the request for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// When to ask the lease's server to renew it (T1).
    pub renew: u32,
    /// When to ask any server to renew it (T2).
    pub rebind: u32,
    /// Until when the address is used for new connections.
    pub preferred: u32,
    /// When the lease expires. `None` if it never does.
    pub end: Option<u32>,
}

impl Term {
    /// The times that a server states. If T1 or T2 is left to the client (zero) or too late, it is half or
    /// four fifths of the preferred lifetime, which RFC 8415, 21.4, recommends to servers. These defaults are
    /// randomised a little, so that hosts that start together do not renew together. For an address that is
    /// no longer preferred, they are based on the valid lifetime.
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

/// A part of a lease that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The address.
    Address,
    /// DNS servers or search list.
    Dns,
    /// The server. A change of it does not affect the link.
    Server,
}

/// The part of a message about the addresses of one interface (`IA_NA`; RFC 8415, 21.4).
#[derive(Debug, Default)]
pub(super) struct Association {
    renew: u32,
    rebind: u32,
    options: Options,
}

/// An address in an `IA_NA` (RFC 8415, 21.6).
struct Address {
    ip: Ipv6Addr,
    preferred: u32,
    valid: u32,
}

impl Association {
    /// The `IA_NA` of the client's interface in a message. Returns an empty one if there is none.
    pub(super) fn read(message: &Message, iaid: u32) -> Self {
        let head = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let read = |bytes: &[u8]| {
            let (renew, rebind) = (head(bytes, 4)?, head(bytes, 8)?);
            let options = Options::decode(&bytes[12..]);
            (head(bytes, 0)? == iaid).then_some(Association { renew, rebind, options })
        };
        message.options.all(code::IA_NA).find_map(read).unwrap_or_default()
    }

    /// The `IA_NA` that a client sends, with the address that it has or wants, if any. The times are left to
    /// the server (RFC 8415, 18.2.1 and 18.2.4).
    pub(super) fn ask(iaid: u32, ip: Option<Ipv6Addr>) -> Vec<u8> {
        let mut bytes = [&iaid.to_be_bytes()[..], &[0; 8]].concat();
        let mut options = Options::default();
        if let Some(ip) = ip {
            options.push(code::IA_ADDRESS, [&ip.octets()[..], &[0; 8]].concat());
        }
        options.encode(&mut bytes);
        bytes
    }

    /// The status of the message as a whole, or else that of this interface.
    pub(super) fn status(&self, message: &Message) -> (Status, Option<String>) {
        match message.options.status() {
            (Status::Success, _) => self.options.status(),
            failed => failed,
        }
    }

    /// Whether the server withdraws an address by a valid lifetime of zero (RFC 8415, 18.3.4).
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
    /// Whether the address is usable. An address whose preferred lifetime is longer than its valid one must
    /// be ignored (RFC 8415, 21.6).
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
    /// Reads an ADVERTISE or a REPLY. Of several addresses, it takes `favourite`, or else the first usable
    /// one.
    pub(super) fn read(
        message: &Message,
        association: &Association,
        server: Duid,
        favourite: Option<Ipv6Addr>,
        random: &mut Random,
    ) -> Result<Self, Ignored> {
        let Association { renew, rebind, .. } = *association;
        // An `IA_NA` with T1 later than T2 must be ignored (RFC 8415, 21.4).
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

/// A lease with the time at which it began.
pub type Held = dhcp::Held<Lease>;

/// A lease from the record.
pub type Recorded = dhcp::Recorded<Lease>;

/// How a lease became valid.
pub type Change = dhcp::Change<Part>;

impl Held {
    /// When the address is no longer used for new connections (`preferred_lft`). `None` if that never
    /// happens.
    pub fn deprecates(&self) -> Option<Boottime> {
        Some(self.after(self.lease.term?.preferred))
    }

    /// When to renew the lease. `None` if it is valid and preferred for ever.
    pub fn renews(&self) -> Option<Boottime> {
        Some(self.after(self.lease.term?.renew))
    }

    /// When to ask any server to renew the lease. `None` if it is valid and preferred for ever.
    pub fn rebinds(&self) -> Option<Boottime> {
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

    /// A REPLY with one `IA_NA` that has these times, and these addresses with their preferred and valid
    /// lifetimes.
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
        assert_eq!(times([150, 180], 100, 200), term(150, 180), "T1 and T2 may be later than preferred");
        assert_eq!(times([0, 30], 100, 200), term(18, 30), "T1 is left to the client");
        let unsaid = times([0, 0], 100, 200).unwrap().unwrap();
        assert_eq!(times([ENDLESS; 2], 100, 200), Ok(Some(unsaid)), "it expires, so it has to be renewed");
        assert_eq!(times([40, 30], 100, 200), Err(Ignored::Lifetime), "T1 is later than T2");
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
        assert_eq!(address(Some("fd88::9")), "fd88::8", "the favourite was withdrawn");
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
