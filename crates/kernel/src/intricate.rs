//! What hangs on a link and no [`View`](ashore_core::View) tells in full: routes of other tables, over several links or with
//! settings of their own, and rules that name the link.

use ashore_core::name::IfName;
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::libc;

use crate::apply::Kernel;
use crate::error::ObserveError;

impl Kernel {
    /// What there is of that kind on a link of the host's namespace, in words.
    pub fn intricate(&self, link: &IfName) -> Result<Vec<String>, ObserveError> {
        let fault = |source| ObserveError { what: "routes", source };
        let Some(index) = self.route.index_of(link).map_err(fault)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            for message in self.all(&RouteNetlinkMessage::GetRoute(request))? {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    found.extend(intricate_route(&route, index));
                }
            }
            let mut request = RuleMessage::default();
            request.header.family = family;
            for message in self.all(&RouteNetlinkMessage::GetRule(request))? {
                if let RouteNetlinkMessage::NewRule(rule) = message {
                    found.extend(rule_naming(&rule, link));
                }
            }
        }
        Ok(found)
    }

    fn all(&self, request: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, ObserveError> {
        match self.route.dump(request) {
            Ok(messages) => Ok(messages),
            // A family or a kind of rules that this kernel does not have.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT)
                ) =>
            {
                Ok(Vec::new())
            }
            Err(source) => Err(ObserveError { what: "routes and rules", source }),
        }
    }
}

fn intricate_route(message: &RouteMessage, index: u32) -> Option<String> {
    let header = &message.header;
    // The kernel's own, which come and go with addresses.
    let of_address = matches!(
        header.kind,
        RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast
    );
    let on_link = message.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::Oif(oif) => *oif == index,
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
        _ => false,
    });
    if of_address || !on_link {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut to = "default".to_owned();
    let mut plain = header.kind == RouteType::Unicast && header.tos == 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => {
                let ip = crate::observe::ip_of(address).map_or_else(String::new, |ip| ip.to_string());
                to = format!("{ip}/{}", header.destination_prefix_length);
            }
            RouteAttribute::Gateway(_)
            | RouteAttribute::PrefSource(_)
            | RouteAttribute::Oif(_)
            | RouteAttribute::Priority(_)
            | RouteAttribute::CacheInfo(_)
            | RouteAttribute::Preference(_) => {}
            // Router advertisements bring hop limit and MTU along, and will again.
            RouteAttribute::Metrics(_) => plain &= header.protocol == RouteProtocol::Ra,
            _ => plain = false,
        }
    }
    let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    if main && plain {
        return None;
    }
    let table = if main { String::new() } else { format!(" in the table {table}") };
    Some(format!("a route to {to}{table}"))
}

fn rule_naming(message: &RuleMessage, link: &IfName) -> Option<String> {
    let names = message.attributes.iter().any(|attribute| {
        matches!(attribute, RuleAttribute::Iifname(name) | RuleAttribute::Oifname(name) if name == link.as_str())
    });
    let priority = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    names.then(|| format!("the routing rule {}", priority.unwrap_or_default()))
}
