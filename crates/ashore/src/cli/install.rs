//! The options of `ashore install` and `ashore uninstall`.

use std::path::PathBuf;

use clap::Args;

/// The directory of programs that the administrator installs.
pub(crate) const BIN_DIR: &str = "/usr/local/bin";

/// `ashore install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Directory for the program
    #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
    pub(crate) bin_dir: PathBuf,
    /// Root directory of an offline system to install into
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Let users other than root call, by rootless Podman, on networks that root allows them; an installation that has
    /// this keeps it
    #[arg(long)]
    pub(crate) users: bool,
    /// Print the steps as a script, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `ashore uninstall`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct UninstallArgs {
    /// Directory of the program [default: as in the systemd unit, or /usr/local/bin]
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Root directory of an offline system to uninstall from
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Print the steps as a script, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Uninstall even if endpoints are attached or Docker has networks of this driver
    #[arg(long)]
    pub(crate) force: bool,
    /// Leave what runs as it is: containers stay on the LAN, and the host reaches them, until they stop or it restarts
    #[arg(long, conflicts_with_all = ["force", "purge"])]
    pub(crate) keep: bool,
    /// For the scripts of a package, whose files the package manager removes
    #[arg(long, hide = true)]
    pub(crate) packaged: bool,
    /// Also remove the state: networks, names and their addresses
    #[arg(long)]
    pub(crate) purge: bool,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "ASHORE_SOCKET", default_value = "/run/ashore/ashore.sock")]
    pub(crate) socket: PathBuf,
}
