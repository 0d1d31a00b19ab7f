//! When the client asks, and how long a lease is valid.

use super::*;

#[test]
fn a_silent_lan_is_asked_after_4_8_16_32_and_then_every_64_seconds_give_or_take_one() {
    let mut bench = Bench::start();
    bench.poll();
    for middle in [4, 8, 16, 32, 64, 64, 64] {
        let before = bench.now;
        bench.wait();
        let pause = bench.now - before;
        assert!(pause >= seconds(middle - 1) && pause <= seconds(middle + 1), "{pause:?} for {middle}");
    }
}

#[test]
fn a_server_that_offers_and_then_is_silent_is_asked_four_times() {
    let mut bench = Bench::start();
    bench.poll();
    let xid = bench.sent.as_ref().unwrap().xid;
    bench.answer(Kind::Offer).unwrap();
    let (asked, mut actions) = (bench.now, bench.poll());
    actions.extend(bench.wait_until(State::Selecting));
    let said: Vec<_> = actions.iter().map(words).collect();
    assert_eq!(
        said,
        ["Request to all", "Request to all", "Request to all", "Request to all", "Discover to all"]
    );
    assert!(bench.now - asked >= seconds(56) && bench.now - asked <= seconds(64));
    assert_ne!(bench.sent.unwrap().xid, xid, "it is a new exchange");
}

#[test]
fn a_renewal_is_repeated_after_half_of_the_time_left_and_no_sooner_than_in_a_minute() {
    let mut bench = Bench::bound();
    let start = bench.now;
    let mut sent = Vec::new();
    while bench.client.state() != State::Selecting {
        if !bench.wait().is_empty() {
            sent.push((bench.now - start).as_secs());
        }
    }
    // T1 is 500 s, T2 is 800 s, and the end is at 1000 s.
    assert_eq!(sent, [500, 650, 725, 785, 800, 900, 960, 1000]);
}

#[test]
fn an_answer_to_an_earlier_attempt_at_renewing_is_ignored() {
    let mut bench = Bench::bound();
    bench.wait();
    let late = bench.reply(Kind::Ack, IP);
    bench.wait();
    assert_eq!(
        bench.hear(&late),
        Err(Ignored::OtherExchange),
        "the lease would seem to run longer than it does"
    );
    assert_eq!(bench.answer(Kind::Ack), Ok(()));
}

#[test]
fn a_lease_runs_from_when_it_was_asked_for() {
    let mut bench = Bench::requesting();
    let asked = bench.now;
    bench.wait();
    bench.answer(Kind::Ack).unwrap();
    bench.now += seconds(5);
    bench.poll();
    bench.client.clear(IP);
    let [Action::Bound(held, Change::New)] = &bench.poll()[..] else { panic!("the client has no lease") };
    assert_eq!((held.since, held.expires()), (asked, Some(asked + seconds(1000))));
}

#[test]
fn an_answer_that_comes_after_the_end_of_what_it_gives_gives_nothing() {
    let mut bench = Bench::requesting();
    bench.now += seconds(20);
    let mut ack = bench.reply(Kind::Ack, IP);
    ack.options.set(code::LEASE_TIME, 20u32.to_be_bytes());
    assert_eq!(bench.hear(&ack), Err(Ignored::Lifetime));
}

#[test]
fn a_lease_that_ends_before_anybody_was_told_of_it_is_not_lost() {
    let mut bench = Bench::probing();
    bench.client.clear(IP);
    bench.now += seconds(1000);
    assert_eq!(bench.poll().iter().map(words).collect::<Vec<_>>(), ["Discover to all"]);
}

#[test]
fn a_server_that_always_refuses_is_asked_ever_less_often() {
    let mut bench = Bench::start();
    let (start, mut discovers) = (bench.now, 0);
    bench.poll();
    while bench.now - start < seconds(3600) {
        discovers += 1;
        bench.answer(Kind::Offer).unwrap();
        bench.poll();
        bench.answer(Kind::Nak).unwrap();
        if bench.poll().is_empty() {
            bench.wait();
        }
    }
    assert!((50..70).contains(&discovers), "{discovers} in an hour");
}

#[test]
fn after_a_conflict_the_client_pauses_and_does_not_wish_for_that_address_again() {
    let mut bench = Bench::bound();
    bench.client.taken(IP, bench.now);
    let before = bench.now;
    bench.poll();
    bench.wait();
    assert_eq!(bench.now - before, seconds(10));
    let discover = bench.sent.as_ref().unwrap();
    assert_eq!(
        (discover.options.kind(), discover.options.get(code::REQUESTED_ADDRESS)),
        (Some(Kind::Discover), None)
    );
}

#[test]
fn an_endless_lease_is_never_renewed() {
    let mut bench = Bench::requesting();
    let mut ack = bench.reply(Kind::Ack, IP);
    ack.options.set(code::LEASE_TIME, [255; 4]);
    bench.hear(&ack).unwrap();
    bench.poll();
    bench.client.clear(IP);
    bench.poll();
    bench.now += seconds(1_000_000_000);
    assert!(bench.poll().is_empty());
    assert_eq!((bench.until, bench.client.state()), (None, State::Bound));
}

#[test]
fn a_machine_that_slept_asks_whom_its_lease_says_by_then() {
    for (slept, state, said) in [
        (600, State::Renewing, &["Request to its server"][..]),
        (900, State::Rebinding, &["Request to all"]),
        (1000, State::Selecting, &["lost Expired", "Discover to all"]),
    ] {
        let mut bench = Bench::bound();
        bench.now += seconds(slept);
        assert_eq!(bench.poll().iter().map(words).collect::<Vec<_>>(), said);
        assert_eq!(bench.client.state(), state);
    }
}

#[test]
fn a_lease_from_before_is_confirmed_in_one_round_trip() {
    let mut bench = Bench::resumed(100, true);
    bench.poll();
    bench.answer(Kind::Ack).unwrap();
    assert_eq!(bench.poll().iter().map(words).collect::<Vec<_>>(), ["bound 7 Renewed([])"]);
    assert_eq!(bench.client.held(bench.now).unwrap().since, bench.now, "the lease starts again");
}

#[test]
fn a_lease_from_before_that_nobody_confirms_is_used_and_renewed_when_that_is_due() {
    for in_use in [true, false] {
        let mut bench = Bench::resumed(100, in_use);
        let start = bench.now;
        let mut said: Vec<_> = bench.poll().iter().map(words).collect();
        while bench.client.state() != State::Renewing {
            said.extend(bench.wait().iter().map(words));
            assert!(said.len() < 100, "{said:?}");
            if said.last().is_some_and(|last| last == "probe 7") {
                assert_eq!(bench.now - start, seconds(2));
                bench.client.clear(IP);
            }
        }
        let mut expected = vec!["Request to all", "unconfirmed 7"];
        expected.extend(["Request to all"; 3]);
        expected.push("Request to its server");
        said.retain(|word| word != "probe 7");
        assert_eq!(said, expected);
        assert_eq!(bench.now - start, seconds(400), "T1 of the lease, which was 100 s old at the start");
    }
}

#[test]
fn a_lease_from_before_is_not_used_when_what_replaced_it_has_run_out() {
    let mut bench = Bench::resumed(100, false);
    bench.poll();
    let mut answer = bench.reply(Kind::Ack, IP);
    answer.options.set(code::LEASE_TIME, 219u32.to_be_bytes());
    bench.hear(&answer).unwrap();
    bench.poll();
    // The probe was never answered.
    let said: Vec<String> = bench.wait().iter().map(words).collect();
    assert_eq!(said, ["lost Expired", "Discover to all"]);
}

#[test]
fn a_lease_from_before_that_is_over_or_of_unknown_age_is_a_wish() {
    for (age, in_use) in [(seconds(1000), false), (seconds(1000), true), (Duration::MAX, true)] {
        let recorded = Recorded { lease: lease(), age, in_use };
        let mut bench = Bench::with(|now| Client::resume(config(), recorded, now, 1));
        // A user of the address is told to stop.
        let expected = if in_use { &["lost Expired", "Discover to all"][..] } else { &["Discover to all"] };
        assert_eq!(bench.poll().iter().map(words).collect::<Vec<_>>(), expected);
        assert_eq!(bench.sent.unwrap().options.address(code::REQUESTED_ADDRESS), Ok(Some(IP)));
    }
}

#[test]
fn a_lease_from_before_that_never_ends_is_good_however_old_it_is() {
    let lease = Lease { term: None, ..lease() };
    let recorded = Recorded { lease, age: Duration::MAX, in_use: true };
    let mut bench = Bench::with(|now| Client::resume(config(), recorded, now, 1));
    assert_eq!(bench.poll().iter().map(words).collect::<Vec<_>>(), ["Request to all"]);
    assert!(bench.client.held(bench.now).is_some());
}

impl Bench {
    /// Receives a NAK from a server that did not assign the lease.
    fn anothers_nak(&mut self) {
        let mut nak = self.reply(Kind::Nak, IP);
        nak.options.set(code::SERVER_ID, OTHER_SERVER.octets());
        assert_eq!(self.hear(&nak), Err(Ignored::OtherServer(OTHER_SERVER)));
    }
}

#[test]
fn another_servers_nak_is_void_once_the_leases_own_server_says_ack() {
    for in_use in [true, false] {
        let mut bench = Bench::resumed(100, in_use);
        bench.poll();
        bench.anothers_nak();
        assert!(bench.poll().is_empty());
        // The own server's answer may be late, or a question may be lost.
        for _ in 0..if in_use { 3 } else { 0 } {
            bench.wait();
            bench.anothers_nak();
        }
        bench.answer(Kind::Ack).unwrap();
        let said: Vec<_> = bench.poll().iter().map(words).collect();
        assert_eq!(said, [if in_use { "bound 7 Renewed([])" } else { "probe 7" }]);
    }
}

#[test]
fn another_servers_nak_counts_when_the_leases_own_server_is_silent() {
    // A container start that waits has less time, and must not get an address that it would lose at once.
    for (in_use, least, most, said) in
        [(true, 56, 64, &["unconfirmed 7", "Request to all"][..]), (false, 3, 5, &[])]
    {
        let mut bench = Bench::resumed(100, in_use);
        bench.poll();
        let start = bench.now;
        bench.anothers_nak();
        bench.poll();
        let actions = bench.wait_until(State::Selecting);
        let actions: Vec<_> = actions.iter().map(words).collect();
        assert!(actions.starts_with(&said.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()));
        assert!(
            actions.ends_with(&["lost Refused(None)".to_owned(), "Discover to all".to_owned()]),
            "{actions:?}"
        );
        let after = (bench.now - start).as_secs();
        assert!((least..=most).contains(&after), "{after}");
    }
    let mut bench = Bench::bound();
    bench.wait_until(State::Rebinding);
    bench.anothers_nak();
    bench.poll();
    bench.wait_until(State::Selecting);
    assert!(bench.now < bench.client.began + seconds(1));
}

#[test]
fn an_address_that_another_server_objects_to_is_not_begun_with() {
    let mut bench = Bench::resumed(100, false);
    bench.poll();
    let said: Vec<_> = bench.wait().iter().map(words).collect();
    assert_eq!(said, ["probe 7"]);
    bench.anothers_nak();
    bench.client.clear(IP);
    assert!(bench.poll().is_empty());
    bench.answer(Kind::Ack).unwrap();
    let said: Vec<_> = bench.poll().iter().map(words).collect();
    assert_eq!(said, ["probe 7"]);
}

#[test]
fn nobody_waits_for_a_server_that_is_not_to_be_heeded() {
    let recorded = Recorded { lease: lease(), age: seconds(100), in_use: true };
    let config = Config { servers: crate::dhcp4::Servers { allow: vec![], deny: vec![SERVER] }, ..config() };
    let mut bench = Bench::with(|now| Client::resume(config, recorded, now, 1));
    bench.poll();
    let mut nak = bench.reply(Kind::Nak, IP);
    nak.options.set(code::SERVER_ID, OTHER_SERVER.octets());
    assert_eq!(bench.client.receive(bench.now, &nak, Some(OTHER_SERVER)), Ok(()));
    assert_eq!(bench.client.state(), State::Init);
}
