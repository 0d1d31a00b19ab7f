//! `ashore network`.

use std::collections::BTreeSet;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::Network;
use ashore_core::model::users::Allowed;
use ashore_core::net::family::Family;
use ashore_core::net::kind::PortOption;
use ashore_core::net::vlan::Vlan;
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::readdress::Readdress;
use ashore_wire::dhcp4::Servers;
use nix::unistd::{Group, User};

use super::table;
use crate::cli::{NetworkAllowArgs, NetworkCommand, NetworkCreateArgs, NetworkMoveArgs, PortArgs};
use crate::client::{ClientArgs, Failure, ask, print_json, unexpected};
use crate::out::{self, Style, one_line, say};

pub(crate) fn run(command: NetworkCommand) -> Result<(), Failure> {
    match command {
        NetworkCommand::Create(args) => create(*args),
        NetworkCommand::Ls(client) => list(&client),
        NetworkCommand::Inspect { network, client } => inspect(&client, &Request::InspectNetwork { network }),
        NetworkCommand::Move(to) => {
            let (client, is_readdressed) = (to.client.clone(), to.parent.is_none());
            moved(&client, is_readdressed, ask(&client, &readdress_request(*to))?)
        }
        NetworkCommand::Allow(args) => allow(args),
        NetworkCommand::Rm { network, client } => {
            let reply = ask(&client, &Request::RemoveNetwork { network: network.clone() })?;
            done(&client, &reply, &format!("network {network} is removed"))
        }
    }
}

pub(super) fn readdress_request(to: NetworkMoveArgs) -> Request {
    let NetworkMoveArgs { network, parent, ranges, subnets, gateways, reconnect, .. } = to;
    match parent {
        Some(parent) => Request::MoveNetwork { network, parent, reconnect },
        None => Request::Readdress(Readdress { network, subnets, ranges, gateways, reconnect }),
    }
}

pub(super) fn create_request(args: NetworkCreateArgs) -> Request {
    Request::CreateNetwork(NetworkSpec {
        name: args.network,
        engine: None,
        parent: args.parent,
        vlan: args.vlan,
        gvrp: args.gvrp,
        kind: args.kind,
        subnets: args.subnets,
        ranges: args.ranges,
        gateways: args.gateways,
        aux: args.aux,
        ipv6: args.ipv6,
        addressing: if args.dhcp { Addressing::Dhcp } else { Addressing::Range },
        leasing: LeaseOptions {
            hostname: args.leasing.hostname,
            register_name: args.leasing.register_name,
            vendor_class: args.leasing.vendor_class,
            timeout: args.leasing.timeout,
            release: args.leasing.release,
            fallback: args.leasing.fallback,
            servers: Servers { allow: args.leasing.allow, deny: args.leasing.deny },
        },
        host_access: args.host_access,
        mdns: args.mdns,
        internal: args.internal,
        conflict: args.conflict,
        mtu: args.mtu,
        bc_queue_len: args.bc_queue_len,
        bc_limit: args.bc_limit,
        port: port(&args.port),
        tagged: args.port.tagged,
        allowed: allowed(args.users, args.groups),
    })
}

fn allowed(users: Vec<u32>, groups: Vec<u32>) -> Allowed {
    Allowed { users: users.into_iter().collect(), groups: groups.into_iter().collect() }
}

fn allow(args: NetworkAllowArgs) -> Result<(), Failure> {
    let NetworkAllowArgs { network, users, groups, no_longer, client } = args;
    match ask(&client, &Request::Allow { network, whom: allowed(users, groups), no_longer })? {
        Reply::Created { network, warnings } if client.json => {
            warn(&warnings);
            print_json(&network)
        }
        Reply::Created { network, .. } if network.allowed.is_nobody() => {
            say!("network {} is for root alone", network.label());
            Ok(())
        }
        Reply::Created { network, warnings } => {
            say!("network {} is for root and {}", network.label(), table::joined(whom(&network.allowed)));
            warn(&warnings);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

/// The users and groups, by name where they have one.
fn whom(allowed: &Allowed) -> impl Iterator<Item = String> {
    let users = allowed.users.iter().map(|uid| {
        let user = User::from_uid((*uid).into()).ok().flatten();
        user.map_or_else(|| uid.to_string(), |user| user.name)
    });
    let groups = allowed.groups.iter().map(|gid| {
        let group = Group::from_gid((*gid).into()).ok().flatten();
        format!("@{}", group.map_or_else(|| gid.to_string(), |group| group.name))
    });
    users.chain(groups)
}

fn port(args: &PortArgs) -> BTreeSet<PortOption> {
    let isolated = args.isolated.then_some(PortOption::Isolated);
    isolated.into_iter().chain(args.hairpin.then_some(PortOption::Hairpin)).collect()
}

fn create(args: NetworkCreateArgs) -> Result<(), Failure> {
    let (client, unsaid) = (args.client.clone(), args.kind.is_none());
    let found = if args.subnets.is_empty() { "found" } else { "was told" };
    match ask(&client, &create_request(args))? {
        Reply::Created { network, warnings } if client.json => {
            warn(&warnings);
            print_json(&network)
        }
        Reply::Created { network, warnings } => {
            say!("network {} is on {} by {}", network.name, network.parent, network.kind);
            if unsaid && network.kind.shares_parents_mac() {
                say!(
                    "  {} is Wi-Fi: its access point accepts frames from one MAC only, which endpoints share",
                    network.parent
                );
            }
            for subnet in network.subnets.iter().filter(|subnet| subnet.chosen) {
                let gateway = subnet.gateway.map_or_else(String::new, |ip| format!(" by the router {ip}"));
                if network.leases(Family::of(subnet.net.addr())) {
                    say!(
                        "  found {}{gateway}; addresses are leased from the DHCP server of that LAN",
                        subnet.net
                    );
                }
                if network.handed_out().any(|handed_out| handed_out == subnet) {
                    say!("  {found} {}{gateway}, and chose the range {}", subnet.net, subnet.pool());
                }
            }
            if let Some(vlan) = network.bridge_vlan() {
                say!("  {} is Ashore's own port in VLAN {} of {}", network.parent, vlan.id, vlan.lower);
            }
            match network.bridge_vlan().map(Vlan::name) {
                _ if !network.host_goes_by_router() => {}
                Some(interface) => say!(
                    "  unless the host has an address there, such as on {interface}, it uses the router; --aux-address \
                     host=IP gives it one"
                ),
                None => say!(
                    "  the host has no address there and uses the router; --aux-address host=IP gives it one"
                ),
            }
            warn(&warnings);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn moved(client: &ClientArgs, is_readdressed: bool, reply: Reply) -> Result<(), Failure> {
    let Reply::Created { network, warnings } = reply else { return Err(unexpected(&reply)) };
    warn(&warnings);
    if client.json {
        return print_json(&network);
    }
    if is_readdressed {
        say!("network {} hands out {}", network.label(), table::joined(network.sources()));
        return Ok(());
    }
    // A network in a VLAN stays in it, so the parent may differ from the interface that the user named.
    say!("network {} is on {}", network.label(), network.parent);
    Ok(())
}

fn list(client: &ClientArgs) -> Result<(), Failure> {
    match ask(client, &Request::ListNetworks)? {
        Reply::Networks(networks) if client.json => print_json(&networks),
        Reply::Networks(networks) => {
            let mut rows: Vec<Vec<String>> = networks.iter().map(row).collect();
            let mut head = vec!["NETWORK", "PARENT", "KIND", "SUBNET", "RANGE", "GATEWAY", "HOST ACCESS"];
            if networks.iter().any(|network| !network.allowed.is_nobody()) {
                head.push("ALLOWED");
                rows.iter_mut()
                    .zip(&networks)
                    .for_each(|(row, network)| row.push(table::joined(whom(&network.allowed))));
            }
            table::print(&head, &rows);
            Ok(())
        }
        other => Err(unexpected(&other)),
    }
}

fn row(network: &Network) -> Vec<String> {
    let access = if network.host_access { "yes" } else { "no" };
    vec![
        network.label().to_owned(),
        network.parent.to_string(),
        network.kind.to_string(),
        table::joined(network.subnets.iter().map(|subnet| subnet.net)),
        table::joined(network.sources()),
        table::joined(network.subnets.iter().filter_map(|subnet| subnet.gateway)),
        access.to_owned(),
    ]
}

fn inspect(client: &ClientArgs, request: &Request) -> Result<(), Failure> {
    match ask(client, request)? {
        // One network is a document of its own, so people and programs get the same JSON.
        Reply::Network(network) => print_json(&network),
        other => Err(unexpected(&other)),
    }
}

/// Reports that a request is done, with its warnings.
pub(super) fn done(client: &ClientArgs, reply: &Reply, text: &str) -> Result<(), Failure> {
    match reply {
        Reply::Done { warnings } if client.json => print_json(&serde_json::json!({ "warnings": warnings })),
        Reply::Done { warnings } => {
            say!("{text}");
            warn(warnings);
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

/// Prints warnings of a request that is done.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        out::error(Style::Warning, &one_line(warning));
    }
}

#[cfg(test)]
mod tests {
    use ashore_core::net::option::{ALL, ALLOW_GROUP, ALLOW_USER, Takes};
    use clap::{Args, CommandFactory};

    use super::*;

    #[test]
    fn the_options_of_a_network_are_those_of_the_table() {
        let cli = crate::cli::Cli::command();
        let create = cli.find_subcommand("network").and_then(|network| network.find_subcommand("create"));
        let clients = ClientArgs::augment_args(clap::Command::new("client"));
        let of_client = |arg: &clap::Arg| clients.get_arguments().any(|other| other.get_id() == arg.get_id());
        let of_network =
            create.unwrap().get_arguments().filter(|arg| !arg.is_positional() && !of_client(arg));
        let defined: Vec<(String, Option<String>, String)> = of_network
            .map(|arg| {
                let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                (
                    arg.get_long().unwrap_or_default().to_owned(),
                    value.filter(|_| arg.get_action().takes_values()),
                    help,
                )
            })
            .collect();
        let in_table: Vec<(String, Option<String>, String)> = ALL
            .iter()
            .copied()
            .chain([&ALLOW_USER, &ALLOW_GROUP])
            .map(|option| {
                let value = if let Takes::Value(name) = option.takes { Some(name.to_owned()) } else { None };
                (option.flag.to_owned(), value, option.help.to_owned())
            })
            .collect();
        assert_eq!(defined, in_table);
    }
}
