//! The signature of the checksums, by minisign. The key is the owner's, and never in this repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::VERSION;
use super::files::said;
use super::packers::{KEY, Packers, WORK};

/// Signs a file with a secret key that has no password, and checks the signature by its public key. Returns the
/// signature's path.
pub(super) fn make(packers: &Packers, file: &Path, key: &Path, date: u64) -> anyhow::Result<PathBuf> {
    let directory = file.parent().context("a file is in a directory")?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let inside = format!("{WORK}/{name}");
    let mut sign = packers.command("/usr/bin/minisign", directory, date);
    sign.args(["-S", "-s", KEY, "-m", &inside]);
    sign.args(["-t", &format!("Ashore {VERSION}")]);
    sign.env("KEY", fs::canonicalize(key).with_context(|| key.display().to_string())?);
    said(&mut sign)?;
    let mut public = key.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    let text = fs::read_to_string(&public).with_context(|| public.display().to_string())?;
    let public = text.lines().last().unwrap_or_default();
    check(packers, directory, &inside, public)?;
    Ok(directory.join(format!("{name}.minisig")))
}

/// Fails unless a file's signature is that of a public key.
fn check(packers: &Packers, directory: &Path, inside: &str, public: &str) -> anyhow::Result<()> {
    let mut verify = packers.command("/usr/bin/minisign", directory, 0);
    let output = verify.args(["-V", "-q", "-P", public, "-m", inside]).output()?;
    ensure!(output.status.success(), "the signature is not that of {public}");
    Ok(())
}
