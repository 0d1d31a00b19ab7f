//! IPv6 interface identifiers: the lower 64 bits of an address.

/// Whether an interface identifier is reserved (RFC 5453 and the IANA registry): the subnet-router anycast
/// address, those made from IANA's Ethernet block, and the reserved subnet anycast addresses.
pub fn is_reserved(id: u64) -> bool {
    id == 0
        || (0x0200_5eff_fe00_0000..=0x0200_5eff_feff_ffff).contains(&id)
        || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_reserves() {
        for id in
            [0, 0x0200_5eff_fe00_5213, 0x0200_5eff_fe00_0000, 0xfdff_ffff_ffff_ff80, 0xfdff_ffff_ffff_ffff]
        {
            assert!(is_reserved(id), "{id:x}");
        }
        for id in [1, 0x0200_5eff_fdff_ffff, 0x0200_5eff_ff00_0000, 0xfdff_ffff_ffff_ff7f, u64::MAX] {
            assert!(!is_reserved(id), "{id:x}");
        }
    }
}
