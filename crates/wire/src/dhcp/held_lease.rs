//! The lease that a client of either protocol holds, and what it still has to report about it.

use std::fmt::Debug;
use std::time::Duration;

use crate::Boottime;

use super::{Action, Loss};

/// What a server assigns, without what is specific to DHCPv4 or DHCPv6.
pub trait Lease: Clone + Debug + PartialEq {
    /// The type of the address.
    type Ip: Copy + Debug + PartialEq;
    /// A part of a lease that can change from one lease to the next.
    type Part: Clone + Debug + PartialEq;

    /// The address.
    fn ip(&self) -> Self::Ip;

    /// When the lease expires, in seconds from the request for it. `None` if it never expires.
    fn end(&self) -> Option<u32>;

    /// The parts that differ from an earlier lease. Times are not compared.
    fn changes(&self, before: &Self) -> Vec<Self::Part>;
}

/// A lease with the time at which it began. It counts from the request for it, which is never later than the
/// server's own start of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<L> {
    /// The lease.
    pub lease: L,
    /// When it was requested.
    pub since: Boottime,
}

impl<L: Lease> Held<L> {
    /// The address.
    pub fn ip(&self) -> L::Ip {
        self.lease.ip()
    }

    /// When the lease expires. `None` if it never does.
    pub fn expires(&self) -> Option<Boottime> {
        self.lease.end().map(|end| self.after(end))
    }

    /// Whether the lease is still valid at time `now`.
    pub fn is_good(&self, now: Boottime) -> bool {
        self.expires().is_none_or(|end| now < end)
    }

    /// The moment that is `seconds` after the request for the lease.
    pub(crate) fn after(&self, seconds: u32) -> Boottime {
        self.since + Duration::from_secs(seconds.into())
    }
}

/// A lease from the record, passed to a client that resumes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<L> {
    /// The lease.
    pub lease: L,
    /// How long ago it was obtained, by a clock that has not been set back. `Duration::MAX` if unknown.
    pub age: Duration,
    /// Whether its address is already on the link.
    pub in_use: bool,
}

/// How a lease became valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<Part> {
    /// Its address was not in use before.
    New,
    /// An earlier lease goes on, and these parts of it have changed.
    Renewed(Vec<Part>),
}

/// What is still to be reported about the held lease.
#[derive(Debug, Clone)]
enum News<Part> {
    Bound(Change<Part>),
    Unconfirmed,
}

/// The lease that a client holds, and the reports that are due.
#[derive(Debug, Clone)]
pub(crate) struct HeldLease<L: Lease> {
    /// The valid lease, whether or not it has been reported.
    held: Option<Held<L>>,
    /// Whether its address is in use, which it is from the moment the lease is reported.
    in_use: bool,
    news: Option<News<L::Part>>,
    lost: Option<Loss>,
}

impl<L: Lease> HeldLease<L> {
    /// No lease.
    pub(crate) fn none() -> Self {
        HeldLease { held: None, in_use: false, news: None, lost: None }
    }

    /// Resumes a recorded lease. It is not resumed if it has expired, or if its age is unknown; if its
    /// address was in use, its loss is reported.
    pub(crate) fn resumed(recorded: Recorded<L>, now: Boottime) -> Self {
        let Recorded { lease, age, in_use } = recorded;
        // The age of a lease that never expires does not matter.
        let since = now.checked_sub(age).or(lease.end().is_none().then_some(now));
        let held = since.map(|since| Held { lease, since });
        match held.filter(|held| held.is_good(now)) {
            Some(held) => HeldLease { held: Some(held), in_use, ..HeldLease::none() },
            None => HeldLease { lost: in_use.then_some(Loss::Expired), ..HeldLease::none() },
        }
    }

    pub(crate) fn held(&self) -> Option<&Held<L>> {
        self.held.as_ref()
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// Whether the address was probed. Then it may stay in use, or go into use now.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.in_use || self.news.is_some()
    }

    /// Takes the report of a lost lease. Returns `None` if there is none.
    pub(crate) fn loss(&mut self) -> Option<Loss> {
        self.lost.take()
    }

    /// Takes the report about the held lease. The lease is in use from then on. Returns `None` if there is
    /// nothing to report.
    pub(crate) fn news<Outgoing>(&mut self) -> Option<Action<L, Outgoing>> {
        let (held, news) = (self.held.clone()?, self.news.take()?);
        self.in_use = true;
        Some(match news {
            News::Bound(change) => Action::Bound(held, change),
            News::Unconfirmed => Action::Unconfirmed(held),
        })
    }

    /// Drops the lease if it has expired. Returns its address in that case.
    pub(crate) fn expire(&mut self, now: Boottime) -> Option<L::Ip> {
        let ended = self.held.as_ref().filter(|held| !held.is_good(now)).map(Held::ip)?;
        self.lose(Loss::Expired);
        Some(ended)
    }

    /// Drops the lease. Its loss is not reported if the lease was new and has not been reported itself.
    pub(crate) fn lose(&mut self, loss: Loss) {
        let untold = matches!(self.news.take(), Some(News::Bound(Change::New)));
        if self.held.take().is_some() && !untold {
            self.lost = Some(loss);
        }
        self.in_use = false;
    }

    /// Makes `new` the held lease, and reports it.
    pub(crate) fn bind(&mut self, new: Held<L>) {
        let change = match &self.held {
            Some(before) if self.in_use => Change::Renewed(new.lease.changes(&before.lease)),
            _ => Change::New,
        };
        (self.held, self.news) = (Some(new), Some(News::Bound(change)));
    }

    /// Allows the use of the held lease although no server has confirmed it.
    pub(crate) fn use_unconfirmed(&mut self) {
        self.news = Some(News::Unconfirmed);
    }
}
