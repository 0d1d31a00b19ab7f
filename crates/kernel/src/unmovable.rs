//! Routes and rules on a link that a [`View`](ashore_core::net::observed::View) does not describe in full:
//! routes in other tables, routes over several links or with settings of their own, and rules that name the
//! link.

use std::net::IpAddr;

use ashore_core::net::name::IfName;

use crate::bytes::{Attributes, Messages, text, u8_at, u32_at};
use crate::error::ObserveError;
use crate::kernel::Kernel;
use crate::netlink::{Dump, GET, is_nothing, routes};
use crate::read::{AF_INET, AF_INET6, RT_TABLE_MAIN, ip, links_of, rta};

const RTM_NEWRULE: u16 = 32;
/// `struct rtmsg`, and `struct fib_rule_hdr`.
const HEADER: usize = 12;

impl Kernel {
    /// Describes in words every such route and rule on a link of the host's namespace.
    pub fn unmovable(&self, link: &IfName) -> Result<Vec<String>, ObserveError> {
        let fault = |source| ObserveError { what: "routes", source };
        let index = self.on_host(|route| route.index_of(link)).map_err(fault)?;
        let Some(index) = index else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let all = self.all(&routes(family, 0))?;
            found.extend(Messages::of(&all).filter_map(|route| unmovable_route(route.body, index)));
            let mut body = vec![0; HEADER];
            body[0] = family;
            let all = self.all(&Dump { kind: RTM_NEWRULE + GET, body })?;
            found.extend(Messages::of(&all).filter_map(|rule| rule_naming(rule.body, link)));
        }
        Ok(found)
    }

    fn all(&self, request: &Dump) -> Result<Vec<u8>, ObserveError> {
        match self.on_host(|route| route.dump(request)) {
            Err(error) if is_nothing(&error) => Ok(Vec::new()),
            dumped => dumped.map_err(|source| ObserveError { what: "routes and rules", source }),
        }
    }
}

fn unmovable_route(body: &[u8], index: u32) -> Option<String> {
    const RTPROT_RA: u8 = 9;
    const RTN_UNICAST: u8 = 1;
    /// Local, broadcast, anycast and multicast routes. The kernel adds and removes them together with
    /// addresses.
    const OF_ADDRESSES: [u8; 4] = [2, 3, 4, 5];
    let (prefix_length, tos, protocol, kind) =
        (u8_at(body, 1)?, u8_at(body, 3)?, u8_at(body, 5)?, u8_at(body, 7)?);
    let attributes = Attributes::after(HEADER, body);
    // A route that names only a next-hop ID may use any link.
    let by_number = attributes.get(rta::NH_ID).is_some() && links_of(&attributes).next().is_none();
    let on_link = by_number || links_of(&attributes).any(|link| link == index);
    if OF_ADDRESSES.contains(&kind) || !on_link {
        return None;
    }
    let mut table = u32::from(u8_at(body, 4)?);
    let mut to = "default".to_owned();
    let mut plain = kind == RTN_UNICAST && tos == 0;
    for (kind, value) in attributes {
        match kind {
            rta::TABLE => table = u32_at(value, 0)?,
            rta::DST => {
                let ip: IpAddr = ip(value)?;
                to = format!("{ip}/{prefix_length}");
            }
            rta::GATEWAY | rta::PREFSRC | rta::OIF | rta::PRIORITY | rta::CACHEINFO | rta::PREF => {}
            // Router advertisements set the hop limit and the MTU, and will set them again.
            rta::METRICS => plain &= protocol == RTPROT_RA,
            _ => plain = false,
        }
    }
    let main = table == u32::from(RT_TABLE_MAIN);
    if main && plain {
        return None;
    }
    let table = if main { String::new() } else { format!(" in the table {table}") };
    Some(format!("a route to {to}{table}"))
}

fn rule_naming(body: &[u8], link: &IfName) -> Option<String> {
    const FRA_IIFNAME: u16 = 3;
    const FRA_PRIORITY: u16 = 6;
    const FRA_OIFNAME: u16 = 17;
    let attributes = Attributes::after(HEADER, body);
    let names = |kind| attributes.get(kind).map(text) == Some(&*link.bytes());
    let priority = attributes.get(FRA_PRIORITY).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    (names(FRA_IIFNAME) || names(FRA_OIFNAME)).then(|| format!("the routing rule {priority}"))
}
