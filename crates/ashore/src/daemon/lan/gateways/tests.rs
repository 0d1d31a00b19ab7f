//! Endpoints that ask a router which answers some MACs, by the clock of the test.

use std::cell::RefCell;

use super::*;

const NIC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const WEB: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);

fn eth0() -> IfName {
    "eth0".parse().expect("a name")
}

fn question(from: Mac) -> Question {
    Question { parent: eth0(), router: ROUTER, from }
}

/// An endpoint, and a LAN on which the router answers some MACs.
struct Lan {
    gateways: Gateways,
    parents: BTreeMap<IfName, Tap>,
    answers: Vec<Mac>,
    now: Instant,
}

impl Lan {
    fn new(answers: &[Mac]) -> Lan {
        let tap = Tap { parent: 2, mac: NIC, shim: None, own: NIC };
        let now = Instant::now();
        let (parents, gateways) = (BTreeMap::from([(eth0(), tap)]), Gateways::default());
        let mut lan = Lan { gateways, parents, answers: answers.to_vec(), now };
        lan.comes("web", WEB);
        lan
    }

    fn comes(&mut self, name: &str, from: Mac) {
        let (ip, host) = (Ipv4Addr::new(192, 168, 88, 192), Ipv4Addr::new(192, 168, 88, 9));
        let asker = Asker { question: question(from), ip, of_parent: question(NIC), host };
        self.gateways.comes(key(name), asker, self.now);
    }

    /// Lets time pass, and returns who asked.
    fn pass(&mut self, time: Duration) -> Vec<Mac> {
        let (end, asked) = (self.now + time, RefCell::new(Vec::new()));
        while self.now < end {
            let before = asked.borrow().len();
            let say = |_: &IfName, frame: &[u8]| {
                asked.borrow_mut().push(Arp::parse(frame).expect("a question").sender_mac);
                Ok(())
            };
            let (next, _) = self.gateways.turn(&self.parents, &BTreeSet::new(), self.now, &say);
            for from in asked.borrow()[before..].iter().filter(|from| self.answers.contains(from)) {
                let router = Mac([2, 0, 0, 0, 0, 7]);
                let answer = Arp {
                    operation: Operation::Reply,
                    sender_mac: router,
                    sender_ip: ROUTER,
                    target_mac: *from,
                    target_ip: Ipv4Addr::UNSPECIFIED,
                };
                let mut frame = answer.broadcast_frame();
                frame[..6].copy_from_slice(&from.0);
                self.gateways.hear(&eth0(), &frame, self.now);
            }
            self.now = next.unwrap_or(end).max(self.now + Duration::from_millis(1));
        }
        asked.into_inner()
    }

    /// Whether the router answers the parent, for an endpoint that it does not answer.
    #[expect(clippy::option_option, reason = "it need not be known of an endpoint that is not answered")]
    fn verdict(&self) -> Option<Option<bool>> {
        self.gateways.unanswered().first().map(|one| one.answers_parent)
    }
}

fn key(name: &str) -> EndpointKey {
    ("lan".parse().expect("a name"), name.parse().expect("a name"))
}

#[test]
fn who_is_answered_is_not_asked_for_again() {
    let mut lan = Lan::new(&[NIC, WEB]);
    assert_eq!(lan.pass(Duration::from_secs(120)), [WEB]);
    assert_eq!(lan.verdict(), None);
    assert!(lan.gateways.due.is_empty(), "nothing is awaited");
}

#[test]
fn if_the_parent_alone_is_answered_the_mac_is_dropped_and_that_ends() {
    let mut lan = Lan::new(&[NIC]);
    let asked = lan.pass(Duration::from_secs(17));
    assert_eq!(asked, [[WEB; 10].as_slice(), &[NIC]].concat());
    assert_eq!(lan.verdict(), Some(Some(true)));
    lan.answers.push(WEB);
    lan.pass(Duration::from_secs(40));
    assert_eq!(lan.verdict(), None);
    // It is asked once more, because one answer may be forged.
    lan.answers = vec![NIC];
    lan.pass(ONCE_MORE + Duration::from_secs(10));
    assert_eq!(lan.verdict(), Some(Some(true)));
}

#[test]
fn an_answer_counts_while_it_is_awaited_and_if_the_mac_that_asks_can_have_got_it() {
    let mut lan = Lan::new(&[]);
    lan.pass(Duration::from_secs(17));
    assert!(lan.gateways.asked[&question(WEB)].is_silent());
    let (router, target_ip) = (Mac([2, 0, 0, 0, 0, 7]), Ipv4Addr::UNSPECIFIED);
    let (operation, sender_ip) = (Operation::Reply, ROUTER);
    let answer = Arp { operation, sender_mac: router, sender_ip, target_mac: WEB, target_ip };
    let mut frame = answer.broadcast_frame();
    assert!(!lan.gateways.hear(&eth0(), &frame, lan.now), "no round is under way");
    let end = lan.now + AGAIN + SECOND;
    while lan.gateways.asked[&question(WEB)].sent == 0 && lan.now < end {
        lan.pass(Duration::from_millis(50));
    }
    frame[..6].copy_from_slice(&NIC.0);
    assert!(!lan.gateways.hear(&eth0(), &frame, lan.now), "another MAC got it");
    frame[..6].copy_from_slice(&WEB.0);
    assert!(lan.gateways.hear(&eth0(), &frame, lan.now));
}

#[test]
fn where_frames_are_lost_nothing_is_known() {
    let mut lan = Lan::new(&[]);
    for _ in 0..60 {
        lan.pass(Duration::from_secs(1));
        lan.gateways.missed(&eth0(), lan.now);
    }
    assert_eq!(lan.verdict(), None);
    lan.pass(Duration::from_secs(30));
    assert_eq!(lan.verdict(), Some(Some(false)));
}

#[test]
fn while_a_router_is_silent_one_endpoint_asks_for_all_and_its_return_is_seen_by_all() {
    let mut lan = Lan::new(&[]);
    let macs: Vec<Mac> = (10..210).map(|n| Mac([2, 0, 0, 0, 1, n])).collect();
    macs.iter().enumerate().for_each(|(at, mac)| lan.comes(&format!("c{at}"), *mac));
    let began = lan.now;
    let first = lan.pass(Duration::from_secs(1));
    assert!(first.len() <= 17 * MOST_AT_ONCE * 20 / 16, "{} frames in {:?}", first.len(), lan.now - began);
    lan.pass(Duration::from_secs(60));
    assert_eq!(lan.gateways.unanswered().len(), 201);
    let later = lan.pass(Duration::from_secs(60));
    assert!(later.len() <= 3 * 2 * ROUND.len(), "{} frames in a minute", later.len());
    lan.answers = macs.iter().copied().chain([NIC, WEB]).collect();
    lan.pass(Duration::from_secs(60));
    assert_eq!(lan.verdict(), None);
}

#[test]
fn silence_to_a_question_that_names_no_address_says_nothing() {
    let mut lan = Lan::new(&[]);
    lan.gateways.askers.get_mut(&key("web")).expect("it is there").host = Ipv4Addr::UNSPECIFIED;
    lan.pass(Duration::from_secs(40));
    assert_eq!(lan.verdict(), None);
}

#[test]
fn a_router_that_answers_nobody_is_silent_until_it_is_back() {
    let mut lan = Lan::new(&[]);
    lan.comes("db", Mac([2, 0, 0, 0, 0, 2]));
    lan.pass(Duration::from_secs(10));
    assert_eq!(lan.verdict(), None, "it is not known yet");
    lan.pass(Duration::from_secs(10));
    assert_eq!(lan.verdict(), Some(Some(false)));
    assert_eq!(lan.gateways.unanswered().len(), 2);
    lan.answers = vec![NIC, WEB, Mac([2, 0, 0, 0, 0, 2])];
    lan.pass(Duration::from_secs(40));
    assert_eq!(lan.verdict(), None);
    lan.pass(ONCE_MORE + Duration::from_secs(1));
    assert!(lan.gateways.beside.is_empty() && lan.gateways.due.is_empty());
    assert_eq!(lan.gateways.asked.len(), 2, "the parent is not asked for ever");
}

#[test]
fn who_leaves_is_forgotten_and_through_a_parent_that_is_down_nobody_asks() {
    let mut lan = Lan::new(&[]);
    let parents = std::mem::take(&mut lan.parents);
    assert!(lan.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(lan.verdict(), None);
    lan.parents = parents;
    lan.pass(Duration::from_secs(20));
    lan.gateways.leaves(&key("web"));
    lan.pass(Duration::from_secs(60));
    assert!(lan.gateways.asked.is_empty() && lan.gateways.due.is_empty());
}

#[test]
fn what_could_not_be_sent_was_not_asked() {
    let mut lan = Lan::new(&[]);
    let end = lan.now + Duration::from_secs(60);
    while lan.now < end {
        let (next, _) = lan.gateways.turn(&lan.parents, &BTreeSet::new(), lan.now, &|_, _| {
            Err(std::io::ErrorKind::NetworkDown.into())
        });
        lan.now = next.expect("it is tried again").max(lan.now + Duration::from_millis(1));
    }
    assert_eq!(lan.verdict(), None);
}
