//! Values of a configuration that say nothing: runtimes send keys that their users left out.

use serde_json::Value;

/// Whether a value is what the key has if it is left out.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.values().all(is_nothing),
    }
}
