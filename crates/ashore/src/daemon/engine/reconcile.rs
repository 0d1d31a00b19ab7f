//! Bringing the kernel back to what the state asks for: at the start, every minute, and when the host's links or
//! addresses change.

use ashore_core::desired::desired;
use ashore_core::endpoint::{Endpoint, Home, Stage};
use ashore_core::observed::Observed;
use ashore_core::plan::plan;
use ashore_core::request::Refusal;
use ashore_core::state::{Change, State};

use super::{Engine, Inner, all_netns, is_gone, now};

impl Engine {
    /// Finishes what was cut short, lets go of what is gone, and mends the rest. Tells whether it should soon be done
    /// again, because an engine is about to move a link, of which no word will come.
    pub(crate) fn reconcile(&self, why: &str) -> bool {
        let mut inner = self.lock();
        match self.try_reconcile(&mut inner) {
            Ok((changed, observed)) => {
                if changed == 0 {
                    tracing::debug!(why, "nothing to reconcile");
                } else {
                    tracing::info!(why, changed, "reconciled");
                }
                inner.awaits_engine(&observed)
            }
            Err(refusal) => {
                tracing::error!(why, "could not reconcile: {refusal}");
                inner.stopped = Some(refusal);
                false
            }
        }
    }

    /// At the start: what a kill has left whole has only lost its record.
    pub(crate) fn recover(&self) {
        let mut inner = self.lock();
        let recovered = inner.observe(&all_netns(inner.state())).and_then(|observed| {
            let whole = inner.state().endpoints.values().filter(|endpoint| endpoint.is_whole(&observed));
            let records = whole.flat_map(|endpoint| inner.state().attached(endpoint, now())).collect();
            inner.commit(records)
        });
        if let Err(refusal) = recovered {
            tracing::error!("{refusal}");
        }
    }

    /// What a request began and could not finish, for want of a disk that takes writes, is finished before the next one
    /// begins, and does not stand in its way.
    pub(super) fn finish_what_was_cut_short(&self) {
        if self.lock().state().endpoints.values().any(Endpoint::is_cut_short) {
            self.reconcile("a request was cut short");
        }
    }

    fn try_reconcile(&self, inner: &mut Inner) -> Result<(usize, Observed), Refusal> {
        let flushed = inner.flush();
        let given_back = self.give_back_departed(inner);
        let netns = all_netns(inner.state());
        let observed = inner.observe(&netns)?;
        let going = inner.going();
        for endpoint in &going {
            tracing::info!(network = %endpoint.network, name = %endpoint.name, "taking away what is left of it");
        }
        // They are taken away also if that cannot be written down: what is written down will have them taken away again.
        let wanted = inner.state_without(&going);
        let marked = inner.commit(going.iter().cloned().map(Change::PutEndpoint).collect());

        let planned = plan(&desired(&wanted, &observed), &observed).steps;
        let changed = planned.len() + going.len();
        let (observed, failed) =
            if planned.is_empty() { (observed, Vec::new()) } else { inner.sweep_to(&wanted, &netns)? };
        let left = plan(&desired(&wanted, &observed), &observed);
        for error in &failed {
            tracing::warn!("{error}");
        }
        for blocked in &left.blocked {
            tracing::warn!("{blocked}");
        }
        inner.failed = failed;

        // What is left of it in the kernel, if the sweep met an error, is tried again next time.
        let is_left = |going: &&Endpoint| left.steps.iter().any(|step| *step.place() == going.link().0);
        let recorded = marked.and_then(|()| inner.record_gone(going.iter().filter(|going| !is_left(going))));
        self.follow(inner, &observed);
        flushed?;
        given_back?;
        recorded?;
        inner.stopped = None;
        Ok((changed, observed))
    }
}

impl Inner {
    /// The endpoints that will be taken away: those that are gone, and those that bear a mark of being on their way. The
    /// lock is held from the first mark to the last, so whoever sees one sees what was cut short.
    fn going(&self) -> Vec<Endpoint> {
        let endpoints = self.state().endpoints.values();
        endpoints
            .filter(|endpoint| is_gone(endpoint) || endpoint.is_cut_short())
            .map(|endpoint| Endpoint { stage: Stage::Detaching, ..endpoint.clone() })
            .collect()
    }

    /// The state to which the next reconciliation will bring the kernel.
    pub(super) fn state_to_come(&self) -> State {
        self.state_without(&self.going())
    }

    fn state_without(&self, going: &[Endpoint]) -> State {
        self.state().with(&going.iter().cloned().map(Change::PutEndpoint).collect::<Vec<_>>())
    }

    fn record_gone<'a>(&mut self, gone: impl Iterator<Item = &'a Endpoint>) -> Result<(), Refusal> {
        for endpoint in gone {
            let record = match endpoint.home {
                Home::Netns { .. } => self.state().detached(endpoint, now()),
                // Its engine met an error, and will say what becomes of the address.
                Home::Engine { .. } => {
                    let endpoint = endpoint.clone().without_learned();
                    vec![Change::PutEndpoint(Endpoint { stage: Stage::Reserved, ..endpoint })]
                }
            };
            self.commit(record)?;
        }
        Ok(())
    }

    /// Whether a link was handed to an engine a moment ago and is not up in its container yet.
    fn awaits_engine(&self, observed: &Observed) -> bool {
        /// In seconds; an engine takes a fraction of one.
        const PATIENCE: u64 = 10;
        let now = now();
        let fresh = |endpoint: &&Endpoint| {
            let handed_over = endpoint.netns().is_none() && endpoint.is_wanted();
            handed_over
                && endpoint.since + PATIENCE > now
                && self.state().network_of(endpoint).is_some_and(|network| !network.adopted)
        };
        let is_up = |endpoint: &Endpoint| {
            observed.netns.values().any(|inside| inside.tagged(&endpoint.tag()).is_some_and(|link| link.up))
        };
        self.state().endpoints.values().filter(fresh).any(|endpoint| !is_up(endpoint))
    }
}
