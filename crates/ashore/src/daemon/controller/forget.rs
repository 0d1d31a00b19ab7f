//! Removes what is remembered of a name.

use std::collections::BTreeSet;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::identity::Scope;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::{Change, State};
use ashore_core::net::name::EndpointName;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::Word;

use super::Controller;
use crate::nearest::nearest;
use crate::unlocked::Unlocked;

/// How many names are listed. Up to 4,096 are remembered.
const LISTED: usize = 8;

impl Controller {
    pub(super) fn forget(
        &self,
        unlocked: &mut Unlocked,
        network: Option<&str>,
        name: &EndpointName,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let on = |scope: &Scope| network.is_none_or(|wanted| wanted == scope.label());
        let attached = inner.state().endpoints.values().find(|endpoint| {
            let scope = inner.state().network_of(endpoint).map(State::scope);
            endpoint.name == *name && scope.is_some_and(|scope| on(&scope))
        });
        if let Some(endpoint) = attached {
            let there = inner.state().network_of(endpoint);
            let label = there.map_or(endpoint.network.as_str(), Network::label);
            let (first, word) = (Remedy::from("detach it first: "), Word::of(label));
            let remedy = match endpoint
                .ownership
                .engine()
                .filter(|kind| *kind != EngineKind::Cni)
                .map(EngineKind::program)
            {
                None => first.and_run(format!("ashore detach {word} {name}")),
                Some(engine) => first
                    .and_run(format!("{engine} network disconnect {word} {name}"))
                    .and(", or ")
                    .and_run(format!("{engine} rm -f {name}")),
            };
            return Err(Refusal::new(
                Code::NameAttached,
                About::endpoint(endpoint, inner.state()),
                format!("`{name}` is attached to network `{label}`"),
                Some(remedy),
            ));
        }
        let known = inner.state().identities.iter().filter(|((scope, known), _)| known == name && on(scope));
        let (mut changes, mut dropped) = (Vec::new(), Vec::new());
        for ((scope, name), identity) in known {
            changes.push(Change::DelIdentity(scope.clone(), name.clone()));
            dropped.push((scope.0.clone(), identity.all_addresses().collect()));
        }
        if dropped.is_empty() {
            return Err(Refusal::new(
                Code::NothingRemembered,
                About { endpoint: Some(name.clone()), ..About::default() },
                format!("nothing is remembered for `{name}`"),
                Some(of_what_is_remembered(name, network, inner.state())),
            ));
        }
        inner.commit(changes)?;
        Ok(Reply::Forgotten(dropped))
    }
}

/// What helps somebody who has named nobody: the name that was meant, or those that there are.
fn of_what_is_remembered(name: &EndpointName, network: Option<&str>, state: &State) -> Remedy {
    let is_there = |scope: &Scope| network.is_none_or(|wanted| wanted == scope.label());
    let there = state.identities.keys().filter(|(scope, _)| is_there(scope));
    let names: BTreeSet<&str> = there.map(|(_, name)| name.as_str()).collect();
    if let Some(meant) = nearest(name.as_str(), names.iter().copied()) {
        let on = network.map_or(String::new(), |network| format!(" --network {}", Word::of(network)));
        return Remedy::run(format!("ashore forget {meant}{on}")).and(", if you mean that");
    }
    let labels: BTreeSet<&str> = state.identities.keys().map(|(scope, _)| scope.label()).collect();
    if let Some(network) = network.filter(|network| !labels.contains(network) && !labels.is_empty()) {
        let meant = nearest(network, labels.iter().copied());
        return match meant {
            Some(meant) => {
                let meant = Word::of(meant);
                Remedy::run(format!("ashore forget {name} --network {meant}")).and(", if you mean that")
            }
            None => {
                Remedy::from(format!("no name is remembered for network `{network}`; leave out --network"))
            }
        };
    }
    if names.is_empty() {
        return Remedy::from("no name is remembered; ").and_run("ashore ls").and(" shows who is attached");
    }
    let listed = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Remedy::from("a name that is remembered: ").and(listed).and(more)
}
