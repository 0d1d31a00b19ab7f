//! A user inside a container.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ashore_core::net::observed::Link;
use ashore_kernel::{InNamespace, Namespace};
use ashore_lab::{Engines, Machine};

/// A user inside a container who may change everything there (`CAP_NET_ADMIN` over its namespace).
pub struct Inside {
    engines: Engines,
    /// Opened only for a moment at a time, because an open namespace outlives its container.
    netns: PathBuf,
}

impl Inside {
    pub fn of(container: &Machine) -> Inside {
        Inside::at(container.namespace().path())
    }

    pub fn at(path: &Path) -> Inside {
        Inside { engines: Engines::find().unwrap(), netns: path.to_owned() }
    }

    /// Runs commands, separated by `;`. Each must succeed.
    #[track_caller]
    pub fn types(&self, commands: &str) {
        for line in commands.split(';').map(str::trim).filter(|line| !line.is_empty()) {
            self.tries(line).unwrap();
        }
    }

    /// Runs one command. Returns its error output if it fails. `\xff` is the byte that no text has.
    pub fn tries(&self, line: &str) -> Result<(), String> {
        let bytes = |word: &str| word.split(r"\xff").map(str::as_bytes).collect::<Vec<_>>().join(&0xff_u8);
        let mut words = line.split_whitespace().map(|word| OsString::from_vec(bytes(word)));
        let mut command = std::process::Command::new(words.next().unwrap());
        command.in_namespace(&Namespace::open(&self.netns).unwrap()).unwrap();
        let output = self.engines.equip(&mut command).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("{line}: {said}")) }
    }

    pub fn links(&self) -> Vec<Link> {
        let namespace = Namespace::open(&self.netns).unwrap();
        ashore_kernel::Kernel::of(&namespace).unwrap().observe(&[]).unwrap().host.links
    }

    /// The kernel's indexes of the container's links that face the LAN.
    pub fn children(&self) -> Vec<u32> {
        self.links().iter().filter(|link| link.is_child()).map(|link| link.index).collect()
    }
}
