//! The turns of users other than root. A user may call many times at once, as when a stack of containers starts: a few of
//! the calls are worked on side by side, and the others wait for their turn. Nobody else waits for them.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many calls of a user are worked on at a time.
const SIDE_BY_SIDE: usize = 4;

/// The calls that are worked on, by user.
#[derive(Default)]
pub(super) struct Turns {
    working: Mutex<BTreeMap<u32, usize>>,
    ended: Condvar,
}

/// A call of a user that is worked on.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    uid: u32,
}

impl Turns {
    fn working(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of a user.
    pub(super) fn take(&self, uid: u32) -> Turn<'_> {
        let has_all = |working: &mut BTreeMap<u32, usize>| {
            working.get(&uid).is_some_and(|working| *working >= SIDE_BY_SIDE)
        };
        let waited = self.ended.wait_while(self.working(), has_all);
        *waited.unwrap_or_else(PoisonError::into_inner).entry(uid).or_default() += 1;
        Turn { turns: self, uid }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut working = self.turns.working();
        match working.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = working.remove(&self.uid),
        }
        drop(working);
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_few_calls_of_a_user_are_worked_on_and_another_user_waits_for_none_of_them() {
        let turns = Turns::default();
        let held: Vec<Turn<'_>> = (0..SIDE_BY_SIDE).map(|_| turns.take(1000)).collect();
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                let (tell, turns) = (tell.clone(), &turns);
                scope.spawn(move || {
                    drop(turns.take(1000));
                    tell.send(()).unwrap();
                });
            }
            drop(turns.take(1001));
            assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "all turns are taken");
            drop(held);
            (0..16).for_each(|_| told.recv_timeout(Duration::from_secs(60)).unwrap());
        });
        assert!(turns.working().is_empty());
    }
}
