//! Which part of the controller answers a request.

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use super::{Cause, Controller, network};
use crate::supervise;
use crate::unlocked::Unlocked;

impl Controller {
    /// Answers one request. All requests enter here.
    pub(crate) fn handle(&self, request: Request) -> Reply {
        if let Some(reply) = self.answer_to_stranger(&request) {
            return reply;
        }
        let unlocked = &mut Unlocked::of_this_thread();
        let (reads, of_user) = (only_reads(&request), matches!(request, Request::OfUser { .. }));
        // A request to adopt has the name of an engine's network. What users may not use is not told them.
        let is_of_ashore = !of_user && !matches!(request, Request::Adopt(_));
        let answer = supervise::contained(|| self.answer(unlocked, request)).and_then(|answer| answer);
        // The request may have left a VLAN interface because it was not known whether others use it.
        if !reads && self.look_at_vlans(unlocked) {
            self.reconcile(unlocked, Cause::Search);
        }
        answer.unwrap_or_else(|mut refusal| {
            if is_of_ashore {
                network::name_the_meant(&mut refusal, &self.copies.state());
            }
            // Whoever may only read, or is not root, must not fill the log. A fault of the daemon's own is logged by the
            // panic.
            if !reads && !of_user {
                tracing::info!(kind = ?refusal.kind, "refused: {refusal}");
            }
            Reply::Refused(refusal)
        })
    }

    fn answer(&self, unlocked: &mut Unlocked, mut request: Request) -> Result<Reply, Refusal> {
        #[cfg(debug_assertions)]
        if !only_reads(&request) {
            let _under_the_lock = self.lock(unlocked);
            supervise::fault("request");
        }
        if let Some(name) = request.network_mut()
            && let Some(network) = self.copies.state().network_called(name)
        {
            *name = network.name.clone();
        }
        if !only_looks(&request) {
            self.finish_what_was_cut_short(unlocked);
        }
        match request {
            Request::CreateNetwork(spec) => self.create_network(unlocked, &spec),
            Request::RemoveNetwork { network } => self.remove_own_network(unlocked, &network),
            Request::MoveNetwork { network, parent, reconnect } => {
                self.move_network(unlocked, &network, &parent, reconnect)
            }
            Request::Readdress(to) => self.readdress(unlocked, &to),
            Request::ListNetworks => {
                let state = self.copies.state();
                let networks = state.networks.values();
                Ok(Reply::Networks(networks.map(|network| state.as_leased(network)).collect()))
            }
            Request::InspectNetwork { network } => self.inspect_network(&network),
            Request::Attach(spec) => self.attach(unlocked, &spec),
            Request::FindNetwork(spec) => self.find_network(unlocked, &spec),
            Request::SetUp { network, attach } => self.set_up(unlocked, &network, &attach),
            Request::OfUser { user, call } => self.of_user(unlocked, &user, call),
            Request::Allow { network, whom, no_longer } => self.allow(unlocked, &network, &whom, no_longer),
            Request::Lend { network, attach } => self.lend(unlocked, &network, &attach),
            Request::TearDown(gone) => self.tear_down(unlocked, &gone),
            Request::TakeOff(gone) => Ok(self.take_attachment_off(unlocked, &gone)),
            Request::CheckSetUp(check) => self.check_set_up(unlocked, &check),
            Request::KeepSetUp(keep) => Ok(self.keep_set_up(unlocked, &keep)),
            Request::Detach { network, name } => self.detach_for_good(unlocked, &network, &name),
            Request::Adopt(spec) => self.adopt(unlocked, &spec),
            Request::Unadopt { network } => self.unadopt(unlocked, &network),
            Request::Forget { network, name } => self.forget(unlocked, network.as_deref(), &name),
            Request::EngineCall(call) => self.engine_call(unlocked, call),
            Request::TakeInventory(inventory) => self.take_inventory(unlocked, inventory),
            Request::MoveNic(spec) => self.move_nic(unlocked, &spec),
            Request::KeepMove => self.keep_move(unlocked),
            Request::Plan(None) => self.plan_of_nothing(unlocked),
            Request::Plan(Some(change)) => {
                self.with_vlans_looked_at(unlocked, |unlocked| self.plan(unlocked, (*change).clone()))
            }
            Request::CheckPool(question) => self.check_pool(unlocked, &question),
            Request::Status => self.status(unlocked),
            Request::Diagnose(complaint) => self.diagnose(unlocked, &complaint),
            Request::LastDiagnosis => Ok(self.last_diagnosis()),
            Request::Events { after, about } => Ok(self.events(after, about.as_deref())),
            Request::Map { network } => self.map(unlocked, network.as_ref()),
            Request::ExportState => Ok(Reply::State(self.copies.store().export())),
            Request::ImportState(document) => self.import(unlocked, document),
            Request::Rekey => self.rekey(unlocked),
            Request::AcceptMachine => self.accept_machine(unlocked),
        }
    }
}

/// Whether a request changes nothing.
fn only_looks(request: &Request) -> bool {
    only_reads(request) || matches!(request, Request::Plan(_) | Request::CheckPool(_) | Request::Diagnose(_))
}

/// Whether a request is answered from a copy of what is known, without the lock.
fn only_reads(request: &Request) -> bool {
    request.is_reading() || matches!(request, Request::ExportState)
}
