//! Where a host's own scripts and settings make a link, for the doctor: whoever is to take a script out has to find it.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ashore_core::api::diagnosis::{Finding, Found};
use ashore_core::net::text::Shown;

/// The check that finds links of scripts.
const CHECK: &str = "shim";
/// Files, and directories whose files are read, not those below them. The last ones are of NAS systems.
const PLACES: [&str; 19] = [
    "etc/rc.local",
    "etc/rc.d/rc.local",
    "etc/network/interfaces",
    "etc/network/interfaces.d",
    "etc/network/if-pre-up.d",
    "etc/network/if-up.d",
    "etc/systemd/network",
    "etc/systemd/system",
    "etc/NetworkManager/system-connections",
    "etc/NetworkManager/dispatcher.d",
    "etc/networkd-dispatcher/routable.d",
    "etc/crontab",
    "etc/cron.d",
    "etc/local.d",
    "usr/local/bin",
    "usr/local/sbin",
    "boot/config/go",
    "usr/local/etc/rc.d",
    "jffs/scripts",
];
/// How many files of a directory are read, and how much of each. What is longer is no such script.
const MOST: usize = 256;
const LONGEST: u64 = 64 * 1024;

/// Adds to what is said of links of scripts the files that name them.
pub(crate) fn name_them(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.check == CHECK) {
        let Some(link) = finding.about.parent.as_ref() else { continue };
        let Some(file) = naming(Path::new("/"), link.as_str()) else { continue };
        let named = format!(" (named in {})", Shown(file.as_os_str().as_bytes()));
        match &mut finding.result {
            Found::Trouble(trouble) => trouble.message += &named,
            Found::Unknown(what) | Found::Fine(what) => *what += &named,
        }
    }
}

/// The first file below a root that has a link's name and a kind of link that such a script makes.
fn naming(root: &Path, link: &str) -> Option<PathBuf> {
    let files = PLACES.iter().flat_map(|place| {
        let path = root.join(place);
        let Ok(entries) = path.read_dir() else { return vec![path] };
        let mut files: Vec<PathBuf> = entries.flatten().take(MOST).map(|entry| entry.path()).collect();
        files.sort();
        files
    });
    files.into_iter().find(|file| read(file).is_some_and(|text| makes(&text, link)))
}

/// A short text file. `None` if it is none, or cannot be read.
fn read(path: &Path) -> Option<String> {
    // A pipe or a device would be waited for.
    let size = path.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    if size > LONGEST {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a text makes a link of this name: the name stands there as a word.
fn makes(text: &str, link: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ["macvlan", "ipvlan"].iter().any(|kind| text.contains(kind))
        && text.split(|c| !is_of_name(c)).any(|word| word == link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_makes_a_link_is_found_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let found = |link| {
            let file = naming(root.path(), link)?;
            Some(file.strip_prefix(root.path()).unwrap().display().to_string())
        };
        assert_eq!(found("shim0"), None);
        write("etc/rc.local", "ip link add shim01 link eth0 type macvlan mode bridge\n");
        write("etc/cron.d/other", "ip link show shim0\n");
        assert_eq!(found("shim0"), None, "another link, and no script that makes one");
        write("etc/systemd/system/shim.service", "ExecStart=ip link add shim0 link eth0 type macvlan\n");
        assert_eq!(found("shim0").as_deref(), Some("etc/systemd/system/shim.service"));
        assert_eq!(found("shim01").as_deref(), Some("etc/rc.local"));
        write("etc/systemd/network/shim.netdev", "[NetDev]\nName=shim0\nKind=macvlan\n");
        assert_eq!(found("shim0").as_deref(), Some("etc/systemd/network/shim.netdev"));
    }
}
