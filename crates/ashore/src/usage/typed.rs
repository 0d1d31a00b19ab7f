//! What people type who come from other programs, and what it is called here.

use crate::nearest::nearest;

/// Words in the place of a command, each with the command to run.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["create", "new", "add", "init"], "ashore network create NETWORK"),
    (
        &["delete", "remove", "rm", "del", "destroy"],
        "ashore network rm NETWORK, or for a container: ashore detach NETWORK NAME",
    ),
    (&["dhcp", "lease", "leases"], "ashore network create NETWORK --dhcp"),
    (&["gateway", "router", "gw"], "ashore network create NETWORK --gateway IP"),
    (
        &["subnet", "range", "ip-range", "pool"],
        "ashore network create NETWORK --subnet CIDR --ip-range RANGE",
    ),
    (&["mode", "kind", "macvlan", "ipvlan", "driver"], "ashore network create NETWORK --kind KIND"),
    (
        &["iface", "interface", "parent", "nic", "dev", "link"],
        "ashore network create NETWORK --parent IFNAME",
    ),
    (&["vlan"], "ashore network create NETWORK --vlan ID"),
    (&["ipv6", "slaac"], "ashore network create NETWORK --ipv6 MODE"),
    (&["allow", "user", "users", "permit"], "ashore network allow NETWORK --user USER"),
    (&["move", "mv", "rename"], "ashore network move NETWORK --parent IFNAME"),
    (&["net", "nets", "networks"], "ashore network ls"),
    (&["ps", "containers", "endpoints", "endpoint"], "ashore ls"),
    (&["connect", "join"], "ashore attach NETWORK --netns PATH"),
    (&["disconnect", "leave"], "ashore detach NETWORK NAME"),
    (&["log", "logs", "journal"], "journalctl -u ashore"),
    (&["start", "up", "run", "serve"], "systemctl start ashore"),
    (&["stop", "down"], "systemctl stop ashore"),
    (&["restart", "reload"], "systemctl restart ashore"),
    (&["enable"], "systemctl enable --now ashore"),
    (&["export", "save", "dump"], "ashore state export"),
    (&["backup"], "ashore state backup"),
    (&["import", "restore", "load"], "ashore state import"),
    (&["diff", "dry-run", "preview"], "ashore plan"),
    (&["check", "verify"], "ashore status"),
    (&["confirm"], "ashore bridge confirm"),
    (&["info"], "ashore status"),
    (&["version"], "ashore --version"),
    (&["setup"], "ashore install"),
];

/// Options, each with the one that was meant, on the command line or in an engine.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["mode", "driver", "type", "macvlan", "ipvlan"], "kind"),
    (&["iface", "interface", "dev", "device", "nic", "link", "if"], "parent"),
    (&["gw", "router", "default-gateway"], "gateway"),
    (&["net", "cidr", "network", "prefix"], "subnet"),
    (&["range", "pool", "iprange"], "ip-range"),
    (&["aux", "exclude", "reserve", "reserved"], "aux-address"),
    (&["address", "addr", "ip-address", "ip4", "ip6"], "ip"),
    (&["mac-address", "hwaddr"], "mac"),
    (&["namespace", "ns", "net-ns"], "netns"),
    (&["host", "host-network"], "host-access"),
    (&["vlan-id", "vid", "tag"], "vlan"),
    (&["format", "output"], "json"),
    (&["container", "process"], "pid"),
    (&["dhcp", "lease", "leases"], "addressing=dhcp"),
];

/// Values of options, each with those that may be meant.
const VALUES: &[(&str, &[&str])] = &[
    (
        "--kind",
        &[
            "macvlan",
            "macvlan:private",
            "macvlan:vepa",
            "macvlan:passthru",
            "ipvlan",
            "ipvlan:l3",
            "ipvlan:l3s",
            "bridge",
        ],
    ),
    ("--ipv6", &["auto", "slaac", "dhcp", "range", "off"]),
];

/// Values in the words of other programs, each with the one that was meant.
const SAID: &[(&[&str], &str)] =
    &[(&["yes", "on", "true", "1", "enable"], "auto"), (&["no", "false", "0", "disable"], "off")];

fn of(table: &'static [(&[&str], &str)], word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    table.iter().find(|(typed, _)| typed.contains(&word.as_str())).map(|(_, meant)| *meant)
}

/// The command that a word in the place of a command stands for.
pub(super) fn meant_by_command(word: &str) -> Option<&'static str> {
    of(COMMANDS, word)
}

/// The option, without its dashes, that another one stands for. A command may not have it.
pub(crate) fn meant_by_option(option: &str) -> Option<&'static str> {
    of(OPTIONS, option)
}

/// The value that another one of an option stands for.
pub(crate) fn meant_by_value(option: &str, value: &str) -> Option<&'static str> {
    let (_, known) = VALUES.iter().find(|(name, _)| *name == option)?;
    let said = of(SAID, value).filter(|said| known.contains(said));
    said.or_else(|| nearest(value, known.iter().copied()))
}

/// Every command that is proposed.
#[cfg(test)]
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().flat_map(|(_, meant)| meant.split(", or for a container: "))
}
