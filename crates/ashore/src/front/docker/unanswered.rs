//! Calls that a daemon received and never answered, because it was killed.
//!
//! The engine repeats such a call after a second. But it reads the body from a buffer that is empty by then,
//! so the repeated call has no body (moby, `pkg/plugins/client.go`, 20.10 to 28). So each call is noted in a
//! small file before it is handled, and the file is removed when the call is answered. A note that a later
//! daemon finds tells what an empty call means, if it can be only one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::files::{self, Directory};

/// More than an engine ever has in progress of one kind.
const MOST: usize = 64;

/// The remedy. An engine up to 20.10 may show a container on a network that it could not join.
const AGAIN: &str = "the daemon was restarted; try: the same again, or, if Docker says that the container is there \
                     already, first run: docker network disconnect -f NETWORK CONTAINER";

/// A call, as noted on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Noted {
    /// The boot in which the call was made, and the uptime then, in seconds. No user can set these, unlike
    /// the wall clock.
    boot: String,
    uptime: i64,
    /// The same moment in seconds since 1970, as used in the state.
    began: u64,
    /// The engine's process.
    caller: Option<i32>,
    method: String,
    body: String,
}

/// The notes of this daemon and of earlier daemons.
pub(super) struct Unanswered {
    /// `None` if the directory cannot be used.
    directory: Option<PathBuf>,
    boot: String,
    /// The maximum age of a note whose call may still be repeated.
    patience: Duration,
    /// The notes of earlier daemons.
    left: Mutex<Vec<(PathBuf, Noted)>>,
}

/// The note of a call, which is removed when this is dropped.
pub(super) struct Note(Option<PathBuf>);

/// A call whose answer was lost.
pub(super) struct Lost {
    pub(super) body: Vec<u8>,
    /// When it was first made, in seconds since 1970.
    pub(super) began: u64,
    pub(super) note: Note,
}

impl Unanswered {
    /// Reads the notes in a directory, and removes those that no engine will repeat any more. If the
    /// directory cannot be used, calls are not noted, and everything else works.
    pub(super) fn in_directory(directory: PathBuf, patience: Duration) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim().to_owned();
        let usable = made(&directory).inspect_err(|error| {
            tracing::warn!("cannot note calls in {}: {error}", directory.display());
        });
        let directory = usable.is_ok().then_some(directory);
        let mut left = Vec::new();
        for entry in directory.iter().flat_map(fs::read_dir).flatten().flatten() {
            let path = entry.path();
            match read(&path) {
                Some(noted) if noted.boot == boot && is_fresh(&noted, patience) => left.push((path, noted)),
                _ => drop(fs::remove_file(path)),
            }
        }
        Unanswered { directory, boot, patience, left: Mutex::new(left) }
    }

    /// Notes a call that is about to be handled.
    pub(super) fn note(&self, method: &str, body: &[u8], caller: Option<i32>) -> Note {
        let noted = Noted {
            boot: self.boot.clone(),
            uptime: uptime(),
            began: now(),
            caller,
            method: method.to_owned(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        match self.write(&noted) {
            Ok(path) => Note(Some(path)),
            Err(error) => {
                tracing::debug!("{method} is not noted: {error}");
                Note(None)
            }
        }
    }

    /// Writes a note. No fsync is needed: a kill keeps what was written, and after a crash of the host no
    /// engine repeats a call.
    fn write(&self, noted: &Noted) -> io::Result<PathBuf> {
        let directory = self.directory.as_ref().ok_or(io::ErrorKind::NotADirectory)?;
        let text = serde_json::to_vec(noted)?;
        for number in 0..MOST {
            let path = directory.join(format!("{}.{number}", noted.method));
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(mut file) => return file.write_all(&text).map(|()| path),
            }
        }
        Err(io::Error::other(format!("{MOST} calls of its kind are in progress")))
    }

    /// Takes the notes of one kind that earlier daemons have left.
    pub(super) fn left_of(&self, method: &str) -> Vec<Note> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = left.extract_if(.., |(_, noted)| noted.method == method);
        of_kind.map(|(path, _)| Note(Some(path))).collect()
    }

    /// The call that an empty call of a method repeats. Calls with equal bodies are interchangeable.
    pub(super) fn repeated(&self, method: &str, caller: Option<i32>) -> Result<Lost, String> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|(path, noted)| {
            let fresh = is_fresh(noted, self.patience);
            if !fresh {
                let _ = fs::remove_file(path);
            }
            fresh
        });
        let mut fitting = left
            .iter()
            .enumerate()
            .filter(|(_, (_, noted))| noted.method == method && noted.caller == caller);
        let Some((at, (_, first))) = fitting.next() else {
            return Err(format!("the call has no body, and none of its kind was interrupted; {AGAIN}"));
        };
        if fitting.any(|(_, (_, other))| other.body != first.body) {
            return Err(format!("the call has no body, and several of its kind were interrupted; {AGAIN}"));
        }
        let (path, noted) = left.swap_remove(at);
        Ok(Lost { body: noted.body.into_bytes(), began: noted.began, note: Note(Some(path)) })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the directory, accessible to this user only. Another user's notes would be forged calls.
fn made(directory: &Path) -> io::Result<()> {
    let (above, name) = directory.parent().zip(directory.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    files::make_directories(above, 0o755)?;
    Directory::at(above)?.inside(name, 0o700).map(drop)
}

fn read(path: &Path) -> Option<Noted> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn is_fresh(noted: &Noted, patience: Duration) -> bool {
    let age = uptime() - noted.uptime;
    u64::try_from(age).is_ok_and(|age| age <= patience.as_secs())
}

/// Seconds since the host booted.
fn uptime() -> i64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOIN: &str = "NetworkDriver.Join";
    const MINUTE: Duration = Duration::from_secs(60);

    /// Notes calls, is killed, and starts again.
    fn killed_over(directory: &Path, calls: &[(&str, &str, i32)]) -> Unanswered {
        let unanswered = Unanswered::in_directory(directory.to_owned(), MINUTE);
        for (method, body, caller) in calls {
            std::mem::forget(unanswered.note(method, body.as_bytes(), Some(*caller)));
        }
        Unanswered::in_directory(directory.to_owned(), MINUTE)
    }

    fn body(unanswered: &Unanswered, method: &str, caller: i32) -> Result<Vec<u8>, String> {
        unanswered.repeated(method, Some(caller)).map(|lost| lost.body)
    }

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn the_one_call_of_its_kind_is_known_once_and_its_note_goes_with_the_answer() {
        let directory = tempfile::tempdir().unwrap();
        let unanswered =
            killed_over(directory.path(), &[(JOIN, "{1}", 7), ("NetworkDriver.Leave", "{2}", 7)]);
        assert_eq!(files(directory.path()), 2);
        assert_eq!(body(&unanswered, JOIN, 7), Ok(b"{1}".to_vec()));
        assert_eq!(files(directory.path()), 1);
        assert!(body(&unanswered, JOIN, 7).unwrap_err().contains("none of its kind"));
    }

    #[test]
    fn a_repetition_that_is_cut_short_is_known_again() {
        let directory = tempfile::tempdir().unwrap();
        let unanswered = killed_over(directory.path(), &[(JOIN, "{1}", 7)]);
        std::mem::forget(unanswered.repeated(JOIN, Some(7)).unwrap());
        let unanswered = killed_over(directory.path(), &[]);
        assert_eq!(body(&unanswered, JOIN, 7), Ok(b"{1}".to_vec()));
    }

    #[test]
    fn of_two_that_differ_neither_is_guessed_and_two_that_do_not_are_one_each() {
        let directory = tempfile::tempdir().unwrap();
        let unanswered = killed_over(directory.path(), &[(JOIN, "{1}", 7), (JOIN, "{2}", 7)]);
        assert!(body(&unanswered, JOIN, 7).unwrap_err().contains("several"));
        let equal = tempfile::tempdir().unwrap();
        let unanswered = killed_over(equal.path(), &[(JOIN, "{1}", 7), (JOIN, "{1}", 7)]);
        assert_eq!(body(&unanswered, JOIN, 7), Ok(b"{1}".to_vec()));
        assert_eq!(body(&unanswered, JOIN, 7), Ok(b"{1}".to_vec()));
        assert!(body(&unanswered, JOIN, 7).is_err());
    }

    #[test]
    fn another_engines_call_is_not_this_ones() {
        let directory = tempfile::tempdir().unwrap();
        let unanswered = killed_over(directory.path(), &[(JOIN, "{1}", 7)]);
        assert!(body(&unanswered, JOIN, 8).is_err());
    }

    #[test]
    fn a_call_under_way_is_no_repetition() {
        let directory = tempfile::tempdir().unwrap();
        let unanswered = Unanswered::in_directory(directory.path().to_owned(), MINUTE);
        let note = unanswered.note(JOIN, b"{1}", Some(7));
        assert!(body(&unanswered, JOIN, 7).is_err());
        drop(note);
        assert_eq!(files(directory.path()), 0);
    }

    #[test]
    fn old_notes_those_of_another_boot_and_halves_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(format!("{JOIN}.0"));
        let changes: [fn(&mut Noted); 2] =
            [|noted| noted.uptime -= 61, |noted| noted.boot = "another".into()];
        for change in changes {
            drop(killed_over(directory.path(), &[(JOIN, "{1}", 7)]));
            let mut noted = read(&path).unwrap();
            change(&mut noted);
            fs::write(&path, serde_json::to_vec(&noted).unwrap()).unwrap();
            assert!(body(&killed_over(directory.path(), &[]), JOIN, 7).is_err());
            assert_eq!(files(directory.path()), 0);
        }
        fs::write(&path, b"{\"boot\":").unwrap();
        drop(killed_over(directory.path(), &[]));
        assert_eq!(files(directory.path()), 0);
    }
}
