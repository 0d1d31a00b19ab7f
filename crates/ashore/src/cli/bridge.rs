//! The options of `ashore bridge`.

use std::path::PathBuf;

use ashore_core::net::name::IfName;
use clap::{Args, Subcommand};

use crate::client::ClientArgs;

/// `ashore bridge`.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// Move a NIC and the host's addresses and routes on it into a new bridge; rolled back unless confirmed
    Adopt(BridgeAdoptArgs),
    /// Confirm the move that is on trial, and make it permanent
    Confirm(BridgeConfirmArgs),
}

/// `ashore bridge adopt`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BridgeAdoptArgs {
    /// The host's interface that faces the LAN
    pub(crate) nic: IfName,
    /// Name of the bridge
    pub(crate) bridge: IfName,
    /// Move the NIC out of the bridge again, and remove the bridge
    #[arg(long)]
    pub(crate) undo: bool,
    /// Roll back after this many seconds without `ashore bridge confirm`
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) timeout: u32,
    /// Root directory of the host, below which its network configuration is read
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore bridge confirm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BridgeConfirmArgs {
    /// Root directory of the host, below which its network configuration is written
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
