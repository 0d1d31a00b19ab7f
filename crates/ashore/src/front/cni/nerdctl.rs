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
/// The maximum number of a namespace's names that are read.
const MOST_NAMES: usize = 4096;
/// How many bytes of a file are read. An id has 64.
const LONGEST: u64 = 256;
/// How many digits an id has.
const ID: usize = 64;

/// nerdctl's namespace if its user names none.
const USUAL: &str = "default";

/// The name of a container, by the id that the runtime gives: nerdctl's are `NAMESPACE-ID`. Each namespace has names of
/// its own, so those of others than the usual one have it before the name.
pub(super) fn name_of(data: &Path, container: &str) -> Option<String> {
    let (namespace, id) = container.rsplit_once('-')?;
    if id.len() != ID || !id.bytes().all(|c| c.is_ascii_hexdigit()) || namespace.contains('/') {
        return None;
    }
    let sockets = fs::read_dir(data).ok()?.take(MOST_SOCKETS).flatten();
    let name =
        sockets.into_iter().find_map(|socket| name_in(&socket.path().join("names").join(namespace), id))?;
    Some(if namespace == USUAL { name } else { format!("{namespace}.{name}") })
}

fn name_in(names: &Path, id: &str) -> Option<String> {
    let files = fs::read_dir(names).ok()?.take(MOST_NAMES).flatten();
    let mut all = files.filter_map(|file| Some((file.file_name().into_string().ok()?, file.path())));
    all.find(|(_, file)| content(file).is_some_and(|text| text.trim() == id)).map(|(name, _)| name)
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
        let name = |container: &str| name_of(data.path(), container);
        assert_eq!(name(&format!("default-{web}")).as_deref(), Some("web"));
        assert_eq!(name(&format!("default-{db}")).as_deref(), Some("db"));
        assert_eq!(name(&format!("k8s.io-{}", "d4".repeat(32))).as_deref(), Some("k8s.io.web"));
        assert_eq!(name(&format!("other-{web}")), None);
        assert_eq!(name(&format!("default-{}", "c3".repeat(32))), None);
        assert_eq!(name(&format!("../default-{web}")), None);
        assert_eq!(name("default-web"), None, "the name that containerd's user gave");
        assert_eq!(name_of(Path::new("/nowhere"), &format!("default-{web}")), None);
    }
}
