//! A user of a machine who is not root, and runs a Podman of his own.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::docker::import_box;
use crate::engines::Engines;
use crate::ran::Ran;

/// A user, with a home of his own and ids for his containers.
pub struct Rootless {
    /// A process in the machine's namespaces.
    inside: u32,
    name: String,
    uid: u32,
}

/// Makes the user's home, which is empty at first, and the directory that a login makes. The device by which a program
/// without privileges makes an interface is every user's, as an ordinary host has it.
const MAKE: &str = r#"
    name=$1 uid=$2
    mkdir -p "/home/$name" "/run/user/$uid" /dev/net
    chmod 755 /home /run/user
    mount -t tmpfs -o "mode=700,uid=$uid,gid=$uid" tmpfs "/home/$name"
    mount -t tmpfs -o "mode=700,uid=$uid,gid=$uid" tmpfs "/run/user/$uid"
    if ! [ -e /run/net-tun ]; then
        touch /run/net-tun
        mount -t tmpfs -o mode=755 tmpfs /dev/net
        mknod -m 666 /dev/net/tun c 10 200
    fi
"#;

/// His settings: an overlay needs more of a filesystem than a test's may have, and the lab's machines lack control groups
/// that are his.
const CONFIGURE: &str = r#"
    mkdir -p ~/.config/containers
    cd ~/.config/containers
    printf '[storage]\ndriver = "vfs"\n' > storage.conf
    cat > containers.conf <<END
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
default_rootless_network_cmd = "slirp4netns"
firewall_driver = "none"
END
"#;

impl Rootless {
    /// Makes a user of the machine that a process is in. He has the image `box`.
    pub(crate) fn new(engines: &Engines, inside: u32, name: &str, uid: u32) -> io::Result<Self> {
        let at = |path: &str| PathBuf::from(format!("/proc/{inside}/root{path}"));
        let append = |file: &str, line: String| {
            let file = fs::File::options().create(true).append(true).open(at(file));
            file.and_then(|mut file| writeln!(file, "{line}"))
        };
        append("/etc/passwd", format!("{name}:x:{uid}:{uid}::/home/{name}:/bin/sh"))?;
        append("/etc/group", format!("{name}:x:{uid}:"))?;
        for file in ["/etc/subuid", "/etc/subgid"] {
            append(file, format!("{name}:{}:65536", uid * 100))?;
        }
        let (root, user) = (
            Rootless { inside, name: "root".to_owned(), uid: 0 },
            Rootless { inside, name: name.to_owned(), uid },
        );
        let mut make = root.command("busybox");
        make.args(["sh", "-ec", MAKE, "sh", name, &uid.to_string()]).stdin(Stdio::null());
        Ran::of(&mut make)?.expect_success();
        let mut configure = user.command("busybox");
        Ran::of(configure.args(["sh", "-ec", CONFIGURE]).stdin(Stdio::null()))?.expect_success();
        import_box(user.command("podman"), engines, &at(&format!("/home/{name}")))?;
        Ok(user)
    }

    /// The user's id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that runs on the machine as this user would run it after a login.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let (uid, target) = (self.uid.to_string(), self.inside.to_string());
        command.args(["--mount", "--pid", "--net", "--target", &target, "--setuid", &uid, "--setgid", &uid]);
        command.args(["--", program]).current_dir("/").env_clear();
        command.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("USER", &self.name);
        command.env("HOME", format!("/home/{}", self.name));
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"));
        ashore_kernel::kill_with_parent(&mut command);
        command
    }

    /// Runs his `podman …`.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Ran> {
        Ran::of(self.command("podman").args(arguments).stdin(Stdio::null()))
    }
}
