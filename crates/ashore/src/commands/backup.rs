//! `ashore state backup`: the state as files of a directory, of which the last ones stay. A new one is whole before an old
//! one goes, so that a full disk costs none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::remedy::Remedy;

use super::events::on_clock;
use crate::cli::BackupArgs;
use crate::client::{Failure, ask, print_json, unexpected};
use crate::clock::now;
use crate::files;
use crate::out::say;

pub(crate) fn run(args: &BackupArgs) -> Result<(), Failure> {
    let document = match ask(&args.client, &Request::ExportState)? {
        Reply::State(document) => document,
        other => return Err(unexpected(&other)),
    };
    let bytes = serde_json::to_vec_pretty(&document).map_err(anyhow::Error::from)?;
    let state = ashore_store::state_of(document).map_err(anyhow::Error::from)?;
    let (to, mark) = (&args.to, state.seed.mark());
    let newest = newest(to, &mark).map_err(|error| not_written(to, &error))?;
    let is_new = newest.as_ref().is_none_or(|name| fs::read(to.join(name)).ok().as_ref() != Some(&bytes));
    let name = newest.filter(|_| !is_new).unwrap_or_else(|| name_at(&mark, now()));
    let path = to.join(&name);
    let write = || {
        if !is_new {
            return Ok(());
        }
        files::make_directories(to, 0o700)?;
        files::replace(&path, &bytes, 0o600)?;
        File::open(to)?.sync_all()
    };
    write().map_err(|error| not_written(to, &error))?;
    let removed = rotate(to, &mark, &name, args.keep.get()).map_err(|error| not_written(to, &error))?;
    if args.client.json {
        return print_json(
            &serde_json::json!({ "written": is_new.then_some(&path), "newest": path, "removed": removed }),
        );
    }
    say!("{}", path.display());
    if !is_new {
        say!("# nothing has changed since");
    }
    for old in &removed {
        say!("# removed: {}", to.join(old).display());
    }
    Ok(())
}

fn not_written(to: &Path, error: &io::Error) -> Failure {
    let message = format!("no backup is written to {}: {error}", to.display());
    let remedy = Remedy::from(match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory with --to that this command may write to; under systemd also the unit's own restrictions count"
        }
        _ => "free space there, or name a directory on another disk with --to",
    });
    Refusal::of(Code::NotWritten, message, remedy).into()
}

/// The name of a backup. Those of one state are sorted by time, and fit file systems that allow no colon.
fn name_at(mark: &str, seconds: u64) -> String {
    format!("ashore-{mark}-{}.json", on_clock(seconds).replace(':', "-"))
}

/// Whether this command has given a file its name, for the state with this mark. No other file is removed: another host
/// may have its backups here, and those of a state that was lost are the ones that somebody will need.
fn is_ours(mark: &str, name: &OsStr) -> bool {
    let time = name.to_str().and_then(|name| {
        name.strip_prefix("ashore-")?.strip_prefix(mark)?.strip_prefix('-')?.strip_suffix(".json")
    });
    let is_as = |(c, like): (char, char)| if like == '0' { c.is_ascii_digit() } else { c == like };
    let like = on_clock(0).replace(':', "-");
    time.is_some_and(|time| time.len() == like.len() && time.chars().zip(like.chars().map(zeroed)).all(is_as))
}

fn zeroed(c: char) -> char {
    if c.is_ascii_digit() { '0' } else { c }
}

/// The last backup of a state. One of a time that is to come was made by a clock that was wrong.
fn newest(directory: &Path, mark: &str) -> io::Result<Option<String>> {
    let last = name_at(mark, now());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut newest = None;
    for entry in entries {
        let entry = entry?;
        if is_ours(mark, &entry.file_name()) && entry.file_type()?.is_file() {
            newest = newest.max(entry.file_name().into_string().ok().filter(|name| *name <= last));
        }
    }
    Ok(newest)
}

/// Removes all but the last backups, and what a killed one has left half done. The one that was just written stays, even
/// if the clock has gone back since the others.
fn rotate(directory: &Path, mark: &str, last: &str, keep: usize) -> io::Result<Vec<String>> {
    let (mut old, mut removed) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let half = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".new"));
        if half.is_some_and(|half| is_ours(mark, half.as_ref())) {
            fs::remove_file(entry.path())?;
        } else if is_ours(mark, &name) && name != last && entry.file_type()?.is_file() {
            old.extend(name.into_string());
        }
    }
    // One of a time that is to come is no newer than others.
    let now = name_at(mark, now());
    old.sort_by_key(|name| (*name <= now, name.clone()));
    old.truncate((old.len() + 1).saturating_sub(keep));
    for name in old {
        fs::remove_file(directory.join(&name))?;
        removed.push(name);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "0badcafe";

    #[test]
    fn the_oldest_go_and_nothing_that_is_not_a_backup_does() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let others =
            ["ashore-2026.json", "mine.json", "ashore-0badcafe-2026-11-30T08-00-0xZ.json", ".hidden.new"];
        // Another host's, or those of the state that was lost.
        let others = others.into_iter().map(str::to_owned).chain((1..=9).map(|day| name_at("deadbeef", day)));
        let others: Vec<String> = others.collect();
        for name in &others {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at(&name_at(MARK, 5))).unwrap();
        let names: Vec<String> = (1..=4).map(|day| name_at(MARK, 86_400 * day)).collect();
        for name in &names {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at(&format!(".{}.new", names[0])), "half").unwrap();
        assert_eq!(rotate(directory.path(), MARK, &names[3], 2).unwrap(), names[..2]);
        assert!(others.iter().all(|name| at(name).exists()) && at(&name_at(MARK, 5)).is_dir());
        assert!(!at(&format!(".{}.new", names[0])).exists());
        assert_eq!(rotate(directory.path(), MARK, &names[3], 2).unwrap(), [] as [&str; 0]);
        // The clock has gone back.
        fs::write(at(&name_at(MARK, 7)), "").unwrap();
        assert_eq!(rotate(directory.path(), MARK, &name_at(MARK, 7), 1).unwrap(), names[2..]);
        assert!(at(&name_at(MARK, 7)).exists());
    }
}
