use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
use ashore_core::model::identity::{Bearer, Identity, Scope};
use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Addressing, LeaseOptions, LeaseWishes};
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::ownership::Ownership;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::EndpointName;
use ashore_core::net::vlan::{Membership, Vlan};

use super::*;

mod way_back;

fn seed() -> Seed {
    Seed(*b"0123456789abcdef")
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ashore-store-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    path
}

fn changes() -> Vec<Change> {
    let subnet = Subnet {
        net: "192.168.88.0/24".parse().unwrap(),
        range: Some("192.168.88.200-192.168.88.210".parse().unwrap()),
        gateway: Some("192.168.88.1".parse().unwrap()),
        aux: [("host".to_owned(), "192.168.88.222".parse().unwrap())].into(),
        chosen: false,
    };
    let network = Network {
        name: "lan".parse().unwrap(),
        engine: None,
        parent: "eth0".parse().unwrap(),
        vlan: Some(Vlan { lower: "eth0".parse().unwrap(), id: 200.try_into().unwrap(), gvrp: true }),
        kind: LinkKind::default(),
        subnets: vec![subnet],
        addressing: Addressing::default(),
        leasing: LeaseOptions::default(),
        ipv6: Ipv6Mode::default(),
        host_access: true,
        mdns: false,
        internal: false,
        conflict: ashore_wire::conflict::Profile::Quick,
        mtu: None,
        bc_queue_len: None,
        bc_limit: None,
        port: std::collections::BTreeSet::new(),
        membership: Membership::default(),
        allowed: ashore_core::model::users::Allowed::default(),
        adopted: false,
    };
    let endpoint = Endpoint {
        network: "lan".parse().unwrap(),
        name: "web".parse().unwrap(),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        addresses: vec!["192.168.88.200/24".parse().unwrap()],
        source: Source::Range,
        chosen: Chosen::default(),
        by_user: ByUser::default(),
        lease: None,
        lease6: None,
        wishes: LeaseWishes::default(),
        learned: None,
        lost: Vec::new(),
        stand_ins: Vec::new(),
        default_route: true,
        own_routes: OwnRoutes::default(),
        ownership: Ownership::Docker,
        placement: Placement::Engine {
            id: Some("abc".into()),
            ifname: "ash0".parse().unwrap(),
            sandbox: None,
            inside: Some("lan0".parse().unwrap()),
        },
        stage: Stage::Attached,
        since: 17,
        tagged_as: None,
        seen: None,
        container: None,
    };
    let identity = Identity {
        made: Vec::new(),
        mac: endpoint.mac,
        mac_by_user: Some(true),
        addresses: vec!["192.168.88.200".parse().unwrap()],
        asked: Vec::new(),
        meanwhile: Vec::new(),
        leased: None,
        lease: None,
        lease6: None,
        last_used: 17,
        used: 3,
        client_id: None,
        bearer: Bearer::Container,
    };
    vec![
        Change::PutNetwork(network),
        Change::PutEndpoint(endpoint),
        Change::PutIdentity(Scope("a/b:c".into()), "web".parse().unwrap(), identity),
    ]
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let directory = directory("reopen");
    let mut store = Store::open(&directory, seed()).unwrap();
    store.commit(changes()).unwrap();
    let before = store.state().clone();
    drop(store);
    // The second call's seed is not used, because the state already has one.
    let store = Store::open(&directory, Seed([0; 16])).unwrap();
    assert_eq!((store.state(), store.state().seed), (&before, seed()));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_was_deferred_is_in_memory_at_once_and_on_the_disk_with_the_next_commit() {
    let directory = directory("deferred");
    let mut store = Store::open(&directory, seed()).unwrap();
    let [first, rest @ ..] = &changes()[..] else { panic!("there are changes") };
    store.defer(vec![first.clone()]);
    let mut expected = State::new(seed());
    expected.apply(first.clone());
    assert_eq!(*store.state(), expected);
    drop(store);
    // Dropped without a commit, as after a kill.
    let mut store = Store::open(&directory, seed()).unwrap();
    assert_eq!(*store.state(), State::new(seed()));
    store.defer(vec![first.clone()]);
    store.commit(rest.to_vec()).unwrap();
    let before = store.state().clone();
    drop(store);
    let mut store = Store::open(&directory, seed()).unwrap();
    assert_eq!(*store.state(), before);
    let gone = Change::DelEndpoint(before.endpoints.keys().next().unwrap().clone());
    store.defer(vec![gone]);
    store.flush().unwrap();
    drop(store);
    assert!(Store::open(&directory, seed()).unwrap().state().endpoints.is_empty());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_export_imported_elsewhere_is_the_same_state() {
    let (one, other) = (directory("export"), directory("import"));
    let mut store = Store::open(&one, seed()).unwrap();
    store.commit(changes()).unwrap();
    let text = serde_json::to_string(&store.export()).unwrap();
    let mut copy = Store::open(&other, Seed([0; 16])).unwrap();
    copy.replace(document::state_of(serde_json::from_str(&text).unwrap()).unwrap()).unwrap();
    assert_eq!(copy.state(), store.state());
    drop(copy);
    assert_eq!(Store::open(&other, seed()).unwrap().state(), store.state());
    fs::remove_dir_all(one).unwrap();
    fs::remove_dir_all(other).unwrap();
}

#[test]
fn what_is_to_come_back_outlives_the_daemon_and_an_export_until_it_is_back() {
    let (one, other) = (directory("returning"), directory("returning-copy"));
    let mut store = Store::open(&one, seed()).unwrap();
    store.commit(changes()).unwrap();
    let there = store.state().endpoints.values().next().unwrap().clone();
    let key = there.key();
    store.commit(vec![Change::PutReturning(there.clone()), Change::DelEndpoint(key.clone())]).unwrap();
    drop(store);
    let mut store = Store::open(&one, seed()).unwrap();
    assert_eq!(store.state().returning.get(&key), Some(&there));
    let text = serde_json::to_string(&store.export()).unwrap();
    let mut copy = Store::open(&other, Seed([0; 16])).unwrap();
    copy.replace(document::state_of(serde_json::from_str(&text).unwrap()).unwrap()).unwrap();
    assert_eq!(copy.state(), store.state());
    store.commit(vec![Change::DelReturning(key)]).unwrap();
    drop(store);
    assert!(Store::open(&one, seed()).unwrap().state().returning.is_empty());
    fs::remove_dir_all(one).unwrap();
    fs::remove_dir_all(other).unwrap();
}

#[test]
fn two_daemons_cannot_share_a_state() {
    let directory = directory("shared");
    let _first = Store::open(&directory, seed()).unwrap();
    assert!(matches!(Store::open(&directory, seed()), Err(StoreError::InUse(_))));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_state_is_readable_by_its_owner_alone() {
    let directory = directory("mode");
    drop(Store::open(&directory, seed()).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_half_made_file_of_a_crash_is_made_anew() {
    let directory = directory("half");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(format!("{FILE}.new")), b"torn").unwrap();
    assert!(Store::open(&directory, seed()).is_ok());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_state_of_a_later_version_is_refused_and_left_alone() {
    let directory = directory("future");
    let mut store = Store::open(&directory, seed()).unwrap();
    store.commit(changes()).unwrap();
    let mut document = store.export();
    document.schema = SCHEMA + 1;
    // This version does not know what the row means.
    document.rows.insert("satellite/1".into(), serde_json::json!({ "orbit": true }));
    store.rewrite(&document).unwrap();
    assert!(matches!(
        document::state_of(document).unwrap_err(),
        DocumentError::FromTheFuture { found } if found == SCHEMA + 1
    ));
    drop(store);
    let on_disk = || read(&Database::open(directory.join(FILE)).unwrap()).unwrap();
    let before = on_disk();
    assert_eq!((before.schema, before.rows.contains_key("satellite/1")), (SCHEMA + 1, true));
    let refused = Store::open(&directory, seed()).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Document { source: DocumentError::FromTheFuture { .. }, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("use the version that wrote it"), "{refused}");
    assert_eq!(on_disk(), before);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn migrations_run_in_order_and_only_those_that_are_due() {
    let renamed = |rows: &mut std::collections::BTreeMap<String, serde_json::Value>| {
        let value = rows.remove("a").unwrap();
        rows.insert("b".into(), value);
    };
    let doubled = |rows: &mut std::collections::BTreeMap<String, serde_json::Value>| {
        let value = rows["b"].as_u64().unwrap() * 2;
        rows.insert("b".into(), value.into());
    };
    let old = Document { schema: 1, rows: [("a".to_owned(), 21.into())].into() };
    let new = document::migrated_by(old, &[renamed, doubled]).unwrap();
    assert_eq!(new, Document { schema: 3, rows: [("b".to_owned(), 42.into())].into() });
    let partly = Document { schema: 2, rows: [("b".to_owned(), 21.into())].into() };
    assert_eq!(document::migrated_by(partly, &[renamed, doubled]).unwrap(), new);
    assert!(matches!(
        document::migrated(Document { schema: 0, rows: [].into() }),
        Err(DocumentError::NoSuchSchema(0))
    ));
}

#[test]
fn a_damaged_row_is_refused_by_its_name() {
    let mut document = document::of_state(&State::new(seed()));
    document.rows.insert("network/lan".into(), serde_json::json!({ "name": "lan" }));
    assert!(document::to_state(&document).unwrap_err().to_string().contains("`network/lan`"));
}

#[test]
fn a_state_that_says_by_names_alone_whose_name_is_not_known_is_understood() {
    let mut document =
        document::of_state(&changes().into_iter().fold(State::new(seed()), |mut state, change| {
            state.apply(change);
            state
        }));
    let web = document.rows["endpoint/lan/web"].clone();
    let placeholder: EndpointName = "at-192.168.88.201".parse().unwrap();
    let made = seed().mac(&Scope("lan".into()), &placeholder, 1);
    for (name, tagged_as, address, mac, source) in [
        ("at-192.168.88.201", None, "192.168.88.201/24", made.to_string(), "range"),
        ("at-192.168.88.202", None, "192.168.88.202/24", "02:00:00:00:00:02".into(), "fixed"),
        ("db", Some("at-192.168.88.201"), "192.168.88.201/24", made.to_string(), "range"),
        ("own", Some("at-192.168.88.204"), "192.168.88.204/24", "02:00:00:00:00:04".into(), "range"),
        ("www", Some("web"), "192.168.88.205/24", "02:00:00:00:00:05".into(), "range"),
    ] {
        let mut endpoint = web.clone();
        endpoint["name"] = name.into();
        endpoint["tagged_as"] = tagged_as.into();
        endpoint["addresses"] = serde_json::json!([address]);
        endpoint["mac"] = mac.into();
        endpoint["source"] = source.into();
        document.rows.insert(format!("endpoint/lan/{name}"), endpoint);
    }
    // Older versions remembered such a name like any other.
    let mut forgotten = document.rows["identity/a/b:c/web"].clone();
    forgotten["name"] = "at-192.168.88.200".into();
    document.rows.insert("identity/a/b:c/at-192.168.88.200".into(), forgotten);
    let state = document::to_state(&document).unwrap();
    let all: Vec<(&str, Chosen, bool, usize)> = state
        .endpoints
        .values()
        .map(|one| (one.name.as_str(), one.chosen, one.by_user.mac, one.by_user.addresses.len()))
        .collect();
    assert_eq!(
        all,
        [
            ("at-192.168.88.201", Chosen::Unnamed, false, 0),
            ("at-192.168.88.202", Chosen::Unnamed, true, 1),
            ("db", Chosen::StandIn, false, 0),
            ("own", Chosen::StandIn, true, 0),
            ("web", Chosen::ForName, false, 0),
            ("www", Chosen::ForName, false, 0),
        ]
    );
    let names: Vec<&str> = state.identities.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["web"]);
    // A state that is written from now on contains these fields.
    assert_eq!(document::to_state(&document::of_state(&state)).unwrap(), state);
}

/// States that versions with older schemas wrote, each by its own code. Schema 1 has three forms: before
/// Docker support, when that was added, and the last one.
const STORED: [(&str, &str); 5] = [
    ("schema-1-first", include_str!("../../tests/stored/schema-1-first.json")),
    ("schema-1-docker", include_str!("../../tests/stored/schema-1-docker.json")),
    ("schema-1-last", include_str!("../../tests/stored/schema-1-last.json")),
    ("schema-2", include_str!("../../tests/stored/schema-2.json")),
    ("schema-3", include_str!("../../tests/stored/schema-3.json")),
];

#[test]
fn what_schema_4_has_is_kept_as_it_is() {
    let (_, text) = STORED[STORED.len() - 1];
    let today = document::migrated(serde_json::from_str(text).unwrap()).unwrap();
    let before = Document { schema: 4, rows: today.rows.clone() };
    assert_eq!(document::migrated(before).unwrap(), today);
    // It may have nothing that its schema does not know.
    let reads_4 = |document: Document| document::migrated_by(document, &[|_| {}, |_| {}, |_| {}]);
    let refused = reads_4(today).unwrap_err().to_string();
    assert!(refused.contains("it has schema 6"), "{refused}");
}

/// Returns whether everything in `old` is still in `new`. `new` may contain more.
fn keeps(old: &serde_json::Value, new: Option<&serde_json::Value>) -> bool {
    match (old, new) {
        (old, None) => old.is_null(),
        (serde_json::Value::Object(old), Some(serde_json::Value::Object(new))) => {
            old.iter().all(|(key, value)| keeps(value, new.get(key)))
        }
        (old, Some(new)) => old == new,
    }
}

#[test]
fn a_state_that_an_older_version_has_stored_is_read_and_says_the_same() {
    for (version, text) in STORED {
        let directory = directory(version);
        fs::create_dir_all(&directory).unwrap();
        let old: Document = serde_json::from_str(text).unwrap();
        assert!(old.schema < SCHEMA, "{version}");
        let database = Database::create(directory.join(FILE)).unwrap();
        write(&database, |table| write_document(table, &old)).unwrap();
        drop(database);

        let store =
            Store::open(&directory, Seed([0; 16])).unwrap_or_else(|error| panic!("{version}: {error}"));
        let (state, new) = (store.state().clone(), store.export());
        assert_eq!(new.rows.len(), old.rows.len(), "{version}");
        // The pool's key now says that its addresses are leased.
        let leased =
            |pool: &serde_json::Value| pool["key"] == "192.168.88.0/24" && pool["addressing"] == "dhcp";
        for (key, value) in &old.rows {
            if leased(value) {
                assert!(new.rows.contains_key("pool/192.168.88.0/24,dhcp"), "{version}");
                continue;
            }
            assert!(
                keeps(value, new.rows.get(key)),
                "{version}, {key}: {value} has become {}",
                new.rows[key]
            );
        }
        assert_eq!(state.seed, seed());
        let chosen = |one: &Endpoint| one.netns().is_none().then_some(one.chosen);
        let of_docker: Vec<Chosen> = state.endpoints.values().filter_map(chosen).collect();
        let expected = match version {
            "schema-1-first" => &[][..],
            "schema-1-docker" => &[Chosen::Unnamed, Chosen::ForName],
            _ => &[Chosen::Unnamed, Chosen::StandIn, Chosen::ForName, Chosen::ForName],
        };
        assert_eq!(of_docker, expected, "{version}");
        drop(store);

        // From now on it has the current schema.
        let database = Database::open(directory.join(FILE)).unwrap();
        assert_eq!(read(&database).unwrap().schema, SCHEMA);
        drop(database);
        assert_eq!(*Store::open(&directory, Seed([0; 16])).unwrap().state(), state);
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn whom_a_container_belongs_to_is_read_as_earlier_versions_meant_it_and_kept() {
    for (version, text) in STORED {
        let document = document::migrated(serde_json::from_str(text).unwrap()).unwrap();
        let mut state = document::to_state(&document).unwrap();
        for endpoint in state.endpoints.values() {
            let owner = if endpoint.netns().is_some() { Ownership::Cli } else { Ownership::Docker };
            assert_eq!(endpoint.ownership, owner, "{version}");
        }
        let said = |state: &State| {
            let rows = document::of_state(state).rows;
            rows.values().filter_map(|row| row["ownership"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        // An earlier version reads Docker's rows as it wrote them.
        assert!(said(&state).iter().all(|owner| owner == "cli"), "{version}");
        // Podman's own links may be in a namespace from the start.
        state.endpoints.change_all(|_, endpoint| endpoint.ownership = Ownership::Podman);
        assert!(said(&state).iter().all(|owner| owner == "podman"), "{version}");
        assert_eq!(document::to_state(&document::of_state(&state)).unwrap(), state, "{version}");
    }
}
