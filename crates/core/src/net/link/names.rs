//! The names of Ashore's links on the host. Each follows from whose link it is.

use super::Tag;
use crate::net::name::{EndpointName, IfName, NetworkName, link_name};

/// What the names of links begin with that an engine moves into its containers; twelve digits follow.
const ENGINES: &str = "ash";
/// What those of the far ends of veths begin with.
const PORTS: &str = "asp";

impl Tag {
    /// The name on the host that goes with it. A container can write a tag, and no name on the host.
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

/// The name on the host of the far end of an endpoint's veth, fifteen bytes in all.
pub fn port_name(network: &NetworkName, endpoint: &EndpointName) -> IfName {
    link_name(PORTS, &format!("{network}:{endpoint}"))
}

/// The name on the host of a link that an engine will move and rename: fifteen bytes that follow from the endpoint's name.
pub fn engine_link_name(network: &NetworkName, endpoint: &EndpointName) -> IfName {
    link_name(ENGINES, &format!("{network}:{endpoint}"))
}

/// Whether a name is of the form that links for engines have.
pub(crate) fn is_engine_link_name(name: &IfName) -> bool {
    is_of_form(ENGINES, name)
}

/// Whether a name is of the form that the far ends of veths have.
pub(crate) fn is_port_name(name: &IfName) -> bool {
    is_of_form(PORTS, name)
}

fn is_of_form(prefix: &str, name: &IfName) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.as_str().strip_prefix(prefix).is_some_and(|rest| rest.len() == 12 && rest.bytes().all(is_digit))
}

/// The shim's name: `shim-eth0`, or a hash for a parent whose name leaves no room.
pub fn shim_name(parent: &IfName) -> IfName {
    format!("shim-{parent}").parse().unwrap_or_else(|_| link_name("shim-", parent.as_str()))
}

/// The far end of Ashore's own port in a VLAN of a bridge, which is on the bridge.
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
