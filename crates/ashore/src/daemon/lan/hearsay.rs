//! What is heard of addresses that no endpoint has. Anybody on the LAN can say anything of any address, so that is a reason to
//! ask before one is used, and none to refuse it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ashore_core::allocate;
use ashore_wire::{Heard, Mac};

/// For how long a machine that was heard is taken to have its address still.
const HEARD_FOR: Duration = Duration::from_secs(300);
/// For how long a machine that looked for an address is given to take it.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(30);
/// How many of the LAN's addresses are kept in mind: more than a home has, and little memory when somebody makes them up.
const MOST_HEARD: usize = 4096;

/// Addresses that other machines have or are about to take.
#[derive(Default)]
pub(super) struct Hearsay(BTreeMap<IpAddr, Said>);

struct Said {
    /// By whom.
    mac: Mac,
    /// When it was heard last.
    at: Instant,
    /// Until when that is kept in mind without hearing it again.
    until: Instant,
    /// When the LAN was last asked for the address.
    asked: Option<Instant>,
    /// Whether somebody answered then.
    answered: bool,
}

impl Hearsay {
    /// Takes in what was heard. The LAN may have been asked for the address before.
    pub(super) fn overhear(&mut self, heard: &Heard, asked: Option<Instant>, now: Instant) {
        if self.0.len() >= MOST_HEARD && asked.is_none() && !self.0.contains_key(&heard.ip) {
            return;
        }
        let until = now + if heard.claims { HEARD_FOR } else { WANTED_FOR };
        let (mac, ip) = (heard.sender, heard.ip);
        let said = self.0.entry(ip).or_insert(Said { mac, at: now, until, asked, answered: false });
        said.at = now;
        if heard.claims || said.until < until {
            (said.mac, said.until) = (mac, until);
        }
    }

    /// The LAN was asked for an address, and this machine has it or wants it.
    pub(super) fn confirm(&mut self, ip: IpAddr, mac: Mac, now: Instant) {
        let (at, until) = (now, now + HEARD_FOR);
        self.0.insert(ip, Said { mac, at, until, asked: Some(now), answered: true });
    }

    /// The LAN was asked for an address, and nobody answered.
    pub(super) fn refute(&mut self, ip: IpAddr) {
        self.0.remove(&ip);
    }

    /// Forgets what is kept in mind no longer.
    pub(super) fn forget(&mut self, is_void: impl Fn(IpAddr, Mac) -> bool, now: Instant) {
        self.0.retain(|ip, said| now < said.until && !is_void(*ip, said.mac));
    }

    /// Who answered for an address since some time.
    pub(super) fn answered_since(&self, ip: IpAddr, since: Option<Instant>) -> Option<Mac> {
        let said = self.0.get(&ip).filter(|said| said.answered)?;
        since.is_none_or(|since| said.asked.is_some_and(|asked| asked >= since)).then_some(said.mac)
    }

    /// Who was heard of an address last.
    pub(super) fn said_of(&self, ip: IpAddr) -> Option<Mac> {
        self.0.get(&ip).map(|said| said.mac)
    }

    /// Whether an address may be looked for ahead: who is about to take it would hear the look and give it up, and who has it
    /// would have to answer every time.
    pub(super) fn may_be_asked(&self, ip: IpAddr, again: Duration, now: Instant) -> bool {
        self.0.get(&ip).is_none_or(|said| {
            let since = |at: Instant| now.saturating_duration_since(at);
            since(said.at) >= WANTED_FOR && said.asked.is_none_or(|asked| since(asked) >= again)
        })
    }

    /// All of it.
    pub(super) fn all(&self, now: Instant) -> BTreeMap<IpAddr, allocate::Hearsay> {
        let fresh = self.0.iter().filter(|(_, said)| now < said.until);
        let told =
            |said: &Said| allocate::Hearsay { mac: said.mac, age: now.saturating_duration_since(said.at) };
        fresh.map(|(ip, said)| (*ip, told(said))).collect()
    }
}
