//! The identifier of a client or a server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dhcp::hexadecimal;

/// The DHCP unique identifier of a client or a server (RFC 8415, 11). As text, it is its bytes in
/// hexadecimal, separated by colons. Servers show it in this form and accept it in a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Duid(Vec<u8>);

/// The error of making a DUID from bytes or text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DuidError {
    /// It is too short or too long.
    #[error("a DUID has 3 to 130 bytes, not {0}")]
    Length(usize),
    /// It is not a list of bytes.
    #[error("`{0}` is not a DUID: expected bytes in hexadecimal, separated by colons")]
    Text(String),
}

impl Duid {
    /// The bytes as the option carries them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Duid {
    type Error = DuidError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, DuidError> {
        // Two bytes for its type, then 1 to 128 bytes (RFC 8415, 11.1).
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
