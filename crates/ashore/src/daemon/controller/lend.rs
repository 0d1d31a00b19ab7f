//! Addresses for links that other programs make: CNI's plugins macvlan and bridge ask Ashore for addresses alone. The
//! link is there already, and down, so its MAC is the one that the LAN is asked with.

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Container, Endpoint, Placement};
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::Netns;
use ashore_core::rules::attach::AttachSpec;
use ashore_core::rules::create::NetworkSpec;
use ashore_kernel::Namespace;
use ashore_wire::Mac;

use super::attach::opened;
use super::engine_calls::done;
use super::reserve::{Answers, Drafted, Ground, Obtained, Proposal, Proposed, Seeker, Taken};
use super::{Controller, Inner, Locked};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// An engine's request for addresses alone.
struct Lending<'s> {
    spec: &'s AttachSpec,
    netns: &'s Netns,
    mac: Option<Mac>,
    ground: &'s mut Ground,
}

impl Controller {
    /// Reserves addresses for the link of another program in an engine's container.
    pub(super) fn lend(
        &self,
        unlocked: &mut Unlocked,
        network: &NetworkSpec,
        spec: &AttachSpec,
    ) -> Result<Reply, Refusal> {
        let network = self.network_to_set_up(unlocked, network)?;
        let spec = AttachSpec { network: network.name.clone(), ..spec.clone() };
        let namespace = opened(&spec)?;
        let (netns, mac) = {
            let inner = self.lock(unlocked);
            inner.check_not_host(&namespace)?;
            let netns = inner.kernel.identify(&namespace);
            let netns = netns.map_err(|error| refusal::unreadable(&spec.netns, &error.to_string()))?;
            let mac = inner.mac_of_link(&spec, &netns)?;
            (netns, mac)
        };
        let name = self.lock(unlocked).state().name_beside_other_links(&spec, &netns);
        let spec = AttachSpec { name, ..spec };
        let of = |_: &State| Some(spec.network.clone());
        let endpoint = self.on_ground(unlocked, of, |unlocked, ground| {
            let mut answers = Answers::default();
            let mut inner = self.lock(unlocked);
            if let Some(there) = inner.lent_before(&spec, &netns, mac)? {
                return Ok(there);
            }
            inner.give_ended_back(&spec, &netns)?;
            let mut seeker = Lending { spec: &spec, netns: &netns, mac, ground };
            let reserved;
            (inner, reserved) = self.reserve(inner, &mut seeker, &mut answers)?;
            answers.keep();
            let endpoint = reserved.draft.endpoint;
            let remembered = inner.state().lent(&endpoint, now());
            inner.store.defer(remembered);
            Ok(endpoint)
        })?;
        self.schedule_deferred();
        let inner = self.lock(unlocked);
        Ok(Reply::SetUp { endpoint: self.report(&inner, &endpoint), mac })
    }
}

impl Inner {
    /// The MAC of the link that another program has made.
    fn mac_of_link(&self, spec: &AttachSpec, netns: &Netns) -> Result<Option<Mac>, Refusal> {
        let observed = self.observe_these(std::slice::from_ref(netns))?;
        let inside = observed.netns.get(netns).ok_or_else(|| refusal::namespace_gone(&spec.netns))?;
        match inside.link(&spec.ifname) {
            Some(link) => Ok(link.mac),
            None => Err(Refusal::new(
                Code::NoNamespace,
                About::default(),
                format!("there is no link `{}` in {}", spec.ifname, spec.netns.display()),
                None,
            )),
        }
    }

    /// Returns what was lent to the same link before: an engine that has lost the answer asks again. What the
    /// container has from an earlier start is given back first. A link with another MAC is another link: the LAN is
    /// asked anew for whatever it gets.
    fn lent_before(
        &mut self,
        spec: &AttachSpec,
        netns: &Netns,
        mac: Option<Mac>,
    ) -> Result<Option<Endpoint>, Refusal> {
        let Some(caller) = &spec.caller else { return Ok(None) };
        let its: Vec<Endpoint> = {
            let its = self.state().attachments(caller.engine, &caller.container, &spec.ifname);
            its.filter(|endpoint| endpoint.is_lent()).cloned().collect()
        };
        let is_same = |there: &Endpoint| {
            there.key() == (spec.network.clone(), spec.name.clone())
                && spec.ips.iter().all(|ip| there.holds(*ip))
                && there.mac == mac
        };
        let mut same = None;
        for there in its {
            if is_same(&there) && same.is_none() {
                let Placement::Engine { id, ifname, inside, .. } = there.placement.clone() else { continue };
                let placement = Placement::Engine { id, ifname, inside, sandbox: Some(spec.netns.clone()) };
                let container =
                    there.container.map(|container| Container { netns: Some(netns.clone()), ..*container });
                let there = Endpoint { placement, container: container.map(Box::new), ..there };
                self.record(vec![Change::PutEndpoint(there.clone())])?;
                same = Some(there);
            } else {
                self.give_lent_back(&there)?;
            }
        }
        Ok(same)
    }

    /// Gives back what was lent under this name to a container whose namespace is gone: its runtime has not said so.
    fn give_ended_back(&mut self, spec: &AttachSpec, netns: &Netns) -> Result<(), Refusal> {
        let there = self.state().endpoints.get(&(spec.network.clone(), spec.name.clone()));
        let Some(there) = there.filter(|there| there.is_lent()).cloned() else { return Ok(()) };
        // The path may lead to another namespace by now.
        let has_ended = there.sandbox().is_some_and(|path| match Namespace::open(path) {
            Ok(found) => match there.lent_in() {
                Some(had) => self.kernel.identify(&found).is_ok_and(|found| found != *had),
                None => found.file() == (netns.dev, netns.ino),
            },
            Err(error) => error.leads_nowhere(),
        });
        if has_ended {
            self.give_lent_back(&there)?;
        }
        Ok(())
    }

    /// Gives lent addresses back.
    pub(super) fn give_lent_back(&mut self, endpoint: &Endpoint) -> Result<Reply, Refusal> {
        let changes = self.state().given_back(endpoint, now());
        self.record(changes)?;
        // It is written to disk once the lock is released.
        self.leftovers.set(true);
        Ok(done())
    }
}

impl<'c> Seeker<'c> for Lending<'_> {
    type Draft = Drafted;

    fn propose(&mut self, on: &'c Controller, inner: &mut Inner, answers: &Answers<'_>) -> Proposed<Drafted> {
        let (spec, at) = (self.spec, (self.netns, self.mac));
        let observed = inner.observe_host()?;
        Drafted::propose(on, inner, spec, observed, answers, |inner, _, known| {
            inner.state().draft_lent(spec, at, known, now())
        })
    }

    fn obtain<'a>(
        &mut self,
        on: &'c Controller,
        inner: Locked<'a>,
        proposal: &Proposal<Drafted>,
        _: std::time::Duration,
    ) -> Obtained<'a>
    where
        'c: 'a,
    {
        on.brings(inner, &proposal.network, &proposal.draft, self.ground)
    }

    fn take(&mut self, on: &'c Controller, inner: &mut Inner, proposal: &Proposal<Drafted>) -> Taken {
        let endpoint = &proposal.draft.endpoint;
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        if !on.keeps(proposal) {
            inner.commit(vec![Change::DelEndpoint(endpoint.key())])?;
            return Ok(false);
        }
        Ok(true)
    }
}
