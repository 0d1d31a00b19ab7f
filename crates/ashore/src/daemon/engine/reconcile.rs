//! Bringing the kernel back to what the state asks for: at the start, every minute, and when the host's links or
//! addresses change.

use ashore_core::endpoint::{Endpoint, Home, Stage};
use ashore_core::observed::Observed;
use ashore_core::request::Refusal;
use ashore_core::state::Change;

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
                inner.troubles = vec![refusal.message];
                false
            }
        }
    }

    fn try_reconcile(&self, inner: &mut Inner) -> Result<(usize, Observed), Refusal> {
        let netns = all_netns(inner.state());
        let observed = inner.observe(&netns)?;
        // The lock is held from the first mark to the last, so what bears a mark of being on its way was cut short.
        let going: Vec<Endpoint> = inner
            .state()
            .endpoints
            .values()
            .filter(|endpoint| is_gone(endpoint) || endpoint.is_cut_short())
            .map(|endpoint| Endpoint { stage: Stage::Detaching, ..endpoint.clone() })
            .collect();
        for endpoint in &going {
            tracing::info!(network = %endpoint.network, name = %endpoint.name, "taking away what is left of it");
        }
        if !going.is_empty() {
            inner.commit(going.iter().cloned().map(Change::PutEndpoint).collect())?;
        }

        let plan = inner.plan(&observed);
        let changed = plan.steps.len() + going.len();
        let (observed, errors) =
            if plan.steps.is_empty() { (observed, Vec::new()) } else { inner.sweep(&netns)? };
        inner.troubles = errors.iter().map(ToString::to_string).collect();
        inner.troubles.extend(inner.plan(&observed).blocked.iter().map(ToString::to_string));
        inner.troubles.iter().for_each(|trouble| tracing::warn!("{trouble}"));

        // What is left of it in the kernel, if the sweep met an error, is tried again next time.
        let left = inner.plan(&observed).steps;
        for endpoint in going.iter().filter(|going| !left.iter().any(|step| *step.place() == going.link().0))
        {
            let record = match endpoint.home {
                Home::Netns { .. } => inner.state().detached(endpoint, now()),
                // Its engine met an error, and will say what becomes of the address.
                Home::Engine { .. } => {
                    vec![Change::PutEndpoint(Endpoint { stage: Stage::Reserved, ..endpoint.clone() })]
                }
            };
            inner.commit(record)?;
        }
        self.follow(inner, &observed);
        Ok((changed, observed))
    }
}

impl Inner {
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
