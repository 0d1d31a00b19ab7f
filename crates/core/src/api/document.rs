//! The whole state as a document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The whole state, as rows of JSON under their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The schema of the rows.
    pub schema: u32,
    /// All rows but the schema's own.
    pub rows: BTreeMap<String, Value>,
}
