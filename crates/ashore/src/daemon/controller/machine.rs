//! The machine that has the state: noted when the daemon starts, and changed by an import and by the user's word alone.

use ashore_core::api::about::About;
use ashore_core::api::document::Document;
use ashore_core::api::refusal::{self as refused, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::state::{Change, State};
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::Word;
use ashore_core::plan::desired::desired;
use ashore_core::rules::machine::Kept;

use super::{Controller, Inner};
use crate::daemon::{refusal, seed};
use crate::unlocked::Unlocked;

impl Controller {
    /// Notes this machine in a state that knows none, or what is known of it besides. One that is another is a trouble.
    pub(crate) fn note_machine(&self, unlocked: &mut Unlocked) {
        let mut inner = self.lock(unlocked);
        let here = inner.state().seed.fingerprint(&self.machine);
        let before = inner.state().machine;
        let known = before.map_or(here, |before| before.completed(&here));
        if before != Some(known)
            && inner.state().is_of_another(&self.machine).is_none()
            && let Err(refusal) = inner.commit(vec![Change::PutMachine(known)])
        {
            tracing::error!("{refusal}");
        }
    }

    /// Reports that the state is of another machine.
    pub(super) fn machine_trouble(&self, inner: &Inner) -> Option<Trouble> {
        let differs = inner.state().is_of_another(&self.machine)?;
        let message = format!(
            "the state was made on another machine than this one, by {differs}; if that one runs on the same LAN, containers of \
             one name have one MAC on both"
        );
        let remedy = Remedy::from("if this is a copy of that machine, detach everything and ")
            .and_run("ashore state rekey")
            .and("; if it is the same host with new hardware or a new system, ")
            .and_run("ashore state accept");
        Some(Trouble::new(Code::OtherMachine, About::default(), message, Some(remedy)))
    }

    pub(super) fn import(&self, unlocked: &mut Unlocked, document: Document) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        inner.check_empty("an import would forget them")?;
        let state = ashore_store::state_of(document).map_err(|error| refusal::import(&error))?;
        let is_others = state.is_of_another(&self.machine).is_some();
        let there = state.endpoints.len() + state.returning.len();
        inner.replace_state(state.arrived_on(&self.machine))?;
        let (observed, errors) = inner.sweep(&[])?;
        let mut warnings: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let missing = inner.waiting(&desired(inner.state(), &observed)).into_iter();
        let unfit = inner.state().networks.values().filter_map(|one| one.trouble_of_parent(&observed.host));
        warnings.extend(missing.chain(unfit).map(|trouble| trouble.to_string()));
        if is_others {
            let left = match there {
                0 => String::new(),
                _ => format!("; what was attached there ({there}) is not attached here"),
            };
            warnings.push(format!(
                "the state is of another machine{left}; if that one goes on running Ashore on this LAN, containers of one name \
                 have one MAC on both: ashore state rekey"
            ));
        }
        Ok(Reply::Done { warnings })
    }

    /// Draws a new seed.
    pub(super) fn rekey(&self, unlocked: &mut Unlocked) -> Result<Reply, Refusal> {
        let seed = seed().map_err(|error| {
            let message = format!("no seed can be drawn: {error:#}");
            Refusal::new(refused::Code::KernelUnreadable, About::default(), message, None)
        })?;
        let mut inner = self.lock(unlocked);
        inner.check_empty("they would keep the MACs that they have")?;
        let (state, kept) = inner.state().rekeyed(seed, &self.machine);
        inner.replace_state(state)?;
        let told = |((scope, name), what): &Kept| {
            format!(
                "`{name}` on {on} keeps {what}, as on the machine that this one is a copy of; to end it: ashore forget {name} \
                 --network {word}",
                on = scope.label(),
                word = Word::of(scope.label())
            )
        };
        Ok(Reply::Done { warnings: kept.iter().map(told).collect() })
    }

    /// Notes this machine as the one that has the state.
    pub(super) fn accept_machine(&self, unlocked: &mut Unlocked) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let here = inner.state().seed.fingerprint(&self.machine);
        inner.commit(vec![Change::PutMachine(here)])?;
        Ok(Reply::Done { warnings: Vec::new() })
    }
}

impl Inner {
    /// Fails if there is an endpoint, or one that is to come back: it would do so with the MAC that it had.
    fn check_empty(&self, why: &str) -> Result<(), Refusal> {
        let there = self.state().endpoints.values().next().map(|one| (one, "there are endpoints"));
        let returning = self.state().returning.values().next();
        let returning = returning.map(|one| (one, "endpoints that were taken off are to come back"));
        let Some((Endpoint { network, name, .. }, what)) = there.or(returning) else {
            return Ok(());
        };
        let label = self.state().networks.get(network).map_or(network.as_str(), |network| network.label());
        Err(Refusal::of(
            refused::Code::EndpointsAttached,
            format!("{what}, such as `{name}` on `{label}`, and {why}"),
            Remedy::from("detach them first: ").and_run(format!("ashore detach {} {name}", Word::of(label))),
        ))
    }

    fn replace_state(&mut self, state: State) -> Result<(), Refusal> {
        let written = self.store.replace(state).map_err(|error| refusal::state(&error));
        self.unwritten = written.as_ref().err().cloned();
        written?;
        let lists: Vec<_> = self.engines.inventories().cloned().collect();
        for list in &lists {
            self.note_bearers(list, true);
        }
        Ok(())
    }
}
