//! The state on disk: one redb file, written before the daemon answers a request.
//!
//! Every row is JSON under its key. So an export contains the same rows, and a migration is a function from
//! document to document. A commit is one durable transaction, and memory changes only after it. After a disk
//! error, memory decides what was committed.
//!
//! Changes that a power failure undoes anyway need not be durable: they are in memory and in the
//! [`Backlog`] at once, and reach the disk with the next transaction.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ashore_core::api::document::Document;
use ashore_core::model::identity::Seed;
use ashore_core::model::state::{Change, State};
use ashore_core::net::text::Word;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::backlog::Backlog;
use crate::document::{self, DocumentError, Row, SCHEMA};
use crate::kept;

#[cfg(test)]
mod tests;

/// The only table. A key is a kind, a separator and the key proper. Rows of a kind are sorted by that key.
const ROWS: TableDefinition<'_, &str, &str> = TableDefinition::new("rows");

pub(crate) const FILE: &str = "state.redb";

/// Where a daemon keeps its state, unless it is told otherwise.
pub const DIRECTORY: &str = "/var/lib/ashore";

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be created or used.
    #[error("the state directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// What a killed daemon left in the backlog cannot be read.
    #[error("the state's backlog cannot be read: {0}")]
    Backlog(#[source] io::Error),
    /// The state of before an upgrade cannot be kept.
    #[error(
        "the state of schema {schema} cannot be kept in {path} before it is brought up to date: {source}"
    )]
    Keep {
        /// Its schema.
        schema: u32,
        /// The directory.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// Another process has the file open.
    #[error("the state in {0} is in use by another daemon")]
    InUse(PathBuf),
    /// The file is damaged or the disk failed.
    #[error("the state in {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The error of redb.
        #[source]
        source: Box<redb::Error>,
    },
    /// A row cannot be read, or the schema is newer than this version.
    #[error("the state in {path}: {source}")]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with the document.
        #[source]
        source: DocumentError,
    },
}

impl StoreError {
    /// The remedy. Returns `None` if the message already contains it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::InUse(_) => Some("stop that one first".into()),
            // The message itself names the remedy, or there is none.
            StoreError::Directory { .. } | StoreError::Backlog(_) => None,
            StoreError::Keep { .. } => Some(
                "free space on that disk, and start the daemon again; nothing was changed, and the version of before still \
                 reads the state"
                    .into(),
            ),
            StoreError::Document { path, source: DocumentError::FromTheFuture { .. } } => {
                let directory = path.parent()?;
                let kept = kept::latest(directory)?;
                let command = restore_command(directory, &word(&kept));
                Some(format!("or go back to the state of before the upgrade, without what was made since: {command}"))
            }
            StoreError::Database { path, .. } | StoreError::Document { path, .. } => {
                let command = restore_command(path.parent()?, "FILE");
                let file = word(path);
                Some(format!(
                    "check the disk; if the file is damaged, restore an earlier `ashore state export` or `ashore state backup`: \
                     {command}; without one, mv {file} {file}.damaged, and names get other addresses and MACs"
                ))
            }
        }
    }
}

/// The command that restores a state.
fn restore_command(directory: &Path, document: &str) -> String {
    let elsewhere = (directory != Path::new(DIRECTORY)).then(|| format!(" --state {}", word(directory)));
    format!("ashore state restore {document}{}", elsewhere.unwrap_or_default())
}

fn word(path: &Path) -> String {
    Word(path.as_os_str().as_bytes()).to_string()
}

/// The open file and its contents.
#[derive(Debug)]
pub struct Store {
    /// `None` while the file cannot be opened. After an I/O error redb accepts no writes until the file is
    /// reopened.
    database: Option<Database>,
    path: PathBuf,
    /// Copied before a change if a reader still has it.
    state: Arc<State>,
    /// Rows that are in memory but not yet on disk.
    deferred: Vec<Row>,
    /// Has the same rows, so that they outlive the process. `None` if there is no such file, or none that can be
    /// written.
    backlog: Option<Backlog>,
    /// The file in which the state of before an upgrade is kept, if this was the first opening since.
    kept: Option<PathBuf>,
}

impl Store {
    /// Opens the state in a directory, without a backlog. If there is none, creates an empty state with `seed`.
    pub fn open(directory: &Path, seed: Seed) -> Result<Store, StoreError> {
        Store::open_with(directory, seed, None)
    }

    /// The same, with a backlog. What a killed daemon has left in it is written to the disk.
    pub fn open_with(directory: &Path, seed: Seed, backlog: Option<Backlog>) -> Result<Store, StoreError> {
        let at = |source| StoreError::Directory { path: directory.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
        let path = directory.join(FILE);
        if !path.exists() {
            create(directory, &document::of_state(&State::new(seed)))?;
        }
        let database = open(&path)?;
        let mut document = read(&database).map_err(|source| database_error(&path, source))?;
        let replayed = match &backlog {
            Some(left) => left.replay(&mut document).map_err(StoreError::Backlog)?,
            None => false,
        };
        let outdated = document.schema != SCHEMA;
        let document_fault = |source| StoreError::Document { path: path.clone(), source };
        let older = outdated.then(|| document.clone());
        let document = document::migrated(document).map_err(document_fault)?;
        let state = Arc::new(document::to_state(&document).map_err(document_fault)?);
        // The way back is there before it is needed.
        let keep = |older: Document| {
            let (schema, path) = (older.schema, directory.to_owned());
            kept::keep(directory, &older).map_err(|source| StoreError::Keep { schema, path, source })
        };
        let kept = older.map(keep).transpose()?;
        let mut store =
            Store { database: Some(database), path, state, deferred: Vec::new(), backlog: None, kept };
        if outdated || replayed {
            store.rewrite(&document)?;
        }
        store.backlog = backlog.and_then(|mut backlog| backlog.begin(&document).is_ok().then_some(backlog));
        Ok(store)
    }

    /// The file in which the state of before an upgrade is kept, if it was upgraded when it was opened.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// The state in memory.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state as it is now. Later changes do not change it: they are made to another one.
    pub fn snapshot(&self) -> Arc<State> {
        self.state.clone()
    }

    /// A store with the state as it is now, to be read: it has no file.
    #[must_use]
    pub fn copy(&self) -> Store {
        Store {
            database: None,
            path: self.path.clone(),
            state: self.snapshot(),
            deferred: Vec::new(),
            backlog: None,
            kept: None,
        }
    }

    /// Commits changes, all or none. When this returns `Ok`, they are on disk.
    pub fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let own: Vec<Row> = changes.iter().map(document::row).collect();
        let mut before = self.backlog.as_ref().filter(|backlog| !backlog.is_empty()).map(Backlog::length);
        // What the backlog says of the same rows is older, and must not come after them.
        if before.is_some() && self.backlog.as_mut().is_some_and(|backlog| backlog.add(&own).is_err()) {
            self.flush()?;
            before = None;
        }
        let rows: Vec<Row> = self.deferred.iter().cloned().chain(own).collect();
        if let Err(error) = self.write_rows(&rows) {
            if let Some(before) = before {
                self.note(|backlog| backlog.cut(before));
            }
            return Err(error);
        }
        self.apply(changes);
        Ok(())
    }

    /// Applies changes that outlive the process, but not a power failure right after. They reach the disk with
    /// the next commit, or with [`Store::flush`]. Without a backlog they are committed.
    pub fn record(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let rows: Vec<Row> = changes.iter().map(document::row).collect();
        match self.backlog.as_mut().map(|backlog| backlog.add(&rows)) {
            Some(Ok(())) => {
                self.deferred.extend(rows);
                self.apply(changes);
                Ok(())
            }
            // It may be full.
            Some(Err(_)) => {
                self.flush()?;
                self.commit(changes)
            }
            None => self.commit(changes),
        }
    }

    /// Applies changes that the kernel would report anyway. They reach the disk with the next commit, or with
    /// [`Store::flush`].
    pub fn defer(&mut self, changes: Vec<Change>) {
        let rows: Vec<Row> = changes.iter().map(document::row).collect();
        let noted = self.backlog.as_mut().is_none_or(|backlog| backlog.add(&rows).is_ok());
        self.deferred.extend(rows);
        self.apply(changes);
        if !noted && self.flush().is_err() {
            self.note(|_| Err(io::ErrorKind::FileTooLarge.into()));
        }
    }

    /// Writes to the backlog. One that can no longer be written is given up, because it would say what is no
    /// longer so.
    fn note(&mut self, write: impl FnOnce(&mut Backlog) -> io::Result<()>) {
        let Some(mut backlog) = self.backlog.take() else { return };
        if write(&mut backlog).is_ok() {
            self.backlog = Some(backlog);
        } else {
            backlog.give_up();
        }
    }

    fn apply(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let state = Arc::make_mut(&mut self.state);
            for change in changes {
                state.apply(change);
            }
        }
    }

    /// Writes the deferred changes. If this fails, they are kept and tried again with the next commit.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if self.deferred.is_empty() { Ok(()) } else { self.write_rows(&self.deferred.clone()) }
    }

    /// Rewrites the whole state. This shows whether a disk that refused writes accepts them again.
    pub fn write_anew(&mut self) -> Result<(), StoreError> {
        self.rewrite(&self.export())?;
        self.is_written();
        Ok(())
    }

    fn write_rows(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        self.write(|table| {
            for row in rows {
                match &row.value {
                    Some(value) => table.insert(row.key.as_str(), value.as_str())?,
                    None => table.remove(row.key.as_str())?,
                };
            }
            Ok(())
        })?;
        self.is_written();
        Ok(())
    }

    /// Notes that all deferred changes are on the disk.
    fn is_written(&mut self) {
        self.deferred.clear();
        if self.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty()) {
            self.note(Backlog::clear);
        }
    }

    /// The whole state as one document.
    pub fn export(&self) -> Document {
        document::of_state(&self.state)
    }

    /// Replaces the whole state.
    pub fn replace(&mut self, state: State) -> Result<(), StoreError> {
        // The backlog is of the state that goes.
        self.flush()?;
        let document = document::of_state(&state);
        self.rewrite(&document)?;
        self.state = Arc::new(state);
        // It belongs to the state that has this seed.
        self.note(|backlog| backlog.begin(&document));
        Ok(())
    }

    fn rewrite(&mut self, document: &Document) -> Result<(), StoreError> {
        self.write(|table| replace(table, document))
    }

    fn write(
        &mut self,
        change: impl FnOnce(&mut Rows<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopened()?,
        };
        match write(&database, change) {
            Ok(()) => {
                self.database = Some(database);
                Ok(())
            }
            Err(source) => {
                drop(database);
                // Reopen the file at once, so that it stays locked. If that fails, the next write tries
                // again.
                self.database = self.reopened().ok();
                Err(database_error(&self.path, source))
            }
        }
    }

    /// Reopens the file after an error. A commit that failed may still be on disk although its caller was
    /// told that it failed. So the file is made to match memory.
    fn reopened(&self) -> Result<Database, StoreError> {
        let database = open(&self.path)?;
        let fault = |source| database_error(&self.path, source);
        let answered_for = self.export();
        if read(&database).map_err(fault)? != answered_for {
            write(&database, |table| replace(table, &answered_for)).map_err(fault)?;
        }
        Ok(database)
    }
}

type Rows<'a> = redb::Table<'a, &'static str, &'static str>;

fn open(path: &Path) -> Result<Database, StoreError> {
    Database::open(path).map_err(|error| database_error(path, error.into()))
}

/// Creates the file under another name and renames it when it is complete, so that a crash in between leaves
/// no partial file.
fn create(directory: &Path, document: &Document) -> Result<(), StoreError> {
    let at = |source| StoreError::Directory { path: directory.to_owned(), source };
    let unfinished = write_unfinished(directory, document)?;
    fs::rename(unfinished, directory.join(FILE)).map_err(at)?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)
}

/// Writes a document to a file of another name, durably.
pub(crate) fn write_unfinished(directory: &Path, document: &Document) -> Result<PathBuf, StoreError> {
    let unfinished = directory.join(format!("{FILE}.new"));
    let fault = |source| database_error(&unfinished, source);
    let at = |source| StoreError::Directory { path: directory.to_owned(), source };
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    // No other user may be able to open the file at any moment, whatever the umask.
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&unfinished);
    file.and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600))).map_err(at)?;
    let database = Database::create(&unfinished).map_err(|error| fault(error.into()))?;
    write(&database, |table| write_document(table, document)).map_err(fault)?;
    Ok(unfinished)
}

fn replace(table: &mut Rows<'_>, document: &Document) -> Result<(), redb::Error> {
    table.retain(|_, _| false)?;
    write_document(table, document)
}

fn write_document(table: &mut Rows<'_>, document: &Document) -> Result<(), redb::Error> {
    for (key, value) in document::to_rows(document) {
        table.insert(key.as_str(), value.as_str())?;
    }
    Ok(())
}

fn write(
    database: &Database,
    change: impl FnOnce(&mut Rows<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    change(&mut transaction.open_table(ROWS)?)?;
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<Document, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(ROWS)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_owned(), value.value().to_owned()));
    }
    Ok(document::from_rows(rows))
}

fn database_error(path: &Path, source: redb::Error) -> StoreError {
    match source {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        source => StoreError::Database { path: path.to_owned(), source: Box::new(source) },
    }
}
