//! What is in the way of a plan, and what helps.

use crate::net::link::Place;
use crate::net::name::IfName;
use crate::net::observed::{ObservedRoute, Ways};
use crate::net::remedy::Remedy;
use crate::net::vlan::{Vlan, VlanId};

/// Something in the way that is not Ashore's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// A link of the same name.
    #[error("{}: there is a link `{name}` already, and it is not Ashore's", shown(.place))]
    Link {
        /// Where.
        place: Place,
        /// Its name.
        name: IfName,
    },
    /// A link for the same VLAN on the same link, with another name. The kernel takes no second one.
    #[error("on this host: `{name}` is VLAN {} on `{}`, and it is not Ashore's", .vlan.id, .vlan.lower)]
    Vlan {
        /// Its name.
        name: IfName,
        /// The VLAN.
        vlan: Vlan,
    },
    /// A bridge that would put a port on another LAN than its network's.
    #[error(
        "on this host: the bridge `{bridge}` no longer filters VLANs, so it cannot keep ports in VLAN {vlan}"
    )]
    Unfiltered {
        /// The bridge.
        bridge: IfName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// A route to the same destination.
    #[error("{}: there is a route `{}` already, and it is not Ashore's", shown(.place), .there.way())]
    Route {
        /// Where.
        place: Place,
        /// The route in the way.
        there: ObservedRoute,
    },
}

impl Blocked {
    /// Whether it only blocks a route in a container that the endpoint does not need to be on the LAN.
    pub fn is_of_extra(&self) -> bool {
        matches!(self, Blocked::Route { place: Place::Netns(_), there } if there.route.is_extra())
    }

    /// The remedy.
    pub fn remedy(&self) -> Remedy {
        /// `RTPROT_KERNEL`.
        const BY_ADDRESS: u8 = 2;
        match self {
            Blocked::Link { place: Place::Netns(_), name } => Remedy::default()
                .on_command_line("choose another name with --ifname, or ")
                .and(format!("remove `{name}` in that namespace")),
            Blocked::Link { place: Place::Host, name } => Remedy::from("rename it while it is down: ")
                .and_run(format!("ip link set dev {} name NEW", name.word())),
            Blocked::Vlan { name, vlan } => Remedy::from("rename it while down, and Ashore uses it: ")
                .and_run(format!("ip link set dev {} name {}", name.word(), vlan.name().word())),
            Blocked::Unfiltered { bridge, .. } => {
                Remedy::run(format!("ip link set dev {} type bridge vlan_filtering 1", bridge.word()))
            }
            Blocked::Route { there, .. } if there.route.to.prefix_len() == 0 => Remedy::default()
                .on_command_line("keep that default route and attach this one with --no-default-route, or ")
                .in_podman("keep that default route, with --network NETWORK:no_default_route=yes, or ")
                .in_cni("keep that default route, with `\"default_route\": false` under `\"ashore\"`, or ")
                .and("remove that route"),
            // Without this route the link's other addresses would reach nobody.
            Blocked::Route { there, .. } if there.protocol == BY_ADDRESS => Remedy::from(format!(
                "leave it: the kernel made it for an address of `{}`, and removes it with that address",
                there.route.dev
            )),
            Blocked::Route { there, .. } => {
                let how = if let Ways::None(how) = there.ways { how } else { "" };
                let space = if how.is_empty() { "" } else { " " };
                Remedy::from("remove it: ").and_run(format!("ip route del {how}{space}{}", there.route.to))
            }
        }
    }
}

fn shown(place: &Place) -> String {
    match place {
        Place::Host => "on this host".into(),
        Place::Netns(netns) => format!("in {}", netns.path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::link::Netns;
    use crate::net::remedy::Front;
    use crate::net::step::Route;

    #[test]
    fn who_keeps_a_default_route_is_told_how_in_the_words_of_each_front() {
        let route = Route {
            to: "0.0.0.0/0".parse().unwrap(),
            via: None,
            dev: "eth0".parse().unwrap(),
            src: None,
            metric: None,
        };
        let there = ObservedRoute { route, protocol: 3, metric: 0, onlink: false, ways: Ways::One };
        let remedy = Blocked::Route { place: Place::Host, there }.remedy();
        for (front, word) in [
            (Front::CommandLine, "--no-default-route"),
            (Front::Podman, "no_default_route=yes"),
            (Front::Rootless, "no_default_route=yes"),
            (Front::Cni, "`\"default_route\": false` under `\"ashore\"`"),
        ] {
            let said = remedy.spelled(front);
            assert!(said.contains(word) && said.ends_with(", or remove that route"), "{said}");
        }
        assert_eq!(remedy.spelled(Front::Docker), "remove that route");
    }

    #[test]
    fn docker_is_told_of_no_option_of_the_command_line() {
        let netns = Netns { path: "/run/netns/web".into(), dev: 4, ino: 1, cookie: None, attached_by: None };
        let place = Place::Netns(netns);
        let remedy = Blocked::Link { place, name: "eth0".parse().unwrap() }.remedy();
        assert_eq!(remedy.spelled(Front::Docker), "remove `eth0` in that namespace");
        assert_eq!(
            remedy.to_string(),
            "choose another name with --ifname, or remove `eth0` in that namespace"
        );
    }
}
