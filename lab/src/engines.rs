//! Where tests find the distribution's engines and tools, and what a test prints when it cannot run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The distribution's packages, unpacked: tools for this machine, and one tree per engine.
#[derive(Debug, Clone)]
pub struct Engines(PathBuf);

impl Engines {
    /// Finds what `cargo xtask test` has unpacked. Returns the reason if there is nothing.
    pub fn find() -> Result<Self, String> {
        if let Some(directory) = std::env::var_os("ASHORE_ENGINES") {
            return Ok(Engines(directory.into()));
        }
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/engines");
        match directory.canonicalize() {
            Ok(directory) if directory.join("tools/complete").exists() => Ok(Engines(directory)),
            _ => Err(std::env::var("ASHORE_NO_ENGINES")
                .unwrap_or_else(|_| "`cargo xtask test` fetches it".to_owned())),
        }
    }

    /// A tool's file, given its path on an ordinary system.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join("tools/root").join(file.trim_start_matches('/'))
    }

    /// The tree with the engine of a Debian release.
    pub fn tree(&self, suite: &str) -> PathBuf {
        self.0.join(suite).join("root")
    }

    /// Sets a command's environment so that it finds the tools' programs and libraries.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let joined = |directories: &[&str], variable: &str| -> OsString {
            let ours = directories.iter().map(|directory| self.path(directory));
            let there = std::env::var_os(variable).unwrap_or_default();
            let all = ours.chain(std::env::split_paths(&there).filter(|path| !path.as_os_str().is_empty()));
            std::env::join_paths(all).expect("a build directory has no colon in its name")
        };
        command.env("PATH", joined(&["usr/bin", "usr/sbin"], "PATH"));
        let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        // systemd's private library is in a directory of its own.
        let systemd = format!("{libraries}/systemd");
        command.env("LD_LIBRARY_PATH", joined(&[&libraries, &systemd], "LD_LIBRARY_PATH"))
    }
}

/// The managed plugin's tree, as `docker plugin create` takes it. Returns the reason if there is none.
pub fn plugin_tree() -> Result<PathBuf, String> {
    std::env::var_os("ASHORE_PLUGIN").map(PathBuf::from).ok_or_else(|| {
        std::env::var("ASHORE_NO_PLUGIN")
            .unwrap_or_else(|_| "`cargo xtask test docker_plugin` makes it".to_owned())
    })
}

/// The directory of the Debian packages of the program under test. Returns the reason if there is none.
pub fn packages() -> Result<PathBuf, String> {
    std::env::var_os("ASHORE_PACKAGES").map(PathBuf::from).ok_or_else(|| {
        std::env::var("ASHORE_NO_PACKAGES").unwrap_or_else(|_| "`cargo xtask test deb` makes them".to_owned())
    })
}

/// Prints that a test cannot run, and why. `cargo xtask test` collects these lines and lists them at its end.
pub fn cannot_run(test: &str, why: &str) {
    eprintln!("cannot-run: {test}: {why}");
}
