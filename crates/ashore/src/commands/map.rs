//! `ashore map`: draws who has which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_core::api::map::LanMap;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;

use self::squares::{Line, Picture, Square};
use super::events::on_clock;
use super::makers::makers;
use super::table;
use crate::cli::MapArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::out::{one_line, say};

mod squares;

/// How many lines each list below a picture has at most. `--json` has all.
const MOST: usize = 64;

pub(crate) fn run(args: &MapArgs) -> Result<(), Failure> {
    let mut maps = match ask(&args.client, &Request::Map { network: args.network.clone() })? {
        Reply::Maps(maps) => maps,
        other => return Err(unexpected(&other)),
    };
    let heard = maps.iter().flat_map(|map| map.machines.iter().map(|machine| machine.mac)).collect();
    let known = makers(&heard);
    for machine in maps.iter_mut().flat_map(|map| &mut map.machines) {
        machine.maker = known.get(&machine.mac).cloned();
    }
    if args.client.json {
        return print_json(&maps);
    }
    for (number, map) in maps.iter().enumerate() {
        if number > 0 {
            say!("");
        }
        print(map);
    }
    if maps.is_empty() {
        say!("no network has a subnet");
    }
    Ok(())
}

fn print(map: &LanMap) {
    let range = map.range.map_or_else(|| "no range of its own".to_owned(), |range| format!("range {range}"));
    say!("{} {} on {}, {range}", one_line(&map.network), map.subnet, map.parent);
    let picture = Picture::of(map);
    let lines = picture.lines();
    let label = |line: &Line| match line {
        Line::Row(first, _) => first.to_string().len(),
        Line::Gap { .. } => 0,
    };
    let width = lines.iter().map(label).max().unwrap_or(0);
    let mut seen: BTreeSet<Square> = BTreeSet::new();
    for line in &lines {
        match line {
            Line::Row(first, squares) => {
                seen.extend(squares);
                say!("{:>width$}  {}", first.to_string(), in_groups(squares));
            }
            Line::Gap { addresses, in_range, taken } => {
                let of_range = match in_range {
                    0 => String::new(),
                    all if all == addresses => ", all in the range".to_owned(),
                    some => format!(", {some} of them in the range"),
                };
                let taken = if *taken > 0 { format!(", {taken} of them known") } else { String::new() };
                say!("{:>width$}  … {addresses} addresses{of_range}{taken}", "");
            }
        }
    }
    say!("");
    for square in Square::ALL.into_iter().filter(|square| seen.contains(square)) {
        say!("  {}  {}", square.sign(), square.meaning());
    }
    say!("");
    lists(map);
}

/// Squares in groups of eight.
fn in_groups(squares: &[Square]) -> String {
    let groups = squares.chunks(8).map(|group| group.iter().map(|square| square.sign()).collect::<String>());
    groups.collect::<Vec<_>>().join(" ")
}

/// Who is who.
fn lists(map: &LanMap) {
    let mut ours: BTreeMap<IpAddr, [String; 3]> = BTreeMap::new();
    let mut note = |ip: &IpAddr, sign: Square, what: String| {
        ours.entry(*ip).or_insert_with(|| [sign.sign().to_string(), ip.to_string(), what]);
    };
    map.endpoints.iter().for_each(|(ip, name)| note(ip, Square::Ours, name.clone()));
    map.host.iter().for_each(|ip| note(ip, Square::Host, "this host".to_owned()));
    map.gateway.iter().for_each(|ip| note(ip, Square::Router, "the router".to_owned()));
    map.reserved.iter().for_each(|(ip, why)| note(ip, Square::Reserved, why.clone()));
    map.away.iter().for_each(|(ip, name)| note(ip, Square::Away, format!("{name}, which is not there")));
    let ours = ours.into_values().map(Vec::from).collect();
    list(&["", "ADDRESS", "WHO"], ours);
    let machines = map.machines.iter().map(|machine| {
        let sign = if machine.claims { Square::Machine } else { Square::Wanted };
        let of_router = map.gateway == Some(machine.ip);
        let sign = if of_router { Square::Router } else { sign };
        let maker = machine.maker.clone().unwrap_or_else(|| "-".to_owned());
        let (since, heard) = (on_clock(machine.since), on_clock(machine.heard));
        vec![sign.sign().to_string(), machine.ip.to_string(), machine.mac.to_string(), maker, since, heard]
    });
    list(&["", "MACHINE", "MAC", "MAKER", "SINCE", "HEARD"], machines.collect());
    let claimed = map.claimed.iter().map(|claimed| {
        let sign = Square::Claimed.sign().to_string();
        vec![sign, claimed.ip.to_string(), claimed.mac.to_string(), on_clock(claimed.at)]
    });
    list(&["", "CLAIMED", "BY", "LAST"], claimed.collect());
}

fn list(headings: &[&str], mut rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let more = rows.len().saturating_sub(MOST);
    rows.truncate(MOST);
    table::print(headings, &rows);
    if more > 0 {
        say!("   and {more} more, which --json shows");
    }
    say!("");
}
