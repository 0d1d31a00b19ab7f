//! A place of one's own for a whole LAN: user, network and mount namespaces for the calling process.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Why there is no sandbox to be had.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An ordinary user may not make a user namespace here.
    #[error("this system does not let an ordinary user make namespaces ({reason})")]
    Restricted {
        /// Which setting forbids it.
        reason: &'static str,
        /// The command that allows it.
        remedy: &'static str,
    },
    /// The system failed.
    #[error("namespaces could not be made ({what}): {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Moves the calling process into network and mount namespaces of its own, and as an ordinary user into a user namespace
/// in which it is root. `/run` is empty there but for `/run/netns`, and what is put in it is gone with the last process
/// inside, however that ends. The process must have one thread only.
pub fn enter_sandbox() -> Result<(), SandboxError> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(refused("unshare", uid.is_root()))?;
    if !uid.is_root() {
        // Ubuntu 24.04 lets everybody make the namespace, and its AppArmor profile for whoever did (`unprivileged_userns`)
        // denies what comes next: the ids here, or the first mount.
        let write = |file, text: String| {
            let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO));
            fs::write(file, text).map_err(errno).map_err(refused("user and group ids", false))
        };
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(refused("mounts of its own", uid.is_root()))?;
    cover_run().map_err(system("an empty /run"))
}

/// All of it: where `/run/netns` is missing, an ordinary user cannot make it, and root would leave it behind.
fn cover_run() -> io::Result<()> {
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    fs::create_dir("/run/netns")
}

fn system(what: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::System { what, source }
}

fn refused(what: &'static str, root: bool) -> impl Fn(Errno) -> SandboxError {
    move |errno| match restriction(errno, root) {
        Some((reason, remedy)) => SandboxError::Restricted { reason, remedy },
        None => system(what)(errno.into()),
    }
}

/// The setting that stands behind an error, and what allows it.
fn restriction(errno: Errno, root: bool) -> Option<(&'static str, &'static str)> {
    let setting =
        |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Some(match errno {
        Errno::EPERM | Errno::EACCES if !root => {
            if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
                return Some((
                    "AppArmor: kernel.apparmor_restrict_unprivileged_userns is 1",
                    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run it with sudo",
                ));
            }
            if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
                return Some((
                    "kernel.unprivileged_userns_clone is 0",
                    "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run it with sudo",
                ));
            }
            ("a seccomp filter or security module, as inside most containers", "run it outside, or with sudo")
        }
        Errno::ENOSPC | Errno::EUSERS if !root => (
            "user.max_user_namespaces is used up or 0",
            "sudo sysctl -w user.max_user_namespaces=10000, or run it with sudo",
        ),
        Errno::EPERM => (
            "root without CAP_SYS_ADMIN, as inside most containers",
            "run it outside, or give the container that capability",
        ),
        _ => return None,
    })
}
