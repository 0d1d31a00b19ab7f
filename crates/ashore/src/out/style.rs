//! The few styles of text. Each only repeats what the words or the mark say, so that nothing is lost without colours.

/// How text is shown where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A heading.
    Heading,
    /// Something is as it should be.
    Good,
    /// Something may break, or needs a look.
    Warning,
    /// Something does not work.
    Bad,
}

impl Style {
    /// The parameters of the escape sequence (ECMA-48, SGR). The sixteen old colours are those that a user can set
    /// for his own eyes and background.
    pub(super) fn sequence(self) -> &'static str {
        match self {
            Style::Heading => "1",
            Style::Good => "32",
            Style::Warning => "33",
            Style::Bad => "31",
        }
    }
}
