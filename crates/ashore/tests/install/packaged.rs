//! On a system on which a package has put the programs and units.

use std::os::unix::fs::symlink;

use super::links::LINKS;
use super::shared::with_shared;
use super::{PROGRAM, SYSTEMD, Tree, UNITS};

#[test]
fn a_package_keeps_its_files_and_takes_over_what_an_earlier_installation_enabled() {
    const PACKAGED: &str = "usr/lib/systemd/system";
    let tree = Tree::with(&[SYSTEMD, "opt/cni/bin/macvlan", "usr/lib/cni/macvlan"]);
    assert_eq!(tree.run("install --users").1, 0);
    let names = [
        "ashore.socket",
        "ashore-read.socket",
        "ashore-plug.socket",
        "ashore-users.socket",
        "ashore-backup.service",
        "ashore-backup.timer",
        "ashore.service",
    ];
    for name in names {
        tree.write(&format!("{PACKAGED}/{name}"), &tree.read(&format!("{UNITS}/{name}")));
    }
    std::fs::remove_file(tree.at(LINKS[1])).unwrap();
    symlink("../../bin/ashore-plug", tree.at(LINKS[1])).unwrap();

    // By another program than the package's, and by hand.
    tree.write("usr/bin/ashore", "a newer one");
    let refused = "\
ashore: a package has installed Ashore on this host
  try: use the package manager: install a newer package, or remove it
";
    for command in ["install", "install --dry-run", "uninstall", "uninstall --force --purge"] {
        assert_eq!(tree.run(command), (refused.to_owned(), 5), "{command}");
    }
    std::fs::copy(PROGRAM, tree.at("usr/bin/ashore")).unwrap();

    // The last link cannot be led elsewhere.
    let before = tree.files();
    let in_the_way = tree.at(&format!("{UNITS}/multi-user.target.wants/ashore.service.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    let (said, code) = tree.run("install");
    assert!(code == 1 && said.contains("previous steps"), "{said}");
    assert_eq!(tree.files(), before);
    std::fs::remove_dir(in_the_way).unwrap();

    let taken_over = "\
rm ROOT/etc/systemd/system/ashore.socket
rm ROOT/etc/systemd/system/ashore-read.socket
rm ROOT/etc/systemd/system/ashore-plug.socket
rm ROOT/etc/systemd/system/ashore-users.socket
rm ROOT/etc/systemd/system/ashore-backup.service
rm ROOT/etc/systemd/system/ashore-backup.timer
UNSHARED
rm ROOT/usr/local/bin/ashore
rm ROOT/usr/local/bin/ashore-plug
rm ROOT/etc/systemd/system/ashore.service
ln -sfn /usr/lib/systemd/system/ashore.socket ROOT/etc/systemd/system/sockets.target.wants/ashore.socket
ln -sfn /usr/lib/systemd/system/ashore-plug.socket ROOT/etc/systemd/system/sockets.target.wants/ashore-plug.socket
ln -sfn /usr/lib/systemd/system/ashore-users.socket ROOT/etc/systemd/system/sockets.target.wants/ashore-users.socket
ln -sfn /usr/lib/systemd/system/ashore.service ROOT/etc/systemd/system/multi-user.target.wants/ashore.service
rm ROOT/usr/local/lib/netavark/ashore
ln -sfn /usr/bin/ashore-plug ROOT/opt/cni/bin/ashore
# ashore VERSION is installed as /usr/bin/ashore
";
    assert_eq!(tree.run("install"), (with_shared(taken_over), 0));
    let again = "# ashore VERSION is installed as /usr/bin/ashore; nothing to do\n";
    assert_eq!(tree.run("install"), (again.to_owned(), 0));

    // The package manager removes the rest.
    let (said, code) = tree.run("uninstall --packaged");
    assert!(code == 0 && said.contains("rm ROOT/opt/cni/bin/ashore\n"), "{said}");
    let mut left: Vec<String> = names.iter().map(|name| format!("{PACKAGED}/{name}")).collect();
    left.extend([SYSTEMD, "opt/cni/bin/macvlan", "usr/bin/ashore", "usr/lib/cni/macvlan"].map(str::to_owned));
    left.push(format!("{} -> ../../bin/ashore-plug", LINKS[1]));
    left.sort();
    assert_eq!(tree.files(), left);

    // In an image where Ashore was never installed, the units are enabled.
    let (said, code) = tree.run("install");
    assert!(code == 0 && said.contains("ln -s /usr/lib/systemd/system/ashore.service "), "{said}");
    assert!(!said.contains("ashore-users.socket"), "{said}");
    // A unit of an earlier installation that its user changed is his to look at.
    tree.write(&format!("{UNITS}/ashore.service"), "[Service]\nExecStart=/usr/local/bin/ashore daemon\n");
    let (said, code) = tree.run("install");
    assert!(code == 5 && said.contains("ashore.service was not written by"), "{said}");
}
