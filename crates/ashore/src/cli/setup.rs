//! The options of `ashore setup` and `ashore doctor`.

use std::net::{IpAddr, Ipv4Addr};

use ashore_core::net::name::{IfName, NetworkName};
use clap::Args;

use crate::client::ClientArgs;
use crate::commands::setup::Maker;

/// `ashore setup`.
#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Name of the network [default: lan]
    #[arg(long)]
    pub(crate) name: Option<NetworkName>,
    /// The host's interface that faces the LAN [default: the one of the default route]
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// Who makes the network [default: docker or podman, whichever is here]
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<Maker>,
    /// Let the LAN's DHCP server assign the addresses
    #[arg(long)]
    pub(crate) dhcp: bool,
    /// A machine beyond the router that a container should reach, for the test at the end
    #[arg(long, value_name = "IP")]
    pub(crate) to: Option<IpAddr>,
    /// Ask nothing, and do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Show what was found and what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A network, or a container on one; without it, everything
    pub(crate) about: Option<String>,
    /// Look only at networks on this interface
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// A machine of the LAN that should answer
    #[arg(long, value_name = "IP")]
    pub(crate) to: Option<Ipv4Addr>,
    /// Show what was found last, and ask nobody
    #[arg(long, conflicts_with_all = ["about", "parent", "to"])]
    pub(crate) last: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
