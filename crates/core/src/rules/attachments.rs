//! The attachments of an engine that names each by a container and a link: a CNI runtime. A container may be on one
//! network by several links.

use crate::model::endpoint::Endpoint;
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::link::Netns;
use crate::net::name::{EndpointName, IfName};
use crate::rules::attach::{AttachSpec, Caller};

impl State {
    /// The attachments of an engine's container by a link of this name, on whatever networks.
    pub fn attachments<'a>(
        &'a self,
        engine: EngineKind,
        container: &'a str,
        ifname: &'a IfName,
    ) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| {
            endpoint.is_of(engine.into(), container) && endpoint.known_inside() == Some(ifname)
        })
    }

    /// The attachments of an engine whose containers' ids begin with `of`, except those that the engine still has.
    pub fn attachments_beside<'a>(
        &'a self,
        engine: EngineKind,
        of: &'a str,
        keep: &'a [(String, IfName)],
    ) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| {
            let Some(container) = endpoint.container.as_ref().filter(|there| there.id.starts_with(of)) else {
                return false;
            };
            let is_kept = |(id, ifname): &(String, IfName)| {
                *id == container.id && Some(ifname) == endpoint.known_inside()
            };
            endpoint.ownership.engine() == Some(engine) && !keep.iter().any(is_kept)
        })
    }

    /// What is there already of an attachment that is asked for. An engine of this kind asks for each once, and must
    /// be told of a repetition.
    pub fn repeated<'a>(
        &'a self,
        caller: &'a Caller,
        ifname: &'a IfName,
        netns: &Netns,
    ) -> Option<&'a Endpoint> {
        let its = self.attachments(caller.engine, &caller.container, ifname);
        its.filter(|_| caller.engine == EngineKind::Cni)
            .find(|there| there.netns() == Some(netns) && !there.leaves())
    }

    /// The name under which a container is attached: its own, or if it is on the network by another link already, its
    /// own with the link's and with a hash of both, which no container has by chance.
    pub fn name_beside_other_links(&self, attach: &AttachSpec, netns: &Netns) -> EndpointName {
        let there = self.endpoints.get(&(attach.network.clone(), attach.name.clone()));
        let is_here = |there: &Endpoint| match &attach.caller {
            Some(caller) if there.is_lent() => there.is_of(caller.engine.into(), &caller.container),
            _ => there.netns() == Some(netns),
        };
        let is_other_link = |there: &&Endpoint| {
            is_here(there) && there.known_inside() != Some(&attach.ifname) && !there.leaves()
        };
        match there.filter(is_other_link) {
            Some(_) => EndpointName::of_link(&attach.name, &attach.ifname),
            None => attach.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::{Container, Placement};
    use crate::model::identity::Seed;
    use crate::model::lease::LeaseWishes;
    use crate::model::own_routes::OwnRoutes;
    use crate::model::ownership::Ownership;
    use crate::model::state::Change;

    fn netns(number: u64) -> Netns {
        Netns::new(format!("/run/netns/{number}").into(), 4, number)
    }

    fn state(there: &[(&str, &str, &str, u64)]) -> State {
        let mut state = State::new(Seed([1; 16]));
        for (name, container, ifname, place) in there {
            state.apply(Change::PutEndpoint(Endpoint {
                name: name.parse().unwrap(),
                ownership: Ownership::Cni,
                placement: Placement::Netns { netns: netns(*place), ifname: ifname.parse().unwrap() },
                container: Some(Box::new(Container { id: (*container).into(), leaves: false, netns: None })),
                ..crate::rules::learn::tests::endpoint(name)
            }));
        }
        state
    }

    fn names<'a>(found: impl Iterator<Item = &'a Endpoint>) -> Vec<&'a str> {
        found.map(|endpoint| endpoint.name.as_str()).collect()
    }

    #[test]
    fn an_attachment_is_a_container_and_a_link() {
        let state = state(&[
            ("web", "lan/1", "eth0", 1),
            ("web-net1", "lan/1", "net1", 1),
            ("db", "lan/2", "eth0", 2),
        ]);
        let (eth0, net1): (IfName, IfName) = ("eth0".parse().unwrap(), "net1".parse().unwrap());
        assert_eq!(names(state.attachments(EngineKind::Cni, "lan/1", &net1)), ["web-net1"]);
        assert!(names(state.attachments(EngineKind::Podman, "lan/1", &net1)).is_empty());

        let keep = [("lan/1".to_owned(), eth0.clone())];
        assert_eq!(names(state.attachments_beside(EngineKind::Cni, "lan/", &keep)), ["db", "web-net1"]);
        assert!(names(state.attachments_beside(EngineKind::Cni, "la/", &[])).is_empty());
        assert!(names(state.attachments_beside(EngineKind::Podman, "lan/", &[])).is_empty());

        let caller =
            |engine| Caller { engine, container: "lan/1".into(), patience: None, user: None, opened: None };
        assert!(state.repeated(&caller(EngineKind::Cni), &eth0, &netns(1)).is_some());
        assert!(state.repeated(&caller(EngineKind::Cni), &eth0, &netns(3)).is_none(), "it has started again");
        assert!(state.repeated(&caller(EngineKind::Podman), &eth0, &netns(1)).is_none());
    }

    #[test]
    fn a_second_link_of_a_container_has_a_name_of_its_own() {
        let state = state(&[("web", "lan/1", "eth0", 1)]);
        let network = state.endpoints.values().next().unwrap().network.clone();
        let named = |ifname: &str, place: u64| {
            let attach = AttachSpec {
                network: network.clone(),
                name: "web".parse().unwrap(),
                netns: format!("/run/netns/{place}").into(),
                ips: Vec::new(),
                mac: None,
                ifname: ifname.parse().unwrap(),
                default_route: true,
                own_routes: OwnRoutes::default(),
                unaddressed: false,
                only_requested: false,
                wishes: LeaseWishes::default(),
                caller: None,
            };
            state.name_beside_other_links(&attach, &netns(place)).to_string()
        };
        assert_eq!(
            named("net1", 1),
            EndpointName::of_link(&"web".parse().unwrap(), &"net1".parse().unwrap()).as_str()
        );
        assert!(named("net1", 1).starts_with("web-net1-"), "{}", named("net1", 1));
        assert_eq!(named("eth0", 1), "web");
        assert_eq!(named("net1", 2), "web", "the container has started again");
    }
}
