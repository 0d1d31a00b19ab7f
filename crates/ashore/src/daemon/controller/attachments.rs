//! The attachments of an engine that names each by a container and a link, and that wants them gone before it is
//! answered: a CNI runtime.

use std::net::IpAddr;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::{Attachment, KeepSetUp, SetUpCheck};
use ashore_core::model::endpoint::{Container, Endpoint};
use ashore_core::model::owner::Owners;
use ashore_core::model::state::Change;
use ashore_core::rules::attach::{AttachError, AttachSpec};
use ashore_kernel::{Holders, Namespace};

use super::attach::opened;
use super::{Controller, addresses_in, netns_by_all_paths};
use crate::clock::now;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// How many seconds after its set-up a container without a process is not taken for one that has ended: its runtime may
/// have made its list before.
const STARTS_WITHIN: u64 = 60;

impl Controller {
    /// Names a container that is on the network by another link already. Refuses a link that is there already, where
    /// the engine has to be told.
    pub(super) fn beside_other_links(
        &self,
        unlocked: &mut Unlocked,
        attach: AttachSpec,
    ) -> Result<AttachSpec, Refusal> {
        let Some(caller) = &attach.caller else { return Ok(attach) };
        let namespace = opened(&attach)?;
        let inner = self.lock(unlocked);
        let netns = inner.kernel.identify(&namespace);
        let netns = netns.map_err(|error| refusal::unreadable(&attach.netns, &error.to_string()))?;
        if let Some(there) = inner.state().repeated(caller, &attach.ifname, &netns).cloned() {
            let observed = inner.observe_these(std::slice::from_ref(&netns))?;
            if inner.has_link(&there, &observed) {
                return Err(refusal::attach(&AttachError::IfnameTaken {
                    netns: attach.netns.clone(),
                    ifname: attach.ifname.clone(),
                }));
            }
        }
        let name = inner.state().name_beside_other_links(&attach, &netns);
        Ok(AttachSpec { name, ..attach })
    }

    /// Takes a container off, on whatever network it is by this link. What cannot be taken off now goes later.
    pub(super) fn take_attachment_off(&self, unlocked: &mut Unlocked, gone: &Attachment) -> Reply {
        let its: Vec<_> = {
            let inner = self.lock(unlocked);
            let all = inner.state().attachments(gone.engine, &gone.container, &gone.ifname);
            all.map(|endpoint| (endpoint.clone(), gone.container.clone())).collect()
        };
        Reply::Done { warnings: self.take_all_off(unlocked, its) }
    }

    /// Takes off what its engine no longer has. A call does not say which engine makes it, and two may use one name for
    /// a network, so a container in whose namespace a process is stays: it is another engine's, or is about to end.
    pub(super) fn keep_set_up(&self, unlocked: &mut Unlocked, keep: &KeepSetUp) -> Reply {
        let its = |endpoint: &Endpoint| {
            let container = endpoint.container.as_ref()?;
            Some((endpoint.clone(), container.id.clone()))
        };
        let its: Vec<_> = {
            let inner = self.lock(unlocked);
            inner.state().attachments_beside(keep.engine, &keep.of, &keep.keep).filter_map(its).collect()
        };
        let (stay, go): (Vec<_>, Vec<_>) = if its.is_empty() {
            (Vec::new(), its)
        } else {
            let holders = Holders::look();
            its.into_iter().partition(|(endpoint, _)| is_lived_in(&holders, endpoint))
        };
        let mut warnings = self.take_all_off(unlocked, go);
        warnings.extend(stay.iter().map(|(endpoint, _)| {
            format!(
                "`{}` is not among the containers that are kept, and stays: a process is in it",
                endpoint.name
            )
        }));
        Reply::Done { warnings }
    }

    /// Takes endpoints off, each with its engine's id of the container. Returns warnings.
    fn take_all_off(&self, unlocked: &mut Unlocked, all: Vec<(Endpoint, String)>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (endpoint, container) in all {
            let is_it = |there: &Endpoint| there.is_of(endpoint.ownership, &container);
            match self.detach_if(unlocked, &endpoint.network, &endpoint.name, is_it) {
                Ok(Reply::Done { warnings: more }) => warnings.extend(more),
                Ok(_) => {}
                Err(refusal) => {
                    // It is tried again until it is done.
                    let mut inner = self.lock(unlocked);
                    let there = inner.state().endpoints.get(&endpoint.key()).cloned();
                    if let Some(there) = there.filter(|there| there.is_of(endpoint.ownership, &container)) {
                        let netns = there.lent_in().cloned();
                        let leaving = Container { id: container, leaves: true, netns };
                        let leaving = Endpoint { container: Some(Box::new(leaving)), ..there };
                        if let Err(unwritten) = inner.record(vec![Change::PutEndpoint(leaving)]) {
                            tracing::error!("{unwritten}");
                        }
                    }
                    drop(inner);
                    let _ = self.wakers.leaving.send(());
                    warnings.push(format!("`{}`: {refusal}; it is tried again", endpoint.name));
                }
            }
        }
        self.schedule_deferred();
        warnings
    }

    /// Checks that a container has its link and its addresses. Its MAC, routes and further addresses may have been
    /// changed by another plugin.
    pub(super) fn check_set_up(&self, unlocked: &mut Unlocked, check: &SetUpCheck) -> Result<Reply, Refusal> {
        let SetUpCheck { of: Attachment { engine, container, ifname }, netns: path, ips } = check;
        let namespace = Namespace::open(path).map_err(|error| refusal::namespace(&error))?;
        let inner = self.lock(unlocked);
        let netns = inner.kernel.identify(&namespace);
        let netns = netns.map_err(|error| refusal::unreadable(path, &error.to_string()))?;
        let all = || inner.state().attachments(*engine, container, ifname);
        let its = all();
        let is_here = |endpoint: &Endpoint| match endpoint.lent_in() {
            Some(there) => *there == netns,
            None => endpoint.is_lent() || endpoint.netns() == Some(&netns),
        };
        let its = its.filter(|endpoint| is_here(endpoint) && !endpoint.leaves());
        let Some(endpoint) = its.last().cloned() else {
            // It may have one in another namespace.
            let elsewhere = all().last().map(|there| About::endpoint(there, inner.state()));
            return Err(Refusal::new(
                Code::NoEndpoint,
                elsewhere.unwrap_or_default(),
                format!("the container has no attachment by `{ifname}` in {}", path.display()),
                None,
            ));
        };
        let missing = |what: String| {
            let about = About::endpoint(&endpoint, inner.state());
            Refusal::new(Code::StepUndone, about, what, Some("restart the container".into()))
        };
        let lost =
            |ip: &IpAddr| missing(format!("`{}` does not have the address {ip} any more", endpoint.name));
        if endpoint.is_lent() {
            // Its link is another plugin's to check.
            return match ips.iter().find(|ip| !endpoint.holds(**ip)) {
                Some(ip) => Err(lost(ip)),
                None => Ok(Reply::Done { warnings: Vec::new() }),
            };
        }
        let places = netns_by_all_paths(inner.state(), &endpoint);
        let about = addresses_in(inner.state(), &places, Some(&endpoint));
        let observed = inner.observe_these_about(&places, about)?;
        let link = Owners::of(inner.state(), &observed).link_of(&endpoint, &observed).is_some();
        let view = observed.netns.get(&netns).filter(|_| link);
        let Some((view, link)) = view.and_then(|view| Some((view, view.link(ifname)?))) else {
            return Err(missing(format!("the link `{ifname}` of `{}` is not there any more", endpoint.name)));
        };
        let has = |ip: &IpAddr| {
            view.addresses.iter().any(|there| there.index == link.index && there.net.addr() == *ip)
        };
        match ips.iter().find(|ip| !has(ip) || !endpoint.holds(**ip)) {
            Some(ip) => Err(lost(ip)),
            None if !link.up => Err(missing(format!("the link `{ifname}` of `{}` is down", endpoint.name))),
            None => Ok(Reply::Done { warnings: Vec::new() }),
        }
    }
}

/// Whether a process is seen in the namespace of an engine's container.
fn is_lived_in(holders: &Holders, endpoint: &Endpoint) -> bool {
    let lent =
        || endpoint.sandbox().and_then(|path| Namespace::open(path).ok()).map(|there| there.identity());
    let netns = endpoint.netns().or(endpoint.lent_in()).cloned().or_else(lent);
    // A process that cannot be looked at may be in it. One of a container that was just set up is not there yet. A
    // daemon that does not see the host's processes goes by the list alone.
    let is_seen = |netns| match holders.has_process_in(&netns) {
        Some(is_in) => is_in || now() < endpoint.since.saturating_add(STARTS_WITHIN),
        None => !holders.may_be_hidden(),
    };
    netns.is_some_and(is_seen)
}
