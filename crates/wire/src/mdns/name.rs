//! Names in messages (RFC 1035, 3.1 and 4.1.4).

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

/// The longest name, with the length bytes and the root (RFC 1035, 3.1; RFC 6762, appendix C).
pub const LONGEST_NAME: usize = 255;
/// The longest label (RFC 1035, 3.1).
pub const LONGEST_LABEL: usize = 63;
/// The most pointers that one name may follow. A name has up to 127 labels, each of which may be elsewhere.
const MOST_POINTERS: usize = 128;

/// A name: labels of any bytes. Names that differ only in the case of ASCII letters are equal (RFC 6762, 16).
#[derive(Clone)]
pub struct Name {
    /// As in a message without compression: each label after its length, the root's length at the end.
    bytes: Box<[u8]>,
}

impl Name {
    /// The name of these labels. `None` if a label is empty or too long, or if they are too long together.
    pub fn new<L: AsRef<[u8]>>(labels: impl IntoIterator<Item = L>) -> Option<Self> {
        let mut bytes = Vec::new();
        for label in labels {
            let label = label.as_ref();
            if !(1..=LONGEST_LABEL).contains(&label.len()) {
                return None;
            }
            bytes.push(label.len() as u8);
            bytes.extend(label);
        }
        bytes.push(0);
        (bytes.len() <= LONGEST_NAME).then(|| Name { bytes: bytes.into() })
    }

    /// The name of a host, `LABEL.local`. `None` if this is no label.
    pub fn local(label: &str) -> Option<Self> {
        Name::new([label, "local"])
    }

    /// The name under which an address is asked for in reverse (RFC 1035, 3.5; RFC 3596, 2.5).
    pub fn reverse(ip: IpAddr) -> Self {
        let digits: Vec<String> = match ip {
            IpAddr::V4(ip) => ip.octets().iter().rev().map(ToString::to_string).collect(),
            IpAddr::V6(ip) => {
                ip.octets().iter().rev().flat_map(|byte| [byte & 15, byte >> 4]).map(hexadecimal).collect()
            }
        };
        let family = if ip.is_ipv4() { "in-addr" } else { "ip6" };
        Name::new(digits.iter().map(String::as_str).chain([family, "arpa"])).expect("it is short")
    }

    /// Reads the name that begins at `start`. Returns it and the offset after it. A pointer must lead to before
    /// everything that was read for this name, so the loop ends.
    pub(super) fn read(message: &[u8], start: usize) -> Option<(Self, usize)> {
        let (mut bytes, mut at, mut lowest, mut after) = (Vec::new(), start, start, None);
        for _ in 0..=MOST_POINTERS {
            let to = loop {
                let length = usize::from(*message.get(at)?);
                match length {
                    0 => {
                        bytes.push(0);
                        return Some((Name { bytes: bytes.into() }, after.unwrap_or(at + 1)));
                    }
                    1..=LONGEST_LABEL => {
                        let label = message.get(at..=at + length)?;
                        if bytes.len() + label.len() >= LONGEST_NAME {
                            return None;
                        }
                        bytes.extend(label);
                        at += 1 + length;
                    }
                    0xc0.. => break (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?),
                    _ => return None,
                }
            };
            after.get_or_insert(at + 2);
            if to >= lowest {
                return None;
            }
            (at, lowest) = (to, to);
        }
        None
    }

    /// The name as in a message without compression.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The labels from the first to the one before the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first().filter(|(length, _)| **length > 0)?;
            let (label, after) = after.split_at(usize::from(*length));
            rest = after;
            Some(label)
        })
    }
}

fn hexadecimal(digit: u8) -> String {
    format!("{digit:x}")
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.eq_ignore_ascii_case(&other.bytes)
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        // The length of a label is below any letter, here and where names are compared for being equal.
        let (own, others) = (self.bytes.iter(), other.bytes.iter());
        own.map(u8::to_ascii_lowercase).cmp(others.map(u8::to_ascii_lowercase))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As people read it: bytes that cannot be shown, dots and backslashes within a label are escaped, as RFC 6763, 4.3,
/// says, and whoever sent a name cannot write to a terminal.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.labels().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            for chunk in label.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '.' | '\\' => write!(f, "\\{c}")?,
                        _ => write!(f, "{}", c.escape_debug())?,
                    }
                }
                chunk.invalid().iter().try_for_each(|byte| write!(f, "\\{byte:03}"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_as_long_as_rfc_1035_allows() {
        let label = |length: usize| vec![b'a'; length];
        assert!(Name::new([label(63)]).is_some());
        assert!(Name::new([label(64)]).is_none() && Name::new([label(0)]).is_none());
        assert_eq!(Name::new([label(63), label(63), label(63), label(61)]).unwrap().bytes().len(), 255);
        assert!(Name::new([label(63), label(63), label(63), label(62)]).is_none());
        let longest = Name::new([label(63), label(63), label(63), label(61)]).unwrap();
        assert_eq!(Name::read(longest.bytes(), 0), Some((longest.clone(), 255)));
        let longer = [&[1, b'b'][..], longest.bytes()].concat();
        assert_eq!(Name::read(&longer, 0), None);
        assert_eq!(Name::read(&[longest.bytes(), &[1, b'b', 0xc0, 0]].concat(), 255), None);
    }

    #[test]
    fn the_case_of_ascii_letters_alone_does_not_count() {
        let name = |label: &str| Name::local(label).unwrap();
        assert_eq!(name("Web"), name("wEB"));
        assert_eq!(name("Web").cmp(&name("web")), Ordering::Equal);
        assert_ne!(name("bär"), name("bÄr"));
        assert_ne!(name("web"), name("web-2"));
    }

    #[test]
    fn addresses_are_asked_for_in_reverse() {
        let reverse = |ip: &str| Name::reverse(ip.parse().unwrap()).to_string();
        assert_eq!(reverse("192.168.88.7"), "7.88.168.192.in-addr.arpa");
        let nibbles = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.d.f.ip6.arpa";
        assert_eq!(reverse("fd88::7"), nibbles);
    }

    #[test]
    fn a_name_cannot_write_to_a_terminal() {
        let name = Name::new([&b"a.b\\c\x1b"[..], b"\xffM\xc3\xbcll", b"local"]).unwrap();
        assert_eq!(name.to_string(), r"a\.b\\c\u{1b}.\255Müll.local");
    }

    #[test]
    fn pointers_ahead_in_a_circle_or_out_of_the_message_make_no_name() {
        for (message, at) in [
            (&b"\xc0\x00"[..], 0),
            (b"\x01a\xc0\x00", 0),
            (b"\x01a\xc0\x04\x01b\xc0\x00", 4),
            (b"\xc0\x40", 0),
            (b"\x01a\xc0", 0),
            (b"\x01a", 0),
            (b"\xc0\x02\x00", 0),
            (b"\x40", 0),
            (b"\x80\x00", 0),
        ] {
            assert_eq!(Name::read(message, at), None, "{message:?}");
        }
    }

    #[test]
    fn a_chain_of_pointers_is_followed_so_far() {
        let chain: Vec<u8> =
            [vec![0, 0], (0..200u16).flat_map(|at| (0xc000 | (2 * at)).to_be_bytes()).collect()].concat();
        assert!(Name::read(&chain, 2 * MOST_POINTERS).is_some());
        assert!(Name::read(&chain, 2 * MOST_POINTERS + 2).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(prop_oneof![0..5u8, Just(0xc0), any::<u8>()], 0..80), at in 0..90usize) {
            if let Some((name, after)) = Name::read(&bytes, at) {
                prop_assert!(after <= bytes.len() && name.bytes().len() <= LONGEST_NAME);
                prop_assert_eq!(Name::new(name.labels()), Some(name.clone()));
                prop_assert!(!name.to_string().chars().any(char::is_control));
            }
        }
    }
}
