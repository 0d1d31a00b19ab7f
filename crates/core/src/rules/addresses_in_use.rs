//! What is known about the LAN, besides the state, when an address is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ashore_wire::Mac;

use crate::model::network::Network;
use crate::model::owner::Owner;
use crate::model::state::State;
use crate::net::link::Tag;
use crate::net::name::IfName;
use crate::net::observed::{Link, View};

/// The number of answers after which a request gives up. Most likely one machine answers for every address.
pub(crate) const MOST_ANSWERS: usize = 256;

/// What is known besides the state when an address is chosen.
#[derive(Debug, Clone, Copy)]
pub struct AddressesInUse<'a> {
    /// The host's links and addresses.
    pub host: &'a View,
    /// Addresses that machines were heard to have. Any machine on the LAN can claim any address. So a claim
    /// is a reason to prefer other addresses and to probe this one first, but not a reason to refuse it.
    pub heard: &'a BTreeMap<IpAddr, Hearsay>,
    /// Addresses that this request has probed, with the machines that answered.
    pub answered: &'a BTreeMap<IpAddr, Mac>,
    /// Addresses that another attach is about to take.
    pub held: &'a BTreeSet<IpAddr>,
}

impl AddressesInUse<'_> {
    /// Whether the request gives up because too many addresses were answered for.
    pub(crate) fn is_given_up(&self) -> bool {
        self.answered.len() >= MOST_ANSWERS
    }
}

/// A claim on an address that was heard without a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearsay {
    /// The machine that claims it.
    pub mac: Mac,
    /// How long ago the claim was heard.
    pub age: Duration,
}

/// A machine that claims an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its MAC.
    pub mac: Mac,
    /// What the machine is, if this host knows it.
    pub known_as: Option<String>,
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.known_as {
            Some(known_as) => write!(f, "{} ({known_as})", self.mac),
            None => self.mac.fmt(f),
        }
    }
}

impl State {
    /// The machine that has a MAC, and what it is if this host knows it.
    pub fn claimant(&self, mac: Mac, host: &View) -> Claimant {
        Claimant { mac, known_as: self.known_as(mac, host) }
    }

    /// What has a MAC, if it is an endpoint or a link of this host. Otherwise `None`.
    pub(crate) fn known_as(&self, mac: Mac, host: &View) -> Option<String> {
        let endpoint = self.mac_holder(mac).map(|there| {
            let label = self.network_of(there).map_or(there.network.as_str(), Network::label);
            format!("the endpoint `{}` of network `{label}`", there.name)
        });
        // A link that an engine has given back is deleted a moment later or with the next plan, and has the
        // MAC until then.
        let ours = |link: &&Link| {
            matches!(self.owner_on_host(host, link), Some(Owner::Of(Tag::Endpoint(..)) | Owner::Gone))
        };
        let link = host.links.iter().filter(|link| link.mac == Some(mac)).find(|link| !ours(link));
        let is_shared = |parent: &IfName| {
            let mut networks = self.networks.values();
            networks.any(|network| network.parent == *parent && network.kind.shares_parents_mac())
        };
        let told = |link: &Link| {
            let name = &link.name;
            let or = if is_shared(name) { ", or a container that shares its MAC" } else { "" };
            format!("this host's `{name}`{or}")
        };
        endpoint.or_else(|| link.map(told))
    }
}
