//! What is in the programs besides Ashore itself: crates, those of Rust's standard library, and what is linked into a
//! static program. Their licences go into the package, and their names and versions into the bill of materials.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::VERSION;
use super::files::said;
use crate::cargo;

/// One part, with the texts of its licences.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    name: String,
    version: String,
    /// Its licence, as an expression of SPDX.
    licence: String,
    /// Its name among all packages of its kind.
    purl: String,
    texts: Vec<String>,
}

/// How the names of files with licences begin.
const LICENCES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];

/// The crates of Ashore's programs for a target, without Ashore's own.
pub(super) fn of_programs(root: &Path, target: &str) -> anyhow::Result<Vec<Part>> {
    of(&root.join("Cargo.toml"), &["ashore", "ashore-plug"], target)
}

/// What a tree with a toolchain adds to each program: Rust's standard library, musl and LLVM's unwinder.
pub(super) fn in_toolchain(tree: &Path) -> anyhow::Result<Vec<Part>> {
    let sources = tree.join("usr/src");
    let mut sources = fs::read_dir(&sources)?.filter_map(Result::ok).map(|entry| entry.path());
    let rust = sources.find(|path| path.join("library").is_dir());
    let rust = rust.context("the tree has no sources of Rust's")?;
    let name = rust.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.strip_prefix("rustc-").context("the sources of Rust's have no version")?;
    let mut parts = of(&rust.join("library/Cargo.toml"), &["std", "panic_unwind"], super::programs::TARGET)?;
    parts.push(Part {
        name: "rust-std".into(),
        version: version.into(),
        licence: "MIT OR Apache-2.0".into(),
        purl: format!("pkg:generic/rust-std@{version}"),
        texts: texts(&rust)?,
    });
    parts.push(of_debian(tree, "musl-dev", "MIT")?);
    parts.push(of_debian(tree, packages_of_unwinder(tree)?.as_str(), "Apache-2.0 WITH LLVM-exception")?);
    Ok(parts)
}

/// The name of the unwinder's package, which has a version in it.
fn packages_of_unwinder(tree: &Path) -> anyhow::Result<String> {
    let names = fs::read_dir(tree.join("usr/share/doc"))?.filter_map(Result::ok);
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .find(|name| name.starts_with("libunwind-") && name.ends_with("-dev"))
        .context("the tree has no unwinder")
}

/// A package of Debian's.
fn of_debian(tree: &Path, name: &str, licence: &str) -> anyhow::Result<Part> {
    let documents = tree.join("usr/share/doc").join(name);
    let changes =
        said(std::process::Command::new("gzip").arg("-dc").arg(documents.join("changelog.Debian.gz")))?;
    let changes = String::from_utf8_lossy(&changes);
    let version = changes.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let (version, _) = version.with_context(|| format!("{name} has no version"))?;
    Ok(Part {
        name: name.into(),
        version: version.into(),
        licence: licence.into(),
        purl: format!("pkg:deb/debian/{name}@{version}"),
        texts: vec![fs::read_to_string(documents.join("copyright"))?],
    })
}

/// The crates that some crates of a workspace need when they run, from the registry alone.
fn of(manifest: &Path, roots: &[&str], target: &str) -> anyhow::Result<Vec<Part>> {
    let mut ask = cargo();
    ask.args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", target]);
    let metadata = said(ask.arg("--manifest-path").arg(manifest).env("RUSTC_BOOTSTRAP", "1"))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();

    let is_root = |package: &Value| roots.iter().any(|root| package["name"] == *root);
    let mut open: Vec<&str> =
        packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| *id).collect();
    let mut needed = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !needed.insert(id) {
            continue;
        }
        let node = nodes.get(id).with_context(|| format!("cargo knows no {id}"))?;
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                open.extend(dependency["pkg"].as_str());
            }
        }
    }
    let needed = needed.into_iter().filter_map(|id| packages.get(id));
    needed.filter(|package| !package["source"].is_null()).map(|package| part(package)).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn part(package: &Value) -> anyhow::Result<Part> {
    let field = |name: &str| package[name].as_str().map(str::to_owned);
    let (name, version) = (field("name").context("name")?, field("version").context("version")?);
    let manifest = field("manifest_path").context("manifest")?;
    let directory = Path::new(&manifest).parent().context("a manifest is in a directory")?;
    let licence = field("license").with_context(|| format!("{name} names no licence"))?;
    let purl = format!("pkg:cargo/{name}@{version}");
    Ok(Part { texts: texts(directory)?, name, version, licence, purl })
}

/// The texts of all licences in a directory.
fn texts(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && LICENCES.iter().any(|begin| name.starts_with(begin)) {
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            found.insert(name, String::from_utf8_lossy(&text).replace("\r\n", "\n").trim().to_owned());
        }
    }
    Ok(found.into_values().collect())
}

/// The file that says who holds which rights, and gives every licence once.
pub(super) fn copyright(root: &Path, parts: &[Part]) -> anyhow::Result<String> {
    let mut text = String::from(
        "Ashore is licensed under the MIT licence or the Apache License 2.0, at your option.\n\
         Its programs contain what is listed below, under the licences that follow.\n\n",
    );
    let mut of_texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let licence = fs::read_to_string(root.join(licence))?;
        of_texts.entry(licence.trim().to_owned()).or_default().push(format!("ashore {VERSION}"));
    }
    for part in parts {
        let name = format!("{} {}", part.name, part.version);
        writeln!(text, "{name}: {}", part.licence)?;
        for licence in &part.texts {
            of_texts.entry(licence.clone()).or_default().push(name.clone());
        }
    }
    let mut of_texts: Vec<(Vec<String>, String)> =
        of_texts.into_iter().map(|(text, names)| (names, text)).collect();
    // Ashore's own come first.
    of_texts.sort_by_key(|(names, _)| !names.iter().any(|name| name.starts_with("ashore ")));
    for (names, licence) in of_texts {
        writeln!(text, "\n{}\n{}\n\n{licence}", "-".repeat(72), names.join(", "))?;
    }
    Ok(text)
}

/// The bill of materials, as `CycloneDX` has it.
pub(super) fn bill_of_materials(parts: &[Part]) -> anyhow::Result<String> {
    let components: Vec<Value> = parts.iter().map(|part| component("library", part)).collect();
    if components.is_empty() {
        bail!("nothing is in the programs");
    }
    let own = Part {
        name: "ashore".into(),
        version: VERSION.into(),
        licence: "MIT OR Apache-2.0".into(),
        purl: format!("pkg:cargo/ashore@{VERSION}"),
        texts: Vec::new(),
    };
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component("application", &own) },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn component(kind: &str, part: &Part) -> Value {
    json!({
        "type": kind,
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "purl": part.purl,
        // Some crates still separate two licences of one's choice in the way before SPDX.
        "licenses": [{ "expression": part.licence.replace('/', " OR ") }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_of_the_programs_is_named_with_its_licence() {
        let root = crate::root();
        let parts = of_programs(&root, super::super::programs::TARGET).unwrap();
        let named = |name: &str| parts.iter().find(|part| part.name == name);
        for name in ["tokio", "redb", "nix", "serde_json"] {
            assert!(named(name).is_some_and(|part| !part.texts.is_empty()), "{name}");
        }
        // Ashore's own, and what only its tests need.
        for name in ["ashore-core", "proptest", "tempfile"] {
            assert_eq!(named(name), None, "{name}");
        }
        let copyright = copyright(&root, &parts).unwrap();
        assert!(copyright.contains("Copyright (c) The Ashore developers"));
        assert!(copyright.contains("Permission is hereby granted") && copyright.contains("Apache License"));
        let bill: Value = serde_json::from_str(&bill_of_materials(&parts).unwrap()).unwrap();
        assert_eq!(bill["components"].as_array().unwrap().len(), parts.len());
    }
}
