//! What was heard about addresses that no endpoint has. Any machine on the LAN can claim any address, so a
//! claim is a reason to probe before the address is used, but no reason to refuse the address. There is one
//! table for each parent, so a machine that makes up claims on one LAN takes no room from another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::api::map::Machine;
use ashore_core::rules::addresses_in_use;
use ashore_wire::{Heard, Mac};

/// How long a claim is kept.
const HEARD_FOR: Duration = Duration::from_secs(300);
/// How long a machine that probed for an address has to take it.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(30);
/// How many addresses are kept: more than a home has, and little memory if an attacker makes them up.
const MOST_HEARD: usize = 4096;

/// Addresses that other machines on one LAN claimed or probed for.
#[derive(Default)]
pub(super) struct Hearsay(BTreeMap<IpAddr, Said>);

struct Said {
    /// The machine that claimed the address or probed for it.
    mac: Mac,
    /// Whether the machine claimed the address.
    claims: bool,
    /// Since when the machine is heard with the address.
    since: Instant,
    /// When that was last heard.
    at: Instant,
    /// When it is forgotten unless it is heard again.
    until: Instant,
    /// When Ashore last probed for the address.
    asked: Option<Instant>,
    /// Whether a machine answered that probe.
    answered: bool,
}

impl Hearsay {
    /// Enters what was heard without asking. `asked` is when Ashore last probed for the address and found it
    /// clear.
    pub(super) fn overhear(&mut self, heard: &Heard, asked: Option<Instant>, now: Instant) {
        if self.0.len() >= MOST_HEARD && asked.is_none() && !self.0.contains_key(&heard.ip) {
            return;
        }
        let until = now + if heard.claims { HEARD_FOR } else { WANTED_FOR };
        let (mac, ip) = (heard.sender, heard.ip);
        let new = Said { mac, claims: false, since: now, at: now, until, asked, answered: false };
        let said = self.0.entry(ip).or_insert(new);
        said.at = now;
        if heard.claims || said.until < until {
            if said.mac != mac {
                said.since = now;
            }
            (said.mac, said.until) = (mac, until);
        }
        said.claims |= heard.claims;
    }

    /// Enters that a machine answered a probe for an address.
    pub(super) fn confirm(&mut self, ip: IpAddr, mac: Mac, now: Instant) {
        let (at, until) = (now, now + HEARD_FOR);
        let since = self.0.get(&ip).filter(|said| said.mac == mac).map_or(now, |said| said.since);
        self.0.insert(ip, Said { mac, claims: true, since, at, until, asked: Some(now), answered: true });
    }

    /// Enters that no machine answered a probe for an address.
    pub(super) fn refute(&mut self, ip: IpAddr) {
        self.0.remove(&ip);
    }

    /// Forgets entries that are too old, and those for which `is_void` holds because they are no claim of
    /// another machine. Returns whether any entry is left.
    pub(super) fn forget(&mut self, is_void: impl Fn(IpAddr, Mac) -> bool, now: Instant) -> bool {
        self.0.retain(|ip, said| now < said.until && !is_void(*ip, said.mac));
        !self.0.is_empty()
    }

    /// The machine that answered a probe for an address, if the probe was at or after the given time.
    pub(super) fn answered_since(&self, ip: IpAddr, since: Option<Instant>) -> Option<Mac> {
        let said = self.0.get(&ip).filter(|said| said.answered)?;
        since.is_none_or(|since| said.asked.is_some_and(|asked| asked >= since)).then_some(said.mac)
    }

    /// The machine that last claimed an address or probed for it.
    pub(super) fn said_of(&self, ip: IpAddr) -> Option<Mac> {
        self.0.get(&ip).map(|said| said.mac)
    }

    /// Whether a machine claimed an address.
    pub(super) fn is_claimed(&self, ip: IpAddr) -> bool {
        self.0.get(&ip).is_some_and(|said| said.claims)
    }

    /// Whether an address may be probed ahead of need. A machine that is about to take it would hear the
    /// probe and give the address up, and a machine that has it would have to answer every time.
    pub(super) fn may_be_asked(&self, ip: IpAddr, again: Duration, now: Instant) -> bool {
        self.0.get(&ip).is_none_or(|said| {
            let since = |at: Instant| now.saturating_duration_since(at);
            since(said.at) >= WANTED_FOR && said.asked.is_none_or(|asked| since(asked) >= again)
        })
    }

    /// All machines, for people. `today` is the time of day, in seconds since 1970.
    pub(super) fn machines(&self, now: Instant, today: u64) -> Vec<Machine> {
        let on_clock = |at: Instant| today.saturating_sub(now.saturating_duration_since(at).as_secs());
        let fresh = self.0.iter().filter(|(_, said)| now < said.until);
        let told = |(ip, said): (&IpAddr, &Said)| Machine {
            ip: *ip,
            mac: said.mac,
            claims: said.claims,
            since: on_clock(said.since),
            heard: on_clock(said.at),
            maker: None,
        };
        fresh.map(told).collect()
    }

    /// All addresses, with what was heard about them.
    pub(super) fn all(&self, now: Instant) -> BTreeMap<IpAddr, addresses_in_use::Hearsay> {
        let fresh = self.0.iter().filter(|(_, said)| now < said.until);
        let told = |said: &Said| addresses_in_use::Hearsay {
            mac: said.mac,
            age: now.saturating_duration_since(said.at),
        };
        fresh.map(|(ip, said)| (*ip, told(said))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip(n: u32) -> IpAddr {
        IpAddr::from((10 << 24 | n).to_be_bytes())
    }

    fn said(sender: Mac, n: u32, claims: bool) -> Heard {
        Heard { sender, ip: ip(n), claims }
    }

    #[test]
    fn what_is_said_is_kept_in_mind_for_a_while_and_what_is_wished_for_shorter() {
        let start = Instant::now();
        let mut hearsay = Hearsay::default();
        hearsay.overhear(&said(ONE, 1, true), None, start);
        hearsay.overhear(&said(ONE, 2, false), None, start);
        // A probe for a claimed address changes nothing.
        hearsay.overhear(&said(OTHER, 1, false), None, start);
        let macs = |hearsay: &Hearsay, now| -> Vec<(IpAddr, Mac)> {
            hearsay.all(now).into_iter().map(|(ip, said)| (ip, said.mac)).collect()
        };
        assert_eq!(macs(&hearsay, start), [(ip(1), ONE), (ip(2), ONE)]);
        assert_eq!(macs(&hearsay, start + WANTED_FOR), [(ip(1), ONE)]);
        hearsay.forget(|_, _| false, start + HEARD_FOR);
        assert!(hearsay.0.is_empty());
        hearsay.overhear(&said(ONE, 1, true), None, start);
        hearsay.forget(|at, mac| (at, mac) == (ip(1), ONE), start);
        assert!(hearsay.0.is_empty(), "the claim is void");
    }

    #[test]
    fn a_machine_is_there_since_it_was_first_heard_with_its_address() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut hearsay = Hearsay::default();
        hearsay.overhear(&said(ONE, 1, true), None, start);
        hearsay.overhear(&said(ONE, 1, true), None, after(20));
        hearsay.confirm(ip(1), ONE, after(30));
        let told = |hearsay: &Hearsay| {
            let all = hearsay.machines(after(40), 1000).into_iter();
            all.map(|machine| (machine.mac, machine.claims, machine.since, machine.heard)).collect::<Vec<_>>()
        };
        assert_eq!(told(&hearsay), [(ONE, true, 960, 990)]);
        hearsay.overhear(&said(OTHER, 1, true), None, after(35));
        assert_eq!(told(&hearsay), [(OTHER, true, 995, 995)]);
        assert!(hearsay.machines(after(4000), 1000).is_empty());
    }

    #[test]
    fn an_answer_is_told_from_hearsay() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut hearsay = Hearsay::default();
        hearsay.overhear(&said(ONE, 1, true), None, start);
        assert_eq!((hearsay.said_of(ip(1)), hearsay.answered_since(ip(1), None)), (Some(ONE), None));
        hearsay.confirm(ip(1), ONE, start);
        assert_eq!(hearsay.answered_since(ip(1), Some(start)), Some(ONE));
        assert_eq!(hearsay.answered_since(ip(1), Some(later)), None);
        hearsay.overhear(&said(ONE, 1, true), None, later);
        assert_eq!(hearsay.answered_since(ip(1), Some(later)), None, "no probe was sent since");
        hearsay.refute(ip(1));
        assert!(hearsay.all(start).is_empty());
    }

    #[test]
    fn who_has_an_address_or_is_about_to_take_it_is_not_asked_all_the_time() {
        let (start, again) = (Instant::now(), Duration::from_secs(60));
        let mut hearsay = Hearsay::default();
        assert!(hearsay.may_be_asked(ip(1), again, start), "nothing was heard about it");
        hearsay.overhear(&said(ONE, 1, false), None, start);
        assert!(!hearsay.may_be_asked(ip(1), again, start));
        assert!(hearsay.may_be_asked(ip(1), again, start + WANTED_FOR));
        // It was clear until now.
        hearsay.overhear(&said(ONE, 2, true), Some(start), start);
        assert!(!hearsay.may_be_asked(ip(2), again, start + WANTED_FOR));
        assert!(hearsay.may_be_asked(ip(2), again, start + again));
        hearsay.confirm(ip(3), ONE, start);
        assert!(!hearsay.may_be_asked(ip(3), again, start + WANTED_FOR));
    }

    #[test]
    fn a_flood_costs_little_and_pushes_nothing_out() {
        let start = Instant::now();
        let mut hearsay = Hearsay::default();
        hearsay.overhear(&said(ONE, 0, true), None, start);
        for n in 1..10_000 {
            hearsay.overhear(&said(OTHER, n, true), None, start);
        }
        assert_eq!(hearsay.0.len(), MOST_HEARD);
        assert_eq!(hearsay.said_of(ip(0)), Some(ONE));
        // An address that was clear, and one that was answered, are entered all the same.
        hearsay.overhear(&said(ONE, 20_000, true), Some(start), start);
        hearsay.confirm(ip(20_001), ONE, start);
        assert_eq!((hearsay.said_of(ip(20_000)), hearsay.said_of(ip(20_001))), (Some(ONE), Some(ONE)));
    }
}
