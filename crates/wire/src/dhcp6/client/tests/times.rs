//! When the client asks, and how long a lease is valid.

use super::*;
use crate::dhcp6::Status;

#[test]
fn a_silent_lan_is_asked_after_one_second_and_then_ever_less_often_up_to_an_hour() {
    let mut bench = Bench::soliciting();
    let mut pauses = Vec::new();
    for _ in 0..16 {
        let before = bench.now;
        assert_eq!(bench.wait().iter().map(words).collect::<Vec<_>>(), ["Solicit"]);
        pauses.push(bench.now - before);
    }
    assert!(pauses[0] >= seconds(1) && pauses[0] <= Duration::from_millis(1100), "{pauses:?}");
    for pair in pauses[..10].windows(2) {
        assert!(pair[1] >= pair[0] * 19 / 10 && pair[1] <= pair[0] * 21 / 10, "{pauses:?}");
    }
    assert!(pauses[14..].iter().all(|pause| *pause >= seconds(3240) && *pause <= seconds(3960)));
}

#[test]
fn a_server_without_an_address_says_how_seldom_it_is_to_be_asked() {
    let mut bench = Bench::soliciting();
    let limit = (code::SOL_MAX_RT, 60u32.to_be_bytes().to_vec());
    let heard = bench.answer(Kind::Advertise, &[status(2), limit]);
    assert_eq!(heard, Err(Ignored::Failed(Status::NoAddrsAvail, None)));
    for _ in 0..12 {
        bench.wait();
    }
    let before = bench.now;
    bench.wait();
    assert!((54..=66).contains(&(bench.now - before).as_secs()), "{:?}", bench.now - before);
}

#[test]
fn offers_are_collected_for_the_first_second() {
    let mut bench = Bench::soliciting();
    let start = bench.now;
    bench.offer(0).unwrap();
    assert!(bench.poll().is_empty(), "another offer may be better");
    let said: Vec<_> = bench.wait().iter().map(words).collect();
    assert_eq!(said, ["Request"]);
    assert!(bench.now - start <= Duration::from_millis(1100));

    let mut bench = Bench::soliciting();
    bench.wait();
    bench.offer(0).unwrap();
    assert_eq!(bench.said(), ["Request"], "no other offer came earlier");
}

#[test]
fn a_server_that_offers_and_then_is_silent_is_asked_ten_times() {
    let mut bench = Bench::requesting();
    let (asked, xid) = (bench.now, bench.sent.as_ref().unwrap().xid);
    let actions = bench.wait_until(State::Soliciting);
    let said: Vec<_> = actions.iter().map(words).collect();
    assert_eq!(said, [&["Request"; 9][..], &["Solicit"]].concat());
    assert!((150..=220).contains(&(bench.now - asked).as_secs()), "{:?}", bench.now - asked);
    assert_ne!(bench.sent.unwrap().xid, xid, "it is a new exchange");
}

#[test]
fn a_renewal_is_repeated_under_its_number_until_t2_and_then_by_rebinding_until_the_end() {
    let mut bench = Bench::bound();
    let start = bench.now;
    let mut sent = Vec::new();
    while bench.client.state() != State::Soliciting {
        if !bench.wait().is_empty() {
            let message = bench.sent.as_ref().unwrap();
            sent.push((message.kind, message.xid, (bench.now - start).as_secs()));
        }
    }
    let kinds: Vec<_> = sent.iter().map(|(kind, ..)| *kind).collect();
    let expected = [&[Kind::Renew; 5][..], &[Kind::Rebind; 5], &[Kind::Solicit]].concat();
    assert_eq!(kinds, expected, "after 10, 20, 40 and 80 s: {sent:?}");
    assert_eq!([sent[0].2, sent[5].2, sent[10].2], [500, 800, 1000]);
    for of_one in [&sent[..5], &sent[5..10]] {
        assert!(of_one.iter().all(|(_, xid, _)| *xid == of_one[0].1), "RFC 8415, 16.1");
    }
    assert_ne!(sent[0].1, sent[5].1);
}

#[test]
fn a_lease_runs_from_the_question_that_the_answer_may_belong_to() {
    let mut bench = Bench::requesting();
    let asked = bench.now;
    bench.wait();
    bench.give(IP).unwrap();
    bench.now += seconds(5);
    bench.poll();
    bench.client.clear(IP);
    let [Action::Bound(held, Change::New)] = &bench.poll()[..] else { panic!("the client has no lease") };
    assert_eq!((held.since, held.expires()), (asked, Some(asked + seconds(1000))));
    assert_eq!(held.deprecates(), Some(asked + seconds(900)));
}

#[test]
fn an_answer_that_comes_after_the_end_of_what_it_gives_gives_nothing() {
    let mut bench = Bench::requesting();
    bench.now += seconds(20);
    let short = association([0, 0], &[address(IP, [20, 20])]);
    assert_eq!(bench.answer(Kind::Reply, &[short]), Err(Ignored::Lifetime));
}

#[test]
fn a_lease_that_ends_before_anybody_was_told_of_it_is_not_lost() {
    let mut bench = Bench::probing();
    bench.client.clear(IP);
    bench.now += seconds(1000);
    assert_eq!(bench.said(), ["Solicit"]);
}

#[test]
fn a_server_that_always_refuses_is_asked_ever_less_often() {
    let mut bench = Bench::soliciting();
    let (start, mut solicits) = (bench.now, 0);
    while bench.now - start < seconds(3600) {
        solicits += 1;
        bench.offer(255).unwrap();
        bench.poll();
        bench.answer(Kind::Reply, &[association([0, 0], &[status(2)])]).unwrap();
        if bench.poll().is_empty() {
            bench.wait();
        }
    }
    assert!((32..45).contains(&solicits), "{solicits} in an hour");
}

#[test]
fn a_server_that_forgets_its_lease_again_and_again_is_asked_no_more_often_than_its_times_say() {
    let mut bench = Bench::bound();
    let start = bench.now;
    let mut sent = 0;
    while bench.now - start < seconds(36_000) {
        sent += bench.wait_until(State::Renewing).len();
        bench.answer(Kind::Reply, &[association([0, 0], &[status(3)])]).unwrap();
        assert_eq!(bench.said(), ["Request"]);
        bench.give(IP).unwrap();
        assert_eq!(bench.said(), ["bound 7 Renewed([])"]);
    }
    assert_eq!(sent, 72);
}

#[test]
fn a_decline_is_repeated_four_times_and_the_next_attempt_comes_after_a_pause() {
    let mut bench = Bench::bound();
    let start = bench.now;
    bench.client.taken(IP, bench.now);
    let mut said = bench.said();
    while bench.client.state() != State::Soliciting {
        said.extend(bench.wait().iter().map(words));
    }
    assert_eq!(said, ["lost Taken", "Decline", "Decline", "Decline", "Decline", "Solicit"]);
    assert!((15..=17).contains(&(bench.now - start).as_secs()));

    let mut bench = Bench::bound();
    let start = bench.now;
    bench.client.taken(IP, bench.now);
    bench.poll();
    bench.answer(Kind::Reply, &[status(0)]).unwrap();
    assert_eq!((bench.said().len(), bench.client.state()), (0, State::Init));
    bench.wait();
    assert_eq!(bench.now - start, seconds(10));
    let requested = association([0, 0], &[]).1;
    let asked = bench.sent.unwrap().options;
    assert_eq!(
        asked.get(code::IA_NA),
        Some(requested.as_slice()),
        "the declined address is no longer requested"
    );
}

#[test]
fn a_release_is_repeated_until_it_is_answered_or_was_sent_four_times() {
    let mut bench = Bench::bound();
    bench.client.release(bench.now);
    let mut said = bench.said();
    while bench.client.state() != State::Released {
        said.extend(bench.wait().iter().map(words));
    }
    assert_eq!(said, ["lost Released", "Release", "Release", "Release", "Release"]);
    assert_eq!(bench.until, None);

    let mut bench = Bench::bound();
    bench.client.release(bench.now);
    bench.poll();
    bench.answer(Kind::Reply, &[association([0, 0], &[status(3)])]).unwrap();
    assert!(bench.poll().is_empty() && bench.until.is_none(), "the status of the answer does not matter");
}

#[test]
fn an_endless_lease_is_never_renewed_and_one_whose_preference_ends_is() {
    for (preferred, renewed) in [(u32::MAX, false), (100, true)] {
        let mut bench = Bench::requesting();
        let endless = association([0, 0], &[address(IP, [preferred, u32::MAX])]);
        bench.answer(Kind::Reply, &[endless]).unwrap();
        bench.poll();
        bench.client.clear(IP);
        bench.poll();
        bench.now += seconds(1_000_000_000);
        assert_eq!(bench.said(), if renewed { &["Rebind"][..] } else { &[] });
        assert_eq!(bench.until.is_some(), renewed);
        assert!(bench.client.held(bench.now).is_some());
    }
}

#[test]
fn a_machine_that_slept_asks_whom_its_lease_says_by_then() {
    for (slept, state, said) in [
        (600, State::Renewing, &["Renew"][..]),
        (900, State::Rebinding, &["Rebind"]),
        (1000, State::Soliciting, &["lost Expired", "Solicit"]),
    ] {
        let mut bench = Bench::bound();
        bench.now += seconds(slept);
        assert_eq!(bench.said(), said);
        assert_eq!(bench.client.state(), state);
    }
}

#[test]
fn a_lease_from_before_is_confirmed_in_one_round_trip_and_keeps_its_times() {
    let mut bench = Bench::resumed(100, true);
    let since = bench.client.held(bench.now).unwrap().since;
    assert_eq!(bench.now - since, seconds(100));
    bench.poll();
    bench.answer(Kind::Reply, &[status(0)]).unwrap();
    assert_eq!(bench.said(), ["bound 7 Renewed([])"]);
    assert_eq!(bench.client.held(bench.now).unwrap().since, since);
    assert_eq!(bench.until, Some(since + seconds(500)));
}

#[test]
fn a_lease_from_before_whose_t1_is_past_is_renewed_as_soon_as_it_is_confirmed() {
    let mut bench = Bench::resumed(600, true);
    bench.poll();
    bench.answer(Kind::Reply, &[]).unwrap();
    assert_eq!(bench.said(), ["bound 7 Renewed([])", "Renew"]);
}

#[test]
fn a_lease_from_before_that_nobody_confirms_is_used_and_renewed_when_that_is_due() {
    for in_use in [true, false] {
        let mut bench = Bench::resumed(100, in_use);
        let start = bench.now;
        let mut said = bench.said();
        let mut confirmed_for = Duration::ZERO;
        while bench.client.state() != State::Renewing {
            if bench.client.state() == State::Confirming {
                confirmed_for = bench.until.unwrap() - start;
            }
            said.extend(bench.wait().iter().map(words));
            assert!(said.len() < 100, "{said:?}");
            if said.last().is_some_and(|last| last == "probe 7") {
                assert_eq!(bench.now - start, seconds(2));
                bench.client.clear(IP);
                said.extend(bench.said());
            }
        }
        said.retain(|word| word != "probe 7");
        assert_eq!(said, ["Confirm", "Confirm", "unconfirmed 7", "Confirm", "Confirm", "Renew"]);
        assert_eq!(confirmed_for, seconds(10));
        assert_eq!(bench.now - start, seconds(400), "T1 of the lease, which was 100 s old at the start");
    }
}

#[test]
fn a_lease_from_before_that_is_over_or_of_unknown_age_is_a_wish() {
    for (age, in_use) in [(seconds(1000), false), (seconds(1000), true), (Duration::MAX, true)] {
        let recorded = Recorded { lease: lease(), age, in_use };
        let mut bench = Bench::with(|now| Client::resume(config(), recorded, now, 1));
        // A user of the address is told to stop.
        let expected = if in_use { &["lost Expired", "Solicit"][..] } else { &["Solicit"] };
        assert_eq!(bench.said(), expected);
        let requested = association([0, 0], &[address(IP, [0, 0])]).1;
        assert_eq!(bench.sent.unwrap().options.get(code::IA_NA), Some(requested.as_slice()));
    }
}

#[test]
fn a_lease_from_before_that_never_ends_is_good_however_old_it_is() {
    let lease = Lease { term: None, ..lease() };
    let recorded = Recorded { lease, age: Duration::MAX, in_use: true };
    let mut bench = Bench::with(|now| Client::resume(config(), recorded, now, 1));
    assert_eq!(bench.said(), ["Confirm"]);
    assert!(bench.client.held(bench.now).is_some());
}

#[test]
fn a_server_that_forgot_a_lease_and_then_is_silent_does_not_end_it() {
    let mut bench = Bench::bound();
    bench.wait_until(State::Renewing);
    let status = (code::STATUS, 3u16.to_be_bytes().to_vec());
    bench.answer(Kind::Reply, &[status]).unwrap();
    let mut said = bench.said();
    said.extend(bench.wait_until(State::Renewing).iter().map(words));
    assert_eq!(said, [["Request"; 10].as_slice(), &["Renew"]].concat());
    assert!(bench.client.held(bench.now).is_some());
}

impl Bench {
    /// A server says that the lease does not belong to this link.
    fn deny(&mut self, by: u8) -> Result<(), Ignored> {
        let mut reply = self.reply(Kind::Reply, &[(code::STATUS, vec![0, 4])]);
        reply.options.set(code::SERVER_ID, server(by).bytes());
        self.hear(&reply)
    }

    fn wait_for_question(&mut self) {
        while !self.wait().iter().any(|action| matches!(action, Action::Send(_))) {}
    }
}

#[test]
fn another_servers_denial_waits_for_the_leases_own_server() {
    // With a recorded lease that is in use or not yet in use, and with a lease that is being rebound.
    for (mut bench, questions) in
        [(Bench::resumed(100, true), 4), (Bench::resumed(100, false), 2), (Bench::bound(), 2)]
    {
        bench.poll();
        if bench.client.state() == State::Bound {
            bench.wait_until(State::Rebinding);
        }
        let mut asked = 1;
        while bench.deny(OTHER_SERVER).is_err() {
            bench.wait_for_question();
            asked += 1;
        }
        assert_eq!(asked, questions);
        assert_eq!(bench.client.state(), State::Init);
    }
    let mut bench = Bench::resumed(100, true);
    bench.poll();
    bench.deny(SERVER).unwrap();
    assert_eq!(bench.client.state(), State::Init, "its own server's denial counts at once");
}
