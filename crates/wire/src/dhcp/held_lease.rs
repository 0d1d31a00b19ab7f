//! The lease that a client has, by whichever protocol, and what is still to be told of it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use super::{Action, Loss};

/// What a server gives, as far as it does not matter by which protocol.
pub trait Lease: Clone + Debug + PartialEq {
    /// The kind of address.
    type Ip: Copy + Debug + PartialEq;
    /// What of a lease may differ from another.
    type Part: Clone + Debug + PartialEq;

    /// The address.
    fn ip(&self) -> Self::Ip;

    /// When it ends, in seconds from when it was asked for; none if never.
    fn end(&self) -> Option<u32>;

    /// In what it differs from an earlier one; its times are not looked at.
    fn changes(&self, before: &Self) -> Vec<Self::Part>;
}

/// A lease, and since when it runs: since it was asked for, which is never later than the server's own beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<L> {
    /// The lease.
    pub lease: L,
    /// Since when.
    pub since: Instant,
}

impl<L: Lease> Held<L> {
    /// The address.
    pub fn ip(&self) -> L::Ip {
        self.lease.ip()
    }

    /// When it ends; none if never.
    pub fn expires(&self) -> Option<Instant> {
        self.lease.end().map(|end| self.after(end))
    }

    /// Whether it still runs.
    pub fn is_good(&self, now: Instant) -> bool {
        self.expires().is_none_or(|end| now < end)
    }

    /// The moment that comes some seconds after it was asked for.
    pub(crate) fn after(&self, seconds: u32) -> Instant {
        self.since + Duration::from_secs(seconds.into())
    }
}

/// A lease from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<L> {
    /// The lease.
    pub lease: L,
    /// How long ago it was obtained, by a clock that nobody has set back; if that is unknown, `Duration::MAX`.
    pub age: Duration,
    /// Whether its address is on the link already.
    pub in_use: bool,
}

/// How a lease became good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<Part> {
    /// Its address was not in use before.
    New,
    /// It goes on, and this of it is not as it was.
    Renewed(Vec<Part>),
}

/// What is still to be told about the lease that is held.
#[derive(Debug, Clone)]
enum News<Part> {
    Bound(Change<Part>),
    Unconfirmed,
}

/// The lease that a client has.
#[derive(Debug, Clone)]
pub(crate) struct HeldLease<L: Lease> {
    /// The one that is good, whether or not it has been told of.
    held: Option<Held<L>>,
    /// Whether its address is in use: that it may be has been told.
    in_use: bool,
    news: Option<News<L::Part>>,
    lost: Option<Loss>,
}

impl<L: Lease> HeldLease<L> {
    /// None.
    pub(crate) fn none() -> Self {
        HeldLease { held: None, in_use: false, news: None, lost: None }
    }

    /// One from before, unless it has ended, or nobody knows whether it has.
    pub(crate) fn resumed(recorded: Recorded<L>, now: Instant) -> Self {
        let Recorded { lease, age, in_use } = recorded;
        // Of one that never ends it does not matter.
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

    /// Whether its address was looked for, so that it may go on being used, or be used at last.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.in_use || self.news.is_some()
    }

    /// What is to be told of the lease that is no more.
    pub(crate) fn loss(&mut self) -> Option<Loss> {
        self.lost.take()
    }

    /// What is to be told of the one that is held. From then on it is in use.
    pub(crate) fn news<Outgoing>(&mut self) -> Option<Action<L, Outgoing>> {
        let (held, news) = (self.held.clone()?, self.news.take()?);
        self.in_use = true;
        Some(match news {
            News::Bound(change) => Action::Bound(held, change),
            News::Unconfirmed => Action::Unconfirmed(held),
        })
    }

    /// Gives it up if it has ended, and answers its address then.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<L::Ip> {
        let ended = self.held.as_ref().filter(|held| !held.is_good(now)).map(Held::ip)?;
        self.lose(Loss::Expired);
        Some(ended)
    }

    /// It is no more. A new one of which nobody has been told is not worth a word.
    pub(crate) fn lose(&mut self, loss: Loss) {
        let untold = matches!(self.news.take(), Some(News::Bound(Change::New)));
        if self.held.take().is_some() && !untold {
            self.lost = Some(loss);
        }
        self.in_use = false;
    }

    /// A lease is good from now on.
    pub(crate) fn bind(&mut self, new: Held<L>) {
        let change = match &self.held {
            Some(before) if self.in_use => Change::Renewed(new.lease.changes(&before.lease)),
            _ => Change::New,
        };
        (self.held, self.news) = (Some(new), Some(News::Bound(change)));
    }

    /// It may be used, though no server has said so.
    pub(crate) fn use_unconfirmed(&mut self) {
        self.news = Some(News::Unconfirmed);
    }
}
