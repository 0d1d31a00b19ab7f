//! Every command, option and default, in one place: the help text follows from it, and a test holds the manual to it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Fallback, Release};
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::{EndpointName, IfName, NetworkName, PortName};
use ashore_core::net::range::{Range, parse_subnet};
use ashore_core::net::vlan::VlanId;
use ashore_routers::{Policy, System};
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::client::ClientArgs;

/// Where an administrator's own programs are.
pub(crate) const BIN_DIR: &str = "/usr/local/bin";

/// Gives every container its own place on the home LAN.
#[derive(Debug, Parser)]
#[command(name = "ashore", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something failed
  2  the command line is wrong
  3  the request does not fit this host or network
  4  there is no such network or name
  5  a name, address, range, MAC, parent or route is taken
  6  the kernel refused, or nobody on the LAN answered, and all was undone
  7  the state could not be written, and all was undone
  8  the daemon cannot be reached
  9  a privilege is missing";

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a whole home LAN in namespaces, show who reaches whom, and take it away: needs neither root nor Docker
    Lab(LabArgs),
    /// Make, list, show and remove networks
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Put a namespace on a network: a plain one, a container's, a process's
    Attach(AttachArgs),
    /// Take an endpoint off its network
    Detach(DetachArgs),
    /// Give host access to a network of Docker's own macvlan or ipvlan driver
    Adopt(AdoptArgs),
    /// Drop what is remembered of a name that is not attached: its address becomes free
    Forget(ForgetArgs),
    /// Put the host's NIC into a bridge, under confirm-or-rollback
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Show what would be changed, as the commands that a person would type
    Plan(PlanArgs),
    /// Print what the LAN's router or switch needs for a network: VLAN, DHCP pool, firewall
    RouterConfig(Box<RouterConfigArgs>),
    /// Ask the LAN's DHCP servers whether they hand out addresses of a range; nothing is taken
    PoolCheck(PoolCheckArgs),
    /// Show who is where
    Status(ClientArgs),
    /// Save and restore everything that Ashore remembers
    #[command(subcommand)]
    State(StateCommand),
    /// Install the program, and have systemd start it; prints each step
    Install(InstallArgs),
    /// Take away what `ashore install` wrote
    Uninstall(UninstallArgs),
    /// Run the daemon, which owns networks, addresses and state
    Daemon(DaemonArgs),
    /// Put a NIC's move on trial back when its time is over: started by the daemon
    #[command(hide = true)]
    Guard {
        /// The trial's file
        trial: PathBuf,
    },
}

/// `ashore adopt`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdoptArgs {
    /// Docker's name or id of it
    pub(crate) network: String,
    /// Leave it to Docker alone again
    #[arg(long, conflicts_with = "host_access")]
    pub(crate) undo: bool,
    /// Whether host and containers reach each other; without, their addresses are watched all the same [default: yes]
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes_no)]
    pub(crate) host_access: Option<bool>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore bridge`.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    /// Move a NIC, with the host's addresses and routes on it, into a new bridge; it is put back unless confirmed
    Adopt(BridgeAdoptArgs),
    /// Keep the move that is on trial
    Confirm(BridgeConfirmArgs),
}

/// `ashore bridge adopt`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BridgeAdoptArgs {
    /// The host's interface that faces the LAN
    pub(crate) nic: IfName,
    /// The bridge's name
    pub(crate) bridge: IfName,
    /// Move it out of the bridge again, and remove that
    #[arg(long)]
    pub(crate) undo: bool,
    /// Put everything back after so many seconds without `ashore bridge confirm`
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) timeout: u32,
    /// The host's root directory, below which its network's configuration is looked for
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore bridge confirm`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BridgeConfirmArgs {
    /// The host's root directory, below which its network's configuration is written
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// The name
    pub(crate) name: EndpointName,
    /// Only on this network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore lab`.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Leave it standing, with a shell in any machine of it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Show a VLAN as well: 200, on the same cables and behind the same router
    #[arg(long)]
    pub(crate) vlan: bool,
    /// Print {"ok", "rows"} as JSON and nothing else
    #[arg(long, conflicts_with = "keep")]
    pub(crate) json: bool,
}

/// `ashore network`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network
    Create(Box<NetworkCreateArgs>),
    /// List the networks
    Ls(ClientArgs),
    /// Show a network
    Inspect {
        /// Its name
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a network another parent, with all that it remembers
    Move {
        /// Its name
        network: NetworkName,
        /// The host's interface that faces the LAN now
        #[arg(long, value_name = "IFNAME")]
        parent: IfName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a network that has no endpoint
    Rm {
        /// Its name
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// How addresses are leased.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeaseArgs {
    /// When a lease is given back: `never`, `on_stop`, or `on_remove:SECONDS` after its container has gone
    #[arg(long, requires = "dhcp", default_value = "on_remove:3600", value_name = "WHEN")]
    pub(crate) release: Release,
    /// Where no DHCP server gives an address: `range` takes one of the --ip-range
    #[arg(long, requires = "dhcp", default_value = "none", value_name = "HOW")]
    pub(crate) fallback: Fallback,
    /// Heed this DHCP server alone; repeat for more
    #[arg(long = "dhcp-allow", requires = "dhcp", value_name = "IP")]
    pub(crate) allow: Vec<Ipv4Addr>,
    /// Never heed this DHCP server; repeat for more
    #[arg(long = "dhcp-deny", requires = "dhcp", value_name = "IP")]
    pub(crate) deny: Vec<Ipv4Addr>,
}

/// `ashore network create`.
#[derive(Debug, Args)]
pub(crate) struct NetworkCreateArgs {
    /// Its name: letters, digits, `_`, `.`, `-`; at most 63
    pub(crate) network: NetworkName,
    /// The host's interface that faces the LAN [default: by the default route, or the one in the subnet]
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// The VLAN on that interface, 1 to 4094; its own interface is made if there is none. With kind bridge the endpoints' ports
    /// are in it, on a bridge that filters VLANs
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// Tell switches of that VLAN by GVRP
    #[arg(long)]
    pub(crate) gvrp: bool,
    /// How endpoints get onto the LAN: macvlan[:bridge|:private|:vepa|:passthru], ipvlan[:l2|:l3|:l3s], bridge [default:
    /// macvlan:bridge; ipvlan:l2 on Wi-Fi]
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<LinkKind>,
    /// The LAN's subnet; repeat for more, of either family [default: the parent's own, with its router and a free range]
    #[arg(long = "subnet", value_name = "CIDR", value_parser = parse_subnet)]
    pub(crate) subnets: Vec<IpNet>,
    /// What Ashore hands out, as a CIDR or first-last; one for a subnet [default: all of it]
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub(crate) ranges: Vec<Range>,
    /// Let the LAN's DHCP server hand out the IPv4 addresses
    #[arg(long)]
    pub(crate) dhcp: bool,
    #[command(flatten)]
    pub(crate) leasing: LeaseArgs,
    /// Where IPv6 addresses come from: auto (where the routers say), slaac (the prefixes that they advertise), dhcp, range (of
    /// the IPv6 subnets), off (no IPv6 at all)
    #[arg(long, value_name = "MODE", default_value = "range")]
    pub(crate) ipv6: Ipv6Mode,
    /// The LAN's router, the endpoints' default route; one for a subnet
    #[arg(long = "gateway", value_name = "IP")]
    pub(crate) gateways: Vec<IpAddr>,
    /// An address never handed out; the one named `host` becomes the host's own on this network
    #[arg(long = "aux-address", value_name = "NAME=IP", value_parser = parse_aux)]
    pub(crate) aux: Vec<(String, IpAddr)>,
    /// Whether host and containers reach each other: yes or no [default: yes, where the kind allows it]
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes_no)]
    pub(crate) host_access: Option<bool>,
    /// Give endpoints no default route
    #[arg(long)]
    pub(crate) internal: bool,
    /// Conflict detection before an address is used: off, quick (200 ms) or full (RFC 5227, 4 to 7 s)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    pub(crate) conflict: Profile,
    /// MTU of the endpoints' links in bytes [default: the parent's]
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u32>,
    /// macvlan: broadcasts that may wait for delivery, in frames [default: the kernel's, 1000]
    #[arg(long, value_name = "FRAMES")]
    pub(crate) bc_queue_len: Option<u32>,
    #[command(flatten)]
    pub(crate) port: PortArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What the endpoints' ports on a bridge do.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// bridge: keep the endpoints apart; the LAN and the host reach them, and they it
    #[arg(long)]
    pub(crate) isolated: bool,
    /// bridge: send back to an endpoint what it sends to itself by the bridge
    #[arg(long)]
    pub(crate) hairpin: bool,
    /// bridge, in a VLAN: leave its tag on what the endpoints send and get, for containers that speak 802.1Q
    #[arg(long)]
    pub(crate) tagged: bool,
}

/// `ashore attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The network
    pub(crate) network: NetworkName,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Its name on the network, from which MAC and address follow [default: the namespace's own, or pid-N]
    #[arg(long)]
    pub(crate) name: Option<EndpointName>,
    /// An address of its own choice, which may lie outside the range; one of each family
    #[arg(long = "ip", value_name = "IP")]
    pub(crate) ips: Vec<IpAddr>,
    /// A MAC of its own choice
    #[arg(long)]
    pub(crate) mac: Option<Mac>,
    /// The link's name in the namespace
    #[arg(long, default_value = "eth0")]
    pub(crate) ifname: IfName,
    /// Give it no default route
    #[arg(long)]
    pub(crate) no_default_route: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Which namespace.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// The namespace, by a path that opens it
    #[arg(long, value_name = "PATH")]
    pub(crate) netns: Option<PathBuf>,
    /// The namespace of a process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

/// `ashore detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The network
    pub(crate) network: NetworkName,
    /// The endpoint's name on it
    pub(crate) name: EndpointName,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore plan`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PlanArgs {
    /// The change to plan; without one, what the next reconciliation would change
    #[command(subcommand)]
    pub(crate) change: Option<PlanCommand>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What can be planned.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// What `ashore network create` would change
    Create(Box<NetworkCreateArgs>),
    /// What `ashore attach` would change
    Attach(AttachArgs),
    /// What `ashore detach` would change
    Detach(DetachArgs),
    /// What `ashore adopt` would change
    Adopt(AdoptArgs),
    /// What `ashore bridge` would change
    #[command(subcommand)]
    Bridge(PlanBridgeCommand),
    /// What `ashore network move` would change
    Move {
        /// The network
        network: NetworkName,
        /// The host's interface that faces the LAN now
        #[arg(long, value_name = "IFNAME")]
        parent: IfName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// What `ashore network rm` would change
    Rm {
        /// The network
        network: NetworkName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// `ashore router-config`.
#[derive(Debug, Args)]
pub(crate) struct RouterConfigArgs {
    /// A network that there is; without one the options say all, and no daemon is asked
    #[arg(conflicts_with_all = ["subnets", "ranges"])]
    pub(crate) network: Option<NetworkName>,
    /// The router or switch; without one, or with `list`, they are listed
    #[arg(long = "for", value_name = "SYSTEM", value_parser = system_parser())]
    pub(crate) system: Option<Wanted>,
    /// The VLAN's number [default: that of a parent such as eth0.200; else none]
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// A subnet of a network that is yet to be made; repeat for more
    #[arg(long = "subnet", value_name = "CIDR", value_parser = parse_subnet)]
    pub(crate) subnets: Vec<IpNet>,
    /// What Ashore shall hand out, as a CIDR or first-last; one for a subnet [default: all of it]
    #[arg(long = "ip-range", value_name = "RANGE")]
    pub(crate) ranges: Vec<Range>,
    /// The router's address; one for a subnet [default: the network's gateway, or the subnet's first]
    #[arg(long = "gateway", value_name = "IP")]
    pub(crate) gateways: Vec<IpAddr>,
    /// What the router's DHCP server hands out now, from which the range is taken; repeat for more [default: a network's servers are
    /// asked; a new VLAN gets one]
    #[arg(long = "pool", value_name = "RANGE")]
    pub(crate) pools: Vec<Range>,
    /// The router's interface that carries the LAN [default: what it is usually called there]
    #[arg(long, value_name = "NAME")]
    pub(crate) lan_interface: Option<PortName>,
    /// A port of the router or switch that leads to the NAS; repeat for more
    #[arg(long = "port", value_name = "NAME")]
    pub(crate) ports: Vec<PortName>,
    /// What may pass between VLAN and LAN: open, one-way (from the LAN), closed [default: one-way]
    #[arg(long, value_name = "POLICY", value_parser = policy_parser(), hide_possible_values = true)]
    pub(crate) firewall: Option<Policy>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `ashore pool-check`.
#[derive(Debug, Args)]
pub(crate) struct PoolCheckArgs {
    /// A network, whose range is meant
    #[arg(conflicts_with_all = ["parent", "vlan", "range"])]
    pub(crate) network: Option<NetworkName>,
    /// The interface that faces the LAN [default: as for a network to be made]
    #[arg(long, value_name = "IFNAME")]
    pub(crate) parent: Option<IfName>,
    /// The VLAN on that interface
    #[arg(long, value_name = "ID")]
    pub(crate) vlan: Option<VlanId>,
    /// The range, as a CIDR or first-last; without one the parent's subnet is looked at, and no range is judged
    #[arg(long = "ip-range", alias = "range", value_name = "RANGE")]
    pub(crate) range: Option<Range>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// What `--for` says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// The systems that there are.
    List,
    /// One of them.
    For(System),
}

/// A parser that knows the nearest name to a wrong one.
fn system_parser() -> impl TypedValueParser<Value = Wanted> {
    let names = System::ALL.map(System::name).into_iter().chain(["list"]);
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "list" => Ok(Wanted::List),
        name => name.parse().map(Wanted::For),
    })
}

fn policy_parser() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::ALL.map(Policy::name)).try_map(|name| name.parse::<Policy>())
}

/// What of `ashore bridge` can be planned.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanBridgeCommand {
    /// What `ashore bridge adopt` would change
    Adopt(BridgeAdoptArgs),
}

/// `ashore state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Print everything as one JSON document
    Export(ClientArgs),
    /// Replace everything by a document from standard input; refused while there are endpoints
    Import(ClientArgs),
}

/// `ashore install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Where the program goes
    #[arg(long, value_name = "DIR", default_value = BIN_DIR)]
    pub(crate) bin_dir: PathBuf,
    /// The root of another system to install into, which is not running
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Print what would be done, as a script, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `ashore uninstall`.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// Where the program is [default: where the unit says, or /usr/local/bin]
    #[arg(long, value_name = "DIR")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// The root of another system to uninstall from, which is not running
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Print what would be done, as a script, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also while endpoints are attached, or Docker has networks of this driver
    #[arg(long)]
    pub(crate) force: bool,
    /// Remove also the state: networks, names and their addresses
    #[arg(long)]
    pub(crate) purge: bool,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", env = "ASHORE_SOCKET", default_value = "/run/ashore/ashore.sock")]
    pub(crate) socket: PathBuf,
}

/// `ashore daemon`. What is added to a command line that stands elsewhere, as a managed plugin's does, overrides it.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub(crate) struct DaemonArgs {
    /// Where the state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ashore")]
    pub(crate) state: PathBuf,
    /// Where the control socket `ashore.sock` is made
    #[arg(long, value_name = "DIR", default_value = "/run/ashore")]
    pub(crate) run: PathBuf,
    /// The socket by which Docker finds the plugin, whose file name is the driver's name
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/ashore.sock")]
    pub(crate) docker_plugin: PathBuf,
    /// Where Docker's API listens
    #[arg(long, value_name = "URL", default_value = "unix:///run/docker.sock", value_parser = parse_unix_url)]
    pub(crate) docker_host: PathBuf,
    /// The root of Docker's file system, where that is another than the daemon's
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) docker_root: PathBuf,
    /// Seconds between two reconciliations without an event
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) reconcile: u64,
}

fn parse_aux(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = text.split_once('=').ok_or("write it as NAME=IP, as in host=192.168.88.222")?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(format!("`{name}` is no name: letters, digits, `-`, `_` and `.`"));
    }
    let ip = ip.parse().map_err(|_| format!("`{ip}` is no IP address"))?;
    Ok((name.to_owned(), ip))
}

fn parse_unix_url(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("only a Unix socket will do, as in unix:///run/docker.sock".into()),
    }
}

pub(crate) fn parse_yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err("say yes or no".into()),
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

    #[test]
    fn aux_addresses_name_what_is_wrong_with_them() {
        assert_eq!(parse_aux("host=192.168.88.222").unwrap().0, "host");
        assert!(parse_aux("host").unwrap_err().contains("NAME=IP"));
        assert!(parse_aux("host=abc").unwrap_err().contains("`abc`"));
        assert!(parse_aux("=10.0.0.1").is_err());
    }
}
