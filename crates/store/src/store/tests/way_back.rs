//! The way back from an upgrade, and from a state that no daemon opens.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::{Backlog, restore};

/// A state directory with a state of an older version. Returns its document too.
fn older(name: &str, (version, text): (&str, &str)) -> (PathBuf, Document) {
    let directory = directory(&format!("{name}-{version}"));
    fs::create_dir_all(&directory).unwrap();
    let old: Document = serde_json::from_str(text).unwrap();
    let database = Database::create(directory.join(FILE)).unwrap();
    write(&database, |table| write_document(table, &old)).unwrap();
    (directory, old)
}

fn kept_in(directory: &Path, schema: u32) -> PathBuf {
    directory.join(format!("state-of-schema-{schema}.json"))
}

fn read_document(path: &Path) -> Document {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What the database itself holds.
fn on_disk(directory: &Path) -> Document {
    read(&Database::open(directory.join(FILE)).unwrap()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_an_older_version_had_is_kept_as_it_had_it_before_it_is_brought_up_to_date() {
    for stored in STORED {
        let (directory, old) = older("kept", stored);
        let kept = kept_in(&directory, old.schema);
        let store = Store::open(&directory, seed()).unwrap();
        assert_eq!((store.kept(), read_document(&kept)), (Some(kept.as_path()), old.clone()));
        assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o777, 0o600);
        drop(store);
        assert_eq!(names(&directory), [format!("state-of-schema-{}.json", old.schema), FILE.to_owned()]);
        // It is of the upgrade, and no later opening touches it.
        fs::write(&kept, "mine").unwrap();
        assert_eq!(Store::open(&directory, seed()).unwrap().kept(), None);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "mine");
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_state_that_cannot_be_kept_is_not_brought_up_to_date() {
    let (directory, old) = older("unkept", STORED[STORED.len() - 1]);
    // Something is where the file goes.
    let kept = kept_in(&directory, old.schema);
    fs::create_dir_all(kept.join("full")).unwrap();
    let refused = Store::open(&directory, seed()).unwrap_err();
    assert!(matches!(&refused, StoreError::Keep { schema, .. } if *schema == old.schema), "{refused}");
    assert!(refused.hint().unwrap().contains("nothing was changed"));
    assert_eq!(on_disk(&directory), old);
    assert!(!names(&directory).iter().any(|name| Path::new(name).extension().is_some_and(|of| of == "new")));
    fs::remove_dir_all(&kept).unwrap();
    assert!(Store::open(&directory, seed()).is_ok());
    assert_eq!(read_document(&kept), old);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_upgrade_that_was_killed_at_any_step_is_done_again() {
    let (directory, old) = older("killed", STORED[STORED.len() - 1]);
    let kept = kept_in(&directory, old.schema);
    let upgraded = || {
        let state = Store::open(&directory, seed()).unwrap().state().clone();
        assert_eq!((read_document(&kept), on_disk(&directory).schema), (old.clone(), SCHEMA));
        assert!(
            !names(&directory).iter().any(|name| Path::new(name).extension().is_some_and(|of| of == "new"))
        );
        state
    };
    let before = |torn: &dyn Fn()| {
        fs::remove_dir_all(&directory).unwrap();
        older("killed", STORED[STORED.len() - 1]);
        torn();
    };
    let state = upgraded();
    // While the file was written, and when it was there and the state was not brought up to date.
    before(&|| fs::write(directory.join("state-of-schema-3.json.new"), "{\"sch").unwrap());
    assert_eq!(upgraded(), state);
    before(&|| fs::write(&kept, serde_json::to_vec(&old).unwrap()).unwrap());
    assert_eq!(upgraded(), state);
    fs::remove_dir_all(directory).unwrap();
}

/// A state that a later version has brought up to date, after this one had made it, and what this one had.
fn upgraded(name: &str) -> (PathBuf, State) {
    let directory = directory(name);
    let mut store = Store::open(&directory, seed()).unwrap();
    store.commit(changes()).unwrap();
    let state = store.state().clone();
    kept::keep(&directory, &store.export()).unwrap();
    let mut later = store.export();
    later.schema = SCHEMA + 1;
    later.rows.insert("satellite/1".into(), serde_json::json!({ "orbit": true }));
    store.rewrite(&later).unwrap();
    (directory, state)
}

#[test]
fn whoever_refuses_the_state_of_a_later_version_names_the_command_that_goes_back_and_it_does() {
    let (path, state) = upgraded("back");
    let refused = Store::open(&path, seed()).unwrap_err();
    let kept = kept_in(&path, SCHEMA);
    let command = format!("ashore state restore {} --state {}", kept.display(), path.display());
    assert!(refused.hint().unwrap().ends_with(&command), "{:?}", refused.hint());
    let there = on_disk(&path);
    let before = restore(&path, read_document(&kept), None).unwrap().before.unwrap();
    assert_eq!(*Store::open(&path, seed()).unwrap().state(), state);
    // The way forward again.
    fs::rename(before, path.join(FILE)).unwrap();
    assert_eq!(on_disk(&path), there);
    // Without a kept state nothing is promised.
    fs::remove_file(kept).unwrap();
    assert_eq!(Store::open(&path, seed()).unwrap_err().hint(), None);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_damaged_state_and_a_missing_one_are_restored_and_a_document_that_is_none_changes_nothing() {
    let (path, other) = (directory("damaged"), directory("damaged-good"));
    let mut good = Store::open(&other, seed()).unwrap();
    good.commit(changes()).unwrap();
    fs::create_dir_all(&path).unwrap();
    assert_eq!(restore(&path, good.export(), None).unwrap().before, None);
    assert_eq!(Store::open(&path, seed()).unwrap().state(), good.state());
    fs::write(path.join(FILE), b"torn").unwrap();
    let hint = Store::open(&path, seed()).unwrap_err().hint().unwrap();
    assert!(hint.contains(&format!("ashore state restore FILE --state {}", path.display())), "{hint}");

    let mut orphan = good.export();
    orphan.rows.retain(|key, _| !key.starts_with("network/"));
    let mut later = good.export();
    later.schema += 1;
    for wrong in [orphan, later, Document { schema: SCHEMA, rows: [].into() }] {
        assert!(matches!(restore(&path, wrong, None), Err(StoreError::Document { .. })));
        assert_eq!(
            (names(&path), fs::read(path.join(FILE)).unwrap()),
            (vec![FILE.to_owned()], b"torn".into())
        );
    }
    restore(&path, good.export(), None).unwrap();
    let store = Store::open(&path, seed()).unwrap();
    assert_eq!(store.state(), good.state());
    let mode = fs::metadata(path.join(FILE)).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // Not while somebody has it.
    assert!(matches!(restore(&path, good.export(), None), Err(StoreError::InUse(_))));
    fs::remove_dir_all(path).unwrap();
    fs::remove_dir_all(other).unwrap();
}

#[test]
fn a_restoration_that_was_killed_at_any_step_left_one_of_the_two_states_and_is_done_again() {
    let (path, state) = upgraded("restore-killed");
    let (good, later) = (read_document(&kept_in(&path, SCHEMA)), on_disk(&path));
    // When the new file was whole, and when the old one had its second name.
    write_unfinished(&path, &good).unwrap();
    assert_eq!(on_disk(&path), later);
    fs::hard_link(path.join(FILE), path.join("state.redb.before-restore")).unwrap();
    assert_eq!(on_disk(&path), later);
    restore(&path, good, None).unwrap();
    assert_eq!(*Store::open(&path, seed()).unwrap().state(), state);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_a_killed_daemon_has_left_unwritten_does_not_come_back_into_a_restored_or_replaced_state() {
    let path = directory("stale");
    let run = tempfile::tempdir().unwrap();
    let backlog = || {
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false);
        Some(Backlog::of(file.open(run.path().join("backlog")).unwrap(), "boot"))
    };
    let open = || Store::open_with(&path, seed(), backlog()).unwrap();
    let mut store = open();
    let empty = store.export();
    store.record(changes()).unwrap();
    assert_eq!(store.state().endpoints.len(), 1);
    drop(store);
    // One that fails takes nothing away, and what is unwritten least of all.
    let in_the_way = path.join("state.redb.before-restore");
    fs::create_dir(&in_the_way).unwrap();
    restore(&path, empty.clone(), backlog()).unwrap_err();
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(open().state().endpoints.len(), 1);
    restore(&path, empty, backlog()).unwrap();
    let mut store = open();
    assert!(store.state().endpoints.is_empty());

    // What is recorded after the state was replaced by one of another seed is not lost.
    store.replace(State::new(Seed([9; 16]))).unwrap();
    store.record(changes()).unwrap();
    let state = store.state().clone();
    drop(store);
    assert_eq!((open().state(), state.endpoints.len()), (&state, 1));
    fs::remove_dir_all(path).unwrap();
}
