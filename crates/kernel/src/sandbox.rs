//! A sandbox for a whole LAN: user, network and mount namespaces for the calling process.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Why no sandbox can be created.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An ordinary user may not create a user namespace here.
    #[error("this system does not let an ordinary user create namespaces ({reason})")]
    Restricted {
        /// The setting that forbids it.
        reason: &'static str,
        /// The command that allows it.
        remedy: &'static str,
    },
    /// The system returned an error.
    #[error("namespaces could not be created ({what}): {source}")]
    System {
        /// The operation that failed.
        what: &'static str,
        /// The system error.
        source: io::Error,
    },
}

/// Moves the calling process into its own network and mount namespaces. For an ordinary user also into a user
/// namespace in which that user is root. `/run` is empty there except for `/run/netns`. Its contents
/// disappear with the last process inside, however that ends. The process must have only one thread.
pub fn enter_sandbox() -> Result<(), SandboxError> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(refused("unshare", uid.is_root()))?;
    if !uid.is_root() {
        // Ubuntu 24.04 lets every user create the namespace. Its AppArmor profile for such a user
        // (`unprivileged_userns`) then denies the next operation: the IDs here, or the first mount.
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

/// Mounts an empty filesystem on the whole of `/run`. If `/run/netns` is missing, an ordinary user cannot
/// create it, and root would leave it behind.
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

/// The setting that caused an error, and the command that allows the operation.
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
