//! Finds the name that somebody meant. Below a floor nothing is guessed, because a wrong guess costs more than none.

/// The one of `names` that a misspelt word is likely to mean, if there is one.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        // The beginning of a name is as good as a slip of a finger.
        if word.chars().count() >= 3 && name.starts_with(&word) {
            return 1;
        }
        strsim::damerau_levenshtein(&word, &name)
    };
    // A slip in a word of three letters, two in one of five.
    let floor = match word.chars().count() {
        0..=2 => 0,
        letters => ((letters + 1) / 3).min(3),
    };
    let found = names.into_iter().map(|name| (distance(name), name)).min_by_key(|(distance, _)| *distance);
    found.filter(|(distance, _)| *distance <= floor).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_nothing_is_guessed_from_afar() {
        let names = ["attach", "detach", "status", "network", "lab", "ls", "plan"];
        for (word, meant) in [
            ("atach", Some("attach")),
            ("stauts", Some("status")),
            ("STATUS", Some("status")),
            ("stat", Some("status")),
            ("netwrok", Some("network")),
            ("plna", Some("plan")),
            ("ntwrk", Some("network")),
            ("la", None),
            ("dhcp", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
    }
}
