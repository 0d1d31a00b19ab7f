//! The links to `ashore-plug`, by which Podman and CNI runtimes find it.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Build, SYSTEMD, Tree, UNITS};

/// The places of the links to `ashore-plug`.
pub(super) const LINKS: [&str; 5] = [
    "usr/local/lib/netavark/ashore",
    "usr/lib/cni/ashore",
    "opt/cni/bin/ashore",
    "usr/libexec/cni/ashore",
    "var/lib/rancher/k3s/data/cni/ashore",
];

/// Where the links lead. `None` is no link.
fn targets(tree: &Tree) -> [Option<String>; 5] {
    LINKS.map(|link| Some(tree.at(link).read_link().ok()?.display().to_string()))
}

#[test]
fn the_plugin_is_linked_where_a_runtime_uses_cni() {
    let tree = Tree::with(&[SYSTEMD]);
    let ours = || Some("/usr/local/bin/ashore-plug".to_owned());
    assert_eq!(tree.run("install").1, 0);
    assert_eq!(targets(&tree), [ours(), None, None, None, None]);
    // A runtime is installed later.
    for link in &LINKS[1..] {
        std::fs::create_dir_all(tree.at(link).parent().unwrap()).unwrap();
    }
    let linked = "\
ln -s /usr/local/bin/ashore-plug ROOT/usr/lib/cni/ashore
ln -s /usr/local/bin/ashore-plug ROOT/opt/cni/bin/ashore
ln -s /usr/local/bin/ashore-plug ROOT/usr/libexec/cni/ashore
ln -s /usr/local/bin/ashore-plug ROOT/var/lib/rancher/k3s/data/cni/ashore
# ashore VERSION is installed as /usr/local/bin/ashore
";
    assert_eq!(tree.run("install"), (linked.to_owned(), 0));
    assert_eq!(targets(&tree), LINKS.map(|_| ours()));
    assert!(tree.run("install").0.ends_with("nothing to do\n"));
    assert_eq!(tree.run("uninstall").1, 0);
    assert_eq!(tree.files(), [SYSTEMD]);

    // One directory by two names.
    std::fs::remove_dir(tree.at("usr/libexec/cni")).unwrap();
    symlink(tree.at("usr/lib/cni"), tree.at("usr/libexec/cni")).unwrap();
    assert_eq!(tree.run("install").1, 0);
    assert_eq!(targets(&tree), LINKS.map(|_| ours()));
    assert_eq!(tree.run("uninstall").1, 0);
    assert_eq!(targets(&tree), [(); 5].map(|()| None));
}

#[test]
fn what_is_not_the_plugin_is_neither_replaced_nor_removed() {
    let tree = Tree::with(&[SYSTEMD, "opt/cni/bin/macvlan"]);
    let refused = "\
ashore: ROOT/opt/cni/bin/ashore is no link to ashore-plug
  try: rename or remove it, and install again
";
    let make: [&dyn Fn(&Path); 3] = [
        &|path| std::fs::write(path, "another's").unwrap(),
        &|path| symlink("/usr/bin/other", path).unwrap(),
        &|path| std::fs::create_dir(path).unwrap(),
    ];
    for (number, make) in make.into_iter().enumerate() {
        let path = tree.at(LINKS[2]);
        make(&path);
        for command in ["install", "install --dry-run"] {
            assert_eq!(tree.run(command), (refused.to_owned(), 5), "{command}");
        }
        assert!(!tree.at("usr").join("local").exists());
        let aside = tree.at("aside");
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(tree.run("install").1, 0);
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        let (said, code) = tree.run("uninstall");
        let left = "# left: ROOT/opt/cni/bin/ashore, which is no link to /usr/local/bin/ashore-plug\n";
        assert!(code == 0 && said.contains(left) && path.symlink_metadata().is_ok(), "{number}: {said}");
        assert_eq!(targets(&tree)[0], None);
        std::fs::remove_dir_all(tree.at("usr/local")).unwrap();
        std::fs::rename(&path, tree.at(&format!("done-{number}"))).unwrap();
    }
    let (said, code) = tree.run("install --bin-dir /opt/cni/bin");
    assert!(code == 3 && said.contains("another --bin-dir"), "{code}: {said}");
    // A file that another build installed, or somebody else.
    assert_eq!(tree.run("install").1, 0);
    tree.write("usr/local/bin/ashore-plug", "another's");
    let (said, code) = tree.run("uninstall");
    let left = "# left: ROOT/usr/local/bin/ashore-plug, which is not this ashore's\n";
    assert!(code == 0 && said.contains(left) && tree.at("usr/local/bin/ashore-plug").exists(), "{said}");
    assert_eq!(targets(&tree), [(); 5].map(|()| None));
}

#[test]
fn links_are_taken_back_with_the_rest() {
    let tree = Tree::with(&[SYSTEMD, "opt/cni/bin/macvlan"]);
    assert_eq!(tree.run("install --bin-dir /usr/bin").1, 0);
    std::fs::remove_file(tree.at(LINKS[2])).unwrap();
    let before = tree.files();
    // The new unit cannot be written.
    std::fs::create_dir_all(tree.at(&format!("{UNITS}/.ashore.service.new"))).unwrap();
    let (said, code) = tree.run("install");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("ln -sfn ") && said.contains("ln -s ") && said.contains("previous steps"),
        "{said}"
    );
    assert_eq!(tree.files(), before);
}

#[test]
fn without_the_plugin_it_says_so_and_goes_on() {
    let build = Build::without_plug();
    let tree = Tree::with(&[SYSTEMD]);
    let without = |why: &str| {
        let plug = build.plug();
        let why = why.replace("PLUG", &plug.display().to_string().replace("ashore-plug", "ashore"));
        format!("# without ashore-plug, which Podman and CNI runtimes call: {why}\n")
            .replace(build.program().to_str().unwrap(), "PROGRAM")
    };
    let missing = without("there is no PLUG-plug");
    let done = "# ashore VERSION is installed as /usr/local/bin/ashore";
    let (said, code) = tree.run_by(&build, "install");
    assert!(code == 0 && said.ends_with(&format!("{missing}{done}\n")), "{said}");
    assert_eq!(tree.run_by(&build, "install"), (format!("{missing}{done}; nothing to do\n"), 0));
    assert_eq!(targets(&tree), [(); 5].map(|()| None));
    assert!(!tree.at("usr/local/bin/ashore-plug").exists());
    assert!(tree.at(&format!("{UNITS}/ashore-plug.socket")).exists());

    let foreign = without("PLUG-plug is no file of this program's owner");
    symlink(tree.1.plug(), build.plug()).unwrap();
    assert_eq!(tree.run_by(&build, "install"), (format!("{foreign}{done}; nothing to do\n"), 0));
    std::fs::remove_file(build.plug()).unwrap();
    std::fs::write(build.plug(), "another's").unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(build.plug(), Some(65534), None).unwrap();
        assert_eq!(tree.run_by(&build, "install"), (format!("{foreign}{done}; nothing to do\n"), 0));
        std::os::unix::fs::chown(build.plug(), Some(0), None).unwrap();
    }
    assert_eq!(tree.run_by(&build, "install").1, 0);
    assert_eq!(tree.read("usr/local/bin/ashore-plug"), "another's");
    // A build without it neither replaces nor removes it.
    assert!(tree.run_by(&Build::without_plug(), "install").0.ends_with("nothing to do\n"));
    assert_eq!(tree.run_by(&build, "uninstall").1, 0);
    assert_eq!(tree.files(), [SYSTEMD]);
}
