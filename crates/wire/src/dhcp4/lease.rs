//! The lease that a server assigns: an address for a limited time, and the configuration of a host on its
//! LAN.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::route::{Route, is_host};
use super::{Ignored, Message, SHORTEST, code};
use crate::Boottime;
use crate::dhcp;
use crate::domain::DomainName;
use crate::random::Random;

/// The lifetime, in seconds, of a lease whose server does not state one, although it must (RFC 2131, table
/// 3). It is the default of udhcpc.
pub const UNSAID: u32 = 3600;

/// A lease as it is recorded and applied. It does not say when it was obtained: [`Held`] does while the
/// program runs, and the caller that records it converts that to a time of day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address and its prefix length.
    pub address: Ipv4Net,
    /// The server that assigned it.
    pub server: Ipv4Addr,
    /// The lease's times. `None` if it never expires.
    pub term: Option<Term>,
    /// The routes, including the default route.
    pub routes: Vec<Route>,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain name.
    pub domain: Option<DomainName>,
    /// The search domains.
    pub search: Vec<DomainName>,
    /// NTP servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The link's MTU.
    pub mtu: Option<u16>,
    /// The broadcast address, if the server states one.
    pub broadcast: Option<Ipv4Addr>,
}

/// The times of a lease, in seconds from the request for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// When to ask the lease's server to renew it (T1).
    pub renew: u32,
    /// When to ask any server to renew it (T2).
    pub rebind: u32,
    /// When the lease expires.
    pub end: u32,
}

impl Term {
    /// The times that a server states. Times that are missing or out of order are replaced by the defaults of
    /// RFC 2131, 4.4.5. The defaults are randomised a little, so that hosts that start together do not renew
    /// together.
    fn new(end: u32, renew: Option<u32>, rebind: Option<u32>, random: &mut Random) -> Self {
        let mut about = |part: u64| {
            let spread = u64::from(end / 40);
            (u64::from(end) * part / 1000 + u64::from(random.number()) % (spread + 1) - spread / 2) as u32
        };
        let (half, most) = (about(500), about(875));
        let rebind = rebind.filter(|rebind| (2..end).contains(rebind)).unwrap_or(most);
        let before = |renew: &u32| (1..rebind).contains(renew);
        // The default T1 (0.5) relates to the default T2 (0.875) as 4 to 7.
        let shortened = (u64::from(rebind) * 4 / 7) as u32;
        let renew = renew.filter(before).or(Some(half).filter(before)).unwrap_or(shortened);
        Term { renew, rebind, end }
    }
}

/// A part of a lease that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The address or its prefix length.
    Address,
    /// The routes.
    Routes,
    /// DNS servers, domain or search list.
    Dns,
    /// NTP servers.
    Ntp,
    /// The MTU.
    Mtu,
    /// The broadcast address.
    Broadcast,
    /// The server. A change of it does not affect the link.
    Server,
}

impl Lease {
    /// The router of the default route. Returns `None` if there is no default route, or if it leads onto the
    /// link.
    pub fn router(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|route| route.is_default())?.via
    }

    /// Reads an OFFER, or an ACK that follows `before`. If `before` is for the same address, it supplies the
    /// mask and the lifetime that the message leaves out. Address, mask and lifetime must be valid if
    /// present; any other invalid option is left out.
    pub(super) fn read(
        message: &Message,
        server: Ipv4Addr,
        before: Option<&Lease>,
        random: &mut Random,
    ) -> Result<Self, Ignored> {
        let (ip, options) = (message.yiaddr, &message.options);
        let before = before.filter(|before| before.address.addr() == ip);
        let prefix = options.prefix().map_err(|_| Ignored::Mask)?;
        let prefix = prefix.or(before.map(|before| before.address.prefix_len())).unwrap_or_else(|| class(ip));
        let address = Ipv4Net::new(ip, prefix).map_err(|_| Ignored::Mask)?;
        // A prefix of 31 or 32 bits has neither a network nor a broadcast address (RFC 3021).
        let ends = prefix < 31 && (ip == address.network() || ip == address.broadcast());
        let mut routes = options.routes();
        let is_routers = options.addresses(code::ROUTER).contains(&ip)
            || routes.iter().any(|route| route.is_default() && route.via == Some(ip));
        if !is_host(ip) || ends {
            return Err(Ignored::Address(ip));
        }
        if ip == server || is_routers {
            return Err(Ignored::Named(ip, if is_routers { "router" } else { "server" }));
        }
        let ends = [address.network(), address.broadcast()];
        let is_hop = |hop: Ipv4Addr| hop != ip && (prefix >= 31 || !ends.contains(&hop));
        routes.retain(|route| route.is_sensible() && route.via.is_none_or(is_hop));
        let time = |code: u8| options.number(code).map_err(|_| Ignored::Lifetime);
        let term = match (time(code::LEASE_TIME)?, before) {
            (Some(u32::MAX), _) => None,
            (None, Some(before)) if before.term.is_none() => None,
            (said, before) => {
                let end = said.or(before.and_then(|before| Some(before.term?.end))).unwrap_or(UNSAID);
                if end < SHORTEST {
                    return Err(Ignored::Lifetime);
                }
                let renewal = |code: u8| options.number(code).ok().flatten();
                Some(Term::new(end, renewal(code::RENEWAL_TIME), renewal(code::REBINDING_TIME), random))
            }
        };
        Ok(Lease {
            address,
            server,
            term,
            routes,
            dns: options.addresses(code::DNS),
            domain: options.domain(),
            search: options.search(),
            ntp: options.addresses(code::NTP),
            mtu: options.mtu(),
            broadcast: options.address(code::BROADCAST).ok().flatten(),
        })
    }
}

/// The prefix length of an address's class, which a host uses if it is told no mask (RFC 1122, 3.3.6).
fn class(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

impl dhcp::Lease for Lease {
    type Ip = Ipv4Addr;
    type Part = Part;

    fn ip(&self) -> Ipv4Addr {
        self.address.addr()
    }

    fn end(&self) -> Option<u32> {
        self.term.map(|term| term.end)
    }

    fn changes(&self, before: &Lease) -> Vec<Part> {
        let dns = |lease: &Lease| (lease.dns.clone(), lease.domain.clone(), lease.search.clone());
        [
            (Part::Address, self.address != before.address),
            (Part::Routes, self.routes != before.routes),
            (Part::Dns, dns(self) != dns(before)),
            (Part::Ntp, self.ntp != before.ntp),
            (Part::Mtu, self.mtu != before.mtu),
            (Part::Broadcast, self.broadcast != before.broadcast),
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
    /// When to renew the lease. `None` if it never expires.
    pub fn renews(&self) -> Option<Boottime> {
        Some(self.after(self.lease.term?.renew))
    }

    /// When to ask any server to renew the lease. `None` if it never expires.
    pub fn rebinds(&self) -> Option<Boottime> {
        Some(self.after(self.lease.term?.rebind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mac;
    use crate::dhcp4::Options;
    use proptest::prelude::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);

    fn message(ip: [u8; 4], options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::request(1, Mac([2, 0, 0, 0, 0, 1]));
        message.yiaddr = ip.into();
        message.options = Options::default();
        for (code, bytes) in options {
            message.options.set(*code, *bytes);
        }
        message
    }

    fn read(ip: [u8; 4], options: &[(u8, &[u8])], before: Option<&Lease>) -> Result<Lease, Ignored> {
        Lease::read(&message(ip, options), SERVER, before, &mut Random(1))
    }

    fn end(time: &[u8], before: Option<&Lease>) -> Result<Option<u32>, Ignored> {
        let lease = read([192, 168, 88, 7], &[(code::LEASE_TIME, time)], before)?;
        Ok(lease.term.map(|term| term.end))
    }

    proptest! {
        #[test]
        fn whatever_the_server_says_times_are_in_their_order(
            end in SHORTEST..u32::MAX, renew in any::<Option<u32>>(), rebind in any::<Option<u32>>(), random in any::<u64>(),
        ) {
            for scale in [1, end / 4 + 1] {
                let time = |time: Option<u32>| time.map(|time| time / scale);
                let term = Term::new(end, time(renew), time(rebind), &mut Random(random));
                prop_assert!(0 < term.renew && term.renew < term.rebind && term.rebind < term.end, "{term:?}");
            }
        }

        #[test]
        fn unsaid_times_are_about_half_and_seven_eighths(end in 40..1_000_000u32, random in any::<u64>()) {
            let term = Term::new(end, None, Some(0), &mut Random(random));
            let is = |time: u32, part: f64| (f64::from(time) / f64::from(end) - part).abs() < 0.04;
            prop_assert!(is(term.renew, 0.5) && is(term.rebind, 0.875), "{term:?}");
        }
    }

    #[test]
    fn times_that_make_sense_are_the_servers() {
        let term = Term::new(100, Some(20), Some(30), &mut Random(1));
        assert_eq!(term, Term { renew: 20, rebind: 30, end: 100 });
        assert_eq!(Term::new(100, Some(40), Some(30), &mut Random(1)).renew, 17, "T1 is later than T2");
    }

    #[test]
    fn a_lifetime_may_be_endless_or_unsaid_and_must_not_be_too_short() {
        assert_eq!(end(&[255; 4], None), Ok(None));
        assert_eq!(end(&[0, 0, 0, 10], None), Ok(Some(10)));
        for bad in [&[0, 0, 0, 0][..], &[0, 0, 0, 9], &[1, 0], &[]] {
            assert_eq!(end(bad, None), Err(Ignored::Lifetime), "{bad:?}");
        }
        let unsaid =
            |before: Option<&Lease>| read([192, 168, 88, 7], &[], before).unwrap().term.map(|term| term.end);
        assert_eq!(unsaid(None), Some(UNSAID));
        let before = read([192, 168, 88, 7], &[(code::LEASE_TIME, &[0, 0, 1, 0])], None).unwrap();
        assert_eq!(unsaid(Some(&before)), Some(256));
        assert_eq!(unsaid(Some(&Lease { term: None, ..before })), None);
    }

    #[test]
    fn a_mask_is_the_servers_the_earlier_one_or_the_classs() {
        let prefix =
            |ip, options: &[(u8, &[u8])], before| Ok(read(ip, options, before)?.address.prefix_len());
        assert_eq!(prefix([192, 168, 88, 7], &[], None), Ok(24));
        assert_eq!(prefix([172, 16, 0, 7], &[], None), Ok(16));
        assert_eq!(prefix([10, 0, 0, 7], &[], None), Ok(8));
        let before = read([10, 0, 0, 7], &[(code::SUBNET_MASK, &[255, 255, 255, 0])], None).unwrap();
        assert_eq!(prefix([10, 0, 0, 7], &[], Some(&before)), Ok(24));
        assert_eq!(prefix([10, 0, 0, 8], &[], Some(&before)), Ok(8), "another address");
        assert_eq!(
            prefix([10, 0, 0, 7], &[(code::SUBNET_MASK, &[255, 0, 255, 0])], None),
            Err(Ignored::Mask)
        );
    }

    #[test]
    fn an_address_that_no_machine_can_have_is_not_taken() {
        for ip in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [192, 168, 88, 0], [192, 168, 88, 255]] {
            assert_eq!(read(ip, &[], None), Err(Ignored::Address(ip.into())));
        }
        assert!(read([192, 168, 88, 0], &[(code::SUBNET_MASK, &[255, 255, 255, 254])], None).is_ok());
    }

    #[test]
    fn the_address_of_its_server_or_router_is_not_taken() {
        let mine = [192, 168, 88, 7];
        assert!(read(mine, &[(code::ROUTER, &[192, 168, 88, 1])], None).is_ok());
        assert_eq!(read(SERVER.octets(), &[], None), Err(Ignored::Named(SERVER, "server")));
        let routers: [(u8, &[u8]); 3] = [
            (code::ROUTER, &mine),
            (code::ROUTER, &[192, 168, 88, 1, 192, 168, 88, 7]),
            (code::CLASSLESS_ROUTES, &[0, 192, 168, 88, 7]),
        ];
        for router in routers {
            assert_eq!(read(mine, &[router], None), Err(Ignored::Named(mine.into(), "router")), "{router:?}");
        }
    }

    #[test]
    fn routes_that_no_machine_can_have_are_left_out() {
        let kept = |route: &[u8]| {
            let lease = read([192, 168, 88, 7], &[(code::CLASSLESS_ROUTES, route)], None).unwrap();
            lease.routes.len() == 1
        };
        let near = [192, 168, 88, 1];
        for good in [&[0][..], &[1, 0], &[1, 128], &[8, 10], &[24, 192, 168, 88], &[32, 10, 0, 0, 1]] {
            assert!(kept(&[good, &near].concat()), "{good:?}");
        }
        for bad in [
            &[8, 127][..],
            &[32, 127, 0, 0, 1],
            &[8, 0],
            &[32, 0, 0, 0, 0],
            &[4, 224],
            &[3, 224],
            &[32, 255, 255, 255, 255],
        ] {
            assert!(!kept(&[bad, &near].concat()), "{bad:?}");
        }
        for hop in [0, 7, 255] {
            assert!(!kept(&[8, 10, 192, 168, 88, hop]), "{hop}");
        }
    }

    #[test]
    fn an_option_that_makes_no_sense_spoils_no_other() {
        let garbage: [(u8, &[u8]); 8] = [
            (code::ROUTER, &[1]),
            (code::DNS, &[9, 9, 9, 9]),
            (code::DOMAIN_NAME, b"a b"),
            (code::DOMAIN_SEARCH, &[0xc0, 0]),
            (code::MTU, &[1]),
            (code::BROADCAST, &[]),
            (code::CLASSLESS_ROUTES, &[99]),
            (code::RENEWAL_TIME, &[1]),
        ];
        let lease = read([192, 168, 88, 7], &garbage, None).unwrap();
        assert_eq!(lease.dns, [Ipv4Addr::new(9, 9, 9, 9)]);
        let rest = (lease.router(), lease.domain, lease.search.len(), lease.mtu, lease.broadcast);
        assert_eq!(rest, (None, None, 0, None, None));
    }
}
