//! Stand-ins: which containers are reconnected, how often, and what is reported when that does not help.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ashore_core::api::about::About;

use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::inventory::Inventory;
use ashore_core::model::state::State;
use ashore_core::net::name::{IfName, NetworkName};
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::wrong_identity::{Lack, Obstacle, WrongIdentity};
use ashore_wire::Mac;

use super::{Controller, Inner};
use crate::daemon::controller::inventory::GRACE;

/// How often a container is reconnected after each of its starts.
const ATTEMPTS: u32 = 3;

/// How often containers were reconnected since their starts. A container that has its own identity is no
/// longer counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    made: BTreeMap<Start, u32>,
}

/// One start of a container on a network. It is known by the container's namespace, which is new at each
/// start and stays the same when the container is reconnected.
type Start = (NetworkName, Option<PathBuf>);

fn start_of(endpoint: &Endpoint) -> Start {
    let id = || endpoint.engine_id().map(PathBuf::from);
    (endpoint.network.clone(), endpoint.sandbox().map(Path::to_owned).or_else(id))
}

impl Attempts {
    fn are_left(&self, endpoint: &Endpoint) -> bool {
        self.made.get(&start_of(endpoint)).is_none_or(|made| *made < ATTEMPTS)
    }

    /// Whether the last attempt failed too, as a later list has shown.
    fn are_in_vain(&self, endpoint: &Endpoint) -> bool {
        self.made.get(&start_of(endpoint)).is_some_and(|made| *made > ATTEMPTS)
    }
}

impl Inner {
    /// Returns the containers to reconnect now, in groups, and whether some have to wait. While other
    /// containers are starting, it would be just as hard to tell which container the engine asks for.
    pub(super) fn pick_wrong_identities(
        &mut self,
        inventory: &Inventory,
        is_free: impl Fn(&IfName, IpAddr) -> bool,
    ) -> (Vec<Vec<WrongIdentity>>, bool) {
        let state = self.store.state();
        let lacking: BTreeMap<Start, (&Endpoint, Lack)> = state
            .endpoints
            .values()
            .filter_map(|endpoint| Some((start_of(endpoint), (endpoint, state.lack(endpoint)?))))
            .collect();
        // A container that has its own identity by now, or is gone, is forgotten here.
        self.memory.attempts.made.retain(|start, _| lacking.contains_key(start));
        for (start, made) in self.memory.attempts.made.iter_mut().filter(|(_, made)| **made == ATTEMPTS) {
            // This is logged once.
            *made += 1;
            let (endpoint, lack) = &lacking[start];
            let obstacles = state.obstacles(endpoint, lack, &is_free).unwrap_or_default();
            tracing::error!("{}", trouble_of(state, endpoint, lack, &obstacles));
        }
        // The kernel brings up no second link with a MAC, and the container would be left without a link.
        let in_use =
            |(endpoint, lack): &(&Endpoint, Lack)| lack.mac.is_some_and(|mac| self.is_up(endpoint, mac));
        let its = |(_, (endpoint, _)): &(&Start, &(&Endpoint, Lack))| inventory.has(endpoint);
        let held = lacking.iter().filter(its).filter(|(_, lacking)| in_use(lacking));
        let held: BTreeSet<&Start> = held.map(|(start, _)| start).collect();
        let may_be = |endpoint: &Endpoint| {
            self.memory.attempts.are_left(endpoint) && !held.contains(&start_of(endpoint))
        };
        let wrong_identities = state.wrong_identities(inventory, is_free, may_be);
        let is_held = !held.is_empty();
        let calls = self.memory.engines.calls_mut(inventory.kind);
        if wrong_identities.is_empty() {
            calls.postponed = None;
            return (wrong_identities, is_held);
        }
        let since = *calls.postponed.get_or_insert_with(Instant::now);
        let is_starting = |endpoint: &Endpoint| {
            inventory.has(endpoint) && endpoint.is_unnamed() && endpoint.stage != Stage::Attached
        };
        let starting = !calls.starting.is_empty() || state.endpoints.values().any(is_starting);
        if starting && since.elapsed() < GRACE {
            return (Vec::new(), true);
        }
        calls.postponed = None;
        let ids: BTreeSet<&str> =
            wrong_identities.iter().flatten().map(|there| there.endpoint.as_str()).collect();
        for (start, (endpoint, _)) in &lacking {
            if endpoint.engine_id().is_some_and(|id| ids.contains(id)) {
                *self.memory.attempts.made.entry(start.clone()).or_default() += 1;
            }
        }
        (wrong_identities, is_held)
    }

    /// Whether a link that belongs to no endpoint has a MAC on an endpoint's parent, wherever the link is. A
    /// parent that does not report its children prevents nothing.
    fn is_up(&self, endpoint: &Endpoint, mac: Mac) -> bool {
        let Some(network) = self.state().network_of(endpoint) else { return false };
        if self.state().macs_on(&network.parent).any(|known| known == mac) {
            return false;
        }
        let up = self.kernel.macs_on(&network.parent);
        up.map_or(true, |up| up.is_some_and(|up| up.contains(&mac)))
    }
}

impl Controller {
    /// Reports containers that will not get their own addresses or MACs by themselves, and why.
    pub(super) fn not_themselves(&self, inner: &Inner) -> Vec<Trouble> {
        let state = inner.state();
        let is_free = |parent: &IfName, ip| !self.lan.has_answered(parent, ip);
        // Other endpoints that lack something will release what they hold.
        let stays = |obstacle: &Obstacle<'_>| match obstacle {
            Obstacle::Lan(_) => true,
            Obstacle::Endpoint(holder) if holder.is_unnamed() => false,
            Obstacle::Endpoint(holder) => state.lack(holder).is_none() || inner.attempts.are_in_vain(holder),
        };
        let troubles = state.endpoints.values().filter_map(|endpoint| {
            let lack = state.lack(endpoint)?;
            let obstacles = state.obstacles(endpoint, &lack, is_free);
            let blocked = obstacles.as_ref().is_some_and(|obstacles| obstacles.iter().all(stays));
            let stuck = blocked || inner.attempts.are_in_vain(endpoint);
            stuck.then(|| trouble_of(state, endpoint, &lack, &obstacles.unwrap_or_default()))
        });
        troubles.collect()
    }
}

/// Says which container has what instead of what, why, and what helps.
fn trouble_of(state: &State, endpoint: &Endpoint, lack: &Lack, obstacles: &[Obstacle<'_>]) -> Trouble {
    let label = state.network_of(endpoint).map_or(endpoint.network.as_str(), |there| there.label());
    let name = &endpoint.name;
    let own: Vec<String> =
        lack.addresses.iter().map(ToString::to_string).chain(lack.mac.map(|mac| mac.to_string())).collect();
    let addresses = endpoint.without_advertised().map(|net| net.addr().to_string());
    let addresses = addresses.filter(|_| !lack.addresses.is_empty() || lack.mac.is_none());
    let mac = endpoint.mac.filter(|_| lack.mac.is_some()).map(|mac| mac.to_string());
    let has: Vec<String> = addresses.chain(mac).collect();
    let own = match (own.as_slice(), lack.leased_by) {
        ([], Some(mac)) => format!(" by a lease for {mac}, which is not its MAC"),
        ([], None) => ", which another name has".to_owned(),
        _ => format!(" instead of its own {}", own.join(" and ")),
    };
    let why = obstacles.iter().map(|obstacle| match obstacle {
        Obstacle::Endpoint(holder) => format!("`{}` has it now", holder.name),
        Obstacle::Lan(ip) => format!("another machine on the LAN has {ip}"),
    });
    let why = why.reduce(|all, one| format!("{all}, and {one}"));
    let why =
        why.unwrap_or_else(|| "it started together with others, and reconnecting it did not help".to_owned());
    // The endpoint that holds the address or MAC releases it when it starts alone.
    let holders = obstacles.iter().filter_map(|obstacle| match obstacle {
        Obstacle::Endpoint(holder) => Some(holder.name.as_str()),
        Obstacle::Lan(_) => None,
    });
    let restart: Vec<&str> = holders.chain([name.as_str()]).collect();
    let on_lan = obstacles.iter().any(|obstacle| matches!(obstacle, Obstacle::Lan(_)));
    let first = if on_lan { "give that machine another address, then: " } else { "" };
    let program = endpoint.ownership.engine().unwrap_or_default().program();
    let remedy = Remedy::from(first).and_run(format!("{program} restart {}", restart.join(" ")));
    let message = format!("`{name}` on network `{label}` has {}{own}: {why}", has.join(" and "));
    Trouble::new(Code::NotItsOwn, About::endpoint(endpoint, state), message, Some(remedy))
}
