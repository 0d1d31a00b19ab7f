//! Networks whose user gives them other addresses.

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::network::Network;
use ashore_core::model::ownership::Ownership;
use ashore_core::model::state::{Change, State};
use ashore_core::net::name::NetworkName;
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::attach::AttachSpec;
use ashore_core::rules::readdress::Readdress;

use super::network::no_network;
use super::{Controller, all_netns};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

impl Controller {
    /// Gives a network other addresses. The endpoints that are on it are taken off before, and attached again.
    pub(super) fn readdress(&self, unlocked: &mut Unlocked, to: &Readdress) -> Result<Reply, Refusal> {
        let (_, _, mut warnings) = self.checked_readdress(unlocked, to)?;
        let state = self.copies.state();
        let on_it: Vec<AttachSpec> = state.endpoints_on(&to.network).filter_map(again).collect();
        let mut off = Vec::new();
        for spec in on_it {
            if let Err(refusal) = self.detach(unlocked, &to.network, &spec.name) {
                self.attach_all(unlocked, off, &mut warnings);
                return Err(refusal);
            }
            off.push(spec);
        }
        let moved = self.commit_readdressed(unlocked, to);
        // Whether or not the network has the new addresses, its endpoints are on it again.
        self.attach_all(unlocked, off, &mut warnings);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Reply::Created { network: moved?, warnings })
    }

    /// What it would change: the endpoints go, and the host's side is made anew.
    pub(super) fn plan_readdress(&self, unlocked: &mut Unlocked, to: &Readdress) -> Result<Reply, Refusal> {
        let (_, moved, _) = self.checked_readdress(unlocked, to)?;
        let inner = self.lock(unlocked);
        let observed = inner.observe(&all_netns(inner.state()))?;
        let going = inner.state().endpoints_on(&to.network).cloned();
        let going = going.map(|endpoint| Endpoint { stage: Stage::Detaching, ..endpoint });
        let mut changes: Vec<Change> = going.map(Change::PutEndpoint).collect();
        changes.push(Change::PutNetwork(moved));
        inner.planned(&inner.state().with(&changes), &observed)
    }

    /// Returns the network as it is and as it will be, if nothing prevents that, and warnings.
    fn checked_readdress(
        &self,
        unlocked: &mut Unlocked,
        to: &Readdress,
    ) -> Result<(Network, Network, Vec<String>), Refusal> {
        let (before, moved, host) = {
            let inner = self.lock(unlocked);
            let host = inner.observe(&[])?.host;
            let before = may_have_others(inner.state(), &to.network, to.reconnect)?;
            let moved = inner.state().readdressed(&before, to, &host);
            let moved = moved.map_err(|error| refusal::network(&error))?;
            (before, moved, host)
        };
        let mut warnings = Vec::new();
        if moved != before {
            self.look_for_host_addresses(unlocked, &moved, &host)?;
            warnings = self.clear_of_pools(unlocked, &moved, &host)?;
        }
        Ok((before, moved, warnings))
    }

    fn commit_readdressed(&self, unlocked: &mut Unlocked, to: &Readdress) -> Result<Network, Refusal> {
        let mut inner = self.lock(unlocked);
        let host = inner.observe(&[])?.host;
        // An endpoint that has come meanwhile would keep an address of the old range.
        let before = may_have_others(inner.state(), &to.network, false)?;
        let moved = inner.state().readdressed(&before, to, &host);
        let moved = moved.map_err(|error| refusal::network(&error))?;
        inner.commit(vec![Change::PutNetwork(moved.clone())])?;
        inner.sweep(&all_netns(inner.state()))?;
        Ok(moved)
    }

    fn attach_all(&self, unlocked: &mut Unlocked, specs: Vec<AttachSpec>, warnings: &mut Vec<String>) {
        for mut spec in specs {
            let mut attached = self.attach(unlocked, &spec);
            // An address that its user chose may be of the subnet that has gone.
            if attached.is_err() && !spec.ips.is_empty() {
                let ips = std::mem::take(&mut spec.ips);
                attached = self.attach(unlocked, &spec);
                if attached.is_ok() {
                    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
                    warnings.push(format!("`{}` has another address than {}", spec.name, ips.join(", ")));
                }
            }
            match attached {
                Ok(Reply::Attached(report)) => warnings.extend(report.warnings),
                Ok(_) => {}
                Err(refusal) => warnings.push(format!(
                    "`{}` is off the network and could not be attached again: {refusal}; try: ashore attach {} --netns {} \
                     --name {}",
                    spec.name,
                    spec.network,
                    spec.netns.display(),
                    spec.name
                )),
            }
        }
    }
}

/// Returns the network, if its addresses are its user's to change, and nobody has one or all can be attached again.
fn may_have_others(state: &State, name: &NetworkName, reconnect: bool) -> Result<Network, Refusal> {
    let network = state.networks.get(name).cloned().ok_or_else(|| no_network(name))?;
    let label = network.label();
    if let Some(engine) = network.ownership().engine() {
        let message =
            format!("network `{label}` belongs to {engine}, which keeps its subnet and range itself");
        let program = engine.program();
        let remedy = Remedy::from("take its containers off, and create it again: ")
            .and_run(format!("{program} network rm {label}"))
            .and(", ")
            .and_run(format!("{program} network create …"))
            .and("; names keep their addresses, as far as they are in the new range");
        return Err(Refusal::new(Code::NetworkOfEngine, About::network(&network), message, Some(remedy)));
    }
    let on_it: Vec<&Endpoint> = state.endpoints_on(name).collect();
    let foreign = on_it.iter().find(|endpoint| again(endpoint).is_none());
    match (on_it.as_slice(), foreign) {
        ([], _) => Ok(network),
        (_, Some(foreign)) => {
            let message =
                format!("network `{label}` has `{}`, which its engine attaches and detaches", foreign.name);
            let remedy = "stop that container first".into();
            Err(Refusal::new(Code::EndpointsAttached, About::endpoint(foreign, state), message, Some(remedy)))
        }
        (_, None) if reconnect => Ok(network),
        ([first, ..], None) => {
            let message = format!(
                "network `{label}` has {} endpoint(s), such as `{}`, with addresses as they are now",
                on_it.len(),
                first.name
            );
            let remedy = Remedy::from(
                "with --reconnect they are taken off for a moment, and attached again; ashore plan move shows what goes",
            );
            Err(Refusal::new(Code::EndpointsAttached, About::endpoint(first, state), message, Some(remedy)))
        }
    }
}

/// How an endpoint of the command line's is attached again. An engine's is attached by its engine.
fn again(endpoint: &Endpoint) -> Option<AttachSpec> {
    let Placement::Netns { netns, ifname } = &endpoint.placement else { return None };
    (endpoint.ownership == Ownership::Cli).then(|| AttachSpec {
        network: endpoint.network.clone(),
        name: endpoint.name.clone(),
        netns: netns.path.clone(),
        ips: endpoint.by_user.addresses.clone(),
        mac: endpoint.mac.filter(|_| endpoint.by_user.mac),
        ifname: ifname.clone(),
        default_route: endpoint.default_route,
        own_routes: endpoint.own_routes.clone(),
        unaddressed: endpoint.source == ashore_core::model::endpoint::Source::None,
        only_requested: false,
        wishes: endpoint.wishes.clone(),
        caller: None,
    })
}
