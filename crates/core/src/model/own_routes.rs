//! Routes of one endpoint that its user chose, beside those that its network has.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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
