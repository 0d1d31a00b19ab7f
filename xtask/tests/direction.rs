//! Checks the structure of the workspace: dependencies between crates and between modules go one way, and
//! privileges stay in one crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

mod modules;

use modules::{Edge, Modules};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What each crate may use of the workspace: nothing that comes after it.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("ashore-plug", &[]),
    ("ashore-wire", &[]),
    ("ashore-core", &["ashore-wire"]),
    ("ashore-store", &["ashore-wire", "ashore-core"]),
    ("ashore-routers", &["ashore-wire", "ashore-core"]),
    ("ashore-kernel", &["ashore-wire", "ashore-core"]),
    ("ashore-lab", &["ashore-wire", "ashore-core", "ashore-kernel"]),
    ("ashore-home", &["ashore-wire", "ashore-core", "ashore-kernel", "ashore-lab"]),
    (
        "ashore",
        &[
            "ashore-wire",
            "ashore-core",
            "ashore-store",
            "ashore-routers",
            "ashore-kernel",
            "ashore-lab",
            "ashore-home",
            "ashore-plug",
        ],
    ),
    ("ashore-fuzz", &["ashore-wire", "ashore-core", "ashore-kernel", "ashore-plug", "ashore"]),
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

/// All Rust files of a crate, except those that are only tests.
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
    for directory in CRATES.iter().filter(|directory| **directory != "crates/kernel") {
        refuse(
            &format!("{directory}/src"),
            &["unsafe {", "allow(unsafe_code"],
            "only the kernel crate may do this",
        );
    }
}

#[test]
fn the_wire_has_no_clock_and_no_sockets() {
    let words = ["Instant::now", "SystemTime", "std::fs", "UdpSocket", "TcpStream", "std::thread"];
    refuse("crates/wire/src", &words, "this crate takes time and bytes as arguments");
}

#[test]
fn the_core_touches_no_kernel_and_prints_nothing() {
    let words = ["println!", "Instant::now", "SystemTime::now", "std::fs", "std::process", "std::thread"];
    for directory in ["crates/core/src", "crates/routers/src"] {
        refuse(directory, &words, "this crate only decides what should be, and does nothing");
    }
}

/// The lock's guard borrows an `Unlocked` (`crates/ashore/src/unlocked.rs`), so what takes one cannot be called
/// under the lock. This holds as long as nothing in the controller waits without one, and each thread makes one
/// where it begins.
#[test]
fn the_controller_waits_only_with_the_proof_that_it_does_not_hold_its_lock() {
    let daemon = "crates/ashore/src/daemon";
    let words = ["thread::sleep", "std::fs", "wait_readable", "process::Command", "TcpStream", "UnixStream"];
    refuse(&format!("{daemon}/controller"), &words, "what may take long takes an `Unlocked`");
    let mut made = BTreeMap::new();
    for path in sources(&root().join("crates/ashore/src")) {
        let count = std::fs::read_to_string(&path).unwrap().matches("Unlocked::of_this_thread()").count();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        made.extend((count > 0).then_some((path, count)));
    }
    let expected = [
        // A request, from whichever thread.
        (format!("{daemon}/controller/requests.rs"), 1),
        // The threads that ask the LAN side by side, for a request that waits for all of them without the lock.
        (format!("{daemon}/controller/doctor.rs"), 3),
        // The thread that ends a trial, and the process that does the same.
        (format!("{daemon}/controller/bridge.rs"), 1),
        (format!("{daemon}/guard.rs"), 1),
        // Addresses that are probed side by side.
        (format!("{daemon}/controller/leases.rs"), 1),
        // The main thread, and those that it starts.
        (format!("{daemon}/mod.rs"), 9),
    ];
    assert_eq!(made, BTreeMap::from(expected));
}

/// The directories of the crates whose modules must form no cycle.
const CRATES: [&str; 11] = [
    "crates/plug",
    "crates/wire",
    "crates/core",
    "crates/store",
    "crates/routers",
    "crates/kernel",
    "lab",
    "home",
    "crates/ashore",
    "fuzz",
    "xtask",
];

fn modules_of(directory: &str) -> Modules {
    let src = root().join(directory).join("src");
    Modules::of(&src, &sources(&src))
}

fn one_a_line(edges: &[Edge]) -> String {
    let lines: Vec<String> = edges.iter().map(|edge| format!("\n  {edge}")).collect();
    lines.concat()
}

#[test]
fn no_modules_go_in_a_circle() {
    for directory in CRATES {
        if let Some(circle) = modules_of(directory).circle() {
            panic!("modules of {directory} use each other in a cycle:{}", one_a_line(&circle));
        }
    }
}

/// The top-level modules of core ("rooms"), each with the rooms that it may use.
const ROOMS: [(&str, &[&str]); 6] = [
    ("net", &[]),
    ("model", &["net"]),
    ("rules", &["net", "model"]),
    ("plan", &["net", "model"]),
    ("api", &["net", "model", "rules", "plan"]),
    ("checks", &["net", "model", "rules", "plan", "api"]),
];

#[test]
fn the_rooms_of_core_use_those_before_them_alone() {
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let room = |module: &[String]| module.first().cloned().unwrap_or_default();
    for edge in modules_of("crates/core").edges() {
        let (from, to) = (room(&edge.from), room(&edge.to));
        if from.is_empty() || from == to {
            continue;
        }
        let may_use = rooms.get(from.as_str()).unwrap_or_else(|| panic!("core has no room {from}: {edge}"));
        // The root re-exports the rooms' contents to other crates.
        assert!(may_use.contains(&to.as_str()), "{from} must not use {to}: {edge}");
    }
}

#[test]
fn a_circle_is_found_and_each_of_its_edges_is_named() {
    let circle = |texts: &[(&str, &str)]| {
        let module =
            |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let texts = texts.iter().map(|(path, text)| (module(path), (*text).to_owned()));
        Modules::read(texts).circle().map(|circle| one_a_line(&circle))
    };
    let lib = ("", "pub mod a; pub mod b; pub use a::A; use b::*;");
    for b in [
        "use crate::a::A;",
        "use super::A;",
        "use crate::{std::fmt, a::{self, A as Other}};",
        "fn f() { use crate::a::A; }",
        "fn f() -> crate::a::A { todo!() }",
        "macro!(x, crate::a::A::new());",
        "mod inside { use super::super::a::A; }",
    ] {
        let found = circle(&[lib, ("a", "use crate::b::B; pub struct A(B);"), ("b", b)]);
        let found = found.unwrap_or_else(|| panic!("`{b}` closes a cycle"));
        for edge in ["\n  a uses B of b", "\n  b uses A of a"] {
            assert!(found.contains(edge) || found.contains("\n  b uses it of a"), "`{b}`:{found}");
        }
    }
    for b in [
        "",
        "// use crate::a::A;",
        "/// See [`crate::a::A`].\nconst TEXT: &str = \"use crate::a::A;\";",
        "#[cfg(test)]\nmod tests { use crate::a::A; }",
        "#[cfg(test)]\nuse crate::a::A;",
        "use std::a::A;",
        "fn f(x: X) { x.a.b(A::a) }",
    ] {
        assert_eq!(circle(&[lib, ("a", "use crate::b::B;"), ("b", b)]), None, "`{b}`");
    }
    // A cycle of three modules, below another module. A module may use its parent.
    let three =
        [("x", "mod a; mod b; mod c; use a::A;"), ("x::a", "use super::b::B;"), ("x::b", "use super::c::C;")];
    assert_eq!(circle(&[&three[..], &[("x::c", "use super::X;")]].concat()), None);
    let found = circle(&[&three[..], &[("x::c", "use super::A;")]].concat()).unwrap();
    assert_eq!(found, "\n  x::a uses B of x::b\n  x::b uses C of x::c\n  x::c uses A of x::a");
}
