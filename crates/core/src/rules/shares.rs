//! How users other than root share the addresses that a network hands out. What root's names have or keep is root's; of
//! the rest each user has an equal share, which nobody else gets. So one user's names, of which as many are remembered as
//! a small range has addresses, do not keep others off the network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::identity::Mark;
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::name::EndpointName;

/// Where a network hands out more addresses than this, users do not run short of them: each has few containers and names.
const MANY: u128 = 1 << 12;

/// The addresses of one family that a network hands out, and the share of each user.
pub(crate) struct Shares<'a> {
    state: &'a State,
    ips: Vec<IpAddr>,
    /// The users among whom they are shared.
    users: BTreeSet<u32>,
    /// How many addresses each of them may have.
    pub(crate) each: usize,
}

impl State {
    /// How users share a family's addresses of a network. `None` if nobody can run short of them, or none are handed out.
    ///
    /// A share has whoever is allowed the network by his user id, and whoever has a container on it. Where groups are
    /// allowed it, nobody knows who is in them: then whoever has a name on it has a share too, and one is left for the next
    /// one who comes.
    pub(crate) fn shares(&self, network: &Network, family: Family) -> Option<Shares<'_>> {
        let subnets = || network.handed_out().filter(|subnet| Family::of(subnet.net.addr()) == family);
        let size: u128 = subnets().map(|subnet| subnet.pool().len()).sum();
        if size == 0 || size > MANY {
            return None;
        }
        let all = subnets().flat_map(|subnet| {
            let pool = subnet.pool();
            pool.from_offset(0).take(pool.len() as usize).filter(|ip| subnet.never(*ip).is_none())
        });
        let ips: Vec<IpAddr> = all.filter(|ip| !self.is_roots(*ip)).collect();
        let mut users = network.allowed.users.clone();
        users.extend(self.endpoints_on(&network.name).filter_map(|endpoint| endpoint.name.user()));
        let by_group = !network.allowed.groups.is_empty();
        if by_group {
            let scope = State::scope(network);
            let names = self.identities.keys().filter(|(of, _)| *of == scope);
            users.extend(names.filter_map(|(_, name)| name.user()));
        }
        let each = ips.len() / (users.len() + usize::from(by_group)).max(1);
        Some(Shares { state: self, ips, users, each: each.max(1) })
    }

    /// Whether a container or a name of root's has an address.
    fn is_roots(&self, ip: IpAddr) -> bool {
        let is_held = self.holder(ip).is_some_and(|holder| holder.name.user().is_none());
        is_held || self.identities.with(Mark::Ip(ip)).any(|((_, name), _)| name.user().is_none())
    }
}

impl Shares<'_> {
    /// How many of the addresses a user's containers have, beside one of a name.
    pub(crate) fn held(&self, uid: u32, network: &Network, beside: &EndpointName) -> usize {
        let is_his = |ip: &&IpAddr| {
            self.state.holder(**ip).is_some_and(|holder| {
                holder.name.user() == Some(uid) && (holder.network != network.name || holder.name != *beside)
            })
        };
        self.ips.iter().filter(is_his).count()
    }

    /// How many of the addresses a user's containers have or his names keep.
    fn of(&self, uid: u32) -> usize {
        let is_his = |ip: &&IpAddr| {
            let keeps =
                || self.state.identities.with(Mark::Ip(**ip)).any(|((_, name), _)| name.user() == Some(uid));
            self.state.holder(**ip).is_some_and(|holder| holder.name.user() == Some(uid)) || keeps()
        };
        self.ips.iter().filter(is_his).count()
    }

    /// The users whose names keep more than their share, as seen by a user who has less than his: he may have what they
    /// keep, and do not use. Nobody is left a share who may not use the network any more.
    pub(crate) fn give_way_to(&self, uid: u32) -> BTreeSet<u32> {
        if self.of(uid) >= self.each {
            return BTreeSet::new();
        }
        let keepers = self.ips.iter().flat_map(|ip| self.state.identities.with(Mark::Ip(*ip)));
        let keepers: BTreeSet<u32> = keepers.filter_map(|((_, name), _)| name.user()).collect();
        let has_too_many = |other: &u32| !self.users.contains(other) || self.of(*other) > self.each;
        keepers.into_iter().filter(|other| *other != uid && has_too_many(other)).collect()
    }
}

#[cfg(test)]
mod tests {
    use ashore_wire::Mac;

    use super::*;
    use crate::model::endpoint::Endpoint;
    use crate::model::identity::Seed;
    use crate::model::state::Change;
    use crate::model::users::User;
    use crate::net::observed::View;
    use crate::rules::addresses_in_use::AddressesInUse;
    use crate::rules::create::NetworkSpec;
    use crate::rules::users::{Asked, UserError};

    /// Six addresses, one of which is the router's.
    fn state(allowed: &str) -> State {
        let spec = format!(
            r#"{{"name":"lan","parent":"eth0","subnets":["10.0.0.0/29"],"gateways":["10.0.0.1"],"allowed":{allowed}}}"#
        );
        let spec: NetworkSpec = serde_json::from_str(&spec).unwrap();
        let mut state = State::new(Seed([1; 16]));
        state.apply(Change::PutNetwork(spec.network().unwrap()));
        state
    }

    /// A name's next address, or why it gets none.
    fn next(state: &State, name: &str) -> Result<IpAddr, String> {
        let network = state.networks.values().next().unwrap();
        let name = EndpointName::try_from(name.to_owned()).unwrap();
        if let Some(uid) = name.user() {
            let asked = Asked { name: &name, ips: &[], mac: None, client_id: None };
            let user = User { uid, groups: vec![50] };
            let checked = state.check_user(&user, network, &asked, &View::default());
            checked.map_err(|error| {
                assert!(matches!(error, UserError::Share { .. }), "{error}");
                error.to_string()
            })?;
        }
        let (host, heard, answered, held) = Default::default();
        let known = AddressesInUse { host: &host, heard: &heard, answered: &answered, held: &held };
        let mut all = state.candidates(network, &network.subnets[0], Some(&name), &known);
        all.next().ok_or_else(|| "none".to_owned())
    }

    fn put(state: &mut State, name: &str) -> Result<IpAddr, String> {
        let ip = next(state, name)?;
        let last = ip.to_string().rsplit_once('.').unwrap().1.parse().unwrap();
        let endpoint = Endpoint {
            network: "lan".parse().unwrap(),
            name: name.to_owned().try_into().unwrap(),
            mac: Some(Mac([2, 0, 0, 0, 0, last])),
            addresses: vec![format!("{ip}/29").parse().unwrap()],
            ..crate::rules::learn::tests::endpoint("web")
        };
        for change in state.attached(&endpoint, 1) {
            state.apply(change);
        }
        Ok(ip)
    }

    fn take_off(state: &mut State, name: &str) {
        state.apply(Change::DelEndpoint(("lan".parse().unwrap(), name.to_owned().try_into().unwrap())));
    }

    #[test]
    fn names_keep_no_more_of_a_small_range_than_their_users_share() {
        let mut state = state(r#"{"users":[1000,1001]}"#);
        // One after the other, so that each name gets an address of its own.
        for number in 0..40 {
            let name = format!("1000/c{number}");
            put(&mut state, &name).unwrap();
            take_off(&mut state, &name);
        }
        let first = put(&mut state, "1001/web").unwrap();
        let second = put(&mut state, "1001/db").unwrap();
        assert_ne!(first, second);
        assert_eq!(put(&mut state, "1001/third").unwrap_err(), Share(2).text(1001));
        // What she used last is hers.
        put(&mut state, "1000/c39").unwrap();
        put(&mut state, "1000/c38").unwrap();
        assert_eq!(put(&mut state, "1000/more").unwrap_err(), Share(2).text(1000));
        // His names have what they had.
        for name in ["1001/web", "1001/db"] {
            take_off(&mut state, name);
        }
        assert_eq!((put(&mut state, "1001/db"), put(&mut state, "1001/web")), (Ok(second), Ok(first)));
    }

    struct Share(usize);

    impl Share {
        fn text(&self, uid: u32) -> String {
            UserError::Share { uid, network: "lan".into(), share: self.0 }.to_string()
        }
    }

    #[test]
    fn whoever_is_alone_has_all_and_what_is_roots_is_shared_with_nobody() {
        let mut state = state(r#"{"users":[1000]}"#);
        for name in ["1000/a", "1000/b", "web", "1000/c", "1000/d"] {
            put(&mut state, name).unwrap();
        }
        assert_eq!(put(&mut state, "1000/e").unwrap_err(), Share(4).text(1000));
        assert!(put(&mut state, "db").is_err());
        // What root's name keeps is not for users, whatever share they lack.
        take_off(&mut state, "web");
        assert!(put(&mut state, "1000/e").is_err() && put(&mut state, "db").is_ok());
    }

    #[test]
    fn where_a_group_is_allowed_one_share_is_left_for_the_next_of_it() {
        let mut state = state(r#"{"groups":[50]}"#);
        for name in ["1000/a", "1000/b", "1000/c"] {
            // Nobody was seen before the first, and then there is one user, and one more may come.
            let has = put(&mut state, name);
            assert_eq!(has.is_ok(), name != "1000/c", "{name} {has:?}");
        }
        put(&mut state, "1001/a").unwrap();
        assert!(put(&mut state, "1001/b").is_err(), "a third may come");
        put(&mut state, "1002/a").unwrap();
        put(&mut state, "1003/a").unwrap();
        assert_eq!(put(&mut state, "1004/a").unwrap_err(), "none", "five have five");
    }

    #[test]
    fn whoever_may_no_longer_has_nothing_kept() {
        let mut state = state(r#"{"users":[1000,1001]}"#);
        for name in ["1000/a", "1000/b"] {
            put(&mut state, name).unwrap();
            take_off(&mut state, name);
        }
        for name in ["w", "x", "y"] {
            put(&mut state, name).unwrap();
        }
        put(&mut state, "1001/a").unwrap();
        assert_eq!(put(&mut state, "1001/b").unwrap_err(), Share(1).text(1001));
        let mut network = state.networks.values().next().unwrap().clone();
        network.allowed.users.remove(&1000);
        state.apply(Change::PutNetwork(network));
        assert!(put(&mut state, "1001/b").is_ok());
    }
}
