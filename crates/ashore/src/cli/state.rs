//! The options of `ashore state`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::client::ClientArgs;

/// `ashore state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Print all state as one JSON document
    Export(ClientArgs),
    /// Replace all state with a document from standard input; refused while endpoints exist
    Import(ClientArgs),
    /// Write all state into a directory of backups, and remove the oldest of them
    Backup(BackupArgs),
    /// Replace the state by a document while no daemon runs, and keep what was there
    Restore(RestoreArgs),
    /// Make this host's containers others than those of the host that it is a copy of: draw a new seed, from which other
    /// MACs follow; refused while endpoints exist
    Rekey(ClientArgs),
    /// Say that this is the same host as before, on other hardware or with a new system
    Accept(ClientArgs),
}

/// `ashore state backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Directory of the backups; it is made if it is missing
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ashore/backups")]
    pub(crate) to: PathBuf,
    /// How many backups to keep there
    #[arg(long, value_name = "N", default_value = "7")]
    pub(crate) keep: NonZeroUsize,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore state restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The document: a backup, an export, or what was kept before an upgrade
    pub(crate) file: PathBuf,
    /// Directory of the state
    #[arg(long, value_name = "DIR", default_value = ashore_store::DIRECTORY)]
    pub(crate) state: PathBuf,
    /// Directory in which the daemon notes what is not in the state yet
    #[arg(long, value_name = "DIR", default_value = "/run/ashore")]
    pub(crate) run: PathBuf,
}
