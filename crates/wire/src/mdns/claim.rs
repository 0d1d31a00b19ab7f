//! One name of the LAN that is wished for: its records, and how far it has come.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use crate::Boottime;

use super::label::Label;
use super::message::{Question, Said};
use super::name::Name;
use super::record::{Data, Record, kind};
use super::service::{MOST_SERVICES, Service};

/// The most addresses of a name, and the most others that are its container's.
pub const MOST_ADDRESSES: usize = 16;
/// The lifetime of records that have a host's name or address in them (RFC 6762, 10).
pub const HOST_TTL: u32 = 120;
/// The lifetime of others.
pub const OTHER_TTL: u32 = 4500;
/// From this conflict on, a name takes no other label, and waits.
const TOO_MANY_CONFLICTS: u32 = 15;
/// How long it waits at first (RFC 6762, 8.1), and at most. A name that is announced for the longest wait without a conflict
/// has been left in peace.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The number of probes (RFC 6762, 8.1).
pub(super) const PROBES: u8 = 3;

/// What is to be published of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The label that the user wishes.
    pub label: Label,
    /// The label that it had last, as [`Renamed`](super::Action::Renamed) has reported it. A new name begins with it.
    pub last: Option<Label>,
    /// Its addresses, the first [`MOST_ADDRESSES`] of which are published. Without any, the name waits.
    pub addresses: Vec<IpAddr>,
    /// More addresses of the container, such as link-local ones, which are not published. A message from one of them is
    /// the container's own, and so is a record that gives the name one of them: neither is a conflict.
    pub also: Vec<IpAddr>,
    /// Its services, the first [`MOST_SERVICES`] of which are published.
    pub services: Vec<Service>,
}

impl Wanted {
    /// The same within the bounds, and each address once.
    pub(super) fn bounded(mut self) -> Self {
        for addresses in [&mut self.addresses, &mut self.also] {
            let mut kept = Vec::new();
            for ip in addresses.iter().map(IpAddr::to_canonical) {
                if kept.len() < MOST_ADDRESSES && !kept.contains(&ip) {
                    kept.push(ip);
                }
            }
            *addresses = kept;
        }
        self.services.truncate(MOST_SERVICES);
        self
    }
}

/// How far a name has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no address, and nothing is said of it.
    Waiting,
    /// The responder asks the LAN whether another host has the name.
    Probing,
    /// Another host has or wants the name; the next attempt is about to begin.
    Conflict,
    /// It is published.
    Announced,
}

/// A conflict that a name had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the name was then.
    pub label: Label,
    /// Who has it. `None` if it is another name of this responder, or the host's own.
    pub by: Option<IpAddr>,
    /// When it was seen.
    pub at: Boottime,
}

/// What is to be done next for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    Waiting,
    /// The next probe, or the first announcement if all probes were sent. `held` after a conflict.
    Probing { sent: u8, next: Boottime, held: bool },
    /// So many announcements, the next one then.
    Announced { left: u8, next: Boottime },
}

/// A record of a name, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub record: Record,
    pub ttl: u32,
    /// Whether no other host has a record of this name and type.
    pub unique: bool,
}

/// A name that is wished for.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// As the caller has said last.
    pub wanted: Wanted,
    /// The label now.
    pub label: Label,
    pub phase: Phase,
    /// Since when it has the state that it has.
    pub since: Boottime,
    pub conflict: Option<Conflict>,
    /// The label that the caller knows, because it has said it or was told so.
    pub reported: Label,
    /// How many conflicts it has had since it was last left in peace.
    conflicts: u32,
    /// Whether it has tried the wanted label again.
    has_retried: bool,
    records: Vec<Owned>,
}

impl Claim {
    pub(super) fn new(wanted: Wanted, reported: Label, label: Label, now: Boottime) -> Self {
        let records = records(&wanted, &label);
        let (phase, conflict) = (Phase::Waiting, None);
        Claim {
            wanted,
            label,
            phase,
            since: now,
            conflict,
            reported,
            conflicts: 0,
            has_retried: false,
            records,
        }
    }

    /// Counts a conflict. Returns how long the name must wait if it has had too many. Each wait is twice as long as the one
    /// before; after the longest, it may be renamed again.
    pub(super) fn count_conflict(&mut self, now: Boottime) -> Option<Duration> {
        if self.is_announced() && now - self.since >= LONGEST_WAIT {
            self.conflicts = 0;
        }
        self.conflicts += 1;
        let wait = FIRST_WAIT * 2u32.pow(self.conflicts.checked_sub(TOO_MANY_CONFLICTS)?);
        if wait >= LONGEST_WAIT {
            self.conflicts = 0;
        }
        Some(wait.min(LONGEST_WAIT))
    }

    /// Begins anew: with the count of conflicts, and with the time until it tries the wanted label again.
    pub(super) fn forget_conflicts(&mut self) {
        (self.conflicts, self.has_retried) = (0, false);
    }

    /// Notes that it tries the wanted label again.
    pub(super) fn note_retry(&mut self) {
        (self.conflicts, self.has_retried) = (0, true);
    }

    /// When it tries the wanted label again, if it has another one. Once: a second time would disturb a LAN where another
    /// host has that label for good.
    pub(super) fn retry(&self) -> Option<Boottime> {
        let tries = self.is_announced() && self.label != self.wanted.label && !self.has_retried;
        tries.then(|| self.since + LONGEST_WAIT)
    }

    /// The label after a conflict while it is being probed for. After an attempt to get the wanted label back, that is the
    /// one which the caller knows.
    pub(super) fn next_label(&self) -> Label {
        let returns = self.label == self.wanted.label && self.reported != self.label;
        if returns { self.reported.clone() } else { self.label.next() }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Waiting => State::Waiting,
            Phase::Probing { held: true, .. } => State::Conflict,
            Phase::Probing { .. } => State::Probing,
            Phase::Announced { .. } => State::Announced,
        }
    }

    /// Goes to a phase.
    pub(super) fn enter(&mut self, phase: Phase, now: Boottime) {
        let before = self.state();
        self.phase = phase;
        if self.state() != before {
            self.since = now;
        }
    }

    /// Takes another label or other wishes.
    pub(super) fn change(&mut self, wanted: Wanted, label: Label) {
        self.records = records(&wanted, &label);
        (self.wanted, self.label) = (wanted, label);
    }

    /// Whether what others say of its names counts. Before the first probe it does not: a host that has the name answers
    /// the probe, and what was said a moment ago, before all gave the name up to probe for it, is past.
    pub(super) fn has_asked(&self) -> bool {
        matches!(self.phase, Phase::Announced { .. } | Phase::Probing { sent: 1.., .. })
    }

    pub(super) fn is_announced(&self) -> bool {
        matches!(self.phase, Phase::Announced { .. })
    }

    /// All records, at the end.
    pub(super) fn into_records(self) -> Vec<Record> {
        self.records.into_iter().map(|owned| owned.record).collect()
    }

    /// All records.
    pub(super) fn records(&self) -> &[Owned] {
        &self.records
    }

    /// The name of the host.
    pub(super) fn host(&self) -> Name {
        host(&self.label)
    }

    /// Its unique names.
    pub(super) fn names(&self) -> Vec<Name> {
        unique_names(&self.wanted, &self.label)
    }

    /// What a probe asks of a name, and the records that it wishes to have (RFC 6762, 8.1 and 8.2). It asks for an answer to
    /// all, although 8.1 advises otherwise: a unicast answer reaches one of the programs of this host that share the port,
    /// which may be another one (15.1; seen with zeroconf beside).
    pub(super) fn probe(&self, name: &Name) -> (Question, Vec<&Owned>) {
        let question = Question { name: name.clone(), kind: kind::ANY, unicast: false };
        (question, self.tentative(name).collect())
    }

    fn tentative(&self, name: &Name) -> impl Iterator<Item = &Owned> {
        let data = |owned: &&Owned| owned.record.kind() != kind::NSEC;
        self.records.iter().filter(move |owned| owned.record.name == *name).filter(data)
    }

    /// Whether an address is the container's.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.wanted.addresses.contains(&ip) || self.wanted.also.contains(&ip)
    }

    /// Whether what is said of a name comes from the same container: from one of its addresses, or it says that this very
    /// name, the host's, has one of them. A responder within the container may publish more than is known here. An address
    /// of the host says nothing of who has the names of services.
    pub(super) fn is_own<'a>(
        &self,
        from: IpAddr,
        name: &Name,
        mut said: impl Iterator<Item = &'a Said>,
    ) -> bool {
        let address =
            |said: &Said| said.record.name == *name && said.record.data.ip().is_some_and(|ip| self.has(ip));
        self.has(from) || *name == self.host() && said.any(address)
    }

    /// Whether a record of one of the names is one that it has too.
    pub(super) fn agrees(&self, record: &Record) -> bool {
        self.records.iter().any(|owned| owned.record == *record)
    }

    /// Whether a record that another host says of one of the names speaks against it. While it is being probed for, any
    /// record does: the other one answers a question for all types. Afterwards one of a type that is published, or that
    /// is said not to be there (RFC 6762, 9).
    pub(super) fn is_contested_by(&self, record: &Record) -> bool {
        let published = match record.kind() {
            kind::A | kind::AAAA => record.name == self.host(),
            kind::SRV | kind::TXT => record.name != self.host(),
            // A host that says that a type is not there does not thereby say that it has the name.
            kind::NSEC => return false,
            _ => false,
        };
        (published || !self.is_announced()) && !self.agrees(record)
    }

    /// Whether records that another host wishes to have for a name come before its own in a simultaneous probe (RFC 6762,
    /// 8.2.1): then the other one has won.
    pub(super) fn loses_to(&self, name: &Name, theirs: &[&Record]) -> bool {
        let order = |record: &Record| (record.kind(), record.data.bytes());
        let mut ours: Vec<_> = self.tentative(name).map(|owned| order(&owned.record)).collect();
        let mut theirs: Vec<_> = theirs.iter().map(|record| order(record)).collect();
        ours.sort();
        theirs.sort();
        theirs.dedup();
        ours.cmp(&theirs) == Ordering::Less
    }
}

/// The names that no other host and no other claim may have: that of the host and those of its services.
pub(super) fn unique_names(wanted: &Wanted, label: &Label) -> Vec<Name> {
    let services = instances(&wanted.services, label).into_iter();
    std::iter::once(host(label)).chain(services.map(|(instance, _)| instance)).collect()
}

fn host(label: &Label) -> Name {
    Name::local(label.as_str()).expect("a label fits")
}

/// The name of each service, and the service. Where a type is there more than once, the later ones have their port in
/// their name.
fn instances<'a>(services: &'a [Service], label: &Label) -> Vec<(Name, &'a Service)> {
    let mut named = Vec::new();
    for (at, service) in services.iter().enumerate() {
        let [name, protocol] = service.labels();
        let again = services[..at].iter().any(|before| before.kind().eq_ignore_ascii_case(&service.kind()));
        let ending = if again { format!(" ({})", service.port()) } else { String::new() };
        let full = Name::new([label.with(&ending).as_str(), &name, &protocol, "local"])
            .expect("the labels of a service are short");
        named.push((full, service));
    }
    named
}

/// All records of a name: addresses, the way back, services, and what is not there.
fn records(wanted: &Wanted, label: &Label) -> Vec<Owned> {
    let host = host(label);
    let mut records = Vec::new();
    if wanted.addresses.is_empty() {
        return records;
    }
    let mut add = |name: &Name, data: Data, ttl: u32, unique: bool| {
        let record = Record { name: name.clone(), data };
        records.push(Owned { record, ttl, unique });
    };
    for ip in &wanted.addresses {
        add(&host, Data::address(*ip), HOST_TTL, true);
        let reverse = Name::reverse(*ip);
        add(&reverse, Data::Ptr(host.clone()), HOST_TTL, true);
        add(&reverse, Data::only(&[kind::PTR]), HOST_TTL, true);
    }
    let mut kinds: Vec<u16> = wanted.addresses.iter().map(|ip| Data::address(*ip).kind()).collect();
    kinds.sort_unstable();
    add(&host, Data::only(&kinds), HOST_TTL, true);
    for (instance, service) in instances(&wanted.services, label) {
        let [name, protocol] = service.labels();
        let of_kind = Name::new([name.as_str(), &protocol, "local"]).expect("a type is short");
        add(&services_of_the_link(), Data::Ptr(of_kind.clone()), OTHER_TTL, false);
        add(&of_kind, Data::Ptr(instance.clone()), OTHER_TTL, false);
        let target = host.clone();
        add(&instance, Data::Srv { priority: 0, weight: 0, port: service.port(), target }, HOST_TTL, true);
        add(&instance, Data::Txt(service.text()), OTHER_TTL, true);
        add(&instance, Data::only(&[kind::TXT, kind::SRV]), HOST_TTL, true);
    }
    records
}

/// The name whose pointers list the types of services (RFC 6763, 9).
pub(super) fn services_of_the_link() -> Name {
    Name::new(["_services", "_dns-sd", "_udp", "local"]).expect("it is short")
}
