//! Names. Each is checked once when it is made, so that later code can rely on it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ashore_wire::dhcp4::DomainName;
use serde::{Deserialize, Serialize};

use crate::net::text;

/// The reason why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("{what} must not be empty")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// The name is longer than the kernel or the `ifalias` tag can hold.
    #[error("{what} `{name}` is {length} bytes long; at most {most} fit")]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// The name as given.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// An interface's name that is longer than the kernel can hold. Alternative names may be as long.
    #[error(
        "interface name `{name}` is {length} bytes long; at most 15 fit. If it is an alternative name, `ip link show dev {}` shows the interface's own",
        text::Word::of(name)
    )]
    LongerThanLinks {
        /// The name as given.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// A VLAN interface whose name `<lower>.<id>` would be too long.
    #[error(
        "interface name `{lower}.{id}` is longer than 15 bytes; give the VLAN separately: --parent {parent} --vlan {id} (in Docker -o parent={parent} -o vlan={id})",
        parent = text::Word::of(lower)
    )]
    TooLongForVlan {
        /// The lower interface.
        lower: String,
        /// The VLAN ID.
        id: u16,
    },
    /// A name that the kernel reserves.
    #[error(
        "an interface must not be called `{0}`: in sysctl names such as `net.ipv4.conf.{0}` it stands for more than one interface"
    )]
    Reserved(String),
    /// The name contains a character that has a special meaning in a path, a tag or a shell.
    #[error("{what} `{name}` contains {character:?}; {allowed}")]
    Character {
        /// What the name is for.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The first character that is not allowed.
        character: char,
        /// Which characters are allowed.
        allowed: &'static str,
    },
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        checked_name!($(#[$doc])* $name, $check, str::parse);
    };
    ($(#[$doc:meta])* $name:ident, $check:path, $recorded:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $recorded(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

checked_name! {
    /// A network's name: 1 to 63 letters, digits, `_`, `.` or `-`, starting with a letter or digit (the
    /// characters that Docker allows for networks and containers).
    NetworkName, check_network
}

checked_name! {
    /// An endpoint's name on its network, with the same rules as [`NetworkName`]. The container's identity is
    /// derived from it.
    ///
    /// The container of a user other than root is called `UID/NAME`. Nobody can choose such a name: it is made of the
    /// caller's user id, and read again where it was stored.
    EndpointName, check_endpoint, recorded_endpoint
}

checked_name! {
    /// An interface's name. A name that a user chooses must be valid for the kernel and must be text: 1 to 15
    /// bytes (`IFNAMSIZ` less the terminating zero), no `/`, no white space, no `:` (`ifconfig` uses it for
    /// aliases), neither `.` nor `..`, no `%` (the kernel takes it as a template), neither `all` nor
    /// `default` (the kernel refuses them with `EINVAL`, Linux 6.18, because sysctls have these names), and
    /// no `\`.
    ///
    /// An existing link can have any other name, because to the kernel a name is bytes and a container can
    /// choose any for its links. [`IfName::seen`] accepts these names too, and writes bytes that are not text
    /// as `\xff`.
    IfName, check_ifname, recorded_ifname
}

/// The maximum length of a network's or an endpoint's name, in bytes.
pub(crate) const LONGEST: usize = 63;

impl EndpointName {
    /// The same name for a container of a user other than root.
    #[must_use]
    pub fn of_user(&self, uid: u32) -> Self {
        EndpointName(format!("{uid}/{}", self.own()))
    }

    /// The id of the user whose container has the name. `None` if it is root's.
    pub fn user(&self) -> Option<u32> {
        self.0.split_once('/').and_then(|(uid, _)| uid.parse().ok())
    }

    /// The name by which the container's user knows it: without the user's id.
    pub fn own(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, own)| own)
    }

    /// The name as a host name, by which DHCP servers and the LAN are told of the container: `_` and `.` become `-`. Returns
    /// `None` if none can be made of it. That of a user's container ends in the user's id: nobody should take it for one
    /// that root has chosen.
    pub fn host_name(&self) -> Option<DomainName> {
        let own = self.own().replace(['_', '.'], "-");
        let own = own.trim_matches('-');
        match self.user() {
            Some(uid) => format!("{own}-{uid}").trim_matches('-').parse().ok(),
            None => own.parse().ok(),
        }
    }

    /// The name as a word that may be a part of a path. No other name has the same.
    pub fn in_path(&self) -> Cow<'_, str> {
        match self.0.split_once('/') {
            Some((uid, own)) => Cow::Owned(format!("{uid}@{own}")),
            None => Cow::Borrowed(&self.0),
        }
    }

    /// Returns the name with a number appended. The name is cut if the result would be too long.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let end = format!("-{number}");
        EndpointName(format!("{}{end}", &self.0[..self.0.len().min(LONGEST - end.len())]))
    }
}

impl IfName {
    /// Returns the name of an existing link. Returns `None` if no link can have this name.
    pub fn seen(bytes: &[u8]) -> Option<Self> {
        if !(1..=15).contains(&bytes.len()) || bytes.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return None;
        }
        if matches!(bytes, b"." | b"..") {
            return None;
        }
        if let Some(name) = str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) {
            return Some(name);
        }
        let mut text = String::new();
        text::escape(&mut text, bytes, is_of_ifname).expect("writing to a String cannot fail");
        // `all` and `default` contain nothing to escape, so their first byte is escaped.
        Some(IfName(if text.contains('\\') { text } else { format!("\\x{:02x}{}", bytes[0], &text[1..]) }))
    }

    /// Whether a user could have chosen the name. Only a link with such a name can carry a network.
    pub fn is_plain(&self) -> bool {
        !self.0.contains('\\')
    }

    /// The name as the kernel's bytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        if self.is_plain() { Cow::Borrowed(self.0.as_bytes()) } else { Cow::Owned(unescaped(&self.0)) }
    }
}

/// Parses a name that was stored or sent. It can be any name that a link can have.
fn recorded_ifname(text: &str) -> Result<IfName, NameError> {
    text.parse().or_else(|error| IfName::seen(&unescaped(text)).ok_or(error))
}

/// Reverses [`text::escape`].
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let [first, others @ ..] = rest {
        let escaped = match rest {
            [b'\\', b'x', high, low, ..] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[4..] } else { others };
    }
    bytes
}

checked_name! {
    /// An interface or port as a router or switch names it (`ether2`, `br-lan`, `ge-0/0/1`, `gi1/0/2`): 1 to
    /// 31 letters, digits, `.`, `_`, `-`, `/` and `:`. It appears in commands that users paste, so no
    /// character in it may have a meaning to a shell.
    PortName, check_port
}

fn check_network(text: &str) -> Result<(), NameError> {
    check_label("network name", text)
}

fn check_endpoint(text: &str) -> Result<(), NameError> {
    check_label("endpoint name", text)
}

/// Parses a name that was stored, sent or written on a link. It may be that of a user's container.
fn recorded_endpoint(text: &str) -> Result<EndpointName, NameError> {
    let of_user = text.split_once('/').and_then(|(uid, own)| {
        let is_user = uid.parse::<u32>().is_ok_and(|number| number != 0 && number.to_string() == uid);
        Some((is_user.then_some(uid)?, own))
    });
    match of_user {
        Some((_, own)) => check_endpoint(own).map(|()| EndpointName(text.to_owned())),
        None => text.parse(),
    }
}

fn check_label(what: &'static str, text: &str) -> Result<(), NameError> {
    const ALLOWED: &str = "use letters, digits, `_`, `.` and `-`, starting with a letter or digit";
    check_word(what, text, LONGEST, "_.-", ALLOWED)
}

fn check_port(text: &str) -> Result<(), NameError> {
    const ALLOWED: &str = "use letters, digits, `.`, `_`, `-`, `/` and `:`, starting with a letter or digit";
    check_word("name of an interface or port", text, 31, "._-/:", ALLOWED)
}

fn check_word(
    what: &'static str,
    text: &str,
    most: usize,
    inner: &str,
    allowed: &'static str,
) -> Result<(), NameError> {
    check_length(what, text, most)?;
    let fits = |&(at, c): &(usize, char)| c.is_ascii_alphanumeric() || (at > 0 && inner.contains(c));
    match text.char_indices().find(|place| !fits(place)) {
        Some((_, character)) => Err(NameError::Character { what, name: text.to_owned(), character, allowed }),
        None => Ok(()),
    }
}

/// Whether a character is allowed in an interface name that is text.
fn is_of_ifname(c: char) -> bool {
    !matches!(c, '/' | ':' | '%' | '\\') && !c.is_whitespace() && text::is_printable(c)
}

fn check_ifname(text: &str) -> Result<(), NameError> {
    const WHAT: &str = "interface name";
    const ALLOWED: &str =
        "an interface name must not contain `/`, `:`, `%`, `\\` or white space, and must not be `.` or `..`";
    if let Some((lower, id)) = text.rsplit_once('.').filter(|_| text.len() > 15)
        && check_ifname(lower).is_ok()
        && let Ok(id @ 1..=4094) = id.parse()
    {
        return Err(NameError::TooLongForVlan { lower: lower.to_owned(), id });
    }
    if text.len() > 15 {
        return Err(NameError::LongerThanLinks { name: text.to_owned(), length: text.len() });
    }
    check_length(WHAT, text, 15)?;
    if matches!(text, "all" | "default") {
        return Err(NameError::Reserved(text.to_owned()));
    }
    let at_fault = match text {
        "." | ".." => Some('.'),
        _ => text.chars().find(|c| !is_of_ifname(*c)),
    };
    match at_fault {
        Some(character) => {
            Err(NameError::Character { what: WHAT, name: text.to_owned(), character, allowed: ALLOWED })
        }
        None => Ok(()),
    }
}

fn check_length(what: &'static str, text: &str, most: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty { what }),
        length if length > most => Err(NameError::TooLong { what, name: text.to_owned(), length, most }),
        _ => Ok(()),
    }
}

/// The key of an endpoint: the names of its network and of its container.
pub type EndpointKey = (NetworkName, EndpointName);

pub(crate) fn link_name(prefix: &str, text: &str) -> IfName {
    let digits = 15 - prefix.len();
    let hash =
        siphasher::sip128::SipHasher24::new_with_key(b"ashore link name").hash(text.as_bytes()).as_u128();
    let mut name = format!("{prefix}{hash:032x}");
    name.truncate(prefix.len() + digits);
    name.parse().expect("a short prefix and hexadecimal digits form a valid interface name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_whose_name_would_be_too_long_is_to_be_named_beside_its_parent() {
        let error = |text: &str| text.parse::<IfName>().unwrap_err().to_string();
        assert!(error("enx001122334455.200").contains("--parent enx001122334455 --vlan 200"));
        for text in ["enx001122334455.4095", "enx0011223344556.2", "a-name-too-long.x"] {
            assert!(error(text).contains("at most 15 fit"), "{text}");
        }
    }

    #[test]
    fn names_with_path_separators_or_tag_separators_are_refused() {
        for text in ["", "a/b", "../etc", "a:b", ".hidden", "-x", "a b", "\n", &"x".repeat(64)] {
            assert!(text.parse::<EndpointName>().is_err(), "{text:?}");
            assert!(text.parse::<NetworkName>().is_err(), "{text:?}");
        }
        assert!("web-1.example_x".parse::<EndpointName>().is_ok());
    }

    #[test]
    fn the_name_of_a_users_container_is_read_where_it_was_stored_and_chosen_by_nobody() {
        let web: EndpointName = "web".parse().unwrap();
        let of_user = web.of_user(1000);
        assert_eq!((of_user.as_str(), of_user.user(), of_user.own()), ("1000/web", Some(1000), "web"));
        assert_eq!((web.user(), web.own(), &*web.in_path()), (None, "web", "web"));
        assert_eq!(of_user.in_path(), "1000@web");
        assert_eq!(of_user.of_user(1001).as_str(), "1001/web");
        assert_eq!(EndpointName::try_from("1000/web".to_owned()), Ok(of_user));
        assert!("1000/web".parse::<EndpointName>().is_err(), "no name that is typed");
        for text in ["0/web", "01/web", "+1/web", "-1/web", "/web", "a/web", "1000/", "1000/a/b", "1000/../x"]
        {
            assert!(EndpointName::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(EndpointName::try_from("4294967296/web".to_owned()).is_err());
    }

    #[test]
    fn an_interface_name_is_what_the_kernel_takes() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            r"a\b",
            "eth0:1",
            "with space",
            "eth%d",
            "sixteen-bytes-xx",
            "all",
            "default",
        ] {
            assert!(text.parse::<IfName>().is_err(), "{text:?}");
        }
        for text in ["eth0", "eth0.200", "br-lan", "fifteen-bytes-x", "lan@home"] {
            assert!(text.parse::<IfName>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_link_may_be_called_anything_and_is_known_again() {
        for (bytes, text) in [
            (&b"eth0"[..], "eth0"),
            (b"x\xffy", r"x\xffy"),
            (br"x\xffy", r"x\x5cxffy"),
            (b"a\x1b[2J", r"a\x1b[2J"),
            (b"all", r"\x61ll"),
            ("k\u{fc}che".as_bytes(), "k\u{fc}che"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &r"\xff".repeat(15)),
        ] {
            let name = IfName::seen(bytes).unwrap();
            assert_eq!((name.as_str(), &*name.bytes()), (text, bytes));
            assert_eq!(name.is_plain(), text.parse::<IfName>().is_ok(), "{text}");
            assert_eq!(IfName::try_from(String::from(name.clone())), Ok(name));
        }
        for bytes in [&b""[..], b".", b"..", b"a/b", b"a\0b", b"sixteen-bytes-xx"] {
            assert_eq!(IfName::seen(bytes), None);
        }
        assert!(IfName::try_from("sixteen-bytes-xx".to_owned()).is_err());
    }

    #[test]
    fn a_routers_port_is_a_word_that_a_shell_leaves_alone() {
        for text in
            ["", "-x", "/etc", "a b", "a;b", "$(id)", "`id`", "a'b", "a\"b", "#x", "ä", "\n", &"x".repeat(32)]
        {
            assert!(text.parse::<PortName>().is_err(), "{text:?}");
        }
        for text in ["ether2", "br-lan", "sfp-sfpplus1", "gi1/0/2", "ge-0/0/1:0", "24"] {
            assert!(text.parse::<PortName>().is_ok(), "{text:?}");
        }
    }
}
