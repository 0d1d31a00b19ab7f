//! Changes that the daemon has made but not yet written to the disk, in a file that outlives the process and not
//! the machine's end.
//!
//! A durable write takes an SD card 20 to 100 ms. What a reboot undoes anyway, such as a container's link, has to
//! outlive the daemon alone. So it is noted here, where a write takes microseconds because nothing is synced, and
//! reaches the disk together with other changes.
//!
//! Invariant: the rows on the disk, changed by these lines in their order, are the state in memory. So every
//! change goes through here while there are lines, and a line that is on the disk already does no harm.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use ashore_core::api::document::Document;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::{Row, SCHEMA, SEED_KEY};

/// The maximum length of the file, in bytes. More is written to the disk first.
const LONGEST: u64 = 4 << 20;

/// The file. Its first line says what the others belong to; each of them has the rows that one commit changed.
#[derive(Debug)]
pub struct Backlog {
    file: File,
    /// The machine's boot.
    boot: String,
    /// The length of the head, and of the whole file, in bytes.
    head: u64,
    length: u64,
}

/// What the lines belong to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    schema: u32,
    /// The kernel's `boot_id`. Lines of an earlier boot are void.
    boot: String,
    /// The seed of the state, which no other state has.
    seed: Value,
}

impl Backlog {
    /// Uses a file that is open for reading and writing, and that belongs to the caller alone. `boot` is the
    /// machine's boot (`/proc/sys/kernel/random/boot_id`).
    pub fn of(file: File, boot: &str) -> Self {
        Backlog { file, boot: boot.to_owned(), head: 0, length: 0 }
    }

    /// Applies the lines to the document on the disk. Lines of an earlier boot, of another state or of another
    /// schema do not count: those of an earlier schema are on the disk since the migration. A line without an end
    /// was being written when the process was killed. Returns whether anything was applied.
    pub(crate) fn replay(&self, document: &mut Document) -> io::Result<bool> {
        let mut bytes = Vec::new();
        (&self.file).take(2 * LONGEST).read_to_end(&mut bytes)?;
        let mut lines =
            bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
        let head = lines.next().and_then(|line| serde_json::from_slice::<Head>(line).ok());
        if head != Some(self.head_of(document)) {
            return Ok(false);
        }
        let mut is_any = false;
        for Row { key, value } in
            lines.map_while(|line| serde_json::from_slice::<Vec<Row>>(line).ok()).flatten()
        {
            is_any = true;
            match value {
                Some(value) => {
                    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                    document.rows.insert(key, value);
                }
                None => drop(document.rows.remove(&key)),
            }
        }
        Ok(is_any)
    }

    /// Begins anew, for a document that is on the disk.
    pub(crate) fn begin(&mut self, document: &Document) -> io::Result<()> {
        self.file.set_len(0)?;
        let head = line(&Head { schema: SCHEMA, ..self.head_of(document) })?;
        self.file.write_all_at(&head, 0)?;
        (self.head, self.length) = (head.len() as u64, head.len() as u64);
        Ok(())
    }

    fn head_of(&self, document: &Document) -> Head {
        let seed = document.rows.get(SEED_KEY).cloned().unwrap_or_default();
        Head { schema: document.schema, boot: self.boot.clone(), seed }
    }

    /// Whether it has no lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == self.head
    }

    /// Its length, to which [`Backlog::cut`] can return.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Adds a line. If that fails, there is no part of it.
    pub(crate) fn add(&mut self, rows: &[Row]) -> io::Result<()> {
        let line = line(&rows)?;
        let length = self.length + line.len() as u64;
        if length > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(&line, self.length).or_else(|error| {
            self.file.set_len(self.length)?;
            Err(error)
        })?;
        self.length = length;
        Ok(())
    }

    /// Removes the lines that were added since it had this length.
    pub(crate) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    /// Removes all lines, because they are on the disk.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.cut(self.head)
    }

    /// Makes the file void, because it can no longer be kept up to date.
    pub(crate) fn give_up(self) {
        // One of the two is enough.
        let _ = self.file.write_all_at(b"\n", 0);
        let _ = self.file.set_len(0);
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
