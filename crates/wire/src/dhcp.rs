//! What DHCP for IPv4 and for IPv6 have in common.

use serde::{Deserialize, Serialize};

/// Whose answers count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers<Id> {
    /// These alone; all if there are none.
    pub allow: Vec<Id>,
    /// Never these.
    pub deny: Vec<Id>,
}

impl<Id> Default for Servers<Id> {
    fn default() -> Self {
        Servers { allow: Vec::new(), deny: Vec::new() }
    }
}

impl<Id: PartialEq> Servers<Id> {
    /// Whether a server's do.
    pub fn accept(&self, server: &Id) -> bool {
        (self.allow.is_empty() || self.allow.contains(server)) && !self.deny.contains(server)
    }
}

/// Who is to write the client's address into the DNS (RFC 4702, 2.1; RFC 4704, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The server: the flag S.
    Server,
    /// The client itself: no flag.
    Client,
    /// Nobody: the flag N.
    Nobody,
}

/// Why a lease is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// A server says that it is void, and perhaps why.
    Refused(Option<String>),
    /// It ended, and nobody renewed it.
    Expired,
    /// Another machine has the address.
    Taken,
    /// It was given back.
    Released,
}

/// The shortest lease that is taken, in seconds: one that is shorter would be spent on renewing it.
pub const SHORTEST: u32 = 10;

/// The least between a DECLINE and the next attempt to get an address: RFC 2131, 3.1 (5), has it, and RFC 8415 has nothing that
/// would keep a server and its client from going in a circle.
pub(crate) const AFTER_DECLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// A server's words. They end in logs: what is not printable is left out.
pub(crate) fn words(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// An identifier as text: its bytes in hexadecimal with colons between, as servers show it and take it in a reservation.
pub(crate) mod hexadecimal {
    use std::fmt;

    pub(crate) fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }

    pub(crate) fn read(text: &str) -> Option<Vec<u8>> {
        let is_byte =
            |digits: &&str| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = |digits: &str| u8::from_str_radix(Some(digits).filter(is_byte)?, 16).ok();
        text.split(':').map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_heard_if_it_is_allowed_and_not_denied() {
        assert!(Servers::default().accept(&1));
        let allowing = Servers { allow: vec![1], deny: vec![] };
        assert!(allowing.accept(&1) && !allowing.accept(&2));
        let denying = Servers { allow: vec![1, 2], deny: vec![1] };
        assert!(!denying.accept(&1) && denying.accept(&2));
    }

    #[test]
    fn what_a_server_says_in_words_cannot_write_to_a_terminal() {
        assert_eq!(words(b"wrong\x1b[2J subnet\r\n\0").unwrap(), "wrong[2J subnet");
        assert_eq!(words(b"\r\n"), None);
    }
}
