//! Routes of one endpoint that its user chose, beside those that its network has.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::net::family::Family;
use crate::net::name::IfName;
use crate::net::step::{Route, chosen_metric};

/// The routes that the user of one endpoint chose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnRoutes {
    /// The metric of its default routes. `None`: the kernel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Its further routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<OwnRoute>,
}

/// A route that the user of one endpoint chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRoute {
    /// The destination.
    pub to: IpNet,
    /// The next hop. Without one, the destination is on the link.
    pub via: Option<IpAddr>,
    /// Its metric. `None`: the kernel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl OwnRoutes {
    /// Whether there are none.
    pub fn is_nothing(&self) -> bool {
        *self == OwnRoutes::default()
    }

    /// The families of its further default routes, each with the metric.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = (Family, Option<u32>)> + '_ {
        let defaults = self.routes.iter().filter(|route| route.to.prefix_len() == 0);
        defaults.map(|route| {
            let to = route.to.addr();
            (Family::of(to), chosen_metric(route.metric, to))
        })
    }

    /// Whether an endpoint that has these others has what is asked for. A default route may have been left out, where
    /// the container has another.
    pub(crate) fn are_met_by(&self, there: &OwnRoutes) -> bool {
        let wanted =
            self.routes.iter().filter(|route| route.to.prefix_len() > 0 || there.routes.contains(route));
        self.metric == there.metric && wanted.eq(&there.routes)
    }

    /// The further routes, by a link of this name.
    pub(crate) fn by<'a>(&'a self, ifname: &'a IfName) -> impl Iterator<Item = Route> + 'a {
        self.routes.iter().map(|route| Route {
            to: route.to.trunc(),
            via: route.via,
            dev: ifname.clone(),
            src: None,
            metric: chosen_metric(route.metric, route.to.addr()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_that_was_left_out_is_not_missed() {
        let route = |to: &str| OwnRoute { to: to.parse().unwrap(), via: None, metric: Some(0) };
        let of = |all: &[&str]| OwnRoutes { metric: None, routes: all.iter().map(|to| route(to)).collect() };
        let asked = of(&["0.0.0.0/0", "10.9.0.0/16"]);
        assert_eq!(asked.defaults().collect::<Vec<_>>(), [(Family::Ipv4, None)]);
        for (there, met) in [
            (&["0.0.0.0/0", "10.9.0.0/16"][..], true),
            (&["10.9.0.0/16"], true),
            (&["0.0.0.0/0"], false),
            (&["10.9.0.0/16", "10.8.0.0/16"], false),
        ] {
            assert_eq!(asked.are_met_by(&of(there)), met, "{there:?}");
        }
    }

    #[test]
    fn a_metric_that_the_kernel_chooses_is_not_one_of_a_users_choice() {
        let ifname = "eth0".parse().unwrap();
        for (to, metric, chosen) in [
            ("0.0.0.0/0", Some(0), None),
            ("0.0.0.0/0", Some(1024), Some(1024)),
            ("::/0", Some(0), None),
            ("::/0", Some(1024), None),
            ("::/0", Some(7), Some(7)),
            ("::/0", None, None),
        ] {
            let routes = vec![OwnRoute { to: to.parse().unwrap(), via: None, metric }];
            let own = OwnRoutes { metric: None, routes };
            assert_eq!(own.by(&ifname).next().unwrap().metric, chosen, "{to} {metric:?}");
        }
    }
}
