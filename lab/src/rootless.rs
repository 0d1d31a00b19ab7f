//! A user of Podman's world who is not root, and runs a Podman of his own.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::docker::import_box;
use crate::engines::Engines;
use crate::podman::Podman;
use crate::ran::Ran;

/// A user, with a home of his own and ids for his containers.
pub struct Rootless<'a> {
    podman: &'a Podman,
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

impl<'a> Rootless<'a> {
    /// Makes a user of Podman's world. He has the image `box`.
    pub fn new(podman: &'a Podman, engines: &Engines, name: &str, uid: u32) -> io::Result<Self> {
        let append = |file: &str, line: String| {
            let file = fs::File::options().create(true).append(true).open(podman.at(file));
            file.and_then(|mut file| writeln!(file, "{line}"))
        };
        append("/etc/passwd", format!("{name}:x:{uid}:{uid}::/home/{name}:/bin/sh"))?;
        append("/etc/group", format!("{name}:x:{uid}:"))?;
        for file in ["/etc/subuid", "/etc/subgid"] {
            append(file, format!("{name}:{}:65536", uid * 100))?;
        }
        let mut make = podman.command("busybox");
        make.args(["sh", "-ec", MAKE, "sh", name, &uid.to_string()]).stdin(Stdio::null());
        Ran::of(&mut make)?.expect_success();
        let user = Rootless::existing(podman, name, uid);
        // An overlay needs more of a filesystem than a test's may have.
        let mut settings = user.command("busybox");
        settings.args([
            "sh",
            "-ec",
            "mkdir -p ~/.config/containers && printf '[storage]\\ndriver = \"vfs\"\\n' > ~/.config/containers/storage.conf",
        ]);
        Ran::of(settings.stdin(Stdio::null()))?.expect_success();
        import_box(user.command("podman"), engines, &podman.at(&format!("/home/{name}")))?;
        Ok(user)
    }

    /// A user who was made before.
    pub fn existing(podman: &'a Podman, name: &str, uid: u32) -> Self {
        Rootless { podman, name: name.to_owned(), uid }
    }

    /// The user's id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that runs in Podman's world as this user would run it after a login.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let (uid, target) = (self.uid.to_string(), self.podman.inside().to_string());
        command.args(["--mount", "--pid", "--net", "--target", &target, "--setuid", &uid, "--setgid", &uid]);
        command.args(["--", program]).env_clear();
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
