//! The identity of a client, and what it asks for.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Options, Update, code};
use crate::Mac;
use crate::dhcp::{self, hexadecimal};
use crate::domain::DomainName;

/// The client identifier, under which servers keep the client's address. As text, it is its bytes in
/// hexadecimal, separated by colons. Servers show it in this form and accept it in a reservation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClientId(Vec<u8>);

/// The error of making a client identifier from bytes or text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// It is too short or too long.
    #[error("a DHCP client identifier has 2 to 255 bytes, not {0}")]
    Length(usize),
    /// It is not a list of bytes.
    #[error("`{0}` is not a DHCP client identifier: expected bytes in hexadecimal, separated by colons")]
    Text(String),
}

impl ClientId {
    /// The identifier of a client that is known by its MAC alone, as before RFC 4361.
    pub fn mac(mac: Mac) -> Self {
        ClientId([&[1][..], &mac.0].concat())
    }

    /// The identifier made from the interface's number (IAID) and the host's DUID (RFC 4361, 6.1). A DUID has
    /// up to 130 bytes. Returns an error if the identifier gets longer than 255 bytes.
    pub fn duid(iaid: u32, duid: &[u8]) -> Result<Self, ClientIdError> {
        ClientId::try_from([&[255][..], &iaid.to_be_bytes(), duid].concat())
    }

    /// The bytes as the option carries them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for ClientId {
    type Error = ClientIdError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, ClientIdError> {
        // RFC 2132, 9.14, gives the minimum. Up to 255 bytes fit in one option, so no server needs to join
        // parts.
        if (2..=255).contains(&bytes.len()) {
            Ok(ClientId(bytes))
        } else {
            Err(ClientIdError::Length(bytes.len()))
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal::write(&self.0, f)
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for ClientId {
    type Error = ClientIdError;

    fn try_from(text: String) -> Result<Self, ClientIdError> {
        match hexadecimal::read(&text) {
            Some(bytes) => ClientId::try_from(bytes),
            None => Err(ClientIdError::Text(text)),
        }
    }
}

/// The name that the client tells the server. It goes into one of the two options, never into both (RFC 4702,
/// 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The host name option, which every router knows.
    Host(DomainName),
    /// The FQDN option, which also says who updates the DNS.
    Fqdn(DomainName, Update),
}

impl Name {
    /// Flag E: the name is encoded as DNS labels.
    const ENCODED: u8 = 4;

    pub(super) fn option(&self) -> (u8, Vec<u8>) {
        match self {
            Name::Host(name) => (code::HOST_NAME, name.as_str().as_bytes().to_vec()),
            Name::Fqdn(name, update) => {
                let flag = match update {
                    Update::Server => 1,
                    Update::Client => 0,
                    Update::Nobody => 8,
                };
                // Two result bytes, which only a server fills in.
                (code::FQDN, [&[Self::ENCODED | flag, 0, 0][..], &name.labels()].concat())
            }
        }
    }
}

/// Which servers' answers are accepted, by server address.
pub type Servers = dhcp::Servers<Ipv4Addr>;

/// The configuration of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its MAC.
    pub mac: Mac,
    /// The client identifier. The client keeps its lease only as long as this does not change.
    pub id: ClientId,
    /// Whether answers must be broadcast. This is needed where the link does not receive frames for an
    /// address that it does not have yet, as with ipvlan, whose links share their parent's MAC.
    pub broadcast: bool,
    /// The name that the client tells the server.
    pub name: Option<Name>,
    /// The vendor class, by which servers can group clients.
    pub vendor_class: Option<Vec<u8>>,
    /// Which servers' answers are accepted.
    pub servers: Servers,
    /// The address that the client asks for.
    pub requested: Option<Ipv4Addr>,
    /// How long a recorded lease waits for its confirmation before it is used unconfirmed.
    pub confirm: Duration,
}

impl Config {
    /// A configuration that identifies the client and asks for nothing more. `confirm` is 2 seconds.
    pub fn new(mac: Mac, id: ClientId) -> Self {
        let (broadcast, name, vendor_class, requested) = (false, None, None, None);
        let (servers, confirm) = (Servers::default(), Duration::from_secs(2));
        Config { mac, id, broadcast, name, vendor_class, servers, requested, confirm }
    }

    /// Adds the options of every message in which the client asks for something (RFC 2131, table 5).
    pub(super) fn describe(&self, options: &mut Options) {
        options.set(code::PARAMETER_LIST, WANTED);
        options.set(code::MAX_SIZE, MAX_SIZE.to_be_bytes());
        if let Some(class) = self.vendor_class.as_ref().filter(|class| !class.is_empty()) {
            options.set(code::VENDOR_CLASS, class.clone());
        }
        if let Some((code, bytes)) = self.name.as_ref().map(Name::option) {
            options.set(code, bytes);
        }
    }
}

/// The options that the client asks for. Classless routes come before the router option, which they replace
/// (RFC 3442).
const WANTED: [u8; 12] = [
    code::SUBNET_MASK,
    code::CLASSLESS_ROUTES,
    code::ROUTER,
    code::DNS,
    code::DOMAIN_NAME,
    code::DOMAIN_SEARCH,
    code::MTU,
    code::BROADCAST,
    code::NTP,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::CLASSLESS_ROUTES_MICROSOFT,
];

/// The longest message, in bytes, that fits in one Ethernet frame.
const MAX_SIZE: u16 = 1472;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_of_rfc_4361s_form_or_any_bytes_that_an_option_holds() {
        let id = ClientId::duid(0x0102_0304, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1]).unwrap();
        assert_eq!(id.bytes(), [255, 1, 2, 3, 4, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(ClientId::mac(Mac([2, 0, 0, 0, 0, 1])).bytes(), [1, 2, 0, 0, 0, 0, 1]);
        for length in [0, 1, 256] {
            assert_eq!(ClientId::try_from(vec![0; length]), Err(ClientIdError::Length(length)));
        }
        let text = String::from(id.clone());
        assert_eq!(text, "ff:01:02:03:04:00:03:00:01:02:00:00:00:00:01");
        assert_eq!(ClientId::try_from(text), Ok(id));
        for text in ["", "ff", "ff:1", "ff:+1", "ff:100", "zz:00"] {
            assert!(ClientId::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_goes_by_the_old_option_or_by_rfc_4702s() {
        let name: DomainName = "web.lan".parse().unwrap();
        assert_eq!(Name::Host(name.clone()).option(), (12, b"web.lan".to_vec()));
        let labels = b"\x03web\x03lan\x00";
        for (update, flags) in [(Update::Server, 5), (Update::Client, 4), (Update::Nobody, 12)] {
            let bytes = [&[flags, 0, 0][..], labels].concat();
            assert_eq!(Name::Fqdn(name.clone(), update).option(), (81, bytes));
        }
    }
}
