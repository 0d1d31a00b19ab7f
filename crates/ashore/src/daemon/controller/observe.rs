//! Looks at the kernel, and adds what only the controller knows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_core::api::refusal::Refusal;
use ashore_core::net::link::Netns;
use ashore_core::net::observed::Observed;
use ashore_core::plan::desired::singles_of_ranges;
use ashore_kernel::ObserveError;

use super::Inner;
use crate::daemon::refusal;

impl Inner {
    /// Observes the host and some containers' namespaces. A namespace that cannot be read is listed as such
    /// in the result, and is left alone.
    pub(super) fn observe(&self, netns: &[Netns]) -> Result<Observed, Refusal> {
        self.sees(self.kernel.observe(netns))
    }

    /// Does the same, but of the host's routes to endpoints it looks only at those to the given addresses. A
    /// plan for what was observed so is about these addresses alone.
    pub(super) fn observe_about(
        &self,
        netns: &[Netns],
        mut about: BTreeSet<IpAddr>,
    ) -> Result<Observed, Refusal> {
        about.extend(singles_of_ranges(self.state()));
        self.sees(self.kernel.observe_about(netns, about))
    }

    /// Observes the host without its routes to endpoints.
    pub(super) fn observe_host(&self) -> Result<Observed, Refusal> {
        self.observe_about(&[], BTreeSet::new())
    }

    fn sees(&self, observed: Result<Observed, ObserveError>) -> Result<Observed, Refusal> {
        let mut observed = observed.map_err(|error| refusal::kernel(&error))?;
        self.note(&mut observed);
        Ok(observed)
    }

    /// Like `observe`, for a request about these very namespaces. Fails if one of them cannot be read,
    /// because nothing may be decided about it.
    pub(super) fn observe_these(&self, netns: &[Netns]) -> Result<Observed, Refusal> {
        readable(self.sees(self.kernel.observe_closely(netns))?)
    }

    /// Like `observe_about`, for a request about these very namespaces.
    pub(super) fn observe_these_about(
        &self,
        netns: &[Netns],
        about: BTreeSet<IpAddr>,
    ) -> Result<Observed, Refusal> {
        readable(self.observe_about(netns, about)?)
    }

    /// Notes what was observed of the host, and adds what only the controller knows.
    fn note(&self, observed: &mut Observed) {
        observed.host.links.retain(|link| !self.removing.contains(&link.name));
        self.publication.sees(&observed.host);
        self.ask_parents(observed);
        observed.unlinked = self.unlinked.lasting();
    }

    /// Asks the parents whether links that are missing in their containers are still on the LAN.
    fn ask_parents(&self, observed: &mut Observed) {
        if observed.netns.is_empty() {
            return;
        }
        for (parent, missing) in self.state().parents_to_ask(observed) {
            let Some(index) = observed.host.link(&parent).map(|link| link.index) else { continue };
            let children = self.kernel.taken_in(index).unwrap_or_else(|error| {
                tracing::warn!(%parent, "cannot read the parent's children: {error}");
                // A link that is not known to be gone counts as still there.
                Some(self.state().macs_on(&parent).collect())
            });
            let Some(mut children) = children else { continue };
            children.retain(|mac| !missing.contains(mac) || self.was_child(&parent, *mac));
            observed.children.insert(parent, children);
        }
    }
}

/// Fails if a namespace that was to be observed could not be read.
fn readable(observed: Observed) -> Result<Observed, Refusal> {
    match observed.unreadable.first_key_value() {
        Some((netns, why)) => Err(refusal::unreadable(&netns.path, why)),
        None => Ok(observed),
    }
}
