//! What a DHCP server is told of a client, as the user writes it: a host name, a vendor class, a client identifier.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ashore_wire::dhcp4::{ClientId, ClientIdError, DomainName};
use serde::{Deserialize, Serialize};

/// A host name (RFC 1123, 2.1): letters, digits and `-` between dots, of which no part begins or ends with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostName(DomainName);

/// Why a text is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host name: expected up to 63 letters, digits or `-` between dots, no `-` at either end of these, \
     at most 253 in all, and no IP address"
)]
pub struct HostNameError(String);

impl HostName {
    /// The name as a DHCP option carries it.
    pub fn domain(&self) -> &DomainName {
        &self.0
    }

    /// The same host of a user other than root. Its first part ends in the user's id, as that of his containers does:
    /// a server's own zone must not have it under a name of root's choice. Returns `None` if that gets too long.
    pub fn of_user(&self, uid: u32) -> Option<DomainName> {
        let name = self.0.as_str();
        let (first, rest) = name.split_at(name.find('.').unwrap_or(name.len()));
        format!("{first}-{uid}{rest}").parse().ok()
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let wrong = || HostNameError(text.to_owned());
        let name: DomainName = text.parse().map_err(|_| wrong())?;
        let fits = |part: &str| !part.contains('_') && !part.starts_with('-') && !part.ends_with('-');
        let is_address = name.as_str().parse::<Ipv4Addr>().is_ok();
        if name.as_str().split('.').all(fits) && !is_address { Ok(HostName(name)) } else { Err(wrong()) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(text: String) -> Result<Self, HostNameError> {
        text.parse()
    }
}

/// A vendor class (RFC 2132, 9.13; RFC 8415, 21.16), by which a DHCP server groups clients. It is text, although the
/// options hold any bytes: servers compare it with what is written in their configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct VendorClass(String);

/// Why a text is no vendor class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a vendor class: expected 1 to 255 letters, digits, spaces or other characters of ASCII"
)]
pub struct VendorClassError(String);

impl VendorClass {
    /// The bytes as the options carry them.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for VendorClass {
    type Err = VendorClassError;

    fn from_str(text: &str) -> Result<Self, VendorClassError> {
        // Up to 255 bytes fit in one option, so no server needs to join parts.
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(is_shown);
        if fits { Ok(VendorClass(text.to_owned())) } else { Err(VendorClassError(text.to_owned())) }
    }
}

impl fmt::Display for VendorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<VendorClass> for String {
    fn from(class: VendorClass) -> String {
        class.0
    }
}

impl TryFrom<String> for VendorClass {
    type Error = VendorClassError;

    fn try_from(text: String) -> Result<Self, VendorClassError> {
        text.parse()
    }
}

/// Why a text is no client identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdTextError {
    /// It looks like bytes, and is none.
    #[error(transparent)]
    Bytes(#[from] ClientIdError),
    /// It is neither.
    #[error(
        "{0:?} is not a DHCP client identifier: expected 1 to 254 characters of ASCII, or bytes in hexadecimal, \
         separated by colons"
    )]
    Text(String),
}

/// Reads a client identifier: bytes in hexadecimal that are separated by colons, or text. Text is preceded by the
/// type that says so (RFC 2132, 9.14), which servers know how to compare. It has no colon, so that bytes which are
/// misspelt do not pass for text.
pub fn client_id(text: &str) -> Result<ClientId, ClientIdTextError> {
    const OF_TEXT: u8 = 0;
    if text.contains(':') {
        return Ok(ClientId::try_from(text.to_owned())?);
    }
    if !(1..=254).contains(&text.len()) || !text.bytes().all(is_shown) {
        return Err(ClientIdTextError::Text(text.to_owned()));
    }
    Ok(ClientId::try_from([&[OF_TEXT][..], text.as_bytes()].concat())?)
}

/// Whether a byte is a character of ASCII that can be shown.
fn is_shown(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_rfc_1123s() {
        let longest = "a".repeat(63);
        for text in ["web", "3com", "a-b", "web.home.arpa", "10", &longest, "web."] {
            let name: HostName = text.parse().unwrap();
            assert_eq!(name.to_string(), text.trim_end_matches('.'));
            assert_eq!(String::from(name.clone()).parse(), Ok(name));
        }
        let (long, whole) = ("a".repeat(64), ["a"; 128].join("."));
        for text in
            ["", ".", "-web", "web-", "web-.lan", "a_b", "a b", "a..b", "ä", "192.168.88.1", &long, &whole]
        {
            assert!(
                text.parse::<HostName>().unwrap_err().to_string().contains("is not a host name"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_users_host_name_says_whose_it_is() {
        let of = |name: &str| name.parse::<HostName>().unwrap().of_user(1000).map(String::from);
        assert_eq!((of("web"), of("web.lan")), (Some("web-1000".into()), Some("web-1000.lan".into())));
        assert_eq!(of(&"a".repeat(63)), None);
    }

    #[test]
    fn a_vendor_class_is_text_that_one_option_holds() {
        for text in ["nas", "docsis3.0:a b", &"x".repeat(255)] {
            assert_eq!(text.parse::<VendorClass>().unwrap().bytes(), text.as_bytes());
        }
        for text in ["", "a\nb", "ä", "\u{7f}", &"x".repeat(256)] {
            assert!(text.parse::<VendorClass>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_client_identifier_is_text_or_bytes_and_never_misspelt_bytes() {
        let bytes = |text: &str| client_id(text).map(|id| id.bytes().to_vec());
        assert_eq!(bytes("ff:00:00:00:01:00:03"), Ok(vec![255, 0, 0, 0, 1, 0, 3]));
        assert_eq!(bytes("nas-1"), Ok(b"\0nas-1".to_vec()));
        assert_eq!(bytes(&"x".repeat(254)).map(|bytes| bytes.len()), Ok(255));
        for text in
            ["", "ff:", "ff:0", "ff:0g", "a:b", "nas\n", "ä", &"x".repeat(255), &["00"; 256].join(":")]
        {
            assert!(client_id(text).is_err(), "{text:?}");
        }
    }
}
