//! Random events in any order and at any time.

use super::*;
use proptest::prelude::*;

use crate::Boottime;

#[derive(Debug, Clone)]
enum Event {
    /// Time passes: by this many milliseconds, or, for `Due`, until the moment that the client waits for.
    Pass(u64),
    Due,
    /// A message is received, for the current exchange or for another.
    Hear(Heard),
    Clear(Ipv6Addr),
    Taken(Ipv6Addr),
    LinkDown,
    LinkUp,
    Release,
}

#[derive(Debug, Clone)]
struct Heard {
    kind: Kind,
    server: u8,
    stale: bool,
    rapid: bool,
    preference: u8,
    times: [u32; 2],
    addresses: Vec<(Ipv6Addr, [u32; 2])>,
    /// The status of the message, and that of the `IA_NA`.
    status: [Option<u16>; 2],
    option: Option<(u16, Vec<u8>)>,
}

fn heard() -> impl Strategy<Value = Heard> {
    let kind = prop_oneof![3 => Just(Kind::Advertise), 6 => Just(Kind::Reply), 1 => Just(Kind::Reconfigure)];
    let server = prop_oneof![5 => Just(SERVER), 1 => Just(OTHER_SERVER)];
    let time = || prop_oneof![4 => 0..2000u32, 1 => Just(u32::MAX), 1 => any::<u32>()];
    let address = (ip(), [time(), time()]);
    let own = prop::collection::vec(Just((IP, [900, 1000])), 1);
    let addresses = prop_oneof![3 => own, 2 => prop::collection::vec(address, 0..3)];
    let status = || prop_oneof![6 => Just(None), 1 => (0..8u16).prop_map(Some)];
    let bytes = prop::collection::vec(any::<u8>(), 0..9);
    let option = proptest::option::weighted(0.2, (0..90u16, bytes));
    let preference = prop_oneof![Just(0), Just(255), any::<u8>()];
    let stale = prop::bool::weighted(0.1);
    let times = [time(), time()];
    let first = (kind, server, stale, prop::bool::weighted(0.3), preference);
    (first, times, addresses, [status(), status()], option).prop_map(
        |((kind, server, stale, rapid, preference), times, addresses, status, option)| Heard {
            kind,
            server,
            stale,
            rapid,
            preference,
            times,
            addresses,
            status,
            option,
        },
    )
}

fn ip() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![4 => Just(IP), 1 => Just(OTHER_IP)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..100_000u64).prop_map(Event::Pass),
        1 => (0..10_000_000_000u64).prop_map(Event::Pass),
        8 => Just(Event::Due),
        20 => heard().prop_map(Event::Hear),
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
    probing: Option<Ipv6Addr>,
    /// Whether that address was found to be free.
    free: bool,
}

impl Driver {
    /// Follows the client's actions and checks them.
    fn follow(&mut self, actions: Vec<Action>, now: Boottime) -> Result<(), TestCaseError> {
        let sends = actions.iter().filter(|action| matches!(action, Action::Send(_))).count();
        prop_assert!(sends <= 1, "{actions:?}");
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
                    let kind = Message::decode(&outgoing.payload).unwrap().kind;
                    let parting = matches!(kind, Kind::Decline | Kind::Release);
                    prop_assert!(!parting || self.using.is_none(), "the address is used while given back");
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
        Event::Hear(heard) => {
            let mut inner: Vec<_> = heard.addresses.iter().map(|(ip, times)| address(*ip, *times)).collect();
            inner.extend(heard.status[1].map(status));
            let mut options =
                vec![association(heard.times, &inner), (code::PREFERENCE, vec![heard.preference])];
            options.extend(heard.status[0].map(status));
            options.extend(heard.rapid.then(|| (code::RAPID_COMMIT, vec![])));
            options.extend(heard.option);
            let mut message = bench.reply(heard.kind, &options);
            message.options.set(code::SERVER_ID, server(heard.server).bytes());
            message.xid = if heard.stale { !message.xid } else { message.xid };
            let _ = bench.hear(&message);
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
        for _ in 0..5 {
            let actions = bench.poll();
            driver.follow(actions, bench.now)?;
            happen(&mut bench, Event::Due);
        }
        prop_assert!(driver.using.is_none() && bench.until.is_none(), "nothing is left after the release");
    }
}
