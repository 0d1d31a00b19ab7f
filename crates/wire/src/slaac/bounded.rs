//! The few of a kind that are kept of what routers say, in whatever number somebody makes them up.

/// At most [`MOST`] of a kind. One more takes the place of the one that was said first of those that do not stay. The first few stay: they
/// answered the question for routers, and are in use before anybody could make up others. So does what was said more than once: routers
/// repeat themselves every few minutes (RFC 4861, 6.2.1). So whoever makes up any number of them puts out none that is in use, and
/// keeps none out that comes later.
#[derive(Debug, Clone)]
pub(super) struct Bounded<T>(Vec<Said<T>>);

/// More than a home has, and little memory.
pub(super) const MOST: usize = 16;

/// So many of them can be put out at any time.
const ROOM: usize = 4;

/// So many stay though they were said but once.
const FIRST: usize = 4;

#[derive(Debug, Clone)]
struct Said<T> {
    what: T,
    /// Whether it is not put out: it is one of the first, was said more than once, or was known before the program started.
    stays: bool,
}

impl<T> Bounded<T> {
    pub(super) const fn new() -> Self {
        Bounded(Vec::new())
    }

    /// In the order in which they were said last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|said| &said.what)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in what was said, in the place of what was said of the `same` before.
    pub(super) fn take(&mut self, what: T, same: impl Fn(&T) -> bool) {
        let known = self.remove(same).is_some();
        let stays = self.that_stay() < if known { MOST - ROOM } else { FIRST };
        if self.0.len() == MOST {
            let first = self.0.iter().position(|said| !said.stays);
            self.0.remove(first.expect("of those that stay there are fewer"));
        }
        self.0.push(Said { what, stays });
    }

    fn that_stay(&self) -> usize {
        self.0.iter().filter(|said| said.stays).count()
    }

    /// Takes in what was known before the program started, as long as there is room.
    pub(super) fn recall(&mut self, what: T, same: impl Fn(&T) -> bool) {
        if self.0.len() < MOST && !self.iter().any(same) {
            let stays = self.that_stay() < MOST - ROOM;
            self.0.push(Said { what, stays });
        }
    }

    /// Takes one out.
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
        for (one, why) in [(1, "it was there first"), (8, "it was said twice")] {
            assert!(few.iter().any(|there| *there == one), "{why}");
        }
        assert!(!few.iter().any(|one| *one == 2), "it was said once, and long ago");
        say(&mut few, [3]);
        assert!(few.iter().any(|one| *one == 3), "it comes last");
        assert_eq!(few.iter().count(), MOST);
        // Others that are repeated put it out no more than that.
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
        assert_eq!(few.iter().filter(|one| **one < 12).count(), 12, "the others made room");
        few.retain(|one| *one < 16);
        assert_eq!(few.remove(|one| *one == 7), Some(7));
        assert_eq!(few.remove(|one| *one == 7), None);
        assert!(!few.is_empty());
    }
}
