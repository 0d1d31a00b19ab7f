//! A container engine that the test plays. The test decides whether it tells for whom it asks, and when it
//! lists its containers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::engine_call::{EngineCall, Labels, Owner, Preparation, Reservation};
use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::inventory::{Inventory, ListedContainer, ListedNetwork, Membership};
use ashore_core::model::lease::Addressing;
use ashore_core::model::ownership::EngineKind;
use ashore_core::model::pool::PoolKey;
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::wrong_identity::WrongIdentity;
use ashore_wire::Mac;
use ipnet::IpNet;

use super::Home;

/// The engine, with its network `lan`.
pub struct Engine<'a> {
    home: &'a Home,
    kind: EngineKind,
    /// Its id, and its id of the network.
    id: &'static str,
    network: &'static str,
    pool: PoolKey,
    starts: std::cell::Cell<u32>,
}

/// A running container.
#[derive(Debug, Clone)]
pub struct Running {
    pub id: String,
    pub name: String,
    pub address: IpNet,
    pub mac: Mac,
}

impl<'a> Engine<'a> {
    pub fn begin(home: &'a Home, range: &str) -> Engine<'a> {
        Engine::of_kind(EngineKind::Docker, home, range)
    }

    /// An engine of a kind. Two kinds may stand on one host.
    pub fn of_kind(kind: EngineKind, home: &'a Home, range: &str) -> Engine<'a> {
        let (id, network) = match kind {
            EngineKind::Docker => ("engine", "0123456789ab"),
            EngineKind::Podman | EngineKind::Cni => ("other engine", "fedcba987654"),
        };
        let spec: NetworkSpec = serde_json::from_value(serde_json::json!({
            "name": network, "engine": { "kind": kind, "id": network, "name": "lan", "of": id }, "parent": "eth0",
            "subnets": ["192.168.88.0/24"], "ranges": [range], "gateways": ["192.168.88.1"],
        }))
        .unwrap();
        let pool = PoolKey {
            net: "192.168.88.0/24".parse().unwrap(),
            range: Some(range.parse().unwrap()),
            addressing: Addressing::Range,
        };
        let engine = Engine { home, kind, id, network, pool, starts: std::cell::Cell::new(0) };
        engine.ask(EngineCall::CreateNetwork(spec)).unwrap();
        engine
    }

    /// Greets the daemon, as an engine does that has restarted.
    pub fn restart(&self) {
        self.ask(EngineCall::Begin(self.kind)).unwrap();
    }

    pub fn ask(&self, stage: EngineCall) -> Result<Reply, Refusal> {
        self.home.ask(&Request::EngineCall(stage))
    }

    /// Starts a container in a new sandbox, or connects it again in the sandbox of an earlier start. `told`
    /// decides whether the engine says for whom it asks.
    fn attach(&self, name: &str, sandbox: u32, told: bool, ip: Option<IpAddr>, mac: Option<Mac>) -> Running {
        let number = self.starts.get();
        self.starts.set(number + 1);
        let owner = self.owner(told.then_some(name));
        let address = self.reserve(Some(owner), ip).unwrap();
        let id = format!("{:?} endpoint{number}", self.kind);
        let mac = self.prepare(&id, address, mac);
        let sandbox = Some(format!("/run/{:?}/netns/{name}-{sandbox}", self.kind).into());
        self.ask(EngineCall::Join { id: id.clone(), sandbox }).unwrap();
        Running { id, name: name.to_owned(), address, mac }
    }

    /// What the engine tells about the container for which it asks.
    pub fn owner(&self, name: Option<&str>) -> Owner {
        Owner {
            formerly: None,
            network: self.network.into(),
            network_name: Some("lan".into()),
            name: name.map(|name| name.parse().unwrap()),
            mac: None,
            labels: Labels::default(),
        }
    }

    /// Reserves an address.
    pub fn reserve(&self, owner: Option<Owner>, ip: Option<IpAddr>) -> Result<IpNet, Refusal> {
        let (engine, pool, chosen) = (self.kind, self.pool, Vec::new());
        let requested = Reservation { engine, asked_before: None, pool, ip, gateway: false, owner, chosen };
        match self.ask(EngineCall::Reserve(requested))? {
            Reply::Address(address) => Ok(address),
            other => panic!("{other:?}"),
        }
    }

    /// Makes an endpoint with a reserved address.
    pub fn prepare(&self, id: &str, address: IpNet, mac: Option<Mac>) -> Mac {
        let requested = Preparation {
            network: self.network.into(),
            id: id.to_owned(),
            addresses: vec![address],
            mac,
            ifname: None,
            owner: None,
            ports: ashore_core::net::published::Ports::default(),
        };
        match self.ask(EngineCall::Prepare(requested)).unwrap() {
            Reply::Prepared { mac: Some(mac) } => mac,
            other => panic!("{other:?}"),
        }
    }

    /// Announces that the next request is for this container.
    pub fn expect(&self, name: &str) {
        let (network, name) = (self.network.into(), name.parse().unwrap());
        self.ask(EngineCall::Expect { network, name }).unwrap();
    }

    /// Starts a container. The engine tells its name.
    pub fn start(&self, name: &str) -> Running {
        self.start_with(name, None, None)
    }

    /// Starts a container with an address and a MAC that its user chose.
    pub fn start_with(&self, name: &str, ip: Option<IpAddr>, mac: Option<Mac>) -> Running {
        self.attach(name, self.starts.get(), true, ip, mac)
    }

    /// Starts a container without telling its name, as when several start at once.
    pub fn start_unnamed(&self, name: &str, ip: Option<IpAddr>, mac: Option<Mac>) -> Running {
        self.attach(name, self.starts.get(), false, ip, mac)
    }

    /// Connects a container again in the sandbox of an earlier `start`.
    pub fn connect(&self, name: &str, start: u32, told: bool, mac: Option<Mac>) -> Running {
        self.attach(name, start, told, None, mac)
    }

    /// The number of starts so far.
    pub fn starts(&self) -> u32 {
        self.starts.get()
    }

    pub fn stop(&self, running: &Running) {
        self.ask(EngineCall::Leave { id: running.id.clone() }).unwrap();
        self.ask(EngineCall::Delete { id: running.id.clone() }).unwrap();
        self.ask(EngineCall::Free { pool: self.pool, ip: running.address.addr() }).unwrap();
    }

    pub fn stop_all<'b>(&self, running: impl Iterator<Item = &'b Running>) {
        for one in running {
            self.stop(one);
        }
    }

    /// Lists one container that is created but not started, with the address that its user chose.
    pub fn list_created(&self, name: &str, ip: IpAddr) {
        let there = Membership {
            network: self.network.into(),
            endpoint: None,
            addresses: Vec::new(),
            mac: None,
            chosen: vec![ip],
        };
        let container = ListedContainer {
            formerly: None,
            id: format!("container-{name}"),
            name: name.parse().unwrap(),
            memberships: vec![there],
            sandbox: None,
        };
        self.take(Vec::new(), vec![container]);
    }

    /// Lists the running containers. Returns, in groups, the containers that must be connected again.
    pub fn list(&self, running: &[&Running]) -> Vec<Vec<WrongIdentity>> {
        let container = |one: &&Running| ListedContainer {
            formerly: None,
            id: format!("container-{}", one.name),
            name: one.name.parse().unwrap(),
            memberships: vec![Membership {
                network: self.network.into(),
                endpoint: Some(one.id.clone()),
                addresses: vec![one.address],
                mac: Some(one.mac),
                chosen: Vec::new(),
            }],
            sandbox: None,
        };
        self.take(vec![self.lan()], running.iter().map(container).collect())
    }

    /// Its network `lan`, as its lists show it.
    fn lan(&self) -> ListedNetwork {
        ListedNetwork {
            id: self.network.into(),
            name: "lan".into(),
            driver: "ashore".into(),
            internal: false,
            misuses_ipam: false,
            options: BTreeMap::new(),
            subnets: Vec::new(),
        }
    }

    /// Sends a list.
    pub fn take(
        &self,
        networks: Vec<ListedNetwork>,
        containers: Vec<ListedContainer>,
    ) -> Vec<Vec<WrongIdentity>> {
        let inventory = Inventory { kind: self.kind, engine: self.id.into(), networks, containers };
        match self.home.ask(&Request::TakeInventory(inventory)).unwrap() {
            Reply::Inventoried { wrong_identities, .. } => wrong_identities,
            other => panic!("{other:?}"),
        }
    }

    /// The result of `list` as names.
    pub fn wrong_identities(&self, running: &[&Running]) -> Vec<Vec<String>> {
        let names = |group: &Vec<WrongIdentity>| {
            let mut names: Vec<String> = group.iter().map(|one| one.name.to_string()).collect();
            names.sort_unstable();
            names
        };
        let mut groups: Vec<Vec<String>> = self.list(running).iter().map(names).collect();
        groups.sort_unstable();
        groups
    }
}
