//! What servers tell without giving an address: for LANs whose routers say that there is more to know (the flag O, or M, which says so
//! as well), where addresses are had otherwise (RFC 8415, 18.2.6).

use std::time::{Duration, Instant};

use super::exchange::{self, Exchange, Retry};
use super::lease::Dns;
use super::request::{self, Outgoing};
use super::{Config, Ignored, Kind, Message, Status, code};
use crate::random::Random;

/// After how long it is asked again if the server does not say (`IRT_DEFAULT`), in seconds.
const DEFAULT: u32 = 86_400;
/// And how long at the least (`IRT_MINIMUM`).
const LEAST: u32 = 600;

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Send this, and ask again.
    Send(Outgoing),
    /// Nothing before this moment, if any, unless something is heard.
    Wait(Option<Instant>),
    /// This is so from now on.
    Dns(Dns),
}

#[derive(Debug, Clone)]
enum Phase {
    Asking(Exchange),
    /// When it is asked again, if ever.
    Informed {
        until: Option<Instant>,
    },
    Down,
}

/// Who asks for it, on one link.
#[derive(Debug, Clone)]
pub struct Inquiry {
    config: Config,
    random: Random,
    phase: Phase,
    inform: Retry,
    news: Option<Dns>,
}

impl Inquiry {
    /// It asks at once, without the RFC's pause, as [`Client::new`](super::Client::new) does. `random` is any number.
    pub fn new(config: Config, now: Instant, random: u64) -> Self {
        let mut random = Random(random);
        let phase = Phase::Asking(Exchange::new(&mut random, now));
        Inquiry { config, random, phase, inform: exchange::INFORM, news: None }
    }

    /// What to do at a moment.
    pub fn poll(&mut self, now: Instant) -> Told {
        if let Some(dns) = self.news.take() {
            return Told::Dns(dns);
        }
        if let Phase::Informed { until: Some(until) } = self.phase
            && until <= now
        {
            self.phase = Phase::Asking(Exchange::new(&mut self.random, now));
        }
        match &mut self.phase {
            Phase::Asking(exchange) if now < exchange.next => Told::Wait(Some(exchange.next)),
            Phase::Asking(exchange) => {
                exchange.sent(now, &self.inform, &mut self.random);
                Told::Send(request::inform(&self.config, exchange))
            }
            Phase::Informed { until } => Told::Wait(*until),
            Phase::Down => Told::Wait(None),
        }
    }

    /// Takes in a message: the first answer is.
    pub fn receive(&mut self, now: Instant, message: &Message) -> Result<(), Ignored> {
        let exchange = match &self.phase {
            Phase::Asking(exchange) => Some(exchange),
            Phase::Informed { .. } | Phase::Down => None,
        };
        Exchange::answer(exchange, &self.config, message)?;
        if message.kind != Kind::Reply {
            return Err(Ignored::NotAwaited(message.kind));
        }
        self.inform = self.inform.bounded(&message.options, code::INF_MAX_RT);
        let (status, words) = message.options.status();
        if status != Status::Success {
            return Err(Ignored::Failed(status, words));
        }
        let refresh = message.options.number(code::REFRESH_TIME).unwrap_or(DEFAULT);
        let pause = Some(refresh).filter(|seconds| *seconds != u32::MAX);
        let until = pause.map(|seconds| now + Duration::from_secs(seconds.max(LEAST).into()));
        self.phase = Phase::Informed { until };
        self.news = Some(Dns::read(&message.options));
        Ok(())
    }

    /// The link has no carrier: nothing is asked.
    pub fn link_down(&mut self) {
        self.phase = Phase::Down;
    }

    /// The link has a carrier, perhaps to another LAN: it is asked anew (RFC 8415, 18.2.12).
    pub fn link_up(&mut self, now: Instant) {
        self.phase = Phase::Asking(Exchange::new(&mut self.random, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp6::{Duid, Options};

    fn duid(last: u8) -> Duid {
        Duid::try_from(vec![0, 3, last]).unwrap()
    }

    fn inquiry(now: Instant) -> Inquiry {
        Inquiry::new(Config::new(duid(7), 1), now, 1)
    }

    fn asked(inquiry: &mut Inquiry, now: Instant) -> Message {
        match inquiry.poll(now) {
            Told::Send(outgoing) => Message::decode(&outgoing.payload).unwrap(),
            other => panic!("it does not ask: {other:?}"),
        }
    }

    fn waits(inquiry: &mut Inquiry, now: Instant) -> Option<Duration> {
        match inquiry.poll(now) {
            Told::Wait(until) => until.map(|until| until - now),
            other => panic!("it does not wait: {other:?}"),
        }
    }

    /// The server's answer.
    fn reply(question: &Message, options: &[(u16, &[u8])]) -> Message {
        let mut reply = Message { kind: Kind::Reply, xid: question.xid, options: Options::default() };
        reply.options.push(code::CLIENT_ID, duid(7).bytes());
        reply.options.push(code::SERVER_ID, duid(1).bytes());
        for (code, bytes) in options {
            reply.options.push(*code, *bytes);
        }
        reply
    }

    #[test]
    fn what_is_told_is_asked_again_when_the_server_says_after_a_day_or_never() {
        let day = Some(Duration::from_secs(86_400));
        for (refresh, expected) in [
            (&[][..], day),
            (&[1][..], day),
            (&[0, 0, 0, 1][..], Some(Duration::from_secs(600))),
            (&[0, 0, 4, 0][..], Some(Duration::from_secs(1024))),
            (&[255; 4][..], None),
        ] {
            let now = Instant::now();
            let mut inquiry = inquiry(now);
            let question = asked(&mut inquiry, now);
            let codes: Vec<_> = question.options.codes().collect();
            assert_eq!(question.kind, Kind::InformationRequest);
            assert_eq!(codes, [code::CLIENT_ID, code::ELAPSED_TIME, code::OPTION_REQUEST]);
            let server = "fd88::1".parse::<std::net::Ipv6Addr>().unwrap();
            let told = [(code::DNS, &server.octets()[..]), (code::REFRESH_TIME, refresh)];
            assert_eq!(inquiry.receive(now, &reply(&question, &told)), Ok(()));
            let dns = Dns { servers: vec![server], search: vec![] };
            assert_eq!(inquiry.poll(now), Told::Dns(dns));
            assert_eq!(waits(&mut inquiry, now), expected);
            if let Some(pause) = expected {
                assert_ne!(asked(&mut inquiry, now + pause).xid, question.xid, "it is asked anew");
            }
        }
    }

    #[test]
    fn a_silent_lan_is_asked_ever_less_often_and_as_seldom_as_a_server_says() {
        let mut now = Instant::now();
        let mut inquiry = inquiry(now);
        let mut pauses = Vec::new();
        for _ in 0..16 {
            let question = asked(&mut inquiry, now);
            // It has nothing to tell, but how often it wants to be asked.
            let failed = [(code::STATUS, &[0, 1][..]), (code::INF_MAX_RT, &[0, 0, 0, 100])];
            let heard = inquiry.receive(now, &reply(&question, &failed));
            assert_eq!(heard, Err(Ignored::Failed(Status::UnspecFail, None)));
            let pause = waits(&mut inquiry, now).unwrap();
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses[0], 1);
        assert!(
            pauses[..6].is_sorted() && pauses[9..].iter().all(|pause| (90..=110).contains(pause)),
            "{pauses:?}"
        );
    }

    #[test]
    fn what_is_not_an_answer_is_ignored_and_a_link_that_comes_back_is_another() {
        let now = Instant::now();
        let mut inquiry = inquiry(now);
        let question = asked(&mut inquiry, now);
        let good = reply(&question, &[]);
        let with = |kind| Message { kind, ..good.clone() };
        assert_eq!(inquiry.receive(now, &with(Kind::Reconfigure)), Err(Ignored::Unauthenticated));
        assert_eq!(inquiry.receive(now, &with(Kind::Advertise)), Err(Ignored::NotAwaited(Kind::Advertise)));
        assert_eq!(
            inquiry.receive(now, &Message { xid: !good.xid, ..good.clone() }),
            Err(Ignored::OtherExchange)
        );
        inquiry.link_down();
        assert_eq!(waits(&mut inquiry, now), None);
        assert_eq!(inquiry.receive(now, &good), Err(Ignored::NotAwaited(Kind::Reply)));
        inquiry.link_up(now);
        assert_ne!(asked(&mut inquiry, now).xid, question.xid);
    }
}
