//! What a host without a network of Ashore's has: which interface would be the parent, and what it runs on.

use super::{Platform, other_shim};
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::net::name::IfName;
use crate::net::observed::View;

const CHECK: &str = "host";

/// Looks at a host on which no daemon answers. Without a parent, the interface of the default route is looked at.
pub fn host(host: &View, platform: Platform, parent: Option<&IfName>) -> Vec<Finding> {
    let mut found = Vec::new();
    match parent.map_or_else(|| host.lan_parent(&[]), |parent| Ok(host.resolved(parent))) {
        Ok(parent) => {
            found.push(lan(host, &parent));
            found.extend(other_shim::of_no_network(host, &parent));
        }
        Err(error) => found.push(Finding::unknown(CHECK, About::default(), error.to_string())),
    }
    if platform != Platform::Machine {
        let what = format!(
            "this host is a virtual machine: frames of containers may be dropped by {}; `ashore doctor` asks once there is one",
            platform.suspect()
        );
        found.push(Finding::unknown(CHECK, About::default(), what));
    }
    found
}

fn lan(host: &View, parent: &IfName) -> Finding {
    let about = About::parent(parent);
    let Some(link) = host.link(parent) else {
        return Finding::unknown(CHECK, about, format!("there is no interface `{parent}`"));
    };
    let net = match host.lan_subnet(parent, None) {
        Ok(net) => net,
        Err(error) => return Finding::unknown(CHECK, about, error.to_string()),
    };
    if !(link.up && link.carrier) {
        return Finding::unknown(
            CHECK,
            about,
            format!("`{parent}` has no carrier: its cable is out, or it is down"),
        );
    }
    let router = host.default_gateway(&net).map(|router| format!(" with the router {router}"));
    let kind = if link.wireless { ", by Wi-Fi, where ipvlan is chosen" } else { "" };
    let what = format!("`{parent}` faces the LAN {net}{}{kind}", router.unwrap_or_default());
    Finding::fine(CHECK, about, what)
}
