//! The names of Ashore's links on the host. Each name is derived from the link's owner.

use super::Tag;
use crate::net::name::{EndpointName, IfName, NetworkName, link_name};

/// The prefix of links that an engine moves into its containers. Twelve hexadecimal digits follow.
const ENGINES: &str = "ash";
/// The prefix of the far ends of veths.
const PORTS: &str = "asp";
/// The names of all far ends of veths, as nftables writes them.
pub const ALL_PORTS: &str = "asp*";

impl Tag {
    /// The name on the host that belongs to the tag. A container can write a tag on its link, but it cannot
    /// choose a name on the host.
    pub fn host_name(&self) -> IfName {
        match self {
            Tag::Endpoint(network, endpoint) => engine_link_name(network, endpoint),
            Tag::Port(network, endpoint) => port_name(network, endpoint),
            Tag::Shim(parent) => shim_name(parent),
            Tag::Vlan(name) => name.clone(),
            Tag::VlanPort(near) => own_port_name(near),
        }
    }
}

/// The name on the host of the far end of an endpoint's veth: fifteen bytes.
pub fn port_name(network: &NetworkName, endpoint: &EndpointName) -> IfName {
    link_name(PORTS, &format!("{network}:{endpoint}"))
}

/// The name on the host of a link that an engine will move and rename: fifteen bytes, derived from the names
/// of the network and the endpoint.
pub fn engine_link_name(network: &NetworkName, endpoint: &EndpointName) -> IfName {
    link_name(ENGINES, &format!("{network}:{endpoint}"))
}

/// Whether a name has the form of [`engine_link_name`].
pub(crate) fn is_engine_link_name(name: &IfName) -> bool {
    is_of_form(ENGINES, name)
}

/// Whether a name has the form of [`port_name`].
pub(crate) fn is_port_name(name: &IfName) -> bool {
    is_of_form(PORTS, name)
}

fn is_of_form(prefix: &str, name: &IfName) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.as_str().strip_prefix(prefix).is_some_and(|rest| rest.len() == 12 && rest.bytes().all(is_digit))
}

/// The shim's name: `shim-eth0`, or a hash if the parent's name leaves no room.
pub fn shim_name(parent: &IfName) -> IfName {
    format!("shim-{parent}").parse().unwrap_or_else(|_| link_name("shim-", parent.as_str()))
}

/// The name of the far end of Ashore's own port in a VLAN of a bridge. The far end is attached to the bridge.
pub(crate) fn own_port_name(near: &IfName) -> IfName {
    link_name(PORTS, near.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_engines_are_known_by_their_form() {
        let made = engine_link_name(&"lan".parse().unwrap(), &"web".parse().unwrap());
        assert!(is_engine_link_name(&made), "{made}");
        for other in ["ash", "ash0", "ashore", "ash0123456789aB", "ash0123456789a", "asp0123456789ab", "eth0"]
        {
            assert!(!is_engine_link_name(&other.parse().unwrap()), "{other}");
        }
    }
}
