//! Which of a container's networks gives it its default route.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::endpoint::Endpoint;
use crate::model::network::Network;
use crate::model::ownership::Ownership;
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::observed::{ObservedRoute, View};
use crate::net::step::chosen_metric;
use crate::rules::attach::AttachSpec;

/// The metric of the IPv6 default routes of Podman's containers, unless their user chooses one. netavark gives those of
/// its own bridges 100, for both families. Over IPv4 the kernel's own metric, 0, comes before that, and this does over
/// IPv6: by both families the LAN's router is the way out.
const BEFORE_NETAVARKS: u32 = 1;

impl Endpoint {
    /// The metric of its default route by this gateway. `None`: the kernel's own.
    pub fn metric_by(&self, gateway: IpAddr) -> Option<u32> {
        match self.own_routes.metric {
            None | Some(0) if self.ownership == Ownership::Podman && gateway.is_ipv6() => {
                Some(BEFORE_NETAVARKS)
            }
            metric => chosen_metric(metric, gateway),
        }
    }

    /// The same without default routes.
    pub(super) fn without_default_routes(mut self) -> Self {
        self.own_routes.routes.retain(|route| route.to.prefix_len() > 0);
        Endpoint { default_route: false, ..self }
    }
}

impl Network {
    /// The default routes that an endpoint wants: the family and metric of each.
    fn default_routes_of(&self, endpoint: &Endpoint) -> BTreeSet<(Family, Option<u32>)> {
        let by_gateways = self.gateways_of(endpoint).map(|ip| (Family::of(ip), endpoint.metric_by(ip)));
        by_gateways.chain(endpoint.own_routes.defaults()).collect()
    }

    /// A default route of another program in the container that has the family and metric of one that an endpoint wants:
    /// the kernel takes no second one. The advertised IPv6 default route yields by itself, for as long as there is
    /// another.
    pub(super) fn foreign_default_route<'a>(
        &self,
        endpoint: &Endpoint,
        inside: &'a View,
    ) -> Option<&'a ObservedRoute> {
        let wanted = self.default_routes_of(endpoint);
        foreign_default_routes(inside).find(|there| {
            let to = there.route.to.addr();
            let clashes = wanted.contains(&(Family::of(to), chosen_metric(Some(there.metric), to)));
            clashes && !(to.is_ipv6() && self.follows_routers())
        })
    }
}

impl AttachSpec {
    /// The default route of another program for which an endpoint got none, though one was asked for.
    pub fn yielded_to<'a>(
        &self,
        state: &State,
        network: &Network,
        endpoint: &Endpoint,
        inside: &'a View,
    ) -> Option<&'a ObservedRoute> {
        let (default_route, own_routes) = (self.default_route, self.own_routes.clone());
        let asked = Endpoint { default_route, own_routes, ..endpoint.clone() };
        let has = endpoint.default_route || endpoint.own_routes.defaults().next().is_some();
        if has || network.internal || state.rival_for_default_route(network, &asked).is_some() {
            return None;
        }
        network.foreign_default_route(&asked, inside)
    }
}

fn foreign_default_routes(inside: &View) -> impl Iterator<Item = &ObservedRoute> {
    inside.routes.iter().filter(|there| there.route.to.prefix_len() == 0 && !there.is_ours())
}

impl State {
    /// Another endpoint in the same namespace that has a default route of a family and metric for which this endpoint
    /// wants one too.
    pub(super) fn rival_for_default_route(
        &self,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Option<(&Endpoint, &Network)> {
        let wanted = network.default_routes_of(endpoint);
        let others = self.endpoints_in(endpoint.netns()?);
        others
            .filter_map(|other| Some((other, self.network_of(other)?)))
            .find(|(other, its_network)| !its_network.default_routes_of(other).is_disjoint(&wanted))
    }
}
