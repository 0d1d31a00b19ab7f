//! What the user wants DHCP servers to be told of a container, and whether that can be.

use ashore_wire::dhcp4::ClientId;

use crate::model::endpoint::Endpoint;
use crate::model::lease::LeaseWishes;
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::name::EndpointName;
use crate::net::option::{CLIENT_ID, DHCP, NetworkOption, OWN_HOSTNAME};
use crate::net::remedy::Remedy;

/// Why DHCP servers cannot be told what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// Another endpoint has the client identifier.
    #[error(
        "the DHCP client identifier {id} is that of `{holder}` on network `{network}`, and a server would give both one address"
    )]
    ClientIdTaken {
        /// The client identifier.
        id: ClientId,
        /// The endpoint that has it.
        holder: EndpointName,
        /// The network of that endpoint.
        network: String,
    },
    /// Something is to be told to DHCP servers, and none is asked.
    #[error("`{}` is for DHCP servers, and network `{network}` asks none", option.flag)]
    AsksNoServer {
        /// What is to be told.
        option: &'static NetworkOption,
        /// The network.
        network: String,
    },
}

impl WishError {
    /// What helps.
    pub fn remedy(&self) -> Remedy {
        match self {
            WishError::ClientIdTaken { .. } => Remedy::from("choose another, or ")
                .and_unset(&CLIENT_ID)
                .and(": each name has one of its own"),
            WishError::AsksNoServer { option, .. } => {
                Remedy::unset(option).and(", or create the network with ").and_give(&DHCP)
            }
        }
    }
}

impl State {
    /// What DHCP servers are told of a name: what its user wants now, and the client identifier that he chose before.
    /// Refuses an identifier that another endpoint has.
    pub fn lease_wishes(
        &self,
        network: &Network,
        name: &EndpointName,
        asked: &LeaseWishes,
    ) -> Result<LeaseWishes, WishError> {
        if !network.asks_servers() {
            let said = [(&OWN_HOSTNAME, asked.hostname.is_some()), (&CLIENT_ID, asked.client_id.is_some())];
            return match said.into_iter().find(|(_, said)| *said) {
                None => Ok(LeaseWishes::default()),
                Some((option, _)) => {
                    Err(WishError::AsksNoServer { option, network: network.label().to_owned() })
                }
            };
        }
        let before = self.identity_of(network, name).and_then(|own| own.client_id.as_ref());
        let client_id = asked.client_id.as_ref().or(before);
        let is_other = |there: &&Endpoint| (&there.network, &there.name) != (&network.name, name);
        match client_id.and_then(|id| Some((id, self.endpoints_by(id).find(is_other)?))) {
            None => Ok(LeaseWishes { hostname: asked.hostname.clone(), client_id: client_id.cloned() }),
            Some((id, there)) => Err(WishError::ClientIdTaken {
                id: id.clone(),
                holder: there.name.clone(),
                network: self.network_of(there).map_or_else(String::new, |other| other.label().to_owned()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{Identity, Scope, Seed};
    use crate::model::state::Change;
    use crate::net::told::client_id;
    use crate::rules::create::NetworkSpec;

    fn network(more: &str) -> Network {
        let spec = format!(r#"{{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"]{more}}}"#);
        serde_json::from_str::<NetworkSpec>(&spec).unwrap().network().unwrap()
    }

    fn endpoint(name: &str, wishes: LeaseWishes) -> Endpoint {
        let text = format!(
            r#"{{"network":"lan","name":"{name}","mac":null,"addresses":[],"source":"lease","default_route":true,
                "home":{{"netns":{{"netns":{{"path":"/run/netns/{name}","dev":1,"ino":1}},"ifname":"eth0"}}}},
                "stage":"attached","since":1}}"#
        );
        Endpoint { wishes, ..serde_json::from_str(&text).unwrap() }
    }

    #[test]
    fn a_name_keeps_the_client_identifier_that_was_chosen_and_no_two_endpoints_have_one() {
        let lan = network(r#","addressing":"dhcp""#);
        let mut state = State::new(Seed([7; 16]));
        state.apply(Change::PutNetwork(lan.clone()));
        let (web, db): (EndpointName, EndpointName) = ("web".parse().unwrap(), "db".parse().unwrap());
        let chosen = client_id("nas-1").unwrap();
        let asked = LeaseWishes { client_id: Some(chosen.clone()), ..LeaseWishes::default() };
        assert_eq!(state.lease_wishes(&lan, &web, &asked), Ok(asked.clone()));
        for change in state.attached(&endpoint("web", asked.clone()), 1) {
            state.apply(change);
        }
        assert_eq!(state.lease_wishes(&lan, &web, &asked), Ok(asked.clone()), "it is its own");
        let taken =
            WishError::ClientIdTaken { id: chosen.clone(), holder: web.clone(), network: "lan".into() };
        assert_eq!(state.lease_wishes(&lan, &db, &asked), Err(taken));
        for change in state.detached(&endpoint("web", asked.clone()), 2) {
            state.apply(change);
        }
        let again = state.lease_wishes(&lan, &web, &LeaseWishes::default());
        assert_eq!(again, Ok(asked.clone()), "it comes back as what it was");
        assert_eq!(state.client_id(&lan, &web), chosen);
        assert!(ashore_wire::dhcp6::Config::of(&state.client_id6(&lan, &web)).is_some());
        // Whoever is given it has it from then on.
        for change in state.attached(&endpoint("db", asked.clone()), 3) {
            state.apply(change);
        }
        assert_eq!(state.lease_wishes(&lan, &web, &LeaseWishes::default()), Ok(LeaseWishes::default()));
        assert_ne!(state.client_id(&lan, &web), chosen);
        let own = &state.identities.get(&(Scope("lan".into()), db)).unwrap();
        let without: Identity = serde_json::from_value(
            serde_json::to_value(own)
                .unwrap()
                .as_object_mut()
                .map(|all| {
                    all.remove("client_id");
                    all.clone().into()
                })
                .unwrap(),
        )
        .unwrap();
        assert_eq!(without.client_id, None, "an earlier row has none");
    }

    #[test]
    fn where_no_server_is_asked_none_is_told_anything() {
        let asked = LeaseWishes { hostname: Some("web".parse().unwrap()), client_id: None };
        let state = State::new(Seed([7; 16]));
        let web = "web".parse().unwrap();
        let refused = state.lease_wishes(&network(""), &web, &asked);
        let network_of = |network: &str| network.to_owned();
        assert_eq!(
            refused,
            Err(WishError::AsksNoServer { option: &OWN_HOSTNAME, network: network_of("lan") })
        );
        assert_eq!(
            state.lease_wishes(&network(""), &web, &LeaseWishes::default()),
            Ok(LeaseWishes::default())
        );
        assert_eq!(state.lease_wishes(&network(r#","ipv6":"dhcp""#), &web, &asked), Ok(asked));
    }
}
