//! `ashore install` and `ashore uninstall`: the program with its systemd units, or instructions for another
//! init system.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_kernel::{LockError, NamespaceLock};

use crate::cli::InstallArgs;
use crate::client::Failure;
use crate::out::say;

mod action;
mod group;
mod init;
mod packaged;
mod plug;
mod shared;
mod systemctl;
mod sysusers;
mod uninstall;
mod unit;

use action::Action;
use init::Init;
use systemctl::Units;

pub(crate) use uninstall::uninstall;

/// The file name of the program.
const NAME: &str = "ashore";

/// The host to install on: this one, or a directory tree that will be one.
struct Host {
    root: PathBuf,
    /// The path of the program on that host.
    program: PathBuf,
    init: Init,
    /// The state of the units, if systemd runs.
    units: Option<Units>,
    programs_are: Programs,
    /// Whether it is a system that does not run, such as an image that is being made.
    is_offline: bool,
}

/// Who puts the programs on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Programs {
    /// `ashore install`.
    Own,
    /// A package, which has put the units there too.
    OfPackage,
    /// A system extension, which has no units.
    OfExtension,
}

impl Programs {
    fn below(root: &Path) -> Self {
        if packaged::is_extension(root) {
            Programs::OfExtension
        } else if packaged::is(root) {
            Programs::OfPackage
        } else {
            Programs::Own
        }
    }
}

impl Host {
    fn new(root: &Path, bin_dir: &Path) -> Result<Self, Failure> {
        if !bin_dir.is_absolute() {
            return Err(refused(
                Code::PlaceUnfit,
                format!("--bin-dir {} is not an absolute path", bin_dir.display()),
                "use an absolute path, such as /usr/local/bin",
            ));
        }
        let root = root.canonicalize().map_err(|error| {
            refused(
                Code::PlaceUnfit,
                format!("--root {}: {error}", root.display()),
                "name the directory that holds the other system",
            )
        })?;
        let programs_are = Programs::below(&root);
        let is_packaged = programs_are == Programs::OfPackage;
        let mut is_offline = root != Path::new("/");
        let mut init = Init::of(&root, !is_offline);
        if is_packaged && init != Init::Systemd && Init::of(&root, false) == Init::Systemd {
            // The package is installed from within an image, where nothing runs.
            (init, is_offline) = (Init::Systemd, true);
        }
        let units = (!is_offline && init == Init::Systemd).then(Units::now);
        let bin_dir = if programs_are == Programs::Own { bin_dir } else { Path::new(packaged::BIN_DIR) };
        Ok(Host { root, program: bin_dir.join(NAME), init, units, programs_are, is_offline })
    }

    fn is_packaged(&self) -> bool {
        self.programs_are == Programs::OfPackage
    }

    /// Whether this command puts the programs there, and what belongs to them.
    fn has_own_programs(&self) -> bool {
        self.programs_are == Programs::Own
    }

    /// Whether it is the running system.
    fn is_this(&self) -> bool {
        !self.is_offline
    }

    /// Translates a path on the host to a path on this system.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.at(if self.is_packaged() { packaged::DIRECTORY } else { unit::DIRECTORY }).join(name)
    }

    /// The link that enables a unit.
    fn wanted(&self, name: &str, target: &str) -> PathBuf {
        self.at(unit::DIRECTORY).join(format!("{target}.wants")).join(name)
    }

    /// Checks that the unit sees the program: it has a view of its own of homes and temporary files.
    fn check_sight(&self) -> Result<(), Failure> {
        const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
        if self.init != Init::Systemd || !HIDDEN.iter().any(|hidden| self.program.starts_with(hidden)) {
            return Ok(());
        }
        Err(refused(
            Code::PlaceUnfit,
            format!(
                "{} would be hidden from its own unit (ProtectHome=, PrivateTmp=)",
                self.program.display()
            ),
            "use another --bin-dir, such as /usr/local/bin",
        ))
    }

    /// Checks for root, so that a change to this host is not refused half way.
    fn check_privilege(&self) -> Result<(), Failure> {
        if self.is_this() && !nix::unistd::geteuid().is_root() {
            return Err(Failure::Privilege("only root may change what this host starts".into()));
        }
        Ok(())
    }
}

/// `ashore install`.
pub(crate) fn install(args: &InstallArgs) -> Result<(), Failure> {
    let host = Host::new(&args.root, &args.bin_dir)?;
    host.check_sight()?;
    if !args.dry_run {
        host.check_privilege()?;
    }
    if host.init == Init::Systemd {
        refuse_other_daemon(&host)?;
    }
    let (actions, without) = if host.is_packaged() {
        (packaged::install_actions(&host, args.users)?, Vec::new())
    } else {
        own_actions(&host, args.users)?
    };
    if args.dry_run {
        action::show(&actions);
    } else {
        action::all_or_nothing(&actions, host.units)?;
    }
    for what in without {
        say!("# without {what}");
    }
    conclude(&host, &actions, args.dry_run);
    Ok(())
}

/// The actions on a host without a package, and what is left out with the reason.
fn own_actions(host: &Host, users: bool) -> Result<(Vec<Action>, Vec<String>), Failure> {
    let mut actions = Vec::new();
    if host.has_own_programs() {
        actions = program_actions(host)?;
    } else {
        packaged::refuse_other_program(host)?;
    }
    // The daemon does not run it, so it is no reason to restart the daemon.
    let is_new = !actions.is_empty() || !host.has_own_programs() && packaged::runs_another(host);
    let (plug, without) = plug::install_actions(host)?;
    actions.extend(plug);
    if host.has_own_programs() {
        actions.extend(shared::install_actions(host)?);
    }
    if host.init == Init::Systemd {
        let mut files = group::make_actions(host);
        files.extend(unit_actions(host, users)?);
        actions.extend(files.clone());
        if let Some(units) = host.units {
            actions.extend(service_actions(units, users, &files, is_new || !files.is_empty()));
        }
    }
    Ok((actions, without))
}

fn conclude(host: &Host, actions: &[Action], dry_run: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let program = host.program.display();
    match (actions.is_empty(), dry_run) {
        (true, _) => say!("# ashore {version} is installed as {program}; nothing to do"),
        (false, true) => say!("# nothing was changed"),
        (false, false) => say!("# ashore {version} is installed as {program}"),
    }
    if host.init == Init::Systemd {
        return;
    }
    say!("# this host has {}, not systemd; to start the daemon with it, run:", host.init.name());
    host.init.lines(&host.program).iter().for_each(|line| say!("{line}"));
}

/// The actions that copy the program, unless it is there already.
fn program_actions(host: &Host) -> Result<Vec<Action>, Failure> {
    let from = std::env::current_exe().context("this program's own file")?;
    let to = host.at(&host.program);
    let mut actions = Vec::new();
    actions.extend(make_directory(to.parent().expect("a program is in a directory")));
    if !is_same_file(&from, &to)? {
        actions.push(Action::CopyProgram { from, to });
    }
    Ok(actions)
}

fn make_directory(path: &Path) -> Option<Action> {
    (!path.is_dir()).then(|| Action::MakeDirectory(path.to_owned()))
}

fn is_same_file(one: &Path, other: &Path) -> Result<bool, Failure> {
    match std::fs::read(other) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context(other.display().to_string()).into()),
        Ok(there) => Ok(there == std::fs::read(one).with_context(|| one.display().to_string())?),
    }
}

/// The actions that write the units that are missing or of another version, and that enable them in a tree
/// that is not running. The socket for users other than root is enabled for `users`, and otherwise left as it is.
fn unit_actions(host: &Host, users: bool) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    actions.extend(make_directory(&host.at(unit::DIRECTORY)));
    for (name, text) in unit::units(&host.program) {
        let path = host.unit(name);
        match std::fs::read_to_string(&path) {
            Ok(there) if there == text => {}
            Ok(there) if !unit::is_untouched(&there) => return Err(changed_by_hand(name, &path)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error).context(path.display().to_string()).into());
            }
            _ => actions.push(Action::Write { path, text }),
        }
    }
    if !host.is_this() {
        let enabled = unit::WANTED_BY.into_iter().filter_map(|(name, target)| Some((name, target?)));
        let enabled = enabled.filter(|(name, _)| users || *name != unit::USERS_SOCKET);
        for (name, target) in enabled {
            let path = host.wanted(name, target);
            let make = path.parent().and_then(make_directory).filter(|make| !actions.contains(make));
            actions.extend(make);
            if path.symlink_metadata().is_err() {
                actions.push(Action::Link { path, target: Path::new(unit::DIRECTORY).join(name) });
            }
        }
    }
    Ok(actions)
}

/// The systemctl commands. A socket is recreated only if its unit has changed or there is its group now, because calls that wait at
/// it would be lost. The socket for users other than root stays as it is, unless it is asked for.
fn service_actions(units: Units, users: bool, files: &[Action], is_new: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    if !files.is_empty() {
        actions.push(Action::Systemctl(systemctl::RELOAD));
    }
    let (users, is_started) = (users || units.users.enabled, units.users.active && !units.users.enabled);
    let enable = if users { systemctl::ENABLE_WITH_USERS } else { systemctl::ENABLE };
    let writes =
        |name| files.iter().any(|file| matches!(file, Action::Write { path, .. } if path.ends_with(name)));
    let sockets = [unit::SOCKET, unit::READ_SOCKET, unit::PLUG_SOCKET].into_iter().any(writes)
        || (users || is_started) && writes(unit::USERS_SOCKET)
        || files.contains(&Action::MakeGroup);
    let active = units.socket_active && units.plug.is_in_use() && (!users || units.users.is_in_use());
    if units.service_active && (sockets || !active) {
        // systemd does not create a socket for a service that is running.
        actions.push(Action::Systemctl(systemctl::STOP));
        // It has to be there before the service is.
        actions.extend((!users && is_started).then_some(Action::Systemctl(systemctl::START_USERS)));
        actions.push(Action::Systemctl(enable));
    } else if !(units.enabled && active && units.service_active) {
        actions.push(Action::Systemctl(enable));
    } else if is_new {
        actions.push(Action::Systemctl(systemctl::RESTART));
    }
    actions
}

/// The process id of the daemon that holds this namespace's lock, if there is one and it is visible.
fn ruling_daemon() -> Option<i32> {
    match NamespaceLock::take() {
        Err(LockError::Held(pid)) => pid,
        _ => None,
    }
}

/// Fails if a daemon was started by hand, because it would keep the service from starting.
fn refuse_other_daemon(host: &Host) -> Result<(), Failure> {
    if !host.is_this() {
        return Ok(());
    }
    match ruling_daemon() {
        Some(pid) if systemctl::main_pid() != Some(pid) => Err(refused(
            Code::OtherDaemon,
            format!(
                "another ashore daemon (pid {pid}) holds this network namespace, and is not systemd's service"
            ),
            &format!("stop that one first: kill {pid}"),
        )),
        _ => Ok(()),
    }
}

fn changed_by_hand(name: &str, path: &Path) -> Failure {
    refused(
        Code::UnitChanged,
        format!("{} was not written by `ashore install`, or was changed since", path.display()),
        &format!("keep what you need of it with `systemctl edit {name}`, remove the file, and install again"),
    )
}

fn refused(code: Code, message: String, remedy: &str) -> Failure {
    Refusal::of(code, message, remedy).into()
}
