//! The ids that root gave to users for their containers (`subid(5)`).

use std::io::ErrorKind;

/// Whether root gave a user's id to another user, for the containers of that one. Where that cannot be read, any id may
/// be such a one.
pub(super) fn is_subordinate(uid: u32) -> bool {
    match std::fs::read("/etc/subuid") {
        Ok(ranges) => is_in(&String::from_utf8_lossy(&ranges), uid),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Where this host has such ids besides in the file, as from SSSD. Whose an id is cannot be asked there: `getsubids` tells
/// the ids of a user whose name is known.
pub(super) fn elsewhere() -> Option<String> {
    // The distribution's own, where the administrator has none (openSUSE).
    for file in ["/etc/nsswitch.conf", "/usr/etc/nsswitch.conf"] {
        match std::fs::read(file) {
            Ok(settings) => return source_in(&String::from_utf8_lossy(&settings)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return Some("a source that cannot be read".to_owned()),
        }
    }
    None
}

/// What an administrator is told where groups do not count.
pub(super) fn groups_do_not_count(source: &str) -> String {
    format!(
        "groups do not count on this host, since nsswitch.conf has subordinate ids from `{source}`, and each of a user's would \
         have the user's groups: allow users by their ids"
    )
}

fn source_in(settings: &str) -> Option<String> {
    let lines = settings.lines().map(|line| line.split('#').next().unwrap_or_default());
    let lines = lines.filter_map(|line| line.trim().split_once(':'));
    let lines = lines.filter(|(key, _)| key.trim().eq_ignore_ascii_case("subid"));
    let sources = lines.flat_map(|(_, sources)| sources.split_whitespace());
    // `[SUCCESS=merge]` and the like are no sources.
    sources.into_iter().find(|word| *word != "files" && !word.starts_with('[')).map(str::to_owned)
}

fn is_in(ranges: &str, uid: u32) -> bool {
    ranges.lines().any(|line| {
        let mut numbers = line.split(':').skip(1).map(|number| number.trim().parse::<u64>());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(count))) => {
                u64::from(uid).checked_sub(first).is_some_and(|at| at < count)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_given_for_containers_is_known_by_its_range() {
        let ranges = "alice:100000:65536\n# a comment\nbob:165536:10\n1000:4294967290:100\nodd:x:1\n:\n";
        for uid in [100_000, 165_535, 165_536, 165_545, u32::MAX] {
            assert!(is_in(ranges, uid), "{uid}");
        }
        for uid in [1, 1000, 99_999, 165_546] {
            assert!(!is_in(ranges, uid), "{uid}");
        }
    }

    #[test]
    fn ids_that_are_not_in_the_file_are_known_by_their_source() {
        for (settings, source) in [
            ("passwd: files sss\n", None),
            ("subid: files\n#subid: sss\n", None),
            ("subid: # sss\n", None),
            ("subid: [SUCCESS=merge] files\n", None),
            ("passwd: files\n subid:\tsss\n", Some("sss")),
            ("subid: files sss # both\n", Some("sss")),
            ("SubID : sss\n", Some("sss")),
        ] {
            assert_eq!(source_in(settings).as_deref(), source, "{settings:?}");
        }
    }
}
