//! `ashore setup`: from nothing but a cable to the first network.
//!
//! It looks at the host and asks the LAN, shows what it found and what it would do, does it, and tries the result
//! from a namespace that goes again.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::net::IpAddr;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::identity::Seed;
use ashore_core::model::lease::Addressing;
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::model::survey::PoolSeen;
use ashore_core::net::name::{IfName, NetworkName};
use ashore_core::net::observed::View;
use ashore_core::net::range::Range;
use ashore_core::net::remedy::Remedy;
use ashore_core::rules::create::{NetworkSpec, PoolQuestion};
use ashore_kernel::Kernel;
use ipnet::IpNet;

mod makes;
mod picture;
mod trial;

use crate::cli::{Maker, SetupArgs};
use crate::client::{Failure, ask, has_said_it_waits, print_json, unexpected};
use crate::messages::message;
use crate::out::{self, complain, say};

/// What was found of the LAN.
#[derive(Debug, Clone, serde::Serialize)]
struct Found {
    parent: IfName,
    subnet: IpNet,
    router: Option<IpAddr>,
    /// The host's address in the subnet.
    host: Option<IpAddr>,
    servers: Vec<PoolSeen>,
    /// A range that nobody hands out, as far as was seen.
    range: Option<Range>,
    #[serde(skip)]
    networks: Vec<Network>,
}

/// What is to be made.
#[derive(Debug, Clone, serde::Serialize)]
struct Choice {
    name: NetworkName,
    dhcp: bool,
    maker: Maker,
}

/// All of it, for programs.
#[derive(serde::Serialize)]
struct Report<'a> {
    found: &'a Found,
    choice: &'a Choice,
    command: String,
    done: bool,
    tried: Vec<trial::Tried>,
}

pub(crate) fn run(args: &SetupArgs) -> Result<(), Failure> {
    let asks = !args.yes && !args.dry_run && !args.client.json;
    if asks && !(stdin().is_terminal() && stdout().is_terminal()) {
        let remedy = Remedy::run("ashore setup --yes")
            .and(", or see what it would do with ")
            .and_run("ashore setup --dry-run");
        return Err(
            Refusal::of(Code::NotATerminal, "setup asks questions, and this is no terminal", remedy).into()
        );
    }
    if !args.client.json {
        complain!("{}", message!("setup-looking"));
        has_said_it_waits();
    }
    let found = find(args)?;
    if !args.client.json {
        show(&found);
    }
    let choice = choose(args, &found, asks)?;
    if found.networks.iter().any(|network| network.label() == choice.name.as_str()) {
        let message = format!("there is a network `{}` already", choice.name);
        let remedy = Remedy::run("ashore setup --name OTHER")
            .and("; ")
            .and_run(format!("ashore doctor {}", choice.name))
            .and(" looks at the one that is there");
        return Err(Refusal::new(
            Code::NetworkExists,
            About::label(choice.name.as_str()),
            message,
            Some(remedy),
        )
        .into());
    }
    if let Some((has, oldest)) = choice.maker.too_old() {
        return Err(Failure::NotAsExpected(message!(
            "setup-too-old",
            program = choice.maker.to_string(),
            has = has.to_string(),
            oldest = oldest.to_string()
        )));
    }
    let command = choice.maker.command(&choice, &found);
    if !args.client.json {
        say!("\n{}\n\n  {command}\n", message!("setup-makes"));
    }
    if args.dry_run || (args.client.json && !args.yes) {
        return finish(
            args,
            &Report { found: &found, choice: &choice, command, done: false, tried: Vec::new() },
        );
    }
    if asks && !confirmed(&message!("setup-make-now"))? {
        return Ok(());
    }
    let network = makes::make(&args.client, &choice, &found)?;
    // The network is there, whatever comes of the trial.
    let tried = trial::of(&args.client, &network, &found, args.to)
        .unwrap_or_else(|failure| vec![trial::Tried::failed(&failure)]);
    if !args.client.json {
        tried.iter().for_each(trial::Tried::print);
        say!("\n{}\n\n  {}\n", message!("setup-first"), choice.maker.first(&choice, &found));
    }
    let failed = tried.iter().any(trial::Tried::is_broken);
    finish(args, &Report { found: &found, choice: &choice, command, done: true, tried })?;
    if failed {
        return Err(Failure::NotAsExpected(message!(
            "setup-not-all-works",
            network = choice.name.to_string(),
            maker = choice.maker.to_string()
        )));
    }
    Ok(())
}

fn finish(args: &SetupArgs, report: &Report<'_>) -> Result<(), Failure> {
    if args.client.json { print_json(report) } else { Ok(()) }
}

/// Looks at the host, and asks the LAN.
fn find(args: &SetupArgs) -> Result<Found, Failure> {
    let networks = match ask(&args.client, &Request::ListNetworks)? {
        Reply::Networks(networks) => networks,
        other => return Err(unexpected(&other)),
    };
    let host = host()?;
    let refused = |error| Failure::Refused(Refusal::from(&error));
    let parent = args
        .parent
        .as_ref()
        .map_or_else(|| host.lan_parent(&[]), |parent| Ok(host.resolved(parent)))
        .map_err(refused)?;
    let subnet = host.lan_subnet(&parent, None).map_err(refused)?;
    let router = host.default_gateway(&subnet);
    let link = host.link(&parent);
    let own = link.and_then(|link| host.host_address(link, &subnet));
    let question = PoolQuestion { parent: Some(parent.clone()), ..PoolQuestion::default() };
    let (servers, beside) = match ask(&args.client, &Request::CheckPool(question))? {
        Reply::Pools(reports) => match reports.into_iter().next() {
            Some(report) => (report.servers, report.beside),
            None => (Vec::new(), None),
        },
        other => return Err(unexpected(&other)),
    };
    let range = beside.or_else(|| free_range(&networks, subnet, router, &host, &servers));
    Ok(Found { parent, subnet, router, host: own, servers, range, networks })
}

fn host() -> Result<View, Failure> {
    let kernel = Kernel::here().map_err(anyhow::Error::from)?;
    Ok(kernel.observe(&[]).map_err(anyhow::Error::from)?.host)
}

/// A range that no network has, and that lies in no pool that was seen.
fn free_range(
    networks: &[Network],
    subnet: IpNet,
    router: Option<IpAddr>,
    host: &View,
    servers: &[PoolSeen],
) -> Option<Range> {
    let mut state = State::new(Seed([0; 16]));
    for network in networks {
        state.apply(Change::PutNetwork(network.clone()));
    }
    let is_handed_out =
        |range: &Range| servers.iter().any(|pool| pool.span().is_some_and(|span| span.overlaps(range)));
    state.ranges_to_try(subnet, router, host).into_iter().find(|range| !is_handed_out(range))
}

fn show(found: &Found) {
    let Found { parent, subnet, router, servers, range, .. } = found;
    say!("{}", message!("setup-parent", parent = parent.to_string(), subnet = subnet.to_string()));
    match router {
        Some(router) => say!("{}", message!("setup-router", router = router.to_string())),
        None => say!("{}", message!("setup-no-router")),
    }
    if servers.is_empty() {
        say!("{}", message!("setup-no-server"));
    }
    for server in servers {
        say!("{}", offered(server));
    }
    match range {
        Some(range) => say!("{}", message!("setup-free", range = range.to_string())),
        None => say!("{}", message!("setup-no-range")),
    }
    say!("");
    for line in picture::lines(found) {
        say!("{line}");
    }
}

/// What a DHCP server offers.
fn offered(pool: &PoolSeen) -> String {
    let server = pool.server.to_string();
    match pool.span() {
        Some(span) if span.len() == 1 => {
            message!("setup-server-one", server = server, first = span.first().to_string())
        }
        Some(span) => message!(
            "setup-server-range",
            server = server,
            first = span.first().to_string(),
            last = span.last().to_string()
        ),
        None => message!("setup-server-none", server = server),
    }
}

fn choose(args: &SetupArgs, found: &Found, asks: bool) -> Result<Choice, Failure> {
    let is_there = |maker: &Maker| maker.is_there();
    let default = args.engine.or_else(|| [Maker::Docker, Maker::Podman].into_iter().find(is_there));
    let mut choice = Choice {
        name: args.name.clone().unwrap_or_else(|| "lan".parse().expect("it is a name")),
        dhcp: args.dhcp || found.range.is_none(),
        maker: default.unwrap_or(Maker::Ashore),
    };
    if !asks {
        return Ok(choice);
    }
    if args.name.is_none() {
        choice.name = answered(&message!("setup-name"), choice.name)?;
    }
    if !args.dhcp && found.range.is_some() && !found.servers.is_empty() {
        choice.dhcp = !confirmed(&message!("setup-addresses"))?;
    }
    if args.engine.is_none() {
        choice.maker = answered(&message!("setup-maker"), choice.maker)?;
    }
    Ok(choice)
}

/// Asks for a value until one is given that fits. An empty answer is the default.
fn answered<T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display>(
    what: &str,
    default: T,
) -> Result<T, Failure> {
    loop {
        let line = asked(&format!("{what} [{default}]: "))?;
        if line.is_empty() {
            return Ok(default);
        }
        match line.parse() {
            Ok(value) => return Ok(value),
            Err(error) => out::objection(&error.to_string()),
        }
    }
}

/// Asks a question. An empty answer is yes.
fn confirmed(what: &str) -> Result<bool, Failure> {
    loop {
        match understood(&asked(&format!("{what} {} ", message!("yes-or-no-hint")))?) {
            Some(answer) => return Ok(answer),
            None => out::objection(&message!("yes-or-no")),
        }
    }
}

/// Yes or no, in whatever language it was typed.
fn understood(answer: &str) -> Option<bool> {
    match answer.to_lowercase().as_str() {
        "" | "y" | "yes" | "j" | "ja" | "是" | "是的" | "好" | "对" => Some(true),
        "n" | "no" | "nein" | "否" | "不" | "不是" | "不要" => Some(false),
        _ => None,
    }
}

fn asked(question: &str) -> Result<String, Failure> {
    let mut line = String::new();
    print!("{question}");
    stdout().flush().map_err(anyhow::Error::from)?;
    if stdin().lock().read_line(&mut line).map_err(anyhow::Error::from)? == 0 {
        return Err(Failure::NotAsExpected(message!("no-answer-nothing-done")));
    }
    Ok(line.trim().to_owned())
}

impl Choice {
    /// The request for the network, if the command line makes it.
    fn spec(&self, found: &Found) -> NetworkSpec {
        let mut spec = NetworkSpec::named(self.name.clone());
        spec.parent = Some(found.parent.clone());
        spec.gateways = found.router.into_iter().collect();
        spec.subnets = vec![found.subnet];
        if self.dhcp {
            spec.addressing = Addressing::Dhcp;
        } else {
            spec.ranges = found.range.into_iter().collect();
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_are_understood_in_both_languages() {
        let understood = |answers: [&str; 4]| answers.map(understood);
        assert_eq!(understood(["", "Y", "yes", "是"]), [Some(true); 4]);
        assert_eq!(understood(["n", "NO", "否", "不"]), [Some(false); 4]);
        assert_eq!(understood(["maybe", "yn", "是否", "0"]), [None; 4]);
    }
}
