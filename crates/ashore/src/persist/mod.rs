//! Makes a NIC's move survive a reboot: writes it into the configuration of the system that manages the
//! host's network, in the language of that system.
//!
//! The written files have a mark, and so have the lines of other files that are commented out. A move back
//! removes and restores exactly those, whichever system it was.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::net::link::LinkSpec;
use ashore_core::net::name::IfName;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::step::Step;
use ashore_core::net::text::Word;
use ashore_core::plan::nic_move::{Direction, Move};
use ashore_wire::Mac;

use crate::files;

mod ifupdown;
mod netplan;
mod network_manager;
mod networkd;
#[cfg(test)]
mod tests;

/// The files to write, and for which system.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// The system that manages the host's network.
    pub(crate) system: &'static str,
    /// The files, in the order in which they are written.
    pub(crate) files: Vec<ConfigFile>,
    /// The command by which the system takes over the host's lease before the next boot.
    pub(crate) now: String,
}

/// A file and its new content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    /// Its path on the host.
    pub(crate) path: PathBuf,
    /// Its text, or `None` to remove the file.
    pub(crate) text: Option<String>,
    /// Its mode, if it is new.
    pub(crate) mode: u32,
}

/// A move, with what the renderers need.
struct Site<'a> {
    root: &'a Path,
    nic: &'a IfName,
    bridge: &'a IfName,
    mac: Mac,
    /// The kernel's index of the NIC, under which daemons keep their run-time files.
    index: String,
}

impl Site<'_> {
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a file. Returns `None` if there is no such file.
    fn read(&self, path: impl AsRef<Path>) -> Result<Option<String>, Refusal> {
        let path = self.path(path);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// The files in a directory, by their paths on the host, sorted.
    fn files_in(&self, directory: &str) -> Result<Vec<PathBuf>, Refusal> {
        let entries = match fs::read_dir(self.path(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| unreadable(&self.path(directory), &error))?,
        };
        let names = entries.flatten().filter(|entry| entry.path().is_file()).map(|entry| entry.file_name());
        let mut paths: Vec<PathBuf> = names.map(|name| Path::new(directory).join(name)).collect();
        paths.sort();
        Ok(paths)
    }

    /// The first line of each written file.
    fn mark(&self) -> String {
        format!("# made by ashore bridge adopt {} {}", self.nic, self.bridge)
    }

    /// The prefix of a line that is commented out in another file.
    fn out_of_force(&self) -> String {
        format!("#ashore-{}# ", self.bridge)
    }

    /// A new file, with the mark.
    fn new_file(&self, path: impl Into<PathBuf>, mode: u32, text: &str) -> ConfigFile {
        let text = format!("{}\n{}\n", self.mark(), text.trim_end());
        ConfigFile { path: path.into(), text: Some(text), mode }
    }

    /// Another file, with some of its lines commented out.
    fn without_lines(&self, path: &Path, text: &str, out: &dyn Fn(usize) -> bool) -> ConfigFile {
        let prefix = self.out_of_force();
        let lines = text.lines().enumerate();
        let lines =
            lines.map(|(at, line)| if out(at) { format!("{prefix}{line}\n") } else { format!("{line}\n") });
        ConfigFile { path: path.to_owned(), text: Some(lines.collect()), mode: 0o644 }
    }
}

fn index_of(root: &Path, link: &IfName) -> String {
    let index = fs::read_to_string(root.join(format!("sys/class/net/{link}/ifindex")));
    index.map_or_else(|_| String::new(), |index| index.trim().to_owned())
}

/// The configuration that makes a move last. Returns `None` if no system that Ashore knows manages this
/// host's network. `root` is the host's root directory.
pub(crate) fn configuration(root: &Path, moved: &Move) -> Result<Option<Configuration>, Refusal> {
    let Move { direction, nic, bridge, .. } = moved;
    let index = index_of(root, nic);
    let mac = moved.steps().find_map(|step| match step {
        Step::AddLink { link: LinkSpec { mac, .. }, .. } => *mac,
        _ => None,
    });
    let site = Site { root, nic, bridge, mac: mac.unwrap_or(Mac([0; 6])), index };
    let there = marked(&site)?;
    match direction {
        Direction::Release => Ok((!there.is_empty()).then_some(Configuration {
            system: "what `ashore bridge adopt` had written",
            files: there,
            now: String::new(),
        })),
        // The configuration was written before.
        Direction::Adopt if !there.is_empty() => {
            Ok(Some(Configuration { system: "as before", files: Vec::new(), now: String::new() }))
        }
        Direction::Adopt => {
            for of_system in [
                netplan::configuration,
                ifupdown::configuration,
                network_manager::configuration,
                networkd::configuration,
            ] {
                if let Some(found) = of_system(&site)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
}

/// Whether Ashore may move a NIC out of a bridge. If a bridge of its own is taken apart, `NetworkManager`
/// (1.42) removes the addresses from the bridge and from its former ports. networkd and the other systems do
/// not.
pub(crate) fn check_release(root: &Path, nic: &IfName, bridge: &IfName) -> Result<(), Refusal> {
    if !network_manager::runs(root, bridge) {
        return Ok(());
    }
    let made = |link: &IfName| Word::of(&format!("ashore-{link}")).to_string();
    Err(Refusal::new(
        Code::OtherManager,
        About::parent(bridge),
        format!("NetworkManager manages `{bridge}`, and would remove the host's addresses along with it"),
        Some(
            Remedy::from("let it do that: ")
                .and_run(format!("nmcli connection delete {} {}", made(bridge), made(nic)))
                .and(format!("; it then sets `{nic}` up as before")),
        ),
    ))
}

/// All files that have the mark of a move, in their state without it.
fn marked(site: &Site<'_>) -> Result<Vec<ConfigFile>, Refusal> {
    const DIRECTORIES: [&str; 5] = [
        "/etc/systemd/network",
        "/etc/NetworkManager/system-connections",
        "/etc/network",
        "/etc/network/interfaces.d",
        "/etc/netplan",
    ];
    let mut directories: Vec<String> = DIRECTORIES.map(str::to_owned).into();
    directories.push(format!("/etc/systemd/network/10-netplan-{}.network.d", site.bridge));
    let mut files = Vec::new();
    for directory in directories {
        for path in site.files_in(&directory)? {
            // A file that is not text is not one of these.
            let Ok(Some(text)) = site.read(&path) else { continue };
            if text.lines().next() == Some(&site.mark()) {
                files.push(ConfigFile { path, text: None, mode: 0 });
            } else if let Some(text) = back_in_force(site, &text) {
                files.push(ConfigFile { path, text: Some(text), mode: 0o644 });
            }
        }
    }
    Ok(files)
}

/// Restores another file. Returns `None` if nothing in it is commented out.
fn back_in_force(site: &Site<'_>, text: &str) -> Option<String> {
    let (prefix, source) = (site.out_of_force(), ifupdown::source_line(site));
    let lines = text.lines().filter(|line| *line != source);
    let before =
        lines.fold(String::new(), |text, line| text + line.strip_prefix(&prefix).unwrap_or(line) + "\n");
    (text.contains(&prefix) || text.lines().any(|line| line == source)).then_some(before)
}

impl Configuration {
    /// Writes all files or none. What is changed or removed is copied to `/var/backups` first.
    pub(crate) fn write(&self, root: &Path, bridge: &IfName) -> Result<(), Refusal> {
        let mut done: Vec<(PathBuf, Option<Vec<u8>>)> = Vec::new();
        for file in &self.files {
            let path = root.join(file.path.strip_prefix("/").unwrap_or(&file.path));
            let written = fs::read(&path).map(Some).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                _ => Err(error),
            });
            let written = written.and_then(|before| {
                if let Some(before) = &before {
                    back_up(root, bridge, &file.path, before)?;
                }
                done.push((path.clone(), before));
                match &file.text {
                    Some(text) => put(&path, text.as_bytes(), file.mode),
                    None => take_away(&path),
                }
            });
            if let Err(error) = written {
                for (path, before) in done.into_iter().rev() {
                    let _ = match before {
                        Some(bytes) => put(&path, &bytes, 0o600),
                        None => fs::remove_file(&path),
                    };
                }
                return Err(Refusal::of(
                    Code::SettingsNotWritten,
                    format!("{}: {error}; nothing was written", path.display()),
                    Remedy::from("fix that, then run again: ").and_run("ashore bridge confirm"),
                ));
            }
        }
        Ok(())
    }
}

/// Writes a file atomically. An existing file keeps its mode.
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    files::make_directories(directory, 0o755)?;
    let mode = fs::metadata(path).map_or(mode, |there| there.permissions().mode() & 0o7777);
    files::replace(path, bytes, mode)
}

/// Removes a file, and its drop-in directory if that is empty then.
fn take_away(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    let drop_ins =
        path.parent().filter(|parent| parent.extension().is_some_and(|extension| extension == "d"));
    if let Some(directory) = drop_ins.filter(|directory| !directory.ends_with("interfaces.d")) {
        // The directory may have other files.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

fn back_up(root: &Path, bridge: &IfName, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    put(&root.join(format!("var/backups/ashore-{bridge}")).join(relative), bytes, 0o600)
}

/// The sections of a file of systemd or `NetworkManager`, each with its heading and its lines.
fn sections(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        match line.strip_prefix('[').and_then(|head| head.strip_suffix(']')) {
            Some(head) => sections.push((head, Vec::new())),
            None if line.is_empty() || line.starts_with(['#', ';']) => {}
            None => {
                if let Some((_, lines)) = sections.last_mut() {
                    lines.push(line);
                }
            }
        }
    }
    sections
}

/// Renders a section of such a file.
fn section(head: &str, lines: &[&str]) -> String {
    lines.iter().fold(format!("\n[{head}]\n"), |text, line| text + line + "\n")
}

/// The value of a key in lines of `KEY=VALUE`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let of_key = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    text.lines().find_map(of_key).map(str::trim).filter(|value| !value.is_empty())
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(
        Code::SettingsUnreadable,
        About::default(),
        format!("{}: {error}", path.display()),
        (error.kind() == io::ErrorKind::PermissionDenied).then(|| "run it as root, with sudo".into()),
    )
}
