//! DNS names, as text and as DHCP options carry them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A domain name of letters, digits, `-` and `_`, without its final dot. A name from a server may be written
/// into `resolv.conf`, so no other characters are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DomainName(String);

/// The error of parsing a text that is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a domain name: expected up to 63 letters, digits, `-` or `_` between dots, and 253 in all"
)]
pub struct DomainNameError(String);

/// The most names that one option may list. It is more than any resolver uses, and limits what a packet full
/// of pointers can cost.
const MOST: usize = 32;

impl DomainName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as DNS labels, each preceded by its length. A name of one label is not fully qualified, so it
    /// gets no root label at its end (RFC 4702, 2.3.1).
    pub(crate) fn labels(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() + 2);
        for label in self.0.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        if self.0.contains('.') {
            bytes.push(0);
        }
        bytes
    }

    /// Parses a search list (RFC 3397), in which a name may end with a pointer into an earlier name. Stops
    /// after `MOST` names. Returns `None` if a name is malformed.
    pub(crate) fn list(bytes: &[u8]) -> Option<Vec<Self>> {
        let (mut names, mut at) = (Vec::new(), 0);
        while at < bytes.len() && names.len() < MOST {
            let (name, end) = read(bytes, at)?;
            names.push(name.parse().ok()?);
            at = end;
        }
        Some(names)
    }
}

/// Reads the name that begins at `start`. Returns it and the offset of the next name. A pointer must lead to
/// before everything that was read for this name, so the loop ends.
fn read(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut name, mut at, mut lowest, mut next) = (String::new(), start, start, None);
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => return Some((name, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..=at + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                // A dot within a label would read as a separator of two labels.
                name.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
                at += 1 + length;
            }
            0xc0.. => {
                let to = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                next.get_or_insert(at + 2);
                if to >= lowest {
                    return None;
                }
                (at, lowest) = (to, to);
            }
            _ => return None,
        }
        if name.len() > 253 {
            return None;
        }
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(text: &str) -> Result<Self, DomainNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let fits = |label: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(good)
        };
        if name.len() <= 253 && name.split('.').all(fits) {
            Ok(DomainName(name.to_owned()))
        } else {
            Err(DomainNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for DomainName {
    type Error = DomainNameError;

    fn try_from(text: String) -> Result<Self, DomainNameError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(bytes: &[u8]) -> Option<Vec<String>> {
        Some(DomainName::list(bytes)?.into_iter().map(String::from).collect())
    }

    #[test]
    fn the_list_of_rfc_3397_reads_with_its_pointers() {
        let list = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(texts(list).unwrap(), ["eng.apple.com", "marketing.apple.com"]);
    }

    #[test]
    fn pointers_ahead_in_a_circle_or_out_of_the_list_make_none() {
        for list in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\x01a\xc0\x04\x01b\xc0\x00",
            b"\xc0\x40",
            b"\x01a\xc0",
            b"\x01a",
            b"\x40",
        ] {
            assert_eq!(texts(list), None, "{list:?}");
        }
    }

    #[test]
    fn a_name_that_is_not_letters_digits_and_hyphens_spoils_its_list() {
        for list in [&b"\x03a b\x00"[..], b"\x03a\nb\x00", b"\x03a.b\x00", b"\x00"] {
            assert_eq!(texts(list), None, "{list:?}");
        }
    }

    #[test]
    fn a_packet_of_pointers_costs_little() {
        let mut list = b"\x01a\x00".to_vec();
        list.extend([0xc0, 0].repeat(10_000));
        assert_eq!(texts(&list).unwrap().len(), MOST);
    }

    #[test]
    fn a_single_label_is_written_without_a_root() {
        let labels = |name: &str| name.parse::<DomainName>().unwrap().labels();
        assert_eq!(labels("web"), b"\x03web");
        assert_eq!(labels("web.home.arpa."), b"\x03web\x04home\x04arpa\x00");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(prop_oneof![0..5u8, Just(0xc0), any::<u8>()], 0..60)) {
            let _ = DomainName::list(&bytes);
        }

        #[test]
        fn whole_names_read_back(name in "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){1,5}") {
            prop_assert_eq!(texts(&name.parse::<DomainName>().unwrap().labels()), Some(vec![name]));
        }
    }
}
