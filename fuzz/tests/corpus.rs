//! Replays what real peers send, and what fuzzing has found.

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&corpus).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 4, "{} holds {replayed} files", corpus.display());
}

#[test]
fn frames_from_the_lan() {
    replay("neighbours", ashore_fuzz::neighbours);
}

#[test]
fn answers_of_dhcp_servers() {
    replay("dhcp4", ashore_fuzz::dhcp4);
}

#[test]
fn lines_from_the_control_socket() {
    replay("control", ashore_fuzz::control);
}

#[test]
fn calls_from_an_engine() {
    replay("plugin", ashore_fuzz::plugin);
}
