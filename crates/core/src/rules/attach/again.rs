//! How an endpoint of the command line's is attached again, as its user asked for it.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use super::AttachSpec;
use crate::model::endpoint::{Endpoint, Placement, Source};
use crate::model::ownership::Ownership;
use crate::net::text::Word;

impl AttachSpec {
    /// The attach that made an endpoint. `None` if its engine attached it, which alone can do that again.
    pub fn again(endpoint: &Endpoint) -> Option<AttachSpec> {
        let Placement::Netns { netns, ifname } = &endpoint.placement else { return None };
        (endpoint.ownership == Ownership::Cli).then(|| AttachSpec {
            network: endpoint.network.clone(),
            name: endpoint.name.clone(),
            netns: netns.path.clone(),
            ips: endpoint.by_user.addresses.clone(),
            mac: endpoint.mac.filter(|_| endpoint.by_user.mac),
            ifname: ifname.clone(),
            default_route: endpoint.default_route,
            own_routes: endpoint.own_routes.clone(),
            unaddressed: endpoint.source == Source::None,
            only_requested: false,
            wishes: endpoint.wishes.clone(),
            caller: None,
        })
    }

    /// The command line of it, to be typed into a shell. Routes of its own and a link without addresses are not the
    /// command line's to ask for.
    pub fn command(&self) -> String {
        let word = |text: &str| Word(text.as_bytes()).to_string();
        let mut line = format!(
            "ashore attach {} --netns {} --name {}",
            word(self.network.as_str()),
            Word(self.netns.as_os_str().as_bytes()),
            word(&self.name.to_string())
        );
        for ip in &self.ips {
            let _ = write!(line, " --ip {ip}");
        }
        if let Some(mac) = self.mac {
            let _ = write!(line, " --mac {mac}");
        }
        if let Some(hostname) = &self.wishes.hostname {
            let _ = write!(line, " --hostname {}", word(&hostname.to_string()));
        }
        if let Some(id) = &self.wishes.client_id {
            let _ = write!(line, " --client-id {}", word(&id.to_string()));
        }
        if self.ifname.bytes().as_ref() != b"eth0" {
            let _ = write!(line, " --ifname {}", self.ifname.word());
        }
        if !self.default_route {
            line.push_str(" --no-default-route");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::own_routes::OwnRoutes;

    #[test]
    fn the_command_says_all_that_its_user_asked_for_and_a_shell_takes_each_for_a_word() {
        let mut spec = AttachSpec {
            network: "lan".parse().unwrap(),
            name: "web".parse().unwrap(),
            netns: "/run/netns/web".into(),
            ips: Vec::new(),
            mac: None,
            ifname: "eth0".parse().unwrap(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            unaddressed: false,
            only_requested: false,
            wishes: crate::model::lease::LeaseWishes::default(),
            caller: None,
        };
        assert_eq!(spec.command(), "ashore attach lan --netns /run/netns/web --name web");
        spec.netns = "/run/my netns/it's".into();
        spec.ips = vec!["192.168.88.7".parse().unwrap()];
        spec.mac = Some(ashore_wire::Mac([2, 0, 0, 0, 0, 7]));
        spec.wishes.client_id = Some(vec![1, 2, 3].try_into().unwrap());
        spec.ifname = "lan0".parse().unwrap();
        spec.default_route = false;
        assert_eq!(
            spec.command(),
            r"ashore attach lan --netns '/run/my netns/it'\''s' --name web --ip 192.168.88.7 --mac 02:00:00:00:00:07 --client-id 01:02:03 --ifname lan0 --no-default-route"
        );
    }
}
