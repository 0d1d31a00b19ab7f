//! A DHCP server that misbehaves: what the LAN sees of it, and that no client floods it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ashore_lab::{Engines, Machine, Ran, cannot_run};
use ashore_wire::Mac;
use ashore_wire::dhcp4::{Op, code};
use home::frames::What;
use home::scripted::{Answer, Question, Reply, Scripted};
use home::voice::Answering;
use home::{Home, addresses, arp_answered, does_not_reach, eventually, is_root, reaches, type_on};

const A: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 100);
const B: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 101);
/// T1 comes after 5 s, T2 after 8 s.
const SHORT: u32 = 10;
const LONG: u32 = 600;

/// A home, a container, and a server that answers by a script.
struct Misled {
    home: Home,
    web: Machine,
    server: Scripted,
}

fn misled(
    test: &str,
    script: impl FnMut(&Question) -> Vec<Answer> + Send + 'static,
    run: impl FnOnce(&mut Misled),
) {
    // The test sends ARP requests with a tool from the packages.
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(_) => {
            let home = Home::new();
            let server = Scripted::on(&home.router, script);
            home.ok("network create lan --parent eth0 --dhcp");
            let web = home.world.container("web").unwrap();
            let mut misled = Misled { home, web, server };
            run(&mut misled);
            misled.server.assert_no_storm();
        }
    }
}

/// A script that answers correctly.
fn good(ip: Ipv4Addr, seconds: u32) -> impl FnMut(&Question) -> Vec<Answer> + Send + 'static {
    move |question| question.good(ip, seconds).map(Reply::now).into_iter().collect()
}

/// A correct script, except for one kind of question.
fn but(
    what: What,
    answer: impl Fn(&Question) -> Vec<Answer> + Send + 'static,
    ip: Ipv4Addr,
    seconds: u32,
) -> impl FnMut(&Question) -> Vec<Answer> + Send + 'static {
    let mut good = good(ip, seconds);
    move |question| if question.what == what { answer(question) } else { good(question) }
}

fn silence(_: &Question) -> Vec<Answer> {
    Vec::new()
}

fn nak(question: &Question) -> Vec<Answer> {
    vec![question.nak().now()]
}

impl Misled {
    fn try_attach(&self) -> Ran {
        self.home.run(&format!("attach lan --netns {} --name web", self.web.namespace().path().display()))
    }

    /// Attaches the container. It must get this address and answer there.
    #[track_caller]
    fn attach(&self, ip: Ipv4Addr) {
        assert_eq!(addresses(&self.home.attach("lan", &self.web, "")), [ip]);
        reaches(&self.home.laptop, ip.into());
    }

    /// Asserts that the attach is refused for lack of an address, and that nothing is left.
    #[track_caller]
    fn is_refused(&self, words: &str) {
        let ran = self.try_attach();
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(self.address(), None);
        assert!(self.home.status()["endpoints"].as_array().unwrap().is_empty());
        eventually("no link is left", || self.home.made_links().is_empty());
    }

    fn address(&self) -> Option<String> {
        let status = self.home.status();
        Some(status["endpoints"][0]["addresses"][0].as_str()?.split('/').next()?.to_owned())
    }

    /// Waits until the container is on the LAN at this address.
    #[track_caller]
    fn comes_to(&self, ip: Ipv4Addr) {
        eventually(&format!("it is at {ip}"), || self.home.laptop.ping(ip.into()).is_some());
        eventually("the status says so", || self.address() == Some(ip.to_string()));
    }

    /// Waits until nothing is at this address any more, and nothing answers for it.
    #[track_caller]
    fn leaves(&self, ip: Ipv4Addr) {
        eventually(&format!("{ip} is left"), || self.home.laptop.ping(ip.into()).is_none());
        assert!(!arp_answered(&self.home.laptop, "eth0", ip.into()), "ARP is still answered for {ip}");
    }

    #[track_caller]
    fn attach_is_still(&self, ip: Ipv4Addr) {
        reaches(&self.home.laptop, ip.into());
        assert_eq!(self.address(), Some(ip.to_string()));
    }

    fn whats(&self) -> Vec<What> {
        let mut whats: Vec<What> = self.server.heard().iter().map(|question| question.what).collect();
        whats.dedup();
        whats
    }
}

#[test]
fn a_nak_to_what_it_had_before_begins_anew_at_once() {
    misled("misled, NAK to reboot", good(A, LONG), |misled| {
        misled.attach(A);
        misled.home.ok("detach lan web");
        misled.server.now_answers(but(What::Reboot, nak, B, LONG));
        misled.attach(B);
        misled.leaves(A);
        let before = [What::Discover, What::Select];
        assert_eq!(misled.whats(), [&before[..], &[What::Reboot], &before].concat());
    });
}

#[test]
fn a_nak_to_the_offer_taken_is_no_end_and_naks_for_ever_are() {
    misled("misled, NAK to request", but(What::Select, nak, A, LONG), |misled| {
        misled.is_refused("no DHCP server on the LAN of `eth0`");
        misled.server.assert_no_storm();
        let mut times = 0;
        misled.server.now_answers(move |question| {
            times += u32::from(question.what == What::Select);
            if question.what == What::Select && times == 1 {
                return nak(question);
            }
            good(A, LONG)(question)
        });
        misled.attach(A);
    });
}

#[test]
fn a_nak_to_a_renewal_takes_the_address_off_the_lan_before_its_end() {
    misled("misled, NAK to renewal", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(|question| {
            if question.what == What::Renew { nak(question) } else { silence(question) }
        });
        misled.server.wait_for(What::Renew);
        misled.leaves(A);
        assert_eq!(misled.server.count(What::Rebind), 0, "it did not use it until its end");
        misled.server.now_answers(good(B, LONG));
        misled.comes_to(B);
    });
}

#[test]
fn a_nak_to_all_takes_it_off_as_well() {
    misled("misled, NAK to rebinding", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(|question| {
            if question.what == What::Rebind { nak(question) } else { silence(question) }
        });
        misled.server.wait_for(What::Rebind);
        misled.leaves(A);
        misled.server.now_answers(good(B, LONG));
        misled.comes_to(B);
        let before = [What::Discover, What::Select];
        assert_eq!(misled.whats(), [&before[..], &[What::Renew, What::Rebind], &before].concat());
    });
}

/// A second server on the LAN. It gave none of the present leases, and denies them.
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 50);

fn nak_of_the_second(question: &Question) -> Answer {
    question.nak().with(code::SERVER_ID, SECOND.octets()).now()
}

#[test]
fn a_nak_of_another_server_takes_no_address_off_a_running_container() {
    misled("misled, NAK of another", good(A, LONG), |misled| {
        misled.attach(A);
        let mut asked = 0;
        misled.server.now_answers(move |question| {
            // The container's own server is slower, and its first answer is lost.
            asked += 1;
            let own = question.good(A, LONG).map(|reply| reply.after(Duration::from_millis(500)));
            own.filter(|_| asked > 1).into_iter().chain([nak_of_the_second(question)]).collect()
        });
        let pings = misled.home.laptop.pings(A.into());
        misled.home.restart();
        eventually("it is asked twice", || misled.server.count(What::Reboot) == 2);
        std::thread::sleep(Duration::from_secs(1));
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        misled.attach_is_still(A);
        assert_eq!(misled.server.count(What::Discover), 1);
    });
}

#[test]
fn a_nak_of_another_server_counts_once_its_own_is_silent() {
    misled("misled, NAK of another alone", good(A, LONG), |misled| {
        misled.attach(A);
        misled.home.ok("detach lan web");
        misled.server.now_answers(|question| match question.what {
            What::Reboot => vec![nak_of_the_second(question)],
            _ => good(B, LONG)(question),
        });
        misled.attach(B);
        assert_eq!(misled.server.count(What::Reboot), 1);
    });
}

#[test]
fn naks_without_end_are_answered_ever_less_often() {
    misled("misled, NAKs", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(|question| match question.what {
            What::Discover => vec![question.offer(A, LONG).now()],
            _ => nak(question),
        });
        for _ in 0..3 {
            misled.server.wait_for(What::Select);
        }
        does_not_reach(&misled.home.laptop, A.into());
        misled.server.assert_no_storm();
        misled.server.now_answers(good(B, LONG));
        misled.comes_to(B);
    });
}

#[test]
fn silence_is_waited_for_until_the_leases_end_and_no_longer() {
    misled("misled, silence", good(A, SHORT), |misled| {
        let begun = Instant::now();
        misled.attach(A);
        misled.server.now_answers(silence);
        misled.server.wait_for(What::Rebind);
        let has_it = || {
            let there = misled.web.kernel().observe(&[]).unwrap().host.addresses;
            there.iter().any(|there| there.net.addr() == A)
        };
        assert!(has_it());
        eventually("it is off the link", || !has_it());
        // Not a moment earlier. The first request came after `begun`, and the record has whole seconds.
        let used = begun.elapsed();
        assert!(used >= Duration::from_secs(u64::from(SHORT) - 1), "it was used for {used:?} only");
        misled.server.wait_for(What::Discover);
        misled.leaves(A);
        misled.server.now_answers(good(A, LONG));
        misled.comes_to(A);
    });
}

#[test]
fn an_offer_that_is_never_acknowledged_is_refused_and_leaves_nothing() {
    misled("misled, no ACK", but(What::Select, silence, A, LONG), |misled| {
        misled.is_refused("no DHCP server on the LAN of `eth0`");
        does_not_reach(&misled.home.laptop, A.into());
    });
}

fn late(seconds: u64) -> impl Fn(&Question) -> Vec<Answer> + Send + 'static {
    move |question| {
        let good = question.good(A, SHORT).into_iter();
        good.map(|reply| reply.after(Duration::from_secs(seconds))).collect()
    }
}

#[test]
fn a_late_ack_is_taken_while_somebody_waits_for_it() {
    misled("misled, late ACK", but(What::Select, late(6), A, LONG), |misled| {
        misled.attach(A);
        assert_eq!(misled.server.count(What::Discover), 1);
    });
}

#[test]
fn an_ack_that_comes_after_everybody_has_gone_changes_nothing() {
    misled("misled, ACK too late", but(What::Select, late(18), A, LONG), |misled| {
        misled.is_refused("no DHCP server on the LAN of `eth0`");
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!((misled.address(), misled.home.made_links()), (None, Vec::new()));
        does_not_reach(&misled.home.laptop, A.into());
    });
}

#[test]
fn a_renewal_that_is_answered_after_the_leases_end_revives_nothing() {
    misled("misled, renewal too late", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(|question| match question.what {
            What::Renew => late(8)(question),
            _ => silence(question),
        });
        misled.server.wait_for(What::Discover);
        misled.leaves(A);
        // By now the answer has arrived.
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(misled.address(), None);
        does_not_reach(&misled.home.laptop, A.into());
    });
}

#[test]
fn another_address_at_the_renewal_is_moved_to() {
    misled("misled, another address", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(good(B, LONG));
        misled.comes_to(B);
        misled.leaves(A);
        assert_eq!(misled.whats(), [What::Discover, What::Select, What::Renew]);
        reaches(&misled.home.nas, B.into());
    });
}

#[test]
fn another_address_that_somebody_has_is_declined_and_left_to_him() {
    misled("misled, another's address", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.home.laptop.add_address("eth0", "192.168.88.101/24".parse().unwrap()).unwrap();
        misled.server.now_answers(but(What::Discover, silence, B, LONG));
        misled.server.wait_for(What::Decline);
        let declined =
            misled.server.heard().into_iter().find(|question| question.what == What::Decline).unwrap();
        assert_eq!(declined.message.options.address(code::REQUESTED_ADDRESS), Ok(Some(B)));
        reaches(&misled.home.router, B.into());
        let laptop = misled.home.laptop.kernel().observe(&[]).unwrap().host;
        let laptop = laptop.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap().to_string();
        assert_eq!(home::mac_known_to(&misled.home.router, B.into()), laptop);
        misled.server.now_answers(good(A, LONG));
        misled.comes_to(A);
    });
}

#[test]
fn a_server_that_does_not_say_who_it_is_is_its_datagrams_sender() {
    let nameless = |question: &Question| {
        let good = question.good(A, SHORT).into_iter();
        good.map(|reply| reply.without(code::SERVER_ID).now()).collect::<Vec<_>>()
    };
    misled("misled, nameless", nameless, |misled| {
        misled.attach(A);
        let pings = misled.home.laptop.pings(A.into());
        for _ in 0..2 {
            misled.server.wait_for(What::Renew);
        }
        assert_eq!(misled.server.count(What::Rebind), 0);
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        misled.server.now_answers(|question| match question.what {
            What::Renew => vec![question.nak().without(code::SERVER_ID).now()],
            _ => silence(question),
        });
        misled.leaves(A);
    });
}

#[test]
fn lifetimes_of_no_use_are_no_lease() {
    for seconds in [0, 1] {
        misled(&format!("misled, {seconds} s"), good(A, seconds), |misled| {
            misled.is_refused(
                "the answer of the DHCP server 192.168.88.1 on the LAN of `eth0` cannot be used: its lifetime",
            );
            assert_eq!(misled.server.count(What::Select), 0, "it does not even ask");
        });
    }
}

#[test]
fn a_lease_in_use_that_is_renewed_for_no_time_lasts_as_long_as_it_did() {
    misled("misled, renewed for nothing", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(|question| match question.what {
            What::Discover => Vec::new(),
            _ => good(A, 0)(question),
        });
        misled.server.wait_for(What::Renew);
        reaches(&misled.home.laptop, A.into());
        misled.leaves(A);
        assert!(
            misled.whats().ends_with(&[What::Renew, What::Rebind, What::Discover]),
            "{:?}",
            misled.whats()
        );
    });
}

fn term(misled: &Misled) -> serde_json::Value {
    let status = misled.home.status();
    let lease = &status["endpoints"][0]["lease"];
    assert!(lease.is_object(), "{status:#}");
    lease["term"].clone()
}

#[test]
fn t1_and_t2_out_of_order_are_those_of_the_rfc() {
    let confused = |question: &Question| {
        let good = question.good(A, 1000).into_iter();
        let confuse = |reply: Reply| {
            reply
                .with(code::RENEWAL_TIME, 5000u32.to_be_bytes())
                .with(code::REBINDING_TIME, 3000u32.to_be_bytes())
        };
        good.map(|reply| confuse(reply).now()).collect::<Vec<_>>()
    };
    misled("misled, T1 > T2", confused, |misled| {
        misled.attach(A);
        let term = term(misled);
        let [renew, rebind, end] = ["renew", "rebind", "end"].map(|key| term[key].as_u64().unwrap());
        assert!((450..=550).contains(&renew) && (850..=900).contains(&rebind) && end == 1000, "{term}");
    });
}

#[test]
fn a_lease_for_ever_is_kept_without_a_word() {
    misled("misled, for ever", good(A, u32::MAX), |misled| {
        misled.attach(A);
        assert!(term(misled).is_null());
        misled.home.restart();
        // A new daemon confirms it once, which is not a renewal.
        eventually("it is confirmed", || misled.server.count(What::Reboot) == 1);
        misled.attach_is_still(A);
        assert!(term(misled).is_null());
    });
}

/// Everything that may arrive: no answer, noise, truncated messages, answers to another client or another
/// exchange, a client's own messages, options with a wrong length.
fn noise(reply: &Reply) -> Vec<Answer> {
    let broken = |code: u8, bytes: &[u8]| reply.clone().with(code, bytes).now();
    let whole = || reply.clone();
    let all = vec![
        Answer::garbage([]),
        Answer::garbage((0..300u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect::<Vec<_>>()),
        Answer::garbage([255; 1400]),
        whole().now().cut(236),
        whole().now().cut(242),
        whole().changed(|message| message.chaddr.0[5] ^= 1).now(),
        whole().changed(|message| message.xid ^= 1).now(),
        whole().changed(|message| message.op = Op::Request).now(),
        whole().changed(|message| message.yiaddr = Ipv4Addr::BROADCAST).now(),
        whole().changed(|message| message.yiaddr = Ipv4Addr::LOCALHOST).now(),
        whole().with(code::CLIENT_ID, *b"somebody else").now(),
        broken(code::LEASE_TIME, &[0, 0, 1]),
        broken(code::SUBNET_MASK, &[255, 0, 255, 0]),
        broken(code::MESSAGE_TYPE, &[200]),
        broken(code::OVERLOAD, &[3]),
    ];
    all.into_iter().flat_map(|answer| [answer.clone(), answer.for_all()]).collect()
}

#[test]
fn garbage_between_good_answers_spoils_none_of_them() {
    let noisy = |question: &Question| {
        let Some(reply) = question.good(A, SHORT) else { return Vec::new() };
        let mut answers = noise(&reply);
        answers.push(reply.clone().now());
        answers.extend(noise(&reply));
        answers
    };
    misled("misled, garbage", noisy, |misled| {
        misled.attach(A);
        let pings = misled.home.laptop.pings(A.into());
        for _ in 0..2 {
            misled.server.wait_for(What::Renew);
        }
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        assert_eq!(misled.server.count(What::Rebind), 0);
        misled.attach_is_still(A);
    });
}

/// A container that is to be the LAN's router, with a reservation.
#[test]
fn the_address_of_the_router_that_a_server_names_is_refused_with_the_reason() {
    let own = |question: &Question| {
        let good = question.good(A, LONG).map(|reply| reply.with(code::ROUTER, A.octets()).now());
        good.into_iter().collect()
    };
    misled("misled, its own router", own, |misled| {
        misled.is_refused("cannot be used: 192.168.88.100 is the address of the router that it names");
    });
}

#[test]
fn an_address_in_use_is_declined_every_time_and_refused_in_the_end() {
    misled("misled, in use", good(A, LONG), |misled| {
        misled.home.laptop.add_address("eth0", "192.168.88.100/24".parse().unwrap()).unwrap();
        misled.is_refused("192.168.88.100, which another machine has");
        let declines = misled.server.count(What::Decline);
        assert!((1..=2).contains(&declines), "{declines}: ten seconds lie between two (RFC 2131, 3.1 (5))");
        reaches(&misled.home.router, A.into());
        misled.server.assert_no_storm();
        misled.home.laptop.del_address("eth0", "192.168.88.100/24".parse().unwrap()).unwrap();
        misled.attach(A);
    });
}

#[test]
fn an_address_in_use_is_looked_for_once_and_declined_at_once() {
    let mut declined = false;
    let until_declined = move |question: &Question| {
        declined |= question.what == What::Decline;
        question.good(if declined { B } else { A }, LONG).map(Reply::now).into_iter().collect()
    };
    misled("misled, looked for once", until_declined, |misled| {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let is_had = |of| of == A && ASKED.fetch_add(1, Ordering::Relaxed) < u32::MAX;
        let _squatter = Answering::that_has(&misled.home.laptop, Mac([2, 0, 0, 0, 0, 9]), is_had);
        misled.attach(B);
        assert!(
            matches!(ASKED.load(Ordering::Relaxed), 1 | 2),
            "one look, of which a second frame may be sent"
        );
    });
}

/// Two slow answers and a look of four seconds: more than a request waits that has a fallback.
#[test]
fn an_address_that_is_looked_into_when_the_time_is_over_is_taken() {
    let slow = |question: &Question| {
        question.good(A, LONG).map(|reply| reply.after(Duration::from_millis(2500))).into_iter().collect()
    };
    misled("misled, in hand at the end", silence, |misled| {
        let range = "--subnet 192.168.88.0/24 --ip-range 192.168.88.192/28 --conflict full";
        misled.home.ok("network rm lan");
        misled.home.ok(&format!("network create lan --parent eth0 --dhcp --fallback range {range}"));
        misled.server.now_answers(slow);
        misled.attach(A);
    });
}

/// A server that is not the router offers an address until it is declined, and then another one.
fn kept_until_declined(
    kept: Ipv4Addr,
    then: Ipv4Addr,
) -> impl FnMut(&Question) -> Vec<Answer> + Send + 'static {
    let mut declined = false;
    move |question| {
        declined |= question.what == What::Decline;
        let good = question.good(if declined { then } else { kept }, LONG);
        let seconds =
            |reply: Reply| reply.with(code::SERVER_ID, SECOND.octets()).with(code::ROUTER, SECOND.octets());
        let wider = |reply: Reply| reply.with(code::SUBNET_MASK, [255, 255, 0, 0]);
        let good = good.map(|reply| if declined { reply } else { wider(reply) });
        good.map(|reply| seconds(reply).now()).into_iter().collect()
    }
}

#[test]
fn an_address_that_is_kept_for_something_else_is_declined() {
    // The next hops of the host's routes, also those of other tables, two addresses that another network
    // reserves, and the first and last address of the subnet, which the wider mask of the lease would allow.
    for last in [1, 18, 19, 20, 21, 0, 255] {
        let kept = Ipv4Addr::new(192, 168, 88, last);
        misled(&format!("misled, .{last}"), silence, |misled| {
            let home = &misled.home;
            home.ok("network create other --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.20 --aux-address printer=192.168.88.21");
            home.ok("network rm lan");
            home.ok("network create lan --parent eth0 --dhcp --conflict off");
            type_on(&home.nas, "ip route add default via 192.168.88.18 table 100");
            type_on(&home.nas, "ip nexthop add id 7 via 192.168.88.19 dev eth0");
            type_on(&home.nas, "ip route add default nhid 7 table 101");
            misled.server.now_answers(kept_until_declined(kept, A));
            misled.attach(A);
            assert_eq!(misled.server.count(What::Decline), 1);
            assert!(home.nas.ping("192.168.88.1".parse().unwrap()).is_some());
        });
    }
}

#[test]
fn at_a_renewal_it_is_declined_as_well() {
    misled("misled, .1 at a renewal", good(A, SHORT), |misled| {
        misled.attach(A);
        misled.server.now_answers(kept_until_declined(home::scripted::ROUTER, B));
        misled.comes_to(B);
        assert_eq!(misled.server.count(What::Decline), 1);
        let routes = misled.home.made_routes();
        assert!(!routes.iter().any(|route| route.contains("192.168.88.1/32")), "{routes:?}");
    });
}
