//! Limits of what is accepted from routers, and the times of the solicitations.

use super::super::*;
use super::{HOUR, ip, prefix, said, seconds, settle};
use crate::boottime::SOME_TIME;
use crate::ndp::{Preference, PrefixInformation, RouteInformation, RouterAdvertisement};

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

#[test]
fn what_is_on_the_link_is_told_of_prefixes_down_to_the_shortest_and_of_no_unfit_one() {
    let now = SOME_TIME;
    for (text, on_link, valid, taken) in [
        ("fd88::/64", true, 1, true),
        ("fd88::/64", true, 0, false),
        ("fd88::/64", false, 60, false),
        ("fd88::/32", true, 60, true),
        ("fd88::/31", true, 60, false),
        ("fe80::/64", true, 60, false),
        ("ff02::/64", true, 60, false),
        ("::/64", true, 60, false),
    ] {
        let mut link = Link::new(now, 7);
        let said_of = PrefixInformation { on_link, autonomous: false, ..prefix(text, valid, 0) };
        link.receive(&said("fe80::1", 1800, &[said_of]), now);
        assert_eq!(link.offer(now).on_link.len(), usize::from(taken), "{text} {on_link} {valid}");
        assert_eq!(link.offer(now).prefixes, []);
    }
}

#[test]
fn a_prefix_stays_on_the_link_though_another_word_says_nothing_of_it() {
    let now = SOME_TIME;
    let with =
        |on_link| said("fe80::1", 1800, &[PrefixInformation { on_link, ..prefix("fd88::/64", HOUR, HOUR) }]);
    for (words, expected) in [
        (&[false][..], false),
        (&[true], true),
        (&[true, false], true),
        (&[false, true], true),
        (&[false, false], false),
    ] {
        let mut link = Link::new(now, 7);
        for on_link in words {
            link.receive(&with(*on_link), now);
        }
        let [there] = link.offer(now).prefixes[..] else { panic!("{words:?}") };
        assert_eq!(there.on_link, expected, "{words:?}");
    }
}

#[test]
fn any_of_flags_and_mtu_is_a_setting_and_a_word_without_takes_it_back() {
    let now = SOME_TIME;
    let word =
        |managed, other, mtu| RouterAdvertisement { managed, other, mtu, ..said("fe80::1", 1800, &[]) };
    for (managed, other, mtu, expected) in [
        (true, false, None, (true, false, None)),
        (false, true, None, (false, true, None)),
        (false, false, Some(1280), (false, false, Some(1280))),
        (false, false, Some(1279), (false, false, None)),
        (false, false, None, (false, false, None)),
    ] {
        let mut link = Link::new(now, 7);
        link.receive(&word(managed, other, mtu), now);
        let told = |link: &Link| {
            let offer = link.offer(now);
            (offer.managed, offer.other, offer.mtu)
        };
        assert_eq!(told(&link), expected);
        link.receive(&word(false, false, None), now);
        assert_eq!(told(&link), (false, false, None));
    }
}

#[test]
fn settings_of_no_default_router_last_as_long_as_the_longest_of_what_else_it_says() {
    let now = SOME_TIME;
    let route = RouteInformation { to: net("fd99::/48"), preference: Preference::Medium, lifetime: 90 };
    let word = |lifetime, prefixes: &[PrefixInformation], routes: &[RouteInformation]| RouterAdvertisement {
        managed: true,
        routes: routes.to_vec(),
        ..said("fe80::1", lifetime, prefixes)
    };
    for (what, word, lasts) in [
        ("a router", word(30, &[prefix("fd88::/64", 60, 60)], &[route]), 30),
        ("a router for a second", word(1, &[prefix("fd88::/64", 60, 60)], &[]), 1),
        ("a prefix", word(0, &[prefix("fd88::/64", 60, 60)], &[]), 60),
        ("a prefix and a route", word(0, &[prefix("fd88::/64", 60, 60)], &[route]), 90),
    ] {
        let mut link = Link::new(now, 7);
        link.receive(&word, now);
        assert!(link.offer(now + Duration::from_millis(lasts * 1000 - 1)).managed, "{what}");
        assert!(!link.offer(now + seconds(lasts)).managed, "{what}");
    }
    let mut link = Link::new(now, 7);
    link.receive(&word(0, &[], &[]), now);
    assert!(!link.offer(now).managed, "no lifetime is advertised");
}

#[test]
fn routers_are_asked_at_growing_pauses_each_a_tenth_off_at_most() {
    let begin = SOME_TIME;
    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
    for random in 0..200 {
        let (mut link, mut now, mut sent) = (Link::new(begin, random * 7919), begin, Vec::new());
        while sent.len() < 14 {
            match link.poll(now) {
                Action::Solicit => sent.push(now),
                Action::Wait(until) => now = until.unwrap(),
                Action::News => panic!("no router has answered"),
            }
        }
        for (at, pair) in sent.windows(2).enumerate() {
            let pause = (FIRST_PAUSE * 2u32.pow(at as u32)).min(LONGEST_PAUSE);
            let of_pause = (pair[1] - pair[0]).div_f64(pause.as_secs_f64() / 1000.0);
            assert!(
                (Duration::from_secs(900)..=Duration::from_secs(1100)).contains(&of_pause),
                "{at}: {of_pause:?}"
            );
            (shortest, longest) = (shortest.min(of_pause), longest.max(of_pause));
        }
    }
    assert!(
        shortest < Duration::from_secs(910) && longest > Duration::from_secs(1090),
        "{shortest:?}, {longest:?}"
    );
}

#[test]
fn a_link_that_comes_back_asks_anew_and_one_that_loses_its_router_asks_soon() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    assert_eq!(link.poll(now), Action::Solicit);
    link.receive(&said("fe80::1", 1, &[]), now);
    assert!(link.has_heard());
    assert_eq!(settle(&mut link, now), (0, true));
    // The router's lifetime ends a second after the last solicitation. No other is sent before the first
    // pause is over.
    let second = now + seconds(1);
    assert_eq!(settle(&mut link, second), (0, true));
    assert_eq!(link.poll(second), Action::Wait(Some(now + FIRST_PAUSE)));
    assert_eq!(settle(&mut link, now + FIRST_PAUSE), (1, false));
    let later = now + seconds(600);
    link.receive(&said("fe80::1", 1800, &[]), later);
    settle(&mut link, later);
    link.link_up(later);
    assert!(!link.has_heard());
    assert_eq!(settle(&mut link, later).0, 1);
    // A known router ends the solicitations only when it advertises.
    link.receive(&said("fe80::1", 1800, &[]), later);
    assert!(matches!(link.poll(later + seconds(4)), Action::Wait(_)));
}

#[test]
fn what_was_known_before_a_start_is_taken_once_and_only_what_lasts() {
    let now = SOME_TIME;
    let until = |number| Lasting(Some(now + seconds(number)));
    let known = |number| Offer {
        routers: vec![Router { ip: ip("fe80::1"), preference: Preference::Low, until: until(number) }],
        prefixes: vec![Prefix {
            net: net("fd88::/64"),
            on_link: true,
            preferred: until(number),
            valid: until(number),
        }],
        on_link: vec![OnLink { net: net("fd88::/64"), until: until(number) }],
        routes: ["fd98::/48", "fd99::/48"]
            .map(|to| Route {
                to: net(to),
                via: ip("fe80::1"),
                preference: Preference::Low,
                until: until(number),
            })
            .into(),
        dns: vec![(ip("fd88::1"), until(number)), (ip("fd88::2"), until(number))],
        search: vec![("lan".parse().unwrap(), until(number))],
        mtu: Some(1400),
        ..Offer::default()
    };
    let count = |link: &Link| {
        let offer = link.offer(now);
        let names = [offer.dns.len(), offer.search.len()];
        let all = [offer.routers.len(), offer.prefixes.len(), offer.on_link.len(), offer.routes.len()];
        (all, names, offer.mtu)
    };
    let mut link = Link::new(now, 7);
    link.recall(known(0), now);
    assert_eq!(count(&link), ([0; 4], [0; 2], None), "its lifetime is over");
    link.recall(known(60), now);
    assert_eq!(count(&link), ([1, 1, 1, 2], [2, 1], Some(1400)));
    link.recall(known(60), now);
    assert_eq!(count(&link), ([1, 1, 1, 2], [2, 1], Some(1400)), "the offer is already known");
    let other = Offer {
        routes: vec![Route { via: ip("fe80::2"), ..known(60).routes[0] }],
        routers: vec![Router { ip: ip("fe80::2"), ..known(60).routers[0] }],
        ..Offer::default()
    };
    link.recall(other, now);
    assert_eq!(count(&link), ([2, 1, 1, 3], [2, 1], Some(1400)), "the same destination by another router");
    let many =
        (0..40u16).map(|last| (Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last + 1), until(60))).collect();
    link.recall(Offer { dns: many, ..Offer::default() }, now);
    assert_eq!(link.offer(now).dns.len(), MOST);
}

#[test]
fn a_route_is_that_of_its_router_and_its_destination() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let word = |router: &str, routes: &[(&str, u32)]| RouterAdvertisement {
        routes: routes
            .iter()
            .map(|(to, lifetime)| RouteInformation {
                to: net(to),
                preference: Preference::Medium,
                lifetime: *lifetime,
            })
            .collect(),
        ..said(router, 0, &[])
    };
    link.receive(&word("fe80::1", &[("fd98::/48", 600), ("fd99::/48", 600), ("ff00::/8", 600)]), now);
    link.receive(&word("fe80::2", &[("fd99::/48", 600)]), now);
    let routes = |link: &Link| {
        let routes = link.offer(now).routes;
        routes.iter().map(|route| format!("{} by {}", route.to, route.via)).collect::<Vec<_>>()
    };
    assert_eq!(routes(&link), ["fd98::/48 by fe80::1", "fd99::/48 by fe80::1", "fd99::/48 by fe80::2"]);
    link.receive(&word("fe80::1", &[("fd99::/48", 0)]), now);
    assert_eq!(routes(&link), ["fd98::/48 by fe80::1", "fd99::/48 by fe80::2"]);
}
