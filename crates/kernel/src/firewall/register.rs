//! What is known of the values that rules of nftables compare.

use ipnet::IpNet;

use super::walk::Of;

/// The value in a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// These bytes.
    Known(Vec<u8>),
    /// An address of this net, of which so many bits are looked at.
    Address(IpNet, u8),
    /// One that differs from packet to packet, such as a port.
    Any,
    /// One that most packets may share, such as a mark or a bit of it. Which one is not known, but for most it is more
    /// likely to be zero.
    Bits,
    /// It is not understood.
    Unread,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Equal,
    Other,
    /// Less or more.
    Beside,
}

impl Value {
    /// The bits that a mask leaves.
    pub(super) fn masked(self, mask: &[u8], xor: &[u8]) -> Value {
        let bits = |bytes: &[u8]| bytes.iter().map(|byte| byte.leading_ones() as u8).sum::<u8>();
        let is_prefix = |bytes: &[u8]| {
            bytes.iter().map(|byte| byte.count_ones() as u8).sum::<u8>() == bits_before_zero(bytes)
        };
        match self {
            Value::Known(bytes) => {
                let masked = bytes.iter().zip(mask).zip(xor).map(|((byte, mask), xor)| byte & mask ^ xor);
                Value::Known(masked.collect())
            }
            Value::Address(net, _) if is_prefix(mask) && xor.iter().all(|byte| *byte == 0) => {
                Value::Address(net, bits(mask))
            }
            Value::Address(..) => Value::Unread,
            // Part of a port is shared by many.
            Value::Any => Value::Bits,
            other => other,
        }
    }

    /// Which packets have this value.
    pub(super) fn compared(&self, is: Is, with: &[u8]) -> Of {
        match (self, is) {
            (Value::Known(bytes), Is::Equal | Is::Other) => {
                let same = bytes.get(..with.len()) == Some(with);
                if same == (is == Is::Equal) { Of::All } else { Of::None }
            }
            (Value::Address(own, bits), Is::Equal | Is::Other) => {
                net(own, with, *bits).map_or(Of::Unread, |net| compared(own, &net, is == Is::Equal))
            }
            (Value::Any, Is::Equal) | (Value::Any | Value::Address(..), Is::Beside) => Of::Some,
            (Value::Any, Is::Other) => Of::All,
            // That a bit is set names some. That it is not may be so of all.
            (Value::Bits, Is::Equal | Is::Other) => {
                let names_some = with.iter().all(|byte| *byte == 0) == (is == Is::Other);
                if names_some { Of::Some } else { Of::Unread }
            }
            (Value::Known(_) | Value::Bits, Is::Beside) | (Value::Unread, _) => Of::Unread,
        }
    }
}

fn bits_before_zero(bytes: &[u8]) -> u8 {
    let whole = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let rest = bytes.get(whole).map_or(0, |byte| byte.leading_ones() as u8);
    (whole * 8) as u8 + rest
}

/// The net with these first bytes.
fn net(own: &IpNet, bytes: &[u8], bits: u8) -> Option<IpNet> {
    let mut all = [0; 16];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let ip = match own {
        IpNet::V4(_) => <[u8; 4]>::try_from(&all[..4]).ok()?.into(),
        IpNet::V6(_) => all.into(),
    };
    IpNet::new(ip, bits).ok()
}

/// Which packets a comparison of an address with a net is about, if their addresses are of the net `own`. Of a part of
/// `own` it is about some alone, and the others are most.
pub(super) fn compared(own: &IpNet, with: &IpNet, equal: bool) -> Of {
    let (inside, touches) = (with.contains(own), with.contains(&own.addr()) || own.contains(&with.addr()));
    let (same, other) = match (inside, touches) {
        (true, _) => (Of::All, Of::None),
        (false, true) => (Of::Some, Of::All),
        (false, false) => (Of::None, Of::All),
    };
    if equal { same } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_a_net_of_a_part_of_it_or_of_another() {
        let own: IpNet = "192.168.88.0/24".parse().unwrap();
        for (with, equal, other) in [
            ("0.0.0.0/0", Of::All, Of::None),
            ("192.168.0.0/16", Of::All, Of::None),
            ("192.168.88.0/24", Of::All, Of::None),
            ("192.168.88.5/32", Of::Some, Of::All),
            ("10.0.0.0/8", Of::None, Of::All),
        ] {
            let with = with.parse().unwrap();
            assert_eq!((compared(&own, &with, true), compared(&own, &with, false)), (equal, other), "{with}");
        }
        let value = Value::Address(own, 32);
        assert_eq!(
            value.clone().masked(&[255, 255, 0, 0], &[0; 4]).compared(Is::Equal, &[192, 168, 0, 0]),
            Of::All
        );
        assert_eq!(Value::Address(own, 24).compared(Is::Equal, &[192, 168, 88]), Of::All);
        assert_eq!(value.masked(&[255, 0, 255, 0], &[0; 4]), Value::Unread);
    }

    #[test]
    fn known_values_are_compared_by_their_first_bytes() {
        let name = Value::Known(b"br0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec());
        assert_eq!(name.compared(Is::Equal, b"br"), Of::All, "br*");
        assert_eq!(name.compared(Is::Equal, b"br0\0\0\0\0\0\0\0\0\0\0\0\0\0"), Of::All);
        assert_eq!(name.compared(Is::Other, b"eth0"), Of::All);
        assert_eq!(name.compared(Is::Equal, b"docker0\0\0\0\0\0\0\0\0\0"), Of::None);
        let state = Value::Known(8_u32.to_ne_bytes().to_vec());
        let established = state.clone().masked(&6_u32.to_ne_bytes(), &[0; 4]);
        assert_eq!(established.compared(Is::Other, &[0; 4]), Of::None);
        assert_eq!(Value::Any.compared(Is::Equal, &[6]), Of::Some);
    }

    #[test]
    fn a_bit_that_is_set_names_some_and_one_that_is_not_may_be_of_all() {
        // `ct status dnat`, `ct mark & 1 != 0`, `meta mark & 0xff == 5`, and their opposites.
        for (is, with, of) in [
            (Is::Other, [0; 4], Of::Some),
            (Is::Equal, [5, 0, 0, 0], Of::Some),
            (Is::Equal, [0; 4], Of::Unread),
            (Is::Other, [5, 0, 0, 0], Of::Unread),
            (Is::Beside, [5, 0, 0, 0], Of::Unread),
        ] {
            assert_eq!(Value::Any.masked(&[0xff; 4], &[0; 4]).compared(is, &with), of, "{is:?} {with:?}");
        }
    }
}
