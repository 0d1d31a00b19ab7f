//! `ashore-plug`, which Podman and CNI runtimes execute: a program beside this one, with links to it in the
//! directories in which they look.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_core::api::refusal::Code;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::action::Action;
use super::{Host, is_same_file, make_directory, refused};
use crate::client::Failure;

/// The file name of the program.
pub(super) const NAME: &str = "ashore-plug";
/// The file name of the links. Podman calls a driver, and CNI a type, by the name of its file.
const LINK: &str = "ashore";
/// The directories of the links: where Podman and netavark look for drivers that no package installs, and where CNI
/// plugins are, on Debian, elsewhere, on Fedora and of k3s. Each with whether it is made: CNI's are there where a
/// runtime uses CNI.
const DIRECTORIES: [(&str, bool); 5] = [
    ("/usr/local/lib/netavark", true),
    ("/usr/lib/cni", false),
    ("/opt/cni/bin", false),
    ("/usr/libexec/cni", false),
    ("/var/lib/rancher/k3s/data/cni", false),
];

/// The directories of which a package has the links itself, in its own place for the first.
const OF_PACKAGE: [&str; 2] = ["/usr/local/lib/netavark", "/usr/lib/cni"];

/// What is at the place of a link.
enum There {
    Nothing,
    /// A link that leads to this host's program.
    Ours,
    /// A link to a program of that name elsewhere, such as where an earlier installation put it.
    Elsewhere,
    Foreign,
}

impl There {
    fn at(path: &Path, program: &Path) -> Self {
        match std::fs::read_link(path) {
            Ok(target) if target == program => There::Ours,
            Ok(target) if target.file_name().is_some_and(|name| name == NAME) => There::Elsewhere,
            Err(_) if path.symlink_metadata().is_err() => There::Nothing,
            _ => There::Foreign,
        }
    }
}

/// The path of the program on a host.
fn program(host: &Host) -> PathBuf {
    host.program.with_file_name(NAME)
}

/// The directories, as on this system, that there are or that are to be made. One may be a link to another.
fn directories(host: &Host) -> impl Iterator<Item = PathBuf> {
    let all = DIRECTORIES.into_iter().map(|(directory, made)| (host.at(directory), made));
    let there = all.filter(|(directory, made)| *made || directory.is_dir()).map(|(directory, _)| directory);
    let mut once = BTreeSet::new();
    there.filter(move |directory| once.insert(directory.canonicalize().unwrap_or_else(|_| directory.clone())))
}

/// The program beside this one, or why it is not to be had. A user who could put a file there, as in `/tmp`, must
/// not have root install it.
fn beside_this() -> anyhow::Result<Result<PathBuf, String>> {
    let own = std::env::current_exe().context("this program's own file")?;
    let beside = own.with_file_name(NAME);
    let Ok(metadata) = beside.symlink_metadata() else {
        return Ok(Err(format!("there is no {}", beside.display())));
    };
    let owner = own.metadata().with_context(|| own.display().to_string())?.uid();
    if !metadata.is_file() || ![0, owner].contains(&metadata.uid()) {
        return Ok(Err(format!("{} is no file of this program's owner", beside.display())));
    }
    Ok(Ok(beside))
}

/// The actions that copy the program and make the links to it, and what is left out with the reason. Fails if something
/// else is at the place of a link.
pub(super) fn install_actions(host: &Host) -> Result<(Vec<Action>, Vec<String>), Failure> {
    let from = match beside_this()? {
        Ok(from) => from,
        Err(why) => {
            return Ok((Vec::new(), vec![format!("{NAME}, which Podman and CNI runtimes call: {why}")]));
        }
    };
    let (program, to) = (program(host), host.at(program(host)));
    let (mut actions, mut without) = (Vec::new(), Vec::new());
    if !is_same_file(&from, &to)? {
        actions.push(Action::CopyProgram { from, to });
    }
    let is_made = |directory: &PathBuf| host.has_own_programs() || !is_of_package(host, directory);
    for directory in directories(host).filter(is_made) {
        let (path, target) = (directory.join(LINK), program.clone());
        if path == host.at(&host.program) {
            return Err(refused(
                Code::PlaceUnfit,
                format!("{} would be the program, and is to be a link to {NAME}", path.display()),
                "choose another --bin-dir, such as /usr/local/bin",
            ));
        }
        match There::at(&path, &program) {
            There::Ours => {}
            There::Nothing | There::Elsewhere if is_read_only(&directory) => {
                without.push(format!("{}: it is on a read-only file system", path.display()));
            }
            There::Nothing => {
                actions.extend(make_directory(&directory));
                actions.push(Action::Link { path, target });
            }
            There::Elsewhere => actions.push(Action::Relink { path, target }),
            There::Foreign => return Err(in_the_way(&path)),
        }
    }
    Ok((actions, without))
}

/// Whether nothing can be made in a directory, or in the one in which it would be made.
fn is_read_only(directory: &Path) -> bool {
    let there = directory.ancestors().find(|path| path.exists());
    let of = there.and_then(|path| statvfs(path).ok());
    of.is_some_and(|of| of.flags().contains(FsFlags::ST_RDONLY))
}

/// The actions that make the links that are not a package's own, and that remove one of an earlier installation.
/// What else is at the place of a link is left.
pub(super) fn packaged_actions(host: &Host) -> Result<Vec<Action>, Failure> {
    let program = program(host);
    let mut actions = Vec::new();
    for directory in directories(host) {
        let path = directory.join(LINK);
        let there = There::at(&path, &program);
        if is_of_package(host, &directory) {
            let is_earlier =
                directory == host.at(OF_PACKAGE[0]) && matches!(there, There::Ours | There::Elsewhere);
            actions.extend(is_earlier.then_some(Action::RemoveFile(path)));
            continue;
        }
        let target = program.clone();
        match there {
            There::Ours => {}
            There::Nothing | There::Elsewhere if is_read_only(&directory) => {}
            There::Nothing => actions.push(Action::Link { path, target }),
            There::Elsewhere => actions.push(Action::Relink { path, target }),
            There::Foreign => return Err(in_the_way(&path)),
        }
    }
    Ok(actions)
}

/// Whether the links in a directory are the package's, by whichever name it has.
fn is_of_package(host: &Host, directory: &Path) -> bool {
    let same =
        |one: &Path, other: &Path| one.canonicalize().is_ok_and(|one| Some(one) == other.canonicalize().ok());
    let known = OF_PACKAGE.iter().any(|of| directory == host.at(of) || same(&host.at(of), directory));
    // Packages of other systems have more of them. Those that Ashore makes are absolute.
    known
        || std::fs::read_link(directory.join(LINK))
            .is_ok_and(|target| target == Path::new("../../bin").join(NAME))
}

fn in_the_way(path: &Path) -> Failure {
    refused(
        Code::InTheWay,
        format!("{} is no link to {NAME}", path.display()),
        "rename or remove it, and install again",
    )
}

/// The actions that remove the links and the program, and the descriptions of what is left.
pub(super) fn remove_actions(host: &Host) -> Result<(Vec<Action>, Vec<String>), Failure> {
    let (mut actions, mut left) = (Vec::new(), Vec::new());
    let program = program(host);
    let is_made = |directory: &PathBuf| host.has_own_programs() || !is_of_package(host, directory);
    for directory in directories(host).filter(is_made) {
        let path = directory.join(LINK);
        match There::at(&path, &program) {
            There::Nothing => {}
            There::Ours => actions.push(Action::RemoveFile(path)),
            There::Elsewhere | There::Foreign => {
                left.push(format!("{}, which is no link to {}", path.display(), program.display()));
            }
        }
    }
    let installed = host.at(&program);
    if installed.exists() && host.has_own_programs() {
        match beside_this()? {
            Ok(beside) if is_same_file(&beside, &installed)? => actions.push(Action::RemoveFile(installed)),
            _ => left.push(format!("{}, which is not this ashore's", installed.display())),
        }
    }
    Ok((actions, left))
}
