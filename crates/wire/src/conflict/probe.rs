//! Probing an address before it is used.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{BRIEF_LOOK, Profile, Timing, probe_frame, speaks_against};
use crate::random::Random;
use crate::{Heard, Mac};

/// The probing of one address.
#[derive(Debug, Clone)]
pub struct Probe {
    ip: IpAddr,
    own: Mac,
    profile: Profile,
    timing: Option<Timing>,
    sent: u32,
    next: Instant,
    random: Random,
    holder: Option<Mac>,
    /// How often the probing was started over.
    repeated: u32,
}

/// How often the probing may start over because answers may have been lost.
const MOST_REPEATED: u32 = 2;

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this frame, and poll again.
    Send(Vec<u8>),
    /// Do nothing before this moment.
    Wait(Instant),
    /// No other host has the address.
    Clear,
    /// The host with this MAC has the address, or wants it.
    Conflict(Mac),
}

impl Probe {
    /// Begins to probe. The probes are sent from the MAC `own`. `random` is any number; it spreads the probes
    /// of hosts that start together.
    pub fn new(ip: IpAddr, own: Mac, profile: Profile, now: Instant, random: u64) -> Self {
        let (timing, mut random) = (profile.timing(), Random(random));
        let wait = timing.map_or(Duration::ZERO, |timing| random.between(Duration::ZERO, timing.wait));
        Probe { ip, own, profile, timing, sent: 0, next: now + wait, random, holder: None, repeated: 0 }
    }

    /// Begins a last probe for an address that was found clear before and is about to be used: a single
    /// probe, and `after` as the wait for an answer. With the profile `Off`, nothing is sent.
    pub fn last(ip: IpAddr, own: Mac, profile: Profile, now: Instant, after: Duration) -> Self {
        let none = Duration::ZERO;
        let last = Timing { wait: none, probes: 1, least: none, most: none, after };
        let timing = profile.timing().map(|_| last);
        Probe { ip, own, profile, timing, sent: 0, next: now, random: Random(0), holder: None, repeated: 0 }
    }

    /// Whether this is only a last probe.
    pub fn is_last(&self) -> bool {
        self.timing.is_some_and(|timing| timing.probes == 1)
    }

    /// Whether this is a last probe with hardly any time to wait ([`BRIEF_LOOK`]).
    pub fn is_brief(&self) -> bool {
        self.timing.is_some_and(|timing| timing.probes == 1 && timing.after == BRIEF_LOOK)
    }

    /// Whether it has sent its first probe just now.
    pub fn has_begun(&self) -> bool {
        self.sent == 1
    }

    /// The MAC that the probes are sent from.
    pub fn own(&self) -> Mac {
        self.own
    }

    /// The address that is probed.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// How thoroughly the address is probed.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Returns what to do at time `now`.
    pub fn poll(&mut self, now: Instant) -> Action {
        let Some(timing) = self.timing else { return Action::Clear };
        if let Some(holder) = self.holder {
            return Action::Conflict(holder);
        }
        if now < self.next {
            return Action::Wait(self.next);
        }
        if self.sent == timing.probes {
            return Action::Clear;
        }
        self.sent += 1;
        let pause = if self.sent == timing.probes {
            timing.after
        } else {
            self.random.between(timing.least, timing.most)
        };
        self.next = now + pause;
        Action::Send(probe_frame(self.own, self.ip))
    }

    /// Reports that the frame of the last [`Action::Send`] could not be sent yet. It is returned again at the
    /// time `again`.
    pub fn unsent(&mut self, again: Instant) {
        self.sent = self.sent.saturating_sub(1);
        self.next = again;
    }

    /// Reports that received frames were lost. If a probe was sent and no answer came yet, the probing starts
    /// over. Returns `false` if it has started over too often.
    pub fn missed(&mut self, now: Instant) -> bool {
        if self.sent == 0 || self.holder.is_some() {
            return true;
        }
        self.repeated += 1;
        (self.sent, self.next) = (0, now);
        self.repeated <= MOST_REPEATED
    }

    /// Starts over at the time `at`, because the host that answers now is about to disappear. Changes nothing
    /// if an answer was already received.
    pub fn ask_again(&mut self, at: Instant) {
        if self.sent > 0 && self.holder.is_none() {
            (self.sent, self.next) = (0, at);
        }
    }

    /// Processes a frame. Frames before the first probe do not count as answers: a host that has the address
    /// will answer the probe, and a host that is probing for it will hear the probe and give the address up.
    pub fn observe(&mut self, heard: &Heard) {
        if self.sent > 0 && speaks_against(heard, self.ip, self.own, true) {
            self.holder.get_or_insert(heard.sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LAST_LOOK;
    use super::*;
    use proptest::prelude::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip() -> IpAddr {
        "192.168.88.7".parse().unwrap()
    }

    /// Runs a probe to its end. `at` gives a frame and the number of the step at which it is heard.
    fn play(mut probe: Probe, start: Instant, at: Option<(usize, Heard)>) -> (Action, usize, Duration) {
        let (mut now, mut sent) = (start, 0);
        for step in 0.. {
            if let Some((_, heard)) = at.filter(|(when, _)| *when == step) {
                probe.observe(&heard);
            }
            match probe.poll(now) {
                Action::Send(_) => sent += 1,
                Action::Wait(until) => now = until,
                end => return (end, sent, now - start),
            }
        }
        unreachable!()
    }

    /// Runs a new probe with the timing of a profile.
    fn play_new(profile: Profile, random: u64, at: Option<(usize, Heard)>) -> (Action, usize, Duration) {
        let start = Instant::now();
        play(Probe::new(ip(), OWN, profile, start, random), start, at)
    }

    proptest! {
        #[test]
        fn a_silent_lan_is_asked_three_times_within_the_profiles_bounds(random in any::<u64>()) {
            let (end, sent, took) = play_new(Profile::Quick, random, None);
            prop_assert_eq!((end, sent), (Action::Clear, 3));
            prop_assert!(took <= Duration::from_millis(200), "{took:?}");
            let (end, sent, took) = play_new(Profile::Full, random, None);
            prop_assert_eq!((end, sent), (Action::Clear, 3));
            prop_assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(7), "{took:?}");
        }

        #[test]
        fn whoever_claims_or_probes_for_it_once_it_was_asked_for_has_it(random in any::<u64>(), at in 1..6usize, claims in any::<bool>()) {
            let heard = Heard { sender: OTHER, ip: ip(), claims };
            let (end, sent, _) = play_new(Profile::Quick, random, Some((at, heard)));
            prop_assert_eq!(end, Action::Conflict(OTHER));
            prop_assert!(sent <= 3);
        }
    }

    #[test]
    fn what_is_said_before_anybody_was_asked_is_no_answer() {
        for claims in [true, false] {
            let heard = Heard { sender: OTHER, ip: ip(), claims };
            assert_eq!(play_new(Profile::Quick, 1, Some((0, heard))).0, Action::Clear);
        }
    }

    #[test]
    fn ones_own_frames_and_other_addresses_are_no_conflict() {
        for (sender, other) in [(OWN, ip()), (OTHER, "192.168.88.8".parse().unwrap())] {
            let heard = Heard { sender, ip: other, claims: true };
            assert_eq!(play_new(Profile::Quick, 1, Some((1, heard))).0, Action::Clear);
        }
    }

    #[test]
    fn a_look_that_missed_something_begins_anew_and_comes_to_nothing_in_the_end() {
        let start = Instant::now();
        let mut probe = Probe::new(ip(), OWN, Profile::Quick, start, 1);
        assert!((0..10).all(|_| probe.missed(start)), "no probe was sent yet");
        for often in 0..=MOST_REPEATED {
            let asked = probe.clone();
            assert_eq!(play(asked, start, None).1, 3, "the probing starts over in full");
            assert!(matches!(probe.poll(start), Action::Send(_)));
            assert_eq!(probe.missed(start), often < MOST_REPEATED, "{often}");
        }
        let mut probe = Probe::new(ip(), OWN, Profile::Quick, start, 1);
        probe.poll(start);
        probe.observe(&Heard { sender: OTHER, ip: ip(), claims: true });
        assert!((0..10).all(|_| probe.missed(start)), "the answer is already known");
        assert_eq!(probe.poll(start), Action::Conflict(OTHER));
    }

    #[test]
    fn what_could_not_be_sent_is_sent_later_and_the_wait_begins_then() {
        let (start, late) = (Instant::now(), Duration::from_millis(30));
        let mut probe = Probe::last(ip(), OWN, Profile::Quick, start, LAST_LOOK);
        let frame = probe.poll(start);
        probe.unsent(start + late);
        assert_eq!(probe.poll(start), Action::Wait(start + late));
        assert_eq!(probe.poll(start + late), frame);
        let end = start + late + Duration::from_millis(25);
        assert_eq!((probe.poll(start + late), probe.poll(end)), (Action::Wait(end), Action::Clear));
    }

    #[test]
    fn a_last_look_is_one_probe_and_short() {
        let start = Instant::now();
        let look = |profile| Probe::last(ip(), OWN, profile, start, LAST_LOOK);
        for profile in [Profile::Quick, Profile::Full] {
            assert_eq!(play(look(profile), start, None), (Action::Clear, 1, Duration::from_millis(25)));
            let heard = Heard { sender: OTHER, ip: ip(), claims: true };
            assert_eq!(play(look(profile), start, Some((1, heard))).0, Action::Conflict(OTHER));
        }
        assert_eq!(play(look(Profile::Off), start, None), (Action::Clear, 0, Duration::ZERO));
    }

    #[test]
    fn the_off_profile_asks_nobody() {
        assert_eq!(play_new(Profile::Off, 1, None), (Action::Clear, 0, Duration::ZERO));
    }
}
