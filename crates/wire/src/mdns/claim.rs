//! One name of the LAN that is wished for: its records, and how far it has come.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::Boottime;

use super::label::Label;
use super::message::{Question, Said};
use super::name::{LONGEST_LABEL, Name};
use super::record::{Data, Record, kind};
use super::service::{MOST_SERVICES, Service};

/// The most addresses of a name, and the most others that are its container's.
pub const MOST_ADDRESSES: usize = 16;
/// The lifetime of records that have a host's name or address in them (RFC 6762, 10).
pub const HOST_TTL: u32 = 120;
/// The lifetime of others.
pub const OTHER_TTL: u32 = 4500;
/// The number of probes (RFC 6762, 8.1).
pub(super) const PROBES: u8 = 3;

/// What is to be published of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The label. Where it was renamed earlier, the one that it has since.
    pub label: Label,
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
    /// It is asked whether anybody has the name.
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
    records: Vec<Owned>,
}

impl Claim {
    pub(super) fn new(wanted: Wanted, label: Label, now: Boottime) -> Self {
        let records = records(&wanted, &label);
        Claim { wanted, label, phase: Phase::Waiting, since: now, conflict: None, records }
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

    /// The names that nobody else may have: that of the host and those of its services.
    pub(super) fn names(&self) -> Vec<Name> {
        let services = instances(&self.wanted.services, &self.label).into_iter();
        std::iter::once(self.host()).chain(services.map(|(instance, _)| instance)).collect()
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

    /// Whether what is said comes from the same container: from one of its addresses, or it says that the name has one.
    /// A responder within the container may publish more than is known here.
    pub(super) fn is_own<'a>(&self, from: IpAddr, mut said: impl Iterator<Item = &'a Said>) -> bool {
        let host = self.host();
        let address =
            |said: &Said| said.record.name == host && said.record.data.ip().is_some_and(|ip| self.has(ip));
        self.has(from) || said.any(address)
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
            // Whoever says that something is not there says it of a name that has something else.
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
        let room = label.as_str().len().min(LONGEST_LABEL - ending.len());
        let instance = format!("{}{ending}", &label.as_str()[..room]);
        let full =
            Name::new([&instance, &name, &protocol, "local"]).expect("the labels of a service are short");
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
