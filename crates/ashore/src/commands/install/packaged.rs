//! A host on which a package has put the programs and units, below `/usr`. The package's scripts run `ashore install` and
//! `ashore uninstall`, which then do what is not a package's business: they start and stop the units, make and remove
//! the group and the links outside of `/usr/lib`, and replace what an earlier `ashore install` wrote.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_core::api::refusal::Code;

use super::action::Action;
use super::{Host, Programs, group, plug, refused, service_actions, systemctl, unit};
use crate::client::Failure;

/// The directory of a package's units.
pub(super) const DIRECTORY: &str = "/usr/lib/systemd/system";
/// The directory of a package's programs.
pub(super) const BIN_DIR: &str = "/usr/bin";

/// Whether a package has installed Ashore below a root directory.
pub(super) fn is(root: &Path) -> bool {
    root.join(DIRECTORY.trim_start_matches('/')).join(unit::SERVICE).is_file()
}

/// Whether a system extension has the programs, with the manual pages and completions. It lies over a `/usr` that is
/// read-only, and comes after systemd has read its units. So `ashore install` writes units, as it does without a package.
pub(super) fn is_extension(root: &Path) -> bool {
    root.join("usr/lib/extension-release.d/extension-release.ashore").is_file()
}

/// What is left to do after `ashore uninstall` on a host with the extension.
pub(super) const LEFT_OF_EXTENSION: &str = "the system extension; to remove it, delete /var/lib/extensions/ashore.raw, and run: systemd-sysext refresh";

/// The actions of `ashore install`.
pub(super) fn install_actions(host: &Host, users: bool) -> Result<Vec<Action>, Failure> {
    refuse_other_program(host)?;
    let mut actions = replaced(host)?;
    actions.extend(group::make_actions(host));
    actions.extend(relink_actions(host, users));
    let files = actions.clone();
    actions.extend(plug::packaged_actions(host)?);
    if let Some(units) = host.units {
        actions.extend(service_actions(units, users, &files, runs_another(host)));
    }
    Ok(actions)
}

/// Fails if this is another program than the package's: it would install itself beside it.
pub(super) fn refuse_other_program(host: &Host) -> Result<(), Failure> {
    let own = std::env::current_exe().context("this program's own file")?;
    let packaged = host.at(&host.program);
    if own == packaged || !host.is_this() && super::is_same_file(&own, &packaged)? {
        return Ok(());
    }
    if host.programs_are == Programs::OfExtension {
        return Err(refused(
            Code::Packaged,
            "a system extension has installed Ashore on this host".into(),
            "run the one of the extension: /usr/bin/ashore install; or remove the extension",
        ));
    }
    Err(by_package())
}

/// The refusal of what is the package manager's business.
pub(super) fn by_package() -> Failure {
    refused(
        Code::Packaged,
        "a package has installed Ashore on this host".into(),
        "use the package manager: install a newer package, or remove it",
    )
}

/// The actions that remove the units and programs of an earlier `ashore install`, which would be used instead of the
/// package's. A unit that its user changed stays, and goes before the package's.
fn replaced(host: &Host) -> Result<Vec<Action>, Failure> {
    let mut actions = Vec::new();
    let earlier = |name: &str| host.at(unit::DIRECTORY).join(name);
    for (name, _) in unit::WANTED_BY {
        let path = earlier(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let why =
                    format!("{} cannot be read, and would be used instead of the package's", path.display());
                return Err(anyhow::Error::new(error).context(why).into());
            }
        };
        if !unit::is_untouched(&text) {
            return Err(super::changed_by_hand(name, &path));
        }
        if let Some(program) = unit::program(&text).filter(|program| !is_own(host, program)) {
            // What `man` finds before the package's.
            actions.extend(super::shared::remove_actions(host, program).0);
            let program = host.at(program);
            let plug = program.with_file_name(plug::NAME);
            let there = [program, plug].into_iter().filter(|path| path.is_file());
            actions.extend(there.map(Action::RemoveFile));
        }
        actions.push(Action::RemoveFile(path));
    }
    Ok(actions)
}

/// Whether a path leads to the package's program. `/bin` may be a link to `/usr/bin`.
fn is_own(host: &Host, program: &Path) -> bool {
    let file = |path: &Path| fs::metadata(host.at(path)).map(|file| (file.dev(), file.ino()));
    match (file(program), file(host.program.as_ref())) {
        (Ok(one), Ok(other)) => one == other,
        _ => program == Path::new(&host.program),
    }
}

/// The actions that have what is enabled lead to the package's units, and that enable them in a system that does not run.
fn relink_actions(host: &Host, users: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, target) in unit::WANTED_BY {
        let Some(target) = target else { continue };
        let wants = host.at(unit::DIRECTORY).join(format!("{target}.wants"));
        let (path, target) = (wants.join(name), Path::new(DIRECTORY).join(name));
        match fs::read_link(&path) {
            Ok(there) if there == target || is_older_name(&there, &target) => {}
            Ok(_) => actions.push(Action::Relink { path, target }),
            Err(_) if host.is_this() || (name == unit::USERS_SOCKET && !users) => {}
            Err(_) => {
                actions.extend(super::make_directory(&wants).filter(|make| !actions.contains(make)));
                actions.push(Action::Link { path, target });
            }
        }
    }
    actions
}

/// Whether a path is that of a package's unit below `/lib`, as an older systemd names it.
fn is_older_name(there: &Path, unit: &Path) -> bool {
    there.strip_prefix("/").is_ok_and(|there| Path::new("/usr").join(there) == unit)
}

/// Whether the service runs another file than the package's, such as an earlier version of it.
pub(super) fn runs_another(host: &Host) -> bool {
    let file = |path: PathBuf| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    systemctl::main_pid()
        .is_some_and(|pid| file(format!("/proc/{pid}/exe").into()) != file(host.at(&host.program)))
}
