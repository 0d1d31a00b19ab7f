use super::*;
use crate::boottime::SOME_TIME;
use crate::ndp::{Preference, RouteInformation};
use crate::{Boottime, Mac};
use proptest::prelude::*;

mod bounds;

const HOUR: u32 = 3600;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn said(router: &str, lifetime: u16, prefixes: &[PrefixInformation]) -> RouterAdvertisement {
    RouterAdvertisement {
        router: ip(router),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        managed: false,
        other: false,
        preference: Preference::Medium,
        lifetime,
        mtu: None,
        prefixes: prefixes.to_vec(),
        routes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
    }
}

fn prefix(net: &str, valid: u32, preferred: u32) -> PrefixInformation {
    let net = net.parse().unwrap();
    PrefixInformation { net, on_link: true, autonomous: true, valid, preferred, router: None }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The remaining valid and preferred lifetimes of the only prefix, in seconds.
fn left(link: &Link, now: Boottime) -> Option<(u64, u64)> {
    let left = |lasting: Lasting| lasting.left(now).map_or(u64::MAX, |left| left.as_secs());
    let offer = link.offer(now);
    assert!(offer.prefixes.len() < 2);
    offer.prefixes.first().map(|prefix| (left(prefix.valid), left(prefix.preferred)))
}

#[test]
fn lifetimes_follow_the_table_at_the_head() {
    let two_hours = u64::from(2 * HOUR);
    // The known lifetime, the advertised lifetimes, and the lifetimes that are left then.
    let cases = [
        ("a new one", None, (HOUR, 60), Some((3600, 60))),
        ("not worth keeping", None, (0, 0), None),
        ("preferred beyond valid", None, (60, 61), None),
        ("longer than the known lifetime", Some(60), (HOUR, 60), Some((3600, 60))),
        ("above two hours, and shorter", Some(10 * HOUR), (3 * HOUR, 60), Some((3 * 3600, 60))),
        ("revoked", Some(10 * HOUR), (0, 0), Some((two_hours, 0))),
        ("shorter than two hours", Some(10 * HOUR), (HOUR, HOUR), Some((two_hours, 3600))),
        ("revoked with less than two hours left", Some(HOUR), (0, 0), Some((3600, 0))),
        ("for ever, then revoked", Some(u32::MAX), (0, 0), Some((two_hours, 0))),
        ("for ever", Some(60), (u32::MAX, u32::MAX), Some((u64::MAX, u64::MAX))),
    ];
    for (what, known, (valid, preferred), wanted) in cases {
        let now = SOME_TIME;
        let mut link = Link::new(now, 7);
        if let Some(known) = known {
            link.receive(&said("fe80::1", 1800, &[prefix("fd88::/64", known, known)]), now);
        }
        link.receive(&said("fe80::1", 1800, &[prefix("fd88::/64", valid, preferred)]), now);
        assert_eq!(left(&link, now), wanted, "{what}");
    }
}

#[test]
fn of_what_is_no_lans_or_not_autonomous_no_address_is_made() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let unfit = ["fe80::/64", "ff02::/64", "::/64", "fd88::/63", "fd88::/96"];
    let mut prefixes: Vec<_> = unfit.iter().map(|net| prefix(net, HOUR, HOUR)).collect();
    prefixes.push(PrefixInformation { autonomous: false, ..prefix("fd89::/64", HOUR, HOUR) });
    link.receive(&said("fe80::1", 1800, &prefixes), now);
    assert_eq!(link.offer(now).prefixes, []);
    // Routers want addresses to be formed from these two.
    let told: Vec<String> = link.offer(now).unfit.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["fd88::/63", "fd88::/96"]);
}

/// Polls until there is nothing to do. Returns how many solicitations were sent, and whether there was news.
fn settle(link: &mut Link, now: Boottime) -> (usize, bool) {
    let (mut sent, mut news) = (0, false);
    loop {
        match link.poll(now) {
            Action::Solicit => sent += 1,
            Action::News => news = true,
            Action::Wait(until) => {
                assert!(until.is_none_or(|until| until > now));
                return (sent, news);
            }
        }
    }
}

#[test]
fn it_asks_ever_less_often_until_a_default_router_speaks() {
    let (mut now, mut sent) = (SOME_TIME, Vec::new());
    let begin = now;
    let mut link = Link::new(now, 7);
    while now < begin + seconds(4 * 3600) {
        match link.poll(now) {
            Action::Solicit => sent.push(now - begin),
            Action::Wait(until) => now = until.unwrap(),
            Action::News => panic!("no router has answered"),
        }
    }
    assert_eq!(sent[0], Duration::ZERO);
    assert!((seconds(3)..seconds(5)).contains(&sent[1]), "{sent:?}");
    assert!(sent.len() < 16, "{sent:?}");
    settle(&mut link, now);
    link.receive(&said("fe80::1", 0, &[]), now);
    assert!(matches!(link.poll(now), Action::Wait(Some(_))), "the router is no default router");
    assert!(link.has_heard());
    link.receive(&said("fe80::1", 1800, &[]), now);
    assert_eq!(link.poll(now), Action::News);
    assert_eq!(link.poll(now), Action::Wait(Some(now + seconds(1800))));
}

#[test]
fn a_router_that_ends_or_says_so_is_none_and_is_asked_for_again() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    link.receive(&said("fe80::1", 1800, &[prefix("fd88::/64", 86400, 14400)]), now);
    assert_eq!(settle(&mut link, now), (0, true));
    let later = now + seconds(1800);
    assert_eq!(settle(&mut link, later), (1, true), "its lifetime is over");
    assert_eq!(link.offer(later).routers, []);
    assert_eq!(link.offer(later).prefixes.len(), 1, "addresses stay valid without it");

    let mut link = Link::new(now, 7);
    link.receive(&said("fe80::1", 1800, &[]), now);
    settle(&mut link, now);
    link.receive(&said("fe80::1", 0, &[]), now);
    assert_eq!(link.offer(now).routers, []);
    assert!(settle(&mut link, now).1);
}

#[test]
fn routers_that_never_say_the_same_twice_are_followed_now_and_then_and_kept_within_bounds() {
    let begin = SOME_TIME;
    let (mut now, mut told, mut asked, mut number) = (begin, Vec::new(), 0, 0u32);
    let mut link = Link::new(now, 7);
    let hour = begin + seconds(3600);
    while now < hour {
        number += 1;
        // Every advertisement has new prefixes with a lifetime of a second or a day, a new route and new
        // names. Some come from a new router, others from one router that appears and disappears.
        let net = |kind: &str| format!("fd00:{kind}:{:x}:{:x}::/64", number >> 16, number & 0xffff);
        let elsewhere = vec![route(&net("1"), Preference::Medium, HOUR)];
        let dns = vec![(ip(&format!("fd88::{number:x}")), HOUR)];
        let search = vec![(format!("lan{number}").parse().unwrap(), 1)];
        let prefixes = [prefix(&net("2"), 1, 1), prefix(&net("3"), 86_400, 1)];
        let router =
            if number % 2 == 0 { "fe80::1".to_owned() } else { format!("fe80::2:{:x}", number & 0xffff) };
        let lifetime = u16::from(number % 4 != 0);
        link.receive(
            &RouterAdvertisement { routes: elsewhere, dns, search, ..said(&router, lifetime, &prefixes) },
            now,
        );
        let offer = link.offer(now);
        let most = [offer.routers.len(), offer.prefixes.len(), offer.on_link.len(), offer.routes.len()];
        assert!(offer.dns.len() <= MOST && offer.search.len() <= MOST);
        assert!(most.iter().all(|number| *number <= MOST), "{most:?}");
        let (sent, news) = settle(&mut link, now);
        asked += sent;
        told.extend(news.then_some(now));
        now += Duration::from_millis(300);
    }
    assert!(told.len() <= 12 + 360 && told.len() > 300, "{}", told.len());
    assert!(told[20..].windows(2).all(|pair| pair[1] - pair[0] >= seconds(9)), "news come at even intervals");
    assert!(asked <= 1 + 3600 / 4, "{asked} solicitations");
    // Once the routers are silent, all that they advertised expires in time, and this is reported.
    let mut last = now;
    while now < hour + seconds(2 * 86_400) {
        match link.poll(now) {
            Action::Wait(until) => now = until.unwrap(),
            Action::News => last = now,
            Action::Solicit => {}
        }
    }
    assert!(last >= hour + seconds(82_000) && link.offer(now) == Offer::default());
}

#[test]
fn who_makes_up_routers_and_prefixes_keeps_none_out_and_puts_none_out() {
    let now = SOME_TIME;
    let made_up = |link: &mut Link, from: u16| {
        for number in from..from + 100 {
            let of = prefix(&format!("fd66:{number:x}::/64"), 9000, 9000);
            let to = route(&format!("fd77:{number:x}::/48"), Preference::High, 9000);
            let routes = vec![to];
            let who = format!("fe80::66:{number:x}");
            link.receive(&RouterAdvertisement { routes, ..said(&who, 9000, &[of]) }, now);
        }
    };
    let real = || {
        let routes = vec![route("fd99::/48", Preference::Medium, 1800)];
        RouterAdvertisement { routes, ..said("fe80::1", 1800, &[prefix("fd88::/64", 7200, 3600)]) }
    };
    let is_there = |link: &Link| {
        let offer = link.offer(now);
        let router = offer.routers.iter().any(|router| router.ip == ip("fe80::1"));
        let net: Ipv6Net = "fd88::/64".parse().unwrap();
        let prefix = offer.prefixes.iter().any(|prefix| prefix.net == net);
        let on_link = offer.on_link.iter().any(|there| there.net == net);
        let route = offer.routes.iter().any(|route| route.via == ip("fe80::1"));
        [router, prefix, on_link, route]
    };
    // The real router appears after the forged ones.
    let mut link = Link::new(now, 1);
    made_up(&mut link, 0);
    link.receive(&real(), now);
    assert_eq!(is_there(&link), [true; 4]);
    // The real router was there before the forged ones, and has advertised twice.
    link.receive(&real(), now);
    made_up(&mut link, 1000);
    assert_eq!(is_there(&link), [true; 4]);
    // The real router was known before the program started.
    let mut again = Link::new(now, 1);
    again.recall(link.offer(now), now);
    made_up(&mut again, 2000);
    again.receive(&real(), now);
    assert_eq!(is_there(&again), [true; 4]);
}

#[test]
fn the_preferred_router_comes_first_and_of_equals_the_one_that_was_first() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let first = |link: &Link| link.offer(now).routers[0].ip;
    for router in ["fe80::2", "fe80::1", "fe80::2"] {
        link.receive(&said(router, 1800, &[]), now);
        settle(&mut link, now);
        assert_eq!(first(&link), ip("fe80::2"));
    }
    link.receive(&RouterAdvertisement { preference: Preference::High, ..said("fe80::1", 1800, &[]) }, now);
    settle(&mut link, now);
    assert_eq!(first(&link), ip("fe80::1"));
    link.receive(&RouterAdvertisement { preference: Preference::Low, ..said("fe80::1", 1800, &[]) }, now);
    assert_eq!(first(&link), ip("fe80::2"));
}

#[test]
fn news_are_what_is_deprecated_ends_or_is_half_over() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let said = said("fe80::1", 1800, &[prefix("fd88::/64", 1000, 600)]);
    link.receive(&said, now);
    assert!(settle(&mut link, now).1);
    for after in [1, 100, 299] {
        link.receive(&said, now + seconds(after));
        assert!(!settle(&mut link, now + seconds(after)).1, "nothing has changed after {after} s");
    }
    link.receive(&said, now + seconds(301));
    assert!(settle(&mut link, now + seconds(301)).1, "less than half is left");
    assert!(!settle(&mut link, now + seconds(900)).1);
    assert!(settle(&mut link, now + seconds(902)).1, "deprecated");
    assert!(settle(&mut link, now + seconds(1302)).1, "over");
    assert_eq!(left(&link, now + seconds(1302)), None);
}

#[test]
fn what_was_known_before_a_start_is_no_news_and_cannot_be_cut_short_either() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let net = "fd88::/64".parse().unwrap();
    let lasting = |number| Lasting(Some(now + seconds(number)));
    let known = Prefix { net, on_link: true, preferred: lasting(60), valid: lasting(36000) };
    let router = Router { ip: ip("fe80::1"), preference: Preference::Medium, until: lasting(1800) };
    let known = Offer { routers: vec![router], prefixes: vec![known], ..Offer::default() };
    link.recall(known, now);
    assert_eq!(settle(&mut link, now), (1, false));
    assert!(!link.has_heard());
    link.receive(&said("fe80::1", 1800, &[prefix("fd88::/64", 0, 0)]), now);
    assert_eq!(left(&link, now), Some((7200, 0)));
}

fn route(to: &str, preference: Preference, lifetime: u32) -> RouteInformation {
    RouteInformation { to: to.parse().unwrap(), preference, lifetime }
}

#[test]
fn routes_and_flags_are_those_of_the_last_word() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let with = |routes: &[(&str, u32)], managed| RouterAdvertisement {
        routes: routes.iter().map(|(to, lifetime)| route(to, Preference::Medium, *lifetime)).collect(),
        managed,
        ..said("fe80::1", 0, &[])
    };
    link.receive(&with(&[("fd00::/48", 600), ("fe80::/64", 600), ("::1/128", 600)], true), now);
    let offer = link.offer(now);
    assert_eq!((offer.routes.len(), offer.managed, offer.other), (1, true, false));
    link.receive(&with(&[("fd00::/48", 0)], false), now);
    assert_eq!((link.offer(now).routes.len(), link.offer(now).managed), (0, false));
}

#[test]
fn what_a_route_to_everywhere_says_of_the_default_router_counts_against_the_header() {
    use Preference::{High, Low, Medium};
    let now = SOME_TIME;
    let until = |seconds: Option<u64>| Lasting(seconds.map(|seconds| now + Duration::from_secs(seconds)));
    for (header, routes, expected) in [
        ((1800, High), &[][..], Some((High, until(Some(1800))))),
        ((1800, High), &[("::/0", Low, 60)][..], Some((Low, until(Some(60))))),
        ((0, Medium), &[("::/0", High, 600)][..], Some((High, until(Some(600))))),
        ((1800, High), &[("::/0", Low, 0)][..], None),
        ((60, Low), &[("::/0", High, u32::MAX)][..], Some((High, until(None)))),
        // The last default route counts, because the options are processed in order.
        (
            (60, Low),
            &[("::/0", High, 9), ("fd00::/48", Low, 9), ("::/0", Low, 90)][..],
            Some((Low, until(Some(90)))),
        ),
    ] {
        let mut link = Link::new(now, 7);
        link.receive(&said("fe80::1", 1800, &[]), now);
        let (lifetime, preference) = header;
        let routes: Vec<_> =
            routes.iter().map(|(to, preference, life)| route(to, *preference, *life)).collect();
        let elsewhere = routes.iter().filter(|route| !route.is_default()).count();
        link.receive(&RouterAdvertisement { preference, routes, ..said("fe80::1", lifetime, &[]) }, now);
        let offer = link.offer(now);
        let default = offer.routers.first().map(|router| (router.preference, router.until));
        assert_eq!(default, expected);
        assert_eq!(offer.routes.len(), elsewhere, "the default route is not among the routes");
    }
}

#[test]
fn a_new_name_server_takes_the_place_of_the_one_that_ends_first() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let with = |number: u8, lifetime: u32| RouterAdvertisement {
        dns: vec![(ip(&format!("fd88::{number:x}")), lifetime)],
        ..said("fe80::1", 1800, &[])
    };
    for number in 1..=u8::try_from(MOST).unwrap() {
        link.receive(&with(number, 600 + u32::from(number)), now);
    }
    link.receive(&with(0xaa, 1200), now);
    link.receive(&with(0xbb, 10), now);
    let servers: Vec<Ipv6Addr> = link.offer(now).dns.iter().map(|(server, _)| *server).collect();
    assert_eq!(servers.len(), MOST);
    assert!(servers.contains(&ip("fd88::aa")) && !servers.contains(&ip("fd88::1")));
    assert!(!servers.contains(&ip("fd88::bb")), "it would end before all other servers");
}

#[test]
fn name_servers_last_as_long_as_is_said_and_keep_their_places() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let with = |router: &str, dns: &[(&str, u32)], search: &[(&str, u32)]| RouterAdvertisement {
        dns: dns.iter().map(|(server, lifetime)| (ip(server), *lifetime)).collect(),
        search: search.iter().map(|(name, lifetime)| (name.parse().unwrap(), *lifetime)).collect(),
        ..said(router, 1800, &[])
    };
    let names = |link: &Link, now| {
        let Offer { dns, search, .. } = link.offer(now);
        let dns: Vec<String> = dns.iter().map(|(server, _)| server.to_string()).collect();
        (dns.join(" "), search.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" "))
    };
    let is = |dns: &str, search: &str| (dns.to_owned(), search.to_owned());
    link.receive(
        &with(
            "fe80::1",
            &[("fd88::2", 600), ("fe80::1", u32::MAX), ("::", 600), ("ff02::1", 600)],
            &[("lan", 60)],
        ),
        now,
    );
    assert_eq!(names(&link, now), is("fd88::2 fe80::1", "lan"));
    assert!(settle(&mut link, now).1);
    // Two routers advertise in turn. Neither router's server takes the place of the other's.
    let mut now = now;
    for (router, server, news) in [("2", "3", true), ("1", "2", false), ("2", "3", false), ("1", "2", false)]
    {
        now += seconds(10);
        let server = [(format!("fd88::{server}"), 600)];
        let server = server.each_ref().map(|(server, lifetime)| (server.as_str(), *lifetime));
        link.receive(&with(&format!("fe80::{router}"), &server, &[("lan", 60)]), now);
        assert_eq!(settle(&mut link, now).1, news);
        assert_eq!(names(&link, now), is("fd88::2 fe80::1 fd88::3", "lan"));
    }
    link.receive(&with("fe80::1", &[("fe80::1", 0)], &[]), now);
    assert_eq!(names(&link, now), is("fd88::2 fd88::3", "lan"), "the server was revoked");
    settle(&mut link, now);
    let known = link.offer(now);
    assert_eq!(link.poll(now), Action::Wait(Some(now + seconds(60))), "the search domain ends then");
    assert!(settle(&mut link, now + seconds(60)).1);
    assert_eq!(names(&link, now + seconds(60)), is("fd88::2 fd88::3", ""));

    // A program that restarts uses what it knew.
    let mut link = Link::new(now, 7);
    link.recall(known, now);
    assert_eq!(names(&link, now), is("fd88::2 fd88::3", "lan"));
    assert!(!settle(&mut link, now).1);
}

#[test]
fn flags_end_with_their_router_and_those_of_many_do_not_keep_a_new_one_out() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let flagged = |router: &str, lifetime, prefixes: &[PrefixInformation]| RouterAdvertisement {
        managed: true,
        ..said(router, lifetime, prefixes)
    };
    link.receive(&flagged("fe80::1", 60, &[]), now);
    link.receive(&flagged("fe80::2", 0, &[prefix("fd88::/64", 90, 90)]), now);
    assert!(link.offer(now + seconds(89)).managed, "the flag lasts as long as the router's prefix");
    assert!(!link.offer(now + seconds(90)).managed);

    for router in 0..MOST {
        link.receive(&flagged(&format!("fe80::1:{router:x}"), 1800, &[]), now);
    }
    link.receive(&RouterAdvertisement { other: true, ..said("fe80::9", 1800, &[]) }, now);
    assert!(link.offer(now).other);
}

#[test]
fn of_several_routers_the_least_packet_counts_for_as_long_as_they_are_there() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let with = |router: &str, lifetime, mtu| RouterAdvertisement { mtu, ..said(router, lifetime, &[]) };
    link.receive(&with("fe80::1", 1800, Some(1492)), now);
    assert!(settle(&mut link, now).1);
    link.receive(&with("fe80::2", 60, Some(1400)), now);
    link.receive(&with("fe80::3", 1800, Some(1279)), now);
    assert_eq!(link.offer(now).mtu, Some(1400), "an MTU below 1280 is ignored");
    settle(&mut link, now);
    assert_eq!(link.poll(now), Action::Wait(Some(now + seconds(60))));
    let later = now + seconds(60);
    assert!(settle(&mut link, later).1);
    assert_eq!(link.offer(later).mtu, Some(1492));
    let known = link.offer(later);
    let mut again = Link::new(later, 7);
    again.recall(known, later);
    assert_eq!((again.offer(later).mtu, settle(&mut again, later).1), (Some(1492), false));
    again.receive(&with("fe80::1", 1800, None), later);
    assert_eq!(again.offer(later).mtu, None);
}

proptest! {
    #[test]
    fn whatever_routers_say_in_whatever_order(
        words in prop::collection::vec(
            (0..3000u64, 0..40u16, prop_oneof![Just(0u16), any::<u16>()], 0..40u16,
             prop_oneof![0..20_000u32, Just(u32::MAX)], any::<bool>()),
            0..60,
        ),
    ) {
        let (mut now, mut sent, begin) = (SOME_TIME, 0, SOME_TIME);
        let mut link = Link::new(now, 7);
        for (pause, router, lifetime, net, valid, deprecated) in words {
            now += seconds(pause);
            sent += settle(&mut link, now).0;
            let before = link.offer(now);
            let net = format!("fd00:0:0:{net:x}::/64").parse::<Ipv6Net>().unwrap().to_string();
            let preferred = if deprecated { 0 } else { valid };
            link.receive(&said(&format!("fe80::{:x}", router + 1), lifetime, &[prefix(&net, valid, preferred)]), now);
            let offer = link.offer(now);
            prop_assert!(offer.prefixes.len() <= MOST && offer.routers.len() <= MOST);
            for there in &before.prefixes {
                let Some(after) = offer.prefixes.iter().find(|after| after.net == there.net) else {
                    let is_known = before.prefixes.iter().any(|there| there.net.to_string() == net);
                    prop_assert!(before.prefixes.len() == MOST && !is_known, "dropped only for a new prefix");
                    continue;
                };
                let least = there.valid.left(now).map_or(TWO_HOURS, |left| left.min(TWO_HOURS));
                prop_assert!(after.valid.left(now).is_none_or(|left| left >= least));
            }
            settle(&mut link, now);
            prop_assert!(link.offer(now).routers.iter().all(|router| router.until.holds(now)));
        }
        // Each advertisement may end the last router, and the solicitations begin again.
        let elapsed = (now - begin).as_secs();
        prop_assert!(sent <= 60 * 2 + elapsed as usize / 4, "{sent} in {elapsed} s");
    }
}

#[test]
fn what_is_on_the_link_is_told_also_of_prefixes_of_which_no_address_is_made() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let managed = |net, valid| PrefixInformation { autonomous: false, ..prefix(net, valid, 60) };
    let elsewhere = PrefixInformation { on_link: false, ..managed("fd77::/64", HOUR) };
    link.receive(
        &said("fe80::1", 1800, &[managed("fd88::/64", HOUR), managed("fd88::/48", 60), elsewhere]),
        now,
    );
    let offer = link.offer(now);
    assert!(offer.prefixes.is_empty());
    assert_eq!(offer.on_link(ip("fd88::7")), Some("fd88::/64".parse().unwrap()), "the longest prefix counts");
    assert_eq!(offer.on_link(ip("fd88:0:0:1::7")), Some("fd88::/48".parse().unwrap()));
    assert_eq!(offer.on_link(ip("fd77::7")), None);
    assert_eq!(link.poll(now), Action::News);
    let later = now + seconds(60);
    assert_eq!(link.offer(later).on_link(ip("fd88:0:0:1::7")), None, "its lifetime is over");
    link.receive(&said("fe80::1", 1800, &[managed("fd88::/64", 0)]), later);
    assert!(link.offer(later).on_link.is_empty(), "the prefix was revoked");
    link.receive(&said("fe80::1", 1800, &[managed("2000::/3", HOUR)]), later);
    assert!(link.offer(later).on_link.is_empty(), "a prefix of 3 bits is not accepted");
}

#[test]
fn routers_have_the_anycast_addresses_of_a_prefix_and_what_they_tell_as_their_own() {
    let now = SOME_TIME;
    let mut link = Link::new(now, 7);
    let is_routers = |link: &Link, text: &str| link.offer(now).is_routers(ip(text));
    let own = PrefixInformation { router: Some(ip("fd88::5")), ..prefix("fd88::/64", HOUR, HOUR) };
    let narrow = PrefixInformation { autonomous: false, ..prefix("fd99::40/122", HOUR, HOUR) };
    link.receive(&said("fe80::1", 1800, &[own, narrow]), now);
    for theirs in ["fd88::", "fd88::5", "fd88::fdff:ffff:ffff:ff80", "fd99::40"] {
        assert!(is_routers(&link, theirs), "{theirs}");
    }
    for other in ["fd88::1", "fd99::", "fd99::41", "fd77::"] {
        assert!(!is_routers(&link, other), "{other}");
    }
    link.receive(&said("fe80::1", 1800, &[PrefixInformation { valid: 0, preferred: 0, ..own }]), now);
    assert!(!is_routers(&link, "fd88::5"), "the router has it no longer");
}
