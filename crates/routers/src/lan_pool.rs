//! The DHCP pool that is there: what is known of it, and what becomes of it. The range is taken out of it, and nothing is ever
//! put in.

use std::net::IpAddr;

use ashore_core::net::range::Range;

use crate::page::{Page, Parts};
use crate::plan::{Present, RouterPlan, RouterSubnet, joined, span};

/// Of a subnet's pool, for the head of the page.
pub(super) fn said(subnet: &RouterSubnet) -> String {
    if !subnet.is_v4() {
        return "hosts choose their own addresses".to_owned();
    }
    match (&subnet.present, joined(&subnet.pools, ", ")) {
        (Present::Clear(servers), _) => format!(
            "and the DHCP server {} offers nothing of it",
            servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
        (Present::Offers { server, seen }, _) => {
            format!("and the DHCP server {server} offers addresses of it (seen: {})", span(seen))
        }
        (Present::Unknown, _) => "and the router's DHCP pool has to stay clear of it".to_owned(),
        (_, pools) if pools.is_empty() => "no DHCP".to_owned(),
        (Present::Told(told), pools) => format!("DHCP had {} and keeps {pools}", joined(told, ", ")),
        (Present::None, pools) => format!("DHCP gets {pools}"),
    }
}

/// Whether nothing has to change on the LAN's router.
pub(super) fn is_clear(plan: &RouterPlan) -> bool {
    plan.v4().all(|subnet| subnet.leased || matches!(subnet.present, Present::Clear(_)))
}

/// What is said then, whatever the system.
pub(super) fn nothing_to_do(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Nothing, since nothing changes.");
    if plan.v4().next().is_none() {
        parts.lines.note("None: IPv6 hosts choose their own addresses, and no pool collides with the range.");
    }
    for subnet in plan.v4() {
        if subnet.leased {
            parts.lines.note(&format!(
                "None for {}: containers take leases of the router's pool, as any other machine does.",
                subnet.net
            ));
            continue;
        }
        parts.lines.note(&format!(
            "None for {}: the range {} lies outside of what is offered. Keep it so: whoever changes the pool on the router leaves \
             {} to Ashore. `{}` looks again.",
            subnet.net,
            subnet.range,
            span(&subnet.range),
            pool_check(plan, subnet)
        ));
    }
    parts.away.note("Nothing: without the network the range is nobody's.");
    parts
}

fn pool_check(plan: &RouterPlan, subnet: &RouterSubnet) -> String {
    match &plan.network {
        Some(network) => format!("ashore pool-check {network}"),
        None => format!("ashore pool-check --ip-range {}", subnet.range),
    }
}

/// The subnets of which the new pool is not known, since the old one is not. Says what to do first, and how to tell.
pub(super) fn unknown<'a>(plan: &'a RouterPlan, how_to_read: &str, page: &mut Page) -> Vec<&'a RouterSubnet> {
    let unknown: Vec<&RouterSubnet> = plan.unknown().collect();
    for subnet in &unknown {
        page.note(&format!("Look first what the pool of {} is: {how_to_read}", subnet.net));
        first_advice(plan, subnet, page);
        page.note("Otherwise tell it, and the lines are printed here, once for each range that it has:");
        page.shown(plan.command(" --for SYSTEM --pool FIRST-LAST"));
    }
    unknown
}

/// The advice that changes nothing.
pub(super) fn first_advice(plan: &RouterPlan, subnet: &RouterSubnet, page: &mut Page) {
    page.note(&format!(
        "If {} lies outside of it, nothing has to change. Easiest is to give Ashore a range that does: `{}` shows what is \
         offered, and a range beside it.",
        span(&subnet.range),
        pool_check(plan, subnet)
    ));
}

/// What to do with a pool that has one first and one last address, in words that fit whatever it is now.
pub(super) fn in_words(plan: &RouterPlan, first: &str, last: &str, page: &mut Page) {
    for subnet in plan.v4().filter(|subnet| !subnet.leased) {
        if let Some(pool) = subnet.largest_pool() {
            page.step(&format!("{first}: {}. {last}: {}. Save.", pool.first(), pool.last()));
            if subnet.pools.len() > 1 {
                page.step(&format!(
                    "Of {} that is the largest piece; one pool cannot leave out its middle.",
                    joined(&subnet.pools, ", ")
                ));
            }
            continue;
        }
        let (lower, higher) = around(subnet);
        page.step(&format!("Look at the first and the last address that are there ({first}, {last})."));
        page.step(&format!(
            "If the last is below {}, or the first above {}, change nothing: the pool is clear of Ashore's range.",
            subnet.range.first(),
            subnet.range.last()
        ));
        if let Some(lower) = lower {
            page.step(&format!(
                "If the first is {lower} or lower, leave it as it is, and set the last ({last}) to {lower}. Save."
            ));
        }
        if let Some(higher) = higher {
            page.step(&format!(
                "{} the last is above {}, leave it as it is, and set the first ({first}) to {higher}. Save.",
                if lower.is_some() { "Otherwise, if" } else { "If" },
                subnet.range.last()
            ));
        }
        page.step(&format!(
            "If that leaves too few, or none, give Ashore another range instead: `{}` shows one beside the pool.",
            pool_check(plan, subnet)
        ));
    }
}

/// The addresses next to the range, as far as somebody can have them.
pub(super) fn around(subnet: &RouterSubnet) -> (Option<IpAddr>, Option<IpAddr>) {
    let whole = Range::of_net(&subnet.net);
    let pieces = whole.without(&subnet.range);
    let usable =
        |ip: &IpAddr| *ip != subnet.net.network() && *ip != subnet.net.broadcast() && *ip != subnet.router;
    let lower = pieces.iter().find(|piece| piece.last() < subnet.range.first()).map(Range::last);
    let higher = pieces.iter().find(|piece| piece.first() > subnet.range.last()).map(Range::first);
    (lower.filter(usable), higher.filter(usable))
}
