//! Every command, option and default, in one place. The help text is generated from it, and a test checks
//! that the manual covers it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Fallback, LeaseTimeout, Release};
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::{EndpointName, IfName, NetworkName, PortName};
use ashore_core::net::range::{Range, parse_subnet};
use ashore_core::net::told::{HostName, VendorClass, client_id};
use ashore_core::net::vlan::VlanId;
use ashore_routers::{Policy, System};
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use ashore_wire::dhcp4::ClientId;
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::client::ClientArgs;

mod bridge;
mod happenings;
mod install;
mod lab;
mod parse;
mod setup;
mod show;
mod state;

pub(crate) use bridge::{BridgeAdoptArgs, BridgeCommand, BridgeConfirmArgs};
pub(crate) use happenings::{EventsArgs, MapArgs};
pub(crate) use install::{BIN_DIR, InstallArgs, UninstallArgs};
pub(crate) use lab::{LabArgs, Scene};
pub(crate) use parse::{parse_aux, parse_yes_no};
use parse::{parse_endpoint, parse_group, parse_unix_url, parse_user, policy_parser, system_parser};
pub(crate) use setup::{DoctorArgs, Maker, SetupArgs};
pub(crate) use show::{CompletionsArgs, ExplainArgs, InspectArgs, ManArgs, ReportArgs, Shell, StatusArgs};
pub(crate) use state::{BackupArgs, RestoreArgs, StateCommand};

/// Gives every container its own place on the home LAN.
#[derive(Debug, Parser)]
#[command(name = "ashore", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// The command to run
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure
  2  invalid command line
  3  the request does not fit this host or network
  4  there is no such network or name
  5  a name, address, range, MAC, parent or route is already taken
  6  the kernel refused, or nothing on the LAN answered; everything was undone
  7  the state could not be written; everything was undone
  8  the daemon cannot be reached, or is of another version
  9  a privilege is missing
 10  `ashore doctor` found something that may break, or needs a look
 11  `ashore doctor` found something that does not work";

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a home LAN in namespaces, show who reaches whom, and remove it; needs neither root nor Docker
    Lab(LabArgs),
    /// Create, list, show, move and remove networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Attach a network namespace to a network: a named one, a container's or a process's
    Attach(AttachArgs),
    /// Detach an endpoint from its network
    Detach(DetachArgs),
    /// Give host access to a network of Docker's own macvlan or ipvlan driver
    Adopt(AdoptArgs),
    /// Forget a name that is not attached, and free its address
    Forget(ForgetArgs),
    /// Move the host's NIC into a bridge, with automatic rollback unless confirmed
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Show what a command would change, as shell commands
    Plan(PlanArgs),
    /// Print the router or switch configuration that a network needs: VLAN, DHCP pool, firewall
    RouterConfig(Box<RouterConfigArgs>),
    /// Ask the LAN's DHCP servers whether they offer addresses of a range; takes no lease
    PoolCheck(PoolCheckArgs),
    /// Find parent, subnet, router and a free range, make the first network, and try it
    Setup(SetupArgs),
    /// Find what stands in the way, ask the LAN, and say what helps
    Doctor(DoctorArgs),
    /// Show what has happened: who came and went, whose address was claimed, which troubles began and ended
    Events(EventsArgs),
    /// Show who has which address of a network's subnets
    Map(MapArgs),
    /// Show networks, endpoints, their addresses and anything that needs attention
    Status(StatusArgs),
    /// List networks and endpoints, in short
    #[command(alias = "list")]
    Ls(ClientArgs),
    /// Explain codes of troubles and refusals: what they mean, what usually causes them, what helps
    Explain(ExplainArgs),
    /// Show all that is known of a network or an endpoint
    #[command(alias = "show")]
    Inspect(InspectArgs),
    /// Print what helps others to help: versions, status, plan and log, without MACs, public addresses and secrets
    Report(ReportArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Write a manual page for each command
    Man(ManArgs),
    /// Export, import, back up and restore all state; say whose it is after a move or a copy
    #[command(subcommand)]
    State(StateCommand),
    /// Install the program and its systemd units, and print each step
    Install(InstallArgs),
    /// Remove what `ashore install` installed
    Uninstall(UninstallArgs),
    /// Run the daemon, which owns networks, addresses and state
    Daemon(DaemonArgs),
    /// Print what the last of these words may be; started by the scripts of `ashore completions`
    #[command(hide = true)]
    Complete {
        /// The words behind the program's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Roll back a NIC's move when its trial ends; started by the daemon
    #[command(hide = true)]
    Guard {
        /// The file that describes the trial
        trial: PathBuf,
    },
}

/// `ashore adopt`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdoptArgs {
    /// Name or id of the Docker network
    pub(crate) network: String,
    /// Undo the adoption, and leave the network to Docker
    #[arg(long, conflicts_with = "host_access")]
    pub(crate) undo: bool,
    /// Whether the host and the containers can reach each other; with `no`, their addresses are only watched
    /// [default: yes]
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes_no)]
    pub(crate) host_access: Option<bool>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// Name of the endpoint
    #[arg(value_parser = parse_endpoint, required_unless_present = "unused")]
    pub(crate) name: Option<EndpointName>,
    /// Forget it on this network only
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    /// Forget all names that are not attached and that neither an engine nor the user of the command line has
    #[arg(long, conflicts_with = "name")]
    pub(crate) unused: bool,
    /// Show what --unused would forget, and forget none
    #[arg(long, requires = "unused")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore network`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Create a network
    Create(Box<NetworkCreateArgs>),
    /// List networks
    #[command(alias = "list")]
    Ls(ClientArgs),
    /// Show a network
    #[command(alias = "show")]
    Inspect {
        /// Name of the network
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Move a network to another parent, range or subnet, with everything remembered for it
    Move(Box<NetworkMoveArgs>),
    /// Allow users other than root to put containers of their own on a network, by rootless Podman
    Allow(NetworkAllowArgs),
    /// Remove a network that has no endpoints
    #[command(aliases = ["delete", "remove"])]
    Rm {
        /// Name of the network
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// `ashore network move`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(true))]
pub(crate) struct NetworkMoveArgs {
    /// Name of the network
    pub(crate) network: NetworkName,
    /// The host's interface that faces the LAN now
    #[arg(long, value_name = "IFNAME", group = "where", conflicts_with_all = ["ranges", "subnets", "gateways"])]
    pub(crate) parent: Option<IfName>,
    /// Hand out addresses of this range from now on; one for each family
    #[arg(long = "ip-range", value_name = "RANGE", group = "where")]
    pub(crate) ranges: Vec<Range>,
    /// The LAN's subnet now, in place of that of the same family
    #[arg(long = "subnet", value_name = "CIDR", group = "where", value_parser = parse_subnet)]
    pub(crate) subnets: Vec<IpNet>,
    /// The LAN's router now [default: with --subnet, the host's own router in it]
    #[arg(long = "gateway", value_name = "IP", group = "where")]
    pub(crate) gateways: Vec<IpAddr>,
    /// Take endpoints off for a moment, and attach them again where the network is then
    #[arg(long)]
    pub(crate) reconnect: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore network allow`.
#[derive(Debug, Args)]
pub(crate) struct NetworkAllowArgs {
    /// Name of the network
    pub(crate) network: NetworkName,
    /// User to allow, by name or id; repeat for more
    #[arg(long = "user", value_name = "USER", value_parser = parse_user, required_unless_present = "groups")]
    pub(crate) users: Vec<u32>,
    /// Group whose members to allow, by name or id; repeat for more
    #[arg(long = "group", value_name = "GROUP", value_parser = parse_group)]
    pub(crate) groups: Vec<u32>,
    /// Allow them no longer; their containers that are there stay until they stop
    #[arg(long)]
    pub(crate) no_longer: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// How addresses are leased.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeaseArgs {
    /// When to release a lease: `never`, `on_stop`, or `on_remove:SECONDS` after its container is gone
    #[arg(long, requires = "dhcp", default_value = "on_remove:3600", value_name = "WHEN")]
    pub(crate) release: Release,
    /// What to do if no DHCP server gives an address: `none` fails, `range` takes one from --ip-range
    #[arg(long, requires = "dhcp", default_value = "none", value_name = "HOW")]
    pub(crate) fallback: Fallback,
    /// Accept offers from this DHCP server only; repeat for more
    #[arg(long = "dhcp-allow", requires = "dhcp", value_name = "IP")]
    pub(crate) allow: Vec<Ipv4Addr>,
    /// Ignore this DHCP server; repeat for more
    #[arg(long = "dhcp-deny", requires = "dhcp", value_name = "IP")]
    pub(crate) deny: Vec<Ipv4Addr>,
    /// Host name to tell DHCP servers, for each endpoint alike [default: the endpoint's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<HostName>,
    /// Ask the DHCP server to register the endpoints' names in the DNS (client FQDN, RFC 4702)
    #[arg(long, requires = "dhcp")]
    pub(crate) register_name: bool,
    /// Vendor class to tell DHCP servers, which may group clients by it
    #[arg(long, value_name = "TEXT")]
    pub(crate) vendor_class: Option<VendorClass>,
    /// How long to wait for a lease, 3 to 120 [default: 15, with --fallback range 8]
    #[arg(long = "lease-timeout", requires = "dhcp", value_name = "SECONDS")]
    pub(crate) timeout: Option<LeaseTimeout>,
}

/// `ashore network create`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct NetworkCreateArgs {
    /// Name of the network: letters, digits, `_`, `.`, `-`; at most 63
    pub(crate) network: NetworkName,
    /// The host's interface that faces the LAN [default: the one in the subnet, or of the default route]
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// VLAN id on the parent, 1 to 4094; the VLAN interface is created if it is missing. With kind bridge,
    /// the endpoints' ports join the VLAN on a bridge that filters VLANs
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// Register the VLAN with the switches by GVRP
    #[arg(long)]
    pub(crate) gvrp: bool,
    /// How endpoints connect to the LAN: macvlan[:bridge|:private|:vepa|:passthru], ipvlan[:l2|:l3|:l3s],
    /// bridge
    /// [default: macvlan:bridge; ipvlan:l2 on Wi-Fi; bridge on a bridge]
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<LinkKind>,
    /// Subnet of the LAN, IPv4 or IPv6; repeat for more [default: the parent's, with its router and a free
    /// range]
    #[arg(long = "subnet", value_name = "CIDR", value_parser = parse_subnet)]
    pub(crate) subnets: Vec<IpNet>,
    /// Range to assign addresses from, as a CIDR or first-last; one per subnet [default: the whole subnet]
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub(crate) ranges: Vec<Range>,
    /// Let the LAN's DHCP server assign the IPv4 addresses
    #[arg(long)]
    pub(crate) dhcp: bool,
    #[command(flatten)]
    pub(crate) leasing: LeaseArgs,
    /// Source of IPv6 addresses: auto (as the routers say), slaac (from the prefixes they advertise), dhcp,
    /// range (from the IPv6 subnets), off (no IPv6 at all)
    #[arg(long, value_name = "MODE", default_value = "range")]
    pub(crate) ipv6: Ipv6Mode,
    /// Address of the LAN's router, the endpoints' default gateway; one per subnet
    #[arg(long = "gateway", value_name = "IP")]
    pub(crate) gateways: Vec<IpAddr>,
    /// Address that is never assigned; the one named `host` becomes the host's own on this network
    #[arg(long = "aux-address", value_name = "NAME=IP", value_parser = parse_aux)]
    pub(crate) aux: Vec<(String, IpAddr)>,
    /// Whether the host and the endpoints can reach each other [default: yes, if the kind allows it]
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes_no)]
    pub(crate) host_access: Option<bool>,
    /// Tell the LAN the endpoints' names by multicast DNS: `web.local`
    #[arg(long)]
    pub(crate) mdns: bool,
    /// Give endpoints no default route
    #[arg(long)]
    pub(crate) internal: bool,
    /// Conflict detection before an address is used: off, quick (200 ms) or full (RFC 5227, 4 to 7 s)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    pub(crate) conflict: Profile,
    /// MTU of the endpoints' links in bytes [default: the parent's]
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u32>,
    /// macvlan: maximum number of broadcast frames waiting for delivery [default: the kernel's, 1000]
    #[arg(long, value_name = "FRAMES")]
    pub(crate) bc_queue_len: Option<u32>,
    /// macvlan: frames for groups that more links than this are in wait in the broadcast queue; -1: none waits [default: the kernel's, 1]
    #[arg(long, value_name = "LINKS", allow_negative_numbers = true)]
    pub(crate) bc_limit: Option<i32>,
    #[command(flatten)]
    pub(crate) port: PortArgs,
    /// Let this user, by name or id, put containers of his own on the network, by rootless Podman; repeat for
    /// more
    #[arg(long = "allow-user", value_name = "USER", value_parser = parse_user)]
    pub(crate) users: Vec<u32>,
    /// Let the members of this group, by name or id, do the same; repeat for more
    #[arg(long = "allow-group", value_name = "GROUP", value_parser = parse_group)]
    pub(crate) groups: Vec<u32>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// How the endpoints' ports on a bridge behave.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// bridge: isolate the endpoints from each other; they still reach the LAN and the host
    #[arg(long)]
    pub(crate) isolated: bool,
    /// bridge: hairpin mode, so that an endpoint can reach itself through the bridge
    #[arg(long)]
    pub(crate) hairpin: bool,
    /// bridge, in a VLAN: deliver frames to the endpoints tagged, for containers that speak 802.1Q
    #[arg(long)]
    pub(crate) tagged: bool,
}

/// `ashore attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Name of the network
    pub(crate) network: NetworkName,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Name of the endpoint, which determines its MAC and address [default: the namespace's name, or pid-N]
    #[arg(long)]
    pub(crate) name: Option<EndpointName>,
    /// Address to use, which may be outside the range; one per family
    #[arg(long = "ip", value_name = "IP")]
    pub(crate) ips: Vec<IpAddr>,
    /// MAC to use
    #[arg(long)]
    pub(crate) mac: Option<Mac>,
    /// Host name to tell DHCP servers [default: the network's, or the endpoint's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<HostName>,
    /// Client identifier to use with DHCP servers: text, or bytes as ff:00:…; kept with the name
    #[arg(long, value_name = "ID", value_parser = client_id)]
    pub(crate) client_id: Option<ClientId>,
    /// Name of the link in the namespace
    #[arg(long, default_value = "eth0")]
    pub(crate) ifname: IfName,
    /// Set no default route
    #[arg(long)]
    pub(crate) no_default_route: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// The network namespace to attach.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Path of the namespace, such as /run/netns/NAME
    #[arg(long, value_name = "PATH")]
    pub(crate) netns: Option<PathBuf>,
    /// Process whose namespace to use
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

/// `ashore detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// Name of the network
    pub(crate) network: NetworkName,
    /// Name of the endpoint
    #[arg(value_parser = parse_endpoint)]
    pub(crate) name: EndpointName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore plan`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PlanArgs {
    /// The change to plan; without one, show what the next reconciliation would change
    #[command(subcommand)]
    pub(crate) change: Option<PlanCommand>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// The commands that can be planned.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Show what `ashore network create` would change
    Create(Box<NetworkCreateArgs>),
    /// Show what `ashore attach` would change
    Attach(AttachArgs),
    /// Show what `ashore detach` would change
    Detach(DetachArgs),
    /// Show what `ashore adopt` would change
    Adopt(AdoptArgs),
    /// Show what `ashore bridge` would change
    #[command(subcommand)]
    Bridge(PlanBridgeCommand),
    /// Show what `ashore network move` would change
    Move(Box<NetworkMoveArgs>),
    /// Show what `ashore network rm` would change
    Rm {
        /// Name of the network
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// `ashore router-config`.
#[derive(Debug, Args)]
pub(crate) struct RouterConfigArgs {
    /// An existing network; without one, the options describe it, and the daemon is not asked
    #[arg(conflicts_with_all = ["subnets", "ranges"])]
    pub(crate) network: Option<NetworkName>,
    /// The router or switch to print for; without it, or with `list`, list the supported ones
    #[arg(long = "for", value_name = "SYSTEM", value_parser = system_parser())]
    pub(crate) system: Option<Wanted>,
    /// VLAN id [default: that of a parent such as eth0.200; otherwise none]
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// Subnet of a network that does not exist yet; repeat for more
    #[arg(long = "subnet", value_name = "CIDR", value_parser = parse_subnet)]
    pub(crate) subnets: Vec<IpNet>,
    /// Range that Ashore is to assign from, as a CIDR or first-last; one per subnet [default: the whole
    /// subnet]
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub(crate) ranges: Vec<Range>,
    /// Address of the router; one per subnet [default: the network's gateway, or the subnet's first address]
    #[arg(long = "gateway", value_name = "IP")]
    pub(crate) gateways: Vec<IpAddr>,
    /// Current pool of the router's DHCP server, from which the range is removed; repeat for more [default:
    /// ask the network's DHCP servers; a new VLAN gets a pool]
    #[arg(long = "pool", value_name = "RANGE")]
    pub(crate) pools: Vec<Range>,
    /// The router's interface that carries the LAN [default: its usual name on that system]
    #[arg(long, value_name = "NAME")]
    pub(crate) lan_interface: Option<PortName>,
    /// A port of the router or switch that leads to the NAS; repeat for more
    #[arg(long = "port", value_name = "NAME")]
    pub(crate) ports: Vec<PortName>,
    /// Traffic allowed between VLAN and LAN: open, one-way (from the LAN), closed [default: one-way]
    #[arg(long, value_name = "POLICY", value_parser = policy_parser(), hide_possible_values = true)]
    pub(crate) firewall: Option<Policy>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore pool-check`.
#[derive(Debug, Args)]
pub(crate) struct PoolCheckArgs {
    /// Network whose range to check
    #[arg(conflicts_with_all = ["parent", "vlan", "range"])]
    pub(crate) network: Option<NetworkName>,
    /// The host's interface that faces the LAN [default: as for `ashore network create`]
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// VLAN id on that interface
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// Range to check, as a CIDR or first-last; without one, ask about the parent's subnet and judge no range
    #[arg(long = "ip-range", alias = "range", value_name = "RANGE")]
    pub(crate) range: Option<Range>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// The value of `--for`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// The list of supported systems.
    List,
    /// One system.
    For(System),
}

/// The `ashore bridge` commands that can be planned.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanBridgeCommand {
    /// Show what `ashore bridge adopt` would change
    Adopt(BridgeAdoptArgs),
}

/// `ashore daemon`. An option that is given twice takes the last value. So options can be appended to a fixed
/// command line, such as that of a managed plugin.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub(crate) struct DaemonArgs {
    /// Directory of the state
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ashore")]
    pub(crate) state: PathBuf,
    /// Directory of the control socket `ashore.sock`
    #[arg(long, value_name = "DIR", default_value = "/run/ashore")]
    pub(crate) run: PathBuf,
    /// Socket of the Docker plugin; its file name is the driver's name
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/ashore.sock")]
    pub(crate) docker_plugin: PathBuf,
    /// Socket at which `ashore-plug` calls for users other than root; outside /run, which rootless Podman hides
    /// [default: /var/lib/ashore-plug/sock with the default --run, otherwise none]
    #[arg(long, value_name = "PATH")]
    pub(crate) users_socket: Option<PathBuf>,
    /// Socket of Docker's API
    #[arg(long, value_name = "URL", default_value = "unix:///run/docker.sock", value_parser = parse_unix_url)]
    pub(crate) docker_host: PathBuf,
    /// Root of the file system that Docker uses, if it is not the daemon's
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) docker_root: PathBuf,
    /// Directory of the networks of root's Podman
    #[arg(long, value_name = "DIR", default_value = "/etc/containers/networks")]
    pub(crate) podman_networks: PathBuf,
    /// Reconcile after this many seconds without an event
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) reconcile: u64,
}

impl DaemonArgs {
    /// The socket for users other than root. A daemon with a run directory of its own is not the host's, whose socket
    /// is where every `ashore-plug` looks.
    pub(crate) fn users_socket(&self) -> Option<PathBuf> {
        let is_hosts = self.run == Path::new("/run/ashore");
        self.users_socket.clone().or_else(|| is_hosts.then(|| "/var/lib/ashore-plug/sock".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
