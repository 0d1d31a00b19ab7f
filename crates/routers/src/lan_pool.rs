//! The LAN's existing DHCP pool: what is known of it, and what has to change. The range is removed from the
//! pool; nothing is ever added.

use std::net::IpAddr;

use ashore_core::net::range::Range;

use crate::page::{Page, Parts};
use crate::plan::{Present, RouterPlan, RouterSubnet, joined, span};

/// Describes a subnet's pool, for the head of the output.
pub(super) fn said(subnet: &RouterSubnet) -> String {
    if !subnet.is_v4() {
        return "hosts choose their own addresses".to_owned();
    }
    match (&subnet.present, joined(&subnet.pools, ", ")) {
        (Present::Clear(servers), _) => format!(
            "and the DHCP server {} offers no address of it",
            servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
        (Present::Offers { server, seen }, _) => {
            format!("and the DHCP server {server} offers addresses of it (seen: {})", span(seen))
        }
        (Present::Unknown, _) => "and the router's DHCP pool must stay clear of it".to_owned(),
        (_, pools) if pools.is_empty() => "no DHCP".to_owned(),
        (Present::Told(told), pools) => format!("DHCP had {} and keeps {pools}", joined(told, ", ")),
        (Present::None, pools) => format!("DHCP gets {pools}"),
    }
}

/// Returns whether nothing has to change on the LAN's router.
pub(super) fn is_clear(plan: &RouterPlan) -> bool {
    plan.v4().all(|subnet| subnet.leased || matches!(subnet.present, Present::Clear(_)))
}

/// The output in that case, which is the same for every system.
pub(super) fn nothing_to_do(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Nothing to do: nothing changes.");
    if plan.v4().next().is_none() {
        parts.lines.note("None: IPv6 hosts choose their own addresses, and no pool collides with the range.");
    }
    for subnet in plan.v4() {
        if subnet.leased {
            parts.lines.note(&format!(
                "None for {}: containers take leases from the router's pool, like any other machine.",
                subnet.net
            ));
            continue;
        }
        parts.lines.note(&format!(
            "None for {}: the range {} is outside of what the DHCP server offers. If you change the router's \
             pool, keep {} out of it. `{}` checks again.",
            subnet.net,
            subnet.range,
            span(&subnet.range),
            pool_check(plan, subnet)
        ));
    }
    parts.away.note("Nothing: without the network, nothing uses the range.");
    parts
}

fn pool_check(plan: &RouterPlan, subnet: &RouterSubnet) -> String {
    match &plan.network {
        Some(network) => format!("ashore pool-check {network}"),
        None => format!("ashore pool-check --ip-range {}", subnet.range),
    }
}

/// Returns the subnets whose new pool is not known because the old one is not. Prints how to find out the
/// pool, and how to pass it.
pub(super) fn unknown<'a>(plan: &'a RouterPlan, how_to_read: &str, page: &mut Page) -> Vec<&'a RouterSubnet> {
    let unknown: Vec<&RouterSubnet> = plan.unknown().collect();
    for subnet in &unknown {
        page.note(&format!("First find out the pool of {}: {how_to_read}", subnet.net));
        first_advice(plan, subnet, page);
        page.note(
            "Otherwise give the pool with --pool, once for each of its ranges. The lines are then \
                   printed here:",
        );
        page.shown(plan.command(" --for SYSTEM --pool FIRST-LAST"));
    }
    unknown
}

/// Advice that changes nothing on the router.
pub(super) fn first_advice(plan: &RouterPlan, subnet: &RouterSubnet, page: &mut Page) {
    page.note(&format!(
        "If {} lies outside of the pool, nothing has to change. The easiest way is to give Ashore such a \
         range: `{}` shows what the DHCP server offers, and a range beside it.",
        span(&subnet.range),
        pool_check(plan, subnet)
    ));
}

/// Prints what to do with a pool that has one first and one last address. The words fit any present pool.
pub(super) fn in_words(plan: &RouterPlan, first: &str, last: &str, page: &mut Page) {
    for subnet in plan.v4().filter(|subnet| !subnet.leased) {
        if let Some(pool) = subnet.largest_pool() {
            page.step(&format!("{first}: {}. {last}: {}. Save.", pool.first(), pool.last()));
            if subnet.pools.len() > 1 {
                page.step(&format!(
                    "This is the largest part of {}: one pool cannot leave out its middle.",
                    joined(&subnet.pools, ", ")
                ));
            }
            continue;
        }
        let (lower, higher) = around(subnet);
        page.step(&format!("Look at the pool's first and last address ({first}, {last})."));
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
            "If that leaves too few addresses, or none, give Ashore another range instead: `{}` shows one \
             beside the pool.",
            pool_check(plan, subnet)
        ));
    }
}

/// The addresses next to the range on either side, if a machine can have them.
pub(super) fn around(subnet: &RouterSubnet) -> (Option<IpAddr>, Option<IpAddr>) {
    let whole = Range::of_net(&subnet.net);
    let pieces = whole.without(&subnet.range);
    let usable =
        |ip: &IpAddr| *ip != subnet.net.network() && *ip != subnet.net.broadcast() && *ip != subnet.router;
    let lower = pieces.iter().find(|piece| piece.last() < subnet.range.first()).map(Range::last);
    let higher = pieces.iter().find(|piece| piece.first() > subnet.range.last()).map(Range::first);
    (lower.filter(usable), higher.filter(usable))
}
