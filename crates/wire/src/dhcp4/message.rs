//! The format of DHCPv4 messages (RFC 2131, 2).

use std::net::Ipv4Addr;

use super::Options;
use crate::Mac;

/// The length of everything before the options: the fixed fields of BOOTP, with `sname` and `file`.
const FIXED: usize = 236;
/// The offsets of the server name and the boot file.
const SNAME: usize = 44;
const FILE: usize = 108;
/// The magic cookie, which says that options follow.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest message that relays and servers from BOOTP's time accept (RFC 1542, 2.1).
const SHORTEST: usize = 300;
const BROADCAST: u16 = 0x8000;

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// From a client to a server (`BOOTREQUEST`).
    Request,
    /// From a server to a client (`BOOTREPLY`).
    Reply,
}

/// A DHCPv4 message. `sname` and `file` are read only for options that overflow into them, and are written
/// empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The direction.
    pub op: Op,
    /// The transaction number, which the client chose.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Whether the client wants its answers broadcast.
    pub broadcast: bool,
    /// The client's address, if it has one and answers on it.
    pub ciaddr: Ipv4Addr,
    /// The address that the server assigns to the client.
    pub yiaddr: Ipv4Addr,
    /// The next server of a network boot.
    pub siaddr: Ipv4Addr,
    /// The relay that forwarded the message.
    pub giaddr: Ipv4Addr,
    /// The client's MAC.
    pub chaddr: Mac,
    /// The options.
    pub options: Options,
}

impl Message {
    /// A message from a client, without options.
    pub fn request(xid: u32, chaddr: Mac) -> Self {
        let nobody = Ipv4Addr::UNSPECIFIED;
        Message {
            op: Op::Request,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: nobody,
            yiaddr: nobody,
            siaddr: nobody,
            giaddr: nobody,
            chaddr,
            options: Options::default(),
        }
    }

    /// Parses the payload of a datagram. Returns `None` unless it is a message for Ethernet. An option that
    /// reaches beyond the end is left out, together with everything after it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let field = rest.strip_prefix(&COOKIE)?;
        let op = match fixed[0] {
            1 => Op::Request,
            2 => Op::Reply,
            _ => return None,
        };
        // The hardware type of Ethernet, and the length of its addresses.
        if fixed[1..3] != [1, 6] {
            return None;
        }
        let ip = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let short = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        Some(Message {
            op,
            xid: u32::from_be_bytes(*fixed[4..].first_chunk()?),
            secs: short(8),
            broadcast: short(10) & BROADCAST != 0,
            ciaddr: ip(12),
            yiaddr: ip(16),
            siaddr: ip(20),
            giaddr: ip(24),
            chaddr: Mac(*fixed[28..].first_chunk()?),
            options: Options::decode(field, &fixed[FILE..FIXED], &fixed[SNAME..FILE]),
        })
    }

    /// The payload of the UDP datagram.
    pub fn encode(&self) -> Vec<u8> {
        let op = match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        };
        let mut bytes = Vec::with_capacity(SHORTEST);
        bytes.extend([op, 1, 6, 0]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(if self.broadcast { BROADCAST } else { 0 }.to_be_bytes());
        for ip in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            bytes.extend(ip.octets());
        }
        bytes.extend(self.chaddr.0);
        bytes.resize(FIXED, 0);
        bytes.extend(COOKIE);
        self.options.encode(&mut bytes);
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp4::{Kind, code};
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn options() -> impl Strategy<Value = Options> {
        let bytes = prop::collection::vec(any::<u8>(), 0..600);
        prop::collection::vec((1..=254u8, bytes), 0..8).prop_map(|all| {
            let mut options = Options::default();
            for (code, bytes) in all.into_iter().filter(|(code, _)| *code != code::OVERLOAD) {
                options.set(code, bytes);
            }
            options
        })
    }

    proptest! {
        #[test]
        fn a_message_reads_back_what_it_was_written_from(
            reply in any::<bool>(), xid in any::<u32>(), secs in any::<u16>(), broadcast in any::<bool>(),
            ips in any::<[[u8; 4]; 4]>(), mac in any::<[u8; 6]>(), options in options(),
        ) {
            let [ciaddr, yiaddr, siaddr, giaddr] = ips.map(Ipv4Addr::from);
            let op = if reply { Op::Reply } else { Op::Request };
            let message = Message {
                op, xid, secs, broadcast, ciaddr, yiaddr, siaddr, giaddr, chaddr: Mac(mac), options,
            };
            let bytes = message.encode();
            prop_assert!(bytes.len() >= SHORTEST);
            prop_assert_eq!(Message::decode(&bytes), Some(message));
        }

        #[test]
        fn no_bytes_make_the_parser_panic_and_no_options_either(field in prop::collection::vec(any::<u8>(), 0..700)) {
            prop_assert_eq!(Message::decode(&field), None, "there is no magic cookie");
            let mut bytes = Message::request(1, MAC).encode();
            bytes.truncate(FIXED + COOKIE.len());
            bytes.extend(field);
            let message = Message::decode(&bytes).unwrap();
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    /// An empty reply with these options.
    fn reply(field: &[u8]) -> Vec<u8> {
        let mut bytes = Message { op: Op::Reply, ..Message::request(7, MAC) }.encode();
        bytes.truncate(FIXED + COOKIE.len());
        bytes.extend(field);
        bytes
    }

    #[test]
    fn options_overflow_into_the_fields_for_file_and_server_name_and_parts_are_joined_in_this_order() {
        let mut bytes = reply(&[53, 1, 5, 52, 1, 3, 15, 4, b'h', b'o', b'm', b'e', 255]);
        bytes[FILE..FILE + 8].copy_from_slice(&[15, 1, b'.', 12, 1, b'a', 255, 99]);
        bytes[SNAME..SNAME + 7].copy_from_slice(&[0, 15, 3, b'l', b'a', b'n', 255]);
        let options = Message::decode(&bytes).unwrap().options;
        assert_eq!(options.kind(), Some(Kind::Ack));
        assert_eq!(options.get(code::DOMAIN_NAME), Some(b"home.lan".as_slice()));
        assert_eq!(options.get(code::HOST_NAME), Some(b"a".as_slice()));
        assert_eq!(options.get(code::OVERLOAD), None, "it is consumed when it is read");

        bytes[FIXED + COOKIE.len() + 5] = 1;
        let options = Message::decode(&bytes).unwrap().options;
        assert_eq!(options.get(code::DOMAIN_NAME), Some(b"home.".as_slice()), "only the file field");
    }

    #[test]
    fn an_option_that_reaches_beyond_the_end_takes_nothing_else_with_it() {
        for field in [&[53, 1, 5, 15, 200, b'h'][..], &[53, 1, 5, 15], &[53, 1, 5]] {
            let options = Message::decode(&reply(field)).unwrap().options;
            assert_eq!((options.kind(), options.get(code::DOMAIN_NAME)), (Some(Kind::Ack), None));
        }
    }

    #[test]
    fn what_is_not_for_ethernet_or_has_no_cookie_is_no_message() {
        let good = reply(&[53, 1, 5, 255]);
        assert!(Message::decode(&good).is_some());
        for (at, value) in [(0, 3), (1, 6), (2, 16), (FIXED, 98)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(Message::decode(&bytes), None, "byte {at}");
        }
        assert_eq!(Message::decode(&good[..FIXED + 3]), None);
    }
}
