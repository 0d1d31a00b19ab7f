//! What on a host is its own, and must be the same before and after anything that Ashore does there.

use std::collections::BTreeMap;
use std::path::Path;

use ashore_core::net::observed::{Link, ObservedRoute};
use ashore_core::net::step::ROUTE_PROTOCOL;
use ashore_lab::{Engines, Machine};

use super::{Home, shown_on};

/// A host without what bears Ashore's tag or protocol: its links, addresses, routes and permanent neighbours,
/// all sysctls of its network, and, as `ip` shows them, the routing rules and the routes of all tables. Each
/// is a line.
#[derive(Debug, PartialEq)]
pub struct Own(Vec<String>);

/// The NAS as its owner has set it up. To be taken once the NAS is as the test wants it, and compared at the
/// end.
pub fn untouched(home: &Home) -> Own {
    let mut host = home.nas.kernel().observe(&[]).unwrap().host;
    let ours: Vec<Link> = host.links.iter().filter(|link| link.tag().is_some()).cloned().collect();
    let (index, name) = (
        |index: u32| ours.iter().any(|link| link.index == index),
        |name: &ashore_core::net::name::IfName| ours.iter().any(|link| link.name == *name),
    );
    host.links.retain(|link| !index(link.index));
    // The kernel changes this at its own pace.
    host.links.iter_mut().for_each(|link| link.carrier = true);
    host.addresses.retain(|there| !index(there.index) && !there.link_scope);
    let link_local = |there: &ObservedRoute| there.route.to.to_string().starts_with("fe80:");
    host.routes
        .retain(|there| there.protocol != ROUTE_PROTOCOL && !name(&there.route.dev) && !link_local(there));
    host.neighbours.retain(|there| !there.ours && !index(there.index));
    let ours: Vec<String> = ours.iter().map(|link| link.name.to_string()).collect();
    let mut lines = Vec::new();
    lines.extend(host.links.iter().map(|link| format!("{link:?}")));
    lines.extend(host.addresses.iter().map(|address| format!("{address:?}")));
    lines.extend(host.routes.iter().map(|route| format!("{route:?}")));
    lines.extend(host.neighbours.iter().map(|neighbour| format!("{neighbour:?}")));
    lines.extend(sysctls(&home.nas, &ours).into_iter().map(|(path, value)| format!("{path} = {value}")));
    lines.extend(tables(&home.nas, &ours));
    Own(lines)
}

/// Asserts that the NAS is as it was, and shows the differences otherwise.
#[track_caller]
pub fn is_untouched(home: &Home, before: &Own) {
    let after = untouched(home);
    let but = |these: &Own, those: &Own| {
        these.0.iter().filter(|line| !those.0.contains(line)).cloned().collect::<Vec<_>>().join("\n  ")
    };
    assert!(
        after == *before,
        "the host is not as it was.\nGone:\n  {}\nNew:\n  {}",
        but(before, &after),
        but(&after, before)
    );
}

/// All sysctls below `net.` on a machine, except those of some links.
pub fn sysctls(machine: &Machine, but_of: &[String]) -> BTreeMap<String, String> {
    fn walk(directory: &Path, but_of: &[String], found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !but_of.iter().any(|link| entry.file_name().to_string_lossy() == **link) {
                    walk(&path, but_of, found);
                }
            } else if let Ok(value) = std::fs::read_to_string(&path) {
                found.insert(path.display().to_string(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    machine.inside(|| walk(Path::new("/proc/sys/net"), but_of, &mut found)).unwrap();
    // These are counters and random values, not settings.
    found.retain(|path, _| !path.contains("netfilter/nf_conntrack_count") && !path.contains("/random"));
    found
}

fn tables(machine: &Machine, ours: &[String]) -> Vec<String> {
    if Engines::find().is_err() {
        return Vec::new();
    }
    let is_own = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = |pair: &[&str]| pair[0] == "dev" && ours.iter().any(|link| link == pair[1]);
        let by_ashore = [["proto", "65"]].iter().any(|pair| words.windows(2).any(|there| there == pair));
        // The kernel adds these for a link itself, once the link is up and duplicate address detection runs.
        let by_itself = words.iter().any(|word| word.starts_with("fe80:") || *word == "ff00::/8");
        !by_ashore && !by_itself && !words.windows(2).any(is_ours)
    };
    let all = ["ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all"];
    let shown = all.map(|command| shown_on(machine, command)).concat();
    shown.lines().filter(is_own).map(|line| line.replace(" linkdown", "").trim().to_owned()).collect()
}
