//! The format of DHCPv6 messages (RFC 8415, 8).

use super::Options;

/// The type of a message (RFC 8415, 7.3). Messages between relays and servers are left out, because a client
/// does not need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client looks for servers.
    Solicit = 1,
    /// The server offers an address.
    Advertise = 2,
    /// The client accepts an offer.
    Request = 3,
    /// The client asks whether its address belongs to this link.
    Confirm = 4,
    /// The client asks the server that assigned the address to extend the lease.
    Renew = 5,
    /// The client asks any server to extend the lease.
    Rebind = 6,
    /// The server answers. SOLICIT is usually answered by ADVERTISE instead.
    Reply = 7,
    /// The client gives its address back.
    Release = 8,
    /// The client reports that another host already has the address.
    Decline = 9,
    /// The server asks the client to ask again.
    Reconfigure = 10,
    /// The client needs no address, but asks for other configuration.
    InformationRequest = 11,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::{
            Advertise, Confirm, Decline, InformationRequest, Rebind, Reconfigure, Release, Renew, Reply,
            Request, Solicit,
        };
        let all = [
            Solicit,
            Advertise,
            Request,
            Confirm,
            Renew,
            Rebind,
            Reply,
            Release,
            Decline,
            Reconfigure,
            InformationRequest,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A DHCPv6 message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: Kind,
    /// The transaction number, which the client chose. It has three bytes.
    pub xid: u32,
    /// The options.
    pub options: Options,
}

impl Message {
    /// The largest transaction number.
    pub const LAST_XID: u32 = 0x00ff_ffff;

    /// Parses the payload of a datagram. Returns `None` if the header is cut off or the type is unknown. An
    /// option that reaches beyond the end is left out.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([kind, xid @ ..], options) = bytes.split_first_chunk::<4>()?;
        let [a, b, c] = *xid;
        let (kind, xid) = (Kind::of(*kind)?, u32::from_be_bytes([0, a, b, c]));
        Some(Message { kind, xid, options: Options::decode(options) })
    }

    /// The payload of the UDP datagram.
    pub fn encode(&self) -> Vec<u8> {
        let head = (self.kind as u32) << 24 | self.xid & Self::LAST_XID;
        let mut bytes = head.to_be_bytes().to_vec();
        self.options.encode(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp6::code;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_reads_back_what_it_was_written_from(
            kind in 1..=11u8, xid in 0..=Message::LAST_XID,
            all in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        ) {
            let mut options = Options::default();
            for (code, bytes) in all {
                options.push(code, bytes);
            }
            let message = Message { kind: Kind::of(kind).unwrap(), xid, options };
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(prop_oneof![0..12u8, any::<u8>()], 0..200)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }

    #[test]
    fn an_option_that_reaches_beyond_the_end_takes_nothing_else_with_it() {
        for cut in [&[0, 7, 0, 2, 9][..], &[0, 7, 0], &[0]] {
            let bytes = [&[2, 0, 0, 1, 0, 14, 0, 0][..], cut].concat();
            let options = Message::decode(&bytes).unwrap().options;
            assert_eq!(
                (options.get(code::RAPID_COMMIT), options.get(code::PREFERENCE)),
                (Some(&[][..]), None)
            );
        }
    }

    #[test]
    fn what_relays_say_and_what_is_not_known_is_no_message() {
        for kind in [0, 12, 13, 14, 255] {
            assert_eq!(Message::decode(&[kind, 0, 0, 1]), None);
        }
        assert_eq!(Message::decode(&[7, 0, 0]), None);
    }
}
