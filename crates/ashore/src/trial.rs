//! A NIC's move on trial. One file holds the way back. The daemon, a restarted daemon and the guard all use
//! it, and any of them may be killed.
//!
//! The file is in a directory that does not survive a reboot. The process that holds its lock may end the
//! trial: it restores the host or keeps the move. A process that dies releases the lock. A trial whose file
//! is gone is over.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ashore_core::net::step::{HostAddress, Step};
use ashore_core::plan::nic_move::Move;
use ashore_kernel::{Kernel, Namespace, OnError, StepError};
use serde::{Deserialize, Serialize};

use crate::unlocked::Unlocked;

/// How many times to attempt the way back if a step fails.
const TRIES: u32 = 3;

/// The file of the trial.
#[derive(Debug, Clone)]
pub(crate) struct TrialFile(PathBuf);

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The move.
    pub(crate) moved: Move,
    /// When the trial began, in milliseconds since the host booted.
    begun: u64,
    /// When the trial ends unless it is confirmed, in the same unit.
    until: u64,
    /// The boot of the host and the namespace of the NIC. The file may have outlived either.
    here: Here,
}

/// This boot of this host, and one of its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Here {
    boot: String,
    netns: (u64, u64),
}

impl Here {
    fn of(namespace: &Namespace) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let netns = namespace.identity();
        Ok(Here { boot, netns: (netns.dev, netns.ino) })
    }
}

impl Trial {
    /// Creates a trial that begins now.
    pub(crate) fn new(moved: Move, length: Duration, namespace: &Namespace) -> io::Result<Self> {
        let begun = since_start()?;
        let until = begun + u64::try_from(length.as_millis()).unwrap_or(u64::MAX - begun);
        Ok(Trial { moved, begun, until, here: Here::of(namespace)? })
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        // If the clock cannot be read, the trial is over.
        Duration::from_millis(self.until.saturating_sub(since_start().unwrap_or(u64::MAX)))
    }

    /// Restores the host, in up to [`TRIES`] attempts. Returns the errors of the last attempt.
    fn put_back(&self, mut apply: impl FnMut(&[Step]) -> Vec<StepError>) -> Vec<StepError> {
        let age = since_start().map_or(0, |now| now.saturating_sub(self.begun) / 1000);
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let back: Vec<Step> = self.moved.back().into_iter().map(|step| aged(step, age)).collect();
        let mut errors = Vec::new();
        for _ in 0..TRIES {
            for step in &back {
                tracing::info!(target: "ashore::step", "{step}");
            }
            errors = apply(&back);
            if errors.is_empty() {
                break;
            }
        }
        errors
    }
}

/// Reduces the lifetime of an address by the seconds that have passed.
fn aged(step: Step, seconds: u32) -> Step {
    match step {
        Step::PutHostAddress { place, link, address } => {
            let life = address.life.map(|life| life.after(seconds));
            Step::PutHostAddress { place, link, address: HostAddress { life, ..address } }
        }
        step => step,
    }
}

/// Milliseconds since the host booted, including the time that it was suspended.
fn since_start() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    let millis = seconds.map(|seconds| Duration::from_secs_f64(seconds).as_millis());
    millis.and_then(|millis| u64::try_from(millis).ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl TrialFile {
    /// The trial file in a daemon's run directory.
    pub(crate) fn of(run: &Path) -> Self {
        TrialFile(run.join("bridge-trial"))
    }

    /// The trial file at a path.
    pub(crate) fn at(path: &Path) -> Self {
        TrialFile(path.to_owned())
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a confirmed move is remembered until the next boot, for a client that asks again.
    fn kept(&self) -> PathBuf {
        self.0.with_extension("kept")
    }

    /// Writes a trial to the file. Fails with `AlreadyExists` if there is one.
    pub(crate) fn begin(&self, _: &Unlocked, trial: &Trial) -> io::Result<()> {
        let unfinished = self.0.with_extension("new");
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(trial)?)?;
        // Unlike a rename, a hard link replaces nothing.
        let begun = fs::hard_link(&unfinished, &self.0);
        fs::remove_file(&unfinished)?;
        begun
    }

    /// Returns the current trial, and a mark that distinguishes it from a later one. Returns `None` if there
    /// is no trial.
    pub(crate) fn read(&self, _: &Unlocked) -> io::Result<Option<(Trial, u64)>> {
        match File::open(&self.0) {
            Ok(file) => Ok(Some((read(&file)?, file.metadata()?.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the move that was confirmed last, or `None`.
    pub(crate) fn kept_move(&self, unlocked: &Unlocked) -> io::Result<Option<Move>> {
        Ok(TrialFile(self.kept()).read(unlocked)?.map(|(trial, _)| trial.moved))
    }

    /// Whether the trial with this mark is still on.
    pub(crate) fn goes_on(&self, _: &Unlocked, mark: u64) -> bool {
        fs::metadata(&self.0).is_ok_and(|file| file.ino() == mark)
    }

    /// Whether the trial belongs to this boot of the host and to this namespace. Otherwise it has ended with
    /// them.
    pub(crate) fn is_of(trial: &Trial, namespace: &Namespace) -> bool {
        Here::of(namespace).is_ok_and(|here| here == trial.here)
    }

    /// Removes the file of a trial that ended with the boot or its namespace.
    pub(crate) fn forget(&self, _: &Unlocked) -> io::Result<()> {
        fs::remove_file(&self.0)
    }

    /// Waits for the lock of the trial and takes it. Returns `None` if there is no trial by then.
    pub(crate) fn hold(&self, unlocked: &Unlocked) -> io::Result<Option<Held>> {
        loop {
            let file = match File::open(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            file.lock()?;
            if self.goes_on(unlocked, file.metadata()?.ino()) {
                let trial = read(&file)?;
                return Ok(Some(Held { at: self.clone(), trial, _lock: file }));
            }
        }
    }
}

fn read(mut file: &File) -> io::Result<Trial> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// A locked trial, which no other process can end.
#[derive(Debug)]
pub(crate) struct Held {
    at: TrialFile,
    pub(crate) trial: Trial,
    _lock: File,
}

impl Held {
    /// Restores the host and ends the trial. Returns the errors of the steps that failed.
    pub(crate) fn put_back_by(self, unlocked: &mut Unlocked, kernel: &Kernel) -> Vec<StepError> {
        self.put_back(unlocked, |_, steps| kernel.apply(steps, OnError::GoOn).errors)
    }

    /// Does the same with a function that applies the steps, all of them even after an error.
    pub(crate) fn put_back(
        self,
        unlocked: &mut Unlocked,
        mut apply: impl FnMut(&mut Unlocked, &[Step]) -> Vec<StepError>,
    ) -> Vec<StepError> {
        let Move { nic, bridge, .. } = &self.trial.moved;
        tracing::warn!(%nic, %bridge, "restoring the host's previous configuration");
        let mut errors = self.trial.put_back(|steps| apply(unlocked, steps));
        errors.dedup_by_key(|error| error.to_string());
        for error in &errors {
            tracing::error!("{error}");
        }
        if let Err(error) = fs::remove_file(&self.at.0) {
            tracing::error!("{}: {error}", self.at.0.display());
        }
        errors
    }

    /// Ends the trial before anything was moved.
    pub(crate) fn forget(self, unlocked: &Unlocked) -> io::Result<()> {
        self.at.forget(unlocked)
    }

    /// Ends the trial and keeps the move.
    pub(crate) fn keep(self, _: &Unlocked) -> io::Result<Move> {
        fs::rename(&self.at.0, self.at.kept())?;
        Ok(self.trial.moved)
    }
}
