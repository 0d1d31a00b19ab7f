//! Adopting a network of an engine's own macvlan or ipvlan driver: the engine goes on making its links and choosing its
//! addresses, Ashore gives the host its way to the containers and keeps watch.

use ashore_wire::conflict::Profile;

use crate::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
use crate::model::inventory::{Inventory, ListedNetwork};
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, LeaseOptions};
use crate::model::network::{EngineNetwork, Network, Subnet};
use crate::model::state::{Change, State};
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use crate::net::link::engine_link_name;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::View;
use crate::net::range::Range;
use crate::net::text::list;
use crate::net::vlan::Membership;
use crate::rules::create::NetworkError;

/// Why a network cannot be adopted. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// The engine has no such network.
    #[error("Docker has no network `{name}`; of its macvlan and ipvlan drivers it has {present}")]
    NoNetwork {
        /// As asked for.
        name: String,
        /// What could be adopted.
        present: String,
    },
    /// Another driver's.
    #[error(
        "network `{name}` is of the driver `{driver}`, and only those of macvlan and ipvlan can be adopted"
    )]
    OtherDriver {
        /// The network.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// Ashore's own.
    #[error("network `{0}` is Ashore's own, and has what an adopted one would get")]
    OwnNetwork(String),
    /// The driver made a dummy link for it.
    #[error("network `{0}` has no parent, so it is on no LAN")]
    NoParent(String),
    /// An option that does not read.
    #[error("network `{name}` has {option}={value}, which Ashore does not know")]
    Option {
        /// The network.
        name: String,
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// It was not adopted.
    #[error("network `{0}` is not adopted")]
    NotAdopted(String),
    /// It does not fit the host or the other networks.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl AdoptError {
    /// What helps.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            AdoptError::NoNetwork { .. } => "see them with: docker network ls".into(),
            AdoptError::OtherDriver { .. } => {
                "make one that faces the LAN: docker network create -d ashore --ipam-driver ashore NAME"
                    .into()
            }
            AdoptError::NoParent(_) => "make it anew with -o parent=eth0".into(),
            AdoptError::NotAdopted(_) => "see those that are with: ashore network ls".into(),
            AdoptError::Network(error) => return error.hint(),
            AdoptError::OwnNetwork(_) | AdoptError::Option { .. } => return None,
        })
    }
}

impl ListedNetwork {
    /// The network as Ashore sees it once it is adopted. The `host` among its auxiliary addresses, which the guides to
    /// Docker's macvlan reserve for a shim made by hand, becomes the numbered shim's.
    pub fn adopted(&self, engine: &str, host_access: bool) -> Result<Network, AdoptError> {
        let option = |key: &str| self.options.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let unknown = |option: &'static str, value: &str| AdoptError::Option {
            name: self.name.clone(),
            option,
            value: value.to_owned(),
        };
        let kind: LinkKind = match self.driver.as_str() {
            "macvlan" => match option("macvlan_mode") {
                None => LinkKind::Macvlan(MacvlanMode::Bridge),
                Some(mode) => format!("macvlan:{mode}").parse().map_err(|_| unknown("macvlan_mode", mode))?,
            },
            "ipvlan" => match option("ipvlan_mode") {
                None => LinkKind::Ipvlan(IpvlanMode::L2),
                Some(mode) => format!("ipvlan:{mode}").parse().map_err(|_| unknown("ipvlan_mode", mode))?,
            },
            driver => {
                return Err(AdoptError::OtherDriver { name: self.name.clone(), driver: driver.to_owned() });
            }
        };
        let parent = option("parent").ok_or_else(|| AdoptError::NoParent(self.name.clone()))?;
        let subnets = self.subnets.iter().map(|listed| Subnet {
            net: listed.net.trunc(),
            range: listed.range.as_ref().map(Range::of_net),
            gateway: listed.gateway,
            aux: listed.aux.clone(),
            chosen: false,
        });
        Ok(Network {
            name: name_of(&self.id),
            engine: Some(EngineNetwork {
                id: self.id.clone(),
                name: Some(self.name.clone()),
                of: Some(engine.to_owned()),
            }),
            parent: parent.parse::<IfName>().map_err(|_| unknown("parent", parent))?,
            vlan: None,
            kind,
            subnets: subnets.collect(),
            addressing: Addressing::default(),
            leasing: LeaseOptions::default(),
            ipv6: Ipv6Mode::default(),
            host_access,
            internal: self.internal,
            conflict: Profile::Off,
            mtu: None,
            bc_queue_len: None,
            port: std::collections::BTreeSet::new(),
            membership: Membership::default(),
            adopted: true,
        })
    }
}

/// Twelve digits of an id, as the engine itself shortens it.
fn name_of(id: &str) -> NetworkName {
    let short: String = id.chars().take(12).collect();
    short.parse().unwrap_or_else(|_| "unnamed".parse().expect("a word is a name"))
}

impl State {
    /// What becomes of the state when a network is adopted: the network, and its containers of the moment.
    pub fn adopting(
        &self,
        inventory: &Inventory,
        name: &str,
        host_access: bool,
        now: u64,
    ) -> Result<(Network, Vec<Change>), AdoptError> {
        let Some(listed) = inventory.network_called(name) else {
            let could =
                inventory.networks.iter().filter(|n| ["macvlan", "ipvlan"].contains(&n.driver.as_str()));
            let present = list(could.map(|network| format!("`{}`", network.name)));
            return Err(AdoptError::NoNetwork { name: name.to_owned(), present });
        };
        if self.network_of_engine(&listed.id).is_some_and(|network| !network.adopted) {
            return Err(AdoptError::OwnNetwork(listed.name.clone()));
        }
        let network = listed.adopted(&inventory.engine, host_access)?;
        if network.host_access && network.kind.hides_from_host() {
            return Err(NetworkError::NoHostAccess(network.kind).into());
        }
        let mut changes = vec![Change::PutNetwork(network.clone())];
        changes.extend(self.with(&changes).followed(inventory, &network, now));
        Ok((network, changes))
    }

    /// The network that an engine has made anew in the place of one that was adopted: of the same name and driver, on the same parent,
    /// whichever of its names was said, and subnets.
    pub fn made_anew<'a>(
        &self,
        inventory: &'a Inventory,
        gone: &Network,
        host: &View,
    ) -> Option<&'a ListedNetwork> {
        let listed = inventory.networks.iter().find(|listed| listed.name == gone.label())?;
        let now = listed.adopted(&inventory.engine, gone.host_access).ok()?;
        let nets = |network: &Network| network.subnets.iter().map(|subnet| subnet.net).collect::<Vec<_>>();
        let same_parent = host.resolved(&now.parent) == host.resolved(&gone.parent);
        let same = now.kind == gone.kind && same_parent && nets(&now) == nets(gone);
        (same && self.network_of_engine(&listed.id).is_none()).then_some(listed)
    }

    /// What becomes of an adopted network's endpoints: they are those that the engine has.
    pub fn followed(&self, inventory: &Inventory, network: &Network, now: u64) -> Vec<Change> {
        let id = network.engine.as_ref().map_or("", |engine| engine.id.as_str());
        let on_it = inventory.endpoints().filter(|(_, there, _)| there.network == id);
        let listed: Vec<Endpoint> = on_it
            .map(|(container, there, endpoint)| {
                let key = (network.name.clone(), container.name.clone());
                let before = self.endpoints.get(&key).filter(|known| known.engine_id() == Some(endpoint));
                Endpoint {
                    network: network.name.clone(),
                    name: container.name.clone(),
                    mac: there.mac.filter(|_| !network.kind.shares_parents_mac()),
                    addresses: there.addresses.clone(),
                    source: Source::Engine,
                    chosen: Chosen::default(),
                    by_user: ByUser::default(),
                    lease: None,
                    lease6: None,
                    learned: None,
                    lost: Vec::new(),
                    stand_ins: Vec::new(),
                    default_route: false,
                    placement: Placement::Engine {
                        id: Some(endpoint.to_owned()),
                        ifname: engine_link_name(&network.name, &container.name),
                        // The engine may not have said where.
                        sandbox: container.sandbox.clone().or_else(|| Some(before?.sandbox()?.to_owned())),
                        inside: None,
                    },
                    stage: Stage::Attached,
                    since: before.map_or(now, |known| known.since),
                    tagged_as: None,
                    seen: before.and_then(|known| known.seen.clone()),
                }
            })
            .collect();
        let gone =
            self.endpoints_on(&network.name).filter(|known| !listed.iter().any(|e| e.name == known.name));
        let mut changes: Vec<Change> =
            gone.map(|known| Change::DelEndpoint((known.network.clone(), known.name.clone()))).collect();
        let new = listed.into_iter().filter(|endpoint| {
            self.endpoints.get(&(endpoint.network.clone(), endpoint.name.clone())) != Some(endpoint)
        });
        changes.extend(new.map(Change::PutEndpoint));
        changes
    }

    /// What becomes of the state when an adopted network is left to its engine again.
    pub fn unadopting(&self, name: &str) -> Result<Vec<Change>, AdoptError> {
        let called = |network: &&Network| {
            network.adopted
                && (network.label() == name
                    || network.name.as_str() == name
                    || network.engine.as_ref().is_some_and(|engine| engine.id == name))
        };
        let network = self.networks.values().find(called);
        let network = network.ok_or_else(|| AdoptError::NotAdopted(name.to_owned()))?;
        let endpoints = self.endpoints_on(&network.name);
        let mut changes: Vec<Change> =
            endpoints.map(|e| Change::DelEndpoint((e.network.clone(), e.name.clone()))).collect();
        changes.push(Change::DelNetwork(network.name.clone()));
        Ok(changes)
    }
}
