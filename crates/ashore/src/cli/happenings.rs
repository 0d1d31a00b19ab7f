//! The options of `ashore events` and `ashore map`.

use ashore_core::net::name::NetworkName;
use clap::Args;

use crate::client::ClientArgs;

/// `ashore events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only what is about this: an endpoint, a network, an address, a MAC, a parent or the code of a trouble
    pub(crate) name: Option<String>,
    /// Go on with what happens from now on; with --json, each event is a line
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore map`.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// Name of the network [default: all networks]
    pub(crate) network: Option<NetworkName>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
