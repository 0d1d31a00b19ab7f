//! When a question is repeated (RFC 8415, 15), and which messages count as its answer (RFC 8415, 16).

use std::time::Duration;

use super::{Config, Duid, Ignored, Kind, Message, Options, code};
use crate::Boottime;
use crate::random::Random;

/// How often and for how long a message is repeated: `IRT`, `MRT`, `MRC` and `MRD` of RFC 8415, 15.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    first: Duration,
    most: Duration,
    times: Option<u32>,
    span: Option<Duration>,
}

const fn retry(first: u64, most: u64) -> Retry {
    Retry { first: Duration::from_secs(first), most: Duration::from_secs(most), times: None, span: None }
}

// The values are those of RFC 8415, 7.6.
pub(super) const SOLICIT: Retry = retry(1, 3600);
pub(super) const REQUEST: Retry = Retry { times: Some(10), ..retry(1, 30) };
pub(super) const CONFIRM: Retry = Retry { span: Some(Duration::from_secs(10)), ..retry(1, 4) };
pub(super) const RENEW: Retry = retry(10, 600);
/// DECLINE and RELEASE. They have few repetitions, and no limit on the pause.
pub(super) const PART: Retry = Retry { times: Some(4), ..retry(1, 3600) };
pub(super) const INFORM: Retry = retry(1, 3600);
/// The pauses between refusals. These values are not from the RFC.
pub(super) const REFUSED: Retry = retry(1, 120);

impl Retry {
    /// Applies the longest pause that a server asks for in the option `code`, if the RFC allows its value
    /// (21.24).
    pub(super) fn bounded(self, options: &Options, code: u16) -> Self {
        let said = options.number(code).filter(|seconds| (60..=86_400).contains(seconds));
        Retry { most: said.map_or(self.most, |seconds| Duration::from_secs(seconds.into())), ..self }
    }

    /// The pause that follows the pause `before`, or the first pause if that is zero. It is twice as long,
    /// randomised by ±10 % of `before`. The first pause is never shorter than its nominal value; the RFC
    /// demands this for SOLICIT and leaves it open for other messages.
    pub(super) fn pause(&self, before: Duration, random: &mut Random) -> Duration {
        if before.is_zero() {
            return random.between(self.first, self.first * 11 / 10);
        }
        let mut about = |middle: Duration| random.between(middle * 9 / 10, middle * 11 / 10);
        // RT is twice the pause before, with a random deviation of a tenth of the pause before.
        let pause = before + about(before);
        if pause > self.most { about(self.most) } else { pause }
    }
}

/// How long after a question its answer may still arrive. This is far longer than on any LAN.
const LATE: Duration = Duration::from_secs(10);

/// A question, and how often it was sent.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// The transaction number, which the answer repeats.
    pub(super) xid: u32,
    /// When the question was first sent. `None` if it was not sent yet.
    first: Option<Boottime>,
    /// When it was last sent, and when before that.
    last: [Option<Boottime>; 2],
    /// How often it was sent.
    pub(super) times: u32,
    pause: Duration,
    /// When to send it next.
    pub(super) next: Boottime,
}

impl Exchange {
    pub(super) fn new(random: &mut Random, now: Boottime) -> Self {
        let xid = random.number() >> 8;
        Exchange { xid, first: None, last: [None; 2], times: 0, pause: Duration::ZERO, next: now }
    }

    /// Records that the question is sent now.
    pub(super) fn sent(&mut self, now: Boottime, retry: &Retry, random: &mut Random) {
        let first = *self.first.get_or_insert(now);
        self.last = [Some(now), self.last[0]];
        self.times = self.times.saturating_add(1);
        self.pause = retry.pause(self.pause, random);
        let end = retry.span.map(|span| first + span);
        self.next = end.into_iter().chain([now + self.pause]).min().unwrap_or(now);
    }

    /// Whether the question was sent often enough or for long enough, and the wait for the last answer is
    /// over.
    pub(super) fn is_over(&self, now: Boottime, retry: &Retry) -> bool {
        let often = retry.times.is_some_and(|most| self.times >= most);
        let long = retry.span.zip(self.first).is_some_and(|(span, first)| first + span <= now);
        now >= self.next && (often || long)
    }

    /// The time from the first to the last transmission, in hundredths of a second, as the message states it
    /// (RFC 8415, 21.9).
    pub(super) fn elapsed(&self) -> u16 {
        let elapsed = self.first.zip(self.last[0]).map(|(first, last)| last.saturating_duration_since(first));
        u16::try_from(elapsed.unwrap_or_default().as_millis() / 10).unwrap_or(u16::MAX)
    }

    /// The earliest time at which the question may have been sent that an answer received at `now` belongs
    /// to. All repetitions have the same transaction number (RFC 8415, 16.1), so it may be the last
    /// transmission or the one before, unless that is too long ago.
    pub(super) fn asked(&self, now: Boottime) -> Boottime {
        let [last, before] = self.last;
        before.filter(|before| now.saturating_duration_since(*before) <= LATE).or(last).unwrap_or(now)
    }

    /// Checks whether a message answers this exchange, and returns the server that sent it.
    pub(super) fn answer(
        exchange: Option<&Exchange>,
        config: &Config,
        message: &Message,
    ) -> Result<Duid, Ignored> {
        match message.kind {
            Kind::Advertise | Kind::Reply => {}
            Kind::Reconfigure => return Err(Ignored::Unauthenticated),
            _ => return Err(Ignored::NoReply),
        }
        if message.options.get(code::CLIENT_ID) != Some(config.duid.bytes()) {
            return Err(Ignored::OtherClient);
        }
        let exchange = exchange.filter(|exchange| exchange.times > 0);
        if exchange.ok_or(Ignored::NotAwaited(message.kind))?.xid != message.xid {
            return Err(Ignored::OtherExchange);
        }
        let server = message.options.server().ok_or(Ignored::NoServer)?;
        if config.servers.accept(&server) { Ok(server) } else { Err(Ignored::OtherServer(server)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boottime::SOME_TIME;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn pauses_double_give_or_take_a_tenth_up_to_the_longest() {
        for seed in 0..200 {
            let (mut random, mut before) = (Random(seed), Duration::ZERO);
            for (times, most) in [11, 21, 21, 21, 21, 21].into_iter().enumerate() {
                let pause = REQUEST.pause(before, &mut random);
                let middle = if times == 0 { seconds(1) } else { before };
                let least = if times == 0 { middle } else { middle * 19 / 10 };
                let cut = seconds(27)..=seconds(33);
                assert!((least..=middle * most / 10).contains(&pause) || times == 5 && cut.contains(&pause));
                before = pause;
            }
            for _ in 0..4 {
                before = REQUEST.pause(before, &mut random);
            }
            assert!((27..=33).contains(&before.as_secs()), "{before:?}");
        }
    }

    #[test]
    fn a_server_may_bound_pauses_within_what_the_rfc_allows() {
        for (said, most) in [(59, 3600), (60, 60), (86_400, 86_400), (86_401, 3600)] {
            let mut options = Options::default();
            options.push(code::SOL_MAX_RT, u32::to_be_bytes(said));
            assert_eq!(SOLICIT.bounded(&options, code::SOL_MAX_RT).most, seconds(most));
        }
    }

    #[test]
    fn time_counts_in_hundredths_and_no_further_than_the_option_can_tell() {
        let (now, mut random) = (SOME_TIME, Random(1));
        let mut exchange = Exchange::new(&mut random, now);
        for (at, told) in [(0, 0), (1, 100), (655, 65_500), (656, 65_535), (100_000, 65_535)] {
            exchange.sent(now + seconds(at), &RENEW, &mut random);
            assert_eq!(exchange.elapsed(), told);
        }
        assert!(exchange.xid <= Message::LAST_XID);
    }

    #[test]
    fn an_answer_may_be_one_to_the_last_question_but_one() {
        let (now, mut random) = (SOME_TIME, Random(1));
        let mut exchange = Exchange::new(&mut random, now);
        exchange.sent(now, &SOLICIT, &mut random);
        assert_eq!(exchange.asked(now + seconds(5)), now);
        exchange.sent(now + seconds(5), &SOLICIT, &mut random);
        assert_eq!(exchange.asked(now + seconds(6)), now);
        assert_eq!(exchange.asked(now + seconds(11)), now + seconds(5), "an answer to the first is too late");
        exchange.sent(now + seconds(6), &SOLICIT, &mut random);
        assert_eq!(exchange.asked(now + seconds(7)), now + seconds(5));
    }
}
