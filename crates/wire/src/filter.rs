//! The packet filter that lets ARP and neighbour discovery through, as classic BPF.

/// One instruction of classic BPF (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// Instructions to skip if true.
    pub jt: u8,
    /// Instructions to skip if false.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`: the kernel strips a VLAN's tag before a packet socket sees the frame, and the
/// untagged parent must not take another VLAN's ARP for its own.
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// How much of a frame is handed over, in bytes: more than any frame has.
const WHOLE: u32 = 0x4_0000;

/// Lets pass untagged ARP frames, and neighbour solicitations and advertisements directly behind an IPv6 header.
pub fn arp_and_ndp() -> [Instruction; 10] {
    [
        instruction(LOAD_BYTE, 0, 0, VLAN_TAG_PRESENT),
        instruction(JUMP_IF_EQUAL, 0, 7, 0),
        instruction(LOAD_HALF, 0, 0, 12),
        instruction(JUMP_IF_EQUAL, 4, 0, u32::from(crate::ETHERTYPE_ARP)),
        instruction(JUMP_IF_EQUAL, 0, 4, u32::from(crate::ETHERTYPE_IPV6)),
        instruction(LOAD_BYTE, 0, 0, 14 + 40),
        instruction(JUMP_IF_EQUAL, 1, 0, 135),
        instruction(JUMP_IF_EQUAL, 0, 1, 136),
        instruction(RETURN, 0, 0, WHOLE),
        instruction(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mac, arp::Arp, ndp};

    /// The instructions that the filter uses, as the kernel runs them.
    fn passes(frame: &[u8], tagged: bool) -> bool {
        let (mut a, mut at, filter) = (0u32, 0, arp_and_ndp());
        let byte = |offset: u32| frame.get(offset as usize).copied().map(u32::from);
        loop {
            let i = filter[at];
            at += 1;
            match i.code {
                LOAD_BYTE if i.k == VLAN_TAG_PRESENT => a = u32::from(tagged),
                // A load beyond the frame ends the programme with 0.
                LOAD_BYTE => match byte(i.k) {
                    Some(value) => a = value,
                    None => return false,
                },
                LOAD_HALF => match byte(i.k).zip(byte(i.k + 1)) {
                    Some((high, low)) => a = high << 8 | low,
                    None => return false,
                },
                JUMP_IF_EQUAL => at += usize::from(if a == i.k { i.jt } else { i.jf }),
                RETURN => return i.k > 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_passes_arp_and_neighbour_discovery_and_nothing_else() {
        let (mac, ip) = (Mac([2, 0, 0, 0, 0, 1]), "fd88::7".parse().unwrap());
        let arp = Arp::probe(mac, [192, 168, 88, 7].into()).broadcast_frame();
        assert!(passes(&arp, false));
        assert!(!passes(&arp, true), "another VLAN's");
        assert!(passes(&ndp::dad_probe(mac, ip), false) && passes(&ndp::advertisement(mac, ip), false));
        let mut echo = ndp::dad_probe(mac, ip);
        echo[14 + 40] = 128;
        let mut v4 = arp;
        v4[12..14].copy_from_slice(&[8, 0]);
        assert!(!passes(&echo, false) && !passes(&v4, false) && !passes(&arp[..12], false));
    }
}
