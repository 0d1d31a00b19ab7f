//! The steps of an installation, as plain data. A step is printed as the command that a user would type, and
//! is undone if a later one fails.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::systemctl::{Units, systemctl};
use super::sysusers;
use crate::cli::Shell;
use crate::client::Failure;
use crate::commands::completions;
use crate::files;
use crate::out::{complain, line_if_read, say};

/// One change to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    MakeDirectory(PathBuf),
    CopyProgram {
        from: PathBuf,
        to: PathBuf,
    },
    Write {
        path: PathBuf,
        text: String,
    },
    /// Writes the manual pages, as a program's own command does.
    WritePages {
        program: PathBuf,
        to: PathBuf,
        pages: BTreeMap<String, Vec<u8>>,
    },
    /// Writes a shell's completion, as a program's own command prints it.
    WriteScript {
        program: PathBuf,
        shell: Shell,
        path: PathBuf,
        text: &'static str,
    },
    Link {
        path: PathBuf,
        target: PathBuf,
    },
    /// Makes a link lead elsewhere.
    Relink {
        path: PathBuf,
        target: PathBuf,
    },
    RemoveFile(PathBuf),
    /// Removes the manual pages in a directory that are Ashore's.
    RemovePages(PathBuf),
    RemoveTree(PathBuf),
    Systemctl(&'static [&'static str]),
    /// Makes the group, by its file.
    MakeGroup,
    RemoveGroup,
}

/// The reverse of a change to a file.
enum Undo {
    Nothing,
    RemoveDirectory(PathBuf),
    RemoveFile(PathBuf),
    RemoveGroup,
    All(Vec<Undo>),
    Relink { path: PathBuf, target: PathBuf },
    Link { path: PathBuf, target: PathBuf },
    Restore { path: PathBuf, content: Vec<u8>, mode: u32 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::MakeDirectory(path) => write!(f, "mkdir -p {}", path.display()),
            Action::CopyProgram { from, to } => {
                write!(f, "install -m 755 {} {}", from.display(), to.display())
            }
            Action::Write { path, .. } => write!(f, "cat > {}", path.display()),
            Action::WritePages { program, to, .. } => write!(f, "{} man {}", program.display(), to.display()),
            Action::WriteScript { program, shell, path, .. } => {
                write!(f, "{} completions {shell} > {}", program.display(), path.display())
            }
            Action::Link { path, target } => write!(f, "ln -s {} {}", target.display(), path.display()),
            Action::Relink { path, target } => write!(f, "ln -sfn {} {}", target.display(), path.display()),
            Action::RemoveFile(path) => write!(f, "rm {}", path.display()),
            Action::RemovePages(of) => {
                write!(f, "rm {} {}", of.join("ashore.1").display(), of.join("ashore-*.1").display())
            }
            Action::RemoveTree(path) => write!(f, "rm -r {}", path.display()),
            Action::Systemctl(words) => write!(f, "systemctl {}", words.join(" ")),
            Action::MakeGroup => write!(f, "{}", sysusers::MAKE.join(" ")),
            Action::RemoveGroup => write!(f, "{}", sysusers::REMOVE.join(" ")),
        }
    }
}

/// Prints the actions as a script that does the same.
pub(super) fn show(actions: &[Action]) {
    for action in actions {
        match action {
            Action::Write { text, .. } => say!("{action} <<'END'\n{text}END"),
            other => say!("{other}"),
        }
    }
}

/// Performs all actions or none. At the first error, file changes are undone. If systemd runs, its units are
/// restored to `before`.
pub(super) fn all_or_nothing(actions: &[Action], before: Option<Units>) -> Result<(), Failure> {
    let mut done = Vec::new();
    for action in actions {
        line_if_read(action);
        match action.perform() {
            Ok(undo) => done.push(undo),
            Err(failure) => {
                line_if_read(&"# that failed; undoing the previous steps");
                if let Some(units) = before {
                    units.stop_new_ones();
                }
                for undo in done.into_iter().rev() {
                    if let Err(error) = undo.perform() {
                        complain!("ashore: {error}");
                    }
                }
                if let Some(units) = before {
                    units.bring_back();
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Performs as many actions as possible, and returns the errors.
pub(super) fn as_far_as_possible(actions: &[Action]) -> Vec<Failure> {
    let perform = |action: &Action| {
        line_if_read(action);
        action.perform().err()
    };
    actions.iter().filter_map(perform).collect()
}

impl Action {
    fn perform(&self) -> Result<Undo, Failure> {
        let done = match self {
            Action::MakeDirectory(path) => {
                files::make_directories(path, 0o755).map(|()| Undo::RemoveDirectory(path.clone()))
            }
            Action::CopyProgram { from, to } => {
                fs::read(from).and_then(|content| replace(to, &content, 0o755))
            }
            Action::Write { path, text } => replace(path, text.as_bytes(), 0o644),
            Action::WritePages { to, pages, .. } => {
                all_of(pages.iter().map(|(name, page)| replace(&to.join(name), page, 0o644)))
            }
            Action::WriteScript { path, text, .. } => replace(path, text.as_bytes(), 0o644),
            Action::Link { path, target } => {
                std::os::unix::fs::symlink(target, path).map(|()| Undo::RemoveFile(path.clone()))
            }
            Action::Relink { path, target } => relink(path, target),
            Action::RemoveFile(path) => remove(path),
            Action::RemovePages(of) => {
                completions::own_pages(of).and_then(|pages| all_of(pages.iter().map(|page| remove(page))))
            }
            Action::RemoveTree(path) => gone(fs::remove_dir_all(path)),
            Action::Systemctl(words) => return systemctl(words).map(|()| Undo::Nothing),
            Action::MakeGroup => sysusers::run(sysusers::MAKE).map(|()| Undo::RemoveGroup),
            Action::RemoveGroup => sysusers::run(sysusers::REMOVE).map(|()| Undo::Nothing),
        };
        done.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Privilege(format!("`{self}`: {error}")),
            _ => Failure::Internal(anyhow::Error::new(error).context(format!("`{self}`"))),
        }
    }
}

/// A file that is gone already, such as a socket that went with its unit, counts as removed.
fn gone(removed: io::Result<()>) -> io::Result<Undo> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Undo::Nothing),
    }
}

impl Undo {
    fn perform(self) -> io::Result<()> {
        match self {
            Undo::Nothing => Ok(()),
            // A directory stays if something else has been put there meanwhile.
            Undo::RemoveDirectory(path) => fs::remove_dir(path),
            Undo::RemoveFile(path) => fs::remove_file(path),
            Undo::All(undos) => undos.into_iter().rev().try_for_each(Undo::perform),
            Undo::RemoveGroup => sysusers::run(sysusers::REMOVE),
            Undo::Relink { path, target } => relink(&path, &target).map(|_| ()),
            Undo::Link { path, target } => std::os::unix::fs::symlink(target, path),
            Undo::Restore { path, content, mode } => replace(&path, &content, mode).map(|_| ()),
        }
    }
}

/// Makes changes one after the other. The first error undoes those before it.
fn all_of(changes: impl Iterator<Item = io::Result<Undo>>) -> io::Result<Undo> {
    let mut done = Vec::new();
    for change in changes {
        match change {
            Ok(undo) => done.push(undo),
            Err(error) => {
                Undo::All(done).perform()?;
                return Err(error);
            }
        }
    }
    Ok(Undo::All(done))
}

/// Removes a file or a link, and returns what undoes that. What is neither, such as a socket, is not brought back.
fn remove(path: &Path) -> io::Result<Undo> {
    let undo = match path.symlink_metadata() {
        Ok(there) if there.is_symlink() => Undo::Link { path: path.to_owned(), target: fs::read_link(path)? },
        Ok(there) if there.is_file() => {
            let mode = there.permissions().mode();
            Undo::Restore { path: path.to_owned(), content: fs::read(path)?, mode }
        }
        _ => Undo::Nothing,
    };
    gone(fs::remove_file(path))?;
    Ok(undo)
}

/// Makes a link lead elsewhere, and returns what undoes that. The link is there at every moment.
fn relink(path: &Path, target: &Path) -> io::Result<Undo> {
    let before = fs::read_link(path)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    gone(fs::remove_file(&unfinished))?;
    std::os::unix::fs::symlink(target, &unfinished)?;
    fs::rename(&unfinished, path)?;
    Ok(Undo::Relink { path: path.to_owned(), target: before })
}

/// Creates or replaces a file, and returns what undoes that.
fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<Undo> {
    let undo = match fs::read(path) {
        Ok(content) => {
            let mode = fs::metadata(path)?.permissions().mode();
            Undo::Restore { path: path.to_owned(), content, mode }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Undo::RemoveFile(path.to_owned()),
        Err(error) => return Err(error),
    };
    files::replace(path, content, mode)?;
    Ok(undo)
}
