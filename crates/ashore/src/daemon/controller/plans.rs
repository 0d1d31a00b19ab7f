//! `ashore plan`: the very plan that a request would carry out, without carrying it out.

use std::collections::BTreeMap;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::{PlannedStep, Reply};
use ashore_core::api::request::Request;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::Netns;
use ashore_core::net::observed::Observed;
use ashore_core::net::step::Step;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::leases::LeaseOutcome;

use super::attach::opened;
use super::moved_networks::leaves;
use super::read::busy;
use super::{Controller, Inner, all_netns};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Controller {
    /// Plans what the next reconciliation will do, also while a request holds the lock. Then the steps may be those
    /// of the request, which is said.
    pub(super) fn plan_of_nothing(&self, unlocked: &mut Unlocked) -> Result<Reply, Refusal> {
        let (reply, settled) = self.read(unlocked, |_, inner| {
            let observed = inner.observe(&all_netns(inner.state()))?;
            inner.planned(&inner.state_to_come(&observed), &observed)
        })?;
        Ok(match reply {
            Reply::Plan(steps) if !settled => {
                Reply::PlanMeanwhile { steps, trouble: busy("what is planned may be their work") }
            }
            reply => reply,
        })
    }

    pub(super) fn plan(&self, unlocked: &mut Unlocked, change: Request) -> Result<Reply, Refusal> {
        if let Request::CreateNetwork(spec) = change {
            let (inner, observed, network, _) = self.checked(unlocked, &spec)?;
            return inner.planned(&inner.state().with(&[Change::PutNetwork(network)]), &observed);
        }
        if let Request::MoveNetwork { network, parent, reconnect } = change {
            let (inner, observed, moved, _) = self.checked_move(unlocked, &network, &parent, reconnect)?;
            let before = inner.state().networks.get(&network);
            let goes = before.is_some_and(|before| leaves(before, &moved, &observed.host));
            let mut changes = if goes { inner.state().taking_off(&network) } else { Vec::new() };
            changes.push(Change::PutNetwork(moved));
            let observed = inner.observe(&all_netns(inner.state()))?;
            return inner.planned(&inner.state().with(&changes), &observed);
        }
        if let Request::Readdress(to) = change {
            return self.plan_readdress(unlocked, &to);
        }
        // The engine is asked for what it has before the lock is taken.
        let adoption = match &change {
            Request::Adopt(spec) => Some(self.planned_adoption(unlocked, spec)?),
            _ => None,
        };
        let inner = self.lock(unlocked);
        let (changes, netns) = match change {
            Request::Adopt(_) => adoption.unwrap_or_default(),
            Request::Attach(spec) => self.planned_attach(&inner, &spec)?,
            Request::Detach { network, name } => {
                let there = inner.state().endpoints.get(&(network, name)).cloned();
                let netns: Vec<Netns> = there.iter().filter_map(Endpoint::netns).cloned().collect();
                inner.observe_these(&netns)?;
                let going = there.map(|endpoint| Endpoint { stage: Stage::Detaching, ..endpoint });
                (going.into_iter().map(Change::PutEndpoint).collect(), netns)
            }
            Request::RemoveNetwork { network } => {
                inner.check_removable(&network)?;
                (vec![Change::DelNetwork(network)], Vec::new())
            }
            Request::Unadopt { network } => {
                let netns = all_netns(inner.state());
                (inner.state().unadopting(&network).map_err(|error| refusal::adopt(&error))?, netns)
            }
            Request::MoveNic(spec) => {
                let planned = inner.planned_move(&spec)?;
                return Ok(Reply::Plan(shown(planned.steps().cloned().collect())));
            }
            _ => return Err(changes_nothing()),
        };
        inner.planned(&inner.state().with(&changes), &inner.observe(&netns)?)
    }

    fn planned_attach(&self, inner: &Inner, spec: &AttachSpec) -> Result<(Vec<Change>, Vec<Netns>), Refusal> {
        let namespace = opened(spec)?;
        inner.check_not_host(&namespace)?;
        let netns = namespace.identity();
        let observed = inner.observe_these(std::slice::from_ref(&netns))?;
        let Some(inside) = observed.netns.get(&netns) else {
            return Err(refusal::namespace_gone(&spec.netns));
        };
        let network = inner.state().networks.get(&spec.network);
        let heard = network.map(|network| self.heard_on(network)).unwrap_or_default();
        let none = BTreeMap::new();
        let known =
            AddressesInUse { host: &observed.host, heard: &heard, answered: &none, held: &inner.held };
        let learned = network.and_then(|network| self.learn(inner, network, &spec.name, &known));
        let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned };
        let draft = inner.state().draft(spec, &netns, inside, &known, from_lan, now());
        Ok((vec![Change::PutEndpoint(draft.map_err(|error| refusal::attach(&error))?)], vec![netns]))
    }
}

impl Inner {
    /// Returns what a state would change in the places that were observed.
    pub(super) fn planned(&self, wanted: &State, observed: &Observed) -> Result<Reply, Refusal> {
        let plan = self.plan_for(wanted, observed);
        match plan.blocked.first() {
            Some(blocked) => Err(refusal::blocked(blocked)),
            None => Ok(Reply::Plan(shown(plan.steps))),
        }
    }
}

/// Steps with their commands.
pub(super) fn shown(steps: Vec<Step>) -> Vec<PlannedStep> {
    steps.into_iter().map(|step| PlannedStep { command: step.to_string(), step }).collect()
}

fn changes_nothing() -> Refusal {
    let message = "that request changes nothing in the kernel, so there is nothing to plan";
    Refusal::new(Code::NothingToPlan, About::default(), message, None)
}
