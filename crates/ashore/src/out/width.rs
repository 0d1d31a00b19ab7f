//! How many columns a terminal takes for a text.

/// Characters of two columns (Unicode Standard Annex 11, classes W and F), as ranges: Hangul, kana, CJK, and pictures.
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1faff),
    (0x20000, 0x3fffd),
];

/// Whether a character takes two columns.
pub(super) fn is_wide(c: char) -> bool {
    let c = u32::from(c);
    WIDE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The columns of a character. What has none, such as an accent of its own, is escaped before it is shown.
fn of(c: char) -> usize {
    1 + usize::from(is_wide(c))
}

/// The columns of a text.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_takes_two_columns_each() {
        assert_eq!([columns("eth0"), columns("Küche ✓"), columns("小米"), columns("")], [4, 7, 4, 0]);
    }
}
