//! What a user other than root may do: put containers of his own on a network that root has allowed him, under names
//! that are his alone, with addresses that the network hands out.

use std::net::IpAddr;

use ashore_wire::Mac;
use ashore_wire::dhcp4::ClientId;

use crate::model::identity::Scope;
use crate::model::network::{Network, Subnet};
use crate::model::state::{Change, State};
use crate::model::users::{MOST_ENDPOINTS, MOST_NAMES_OF_USER, User};
use crate::net::family::Family;
use crate::net::name::{EndpointName, NetworkName};
use crate::net::observed::View;
use crate::net::option::{CLIENT_ID, MAC};
use crate::net::remedy::Remedy;
use crate::net::text::list;

/// Why a user other than root is refused. What there is besides his own is not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Root has not allowed him the network, or there is none of this name.
    #[error("user {uid} may not use a network `{network}`: root has to allow it")]
    NotAllowed {
        /// The user.
        uid: u32,
        /// The name that he gave.
        network: NetworkName,
    },
    /// He has as many containers on the LAN as a user may have.
    #[error("user {uid} has {MOST_ENDPOINTS} containers on the LAN, and may have no more at a time")]
    TooMany {
        /// The user.
        uid: u32,
    },
    /// His containers have as many of the network's addresses as each user's may have.
    #[error(
        "user {uid} has {share} of the addresses of network `{network}`, which is each user's share of them"
    )]
    Share {
        /// The user.
        uid: u32,
        /// The network.
        network: String,
        /// How many that is.
        share: usize,
    },
    /// He asks for an address that the network does not hand out, or that is kept for somebody else.
    #[error("user {uid} may not choose {ip} on network `{network}`{}", allowed(ranges.as_deref()))]
    Address {
        /// The user.
        uid: u32,
        /// The address.
        ip: IpAddr,
        /// The network.
        network: String,
        /// What the network hands out, if the address is not of that.
        ranges: Option<String>,
    },
    /// He asks for a MAC that may be another machine's.
    #[error("user {uid} may not choose the MAC {mac}: it is a manufacturer's, or somebody else's")]
    Mac {
        /// The user.
        uid: u32,
        /// The MAC.
        mac: Mac,
    },
    /// He asks for a client identifier, by which he could take the lease of any machine.
    #[error("user {uid} may not choose a DHCP client identifier: it may be another machine's")]
    ClientId {
        /// The user.
        uid: u32,
    },
}

/// What a user asks for.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a EndpointName,
    pub(crate) ips: &'a [IpAddr],
    pub(crate) mac: Option<Mac>,
    pub(crate) client_id: Option<&'a ClientId>,
}

fn allowed(ranges: Option<&str>) -> String {
    match ranges {
        Some("none") => ": it hands out no addresses of its own".to_owned(),
        Some(ranges) => format!(": it hands out {ranges}"),
        None => ": it is kept for another container".to_owned(),
    }
}

impl UserError {
    /// What helps.
    pub fn remedy(&self) -> Remedy {
        match self {
            UserError::NotAllowed { uid, network } => Remedy::from("as root, ")
                .and_run(format!("ashore network create {network} --allow-user {uid}"))
                .and(", or if that network is there: ")
                .and_run(format!("ashore network allow {network} --user {uid}")),
            UserError::TooMany { .. } => "stop one that is no longer needed".into(),
            UserError::Share { .. } => {
                "stop one that is no longer needed, or have root make a network with a larger range".into()
            }
            UserError::Address { .. } => {
                "let Ashore choose the address, which stays with the container's name, or choose a free one of those".into()
            }
            UserError::ClientId { .. } => Remedy::unset(&CLIENT_ID).and(": each name has one of its own"),
            UserError::Mac { .. } => {
                Remedy::unset(&MAC).and(", or choose a locally administered one that is free, such as 02:00:00:00:00:01")
            }
        }
    }
}

impl State {
    /// The network of a name, if root has allowed it to a user.
    pub fn allowed_network(&self, user: &User, name: &NetworkName) -> Result<&Network, UserError> {
        let network = self.network_called(name);
        network
            .filter(|network| network.admits(user))
            .ok_or_else(|| UserError::NotAllowed { uid: user.uid, network: name.clone() })
    }

    /// Whether root has allowed any network to a user.
    pub fn allows_anything(&self, user: &User) -> bool {
        self.networks.values().any(|network| network.admits(user))
    }

    /// Checks what a user asks for.
    pub(crate) fn check_user(
        &self,
        user: &User,
        network: &Network,
        asked: &Asked<'_>,
        host: &View,
    ) -> Result<(), UserError> {
        let (uid, name) = (user.uid, asked.name);
        if !network.admits(user) || !user.has_name(name) {
            return Err(UserError::NotAllowed { uid, network: network.name.clone() });
        }
        let key = (network.name.clone(), name.clone());
        let others = self.endpoints.keys().filter(|other| user.has_name(&other.1) && **other != key);
        if others.count() >= MOST_ENDPOINTS {
            return Err(UserError::TooMany { uid });
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            if let Some(shares) = self.shares(network, family)
                && shares.held(uid, network, name) >= shares.each
            {
                let share = shares.each;
                return Err(UserError::Share { uid, network: network.label().to_owned(), share });
            }
        }
        for ip in asked.ips {
            self.check_users_address(uid, network, name, *ip)?;
        }
        if asked.client_id.is_some() {
            return Err(UserError::ClientId { uid });
        }
        match asked.mac {
            Some(mac) if !mac.is_local() || self.is_kept_mac(network, name, mac, host) => {
                Err(UserError::Mac { uid, mac })
            }
            _ => Ok(()),
        }
    }

    fn check_users_address(
        &self,
        uid: u32,
        network: &Network,
        name: &EndpointName,
        ip: IpAddr,
    ) -> Result<(), UserError> {
        let refused = |ranges| UserError::Address { uid, ip, network: network.label().to_owned(), ranges };
        if !network.handed_out().any(|subnet| subnet.pool().contains(ip)) {
            return Err(refused(Some(list(network.handed_out().map(Subnet::pool)))));
        }
        let is_others =
            self.holder(ip).is_some_and(|holder| holder.key() != (network.name.clone(), name.clone()));
        if is_others || self.is_another_names(network, name, ip) { Err(refused(None)) } else { Ok(()) }
    }

    /// Whether a MAC is another endpoint's, is remembered for another name, or is on a link of the host.
    fn is_kept_mac(&self, network: &Network, name: &EndpointName, mac: Mac, host: &View) -> bool {
        let own = self.endpoints.get(&(network.name.clone(), name.clone()));
        let is_own = own.is_some_and(|own| own.macs().any(|its| its == mac));
        !is_own && (self.known_as(mac, host).is_some() || self.is_another_names_mac(network, name, mac))
    }

    /// The changes that go with others to identities, so that no more than a few names are remembered of each user: he
    /// may make up as many as he likes, and must not have those of others forgotten.
    pub(crate) fn forget_of_user(&self, changes: &[Change], name: &EndpointName) -> Vec<Change> {
        let Some(uid) = name.user() else { return Vec::new() };
        let is_touched = |key: &&(Scope, EndpointName)| {
            changes.iter().any(|change| match change {
                Change::PutIdentity(scope, name, _) | Change::DelIdentity(scope, name) => {
                    (scope, name) == (&key.0, &key.1)
                }
                _ => false,
            })
        };
        let his = self.identities.iter().filter(|((_, name), _)| name.user() == Some(uid));
        let others: Vec<_> = his.filter(|(key, _)| !is_touched(key)).collect();
        let above = (others.len() + 1).saturating_sub(MOST_NAMES_OF_USER);
        let mut away: Vec<_> =
            others.into_iter().filter(|((scope, name), _)| !self.is_attached(scope, name)).collect();
        away.sort_by_key(|(_, identity)| identity.last_use());
        let gone = away.into_iter().take(above);
        gone.map(|((scope, name), _)| Change::DelIdentity(scope.clone(), name.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::Endpoint;
    use crate::model::identity::{Identity, Seed};
    use crate::rules::addresses_in_use::AddressesInUse;
    use crate::rules::create::NetworkSpec;

    fn user(uid: u32) -> User {
        User { uid, groups: vec![uid] }
    }

    /// A network that is allowed to user 1000, with a range, on which root has the container `web`.
    fn state() -> State {
        let spec = r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.32/28"],
            "gateways":["192.168.88.1"],"allowed":{"users":[1000]}}"#;
        let spec: NetworkSpec = serde_json::from_str(spec).unwrap();
        let mut state = State::new(Seed([1; 16]));
        state.apply(Change::PutNetwork(spec.network().unwrap()));
        put(&mut state, "web", 33);
        state
    }

    fn put(state: &mut State, name: &str, last: u8) {
        let endpoint = Endpoint {
            network: "lan".parse().unwrap(),
            name: name.to_owned().try_into().unwrap(),
            mac: Some(Mac([2, 0, 0, 0, 0, last])),
            addresses: vec![format!("192.168.88.{last}/24").parse().unwrap()],
            ..crate::rules::learn::tests::endpoint("web")
        };
        for change in state.attached(&endpoint, 1) {
            state.apply(change);
        }
    }

    fn checks(state: &State, uid: u32, name: &str, ip: &str, mac: &str) -> Result<(), UserError> {
        let network = state.networks.values().next().unwrap();
        let asked = Asked {
            name: &name.to_owned().try_into().unwrap(),
            ips: &ip.parse().into_iter().collect::<Vec<_>>(),
            mac: mac.parse().ok(),
            client_id: None,
        };
        state.check_user(&user(uid), network, &asked, &View::default())
    }

    #[test]
    fn a_user_has_what_root_has_allowed_him_and_nothing_of_others() {
        let mut state = state();
        let may = |state: &State, ip: &str, mac: &str| checks(state, 1000, "1000/web", ip, mac).is_ok();
        assert!(may(&state, "", ""));
        assert!(may(&state, "192.168.88.40", "02:00:00:00:00:07"));
        for ip in ["192.168.88.31", "192.168.88.48", "192.168.88.1", "10.0.0.1", "fd00::1"] {
            assert!(!may(&state, ip, ""), "{ip} is not of the range");
        }
        assert!(!may(&state, "192.168.88.33", ""), "root's container has it");
        assert!(!may(&state, "", "02:00:00:00:00:21"), "root's container has it");
        assert!(!may(&state, "", "00:11:22:33:44:55"), "a manufacturer's");
        let web = state.endpoints.keys().next().unwrap().clone();
        state.apply(Change::DelEndpoint(web));
        assert!(!may(&state, "192.168.88.33", ""), "root's name keeps it");
        assert!(!may(&state, "", "02:00:00:00:00:21"), "root's name keeps it");

        for (uid, name) in [(1000, "web"), (1000, "1001/web"), (1001, "1001/web")] {
            let refused = checks(&state, uid, name, "", "");
            assert!(matches!(refused, Err(UserError::NotAllowed { .. })), "{uid} {name}: {refused:?}");
        }
        let lan: NetworkName = "lan".parse().unwrap();
        assert!(state.allowed_network(&user(1000), &lan).is_ok() && state.allows_anything(&user(1000)));
        assert!(state.allowed_network(&user(1001), &lan).is_err() && !state.allows_anything(&user(1001)));
        assert!(state.allowed_network(&user(1000), &"dmz".parse().unwrap()).is_err());
    }

    #[test]
    fn a_user_gets_no_address_that_a_name_of_others_keeps() {
        let mut state = state();
        for last in 34..47 {
            put(&mut state, &format!("c{last}"), last);
        }
        put(&mut state, "1000/c47", 47);
        put(&mut state, "1000/c32", 32);
        let all: Vec<_> = state.endpoints.keys().cloned().collect();
        for key in all {
            state.apply(Change::DelEndpoint(key));
        }
        let network = state.networks.values().next().unwrap();
        let (host, heard, answered, held) = Default::default();
        let known = AddressesInUse { host: &host, heard: &heard, answered: &answered, held: &held };
        let gets = |name: &str| -> Vec<String> {
            let name = EndpointName::try_from(name.to_owned()).unwrap();
            let all = state.candidates(network, &network.subnets[0], Some(&name), &known);
            all.map(|ip| ip.to_string()).collect()
        };
        assert_eq!(gets("1000/web"), ["192.168.88.47", "192.168.88.32"], "his own names have released them");
        assert!(gets("1001/web").is_empty());
        assert_eq!(gets("other").len(), 16);
    }

    #[test]
    fn a_user_has_so_many_containers_and_no_more() {
        let mut state = state();
        for number in 0..15 {
            put(&mut state, &format!("1000/c{number}"), 100 + number);
            put(&mut state, &format!("1001/c{number}"), 150 + number);
        }
        assert!(checks(&state, 1000, "1000/web", "", "").is_ok(), "others' do not count");
        put(&mut state, "1000/c15", 115);
        assert_eq!(checks(&state, 1000, "1000/web", "", ""), Err(UserError::TooMany { uid: 1000 }));
        assert!(checks(&state, 1000, "1000/c3", "", "").is_ok(), "it is one of them");
    }

    #[test]
    fn the_names_that_a_user_makes_up_have_nothing_of_others_forgotten() {
        let mut state = state();
        let names = |state: &State, uid: Option<u32>| {
            state.identities.keys().filter(|(_, name)| name.user() == uid).count()
        };
        put(&mut state, "1001/web", 34);
        put(&mut state, "1000/stays", 35);
        for number in 0..200_u32 {
            let name = format!("1000/c{number}");
            put(&mut state, &name, 100 + (number % 100) as u8);
            state.apply(Change::DelEndpoint(("lan".parse().unwrap(), name.try_into().unwrap())));
        }
        assert_eq!(names(&state, Some(1000)), MOST_NAMES_OF_USER);
        assert_eq!((names(&state, Some(1001)), names(&state, None)), (1, 1));
        let last = |name: &str| {
            let key = (Scope("lan".into()), EndpointName::try_from(name.to_owned()).unwrap());
            state.identities.get(&key).is_some_and(|identity: &Identity| identity.mac.is_some())
        };
        assert!(last("1000/c199") && last("1000/stays") && !last("1000/c0"));
    }
}
