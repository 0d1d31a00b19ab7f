//! Endpoints that were taken off to be attached again. They are in the state until they are back, so that they come
//! back although the daemon was killed meanwhile, or could not attach them at first.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::state::Change;
use ashore_core::net::name::{EndpointKey, EndpointName, NetworkName};
use ashore_core::rules::attach::AttachSpec;
use ashore_kernel::{Namespace, NamespaceError};

use super::Controller;
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// Keeps two threads from attaching the same endpoint again.
#[derive(Debug, Default)]
pub(super) struct Returns(Mutex<()>);

/// The turn to attach what returns.
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "it is held")] MutexGuard<'a, ()>);

impl Returns {
    /// Waits for the turn.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Controller {
    /// Attaches what returns, at the start and as time passes. If another thread is about it, it is left to that one.
    pub(crate) fn bring_back_in_time(&self, unlocked: &mut Unlocked) {
        if self.copies.state().returning.is_empty() {
            return;
        }
        let Ok(turn) = self.returns.0.try_lock() else { return };
        for warning in self.bring_back(unlocked, &Turn(turn)) {
            tracing::warn!("{warning}");
        }
    }

    /// Attaches what returns. Returns warnings.
    pub(super) fn bring_back(&self, unlocked: &mut Unlocked, _: &Turn<'_>) -> Vec<String> {
        let all: Vec<EndpointKey> = self.copies.state().returning.keys().cloned().collect();
        let mut warnings = Vec::new();
        for key in all {
            match self.bring_one_back(unlocked, &key) {
                // What is so of a network is said of each of its endpoints.
                Ok(more) => more.into_iter().for_each(|warning| {
                    if !warnings.contains(&warning) {
                        warnings.push(warning);
                    }
                }),
                Err(refusal) => {
                    warnings.push(format!("`{}`: {refusal}; it is tried again every minute", key.1));
                }
            }
        }
        warnings
    }

    fn bring_one_back(&self, unlocked: &mut Unlocked, key: &EndpointKey) -> Result<Vec<String>, Refusal> {
        let state = self.copies.state();
        let Some(endpoint) = state.returning.get(key) else { return Ok(Vec::new()) };
        let name = &endpoint.name;
        let (Some(network), Some(mut spec)) = (state.network_of(endpoint), AttachSpec::again(endpoint))
        else {
            return self.does_not_return(unlocked, key).map(|()| Vec::new());
        };
        match state.endpoints.get(key).map(|there| there.stage) {
            None => {}
            Some(Stage::Attaching | Stage::Detaching) => {
                let what = "comes back to network";
                let label = network.label();
                return Ok(vec![format!(
                    "`{name}` {what} `{label}` when nothing of it is left; it is tried again every minute"
                )]);
            }
            // It is back, or its user has attached the name meanwhile.
            Some(Stage::Attached | Stage::Reserved) => {
                return self.does_not_return(unlocked, key).map(|()| Vec::new());
            }
        }
        if !self.is_where_it_was(unlocked, endpoint)? {
            self.does_not_return(unlocked, key)?;
            let path = spec.netns.display();
            return Ok(vec![format!("`{name}` does not come back: {path} no longer leads to its namespace")]);
        }
        // An address that its user chose may be of a subnet that has gone. Any other trouble with it may pass.
        let is_inside = |ip: &IpAddr| network.subnets.iter().any(|subnet| subnet.net.contains(ip));
        let (ips, lost): (Vec<IpAddr>, Vec<IpAddr>) = spec.ips.iter().partition(|ip| is_inside(ip));
        spec.ips = ips;
        let mut warnings = Vec::new();
        match self.attach(unlocked, &spec) {
            Ok(Reply::Attached(report)) => warnings.extend(report.warnings),
            Ok(_) => {}
            Err(refusal) => {
                return Ok(vec![format!(
                    "`{name}` is off the network and could not be attached again: {refusal}; it is tried again every minute; \
                     by hand: {}",
                    spec.command()
                )]);
            }
        }
        if !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
            warnings.push(format!("`{name}` has another address than {}", lost.join(", ")));
        }
        let is_wanted = self.copies.state().returning.contains_key(key);
        if is_wanted {
            self.does_not_return(unlocked, key)?;
        } else {
            // Its user has taken it off while it was being attached.
            self.detach(unlocked, &key.0, &key.1)?;
        }
        Ok(warnings)
    }

    /// Whether the path of an endpoint's namespace still leads there. Another one may have it by now.
    fn is_where_it_was(&self, unlocked: &mut Unlocked, endpoint: &Endpoint) -> Result<bool, Refusal> {
        let Some(was) = endpoint.netns() else { return Ok(false) };
        let namespace = match Namespace::open(&was.path) {
            Ok(namespace) => namespace,
            Err(NamespaceError::Missing(_)) => return Ok(false),
            Err(error) => return Err(refusal::namespace(&error)),
        };
        let inner = self.lock(unlocked);
        let is = inner.kernel.identify(&namespace);
        let is = is.map_err(|error| refusal::unreadable(&was.path, &error.to_string()))?;
        let other_cookie = was.cookie.is_some() && is.cookie.is_some() && was.cookie != is.cookie;
        Ok((was.dev, was.ino) == (is.dev, is.ino) && !other_cookie)
    }

    /// Notes that an endpoint is back, or is not to come back.
    fn does_not_return(&self, unlocked: &mut Unlocked, key: &EndpointKey) -> Result<(), Refusal> {
        self.lock(unlocked).commit(vec![Change::DelReturning(key.clone())])
    }

    /// Detaches an endpoint because its user says so: it does not come back either.
    pub(super) fn detach_for_good(
        &self,
        unlocked: &mut Unlocked,
        network: &NetworkName,
        name: &EndpointName,
    ) -> Result<Reply, Refusal> {
        let key = (network.clone(), name.clone());
        if self.copies.state().returning.contains_key(&key) {
            self.does_not_return(unlocked, &key)?;
        }
        self.detach(unlocked, network, name)
    }
}
