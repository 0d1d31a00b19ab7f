//! Random events in any order and at any time.

use super::*;
use proptest::prelude::*;

use crate::Boottime;

#[derive(Debug, Clone)]
enum Event {
    /// Time passes: by this many milliseconds, or, for `Due`, until the moment that the client waits for.
    Pass(u64),
    Due,
    /// A message is received, for the current exchange or, if `stale`, for another. `kind` is its message
    /// type, and `option` is set in it.
    Hear {
        kind: u8,
        ip: Ipv4Addr,
        server: Option<Ipv4Addr>,
        stale: bool,
        option: (u8, Vec<u8>),
    },
    Clear(Ipv4Addr),
    Taken(Ipv4Addr),
    LinkDown,
    LinkUp,
    Release,
}

fn event() -> impl Strategy<Value = Event> {
    let ip = || prop_oneof![4 => Just(IP), 1 => Just(OTHER_IP)];
    let server = prop_oneof![4 => Just(Some(SERVER)), 1 => Just(Some(OTHER_SERVER)), 1 => Just(None)];
    let option = (1..=254u8, prop::collection::vec(any::<u8>(), 0..9));
    let lifetime = any::<u16>().prop_map(|end| (code::LEASE_TIME, u32::from(end).to_be_bytes().to_vec()));
    let option = prop_oneof![2 => Just((code::NTP, vec![])), 2 => lifetime, 1 => option];
    let kind = prop_oneof![3 => Just(2u8), 6 => Just(5), 1 => Just(6), 1 => 0..12u8];
    let hear = (kind, ip(), server, prop::bool::weighted(0.1), option)
        .prop_map(|(kind, ip, server, stale, option)| Event::Hear { kind, ip, server, stale, option });
    prop_oneof![
        3 => (0..100_000u64).prop_map(Event::Pass),
        1 => (0..10_000_000_000u64).prop_map(Event::Pass),
        8 => Just(Event::Due),
        20 => hear,
        6 => ip().prop_map(Event::Clear),
        1 => ip().prop_map(Event::Taken),
        1 => Just(Event::LinkDown),
        1 => Just(Event::LinkUp),
    ]
}

/// The state as the client's driver knows it.
#[derive(Default)]
struct Driver {
    using: Option<Held>,
    /// Whether it knows of a lease, in use or only recorded.
    knows: bool,
    probing: Option<Ipv4Addr>,
    /// Whether that address was found to be free.
    free: bool,
}

impl Driver {
    /// Follows the client's actions and checks them.
    fn follow(&mut self, actions: Vec<Action>, now: Boottime) -> Result<(), TestCaseError> {
        let sends = actions.iter().filter(|action| matches!(action, Action::Send(_))).count();
        prop_assert!(sends <= 2, "{actions:?}");
        for action in actions {
            match action {
                Action::Bound(held, change) => {
                    let anew = self.using.as_ref().is_none_or(|using| using.ip() != held.ip());
                    prop_assert_eq!(self.using.is_none(), change == Change::New, "never a second lease");
                    prop_assert!(
                        !anew || self.free && self.probing == Some(held.ip()),
                        "the address was not probed"
                    );
                    (self.using, self.knows) = (Some(held), true);
                }
                Action::Unconfirmed(held) => {
                    let same = self.using.as_ref().is_none_or(|using| *using == held);
                    prop_assert!(
                        same && (self.using.is_some() || self.free && self.probing == Some(held.ip()))
                    );
                    (self.using, self.knows) = (Some(held), true);
                }
                Action::Lost(_) => {
                    prop_assert!(self.knows, "a lease is lost that was never reported");
                    (self.using, self.knows) = (None, false);
                }
                Action::Probe(ip) => (self.probing, self.free) = (Some(ip), false),
                Action::Send(outgoing) => {
                    let own = self.using.as_ref().map(Held::ip);
                    let released =
                        Message::decode(&outgoing.payload).unwrap().options.kind() == Some(Kind::Release);
                    prop_assert!(outgoing.from.is_unspecified() || Some(outgoing.from) == own || released);
                }
                Action::Wait(_) => {}
            }
        }
        prop_assert!(
            self.using.as_ref().is_none_or(|using| using.is_good(now)),
            "an address is used after its lease has expired"
        );
        Ok(())
    }
}

fn happen(bench: &mut Bench, event: Event) {
    match event {
        Event::Pass(milliseconds) => bench.now += Duration::from_millis(milliseconds),
        Event::Due => bench.now = bench.until.unwrap_or(bench.now),
        Event::Hear { kind, ip, server, stale, option } => {
            let mut message = bench.reply(Kind::Ack, ip);
            message.options.set(code::MESSAGE_TYPE, [kind]);
            if let Some(server) = server {
                message.options.set(code::SERVER_ID, server.octets());
            }
            message.options.set(option.0, option.1);
            message.xid = if stale { !message.xid } else { message.xid };
            let _ = bench.client.receive(bench.now, &message, server);
        }
        Event::Clear(ip) => bench.client.clear(ip),
        Event::Taken(ip) => bench.client.taken(ip, bench.now),
        Event::LinkDown => bench.client.link_down(),
        Event::LinkUp => bench.client.link_up(bench.now),
        Event::Release => bench.client.release(bench.now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn there_is_never_a_second_lease_nor_one_past_its_end_and_never_a_storm(
        events in prop::collection::vec((event(), prop::bool::weighted(0.9)), 0..80),
        recorded in proptest::option::of((0..1200u64, any::<bool>())),
        random in any::<u64>(),
    ) {
        let mut driver = Driver::default();
        let mut bench = Bench::with(|now| match recorded {
            None => Client::new(config(), now, random),
            Some((age, in_use)) => {
                let (lease, age) = (lease(), seconds(age));
                driver.using = now.checked_sub(age).map(|since| Held { lease: lease.clone(), since });
                driver.knows = true;
                driver.using = driver.using.take().filter(|held| in_use && held.is_good(now));
                Client::resume(config(), Recorded { lease, age, in_use }, now, random)
            }
        });
        for (event, polled) in events {
            if let Event::Clear(ip) = event {
                driver.free |= driver.probing == Some(ip);
            }
            happen(&mut bench, event);
            // The driver may be late.
            if polled {
                let actions = bench.poll();
                driver.follow(actions, bench.now)?;
                let end = driver.using.as_ref().and_then(Held::expires);
                prop_assert!(end.is_none_or(|end| bench.until.is_some_and(|until| until <= end)), "the client sleeps past the end");
            }
        }
        happen(&mut bench, Event::Release);
        let actions = bench.poll();
        driver.follow(actions, bench.now)?;
        prop_assert!(driver.using.is_none() && bench.until.is_none(), "nothing is left after the release");
    }
}
