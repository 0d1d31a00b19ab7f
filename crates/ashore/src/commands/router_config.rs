//! `ashore router-config`: nothing is done, neither here nor there.

use ashore_core::request::{Refusal, RefusalKind, Reply, Request};
use ashore_core::router::{RouterError, RouterPlan, RouterWish, System};

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
    let wish = RouterWish {
        vlan: args.vlan,
        gateways: args.gateways,
        pools: args.pools,
        lan_interface: args.lan_interface,
        ports: args.ports,
        policy: args.firewall,
    };
    let planned = match args.network {
        None => RouterPlan::of_subnets(&args.subnets, &args.ranges, wish),
        Some(network) => match ask(&args.client, &Request::InspectNetwork { network })? {
            Reply::Network(network) => RouterPlan::of_network(&network, wish),
            other => return Err(unexpected(&other)),
        },
    };
    planned.map_err(|error| refusal(&error).into())
}

fn refusal(error: &RouterError) -> Refusal {
    Refusal { kind: RefusalKind::Invalid, message: error.to_string(), hint: error.hint() }
}
