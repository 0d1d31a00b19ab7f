//! A bounded list for what routers advertise, so that forged advertisements cannot fill memory.

/// At most [`MOST`] items of one kind. When the list is full, a new item replaces the oldest item that is not
/// kept. The first `FIRST` items are kept: they answered the router solicitation, and are in use before any
/// host could forge others. Items that were advertised more than once are kept as well, because routers
/// repeat themselves every few minutes (RFC 4861, 6.2.1). At least `ROOM` places stay open to new items. So a
/// host that forges any number of items neither displaces an item in use nor keeps out a later one.
#[derive(Debug, Clone)]
pub(super) struct Bounded<T>(Vec<Said<T>>);

/// The size of the list: more than a home has, and little memory.
pub(super) const MOST: usize = 16;

/// How many places are always open to new items.
const ROOM: usize = 4;

/// How many items are kept although they were advertised only once.
const FIRST: usize = 4;

#[derive(Debug, Clone)]
struct Said<T> {
    what: T,
    /// Whether it is kept when the list is full: it is one of the first, was advertised more than once, or
    /// was known before the program started.
    stays: bool,
}

impl<T> Bounded<T> {
    pub(super) const fn new() -> Self {
        Bounded(Vec::new())
    }

    /// The items, in the order in which they were last advertised.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|said| &said.what)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an item. It replaces the item for which `same` is true.
    pub(super) fn take(&mut self, what: T, same: impl Fn(&T) -> bool) {
        let known = self.remove(same).is_some();
        let stays = self.that_stay() < if known { MOST - ROOM } else { FIRST };
        if self.0.len() == MOST {
            let first = self.0.iter().position(|said| !said.stays);
            self.0.remove(first.expect("fewer than MOST items are kept"));
        }
        self.0.push(Said { what, stays });
    }

    fn that_stay(&self) -> usize {
        self.0.iter().filter(|said| said.stays).count()
    }

    /// Adds an item that was known before the program started, if there is room.
    pub(super) fn recall(&mut self, what: T, same: impl Fn(&T) -> bool) {
        if self.0.len() < MOST && !self.iter().any(same) {
            let stays = self.that_stay() < MOST - ROOM;
            self.0.push(Said { what, stays });
        }
    }

    /// Removes the item for which `same` is true, and returns it. Returns `None` if there is none.
    pub(super) fn remove(&mut self, same: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.0.iter().position(|said| same(&said.what))?;
        Some(self.0.remove(at).what)
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.0.retain(|said| stays(&said.what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(few: &mut Bounded<u8>, all: impl IntoIterator<Item = u8>) {
        all.into_iter().for_each(|one| few.take(one, |there| *there == one));
    }

    #[test]
    fn the_first_and_what_is_repeated_are_kept_and_what_comes_later_has_room() {
        let mut few = Bounded::new();
        say(&mut few, [1, 5, 6, 7, 8, 2, 8]);
        say(&mut few, 10..200);
        for (one, why) in [(1, "it is one of the first items"), (8, "it was advertised twice")] {
            assert!(few.iter().any(|there| *there == one), "{why}");
        }
        assert!(!few.iter().any(|one| *one == 2), "it was advertised once, long ago");
        say(&mut few, [3]);
        assert!(few.iter().any(|one| *one == 3), "it is the newest item");
        assert_eq!(few.iter().count(), MOST);
        // Other items that are repeated do not displace it either.
        say(&mut few, (20..60).chain(20..60).chain(20..60));
        assert!(few.iter().any(|one| *one == 1));
        say(&mut few, [4]);
        assert_eq!(few.iter().last(), Some(&4));
        assert_eq!(few.iter().count(), MOST);
    }

    #[test]
    fn what_was_known_before_is_not_put_out_by_what_is_said_once() {
        let mut few = Bounded::new();
        (0..100).for_each(|one| few.recall(one, |there| *there == one));
        assert_eq!(few.iter().copied().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
        say(&mut few, 100..200);
        assert_eq!(few.iter().filter(|one| **one < 12).count(), 12, "the other items made room");
        few.retain(|one| *one < 16);
        assert_eq!(few.remove(|one| *one == 7), Some(7));
        assert_eq!(few.remove(|one| *one == 7), None);
        assert!(!few.is_empty());
    }
}
