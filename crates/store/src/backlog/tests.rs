use std::path::{Path, PathBuf};

use ashore_core::model::identity::Seed;
use ashore_core::model::lease::LeaseOptions;
use ashore_core::model::pool::Pool;
use ashore_core::model::state::{Change, State};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Store;

const SEED: Seed = Seed(*b"0123456789abcdef");

/// A state directory and a run directory.
struct Disk(TempDir);

impl Disk {
    fn new() -> Disk {
        Disk(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("backlog")
    }

    fn open(&self, boot: &str) -> Store {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(self.file()).unwrap();
        Store::open_with(&self.state(), SEED, Some(Backlog::of(file, boot))).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// The state in the database alone.
    fn durable(&self) -> State {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(self.state().join("state.redb"), copy.path().join("state.redb")).unwrap();
        Store::open(copy.path(), SEED).unwrap().state().clone()
    }
}

fn pool(n: u8, opened: u8) -> Pool {
    Pool {
        key: format!("10.{n}.0.0/16").parse().unwrap(),
        opened: opened.into(),
        reserved: Vec::new(),
        parent: None,
        leasing: LeaseOptions::default(),
        chosen: false,
    }
}

/// A change to one of four rows.
fn change() -> impl Strategy<Value = Change> {
    (0..4_u8, proptest::option::of(any::<u8>())).prop_map(|(n, value)| {
        let pool = pool(n, value.unwrap_or(0));
        if value.is_some() { Change::PutPool(pool) } else { Change::DelPool(pool.key) }
    })
}

#[derive(Debug, Clone)]
enum Event {
    Commit(Vec<Change>),
    Record(Vec<Change>),
    Defer(Vec<Change>),
    Flush,
    WriteAnew,
    Import,
    Kill,
    PowerFailure,
}

fn event() -> impl Strategy<Value = Event> {
    let changes = || proptest::collection::vec(change(), 1..4);
    prop_oneof![
        3 => changes().prop_map(Event::Commit),
        4 => changes().prop_map(Event::Record),
        3 => changes().prop_map(Event::Defer),
        1 => Just(Event::Flush),
        1 => Just(Event::WriteAnew),
        1 => Just(Event::Import),
        2 => Just(Event::Kill),
        1 => Just(Event::PowerFailure),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_killed_process_loses_nothing_and_a_power_failure_only_what_was_not_committed(
        events in proptest::collection::vec(event(), 1..24)
    ) {
        let (disk, mut boot) = (Disk::new(), 0);
        let mut store = disk.open("0");
        let (mut memory, mut durable) = (State::new(SEED), State::new(SEED));
        for event in events {
            let apply = |to: &mut State, changes: Vec<Change>| changes.into_iter().for_each(|one| to.apply(one));
            match event {
                Event::Commit(changes) => {
                    store.commit(changes.clone()).unwrap();
                    apply(&mut memory, changes);
                    durable = memory.clone();
                }
                Event::Record(changes) => {
                    store.record(changes.clone()).unwrap();
                    apply(&mut memory, changes);
                }
                Event::Defer(changes) => {
                    store.defer(changes.clone());
                    apply(&mut memory, changes);
                }
                Event::Flush => {
                    store.flush().unwrap();
                    durable = memory.clone();
                }
                Event::WriteAnew => {
                    store.write_anew().unwrap();
                    durable = memory.clone();
                }
                Event::Import => {
                    let document = store.export();
                    store.replace(crate::state_of(document).unwrap()).unwrap();
                    durable = memory.clone();
                }
                Event::Kill => {
                    drop(store);
                    store = disk.open(&boot.to_string());
                    durable = memory.clone();
                }
                Event::PowerFailure => {
                    drop(store);
                    boot += 1;
                    store = disk.open(&boot.to_string());
                    memory = durable.clone();
                }
            }
            prop_assert_eq!(store.state(), &memory);
            prop_assert_eq!(&disk.durable(), &durable);
        }
    }
}

/// Two pools, one change after the other.
fn two() -> [Change; 2] {
    [0, 1].map(|n| Change::PutPool(pool(n, 0)))
}

fn pools(store: &Store) -> usize {
    store.state().pools.len()
}

fn append(file: &Path, bytes: &[u8]) {
    let mut text = std::fs::read(file).unwrap();
    text.extend(bytes);
    std::fs::write(file, text).unwrap();
}

#[test]
fn a_line_that_was_being_written_does_not_count_and_those_before_it_do() {
    let (disk, [first, second]) = (Disk::new(), two());
    let mut store = disk.open("0");
    store.record(vec![first]).unwrap();
    drop(store);
    let row = crate::document::row(&second);
    let whole = line(&[row]).unwrap();
    for torn in [&whole[..1], &whole[..whole.len() / 2], &whole[..whole.len() - 1], b"\xff\n", b"[]", b"{}\n"]
    {
        append(&disk.file(), torn);
        assert_eq!(pools(&disk.open("0")), 1, "{}", String::from_utf8_lossy(torn));
    }
}

#[test]
fn a_backlog_of_another_state_or_schema_does_not_count() {
    let (disk, [first, _]) = (Disk::new(), two());
    let mut store = disk.open("0");
    store.record(vec![first]).unwrap();
    drop(store);
    let text = std::fs::read_to_string(disk.file()).unwrap();
    let schema = format!("\"schema\":{SCHEMA}");
    assert!(text.contains(&schema), "{text}");
    std::fs::write(disk.file(), text.replace(&schema, &format!("\"schema\":{}", SCHEMA - 1))).unwrap();
    assert_eq!(pools(&disk.open("0")), 0);
    let other = Disk::new();
    drop(Store::open(&other.state(), Seed([1; 16])).unwrap());
    std::fs::write(other.file(), text).unwrap();
    assert_eq!(pools(&other.open("0")), 0);
}

#[test]
fn a_full_backlog_goes_to_the_disk() {
    let (disk, [first, second]) = (Disk::new(), two());
    let mut store = disk.open("0");
    store.record(vec![first]).unwrap();
    let full = vec![second; usize::try_from(LONGEST).unwrap() / 64];
    store.record(full.clone()).unwrap();
    assert_eq!(disk.durable().pools.len(), 2);
    store.defer(full.clone());
    store.commit(full).unwrap();
    drop(store);
    assert_eq!(pools(&disk.open("0")), 2);
}
