//! The names of nerdctl's containers. nerdctl tells plugins a container's id alone. It keeps each name in a file below
//! its data root, `ADDRESS/names/NAMESPACE/NAME`, whose content is the id; `ADDRESS` stands for containerd's socket.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where root's nerdctl has its data, unless its user says otherwise.
pub(super) const DATA: &str = "/var/lib/nerdctl";

/// The maximum number of containerd's sockets of which there are names.
const MOST_SOCKETS: usize = 16;
/// The maximum number of a namespace's names that are read. That takes about a second.
const MOST_NAMES: usize = 1 << 16;
/// How many bytes of a file are read. An id has 64.
const LONGEST: u64 = 256;
/// How many digits an id has.
const ID: usize = 64;

/// nerdctl's namespace if its user names none.
const USUAL: &str = "default";

/// The name of a container, by the id that the runtime gives: nerdctl's are `NAMESPACE-ID`. Each namespace has names of
/// its own, so those of others than the usual one have it before the name. Fails if there are so many that not all are
/// read, and the name is not among those that were.
pub(super) fn name_of(data: &Path, container: &str) -> Result<Option<String>, String> {
    let Some((namespace, id)) = container.rsplit_once('-') else { return Ok(None) };
    if id.len() != ID || !id.bytes().all(|c| c.is_ascii_hexdigit()) || namespace.contains('/') {
        return Ok(None);
    }
    let sockets = fs::read_dir(data).into_iter().flatten().flatten().take(MOST_SOCKETS);
    let names = sockets.map(|socket| socket.path().join("names").join(namespace));
    let found = names.map(|names| name_in(&names, id, MOST_NAMES)).find(|found| *found != Ok(None));
    let name = found.unwrap_or(Ok(None))?;
    Ok(name.map(|name| if namespace == USUAL { name } else { format!("{namespace}.{name}") }))
}

fn name_in(names: &Path, id: &str, most: usize) -> Result<Option<String>, String> {
    for (number, file) in fs::read_dir(names).into_iter().flatten().flatten().enumerate() {
        if number == most {
            return Err(format!("{} has more than {most} names, so not all were read", names.display()));
        }
        let is_it = || content(&file.path()).is_some_and(|text| text.trim() == id);
        if let Some(name) = file.file_name().into_string().ok().filter(|_| is_it()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn content(file: &Path) -> Option<String> {
    // A pipe would never answer, and a link may lead anywhere.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW;
    let file = File::options().read(true).custom_flags(flags).open(file).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_the_file_that_has_its_id() {
        let data = tempfile::tempdir().unwrap();
        let names = data.path().join("1935db59/names/default");
        fs::create_dir_all(&names).unwrap();
        let (web, db) = ("a1".repeat(32), "b2".repeat(32));
        fs::write(names.join("web"), &web).unwrap();
        fs::write(names.join("db"), format!("{db}\n")).unwrap();
        fs::write(names.join("long"), "x".repeat(1 << 20)).unwrap();
        fs::write(names.join("bytes"), b"\xff\xfe").unwrap();
        fs::create_dir(names.join("directory")).unwrap();
        std::os::unix::fs::symlink("web", names.join("link")).unwrap();
        let others = data.path().join("1935db59/names/k8s.io");
        fs::create_dir_all(&others).unwrap();
        fs::write(others.join("web"), "d4".repeat(32)).unwrap();
        let name = |container: &str| name_of(data.path(), container).unwrap();
        assert_eq!(name(&format!("default-{web}")).as_deref(), Some("web"));
        assert_eq!(name(&format!("default-{db}")).as_deref(), Some("db"));
        assert_eq!(name(&format!("k8s.io-{}", "d4".repeat(32))).as_deref(), Some("k8s.io.web"));
        assert_eq!(name(&format!("other-{web}")), None);
        assert_eq!(name(&format!("default-{}", "c3".repeat(32))), None);
        assert_eq!(name(&format!("../default-{web}")), None);
        assert_eq!(name("default-web"), None, "the name that containerd's user gave");
        assert_eq!(name_of(Path::new("/nowhere"), &format!("default-{web}")), Ok(None));
    }

    #[test]
    fn a_name_among_many_is_found_and_one_that_was_not_read_is_not_taken_for_none() {
        let names = tempfile::tempdir().unwrap();
        let id = |number: u32| format!("{number:064x}");
        for number in 0..5000 {
            fs::write(names.path().join(format!("c{number}")), id(number)).unwrap();
        }
        for number in (0..5000).step_by(250) {
            let found = name_in(names.path(), &id(number), MOST_NAMES);
            assert_eq!(found, Ok(Some(format!("c{number}"))));
        }
        assert_eq!(name_in(names.path(), &id(5000), 5000), Ok(None));
        let said = name_in(names.path(), &id(5000), 4999).unwrap_err();
        assert!(said.contains("more than 4999 names"), "{said}");
    }
}
