//! Whether the parents are there and pass frames.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;

const CHECK: &str = "parent";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |network: &crate::model::network::Network| {
        let parent = facts.host.link(network.lower_device(facts.host))?;
        let about = About { parent: Some(parent.name.clone()), ..About::default() };
        let is_fine = network.trouble_of_parent(facts.host).is_none() && network.is_passing(facts.host);
        is_fine.then(|| {
            Finding::fine(CHECK, about, format!("the parent `{}` is up and has a carrier", parent.name))
        })
    };
    facts.parents().into_values().filter_map(of).collect()
}
