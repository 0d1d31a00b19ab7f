//! Where the program under test is: cargo builds it beside the tests, in the directory of the profile.

use std::path::Path;

fn main() {
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    // PROFILE/build/PACKAGE-HASH/out, as long as nobody sets cargo's `build.build-dir`.
    let profile = Path::new(&out).ancestors().nth(3).expect("cargo's layout");
    println!("cargo::rustc-env=ASHORE_PROGRAM={}", profile.join("ashore").display());
    println!("cargo::rerun-if-changed=build.rs");
}
