//! The state on disk: one redb file, written before anything is answered.
//!
//! Every row is JSON under its key, so that an export is the same rows and a migration is a function from document to
//! document. A commit is one durable transaction; memory changes only after it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::identity::Seed;
use crate::state::{Change, State};

mod document;

pub use document::{Document, DocumentError, SCHEMA};

/// One table holds all rows: a kind, a separator, the key. Order within a kind is that of the keys.
const ROWS: TableDefinition<'_, &str, &str> = TableDefinition::new("rows");

const FILE: &str = "state.redb";

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or used.
    #[error("the state directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
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
        /// What redb said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A row that does not read, or a schema of the future.
    #[error("the state in {path}: {source}")]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
}

/// The open file and what it holds.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
    state: State,
}

/// A row that holds one thing of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    key: String,
    value: Option<String>,
}

impl Store {
    /// Opens the state in a directory, or makes an empty one with `seed` if there is none.
    pub fn open(directory: &Path, seed: Seed) -> Result<Store, StoreError> {
        let at = |source| StoreError::Directory { path: directory.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
        let path = directory.join(FILE);
        if !path.exists() {
            create(directory, &path, seed)?;
        }
        let fault = |source| database_error(&path, source);
        let database = Database::open(&path).map_err(|error| fault(error.into()))?;
        let document = read(&database).map_err(fault)?;
        let outdated = document.schema != SCHEMA;
        let document_fault = |source| StoreError::Document { path: path.clone(), source };
        let document = document.migrated().map_err(document_fault)?;
        let state = document.to_state().map_err(document_fault)?;
        let store = Store { database, path, state };
        if outdated {
            store.rewrite(&document)?;
        }
        Ok(store)
    }

    /// What it holds.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes changes, all or none. When it returns they are on the disk.
    pub fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row> = changes.iter().map(document::row).collect();
        self.write(|table| {
            for row in &rows {
                match &row.value {
                    Some(value) => table.insert(row.key.as_str(), value.as_str())?,
                    None => table.remove(row.key.as_str())?,
                };
            }
            Ok(())
        })?;
        for change in changes {
            self.state.apply(change);
        }
        Ok(())
    }

    /// All of it, as one document.
    pub fn export(&self) -> Document {
        Document::of_state(&self.state)
    }

    /// Replaces all of it by a document, which may be of an older schema.
    pub fn import(&mut self, document: Document) -> Result<(), StoreError> {
        let fault = |source| StoreError::Document { path: self.path.clone(), source };
        let document = document.migrated().map_err(fault)?;
        let state = document.to_state().map_err(fault)?;
        self.rewrite(&document)?;
        self.state = state;
        Ok(())
    }

    fn rewrite(&self, document: &Document) -> Result<(), StoreError> {
        self.write(|table| {
            table.retain(|_, _| false)?;
            write_document(table, document)
        })
    }

    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static str>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        write(&self.database, change).map_err(|source| database_error(&self.path, source))
    }
}

/// Made under another name and renamed when it is whole: a crash in between leaves no half a file.
fn create(directory: &Path, path: &Path, seed: Seed) -> Result<(), StoreError> {
    let unfinished = directory.join(format!("{FILE}.new"));
    let fault = |source| database_error(&unfinished, source);
    let at = |source| StoreError::Directory { path: directory.to_owned(), source };
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    {
        let database = Database::create(&unfinished).map_err(|error| fault(error.into()))?;
        let document = Document::of_state(&State::new(seed));
        write(&database, |table| write_document(table, &document)).map_err(fault)?;
    }
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).map_err(at)?;
    fs::rename(&unfinished, path).map_err(at)?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)
}

fn write_document(
    table: &mut redb::Table<'_, &'static str, &'static str>,
    document: &Document,
) -> Result<(), redb::Error> {
    for (key, value) in document.to_rows() {
        table.insert(key.as_str(), value.as_str())?;
    }
    Ok(())
}

fn write(
    database: &Database,
    change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static str>) -> Result<(), redb::Error>,
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
    Ok(Document::from_rows(rows))
}

fn database_error(path: &Path, source: redb::Error) -> StoreError {
    match source {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        source => StoreError::Database { path: path.to_owned(), source: Box::new(source) },
    }
}

#[cfg(test)]
mod tests;
