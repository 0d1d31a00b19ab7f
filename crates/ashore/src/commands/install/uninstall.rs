//! `ashore uninstall`: removes what `ashore install` wrote, and what the daemon made on the host. It
//! continues after an error, because leaving things behind is worse than the error.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_core::api::refusal::Code;
use ashore_core::api::reply::{Reply, Status};
use ashore_core::api::request::Request;
use ashore_core::model::endpoint::Stage;
use ashore_core::model::identity::Seed;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::{EngineKind, Ownership};
use ashore_core::model::state::State;
use ashore_core::net::step::Step;
use ashore_core::net::text::{Word, list};
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_kernel::{Kernel, NamespaceLock, OnError};
use ashore_store::Store;

use super::action::{self, Action};
use super::init::Init;
use super::{
    Host, NAME, Programs, group, is_same_file, packaged, plug, refused, ruling_daemon, shared, systemctl,
    unit,
};
use crate::cli::{BIN_DIR, UninstallArgs};
use crate::client::{ClientArgs, Failure, ask, unexpected};
use crate::files;
use crate::out::{line_if_read, say};

/// The default directories of the daemon's state and sockets.
const STATE: &str = "/var/lib/ashore";
const RUN: &str = "/run/ashore";
const PLUGIN: &str = "/run/docker/plugins/ashore.sock";

/// Uses of the daemon that an uninstallation would interrupt.
#[derive(Default)]
struct InUse {
    endpoints: Vec<(String, Ownership)>,
    /// The networks of engines, which have them without a daemon too.
    networks: Vec<(String, EngineKind)>,
}

/// `ashore uninstall`.
pub(crate) fn uninstall(args: &UninstallArgs) -> Result<(), Failure> {
    let bin_dir = args.bin_dir.clone().unwrap_or_else(|| bin_dir_of_unit(&args.root));
    let host = Host::new(&args.root, &bin_dir)?;
    if host.is_packaged() && !args.packaged {
        return Err(packaged::by_package());
    }
    if !args.dry_run {
        host.check_privilege()?;
    }
    let (mut of_engines, mut goes_on) = (None, Vec::new());
    if host.is_this() {
        refuse_foreign_daemon(&host)?;
        if args.force || args.keep {
            // Where nobody knows what is in use, nothing can be said of it.
            goes_on = in_use(&host, &args.socket).map(|used| used.goes_on(args.keep)).unwrap_or_default();
        } else {
            of_engines = refuse_in_use(&host, &args.socket)?;
        }
    }
    let stop = stop_actions(&host);
    let is_swept = host.is_this() && !args.keep;
    let steps = if is_swept { left_by_daemon(&Kernel::here().context("the kernel")?)? } else { Vec::new() };
    let (remove, mut left) = remove_actions(&host, args)?;
    left.extend(of_engines);
    left.extend((host.programs_are == Programs::OfExtension).then(|| packaged::LEFT_OF_EXTENSION.into()));
    if args.dry_run {
        action::show(&stop);
        for step in &steps {
            say!("{step}");
        }
        action::show(&remove);
        for line in &goes_on {
            say!("# {line}");
        }
        say!("# nothing was changed");
        return Ok(());
    }
    let mut failures = action::as_far_as_possible(&stop);
    if is_swept {
        failures.extend(sweep().err());
    }
    failures.extend(action::as_far_as_possible(&remove));
    for what in &left {
        line_if_read(&format!("# left: {what}"));
    }
    for line in &goes_on {
        line_if_read(&format!("# {line}"));
    }
    if stop.is_empty() && steps.is_empty() && remove.is_empty() {
        line_if_read(&"# nothing is installed here");
    }
    if host.init != Init::Systemd {
        line_if_read(&format!("# remove what starts the daemon with {} yourself", host.init.name()));
    }
    finish(failures)
}

/// The directory of the program, as the unit names it.
fn bin_dir_of_unit(root: &Path) -> PathBuf {
    let unit = root.join(unit::DIRECTORY.trim_start_matches('/')).join(unit::SERVICE);
    let text = std::fs::read_to_string(unit).unwrap_or_default();
    let directory = unit::program(&text).and_then(Path::parent);
    directory.map_or_else(|| BIN_DIR.into(), Path::to_owned)
}

/// Fails if a daemon runs that is not the service, because it would continue without its program.
fn refuse_foreign_daemon(host: &Host) -> Result<(), Failure> {
    match ruling_daemon() {
        Some(pid) if host.units.is_none() || systemctl::main_pid() != Some(pid) => Err(refused(
            Code::OtherDaemon,
            format!("the daemon (pid {pid}) is running"),
            &format!("stop it first: kill {pid}"),
        )),
        _ => Ok(()),
    }
}

/// Fails if something is attached, or if an engine could not do without the driver. Returns the description of what
/// engines have and can remove themselves.
fn refuse_in_use(host: &Host, socket: &Path) -> Result<Option<String>, Failure> {
    let InUse { endpoints, networks } = in_use(host, socket)?;
    if !endpoints.is_empty() {
        let has = |kind: EngineKind| endpoints.iter().any(|(_, ownership)| *ownership == kind.into());
        // A runtime that uses CNI plugins is not known by name.
        let named = |kind: &EngineKind| has(*kind) && *kind != EngineKind::Cni;
        let engines = EngineKind::ALL.into_iter().filter(named);
        let by_engines: Vec<String> =
            engines.map(|kind| format!("a container of {kind}'s: {} rm -f NAME", kind.program())).collect();
        let by_engines =
            if by_engines.is_empty() { String::new() } else { format!(" ({})", by_engines.join("; ")) };
        let endpoints: Vec<String> = endpoints.into_iter().map(|(shown, _)| shown).collect();
        return Err(refused(
            Code::EndpointsAttached,
            format!("{} are attached", endpoints.join(", ")),
            &format!("detach them first{by_engines}, or --keep to let them run, or --force"),
        ));
    }
    let labels = |kind: EngineKind| -> Vec<String> {
        networks.iter().filter(|(_, of)| *of == kind).map(|(label, _)| label.clone()).collect()
    };
    let words = |labels: &[String]| {
        labels.iter().map(|label| Word::of(label).to_string()).collect::<Vec<_>>().join(" ")
    };
    let dockers = labels(EngineKind::Docker);
    if !dockers.is_empty() {
        return Err(refused(
            Code::NetworkOfEngine,
            format!("Docker cannot remove its networks {} without their driver", dockers.join(", ")),
            &format!("docker network rm {}, or --force", words(&dockers)),
        ));
    }
    // Podman removes its networks without asking anybody.
    let podmans = labels(EngineKind::Podman);
    let left = format!(
        "Podman's networks {}; Podman removes them without Ashore: podman network rm {}",
        podmans.join(", "),
        words(&podmans)
    );
    Ok((!podmans.is_empty()).then_some(left))
}

/// What is attached, as reported by the daemon, or, if none runs, as recorded in the state.
fn in_use(host: &Host, socket: &Path) -> Result<InUse, Failure> {
    if ruling_daemon().is_some() {
        let client = ClientArgs { socket: socket.to_owned(), json: false };
        return match ask(&client, &Request::Status)? {
            Reply::Status(status) => Ok(InUse::of_status(&status)),
            other => Err(unexpected(&other)),
        };
    }
    let directory = host.at(STATE);
    if !directory.exists() {
        return Ok(InUse::default());
    }
    let run = host.at(RUN);
    let backlog = if run.is_dir() { files::backlog(&run).map_err(anyhow::Error::from)? } else { None };
    // The state exists, so the seed is not used.
    let store = Store::open_with(&directory, Seed([0; 16]), backlog).map_err(anyhow::Error::from)?;
    Ok(InUse::of_state(store.state()))
}

impl InUse {
    /// What of it goes on working without a daemon, and what does not.
    fn goes_on(&self, keeps: bool) -> Vec<String> {
        let mut said = Vec::new();
        if !self.endpoints.is_empty() {
            let names = list(self.endpoints.iter().map(|(shown, _)| shown));
            let host = if keeps { "this host reaches them" } else { "this host no longer reaches them" };
            said.push(format!(
                "goes on: {names}: on the LAN with their addresses until they stop or this host restarts, and {host}"
            ));
            said.push("ends: leases are not renewed, and nobody defends their addresses".to_owned());
        }
        for kind in EngineKind::ALL {
            let networks: Vec<&String> =
                self.networks.iter().filter(|(_, of)| *of == kind).map(|(label, _)| label).collect();
            if !networks.is_empty() {
                let names = list(networks.iter());
                said.push(format!(
                    "ends: {kind} starts no container on {names} until Ashore is installed again, and stops one with an error"
                ));
            }
        }
        said
    }

    fn of_status(status: &Status) -> Self {
        let attached = status.endpoints.iter().filter(|endpoint| endpoint.stage != Stage::Reserved);
        let networks = status.networks.iter().map(|report| &report.network);
        InUse {
            endpoints: attached
                .map(|endpoint| (format!("{} on {}", endpoint.name, endpoint.network), endpoint.ownership))
                .collect(),
            networks: networks.filter_map(of_engine).collect(),
        }
    }

    fn of_state(state: &State) -> Self {
        let attached = state.endpoints.values().filter(|endpoint| endpoint.stage != Stage::Reserved);
        let label = |network| state.networks.get(network).map_or("?", |network| network.label());
        InUse {
            endpoints: attached
                .map(|endpoint| {
                    (format!("{} on {}", endpoint.name, label(&endpoint.network)), endpoint.ownership)
                })
                .collect(),
            networks: state.networks.values().filter_map(of_engine).collect(),
        }
    }
}

/// The name of an engine's network, and the engine's kind.
fn of_engine(network: &Network) -> Option<(String, EngineKind)> {
    network.engine.as_ref().map(|engine| (network.label().to_owned(), engine.kind))
}

/// The commands that stop the units. The sockets come first, so that no call starts the service again.
fn stop_actions(host: &Host) -> Vec<Action> {
    if host.units.is_none() {
        return Vec::new();
    }
    let there =
        systemctl::DISABLE.iter().filter(|words| words.last().is_some_and(|unit| host.unit(unit).exists()));
    there.map(|words| Action::Systemctl(words)).collect()
}

/// The steps that remove everything with Ashore's tag, as a state without networks requires.
fn left_by_daemon(kernel: &Kernel) -> Result<Vec<Step>, Failure> {
    let observed = kernel.observe(&[]).map_err(anyhow::Error::from)?;
    let nothing = desired(&State::new(Seed([0; 16])), &observed);
    Ok(plan(&nothing, &observed).steps)
}

/// Removes the shims and routes from the host. No daemon may run, because it would recreate them.
fn sweep() -> Result<(), Failure> {
    let _lock = NamespaceLock::take().map_err(anyhow::Error::from)?;
    let kernel = Kernel::here().context("the kernel")?;
    let steps = left_by_daemon(&kernel)?;
    steps.iter().for_each(line_if_read);
    match kernel.apply(&steps, OnError::GoOn).errors.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// The actions that remove files, and the descriptions of what is left because Ashore must not remove it.
fn remove_actions(host: &Host, args: &UninstallArgs) -> Result<(Vec<Action>, Vec<String>), Failure> {
    let (mut actions, mut left) = (Vec::new(), Vec::new());
    for (name, target) in unit::WANTED_BY {
        let wanted = target.map(|target| host.wanted(name, target));
        if let Some(wanted) = wanted.filter(|wanted| !host.is_this() && wanted.is_symlink()) {
            actions.push(Action::RemoveFile(wanted));
        }
        let path = host.at(unit::DIRECTORY).join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) if unit::is_untouched(&text) => actions.push(Action::RemoveFile(path)),
            Ok(_) => left.push(format!("{}, which was changed since it was written", path.display())),
            Err(_) => {}
        }
        let changes = host.at(unit::DIRECTORY).join(format!("{name}.d"));
        if changes.exists() {
            left.push(format!("{}, which is yours", changes.display()));
        }
    }
    if host.units.is_some() && !actions.is_empty() {
        actions.push(Action::Systemctl(systemctl::RELOAD));
    }
    let (group, group_left) = group::remove_actions(host);
    actions.extend(group);
    left.extend(group_left);
    let (plug, plug_left) = plug::remove_actions(host)?;
    actions.extend(plug);
    left.extend(plug_left);
    if host.has_own_programs() {
        let (shared, shared_left) = shared::remove_actions(host, &host.program);
        actions.extend(shared);
        left.extend(shared_left);
    }
    let program = host.at(&host.program);
    if program.exists() && host.has_own_programs() {
        let own = std::env::current_exe().context("this program's own file")?;
        if is_same_file(&own, &program)? {
            actions.push(Action::RemoveFile(program));
        } else {
            left.push(format!("{}, which is not this {NAME}", program.display()));
        }
    }
    if host.is_this() {
        actions.extend(Path::new(PLUGIN).exists().then(|| Action::RemoveFile(PLUGIN.into())));
        let stamp = Path::new(unit::BACKUP_STAMP);
        actions.extend(stamp.exists().then(|| Action::RemoveFile(stamp.into())));
        let users = Path::new(unit::USERS_DIRECTORY);
        actions.extend(users.exists().then(|| Action::RemoveTree(users.into())));
        // Containers have name servers from there.
        let run = Path::new(RUN).exists() && !args.keep;
        actions.extend(run.then(|| Action::RemoveTree(RUN.into())));
    }
    let state = host.at(STATE);
    if state.exists() {
        if args.purge {
            actions.push(Action::RemoveTree(state));
        } else {
            left.push(format!("{}, the state; --purge removes it", state.display()));
        }
    }
    Ok((actions, left))
}

/// Reports all errors. The last one is the result of the command.
fn finish(mut failures: Vec<Failure>) -> Result<(), Failure> {
    let last = failures.pop();
    failures.iter().for_each(crate::report);
    last.map_or(Ok(()), Err)
}
