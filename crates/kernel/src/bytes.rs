//! Netlink's bytes: messages one after another, and the attributes in them (`linux/netlink.h`).
//!
//! Whoever can make a link or a route decides much of what is in them, so nothing here trusts a length. What does not read
//! is left out, and whatever stands before it counts.

use nix::errno::Errno;

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// One message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// What it is (`nlmsg_type`).
    pub(crate) kind: u16,
    /// `NLM_F_…`.
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
    /// All of it.
    pub(crate) whole: &'a [u8],
}

impl Message<'_> {
    /// The error number in an acknowledgement, or at the end of a dump.
    pub(crate) fn code(&self) -> Result<(), Errno> {
        match i32_at(self.body, 0) {
            Some(0..) => Ok(()),
            Some(code) => Err(Errno::from_raw(code.saturating_neg())),
            None => Err(Errno::EBADMSG),
        }
    }
}

/// The messages in what was received.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Messages { rest: bytes }
    }

    /// Whether something is left that is no message: cut off, or of a length that cannot be.
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

/// The attributes in a message, or in an attribute that holds others: kinds and values.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Those that follow a header of some length.
    pub(crate) fn after(header: usize, body: &'a [u8]) -> Self {
        Attributes { rest: body.get(header..).unwrap_or_default() }
    }

    /// Those that a value consists of.
    pub(crate) fn of(value: &'a [u8]) -> Self {
        Attributes { rest: value }
    }

    /// The value of the first one of a kind.
    pub(crate) fn get(&self, wanted: u16) -> Option<&'a [u8]> {
        self.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// The values of the first ones of several kinds.
    pub(crate) fn pick<const N: usize>(&self, wanted: [u16; N]) -> [Option<&'a [u8]>; N] {
        let mut picked = [None; N];
        for (kind, value) in self.clone() {
            if let Some(at) = wanted.iter().position(|wanted| *wanted == kind) {
                picked[at].get_or_insert(value);
            }
        }
        picked
    }

    /// Those that the first one of a kind consists of; none without one.
    pub(crate) fn within(&self, wanted: u16) -> Attributes<'a> {
        Attributes::of(self.get(wanted).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        /// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
        const NLA_TYPE_MASK: u16 = 0x3fff;
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & NLA_TYPE_MASK;
        let value = self.rest.get(4..length)?;
        self.rest = after(self.rest, length);
        Some((kind, value))
    }
}

/// What follows something that begins with its length (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
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

/// A text of the kernel's, which ends with a zero where it has one.
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
        // The last one need not be filled up.
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
