//! The Internet checksum.

/// The Internet checksum (RFC 1071) over `parts`, read as one sequence of bytes. All parts but the last must
/// have an even length. The result is zero over data that contains its own correct checksum.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum = words.fold(0u32, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
