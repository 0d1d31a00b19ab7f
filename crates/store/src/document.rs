//! The state as a document: the output of `ashore state export`, the rows on disk, and the input of
//! migrations.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ashore_core::api::document::Document;
use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Source};
use ashore_core::model::identity::{Identity, Scope};
use ashore_core::model::machine::Fingerprint;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::Ownership;
use ashore_core::model::pool::{Pool, PoolKey};
use ashore_core::model::state::{Change, State};
use ashore_core::net::name::{EndpointKey, EndpointName};
use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The schema that this version writes. It increases by one with every change that an older reader would
/// misinterpret.
pub const SCHEMA: u32 = 6;

/// The migrations. Entry `n`, counted from 0, converts schema `n + 1` to the next. A migration is frozen once
/// it is released. It works only on the document, never on today's types.
///
/// Schema 2 adds leases. Nothing needs converting, but a daemon that does not know leases would assign their
/// addresses freely. Schema 3 adds addresses from advertised prefixes, which a daemon without lifetimes would
/// keep for ever. In schema 3, a pool's key also says that its addresses are leased. Schema 4 adds networks
/// in VLANs of bridges. A daemon that does not know these would put their endpoints on another LAN. Schema 5
/// adds containers of users other than root, whose names an earlier daemon cannot read, and containers of Podman and CNI
/// runtimes, which it would keep for ever. Schema 6 adds the machine that has the state, and endpoints that are to come
/// back. An earlier daemon does not know these rows, and would say that the file is damaged.
const MIGRATIONS: &[fn(&mut Rows)] = &[|_| {}, leased_in_key, |_| {}, |_| {}, |_| {}];

type Rows = BTreeMap<String, Value>;

/// Moves the setting that a pool's addresses are leased from a field beside the key into the key.
fn leased_in_key(rows: &mut Rows) {
    const LEASED: &str = ",dhcp";
    let is_old = |key: &String, pool: &Value| {
        key.starts_with("pool/") && !key.ends_with(LEASED) && pool["addressing"] == "dhcp"
    };
    let old: Vec<String> =
        rows.iter().filter(|(key, pool)| is_old(key, pool)).map(|(key, _)| key.clone()).collect();
    for key in old {
        let Some(mut pool) = rows.remove(&key) else { continue };
        if let Some(pool) = pool.as_object_mut() {
            pool.remove("addressing");
            let text = pool["key"].as_str().unwrap_or_default().to_owned();
            pool.insert("key".into(), (text + LEASED).into());
        }
        rows.insert(key + LEASED, pool);
    }
}

const SCHEMA_KEY: &str = "schema";
pub(crate) const SEED_KEY: &str = "seed";
const MACHINE_KEY: &str = "machine";

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A later version wrote it.
    #[error(
        "it has schema {found}, and this version of Ashore reads up to {SCHEMA}; use the version that wrote it"
    )]
    FromTheFuture {
        /// The document's schema.
        found: u32,
    },
    /// A schema number that was never used.
    #[error("schema {0} never existed")]
    NoSuchSchema(u32),
    /// A row cannot be read.
    #[error("the row `{key}` is invalid: {source}")]
    Row {
        /// The row's key.
        key: String,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// A row of a kind that this schema does not have.
    #[error("the row `{0}` has an unknown kind")]
    UnknownRow(String),
    /// The seed is missing.
    #[error("the seed from which MACs are derived is missing")]
    NoSeed,
    /// An endpoint is on a network that does not exist.
    #[error("the endpoint `{endpoint}` is on network `{network}`, which is missing")]
    Orphan {
        /// The endpoint.
        endpoint: String,
        /// The network.
        network: String,
    },
}

/// The row for a change: its key, and its value. The value is `None` if the row is deleted.
pub(crate) fn row(change: &Change) -> Row {
    let put = |key, value: Value| Row { key, value: Some(value.to_string()) };
    let del = |key| Row { key, value: None };
    match change {
        Change::PutNetwork(network) => put(network_key(network.name.as_str()), json(network)),
        Change::DelNetwork(name) => del(network_key(name.as_str())),
        Change::PutEndpoint(endpoint) => put(endpoint_key(endpoint), json(endpoint)),
        Change::DelEndpoint((network, name)) => del(format!("endpoint/{network}/{}", name.in_path())),
        Change::PutIdentity(scope, name, identity) => {
            put(identity_key(scope, name), json(&IdentityRow { scope, name, identity }))
        }
        Change::DelIdentity(scope, name) => del(identity_key(scope, name)),
        Change::PutPool(pool) => put(pool_key(&pool.key), json(pool)),
        Change::DelPool(key) => del(pool_key(key)),
        Change::PutReturning(endpoint) => put(returning_key(&endpoint.key()), json(endpoint)),
        Change::DelReturning(key) => del(returning_key(key)),
        Change::PutMachine(machine) => put(MACHINE_KEY.to_owned(), json(machine)),
    }
}

#[derive(Serialize)]
struct IdentityRow<'a> {
    scope: &'a Scope,
    name: &'a EndpointName,
    #[serde(flatten)]
    identity: &'a Identity,
}

#[derive(Deserialize)]
struct OwnedIdentityRow {
    scope: Scope,
    name: EndpointName,
    #[serde(flatten)]
    identity: Identity,
}

fn network_key(name: &str) -> String {
    format!("network/{name}")
}

fn endpoint_key(endpoint: &Endpoint) -> String {
    format!("endpoint/{}/{}", endpoint.network, endpoint.name.in_path())
}

fn returning_key((network, name): &EndpointKey) -> String {
    format!("returning/{network}/{}", name.in_path())
}

fn identity_key(scope: &Scope, name: &EndpointName) -> String {
    // The name comes last because, unlike a scope, it cannot contain a slash here.
    format!("identity/{}/{}", scope.0, name.in_path())
}

fn pool_key(key: &PoolKey) -> String {
    format!("pool/{key}")
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("the state's types have string keys and no failing serialisers")
}

/// Converts a state to a document.
pub(crate) fn of_state(state: &State) -> Document {
    let mut rows = Rows::from([(SEED_KEY.to_owned(), json(state.seed))]);
    let changes = (state.networks.values().cloned().map(Change::PutNetwork))
        .chain(state.endpoints.values().cloned().map(Change::PutEndpoint))
        .chain(state.pools.values().cloned().map(Change::PutPool))
        .chain(state.returning.values().cloned().map(Change::PutReturning))
        .chain(state.machine.map(Change::PutMachine))
        .chain(state.identities.iter().map(|((scope, name), identity)| {
            Change::PutIdentity(scope.clone(), name.clone(), identity.clone())
        }));
    for change in changes {
        let Row { key, value } = row(&change);
        if let Some(value) = value {
            rows.insert(key, serde_json::from_str(&value).expect("it was JSON a moment ago"));
        }
    }
    Document { schema: SCHEMA, rows }
}

pub(crate) fn to_rows(document: &Document) -> impl Iterator<Item = (String, String)> {
    let schema = (SCHEMA_KEY.to_owned(), document.schema.to_string());
    std::iter::once(schema).chain(document.rows.iter().map(|(key, value)| (key.clone(), value.to_string())))
}

pub(crate) fn from_rows(rows: Vec<(String, String)>) -> Document {
    let mut document = Document { schema: 0, rows: Rows::new() };
    for (key, text) in rows {
        // A row that is not JSON is kept as text. It is refused with its key when it is parsed.
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if key == SCHEMA_KEY {
            document.schema = value.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        } else {
            document.rows.insert(key, value);
        }
    }
    document
}

/// Converts a document to the current schema.
pub(crate) fn migrated(document: Document) -> Result<Document, DocumentError> {
    migrated_by(document, MIGRATIONS)
}

pub(crate) fn migrated_by(
    mut document: Document,
    migrations: &[fn(&mut Rows)],
) -> Result<Document, DocumentError> {
    let newest = migrations.len() + 1;
    let done = usize::try_from(document.schema).ok().and_then(|schema| schema.checked_sub(1));
    let Some(done) = done else { return Err(DocumentError::NoSuchSchema(document.schema)) };
    if done >= newest {
        return Err(DocumentError::FromTheFuture { found: document.schema });
    }
    for migrate in &migrations[done..] {
        migrate(&mut document.rows);
        document.schema += 1;
    }
    Ok(document)
}

/// Reads a document, which may have an older schema.
pub fn state_of(document: Document) -> Result<State, DocumentError> {
    to_state(&migrated(document)?)
}

/// Converts a document to the state that it describes.
pub(crate) fn to_state(document: &Document) -> Result<State, DocumentError> {
    let seed = document.rows.get(SEED_KEY).ok_or(DocumentError::NoSeed)?;
    let mut state = State::new(read(SEED_KEY, seed)?);
    for (key, value) in document.rows.iter().filter(|(key, _)| *key != SEED_KEY) {
        let change = match key.split_once('/').map(|(kind, _)| kind) {
            Some("network") => Change::PutNetwork(read::<Network>(key, value)?),
            Some("endpoint") => Change::PutEndpoint(read::<Endpoint>(key, value)?),
            Some("pool") => Change::PutPool(read::<Pool>(key, value)?),
            Some("returning") => Change::PutReturning(read::<Endpoint>(key, value)?),
            None if key == MACHINE_KEY => Change::PutMachine(read::<Fingerprint>(key, value)?),
            Some("identity") => {
                let OwnedIdentityRow { scope, name, identity } = read(key, value)?;
                Change::PutIdentity(scope, name, identity)
            }
            _ => return Err(DocumentError::UnknownRow(key.clone())),
        };
        state.apply(change);
    }
    read_ownership(&mut state);
    read_placeholders(&mut state);
    match state.endpoints.values().find(|endpoint| state.network_of(endpoint).is_none()) {
        Some(orphan) => Err(DocumentError::Orphan {
            endpoint: orphan.name.to_string(),
            network: orphan.network.to_string(),
        }),
        None => Ok(state),
    }
}

fn read<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, DocumentError> {
    serde_json::from_value(value.clone()).map_err(|source| DocumentError::Row { key: key.to_owned(), source })
}

/// Derives what older versions did not store as [`Ownership`]. They had Docker's endpoints and those of the
/// command line, and Docker moves every link itself.
fn read_ownership(state: &mut State) {
    state.endpoints.change_all(|_, endpoint| {
        if endpoint.netns().is_some() && endpoint.ownership == Ownership::Docker {
            endpoint.ownership = Ownership::Cli;
        }
    });
}

/// Derives what older versions did not store as [`Chosen`] and [`ByUser`]. In those versions, an endpoint
/// whose container's name was unknown was named after its address. If the container's name was learned later,
/// the tag of its link kept the old name. Such names were remembered like any other. Now they are not.
fn read_placeholders(state: &mut State) {
    let is_placeholder = |name: &EndpointName, addresses: &[IpAddr]| {
        addresses.iter().any(|ip| EndpointName::of_unnamed(*ip) == *name)
    };
    let State { seed, networks, endpoints, identities, .. } = state;
    endpoints.change_all(|(network, _), endpoint| {
        let addresses: Vec<IpAddr> = endpoint.addresses.iter().map(IpNet::addr).collect();
        let known = endpoint.chosen != Chosen::ForName || endpoint.netns().is_some();
        let tagged = endpoint.tagged_as.as_ref().is_some_and(|name| is_placeholder(name, &addresses));
        endpoint.chosen = match is_placeholder(&endpoint.name, &addresses) {
            _ if known => return,
            true => Chosen::Unnamed,
            false if tagged => Chosen::StandIn,
            false => return,
        };
        // Ashore chose the MAC if it is derived from the endpoint's name at that time, or if a lease was
        // requested with it.
        let scope = networks.get(network).map(State::scope);
        let derived = |mac: Mac| {
            let scope = scope.as_ref();
            scope.is_some_and(|scope| (0..=u8::MAX).any(|n| seed.mac(scope, endpoint.tag_name(), n) == mac))
        };
        let asked_with = |mac: Mac| endpoint.lease.as_ref().is_some_and(|record| record.mac == mac);
        let mac = endpoint.mac.is_some_and(|mac| !derived(mac) && !asked_with(mac));
        let addresses = if endpoint.source == Source::Fixed { addresses } else { Vec::new() };
        endpoint.by_user = ByUser { mac, addresses, ..ByUser::default() };
    });
    identities.retain(|(_, name), identity| !is_placeholder(name, &identity.addresses));
}

/// A row that holds one object of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}
