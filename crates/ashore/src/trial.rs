//! A NIC's move on trial: one file that knows the way back, for the daemon, for a daemon that was started anew, and for the
//! guard, of which any may be killed.
//!
//! The file is in the directory for what does not outlive the host's start. Whoever holds its lock may end the trial, by
//! putting the host back or by keeping the move; a process that dies lets go of the lock. A trial whose file is gone is over.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ashore_core::net::step::{HostAddress, Step};
use ashore_core::plan::nic_move::Move;
use ashore_kernel::{Kernel, Namespace, OnError, StepError};
use serde::{Deserialize, Serialize};

/// How often a way back is walked that met an error.
const TRIES: u32 = 3;

/// Where the trial is written down.
#[derive(Debug, Clone)]
pub(crate) struct TrialFile(PathBuf);

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The move.
    pub(crate) moved: Move,
    /// When it began, in milliseconds since the host was started.
    begun: u64,
    /// Until when it has to be confirmed.
    until: u64,
    /// The host's start, and the namespace of the NIC: the file may have outlived either.
    here: Here,
}

/// This start of this host, and one of its namespaces.
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
    /// A trial that begins now.
    pub(crate) fn new(moved: Move, length: Duration, namespace: &Namespace) -> io::Result<Self> {
        let begun = since_start()?;
        let until = begun + u64::try_from(length.as_millis()).unwrap_or(u64::MAX - begun);
        Ok(Trial { moved, begun, until, here: Here::of(namespace)? })
    }

    /// What is left of its time.
    pub(crate) fn left(&self) -> Duration {
        // Without a clock it is over.
        Duration::from_millis(self.until.saturating_sub(since_start().unwrap_or(u64::MAX)))
    }

    /// Puts the host back, as often as it takes, and comes back with what could not be put back.
    fn put_back(&self, kernel: &Kernel) -> Vec<StepError> {
        let age = since_start().map_or(0, |now| now.saturating_sub(self.begun) / 1000);
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let back: Vec<Step> = self.moved.back().into_iter().map(|step| aged(step, age)).collect();
        let mut errors = Vec::new();
        for _ in 0..TRIES {
            for step in &back {
                tracing::info!(target: "ashore::step", "{step}");
            }
            errors = kernel.apply(&back, OnError::GoOn).errors;
            if errors.is_empty() {
                break;
            }
        }
        errors
    }
}

/// Addresses with an end have come nearer to it.
fn aged(step: Step, seconds: u32) -> Step {
    match step {
        Step::PutHostAddress { place, link, address } => {
            let life = address.life.map(|life| life.after(seconds));
            Step::PutHostAddress { place, link, address: HostAddress { life, ..address } }
        }
        step => step,
    }
}

/// Milliseconds since the host was started, those included in which it slept.
fn since_start() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    let millis = seconds.map(|seconds| Duration::from_secs_f64(seconds).as_millis());
    millis.and_then(|millis| u64::try_from(millis).ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl TrialFile {
    /// The one in a daemon's run directory.
    pub(crate) fn of(run: &Path) -> Self {
        TrialFile(run.join("bridge-trial"))
    }

    /// The one of a path.
    pub(crate) fn at(path: &Path) -> Self {
        TrialFile(path.to_owned())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a move that was confirmed is remembered until the host's next start, for a client that asks again.
    fn kept(&self) -> PathBuf {
        self.0.with_extension("kept")
    }

    /// Writes a trial down. Fails with `AlreadyExists` if there is one.
    pub(crate) fn begin(&self, trial: &Trial) -> io::Result<()> {
        let unfinished = self.0.with_extension("new");
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(trial)?)?;
        // Unlike a rename it replaces nothing.
        let begun = fs::hard_link(&unfinished, &self.0);
        fs::remove_file(&unfinished)?;
        begun
    }

    /// The trial that goes on, and a mark by which it is known from a later one.
    pub(crate) fn read(&self) -> io::Result<Option<(Trial, u64)>> {
        match File::open(&self.0) {
            Ok(file) => Ok(Some((read(&file)?, file.metadata()?.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The move that was confirmed last.
    pub(crate) fn kept_move(&self) -> io::Result<Option<Move>> {
        Ok(TrialFile(self.kept()).read()?.map(|(trial, _)| trial.moved))
    }

    /// Whether the trial of a mark goes on.
    pub(crate) fn goes_on(&self, mark: u64) -> bool {
        fs::metadata(&self.0).is_ok_and(|file| file.ino() == mark)
    }

    /// Whether the trial is of this start of the host and of this namespace. One that is not has ended with them.
    pub(crate) fn is_of(trial: &Trial, namespace: &Namespace) -> bool {
        Here::of(namespace).is_ok_and(|here| here == trial.here)
    }

    /// Drops what has ended with the host or its namespace.
    pub(crate) fn forget(&self) -> io::Result<()> {
        fs::remove_file(&self.0)
    }

    /// Waits for the trial's lock, and takes it; none if there is no trial by then.
    pub(crate) fn hold(&self) -> io::Result<Option<Held>> {
        loop {
            let file = match File::open(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            file.lock()?;
            if self.goes_on(file.metadata()?.ino()) {
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

/// The trial, which nobody else can end now.
#[derive(Debug)]
pub(crate) struct Held {
    at: TrialFile,
    pub(crate) trial: Trial,
    _lock: File,
}

impl Held {
    /// Puts the host back and ends the trial. Comes back with what could not be put back.
    pub(crate) fn put_back(self, kernel: &Kernel) -> Vec<StepError> {
        let Move { nic, bridge, .. } = &self.trial.moved;
        tracing::warn!(%nic, %bridge, "putting the host back as it was");
        let mut errors = self.trial.put_back(kernel);
        errors.dedup_by_key(|error| error.to_string());
        for error in &errors {
            tracing::error!("{error}");
        }
        if let Err(error) = fs::remove_file(&self.at.0) {
            tracing::error!("{}: {error}", self.at.0.display());
        }
        errors
    }

    /// Ends the trial, and the move stays.
    pub(crate) fn keep(self) -> io::Result<Move> {
        fs::rename(&self.at.0, self.at.kept())?;
        Ok(self.trial.moved)
    }
}
