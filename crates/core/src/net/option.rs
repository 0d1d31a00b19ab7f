//! The options of a network: one table of their names on the command line and in Docker. The command line,
//! Docker's front, the remedies of refusals and a test of the manual go by it.

/// An option of a network.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkOption {
    /// Its name on the command line, without `--`.
    pub flag: &'static str,
    /// What it takes there.
    pub takes: Takes,
    /// Its names in Docker. The first is the one to recommend, the others are accepted too.
    pub docker: &'static [Docker],
    /// One line of help.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A value, by its name in the help.
    Value(&'static str),
    /// Nothing. In Docker, where every option takes a value, the value that sets it.
    Switch(&'static str),
}

/// Docker's name for an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Docker {
    /// A flag of `docker network create` itself: `--NAME`.
    Flag(&'static str),
    /// An option of the driver: `-o NAME=`, or in a Compose file a line under `driver_opts:`.
    Driver(&'static str),
    /// An option of the IPAM driver: `--ipam-opt NAME=`, or a line under `ipam:`, `options:`.
    Ipam(&'static str),
    /// A container's label, `ashore.NAME`. Docker tells a driver the options of an attachment only once the container
    /// has its address.
    Label(&'static str),
}

use Docker::{Driver, Flag, Ipam, Label};
use Takes::{Switch, Value};

/// Declares the options and the table of all of them.
macro_rules! options {
    ($($(#[$doc:meta])* $name:ident = $flag:literal, $takes:expr, $docker:expr, $help:literal;)*) => {
        $($(#[$doc])*
        pub static $name: NetworkOption =
            NetworkOption { flag: $flag, takes: $takes, docker: &$docker, help: $help };)*

        /// All options of a network, in the order of `ashore network create --help`.
        pub static ALL: &[&NetworkOption] = &[$(&$name),*];
    };
}

options! {
    /// The parent.
    PARENT = "parent", Value("IFNAME"), [Driver("parent"), Ipam("parent")],
        "The host's interface that faces the LAN [default: the one in the subnet, or of the default route]";
    /// The VLAN.
    VLAN = "vlan", Value("ID"), [Driver("vlan")],
        "VLAN id on the parent, 1 to 4094; the VLAN interface is created if it is missing. With kind bridge, the endpoints' ports join the VLAN on a bridge that filters VLANs";
    /// GVRP.
    GVRP = "gvrp", Switch("yes"), [Driver("gvrp")],
        "Register the VLAN with the switches by GVRP";
    /// The link kind.
    KIND = "kind", Value("KIND"), [Driver("kind"), Driver("macvlan_mode"), Driver("ipvlan_mode")],
        "How endpoints connect to the LAN: macvlan[:bridge|:private|:vepa|:passthru], ipvlan[:l2|:l3|:l3s], bridge [default: macvlan:bridge; ipvlan:l2 on Wi-Fi; bridge on a bridge]";
    /// The subnets.
    SUBNET = "subnet", Value("CIDR"), [Flag("subnet")],
        "Subnet of the LAN, IPv4 or IPv6; repeat for more [default: the parent's, with its router and a free range]";
    /// The ranges.
    IP_RANGE = "ip-range", Value("RANGE"), [Flag("ip-range")],
        "Range to assign addresses from, as a CIDR or first-last; one per subnet [default: the whole subnet]";
    /// Leased addresses.
    DHCP = "dhcp", Switch("dhcp"), [Ipam("addressing")],
        "Let the LAN's DHCP server assign the IPv4 addresses";
    /// The release of leases.
    RELEASE = "release", Value("WHEN"), [Ipam("release")],
        "When to release a lease: `never`, `on_stop`, or `on_remove:SECONDS` after its container is gone";
    /// The fallback without a DHCP server.
    FALLBACK = "fallback", Value("HOW"), [Ipam("fallback")],
        "What to do if no DHCP server gives an address: `none` fails, `range` takes one from --ip-range";
    /// The DHCP servers that count.
    DHCP_ALLOW = "dhcp-allow", Value("IP"), [Ipam("dhcp_allow")],
        "Accept offers from this DHCP server only; repeat for more";
    /// The DHCP servers that do not count.
    DHCP_DENY = "dhcp-deny", Value("IP"), [Ipam("dhcp_deny")],
        "Ignore this DHCP server; repeat for more";
    /// The host name that DHCP servers are told.
    HOSTNAME = "hostname", Value("NAME"), [Ipam("hostname")],
        "Host name to tell DHCP servers, for each endpoint alike [default: the endpoint's own]";
    /// The registration of names.
    REGISTER_NAME = "register-name", Switch("yes"), [Ipam("register_name")],
        "Ask the DHCP server to register the endpoints' names in the DNS (client FQDN, RFC 4702)";
    /// The vendor class.
    VENDOR_CLASS = "vendor-class", Value("TEXT"), [Ipam("vendor_class")],
        "Vendor class to tell DHCP servers, which may group clients by it";
    /// How long a lease is waited for.
    LEASE_TIMEOUT = "lease-timeout", Value("SECONDS"), [Ipam("lease_timeout")],
        "How long to wait for a lease, 3 to 120 [default: 15, with --fallback range 8]";
    /// The source of IPv6 addresses.
    IPV6 = "ipv6", Value("MODE"), [Driver("ipv6")],
        "Source of IPv6 addresses: auto (as the routers say), slaac (from the prefixes they advertise), dhcp, range (from the IPv6 subnets), off (no IPv6 at all)";
    /// The LAN's routers.
    GATEWAY = "gateway", Value("IP"), [Flag("gateway")],
        "Address of the LAN's router, the endpoints' default gateway; one per subnet";
    /// The auxiliary addresses.
    AUX_ADDRESS = "aux-address", Value("NAME=IP"), [Flag("aux-address")],
        "Address that is never assigned; the one named `host` becomes the host's own on this network";
    /// Host access.
    HOST_ACCESS = "host-access", Value("YES|NO"), [Driver("host_access")],
        "Whether the host and the endpoints can reach each other [default: yes, if the kind allows it]";
    /// Names on the LAN.
    MDNS = "mdns", Switch("yes"), [Driver("mdns")],
        "Tell the LAN the endpoints' names by multicast DNS: `web.local`";
    /// A network without a default route.
    INTERNAL = "internal", Switch("yes"), [Flag("internal"), Driver("internal")],
        "Give endpoints no default route";
    /// Conflict detection.
    CONFLICT = "conflict", Value("PROFILE"), [Driver("conflict")],
        "Conflict detection before an address is used: off, quick (200 ms) or full (RFC 5227, 4 to 7 s)";
    /// The MTU.
    MTU = "mtu", Value("BYTES"), [Driver("mtu"), Driver("com.docker.network.driver.mtu")],
        "MTU of the endpoints' links in bytes [default: the parent's]";
    /// The broadcast queue.
    BC_QUEUE_LEN = "bc-queue-len", Value("FRAMES"), [Driver("bc_queue_len")],
        "macvlan: maximum number of broadcast frames waiting for delivery [default: the kernel's, 1000]";
    /// The limit above which group frames wait in the broadcast queue.
    BC_LIMIT = "bc-limit", Value("LINKS"), [Driver("bclim")],
        "macvlan: frames for groups that more links than this are in wait in the broadcast queue; -1: none waits [default: the kernel's, 1]";
    /// Isolated ports.
    ISOLATED = "isolated", Switch("yes"), [Driver("isolated")],
        "bridge: isolate the endpoints from each other; they still reach the LAN and the host";
    /// Ports in hairpin mode.
    HAIRPIN = "hairpin", Switch("yes"), [Driver("hairpin")],
        "bridge: hairpin mode, so that an endpoint can reach itself through the bridge";
    /// Tagged ports.
    TAGGED = "tagged", Switch("yes"), [Driver("tagged")],
        "bridge, in a VLAN: deliver frames to the endpoints tagged, for containers that speak 802.1Q";
}

/// The option by which an engine takes addresses from Ashore. The command line, which does so by itself, has no such
/// option.
pub static IPAM_DRIVER: NetworkOption = NetworkOption {
    flag: "ipam-driver",
    takes: Value("NAME"),
    docker: &[Flag("ipam-driver")],
    help: "Driver that chooses the addresses",
};
/// Options of an attach that Docker has too. They are no options of a network.
pub static NAME: NetworkOption = NetworkOption {
    flag: "name",
    takes: Value("NAME"),
    docker: &[Flag("name")],
    help: "Name of the endpoint",
};
/// The MAC of an endpoint.
pub static MAC: NetworkOption =
    NetworkOption { flag: "mac", takes: Value("MAC"), docker: &[Flag("mac-address")], help: "MAC to use" };
/// The address of an endpoint.
pub static IP: NetworkOption =
    NetworkOption { flag: "ip", takes: Value("IP"), docker: &[Flag("ip")], help: "Address to use" };

/// The host name that DHCP servers are told of one endpoint.
pub static OWN_HOSTNAME: NetworkOption = NetworkOption {
    flag: "hostname",
    takes: Value("NAME"),
    docker: &[Label("hostname")],
    help: "Host name to tell DHCP servers",
};
/// The client identifier of one endpoint.
pub static CLIENT_ID: NetworkOption = NetworkOption {
    flag: "client-id",
    takes: Value("ID"),
    docker: &[Label("client_id")],
    help: "Client identifier to use with DHCP servers",
};

/// What begins the names of labels that stand for options.
pub const LABEL: &str = "ashore.";

/// The users whom root allows to put containers of their own on a network. Only the command line has it, whose socket is
/// root's alone.
pub static ALLOW_USER: NetworkOption = NetworkOption {
    flag: "allow-user",
    takes: Value("USER"),
    docker: &[Flag("allow-user")],
    help: "Let this user, by name or id, put containers of his own on the network, by rootless Podman; repeat for more",
};
/// The same for the members of a group.
pub static ALLOW_GROUP: NetworkOption = NetworkOption {
    flag: "allow-group",
    takes: Value("GROUP"),
    docker: &[Flag("allow-group")],
    help: "Let the members of this group, by name or id, do the same; repeat for more",
};

/// Options of the driver that Docker's users give and the command line lacks: what the built-in driver takes,
/// and how Docker itself, since version 28, announces an address to the LAN when a container starts.
const DOCKER_ALONE: [&str; 3] =
    ["ipvlan_flag", "com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms"];

/// All options that Docker's `-o` accepts.
pub fn of_driver() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|option| option.of_driver()).chain(DOCKER_ALONE)
}

/// All options that Docker's `--ipam-opt` accepts.
pub fn of_ipam() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter_map(|option| option.of_ipam())
}

/// All options that `podman network create -o` accepts for Ashore's driver: those of Docker's driver and of its IPAM
/// driver, what Podman has no flag for, and those of netavark's own drivers (netavark 1.17, `docs`).
pub fn of_podman() -> impl Iterator<Item = &'static str> {
    let own = ALL.iter().flat_map(|option| {
        let ipam = option.of_ipam().filter(|name| option.of_driver().all(|other| other != *name));
        let flag = (option.docker[0] == Flag(AUX_ADDRESS.flag)).then_some(PODMANS_AUX_ADDRESS);
        option.of_driver().filter(|name| !name.contains("docker")).chain(ipam).chain(flag)
    });
    own.chain(NETAVARKS)
}

/// Podman has no flag for auxiliary addresses.
pub const PODMANS_AUX_ADDRESS: &str = "aux_address";

/// The option of a network of netavark's own drivers whose name differs from Ashore's: the mode of macvlan or ipvlan.
const NETAVARKS: [&str; 1] = ["mode"];

impl NetworkOption {
    /// Its names for Docker's `-o`.
    pub fn of_driver(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.docker.iter().filter_map(|name| if let Driver(name) = name { Some(*name) } else { None })
    }

    /// Its name for Docker's `--ipam-opt`, if it has one.
    pub fn of_ipam(&self) -> Option<&'static str> {
        self.docker.iter().find_map(|name| if let Ipam(name) = name { Some(*name) } else { None })
    }

    /// The option on the command line.
    pub fn on_command_line(&self, value: Option<&str>) -> String {
        match value {
            Some(value) => format!("--{} {value}", self.flag),
            None => format!("--{}", self.flag),
        }
    }

    /// The option in a Compose file: its line, and the keys that this line is under.
    pub fn in_compose(&self, value: Option<&str>) -> String {
        let value = value.or(if let Switch(set) = self.takes { Some(set) } else { None });
        match self.docker[0] {
            Driver(name) => under("`driver_opts:`", name, value),
            Ipam(name) => under("`ipam:`, `options:`", name, value),
            Flag("aux-address") => match value.and_then(|value| value.split_once('=')) {
                Some((name, ip)) => under("`aux_addresses:`", name, Some(ip)),
                None => line("aux_addresses", None),
            },
            Flag("ipam-driver") => under("`ipam:`", "driver", value),
            Flag("internal") => line("internal", Some("true")),
            Flag("name") => line("container_name", value),
            Flag("ip") => line("ipv4_address", value),
            Flag(name @ "mac-address") => line(&name.replace('-', "_"), value),
            Label(name) => under("`labels:`", &format!("{LABEL}{name}"), value),
            Flag(name) => under("`ipam:`, `config:`", &name.replace('-', "_"), value),
        }
    }

    /// The option for the IPAM driver in `docker network create`.
    pub fn in_docker_ipam(&self, value: &str) -> String {
        format!("--ipam-opt {}={value}", self.of_ipam().unwrap_or(self.flag))
    }

    /// The option in `podman network create`.
    pub fn in_podman(&self, value: Option<&str>) -> String {
        let own = value.or(if let Switch(set) = self.takes { Some(set) } else { None }).unwrap_or_default();
        match self.docker[0] {
            Flag("aux-address") => format!("-o {PODMANS_AUX_ADDRESS}={own}"),
            Flag(_) => self.in_docker(value),
            Ipam("addressing") => format!("--ipam-driver {own}"),
            Driver(name) | Ipam(name) => format!("-o {name}={own}"),
            Label(name) => format!("--network NETWORK:{name}={own}"),
        }
    }

    /// Its key in the section `ashore` of a CNI network configuration.
    pub fn key(&self) -> &'static str {
        match self.docker[0] {
            Flag("ip-range") => "ip_range",
            Flag("aux-address") => PODMANS_AUX_ADDRESS,
            Driver(name) | Ipam(name) | Flag(name) | Label(name) => name,
        }
    }

    /// The option in a CNI network configuration, or as a runtime passes it for one container.
    pub fn in_cni(&self, value: Option<&str>) -> String {
        let value = value.or(if let Switch(set) = self.takes { Some(set) } else { None });
        let pair = |key: &str, section: &str| match value {
            None | Some("") => format!("`\"{key}\"` under `\"{section}\"`"),
            Some("yes") => format!("`\"{key}\": true` under `\"{section}\"`"),
            Some("no") => format!("`\"{key}\": false` under `\"{section}\"`"),
            Some(value) => format!("`\"{key}\": \"{value}\"` under `\"{section}\"`"),
        };
        match self.docker[0] {
            Flag("ipam-driver") => pair("type", "ipam"),
            Flag("name") => pair("identity", "ashore"),
            Flag("ip") => format!("`IP={}` in `CNI_ARGS`", value.unwrap_or_default()),
            Flag("mac-address") => format!("`MAC={}` in `CNI_ARGS`", value.unwrap_or_default()),
            Label(name) => {
                format!("`{}={}` in `CNI_ARGS`", name.to_uppercase(), value.unwrap_or_default())
            }
            _ => pair(self.key(), "ashore"),
        }
    }

    /// The option for the IPAM driver in a Compose file.
    pub fn in_compose_ipam(&self, value: &str) -> String {
        under("`ipam:`, `options:`", self.of_ipam().unwrap_or(self.flag), Some(value))
    }

    /// The option in `docker network create`.
    pub fn in_docker(&self, value: Option<&str>) -> String {
        let value = value.or(if let Switch(set) = self.takes { Some(set) } else { None }).unwrap_or_default();
        match self.docker[0] {
            Flag(name) => match (self.takes, value) {
                (Switch(_), _) | (_, "") => format!("--{name}"),
                _ => format!("--{name} {value}"),
            },
            Driver(name) => format!("-o {name}={value}"),
            Ipam(name) => format!("--ipam-opt {name}={value}"),
            Label(name) => format!("--label {LABEL}{name}={value}"),
        }
    }
}

/// A line of a Compose file. Values that YAML may take for others than words are quoted.
fn line(key: &str, value: Option<&str>) -> String {
    match value {
        Some("") | None => format!("`{key}:`"),
        Some(value) if is_plain_word(value) => format!("`{key}: {value}`"),
        Some(value) => format!("`{key}: {value:?}`"),
    }
}

/// Returns whether YAML 1.1 takes a value for what is meant: for text, and not for a number, a time, or a mapping. `true` is
/// meant: Compose's own keys take it.
fn is_plain_word(value: &str) -> bool {
    let is_truth =
        ["y", "n", "yes", "no", "on", "off", "null"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || b"_:".contains(&byte))
        || value.parse::<f64>().is_ok()
        || value.starts_with("0x");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:-".contains(&byte);
    !is_truth
        && !is_number
        && value.starts_with(|first: char| first.is_ascii_alphanumeric())
        && value.bytes().all(plain)
}

/// A line of a Compose file, and the keys that it is under.
pub fn under(keys: &str, key: &str, value: Option<&str>) -> String {
    format!("{} under {keys}", line(key, value))
}
