//! The entire state as a document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The entire state, as rows of JSON by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The schema version of the rows.
    pub schema: u32,
    /// All rows except the schema's own.
    pub rows: BTreeMap<String, Value>,
}
