//! `ashore router-config`. It changes nothing, neither on this host nor on the router.

use std::net::IpAddr;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::survey::PoolReport;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::rules::create::PoolQuestion;
use ashore_kernel::Kernel;
use ashore_routers::{HostAddress, RouterError, RouterPlan, RouterRequest, System};

use super::table;
use crate::cli::{RouterConfigArgs, Wanted};
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::say;

pub(crate) fn run(args: RouterConfigArgs) -> Result<(), Failure> {
    let system = match args.system {
        Some(Wanted::For(system)) => system,
        // The plan alone, for programs.
        None if args.client.json => return print_json(&plan(args)?),
        None | Some(Wanted::List) => return list(args.client.json),
    };
    let json = args.client.json;
    let plan = plan(args)?;
    if json {
        return print_json(&plan);
    }
    say!("{}", plan.render(system).trim_end());
    Ok(())
}

fn list(json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&System::ALL.map(System::name));
    }
    let rows = System::ALL.map(|system| vec![system.name().to_owned(), system.about().to_owned()]);
    table::print(&["SYSTEM", "PRINTS"], &rows);
    Ok(())
}

fn plan(args: RouterConfigArgs) -> Result<RouterPlan, Failure> {
    let seen = seen(&args);
    let here = Kernel::here().ok().and_then(|kernel| kernel.observe(&[]).ok()).map(|observed| observed.host);
    let requested = RouterRequest {
        vlan: args.vlan,
        gateways: args.gateways,
        pools: args.pools,
        lan_interface: args.lan_interface,
        ports: args.ports,
        policy: args.firewall,
        seen,
        host: here.as_ref().map(addresses_of).unwrap_or_default(),
        routers: here.as_ref().map(routers_of).unwrap_or_default(),
    };
    let planned = match args.network {
        None => RouterPlan::of_subnets(&args.subnets, &args.ranges, requested),
        Some(network) => match ask(&args.client, &Request::InspectNetwork { network })? {
            Reply::Network(network) => RouterPlan::of_network(&network, requested),
            other => return Err(unexpected(&other)),
        },
    };
    planned.map_err(|error| refusal(&error).into())
}

/// What DHCP servers offer of a network's ranges, unless the user has given the pools. Empty if the servers
/// cannot be asked.
fn seen(args: &RouterConfigArgs) -> Vec<PoolReport> {
    let Some(network) = args.network.clone().filter(|_| args.pools.is_empty()) else { return Vec::new() };
    let question = PoolQuestion { network: Some(network), parent: None, vlan: None, range: None };
    match ask(&args.client, &Request::CheckPool(question)) {
        Ok(Reply::Pools(reports)) => reports,
        _ => Vec::new(),
    }
}

/// The gateways of this host's default routes.
fn routers_of(host: &View) -> Vec<IpAddr> {
    let defaults = host.routes.iter().filter(|there| there.route.to.prefix_len() == 0);
    defaults.filter_map(|there| there.route.via).collect()
}

/// This host's addresses.
fn addresses_of(host: &View) -> Vec<HostAddress> {
    let outward = |name: &IfName| {
        host.routes.iter().any(|there| there.route.to.prefix_len() == 0 && there.route.dev == *name)
    };
    let addresses = host.addresses.iter().filter(|address| !address.link_scope);
    let with_link = addresses.filter_map(|address| Some((address, host.link_at(address.index)?)));
    with_link
        .map(|(address, link)| HostAddress {
            interface: link.name.clone(),
            net: address.net,
            steady: address.life.is_none(),
            outward: outward(&link.name),
        })
        .collect()
}

fn refusal(error: &RouterError) -> Refusal {
    let code = match error {
        RouterError::Network(error) => return error.into(),
        RouterError::NothingGiven => Code::SubnetUnknown,
        RouterError::UnknownSystem(_) | RouterError::UnknownPolicy(_) => Code::ValueUnknown,
        RouterError::OtherVlan { .. }
        | RouterError::OtherGateway { .. }
        | RouterError::RouterInRange { .. } => Code::RouterPlanDiffers,
        RouterError::LinkLocalRouter(_) => Code::AddressUnfit,
        RouterError::PoolOfV6(_) => Code::NoPoolToCheck,
        RouterError::NothingClear(_)
        | RouterError::PoolOutside(_)
        | RouterError::PoolsOverlap(..)
        | RouterError::PoolInside { .. } => Code::RouterPoolUnfit,
        RouterError::VlanOne | RouterError::LanInVlan { .. } | RouterError::LansOwnVlan { .. } => {
            Code::VlanIdUnfit
        }
        RouterError::NothingBetween => Code::OptionsConflict,
    };
    Refusal::new(code, About::default(), error.to_string(), error.remedy())
}
