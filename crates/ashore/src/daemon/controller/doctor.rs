//! `ashore doctor`: asks the LAN what nobody has asked yet, and has the checks look at all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use ashore_core::api::about::About;
use ashore_core::api::diagnosis::{Complaint, Diagnosis, Finding, Found};
use ashore_core::api::refusal::{self as refused, Refusal};
use ashore_core::api::reply::{PlannedStep, Reply};
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::checks::{self, Answered, Asked, Facts, Unanswered};
use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::state::{Change, State};
use ashore_core::model::survey::PoolReport;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::{IfName, NetworkName};
use ashore_core::net::observed::View;
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::create::PoolQuestion;
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;

use super::firewall::{HostFirewall, Looked};
use super::{Controller, Inner};
use crate::clock::now;
use crate::daemon::host_checks;
use crate::daemon::lan::Sought;
use crate::engines::running::{OLDEST_DOCKER, Version};
use crate::platform::{forwards, platform};
use crate::scripts;
use crate::unlocked::Unlocked;

/// How many free addresses of a network are asked for. Each takes three frames.
const MOST_ADDRESSES: usize = 32;
/// How many networks' DHCP servers are asked. Each may take some seconds, and a person waits.
const MOST_POOLS: usize = 4;

/// Which routers answer, and the machines that have their addresses.
type RoutersAsked = (BTreeMap<(IfName, Ipv4Addr), Option<bool>>, BTreeMap<(IfName, Ipv4Addr), Mac>);

/// What the doctor knows besides what it looks at.
#[derive(Default)]
pub(super) struct Doctor {
    /// What was found last.
    last: Mutex<Option<Diagnosis>>,
    /// The socket by which Docker finds the driver, once it is there.
    plugin: OnceLock<PathBuf>,
}

impl Controller {
    /// Says where the socket is by which Docker finds the driver.
    pub(crate) fn has_plugin_at(&self, socket: PathBuf) {
        // It is said once.
        let _ = self.doctor.plugin.set(socket);
    }

    /// Looks for what stands in the way.
    pub(super) fn diagnose(&self, unlocked: &mut Unlocked, complaint: &Complaint) -> Result<Reply, Refusal> {
        let (state, host) = {
            let reader = self.copies.reader(unlocked)?;
            (self.copies.state(), reader.observe(&[])?.host)
        };
        let parent = complaint.parent.as_ref().map(|parent| host.resolved(parent));
        let complaint = &Complaint { parent, ..complaint.clone() };
        let scope = Scope::of(&state, complaint)?;
        let networks: Vec<Network> =
            state.networks.values().filter(|network| scope.has(network)).cloned().collect();
        // Through a parent that passes no frames nobody can be asked.
        let passing = networks.iter().filter(|network| network.trouble_of_parent(&host).is_none());
        let passing: Vec<Network> = passing.filter(|network| network.is_passing(&host)).cloned().collect();
        let firewall = self.firewall();
        let mut asked = self.ask_the_lan(&state, &passing, &host);
        unheard(&mut asked, &firewall, &passing, &host);
        let deaf = |network: &Network| Some((network.name.clone(), self.deaf_server(unlocked, network)?));
        asked.own_servers = passing.iter().filter_map(deaf).collect();
        asked.unanswered = self.copies.reader(unlocked)?.with_link(self.lan.unanswered());
        // After the LAN was asked, because what it answered may end a trouble.
        let Reply::Status(status) = self.status_behind(unlocked, &firewall)? else {
            unreachable!("status answers so")
        };
        let of_scope = scoped(&state, &networks);
        let facts = Facts { state: &of_scope, host: &host, asked: &asked };
        let of_status = status.troubles.iter().filter(|trouble| scope.concerns(trouble, &networks)).cloned();
        let mut findings: Vec<Finding> =
            of_status.map(|trouble| Finding::trouble("status", trouble)).collect();
        findings.extend(checks::all(&facts));
        findings.extend(self.firewall_findings(unlocked, &firewall, &networks, &host));
        findings.extend(host_checks::kinds_of(unlocked, &networks));
        findings.extend(host_checks::managed_elsewhere(unlocked, &host));
        findings.extend(host_checks::plugin_socket(unlocked, &networks, self.doctor.plugin.get()));
        findings.extend(self.unheard_routers(&networks));
        findings.extend(ports_in_vain(&of_scope));
        // Of a host without a network, what a network would find is said.
        if networks.is_empty() {
            findings.extend(checks::host(&host, platform(), complaint.parent.as_ref()));
        }
        // What requests are about to do is not pending.
        let is_busy = findings
            .iter()
            .any(|finding| matches!(&finding.result, Found::Trouble(trouble) if trouble.code == Code::Busy));
        if !status.pending.is_empty() && !is_busy {
            findings.push(Finding::trouble("pending", pending(&status.pending)));
        }
        if let Some(to) = complaint.to {
            findings.push(self.reaches(unlocked, to, &networks, &host));
        }
        scripts::name_them(&mut findings);
        let diagnosis = Diagnosis::of(now(), findings);
        if complaint == &Complaint::default() {
            let mut last = self.doctor.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(diagnosis.clone());
        }
        Ok(Reply::Diagnosis(diagnosis))
    }

    /// What was found last, without asking anybody.
    pub(super) fn last_diagnosis(&self) -> Reply {
        let last = self.doctor.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map_or(Reply::Done { warnings: Vec::new() }, Reply::Diagnosis)
    }

    /// Asks the LAN, about all networks side by side.
    fn ask_the_lan(&self, state: &State, networks: &[Network], host: &View) -> Asked {
        let mut asked = Asked { platform: platform(), forwards: forwards(), now: now(), ..Asked::default() };
        let docker = self.lists.answers().filter(|_| has_dockers(state));
        asked.engines.extend(docker.map(|answer| ("Docker", answer.err())));
        let old = self.lists.version().filter(|version| has_dockers(state) && *version < OLDEST_DOCKER);
        let versions = |has: Version| ("Docker", (has.to_string(), OLDEST_DOCKER.to_string()));
        asked.old_engines.extend(old.map(versions));
        std::thread::scope(|scope| {
            let routers = scope.spawn(|| self.ask_all_routers(state, networks, host));
            let answered = scope.spawn(|| self.ask_addresses(state, networks, host));
            let pools = scope.spawn(|| self.ask_pools(networks));
            // What a thread that has panicked would have found is not known.
            (asked.routers, asked.macs_of_routers) = routers.join().unwrap_or_default();
            asked.answered = answered.join().unwrap_or_default();
            asked.pools = pools.join().unwrap_or_default();
        });
        let named = |network: &Network| (network.parent.clone(), self.lan.named_routers(&network.parent));
        asked.named_routers = networks.iter().map(named).collect();
        asked
    }

    fn ask_all_routers(&self, state: &State, networks: &[Network], host: &View) -> RoutersAsked {
        let unlocked = &Unlocked::of_this_thread();
        let routers = networks.iter().filter(|network| !network.internal).flat_map(|network| {
            let gateways = network.subnets.iter().filter_map(|subnet| match subnet.gateway? {
                IpAddr::V4(router) => Some(router),
                IpAddr::V6(_) => None,
            });
            gateways.map(|router| (network.parent.clone(), router))
        });
        // A router that is this host, or a container of it, is not reached by the wire.
        let is_here = |router: IpAddr| host.has_address(router) || state.holder(router).is_some();
        let mut routers: BTreeSet<(IfName, Ipv4Addr)> =
            routers.filter(|(_, router)| !is_here((*router).into())).collect();
        // Two addresses may be of one router.
        for network in networks {
            let named = self.lan.named_routers(&network.parent);
            let others = checks::elsewhere(network, host, &named).into_iter().map(|found| found.other);
            routers.extend(others.map(|other| (network.parent.clone(), other)));
        }
        let answered = self.lan.ask_routers(unlocked);
        let mut answers = self.lan.do_answer(unlocked, &routers, host);
        // A router that answers a container is there, whether or not it answers a host without an address.
        for (_, answer) in
            answers.iter_mut().filter(|(router, answer)| answer.is_none() && answered.contains(router))
        {
            *answer = Some(true);
        }
        let mac = |(parent, ip): &(IfName, Ipv4Addr)| {
            Some(((parent.clone(), *ip), self.lan.said_of(parent, (*ip).into())?))
        };
        (answers, routers.iter().filter_map(mac).collect())
    }

    /// Asks for free addresses of each network's ranges, which nobody should have.
    fn ask_addresses(
        &self,
        state: &State,
        networks: &[Network],
        host: &View,
    ) -> BTreeMap<NetworkName, Result<Answered, String>> {
        let (unlocked, none) = (&Unlocked::of_this_thread(), BTreeMap::new());
        let held = BTreeSet::new();
        let mut all = BTreeMap::new();
        for network in networks.iter().filter(|network| network.conflict != Profile::Off) {
            let known = AddressesInUse { host, heard: &BTreeMap::new(), answered: &none, held: &held };
            let free = network.handed_out().filter(|subnet| subnet.net.addr().is_ipv4()).flat_map(|subnet| {
                state.candidates(network, subnet, None, &known).take(MOST_ADDRESSES).collect::<Vec<_>>()
            });
            let sought: Vec<Sought> = free.map(|ip| (ip, None)).collect();
            let answered = self.lan.probe(unlocked, &network.parent, &sought, Profile::Quick);
            let answered = answered.map(|answered| (sought.len(), answered)).map_err(|error| error.why);
            all.insert(network.name.clone(), answered);
        }
        all
    }

    fn ask_pools(&self, networks: &[Network]) -> BTreeMap<NetworkName, Result<Vec<PoolReport>, String>> {
        let unlocked = &mut Unlocked::of_this_thread();
        let (mut all, mut asked) = (BTreeMap::new(), 0);
        let mut parents: BTreeMap<&IfName, &NetworkName> = BTreeMap::new();
        let wanted = networks.iter().filter(|network| network.conflict != Profile::Off);
        for network in wanted.filter(|network| network.subnets.iter().any(|one| one.net.addr().is_ipv4())) {
            // A server tells the same for each network on its LAN, unless they have ranges of their own.
            let leased = network.handed_out().next().is_none();
            if leased && let Some(first) = parents.get(&network.parent) {
                let same: Option<Result<Vec<PoolReport>, String>> = all.get(*first).cloned();
                all.extend(same.map(|same| (network.name.clone(), same)));
                continue;
            }
            if asked >= MOST_POOLS {
                let why = format!(
                    "DHCP servers are asked for {MOST_POOLS} networks at a time: `ashore doctor {}`",
                    network.word()
                );
                all.insert(network.name.clone(), Err(why));
                continue;
            }
            asked += 1;
            if leased {
                parents.insert(&network.parent, &network.name);
            }
            let question = if leased {
                PoolQuestion { parent: Some(network.parent.clone()), ..PoolQuestion::default() }
            } else {
                PoolQuestion { network: Some(network.name.clone()), ..PoolQuestion::default() }
            };
            let answer = match self.check_pool(unlocked, &question) {
                Ok(Reply::Pools(reports)) => Ok(reports),
                Ok(_) => continue,
                Err(refusal) => Err(refusal.message),
            };
            all.insert(network.name.clone(), answer);
        }
        all
    }

    /// Networks that take what routers advertise, on LANs where nobody was heard to advertise anything. That may be
    /// meant, so it is no trouble.
    fn unheard_routers(&self, networks: &[Network]) -> Vec<Finding> {
        let hears_nobody = |network: &&Network| {
            let offer = self.lan.offer(&network.parent);
            network.ipv6 == Ipv6Mode::Auto
                && offer.prefixes.is_empty()
                && offer.unfit.is_empty()
                && !offer.managed
        };
        let told = networks.iter().filter(hears_nobody).map(|network| {
            let why = format!(
                "whether containers of network `{}` can have IPv6 is not known: no router on the LAN of `{}` was heard to \
                 advertise a prefix or a DHCPv6 server",
                network.label(),
                network.parent
            );
            Finding::unknown("ipv6", About::network(network), why)
        });
        told.collect()
    }

    /// What is known of the host's firewall besides the troubles, which the status has.
    fn firewall_findings(
        &self,
        unlocked: &Unlocked,
        firewall: &HostFirewall<'_>,
        networks: &[Network],
        host: &View,
    ) -> Vec<Finding> {
        const CHECK: &str = "firewall";
        let bridged = self.cut_by_firewall(unlocked, firewall, networks, host);
        let of_host = Self::host_cut_by_firewall(unlocked, firewall, networks, host);
        let is_clear = |looked: &Looked| looked.troubles.is_empty() && looked.unknown.is_empty();
        let mut found = Vec::new();
        if networks.iter().any(|network| network.kind == LinkKind::Bridge) && is_clear(&bridged) {
            let what = "this host's firewall lets packets pass the bridges of networks";
            found.push(Finding::fine(CHECK, About::default(), what));
        }
        let unknown = bridged.unknown.into_iter().chain(of_host.unknown);
        found.extend(unknown.map(|(about, why)| Finding::unknown(CHECK, about, why)));
        found
    }

    /// Troubles with routers, as they are known without asking.
    pub(super) fn unanswered_troubles(&self, inner: &Inner, host: &View) -> Vec<Trouble> {
        inner.troubles_of(self.lan.unanswered(), host)
    }

    /// That something drops the frames of a network's MACs, as it is known without asking.
    pub(super) fn dropped_macs(&self, inner: &Inner, network: &Network, host: &View) -> Vec<Trouble> {
        let mut all = self.lan.unanswered();
        all.retain(|one| one.endpoint.0 == network.name && one.answers_parent == Some(true));
        inner.troubles_of(all, host)
    }

    /// That the API of an engine cannot be reached.
    pub(super) fn engine_trouble(&self, state: &State) -> Option<Trouble> {
        let why = self.lists.answers().filter(|_| has_dockers(state))?.err()?;
        Some(checks::unreachable_engine("Docker", &why))
    }

    /// Whether a machine of the LAN answers the parent whose subnet it is in.
    fn reaches(&self, unlocked: &Unlocked, to: Ipv4Addr, networks: &[Network], host: &View) -> Finding {
        const CHECK: &str = "to";
        let about = About::address(to.into());
        if host.has_address(to.into()) {
            return Finding::fine(CHECK, about, format!("{to} is this host's own"));
        }
        if let Some(endpoint) = self.copies.state().holder(to.into()) {
            return Finding::fine(CHECK, about, format!("{to} is the address of `{}`", endpoint.name));
        }
        let Some(network) = networks.iter().find(|network| network.subnet_of(to.into()).is_some()) else {
            let why = format!(
                "{to} is in no subnet of these networks, so the router has to take it there: ping it in a container, as by \
                 `docker exec NAME ping {to}`"
            );
            return Finding::unknown(CHECK, about, why);
        };
        let (parent, asked) = (&network.parent, (network.parent.clone(), to));
        let answers = self.lan.do_answer(unlocked, &BTreeSet::from([asked.clone()]), host);
        match answers.get(&asked).copied().flatten() {
            Some(true) => Finding::fine(CHECK, about, format!("{to} answers on the LAN of `{parent}`")),
            Some(false) => {
                let message = format!(
                    "{to} does not answer on the LAN of `{parent}`: it is off, or has another address"
                );
                let remedy = "check the address on that machine".into();
                Finding::trouble(CHECK, Trouble::new(Code::MachineSilent, about, message, Some(remedy)))
            }
            None => {
                let why = format!(
                    "whether {to} answers is not known: `{parent}` passes no frames, or has no address to ask from"
                );
                Finding::unknown(CHECK, about, why)
            }
        }
    }
}

/// Takes back the silence of routers whose answers the host's own firewall may drop.
fn unheard(asked: &mut Asked, firewall: &HostFirewall<'_>, networks: &[Network], host: &View) {
    for ((parent, router), answer) in &mut asked.routers {
        let through = |network: &&Network| network.parent == *parent;
        let is_deaf = || {
            networks.iter().filter(through).any(|network| {
                let subnet = network.subnet_of((*router).into());
                subnet.is_some_and(|subnet| Controller::is_deaf(firewall, network, subnet.net, host))
            })
        };
        if *answer == Some(false) && is_deaf() {
            *answer = None;
        }
    }
}

/// Whether there is a network of Docker's. Without one it does not matter whether Docker answers.
fn has_dockers(state: &State) -> bool {
    state.networks.values().any(|network| network.ownership().engine() == Some(EngineKind::Docker))
}

/// Ports that were to be published: nothing is wrong, and their users look for them elsewhere.
fn ports_in_vain(state: &State) -> Vec<Finding> {
    let told = state.endpoints.values().filter_map(|endpoint| {
        let note = endpoint.note_of_ports(state.network_of(endpoint)?.label())?;
        Some(Finding::fine("ports", About::endpoint(endpoint, state), note))
    });
    told.collect()
}

/// That the kernel differs from the state.
fn pending(steps: &[PlannedStep]) -> Trouble {
    let first = &steps[0].command;
    let more = match steps.len() {
        1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    let message =
        format!("the kernel is not as it should be, and the next reconciliation changes it: {first}{more}");
    let remedy = Remedy::from("wait a minute; if it stays, ").and_run("ashore plan").and(" shows all of it");
    Trouble::new(Code::Pending, About::default(), message, Some(remedy))
}

impl Inner {
    /// What is wrong where routers do not answer endpoints.
    fn troubles_of(&self, unanswered: Vec<Unanswered>, host: &View) -> Vec<Trouble> {
        let all = self.with_link(unanswered);
        if all.is_empty() {
            return Vec::new();
        }
        checks::unanswered(self.state(), host, platform(), &all)
    }

    /// Those whose link is up. A link that its engine has not brought up yet gets no answer, and that is no fault of
    /// the LAN's. A parent that does not tell its children's MACs has them all.
    fn with_link(&self, mut all: Vec<Unanswered>) -> Vec<Unanswered> {
        let mut taken_in: BTreeMap<IfName, Option<BTreeSet<Mac>>> = BTreeMap::new();
        all.retain(|one| {
            let of_parent = || self.kernel.macs_on(&one.parent).ok().flatten();
            let macs = taken_in.entry(one.parent.clone()).or_insert_with(of_parent);
            // An endpoint with the parent's MAC is not in the list.
            one.answers_parent.is_none() || macs.as_ref().is_none_or(|macs| macs.contains(&one.mac))
        });
        all
    }
}

/// The part of everything that a complaint is about.
struct Scope<'a> {
    name: Option<&'a str>,
    parent: Option<&'a IfName>,
    networks: BTreeSet<NetworkName>,
}

impl<'a> Scope<'a> {
    fn of(state: &State, complaint: &'a Complaint) -> Result<Self, Refusal> {
        let (name, parent) = (complaint.about.as_deref(), complaint.parent.as_ref());
        let is_meant = |network: &&Network| {
            let is_called = |name: &str| {
                let has = || state.endpoints_on(&network.name).any(|endpoint| endpoint.name.as_str() == name);
                network.label() == name || network.name.as_str() == name || has()
            };
            name.is_none_or(is_called) && parent.is_none_or(|parent| network.parent == *parent)
        };
        let networks: BTreeSet<NetworkName> =
            state.networks.values().filter(is_meant).map(|network| network.name.clone()).collect();
        if networks.is_empty()
            && let Some(name) = name
        {
            let message = format!("there is no network and no container `{name}` on one");
            let remedy = Remedy::run("ashore status").and(" lists both");
            return Err(Refusal::new(refused::Code::NoNetwork, About::label(name), message, Some(remedy)));
        }
        Ok(Scope { name, parent, networks })
    }

    fn has(&self, network: &Network) -> bool {
        self.networks.contains(&network.name)
    }

    /// Whether a trouble belongs to it. What concerns the host concerns everything on it.
    fn concerns(&self, trouble: &Trouble, networks: &[Network]) -> bool {
        if self.name.is_none() && self.parent.is_none() {
            return true;
        }
        let About { network, endpoint, .. } = &trouble.about;
        let is_network =
            network.as_ref().is_none_or(|label| networks.iter().any(|network| network.label() == label));
        let is_named =
            |network: &Network| [network.label(), network.name.as_str()].map(Some).contains(&self.name);
        let names_network = networks.iter().any(is_named);
        let is_endpoint =
            endpoint.as_ref().is_none_or(|one| self.name.is_none_or(|name| one.as_str() == name));
        is_network && (names_network || is_endpoint)
    }
}

/// The state with some networks alone.
fn scoped(state: &State, networks: &[Network]) -> State {
    let mut of_scope = state.clone();
    let others =
        state.networks.values().filter(|network| !networks.iter().any(|one| one.name == network.name));
    for network in others {
        for endpoint in state.endpoints_on(&network.name) {
            of_scope.apply(Change::DelEndpoint(endpoint.key()));
        }
        of_scope.apply(Change::DelNetwork(network.name.clone()));
    }
    of_scope
}
