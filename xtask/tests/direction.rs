//! The shape of the workspace, held: dependencies go one way, and privileges stay in one crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What each crate may use of the workspace: nothing that stands after it.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("ashore-wire", &[]),
    ("ashore-core", &["ashore-wire"]),
    ("ashore-kernel", &["ashore-wire", "ashore-core"]),
    ("ashore-lab", &["ashore-wire", "ashore-core", "ashore-kernel"]),
    ("ashore", &["ashore-wire", "ashore-core", "ashore-kernel", "ashore-lab"]),
    ("ashore-fuzz", &["ashore-wire", "ashore-core", "ashore-kernel", "ashore"]),
    ("xtask", &["ashore-wire", "ashore-core", "ashore-kernel", "ashore-lab"]),
];

#[test]
fn dependencies_go_in_one_direction() {
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let may_use: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed: BTreeSet<&str> = may_use
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no place in the list above"))
            .iter()
            .copied()
            .collect();
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let ours = may_use.contains_key(used);
            assert!(!ours || allowed.contains(used), "{name} must not use {used}");
        }
    }
}

/// All files of Rust of a crate, without those that are tests alone.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

fn refuse(directory: &str, words: &[&str], why: &str) {
    for path in sources(&root().join(directory)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        for word in words {
            assert!(!product.contains(word), "{} has `{word}`: {why}", path.display());
        }
    }
}

#[test]
fn only_the_kernel_crate_is_unsafe() {
    for directory in ["crates/wire/src", "crates/core/src", "crates/ashore/src", "lab/src"] {
        refuse(directory, &["unsafe {", "allow(unsafe_code"], "that is the kernel crate's business");
    }
}

#[test]
fn the_wire_has_no_clock_and_no_sockets() {
    let words = ["Instant::now", "SystemTime", "std::fs", "UdpSocket", "TcpStream", "std::thread"];
    refuse("crates/wire/src", &words, "time and bytes are arguments there");
}

#[test]
fn the_core_touches_no_kernel_and_prints_nothing() {
    let words = ["println!", "Instant::now", "SystemTime::now", "std::process", "std::thread"];
    refuse("crates/core/src", &words, "it says what should be, and does nothing");
}
