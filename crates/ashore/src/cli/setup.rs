//! The options of `ashore setup` and `ashore doctor`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ashore_core::net::name::{IfName, NetworkName};
use clap::Args;

use crate::client::ClientArgs;

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

/// Who makes the network: an engine, whose containers are to be on it, or the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Maker {
    /// `docker network create`
    Docker,
    /// `podman network create`
    Podman,
    /// `ashore network create`, for whatever has a network namespace
    Ashore,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Maker::Docker => "docker",
            Maker::Podman => "podman",
            Maker::Ashore => "ashore",
        })
    }
}

impl FromStr for Maker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "docker" => Ok(Maker::Docker),
            "podman" => Ok(Maker::Podman),
            "ashore" => Ok(Maker::Ashore),
            other => Err(format!("`{other}` is none of docker, podman and ashore")),
        }
    }
}
