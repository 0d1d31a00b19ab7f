//! Services as users ask for them: `_http._tcp:80,path=/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::label::shown;

/// A service of a container (RFC 6763). As text `TYPE:PORT`, followed by any number of `,KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Service {
    /// Without the underscore.
    name: String,
    tcp: bool,
    port: u16,
    /// The strings of the TXT record.
    strings: Vec<String>,
}

/// The most services of one name. Each costs three records.
pub const MOST_SERVICES: usize = 16;
/// The longest name of a type (RFC 6335, 5.1).
const LONGEST_TYPE: usize = 15;
/// The most bytes of all strings, with their lengths. RFC 6763, 6.2, advises to stay within a few hundred, and so
/// the probe for a service fits a packet.
const LONGEST_STRINGS: usize = 300;

/// Why a text is no service: which one, what of it, and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no service: {what}; expected something like `_http._tcp:80` or `_http._tcp:80,path=/`")]
pub struct ServiceError {
    text: String,
    what: String,
}

impl Service {
    /// Parses several services, separated by spaces. The same type and port may not be there twice.
    pub fn list(text: &str) -> Result<Vec<Self>, ServiceError> {
        let wrong = |what: String| ServiceError { text: shown(text), what };
        let mut services: Vec<Service> = Vec::new();
        for one in text.split_whitespace() {
            let service: Service = one.parse()?;
            let same = |there: &Service| (there.kind(), there.port) == (service.kind(), service.port);
            if services.iter().any(same) {
                return Err(wrong(format!("{}:{} is there twice", service.kind(), service.port)));
            }
            if services.len() == MOST_SERVICES {
                return Err(wrong(format!("a name has at most {MOST_SERVICES} services")));
            }
            services.push(service);
        }
        if services.is_empty() {
            return Err(wrong("there is none".to_owned()));
        }
        Ok(services)
    }

    /// The type: `_http._tcp`.
    pub fn kind(&self) -> String {
        self.labels().join(".")
    }

    /// The labels of the type.
    pub(super) fn labels(&self) -> [String; 2] {
        [format!("_{}", self.name), if self.tcp { "_tcp" } else { "_udp" }.to_owned()]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The data of the TXT record. A record without strings has an empty one (RFC 6763, 6.1).
    pub(super) fn text(&self) -> Vec<u8> {
        if self.strings.is_empty() {
            return vec![0];
        }
        self.strings.iter().flat_map(|string| [&[string.len() as u8], string.as_bytes()].concat()).collect()
    }
}

/// What is wrong with the name of a type (RFC 6335, 5.1), if anything.
fn fault_of(name: &str) -> Option<&'static str> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > LONGEST_TYPE {
        Some("has more than 15 characters")
    } else if !name.bytes().all(good) {
        Some("has other characters than letters from a to z, digits and `-`")
    } else if !name.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        Some("has no letter")
    } else if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        Some("has `-` at its beginning or end, or twice in a row")
    } else {
        None
    }
}

/// The type and whether it is one of TCP, or what is wrong with it.
fn read_kind(kind: &str) -> Result<(String, bool), String> {
    let Some((name, protocol)) = kind.split_once('.') else {
        return Err(format!("its type `{}` does not end with `._tcp` or `._udp`", shown(kind)));
    };
    let tcp = protocol.eq_ignore_ascii_case("_tcp");
    if !tcp && !protocol.eq_ignore_ascii_case("_udp") {
        return Err(format!("its type `{}` does not end with `._tcp` or `._udp`", shown(kind)));
    }
    let Some(name) = name.strip_prefix('_') else {
        return Err(format!("its type `{}` does not begin with `_`", shown(kind)));
    };
    match fault_of(name) {
        None => Ok((name.to_owned(), tcp)),
        Some(fault) => Err(format!("`{}`, the name of its type, {fault}", shown(name))),
    }
}

/// Checks a string `KEY=VALUE` of the TXT record (RFC 6763, 6.4 and 6.5).
fn check_string(string: &str) -> Result<(), String> {
    let printable = |byte: u8| (0x20..0x7f).contains(&byte);
    let Some((key, value)) = string.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err(format!("`{}` is not `KEY=VALUE`", shown(string)));
    };
    if !key.bytes().all(printable) {
        return Err(format!("the key `{}` has other characters than those of ASCII", shown(key)));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value `{}` has control characters", shown(value)));
    }
    if key.eq_ignore_ascii_case("path") && !value.starts_with('/') {
        return Err(format!("the path `{}` does not begin with `/`", shown(value)));
    }
    if string.len() > 255 {
        return Err(format!("`{}` is longer than 255 bytes", shown(key)));
    }
    Ok(())
}

impl FromStr for Service {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let wrong = |what: String| ServiceError { text: shown(text), what };
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let (kind, port) = place.split_once(':').unwrap_or((place, ""));
        let (name, tcp) = read_kind(kind).map_err(wrong)?;
        if port.is_empty() {
            return Err(wrong("it has no port".to_owned()));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let Some(port) = port.parse().ok().filter(|port| digits && *port > 0) else {
            return Err(wrong(format!("its port `{}` is not a number from 1 to 65535", shown(port))));
        };
        let mut strings: Vec<String> = Vec::new();
        for string in parts {
            check_string(string).map_err(wrong)?;
            let key = |string: &str| string.split('=').next().unwrap_or_default().to_ascii_lowercase();
            if strings.iter().any(|there| key(there) == key(string)) {
                return Err(wrong(format!("`{}` is there twice", shown(&key(string)))));
            }
            strings.push(string.to_owned());
        }
        if strings.iter().map(|string| string.len() + 1).sum::<usize>() > LONGEST_STRINGS {
            return Err(wrong(format!("its strings have more than {LONGEST_STRINGS} bytes together")));
        }
        Ok(Service { name, tcp, port, strings })
    }
}

impl TryFrom<String> for Service {
    type Error = ServiceError;

    fn try_from(text: String) -> Result<Self, ServiceError> {
        text.parse()
    }
}

impl From<Service> for String {
    fn from(service: Service) -> Self {
        service.to_string()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.port)?;
        self.strings.iter().try_for_each(|string| write!(f, ",{string}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_service_reads_back_and_has_its_strings() {
        let service: Service = "_http._tcp:80,path=/".parse().unwrap();
        assert_eq!(
            (service.kind(), service.port(), service.text()),
            ("_http._tcp".into(), 80, b"\x06path=/".to_vec())
        );
        assert_eq!(service.to_string(), "_http._tcp:80,path=/");
        let plain: Service = "_osc._UDP:65535".parse().unwrap();
        assert_eq!((plain.kind(), plain.text()), ("_osc._udp".into(), vec![0]));
        let printer: Service = "_ipp._tcp:631,rp=printers/a=b,note=".parse().unwrap();
        assert_eq!(printer.text(), b"\x0frp=printers/a=b\x05note=");
    }

    #[test]
    fn what_is_no_service_is_refused_with_what_is_wrong_and_where() {
        for (text, what) in [
            ("", "its type `` does not end with `._tcp` or `._udp`"),
            ("_http:80", "its type `_http` does not end with `._tcp` or `._udp`"),
            ("_http._sctp:80", "its type `_http._sctp` does not end with `._tcp` or `._udp`"),
            ("_http._tcp.local:80", "its type `_http._tcp.local` does not end with `._tcp` or `._udp`"),
            ("http._tcp:80", "its type `http._tcp` does not begin with `_`"),
            ("_._tcp:80", "``, the name of its type, is empty"),
            (
                "_abcdefghijklmnop._tcp:1",
                "`abcdefghijklmnop`, the name of its type, has more than 15 characters",
            ),
            (
                "_my_app._tcp:1",
                "`my_app`, the name of its type, has other characters than letters from a to z, digits and `-`",
            ),
            ("_80._tcp:80", "`80`, the name of its type, has no letter"),
            (
                "_a--b._tcp:80",
                "`a--b`, the name of its type, has `-` at its beginning or end, or twice in a row",
            ),
            ("_http._tcp", "it has no port"),
            ("_http._tcp:", "it has no port"),
            ("_http._tcp:0", "its port `0` is not a number from 1 to 65535"),
            ("_http._tcp:70000", "its port `70000` is not a number from 1 to 65535"),
            ("_http._tcp:+80", "its port `+80` is not a number from 1 to 65535"),
            ("_http._tcp:80,path", "`path` is not `KEY=VALUE`"),
            ("_http._tcp:80,", "`` is not `KEY=VALUE`"),
            ("_http._tcp:80,=x", "`=x` is not `KEY=VALUE`"),
            ("_http._tcp:80,path=admin", "the path `admin` does not begin with `/`"),
            ("_http._tcp:80,path=/\x1b", "the value `/\\u{1b}` has control characters"),
            ("_http._tcp:80,ä=1", "the key `ä` has other characters than those of ASCII"),
            ("_http._tcp:80,path=/,PATH=/x", "`path` is there twice"),
        ] {
            let said = text.parse::<Service>().unwrap_err();
            let expected = ServiceError { text: shown(text), what: what.to_owned() };
            assert_eq!(said, expected);
            assert!(!said.to_string().contains('\x1b'));
        }
        let long = |length: usize| format!("_http._tcp:80,a={}", "x".repeat(length)).parse::<Service>();
        assert!(long(253).is_ok() && long(254).is_err());
        assert!(format!("_http._tcp:80,a={0},b={0}", "x".repeat(250)).parse::<Service>().is_err());
    }

    #[test]
    fn services_are_separated_by_spaces_and_are_there_once() {
        let kinds = |text: &str| {
            let services = Service::list(text)?;
            Ok::<_, ServiceError>(services.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let two = ["_http._tcp:80,path=/", "_http._tcp:8080"];
        assert_eq!(kinds(" _http._tcp:80,path=/  _http._tcp:8080").unwrap(), two);
        let twice = kinds("_http._tcp:80 _http._TCP:80,path=/").unwrap_err().to_string();
        assert!(twice.contains("_http._tcp:80 is there twice"), "{twice}");
        assert!(kinds(" ").unwrap_err().to_string().contains("there is none"));
        let many: Vec<String> = (1..=17).map(|port| format!("_http._tcp:{port}")).collect();
        assert!(kinds(&many[..16].join(" ")).is_ok());
        assert!(kinds(&many.join(" ")).unwrap_err().to_string().contains("at most 16 services"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_a_service_reads_back(text in "_[a-z]{1,15}\\._(tcp|udp):[0-9]{1,5}(,[a-z]{1,5}=[ -+/-~]{0,20}){0,3}|\\PC{0,40}") {
            if let Ok(service) = text.parse::<Service>() {
                prop_assert_eq!(service.to_string().parse(), Ok(service));
            }
            let _ = Service::list(&text);
        }
    }
}
