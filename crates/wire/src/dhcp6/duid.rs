//! Who a client or a server is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dhcp::hexadecimal;

/// Who a client or a server is (RFC 8415, 11). As text, its bytes in hexadecimal with colons between, as servers show it and
/// take it in a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Duid(Vec<u8>);

/// Why bytes or a text are not a DUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DuidError {
    /// It is too short or too long.
    #[error("a DUID of {0} bytes: it has 3 to 130")]
    Length(usize),
    /// It is no bytes.
    #[error("`{0}` is no DUID: that is bytes in hexadecimal with colons between")]
    Text(String),
}

impl Duid {
    /// As the option carries it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Duid {
    type Error = DuidError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, DuidError> {
        // Two for its type, and 1 to 128 (RFC 8415, 11.1).
        if (3..=130).contains(&bytes.len()) { Ok(Duid(bytes)) } else { Err(DuidError::Length(bytes.len())) }
    }
}

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal::write(&self.0, f)
    }
}

impl From<Duid> for String {
    fn from(duid: Duid) -> String {
        duid.to_string()
    }
}

impl TryFrom<String> for Duid {
    type Error = DuidError;

    fn try_from(text: String) -> Result<Self, DuidError> {
        match hexadecimal::read(&text) {
            Some(bytes) => Duid::try_from(bytes),
            None => Err(DuidError::Text(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duid_is_bytes_that_a_server_shows_in_hexadecimal() {
        let duid = Duid::try_from("00:03:00:01:02:00:00:00:00:01".to_owned()).unwrap();
        assert_eq!(duid.bytes(), [0, 3, 0, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(String::from(duid), "00:03:00:01:02:00:00:00:00:01");
        for length in [0, 2, 131] {
            assert_eq!(Duid::try_from(vec![0; length]), Err(DuidError::Length(length)));
        }
        for text in ["", "00", "0:1:2", "00:03:zz"] {
            assert!(Duid::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
