//! A sorted map of things that can also be found by what they have, such as an address.

use std::collections::BTreeSet;
use std::ops::{Deref, Index};

use crate::model::sorted::Sorted;

/// Something that can be found by more than its key.
pub trait Marked {
    /// What it can be found by.
    type Mark: Ord + Clone;

    /// All that it can be found by.
    fn marks(&self) -> BTreeSet<Self::Mark>;
}

/// A sorted map that also finds its values by their marks. Copies are cheap.
#[derive(Debug)]
pub struct Indexed<K, V: Marked> {
    all: Sorted<K, V>,
    /// The keys of what has each mark.
    marks: Sorted<(V::Mark, K), ()>,
}

impl<K: Ord + Clone, V: Marked + Clone> Default for Indexed<K, V> {
    fn default() -> Self {
        Indexed::new()
    }
}

impl<K: Ord + Clone, V: Marked + Clone> Indexed<K, V> {
    /// Returns an empty map.
    pub const fn new() -> Self {
        Indexed { all: Sorted::new(), marks: Sorted::new() }
    }

    /// Gives a key a value, in place of another one.
    pub fn insert(&mut self, key: K, value: V) {
        let (had, has) = (self.all.get(&key).map(V::marks).unwrap_or_default(), value.marks());
        for mark in had.difference(&has) {
            self.marks.remove(&(mark.clone(), key.clone()));
        }
        for mark in has.difference(&had) {
            self.marks.insert((mark.clone(), key.clone()), ());
        }
        self.all.insert(key, value);
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &K) {
        for mark in self.all.get(key).map(V::marks).unwrap_or_default() {
            self.marks.remove(&(mark, key.clone()));
        }
        self.all.remove(key);
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Indexed::new();
    }

    /// Keeps the entries for which `is_kept` holds.
    pub fn retain(&mut self, is_kept: impl Fn(&K, &V) -> bool) {
        let gone: Vec<K> =
            self.all.iter().filter(|(key, value)| !is_kept(key, value)).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Changes values.
    pub fn change_all(&mut self, change: impl Fn(&K, &mut V)) {
        for (key, value) in &self.all.clone() {
            let mut changed = value.clone();
            change(key, &mut changed);
            self.insert(key.clone(), changed);
        }
    }

    /// All that has a mark, in the order of the keys.
    pub fn with(&self, mark: V::Mark) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V> {
        let from = self.marks.from(|(there, _)| there.cmp(&mark));
        let with = from.take_while(move |((there, _), ())| *there == mark);
        with.filter_map(|((_, key), ())| Some((key, self.all.get(key)?)))
    }

    /// The last of all marks.
    pub fn last_mark(&self) -> Option<&V::Mark> {
        self.marks.last().map(|((mark, _), ())| mark)
    }

    /// All marks from one on, in their order. A mark that several values have comes several times.
    pub fn marks_from(
        &self,
        first: &V::Mark,
    ) -> impl Iterator<Item = (&V::Mark, &K)> + Clone + use<'_, K, V> {
        self.marks.from(|(there, _)| there.cmp(first)).map(|((mark, key), ())| (mark, key))
    }
}

impl<K, V: Marked> Deref for Indexed<K, V> {
    type Target = Sorted<K, V>;

    fn deref(&self) -> &Sorted<K, V> {
        &self.all
    }
}

impl<K, V: Marked> Clone for Indexed<K, V> {
    fn clone(&self) -> Self {
        Indexed { all: self.all.clone(), marks: self.marks.clone() }
    }
}

impl<K: PartialEq, V: Marked + PartialEq> PartialEq for Indexed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl<K: Eq, V: Marked + Eq> Eq for Indexed<K, V> {}

impl<K: Ord, V: Marked> Index<&K> for Indexed<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        &self.all[key]
    }
}
