//! Docker's managed plugin, as an archive for `docker plugin create`, and as an OCI layout that can be pushed to a
//! registry, from which `docker plugin install` takes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};

use super::files::{open_directories, pack, put, said, tar, through};
use super::packers::{Packers, WORK};
use super::{Compression, VERSION};
use crate::{execute, plugin};

/// By this type a registry and Docker know that it is a plugin and no image.
const CONFIG: &str = "application/vnd.docker.plugin.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Makes both archives of a static program, and returns their paths.
pub(super) fn make(
    root: &Path,
    packers: &Packers,
    program: &Path,
    date: u64,
    to: &Path,
) -> anyhow::Result<[PathBuf; 2]> {
    let name = format!("ashore-{VERSION}-docker-plugin-x86_64");
    let tree = to.join(&name);
    plugin::lay_out(root, program, &tree)?;
    open_directories(&tree)?;
    let archive = to.join(format!("{name}.tar.gz"));
    pack(&archive, to, &name, date, Compression::Best)?;

    let name = format!("{name}.oci");
    let layout = to.join(&name);
    lay_out(&tree, date, Compression::Best, &layout)?;
    // A registry's client reads it as we mean it.
    let mut inspect = packers.command("/usr/bin/skopeo", to, date);
    let read = said(inspect.args(["inspect", "--raw", &format!("oci:{WORK}/{name}")]))?;
    let read: Value = serde_json::from_slice(&read)?;
    anyhow::ensure!(read["config"]["mediaType"] == CONFIG, "skopeo reads another manifest: {read}");
    let of_layout = to.join(format!("{name}.tar"));
    let mut outer = tar(&of_layout, date);
    execute(outer.arg("-C").arg(to).arg(&name))?;
    fs::remove_dir_all(tree)?;
    fs::remove_dir_all(layout)?;
    Ok([archive, of_layout])
}

/// Writes an OCI layout with one plugin, for one machine type.
pub(super) fn lay_out(
    plugin: &Path,
    date: u64,
    compression: Compression,
    layout: &Path,
) -> anyhow::Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = layout.join("layer.tar.gz");
    pack(&layer, &plugin.join("rootfs"), ".", date, compression)?;
    let plain = said(Command::new("gzip").args(["-dc"]).arg(&layer))?;
    let plain_digest = digest(&plain)?;
    let layer = blob(&blobs, LAYER, &fs::read(&layer)?)?;
    fs::remove_file(layout.join("layer.tar.gz"))?;
    let mut config: Value = serde_json::from_slice(&fs::read(plugin.join("config.json"))?)?;
    config["rootfs"] = json!({"type": "layers", "diff_ids": [format!("sha256:{plain_digest}")]});
    let config = blob(&blobs, CONFIG, &serde_json::to_vec(&config)?)?;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let mut manifest = blob(&blobs, MANIFEST, &serde_json::to_vec(&manifest)?)?;
    manifest["platform"] = json!({"architecture": "amd64", "os": "linux"});
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": VERSION});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    put(&layout.join("index.json"), &serde_json::to_vec(&index)?, 0o644)?;
    put(&layout.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    open_directories(layout)?;
    Ok(())
}

/// Writes a blob by its checksum, and returns its descriptor.
fn blob(blobs: &Path, media_type: &str, content: &[u8]) -> anyhow::Result<Value> {
    let digest = digest(content)?;
    put(&blobs.join(&digest), content, 0o644)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()}))
}

fn digest(content: &[u8]) -> anyhow::Result<String> {
    let sums = through("sha256sum", &[], content)?;
    let digest = String::from_utf8(sums)?;
    Ok(digest.split(' ').next().context("sha256sum prints a sum")?.to_owned())
}
