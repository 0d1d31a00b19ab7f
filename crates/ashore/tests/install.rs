//! `ashore install` and `ashore uninstall` on trees of systems that do not run. The tests compare the whole
//! output and all files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "install/links.rs"]
mod links;
#[path = "install/packaged.rs"]
mod packaged;
#[path = "install/shared.rs"]
mod shared;

use shared::{UNSHARED, with_shared};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ashore");

/// What a build leaves in a directory: the program and, beside it, the one that Podman and CNI runtimes call.
struct Build(tempfile::TempDir);

impl Build {
    fn new() -> Build {
        let build = Build::without_plug();
        std::fs::write(build.plug(), "ashore-plug").unwrap();
        build
    }

    fn without_plug() -> Build {
        // A second name for the file, beside which this test has its own `ashore-plug`.
        let build = Build(tempfile::tempdir_in(Path::new(PROGRAM).parent().unwrap()).unwrap());
        std::fs::hard_link(PROGRAM, build.program()).unwrap();
        build
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("ashore")
    }

    fn plug(&self) -> PathBuf {
        self.0.path().join("ashore-plug")
    }
}

/// A root directory with files that identify the system, and what is installed there.
struct Tree(tempfile::TempDir, Build);

impl Tree {
    fn with(files: &[&str]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap(), Build::new());
        for file in files {
            tree.write(file, "");
        }
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    /// Runs a command on the tree and returns its output and exit code. In the output, the tree's own paths
    /// are ROOT and PROGRAM.
    fn run(&self, command: &str) -> (String, i32) {
        self.run_by(&self.1, command)
    }

    /// The same by another build.
    fn run_by(&self, build: &Build, command: &str) -> (String, i32) {
        let mut program = Command::new(build.program());
        program.args(command.split_whitespace()).arg("--root").arg(self.0.path());
        let output = program.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap().replace(self.0.path().to_str().unwrap(), "ROOT");
        (
            said.replace(build.program().to_str().unwrap(), "PROGRAM")
                .replace(env!("CARGO_PKG_VERSION"), "VERSION"),
            output.status.code().unwrap(),
        )
    }

    /// All files and links in the tree, with `->` where a link leads elsewhere.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.0.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.0.path()).unwrap().display().to_string();
                match path.read_link() {
                    Ok(target) => found.push(format!("{name} -> {}", target.display())),
                    Err(_) if path.is_dir() => open.push(path),
                    Err(_) => found.push(name),
                }
            }
        }
        found.sort();
        found
    }
}

const SYSTEMD: &str = "usr/lib/systemd/systemd";
const UNITS: &str = "etc/systemd/system";

#[test]
fn what_is_installed_has_the_same_modes_under_any_umask() {
    for umask in ["000", "0077"] {
        let tree = Tree::with(&[SYSTEMD]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(tree.1.program());
        shell.args(["install", "--root"]);
        assert!(shell.arg(tree.0.path()).stdout(std::process::Stdio::null()).status().unwrap().success());
        for (path, wanted) in [
            ("usr/local", 0o755),
            ("usr/local/bin", 0o755),
            ("usr/local/bin/ashore", 0o755),
            ("usr/local/bin/ashore-plug", 0o755),
            ("usr/local/lib/netavark", 0o755),
            ("usr/local/share/man/man1", 0o755),
            ("usr/local/share/man/man1/ashore.1", 0o644),
            ("usr/local/share/zsh/site-functions/_ashore", 0o644),
            ("etc/systemd/system", 0o755),
            ("etc/systemd/system/ashore.service", 0o644),
            ("etc/systemd/system/sockets.target.wants", 0o755),
        ] {
            let mode = std::fs::metadata(tree.at(path)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, wanted, "{path} under the umask {umask}");
        }
    }
}

#[test]
fn into_an_image_with_systemd_and_out_of_it_again() {
    let tree = Tree::with(&[SYSTEMD]);
    let installed = "\
mkdir -p ROOT/usr/local/bin
install -m 755 PROGRAM ROOT/usr/local/bin/ashore
install -m 755 PROGRAM-plug ROOT/usr/local/bin/ashore-plug
mkdir -p ROOT/usr/local/lib/netavark
ln -s /usr/local/bin/ashore-plug ROOT/usr/local/lib/netavark/ashore
SHARED
mkdir -p ROOT/etc/systemd/system
cat > ROOT/etc/systemd/system/ashore.socket
cat > ROOT/etc/systemd/system/ashore-read.socket
cat > ROOT/etc/systemd/system/ashore-plug.socket
cat > ROOT/etc/systemd/system/ashore-users.socket
cat > ROOT/etc/systemd/system/ashore-backup.service
cat > ROOT/etc/systemd/system/ashore-backup.timer
cat > ROOT/etc/systemd/system/ashore.service
mkdir -p ROOT/etc/systemd/system/sockets.target.wants
ln -s /etc/systemd/system/ashore.socket ROOT/etc/systemd/system/sockets.target.wants/ashore.socket
ln -s /etc/systemd/system/ashore-plug.socket ROOT/etc/systemd/system/sockets.target.wants/ashore-plug.socket
mkdir -p ROOT/etc/systemd/system/multi-user.target.wants
ln -s /etc/systemd/system/ashore.service ROOT/etc/systemd/system/multi-user.target.wants/ashore.service
# ashore VERSION is installed as /usr/local/bin/ashore
";
    assert_eq!(tree.run("install"), (with_shared(installed), 0));
    let files = [
        "etc/systemd/system/ashore-backup.service",
        "etc/systemd/system/ashore-backup.timer",
        "etc/systemd/system/ashore-plug.socket",
        "etc/systemd/system/ashore-read.socket",
        "etc/systemd/system/ashore-users.socket",
        "etc/systemd/system/ashore.service",
        "etc/systemd/system/ashore.socket",
        "etc/systemd/system/multi-user.target.wants/ashore.service -> /etc/systemd/system/ashore.service",
        "etc/systemd/system/sockets.target.wants/ashore-plug.socket -> /etc/systemd/system/ashore-plug.socket",
        "etc/systemd/system/sockets.target.wants/ashore.socket -> /etc/systemd/system/ashore.socket",
        SYSTEMD,
        "usr/local/bin/ashore",
        "usr/local/bin/ashore-plug",
        "usr/local/lib/netavark/ashore -> /usr/local/bin/ashore-plug",
        "usr/local/share/bash-completion/completions/ashore",
        "usr/local/share/fish/vendor_completions.d/ashore.fish",
        "usr/local/share/zsh/site-functions/_ashore",
    ];
    let is_page = |file: &String| file.starts_with("usr/local/share/man/man1/");
    assert_eq!(tree.files().into_iter().filter(|file| !is_page(file)).collect::<Vec<_>>(), files);
    let mode = |path: &str| std::fs::metadata(tree.at(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("usr/local/bin/ashore"), mode(files[5])), (0o755, 0o644));
    assert!(tree.read(files[5]).contains("\nExecStart=/usr/local/bin/ashore daemon\n"));

    let again = "# ashore VERSION is installed as /usr/local/bin/ashore; nothing to do\n";
    assert_eq!(tree.run("install"), (again.to_owned(), 0));

    tree.write("var/lib/ashore/state.redb", "");
    let uninstalled = "\
rm ROOT/etc/systemd/system/sockets.target.wants/ashore.socket
rm ROOT/etc/systemd/system/ashore.socket
rm ROOT/etc/systemd/system/ashore-read.socket
rm ROOT/etc/systemd/system/sockets.target.wants/ashore-plug.socket
rm ROOT/etc/systemd/system/ashore-plug.socket
rm ROOT/etc/systemd/system/ashore-users.socket
rm ROOT/etc/systemd/system/ashore-backup.service
rm ROOT/etc/systemd/system/ashore-backup.timer
rm ROOT/etc/systemd/system/multi-user.target.wants/ashore.service
rm ROOT/etc/systemd/system/ashore.service
rm ROOT/usr/local/lib/netavark/ashore
rm ROOT/usr/local/bin/ashore-plug
UNSHARED
rm ROOT/usr/local/bin/ashore
";
    let uninstalled = with_shared(uninstalled);
    let left = "# left: ROOT/var/lib/ashore, the state; --purge removes it\n";
    assert_eq!(tree.run("uninstall --dry-run"), (format!("{uninstalled}# nothing was changed\n"), 0));
    assert_eq!(tree.run("uninstall"), (format!("{uninstalled}{left}"), 0));
    assert_eq!(tree.files(), [SYSTEMD, "var/lib/ashore/state.redb"]);
    assert_eq!(tree.run("uninstall --purge"), ("rm -r ROOT/var/lib/ashore\n".to_owned(), 0));
    assert_eq!(tree.run("uninstall"), ("# nothing is installed here\n".to_owned(), 0));
    assert_eq!(tree.files(), [SYSTEMD]);
}

#[test]
fn the_socket_for_users_other_than_root_is_enabled_for_whom_asks_and_stays_as_it_is() {
    const LINK: &str = "etc/systemd/system/sockets.target.wants/ashore-users.socket";
    let tree = Tree::with(&[SYSTEMD]);
    let is_enabled = || tree.at(LINK).is_symlink();
    assert!(tree.run("install").1 == 0 && !is_enabled());
    let link = format!("ln -s /etc/systemd/system/ashore-users.socket ROOT/{LINK}\n");
    assert_eq!(tree.run("install --users --dry-run"), (format!("{link}# nothing was changed\n"), 0));
    let done = "# ashore VERSION is installed as /usr/local/bin/ashore";
    assert_eq!(tree.run("install --users"), (format!("{link}{done}\n"), 0));
    // Whatever is installed again, and whichever version.
    for command in ["install", "install --users"] {
        assert_eq!(tree.run(command), (format!("{done}; nothing to do\n"), 0));
        assert!(is_enabled());
    }
    tree.write("usr/local/bin/ashore", "an older version");
    assert!(tree.run("install").1 == 0 && is_enabled());
    std::fs::remove_file(tree.at(LINK)).unwrap();
    assert!(tree.run("install").1 == 0 && !is_enabled());
    assert!(tree.run("install --users").1 == 0 && is_enabled());
    assert!(tree.run("uninstall").0.contains(&format!("rm ROOT/{LINK}\n")));
    assert_eq!(tree.files(), [SYSTEMD]);
}

#[test]
fn a_dry_run_is_a_script_that_does_the_same() {
    let (dry, real) = (Tree::with(&[SYSTEMD]), Tree::with(&[SYSTEMD]));
    let mut command = Command::new(dry.1.program());
    let output =
        command.args(["install", "--dry-run", "--bin-dir", "/opt/bin", "--root"]).arg(dry.0.path()).output();
    let script = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(script.ends_with("# nothing was changed\n"), "{script}");
    assert_eq!(dry.files(), [SYSTEMD]);
    assert_eq!(real.run("install --bin-dir /opt/bin").1, 0);
    assert!(Command::new("sh").arg("-ec").arg(script).status().unwrap().success());
    assert_eq!(dry.files(), real.files());
    for file in dry.files().iter().filter(|file| !file.contains("->")) {
        assert_eq!(std::fs::read(dry.at(file)).unwrap(), std::fs::read(real.at(file)).unwrap(), "{file}");
    }
    assert!(real.read(&format!("{UNITS}/ashore.service")).contains("\nExecStart=/opt/bin/ashore daemon\n"));
    // The unit records where the program was installed.
    assert_eq!(real.run("uninstall").1, 0);
    assert_eq!(real.files(), [SYSTEMD]);
}

#[test]
fn what_its_user_changed_is_neither_replaced_nor_removed() {
    let tree = Tree::with(&[SYSTEMD]);
    let unit = format!("{UNITS}/ashore.service");
    assert_eq!(tree.run("install").1, 0);
    tree.write(&unit, &tree.read(&unit).replace("RestartSec=1", "RestartSec=9"));
    let refused = "\
ashore: ROOT/etc/systemd/system/ashore.service was not written by `ashore install`, or was changed since
  try: keep what you need of it with `systemctl edit ashore.service`, remove the file, and install again
";
    assert_eq!(tree.run("install"), (refused.to_owned(), 5));
    tree.write(&format!("{UNITS}/ashore.socket.d/group.conf"), "[Socket]\nSocketGroup=ashore\n");
    tree.write("usr/local/bin/ashore", "another program");
    let left = "\
rm ROOT/etc/systemd/system/sockets.target.wants/ashore.socket
rm ROOT/etc/systemd/system/ashore.socket
rm ROOT/etc/systemd/system/ashore-read.socket
rm ROOT/etc/systemd/system/sockets.target.wants/ashore-plug.socket
rm ROOT/etc/systemd/system/ashore-plug.socket
rm ROOT/etc/systemd/system/ashore-users.socket
rm ROOT/etc/systemd/system/ashore-backup.service
rm ROOT/etc/systemd/system/ashore-backup.timer
rm ROOT/etc/systemd/system/multi-user.target.wants/ashore.service
rm ROOT/usr/local/lib/netavark/ashore
rm ROOT/usr/local/bin/ashore-plug
UNSHARED
# left: ROOT/etc/systemd/system/ashore.socket.d, which is yours
# left: ROOT/etc/systemd/system/ashore.service, which was changed since it was written
# left: ROOT/usr/local/bin/ashore, which is not this ashore
";
    assert_eq!(tree.run("uninstall"), (with_shared(left), 0));
    assert!(tree.read(&unit).contains("RestartSec=9"));
}

#[test]
fn the_group_is_made_where_there_is_none_and_removed_only_if_it_is_its_own() {
    const SYSUSERS: &str = "usr/bin/systemd-sysusers";
    const FILE: &str = "etc/sysusers.d/ashore.conf";
    let tree = Tree::with(&[SYSTEMD, SYSUSERS]);
    tree.write("etc/group", "root:x:0:\nashores:x:7:\n");
    let (said, code) = tree.run("install");
    assert!(
        code == 0 && said.contains("mkdir -p ROOT/etc/sysusers.d\ncat > ROOT/etc/sysusers.d/ashore.conf\n"),
        "{said}"
    );
    assert!(tree.read(FILE).ends_with("\ng ashore -\n"));
    assert!(tree.run("install").0.contains("nothing to do"));
    // The system was booted since.
    tree.write("etc/group", "root:x:0:\nashore:x:999:me\n");
    assert!(tree.run("install").0.contains("nothing to do"));
    let (said, code) = tree.run("uninstall");
    assert!(code == 0 && said.contains("rm ROOT/etc/sysusers.d/ashore.conf\n"), "{said}");
    assert!(said.contains("# left: the group ashore, which `groupdel ashore` removes\n"), "{said}");
    // Now the group is there, and not Ashore's.
    assert_eq!(tree.run("install").1, 0);
    assert!(!tree.at(FILE).exists());
    assert!(!tree.run("uninstall").0.contains("group"));
    // A changed file is its user's.
    tree.write("etc/group", "");
    assert_eq!(tree.run("install").1, 0);
    tree.write(FILE, &(tree.read(FILE) + "m me ashore\n"));
    assert!(tree.run("install").0.contains("nothing to do"));
    let (said, _) = tree.run("uninstall");
    assert!(said.contains("sysusers.d/ashore.conf, which was changed") && tree.at(FILE).exists(), "{said}");
}

#[test]
fn an_older_versions_units_are_replaced() {
    let tree = Tree::with(&[SYSTEMD]);
    assert_eq!(tree.run("install --bin-dir /usr/bin").1, 0);
    let said = "\
mkdir -p ROOT/usr/local/bin
install -m 755 PROGRAM ROOT/usr/local/bin/ashore
install -m 755 PROGRAM-plug ROOT/usr/local/bin/ashore-plug
ln -sfn /usr/local/bin/ashore-plug ROOT/usr/local/lib/netavark/ashore
SHARED
cat > ROOT/etc/systemd/system/ashore-backup.service
cat > ROOT/etc/systemd/system/ashore.service
# ashore VERSION is installed as /usr/local/bin/ashore
";
    assert_eq!(tree.run("install"), (with_shared(said), 0));
}

#[test]
fn what_fails_half_way_is_taken_back() {
    let tree = Tree::with(&[SYSTEMD]);
    // No unit file can be written under the name of a directory.
    std::fs::create_dir_all(tree.at(&format!("{UNITS}/.ashore.service.new"))).unwrap();
    let (said, code) = tree.run("install");
    assert_eq!(code, 1, "{said}");
    for words in ["cat > ROOT/etc/systemd/system/ashore.service\n", "previous steps\n", "ashore: `cat > "] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert_eq!(tree.files(), [SYSTEMD]);
}

/// The lines that follow the installation where there is no systemd.
fn lines_for(tree: &Tree) -> String {
    let (said, code) = tree.run("install");
    assert_eq!(code, 0, "{said}");
    let begin = "\
mkdir -p ROOT/usr/local/bin
install -m 755 PROGRAM ROOT/usr/local/bin/ashore
install -m 755 PROGRAM-plug ROOT/usr/local/bin/ashore-plug
mkdir -p ROOT/usr/local/lib/netavark
ln -s /usr/local/bin/ashore-plug ROOT/usr/local/lib/netavark/ashore
SHARED
# ashore VERSION is installed as /usr/local/bin/ashore
";
    let lines = said.strip_prefix(&with_shared(begin)).unwrap_or_else(|| panic!("{said}")).to_owned();
    let again = "# ashore VERSION is installed as /usr/local/bin/ashore; nothing to do\n";
    assert_eq!(tree.run("install"), (format!("{again}{lines}"), 0));
    lines
}

#[test]
fn without_systemd_it_says_what_starts_the_daemon() {
    let busybox = Tree::with(&["etc/inittab"]);
    std::fs::create_dir(busybox.at("sbin")).unwrap();
    symlink("/bin/busybox", busybox.at("sbin/init")).unwrap();
    for (tree, name, lines) in [
        (
            Tree::with(&["sbin/openrc-run", "etc/inittab"]),
            "OpenRC",
            "\
printf '%s\\n' '#!/sbin/openrc-run' 'supervisor=supervise-daemon' 'command=/usr/local/bin/ashore' 'command_args=daemon' 'depend() { need localmount; before docker; }' > /etc/init.d/ashore
chmod 755 /etc/init.d/ashore
rc-update add ashore default
rc-service ashore start
",
        ),
        (
            Tree::with(&["etc/runit/1"]),
            "runit",
            "\
mkdir -p /etc/sv/ashore
printf '%s\\n' '#!/bin/sh' 'exec /usr/local/bin/ashore daemon 2>&1' > /etc/sv/ashore/run
chmod 755 /etc/sv/ashore/run
ln -s /etc/sv/ashore /var/service/    # or wherever runsvdir looks
",
        ),
        (
            Tree::with(&["etc/s6/rc"]),
            "s6",
            "\
mkdir -p /run/service/ashore    # or wherever s6-svscan looks
printf '%s\\n' '#!/bin/sh' 'exec /usr/local/bin/ashore daemon 2>&1' > /run/service/ashore/run
chmod 755 /run/service/ashore/run
s6-svscanctl -a /run/service
",
        ),
        (busybox, "BusyBox init", "echo '::respawn:/usr/local/bin/ashore daemon' >> /etc/inittab\nkill -HUP 1\n"),
        (
            Tree::with(&["etc/inittab"]),
            "sysvinit",
            "echo 'ash:2345:respawn:/usr/local/bin/ashore daemon' >> /etc/inittab\ntelinit q\n",
        ),
        (
            Tree::with(&["etc/synoinfo.conf", "etc/inittab"]),
            "DSM's rc.d",
            "\
printf '%s\\n' '#!/bin/sh' '[ \"$1\" = start ] && /usr/local/bin/ashore daemon >>/var/log/ashore.log 2>&1 &' > /usr/local/etc/rc.d/ashore.sh
chmod 755 /usr/local/etc/rc.d/ashore.sh
/usr/local/etc/rc.d/ashore.sh start
",
        ),
        (
            Tree::with(&["boot/config/go", "etc/inittab"]),
            "Unraid's go file",
            "\
cp /usr/local/bin/ashore /boot/config/ashore
echo 'install -m 755 /boot/config/ashore /usr/local/bin/ashore' >> /boot/config/go
echo '(until mountpoint -q /mnt/user; do sleep 1; done; exec /usr/local/bin/ashore daemon --state /mnt/user/system/ashore) >>/var/log/ashore.log 2>&1 &' >> /boot/config/go
",
        ),
        (
            Tree::with(&[]),
            "an unknown init system",
            "echo '/usr/local/bin/ashore daemon >>/var/log/ashore.log 2>&1 &' >> /etc/rc.local    # or wherever this host starts its services\n",
        ),
    ] {
        let heading = format!("# this host has {name}, not systemd; to start the daemon with it, run:\n");
        assert_eq!(lines_for(&tree), format!("{heading}{lines}"));
        let removed = format!(
            "rm ROOT/usr/local/lib/netavark/ashore\nrm ROOT/usr/local/bin/ashore-plug\n\
             {UNSHARED}rm ROOT/usr/local/bin/ashore\n# remove what starts the daemon with {name} yourself\n"
        );
        assert_eq!(tree.run("uninstall"), (removed, 0));
    }
}

#[test]
fn who_may_not_is_told_before_anything_is_touched() {
    // If other users cannot read the build directory, they cannot run what is in it.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("ashore");
    std::fs::copy(PROGRAM, &program).unwrap();
    let as_nobody = |arguments: &[&str], root: &Path| {
        let mut command = Command::new(&program);
        command.args(arguments).arg("--root").arg(root);
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
    };
    for command in ["install", "uninstall"] {
        let refused = "\
ashore: only root may change what this host starts
  try: run it as root, with sudo
";
        assert_eq!(as_nobody(&[command], Path::new("/")), (refused.to_owned(), 9));
    }
    let tree = Tree::with(&[SYSTEMD]);
    std::fs::set_permissions(tree.0.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (said, code) = as_nobody(&["install"], tree.0.path());
    assert!(code == 9 && said.contains("mkdir -p") && said.contains("with sudo"), "{code}: {said}");
    assert_eq!(tree.files(), [SYSTEMD]);
}

#[test]
fn a_place_that_is_none_is_refused() {
    let tree = Tree::with(&[SYSTEMD]);
    let (said, code) = tree.run("install --bin-dir bin");
    assert!(code == 3 && said.contains("--bin-dir bin is not an absolute path"), "{code}: {said}");
    let (said, code) = tree.run("install --bin-dir /home/alice/bin");
    assert!(code == 3 && said.contains("would be hidden from its own unit"), "{code}: {said}");
    let output = Command::new(PROGRAM).args(["install", "--root", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--root /nowhere") && said.contains("try:"), "{said}");
    assert_eq!(tree.files(), [SYSTEMD]);
}
