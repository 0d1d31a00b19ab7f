//! The adoption of a network of an engine's own macvlan or ipvlan driver. The engine goes on making the links
//! and choosing the addresses. Ashore gives the host its way to the containers and watches the network.

use ashore_wire::conflict::Profile;

use crate::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
use crate::model::inventory::{Inventory, ListedNetwork};
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, LeaseOptions, LeaseWishes};
use crate::model::network::{EngineNetwork, Network, Subnet};
use crate::model::own_routes::OwnRoutes;
use crate::model::ownership::{EngineId, EngineKind};
use crate::model::state::{Change, State};
use crate::model::users::Allowed;
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use crate::net::link::engine_link_name;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::View;
use crate::net::option::PARENT;
use crate::net::range::Range;
use crate::net::remedy::Remedy;
use crate::net::text::list;
use crate::net::vlan::Membership;
use crate::rules::create::NetworkError;

/// Why a network cannot be adopted. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// The engine has no such network.
    #[error("{engine} has no network `{name}`; networks of its macvlan and ipvlan drivers: {present}")]
    NoNetwork {
        /// The kind of the engine.
        engine: EngineKind,
        /// The requested name.
        name: String,
        /// The networks that can be adopted.
        present: String,
    },
    /// The network has another driver.
    #[error(
        "network `{name}` is of the driver `{driver}`, and only networks of macvlan and ipvlan can be adopted"
    )]
    OtherDriver {
        /// The kind of the engine.
        engine: EngineKind,
        /// The network.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// The network is Ashore's own.
    #[error("network `{0}` is Ashore's own, and already has what adoption would add")]
    OwnNetwork(String),
    /// The driver made a dummy link as its parent.
    #[error("network `{name}` has no parent, so it is on no LAN")]
    NoParent {
        /// The kind of the engine.
        engine: EngineKind,
        /// The network.
        name: String,
    },
    /// An option has an unknown value.
    #[error("network `{name}` has {option}={value}, which Ashore does not know")]
    Option {
        /// The network.
        name: String,
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// The network was not adopted.
    #[error("network `{0}` is not adopted")]
    NotAdopted(String),
    /// The network does not fit the host or the other networks.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl AdoptError {
    /// The remedy, or `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            AdoptError::NoNetwork { engine, .. } => {
                Remedy::from("see them with: ").and_run(format!("{} network ls", engine.program()))
            }
            AdoptError::OtherDriver { engine, .. } => {
                let create = "network create -d ashore --ipam-driver ashore NAME";
                Remedy::from("make one that faces the LAN: ")
                    .and_run(format!("{} {create}", engine.program()))
            }
            AdoptError::NoParent { engine, .. } => {
                Remedy::from("create it again with ").and_set(&PARENT, "eth0").in_words_of(engine.front())
            }
            AdoptError::NotAdopted(_) => {
                Remedy::from("list the adopted networks with: ").and_run("ashore network ls")
            }
            AdoptError::Network(error) => return error.remedy(),
            AdoptError::OwnNetwork(_) | AdoptError::Option { .. } => return None,
        })
    }
}

impl ListedNetwork {
    /// Returns the network as Ashore sees it after adoption. Guides to Docker's macvlan reserve an auxiliary
    /// address named `host` for a shim made by hand. That address becomes the address of Ashore's shim.
    pub fn adopted(&self, engine: &EngineId, host_access: bool) -> Result<Network, AdoptError> {
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
                return Err(AdoptError::OtherDriver {
                    engine: engine.kind,
                    name: self.name.clone(),
                    driver: driver.to_owned(),
                });
            }
        };
        let parent = option("parent")
            .ok_or_else(|| AdoptError::NoParent { engine: engine.kind, name: self.name.clone() })?;
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
                kind: engine.kind,
                id: self.id.clone(),
                name: Some(self.name.clone()),
                of: Some(engine.id.clone()),
            }),
            parent: parent.parse::<IfName>().map_err(|_| unknown("parent", parent))?,
            vlan: None,
            kind,
            subnets: subnets.collect(),
            addressing: Addressing::default(),
            leasing: LeaseOptions::default(),
            ipv6: Ipv6Mode::default(),
            host_access,
            mdns: false,
            internal: self.internal,
            conflict: Profile::Off,
            mtu: None,
            bc_queue_len: None,
            bc_limit: None,
            port: std::collections::BTreeSet::new(),
            membership: Membership::default(),
            allowed: Allowed::default(),
            adopted: true,
        })
    }
}

/// The first twelve digits of an id, which is how the engine shortens it.
fn name_of(id: &str) -> NetworkName {
    let short: String = id.chars().take(12).collect();
    short.parse().unwrap_or_else(|_| "unnamed".parse().expect("a word is a name"))
}

impl State {
    /// The changes to the state when a network is adopted: the network and the containers that it has now.
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
            return Err(AdoptError::NoNetwork { engine: inventory.kind, name: name.to_owned(), present });
        };
        if self.network_of_engine(&listed.id).is_some_and(|network| !network.adopted) {
            return Err(AdoptError::OwnNetwork(listed.name.clone()));
        }
        let network = listed.adopted(&inventory.engine_id(), host_access)?;
        if network.host_access && network.kind.hides_from_host() {
            return Err(NetworkError::NoHostAccess(network.kind).into());
        }
        let mut changes = vec![Change::PutNetwork(network.clone())];
        changes.extend(self.with(&changes).followed(inventory, &network, now));
        Ok((network, changes))
    }

    /// Returns the network that an engine made in place of an adopted one that is gone: it has the same name,
    /// driver, subnets and parent. The parent may be given by any of its names.
    pub fn made_anew<'a>(
        &self,
        inventory: &'a Inventory,
        gone: &Network,
        host: &View,
    ) -> Option<&'a ListedNetwork> {
        let listed = inventory.networks.iter().find(|listed| listed.name == gone.label())?;
        let now = listed.adopted(&inventory.engine_id(), gone.host_access).ok()?;
        let nets = |network: &Network| network.subnets.iter().map(|subnet| subnet.net).collect::<Vec<_>>();
        let same_parent = host.resolved(&now.parent) == host.resolved(&gone.parent);
        let same = now.kind == gone.kind && same_parent && nets(&now) == nets(gone);
        (same && self.network_of_engine(&listed.id).is_none()).then_some(listed)
    }

    /// The changes that make the endpoints of an adopted network the ones that the engine lists.
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
                    wishes: LeaseWishes::default(),
                    learned: None,
                    lost: Vec::new(),
                    stand_ins: Vec::new(),
                    default_route: false,
                    own_routes: OwnRoutes::default(),
                    ownership: inventory.kind.into(),
                    placement: Placement::Engine {
                        id: Some(endpoint.to_owned()),
                        ifname: engine_link_name(&network.name, &container.name),
                        // The engine may not have said where the container is.
                        sandbox: container.sandbox.clone().or_else(|| Some(before?.sandbox()?.to_owned())),
                        inside: None,
                    },
                    stage: Stage::Attached,
                    since: before.map_or(now, |known| known.since),
                    tagged_as: None,
                    seen: before.and_then(|known| known.seen.clone()),
                    container: None,
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

    /// The changes to the state when an adopted network is left to its engine again.
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
