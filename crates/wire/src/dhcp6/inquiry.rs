//! Asks DHCPv6 servers for configuration without an address (RFC 8415, 18.2.6). This is for LANs where hosts
//! get addresses in another way, but whose routers advertise that there is more configuration (flag O, or M,
//! which includes it).

use std::time::Duration;

use super::exchange::{self, Exchange, Retry};
use super::lease::Dns;
use super::request::{self, Outgoing};
use super::{Config, Ignored, Kind, Message, Status, code};
use crate::Boottime;
use crate::random::Random;

/// After how many seconds to ask again if the server does not say (`IRT_DEFAULT`).
const DEFAULT: u32 = 86_400;
/// The shortest time after which to ask again, in seconds (`IRT_MINIMUM`).
const LEAST: u32 = 600;

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Send this message, and poll again.
    Send(Outgoing),
    /// Do nothing before this moment, or without limit if `None`, unless something is heard.
    Wait(Option<Boottime>),
    /// Apply this DNS configuration. It replaces the earlier one.
    Dns(Dns),
}

#[derive(Debug, Clone)]
enum Phase {
    Asking(Exchange),
    /// `until` is when to ask again. `None` means never.
    Informed {
        until: Option<Boottime>,
    },
    Down,
}

/// The state of the inquiry on one link.
#[derive(Debug, Clone)]
pub struct Inquiry {
    config: Config,
    random: Random,
    phase: Phase,
    inform: Retry,
    news: Option<Dns>,
}

impl Inquiry {
    /// An inquiry that asks at once, without the pause of the RFC, for the same reason as
    /// [`Client::new`](super::Client::new). `random` is any number.
    pub fn new(config: Config, now: Boottime, random: u64) -> Self {
        let mut random = Random(random);
        let phase = Phase::Asking(Exchange::new(&mut random, now));
        Inquiry { config, random, phase, inform: exchange::INFORM, news: None }
    }

    /// Returns what to do at time `now`.
    pub fn poll(&mut self, now: Boottime) -> Told {
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

    /// Processes a message. The first successful answer is accepted. Returns why the message was ignored, if
    /// it was.
    pub fn receive(&mut self, now: Boottime, message: &Message) -> Result<(), Ignored> {
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

    /// Reports that the link has no carrier. Nothing is sent until it has one again.
    pub fn link_down(&mut self) {
        self.phase = Phase::Down;
    }

    /// Reports that the link has a carrier, perhaps to another LAN. The question is asked again (RFC 8415,
    /// 18.2.12).
    pub fn link_up(&mut self, now: Boottime) {
        self.phase = Phase::Asking(Exchange::new(&mut self.random, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boottime::SOME_TIME;
    use crate::dhcp6::{Duid, Options};

    fn duid(last: u8) -> Duid {
        Duid::try_from(vec![0, 3, last]).unwrap()
    }

    fn inquiry(now: Boottime) -> Inquiry {
        Inquiry::new(Config::new(duid(7), 1), now, 1)
    }

    fn asked(inquiry: &mut Inquiry, now: Boottime) -> Message {
        match inquiry.poll(now) {
            Told::Send(outgoing) => Message::decode(&outgoing.payload).unwrap(),
            other => panic!("the inquiry does not ask: {other:?}"),
        }
    }

    fn waits(inquiry: &mut Inquiry, now: Boottime) -> Option<Duration> {
        match inquiry.poll(now) {
            Told::Wait(until) => until.map(|until| until - now),
            other => panic!("the inquiry does not wait: {other:?}"),
        }
    }

    /// A server's answer to `question`.
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
            let now = SOME_TIME;
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
                assert_ne!(asked(&mut inquiry, now + pause).xid, question.xid, "it is a new exchange");
            }
        }
    }

    #[test]
    fn a_silent_lan_is_asked_ever_less_often_and_as_seldom_as_a_server_says() {
        let mut now = SOME_TIME;
        let mut inquiry = inquiry(now);
        let mut pauses = Vec::new();
        for _ in 0..16 {
            let question = asked(&mut inquiry, now);
            // The server has no configuration, but says how often it may be asked.
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
        let now = SOME_TIME;
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
