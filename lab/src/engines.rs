//! Where a test finds engines and tools of the distribution, and what it says when it cannot run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The distribution's packages, unpacked: tools for this machine, and trees with an engine each.
#[derive(Debug, Clone)]
pub struct Engines(PathBuf);

impl Engines {
    /// What `cargo xtask test` has unpacked, or why there is nothing.
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

    /// A file of a tool, by its path on an ordinary system.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join("tools/root").join(file.trim_start_matches('/'))
    }

    /// The tree with the engine of one of Debian's releases.
    pub fn tree(&self, suite: &str) -> PathBuf {
        self.0.join(suite).join("root")
    }

    /// Makes a command find the tools' programs and libraries.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let joined = |directories: &[&str], variable: &str| -> OsString {
            let ours = directories.iter().map(|directory| self.path(directory));
            let there = std::env::var_os(variable).unwrap_or_default();
            let all = ours.chain(std::env::split_paths(&there).filter(|path| !path.as_os_str().is_empty()));
            std::env::join_paths(all).expect("a build directory has no colon in its name")
        };
        command.env("PATH", joined(&["usr/bin", "usr/sbin"], "PATH"));
        let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        // systemd's own library has a directory of its own.
        let systemd = format!("{libraries}/systemd");
        command.env("LD_LIBRARY_PATH", joined(&[&libraries, &systemd], "LD_LIBRARY_PATH"))
    }
}

/// The tree of the managed plugin, which `docker plugin create` takes, or why there is none.
pub fn plugin_tree() -> Result<PathBuf, String> {
    std::env::var_os("ASHORE_PLUGIN").map(PathBuf::from).ok_or_else(|| {
        std::env::var("ASHORE_NO_PLUGIN")
            .unwrap_or_else(|_| "`cargo xtask test docker_plugin` makes it".to_owned())
    })
}

/// Says that a test cannot run and why, where the list at the end of `cargo xtask test` finds it.
pub fn cannot_run(test: &str, why: &str) {
    eprintln!("cannot-run: {test}: {why}");
}
