//! `cargo xtask bench data`: what a container's way onto the LAN costs its traffic, and what broadcasts cost a
//! host with many containers. Nothing here is a limit: each figure stands beside that of the host itself,
//! measured in the same round.

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::{Bench, machine};
use sites::{Origin, Site, Sites};
use table::Column;
use traffic::{Direction, Path};

mod broadcast;
mod cutoff;
mod processor;
mod sites;
mod table;
mod traffic;

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// How long each measurement lasts, in seconds
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    seconds: Duration,
    /// How many of each, interleaved
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// With how many containers broadcasts are measured
    #[arg(long, value_delimiter = ',', default_value = "1,50,250", value_parser = clap::value_parser!(u16).range(1..=4000))]
    children: Vec<u16>,
    /// Measure only traffic, or only broadcasts
    #[arg(long)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Traffic,
    Broadcasts,
}

/// Every loop of a measurement ends after this time, so it has an upper limit.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=60.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("0.05 to 60 seconds".to_owned())
    }
}

/// The share of all processors that other programs may use while something is measured, in percent.
const QUIET: f64 = 3.0;

pub(super) fn run(bench: &Bench, arguments: &DataArgs) -> anyhow::Result<()> {
    let busy = processor::busy_at_rest(Duration::from_secs(1))?;
    if busy > QUIET {
        println!(
            "\nOther programs use {busy:.0} % of the processors. The figures of this run are not worth publishing."
        );
    }
    if arguments.only != Some(Part::Broadcasts) {
        traffic(bench, arguments.seconds, arguments.rounds)?;
    }
    if arguments.only != Some(Part::Traffic) {
        broadcast::run(bench, arguments.seconds, arguments.rounds, &arguments.children)?;
    }
    Ok(())
}

fn traffic(bench: &Bench, lasting: Duration, rounds: u32) -> anyhow::Result<()> {
    let sites = Sites::new(bench)?;
    println!("\nMedian of {rounds}, {} s each, interleaved, on {}.", lasting.as_secs_f64(), machine());
    println!(
        "The first column is the host itself. The others are ratios to it, each of the same round; half of the \
         rounds are within the parentheses."
    );
    for missing in &sites.missing {
        println!("{missing}");
    }
    for origin in [Origin::Lan, Origin::Host] {
        let mut columns: Vec<Column> = sites.all.iter().map(|site| Column::new(site.name)).collect();
        let reachable: Vec<bool> = sites.all.iter().map(|site| sites.reaches(origin, site)).collect();
        for (column, _) in columns.iter().zip(&reachable).filter(|(_, reachable)| !**reachable) {
            println!("{} cannot be reached from {}", column.name, origin.shown());
        }
        for round in 0..rounds as usize {
            // Another contender is the first in each round.
            let mut order: Vec<usize> = (0..columns.len()).filter(|at| reachable[*at]).collect();
            let first = round % order.len();
            order.rotate_left(first);
            for at in order {
                let site = &sites.all[at];
                columns[at].samples.push(sample(&sites, origin, site, lasting).context(site.name)?);
            }
        }
        table::print(origin.shown(), &columns);
    }
    Ok(())
}

/// Measures everything once, in the order of [`table::FIGURES`].
fn sample(sites: &Sites, origin: Origin, site: &Site, lasting: Duration) -> anyhow::Result<table::Sample> {
    let path = Path { from: sites.namespace(origin, site), to: site.address, service: &site.service };
    let inward = path.stream(Direction::ToService, lasting)?;
    let outward = path.stream(Direction::FromService, lasting)?;
    let udp = path.udp_round_trips(lasting)?;
    let tcp = path.tcp_round_trips(lasting)?;
    let packets = path.small_packets(lasting)?;
    Ok([
        inward.gigabits_per_second(),
        outward.gigabits_per_second(),
        udp.micros(50),
        udp.micros(99),
        tcp.micros(50),
        tcp.micros(99),
        packets,
        inward.per_gigabyte(inward.sender),
        inward.per_gigabyte(inward.receiver),
        inward.per_gigabyte(inward.machine.softirq),
        inward.per_gigabyte(inward.machine.busy),
    ])
}
