//! What an engine means that has Ashore attach its containers: the network, by the engine's id or by its name, and
//! what a container has left of earlier attachments.

use crate::model::endpoint::Endpoint;
use crate::model::network::Network;
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::link::Netns;
use crate::net::name::NetworkName;
use crate::rules::attach::{AttachSpec, Caller};
use crate::rules::create::NetworkSpec;

impl State {
    /// The network that a request for one means: the one that the engine has made, or else the one of this name,
    /// whoever has made it.
    pub fn meant_by(&self, spec: &NetworkSpec) -> Option<&Network> {
        match &spec.engine {
            Some(engine) => self.meant_by_engine(engine.kind, &engine.id, &spec.name),
            None => self.network_called(&spec.name),
        }
    }

    /// The network that an engine knows by an id and a name.
    pub fn meant_by_engine(&self, kind: EngineKind, id: &str, name: &NetworkName) -> Option<&Network> {
        let own = |network: &&Network| {
            network.engine.as_ref().is_some_and(|engine| engine.kind == kind && engine.id == id)
        };
        self.networks.values().find(own).or_else(|| self.network_called(name))
    }

    /// The endpoints that are in the way of an attach because its container has left them: it was on the network in
    /// another namespace, under another name or by another link of the same name, or its name's last endpoint was
    /// taken off a moment ago.
    pub fn left_by<'a>(
        &'a self,
        attach: &'a AttachSpec,
        caller: &'a Caller,
        netns: &'a Netns,
    ) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints_on(&attach.network).filter(move |there| {
            let is_here = there.netns() == Some(netns);
            let is_same_link = attach.is_of_link(there, netns);
            let is_its = there.is_of(caller.engine.into(), &caller.container);
            if is_same_link && there.name == attach.name {
                // It is what is asked for, or another address is asked for than it had when it was taken off, or the
                // namespace has the number of one that has ended.
                let is_podmans = there.ownership == EngineKind::Podman.into();
                let is_others = caller.engine == EngineKind::Podman && is_podmans && !is_its;
                return is_others || there.leaves() && !attach.is_met_by(there);
            }
            is_its && (!is_here || is_same_link) || there.name == attach.name && there.leaves()
        })
    }
    /// The endpoint of another container of Podman's that has the name in another namespace. Podman gives a name to
    /// one container at a time, so that one was renamed, or is no more.
    pub fn rival_of(&self, attach: &AttachSpec, caller: &Caller, netns: &Netns) -> Option<&Endpoint> {
        let there = self.endpoints.get(&(attach.network.clone(), attach.name.clone()))?;
        let is_other = caller.engine == EngineKind::Podman
            && there.ownership == caller.engine.into()
            && there.netns() != Some(netns)
            && there.container.as_ref().is_some_and(|container| container.id != caller.container);
        (is_other && !there.leaves()).then_some(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::{Container, Placement};
    use crate::model::lease::LeaseWishes;
    use crate::model::own_routes::OwnRoutes;
    use crate::model::ownership::Ownership;
    use crate::model::state::Change;

    fn netns(number: u64) -> Netns {
        Netns::new(format!("/run/netns/{number}").into(), 4, number)
    }

    #[test]
    fn what_a_container_has_left_is_known_by_the_container_and_nothing_else_is() {
        let of = |name: &str, id: &str, place: u64, ifname: &str, leaves: bool| Endpoint {
            name: name.parse().unwrap(),
            ownership: Ownership::Podman,
            placement: Placement::Netns { netns: netns(place), ifname: ifname.parse().unwrap() },
            container: Some(Box::new(Container { id: id.into(), leaves, netns: None })),
            ..crate::rules::learn::tests::endpoint(name)
        };
        let wants = |ip: &str, there: Endpoint| {
            let network = there.network.clone();
            let mut state = State::new(crate::model::identity::Seed([1; 16]));
            state.apply(Change::PutEndpoint(there));
            let caller = Caller {
                engine: EngineKind::Podman,
                container: "c1".into(),
                patience: None,
                user: None,
                opened: None,
            };
            let attach = AttachSpec {
                network,
                name: "web".parse().unwrap(),
                netns: "/run/netns/1".into(),
                ips: ip.parse().into_iter().collect(),
                mac: None,
                ifname: "eth0".parse().unwrap(),
                default_route: true,
                own_routes: OwnRoutes::default(),
                unaddressed: false,
                only_requested: false,
                wishes: LeaseWishes::default(),
                caller: Some(caller.clone()),
            };
            state.left_by(&attach, &caller, &netns(1)).cloned().collect::<Vec<_>>()
        };
        let left = |there: Endpoint| wants("", there).len() == 1;
        assert!(!left(of("web", "c1", 1, "eth0", true)), "it is what is asked for");
        let other = Endpoint {
            addresses: vec!["192.168.88.99/24".parse().unwrap()],
            ..of("web", "c1", 1, "eth0", true)
        };
        assert!(wants("192.168.88.32", of("web", "c1", 1, "eth0", false)).is_empty(), "it is there");
        assert_eq!(
            wants("192.168.88.32", other).len(),
            1,
            "it was taken off, and comes back with another address"
        );
        assert!(left(of("web", "c0", 1, "eth0", false)), "another container had a namespace of that number");
        let typed =
            Endpoint { ownership: Ownership::Cli, container: None, ..of("web", "", 1, "eth0", false) };
        assert!(!left(typed), "the user of the command line has the link");
        assert!(left(of("web", "c1", 2, "eth0", false)), "the container has started again");
        assert!(left(of("www", "c1", 2, "eth0", false)), "and has another name");
        assert!(left(of("www", "c1", 1, "eth0", false)), "it has another name");
        assert!(!left(of("web-2", "c1", 1, "eth1", false)), "a second link of the container");
        assert!(left(of("web", "c0", 2, "eth0", true)), "the last container of the name is going");
        assert!(!left(of("web", "c0", 2, "eth0", false)), "another container has the name");
        assert!(!left(of("db", "c0", 2, "eth0", true)), "another name");
        let docker = Endpoint { ownership: Ownership::Docker, ..of("www", "c1", 2, "eth0", false) };
        assert!(!left(docker), "another engine's id");
    }
}
