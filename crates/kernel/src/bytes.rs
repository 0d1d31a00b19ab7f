//! Netlink's wire format: consecutive messages, and the attributes in them (`linux/netlink.h`).
//!
//! Anyone who can create a link or a route controls much of the contents, so this code trusts no length.
//! Parsing stops at the first malformed length. Everything before it counts.

use nix::errno::Errno;

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// One message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The message type (`nlmsg_type`).
    pub(crate) kind: u16,
    /// `NLM_F_…`.
    pub(crate) flags: u16,
    /// The sequence number of the request that this message answers.
    pub(crate) sequence: u32,
    /// The bytes after the header.
    pub(crate) body: &'a [u8],
    /// The whole message, with its header.
    pub(crate) whole: &'a [u8],
}

impl Message<'_> {
    /// The error number of an acknowledgement or of the end of a dump. Returns `Ok` for 0 and for positive
    /// numbers.
    pub(crate) fn code(&self) -> Result<(), Errno> {
        match i32_at(self.body, 0) {
            Some(0..) => Ok(()),
            Some(code) => Err(Errno::from_raw(code.saturating_neg())),
            None => Err(Errno::EBADMSG),
        }
    }
}

/// The messages in a received buffer.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Messages { rest: bytes }
    }

    /// Returns whether bytes are left over that are not a message: truncated, or with an impossible length.
    pub(crate) fn is_cut_off(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(u32_at(self.rest, 0)?).ok()?;
        let whole = self.rest.get(..length)?;
        let body = whole.get(HEADER..)?;
        self.rest = after(self.rest, length);
        Some(Message {
            kind: u16_at(whole, 4)?,
            flags: u16_at(whole, 6)?,
            sequence: u32_at(whole, 8)?,
            body,
            whole,
        })
    }
}

/// The attributes in a message or in a nested attribute, as pairs of type and value.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes after a header of the given length.
    pub(crate) fn after(header: usize, body: &'a [u8]) -> Self {
        Attributes { rest: body.get(header..).unwrap_or_default() }
    }

    /// The attributes that make up a value.
    pub(crate) fn of(value: &'a [u8]) -> Self {
        Attributes { rest: value }
    }

    /// The value of the first attribute of a type.
    pub(crate) fn get(&self, wanted: u16) -> Option<&'a [u8]> {
        self.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// The values of the first attribute of each of several types.
    pub(crate) fn pick<const N: usize>(&self, wanted: [u16; N]) -> [Option<&'a [u8]>; N] {
        let mut picked = [None; N];
        for (kind, value) in self.clone() {
            if let Some(at) = wanted.iter().position(|wanted| *wanted == kind) {
                picked[at].get_or_insert(value);
            }
        }
        picked
    }

    /// The attributes nested in the first attribute of a type. Empty if there is no such attribute.
    pub(crate) fn within(&self, wanted: u16) -> Attributes<'a> {
        Attributes::of(self.get(wanted).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        /// The type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
        const NLA_TYPE_MASK: u16 = 0x3fff;
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & NLA_TYPE_MASK;
        let value = self.rest.get(4..length)?;
        self.rest = after(self.rest, length);
        Some((kind, value))
    }
}

/// The bytes after an element of the given length, with its padding (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

/// The bytes of a string from the kernel, up to the terminating zero byte if there is one.
pub(crate) fn text(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_attribute_of_impossible_length_ends_them_and_spoils_none_before_it() {
        for length in [0_u16, 3, 9, 0xffff] {
            let mut bytes = attribute(1, b"first");
            bytes.extend(length.to_ne_bytes());
            bytes.extend([2, 0, 0, 0, 0, 0]);
            let all: Vec<_> = Attributes::of(&bytes).collect();
            assert_eq!(all, [(1, &b"first"[..])], "{length}");
        }
        // The last attribute need not be padded.
        let mut bytes = attribute(1, b"first");
        bytes.truncate(9);
        assert_eq!(Attributes::of(&bytes).get(1), Some(&b"first"[..]));
    }

    #[test]
    fn a_message_that_is_cut_off_is_told_from_the_end() {
        let mut bytes = 20_u32.to_ne_bytes().to_vec();
        bytes.resize(20, 7);
        let mut messages = Messages::of(&bytes);
        assert_eq!(messages.next().unwrap().body, [7; 4]);
        assert!(messages.next().is_none() && !messages.is_cut_off());
        for length in [0_u32, 15, 21, u32::MAX] {
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let mut messages = Messages::of(&bytes);
            assert!(messages.next().is_none() && messages.is_cut_off(), "{length}");
        }
    }
}
