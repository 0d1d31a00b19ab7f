//! The message that client and server exchange (RFC 8415, 8), in bytes.

use super::Options;

/// What a message is (RFC 8415, 7.3). What relays say to servers is nothing for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who has an address for me?
    Solicit = 1,
    /// I have this one.
    Advertise = 2,
    /// I take it.
    Request = 3,
    /// Does this one belong to this link?
    Confirm = 4,
    /// May I go on using it, you who gave it?
    Renew = 5,
    /// May I go on using it, anybody?
    Rebind = 6,
    /// The answer to all of a client's but, mostly, SOLICIT.
    Reply = 7,
    /// I do not need it any longer.
    Release = 8,
    /// It is somebody else's already.
    Decline = 9,
    /// Ask again now.
    Reconfigure = 10,
    /// I need no address, and want to know the rest.
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

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The number of the exchange, which the client chose: three bytes.
    pub xid: u32,
    /// Everything else.
    pub options: Options,
}

impl Message {
    /// The largest number of an exchange.
    pub const LAST_XID: u32 = 0x00ff_ffff;

    /// The message in a datagram's payload. An option that reaches beyond the end is left out.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([kind, xid @ ..], options) = bytes.split_first_chunk::<4>()?;
        let [a, b, c] = *xid;
        let (kind, xid) = (Kind::of(*kind)?, u32::from_be_bytes([0, a, b, c]));
        Some(Message { kind, xid, options: Options::decode(options) })
    }

    /// The payload of its datagram.
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
