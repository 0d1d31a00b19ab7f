//! The file of the events. It is apart from the state, because nothing depends on it: whatever is wrong with it, the
//! daemon starts, and what can be read of it is kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ashore_core::model::event::Event;

const FILE: &str = "events.jsonl";
/// The maximum length of the file, in bytes. A thousand events are shorter.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The file in which events are kept, one in each line.
#[derive(Debug)]
pub struct EventsFile {
    directory: PathBuf,
}

/// What the file had.
#[derive(Debug, Default)]
pub struct KeptEvents {
    /// The events that can be read.
    pub events: Vec<Event>,
    /// The number of lines that cannot.
    pub unread: usize,
}

impl EventsFile {
    /// The file in a directory of a state.
    pub fn of(directory: &Path) -> Self {
        EventsFile { directory: directory.to_owned() }
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Reads what there is. If there is no file, there is nothing.
    pub fn read(&self) -> io::Result<KeptEvents> {
        let path = self.path();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptEvents::default()),
            // To open a pipe would wait for its other end.
            Ok(there) if !there.is_file() => return Err(io::Error::other("it is not a file")),
            there => there.map(drop)?,
        }
        let mut bytes = Vec::new();
        File::open(&path)?.take(LONGEST).read_to_end(&mut bytes)?;
        let mut kept = KeptEvents::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(event) => kept.events.push(event),
                Err(_) => kept.unread += 1,
            }
        }
        Ok(kept)
    }

    /// Replaces what there is. After a power failure, it is the old or the new.
    pub fn write(&self, events: &[Event]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for event in events {
            serde_json::to_writer(&mut bytes, event)?;
            bytes.push(b'\n');
        }
        let (path, unfinished) = (self.path(), self.directory.join(format!(".{FILE}.new")));
        let _ = fs::remove_file(&unfinished);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ashore_core::model::event::{Happening, Kind};

    use super::*;

    fn event(number: u64) -> Event {
        Event {
            number,
            at: 100,
            first: None,
            times: 1,
            what: Happening::new(Kind::Attached, "it\n\u{1b}came"),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_no_other_user_may() {
        let directory = tempfile::tempdir().unwrap();
        let file = EventsFile::of(directory.path());
        assert!(file.read().unwrap().events.is_empty());
        file.write(&[event(1), event(2)]).unwrap();
        file.write(&[event(2), event(3)]).unwrap();
        let kept = file.read().unwrap();
        assert_eq!((kept.events, kept.unread), (vec![event(2), event(3)], 0));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_a_damaged_file_what_can_be_read_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = EventsFile::of(directory.path());
        file.write(&[event(1), event(2)]).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for end in 0..whole.len() {
            fs::write(file.path(), &whole[..end]).unwrap();
            let kept = file.read().unwrap();
            assert!(kept.events.len() + kept.unread <= 2, "{end}");
        }
        let later = br#"{"number":3,"at":1,"kind":"melted","text":"","more":[1]}"#;
        fs::write(file.path(), [&whole, b"\xff\0garbage\n".as_slice(), later].concat()).unwrap();
        let kept = file.read().unwrap();
        assert_eq!((kept.events.len(), kept.unread), (3, 1));
    }

    #[test]
    fn what_is_no_file_is_told_and_waits_for_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let file = EventsFile::of(directory.path());
        fs::create_dir(file.path()).unwrap();
        assert!(file.read().is_err());
        assert!(file.write(&[event(1)]).is_err());
        assert!(EventsFile::of(&directory.path().join("none")).write(&[]).is_err());
    }
}
