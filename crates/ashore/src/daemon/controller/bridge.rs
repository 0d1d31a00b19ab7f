//! Moves the host's NIC into a bridge and out of it, with confirmation or rollback.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ashore_core::api::about::About;
use ashore_core::api::refusal::{self as refused, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::MoveSpec;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::step::Step;
use ashore_core::plan::nic_move::{Direction, Move};
use ashore_kernel::{Kernel, OnError, StepError};

use super::{Controller, Inner, Locked};
use crate::daemon::{guard, refusal, witness};
use crate::trial::{Held, Trial, TrialFile};
use crate::unlocked::Unlocked;

/// How long the router may take to answer before the move, and after it.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(5);

/// A new bridge passes frames as soon as the kernel has seen that its port does. This takes a few
/// milliseconds.
const CARRIER: Duration = Duration::from_secs(2);

impl Controller {
    /// Moves the NIC, and puts it back if the router cannot be reached afterwards. What is slow is done
    /// without the lock.
    pub(super) fn move_nic(&self, unlocked: &mut Unlocked, spec: &MoveSpec) -> Result<Reply, Refusal> {
        self.check_nothing_on_trial(unlocked)?;
        self.check_router_answers(unlocked, spec)?;
        let moved = self.lock(unlocked).planned_move(spec)?;
        let length = Duration::from_secs(spec.seconds.into());
        let trial = Trial::new(moved, length, self.copies.host()).map_err(|error| no_trial(&error))?;
        self.trial.begin(unlocked, &trial).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => on_trial(&trial.moved.bridge),
            _ => no_trial(&error),
        })?;
        self.moves.fetch_add(1, Ordering::SeqCst);
        let guarded = guard::start(unlocked, &self.trial).and_then(|()| Ok(watch(unlocked, &self.trial)?));
        if let Err(error) = guarded {
            let _ = self.trial.forget(unlocked);
            return Err(no_trial(&format!("{error:#}")));
        }
        self.carry_out_move(unlocked, spec)?;
        let moved = &trial.moved;
        if let Some(router) = moved.router {
            let host = self.lock(unlocked).observe(&[])?.host;
            let link = host.link(moved.to());
            let answers =
                link.map(|link| witness::answers(unlocked, self.copies.host(), link, router, AFTER));
            if !matches!(answers, Some(Ok(true))) {
                self.put_back(unlocked)?;
                return Err(silent_after(moved, router));
            }
        }
        match self.trial.read(unlocked) {
            Ok(Some((there, _))) if there == trial => {
                Ok(Reply::OnTrial { moved: trial.moved.clone(), seconds: trial.left().as_secs() })
            }
            _ => Err(put_back_meanwhile()),
        }
    }

    /// Refuses the move if the router does not answer before it: its silence after the move would mean
    /// nothing.
    fn check_router_answers(&self, unlocked: &mut Unlocked, spec: &MoveSpec) -> Result<(), Refusal> {
        let (moved, host) = {
            let inner = self.lock(unlocked);
            (inner.planned_move(spec)?, inner.observe(&[])?.host)
        };
        let from = match moved.direction {
            Direction::Adopt => &moved.nic,
            Direction::Release => &moved.bridge,
        };
        let (Some(router), Some(link)) = (moved.router, host.link(from)) else { return Ok(()) };
        match witness::answers(unlocked, self.copies.host(), link, router, BEFORE) {
            Ok(true) => Ok(()),
            _ => Err(Refusal::new(
                refused::Code::RouterSilent,
                About::address(router).on(from),
                format!(
                    "the router {router} does not answer on `{from}` now, so its silence after the move would mean nothing"
                ),
                Some(Remedy::from("make sure that it answers first: ").and_run(format!("ping {router}"))),
            )),
        }
    }

    /// Does all steps or none. Nothing else ends the trial meanwhile.
    fn carry_out_move(&self, unlocked: &mut Unlocked, spec: &MoveSpec) -> Result<(), Refusal> {
        let held = self.trial.hold(unlocked).map_err(|error| no_trial(&error))?;
        let held = held.ok_or_else(put_back_meanwhile)?;
        // A network may have come before the trial kept it away.
        let still_moves = self.lock(unlocked).planned_move(spec);
        if let Err(refusal) = still_moves {
            held.forget(unlocked).map_err(|error| no_trial(&error))?;
            return Err(refusal);
        }
        let moved = held.trial.moved.clone();
        for step in moved.first.iter().chain(&moved.then) {
            tracing::info!(target: "ashore::step", "{step}");
        }
        let all_or_none = |unlocked: &mut Unlocked, steps: &[Step]| {
            let outcome = self.lock(unlocked).kernel.apply(steps, OnError::Undo);
            outcome.errors.first().map_or(Ok(()), |error| Err(refusal::step(error)))
        };
        let comes_up = |unlocked: &mut Unlocked| {
            if self.comes_up(unlocked, &moved) { Ok(()) } else { Err(no_carrier(&moved)) }
        };
        let done = all_or_none(unlocked, &moved.first)
            .and_then(|()| comes_up(unlocked))
            .and_then(|()| all_or_none(unlocked, &moved.then));
        if done.is_err() {
            held.put_back(unlocked, |unlocked, steps| self.put_back_steps(unlocked, steps));
        }
        done
    }

    /// Waits until the link that the host moves to can pass frames.
    fn comes_up(&self, unlocked: &mut Unlocked, moved: &Move) -> bool {
        let Ok(reader) = self.copies.reader(unlocked) else { return false };
        let end = Instant::now() + CARRIER;
        loop {
            let host = reader.observe(&[]).map(|observed| observed.host);
            if host.is_ok_and(|host| host.link(moved.to()).is_some_and(|link| link.carrier)) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            unlocked.sleep(Duration::from_millis(1));
        }
    }

    fn put_back(&self, unlocked: &mut Unlocked) -> Result<(), Refusal> {
        let held = self.trial.hold(unlocked).map_err(|error| no_trial(&error))?;
        let errors = held.map_or_else(Vec::new, |held| {
            held.put_back(unlocked, |unlocked, steps| self.put_back_steps(unlocked, steps))
        });
        errors.first().map_or(Ok(()), |error| Err(refusal::step(error)))
    }

    fn put_back_steps(&self, unlocked: &mut Unlocked, steps: &[Step]) -> Vec<StepError> {
        self.lock(unlocked).kernel.apply(steps, OnError::GoOn).errors
    }

    /// Keeps the move. A repeated call gets the same answer: the client may have lost the first one, or have
    /// more to do.
    pub(super) fn keep_move(&self, unlocked: &mut Unlocked) -> Result<Reply, Refusal> {
        let Some(held) = self.trial.hold(unlocked).map_err(|error| no_trial(&error))? else {
            return match self.trial.kept_move(unlocked) {
                Ok(Some(moved)) => Ok(Reply::Kept { moved, warnings: Vec::new() }),
                _ => Err(Refusal::of(
                    refused::Code::NoTrial,
                    "no move of a NIC is on trial; one that was not confirmed in time is put back",
                    Remedy::from("begin one with: ").and_run("ashore bridge adopt NIC BRIDGE"),
                )),
            };
        };
        let moved = held.keep(unlocked).map_err(|error| no_trial(&error))?;
        let last = self.lock(unlocked).kernel.apply(&moved.last, OnError::GoOn);
        let warnings = last.errors.iter().map(ToString::to_string).collect();
        Ok(Reply::Kept { moved, warnings })
    }

    /// Continues a trial that an earlier daemon began.
    pub(crate) fn resume_trial(&self, unlocked: &mut Unlocked) {
        let resumed = match self.trial.read(unlocked) {
            Ok(None) => return,
            Ok(Some((trial, _))) if TrialFile::is_of(&trial, self.copies.host()) => {
                watch(unlocked, &self.trial)
            }
            Ok(Some((trial, _))) => {
                tracing::info!(bridge = %trial.moved.bridge, "a trial ended with the host's last start");
                self.trial.forget(unlocked)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = resumed {
            tracing::error!("{}: {error}", self.trial.path().display());
        }
    }

    fn check_nothing_on_trial(&self, unlocked: &mut Unlocked) -> Result<(), Refusal> {
        match self.trial.read(unlocked) {
            Ok(Some((trial, _))) => Err(on_trial(&trial.moved.bridge)),
            _ => Ok(()),
        }
    }

    /// Takes the lock, and returns with it the move that is on trial. Its file is read first, and again if a
    /// move has begun since.
    pub(super) fn lock_beside_trial<'a>(
        &'a self,
        mut unlocked: &'a mut Unlocked,
    ) -> (Locked<'a>, Option<Move>) {
        loop {
            let moves = self.moves.load(Ordering::SeqCst);
            let trial = self.trial.read(unlocked).ok().flatten().map(|(trial, _)| trial.moved);
            let inner = self.lock(unlocked);
            if self.moves.load(Ordering::SeqCst) == moves {
                return (inner, trial);
            }
            unlocked = inner.release();
        }
    }

    /// What `ashore status` reports about a trial.
    pub(super) fn on_trial(&self, unlocked: &mut Unlocked) -> Option<Trouble> {
        let (trial, _) = self.trial.read(unlocked).ok()??;
        let Move { nic, bridge, direction, .. } = &trial.moved;
        let way = match direction {
            Direction::Adopt => "into",
            Direction::Release => "out of",
        };
        let left = trial.left().as_secs();
        let message = format!(
            "`{nic}` was moved {way} the bridge `{bridge}`, and is put back in {left} s unless that is confirmed"
        );
        let remedy = Remedy::run("ashore bridge confirm");
        Some(Trouble::new(Code::MoveOnTrial, About::parent(nic), message, Some(remedy)))
    }
}

impl Inner {
    pub(super) fn planned_move(&self, spec: &MoveSpec) -> Result<Move, Refusal> {
        let MoveSpec { direction, nic, bridge, .. } = spec;
        let host: View = self.observe(&[])?.host;
        let nic = &host.resolved(nic);
        let from = match direction {
            Direction::Adopt => nic,
            Direction::Release => bridge,
        };
        let unmovable = self.kernel.unmovable(from).map_err(|error| refusal::kernel(&error))?;
        let planned = match direction {
            Direction::Adopt => self.state().adopt_nic(nic, bridge, &host, &unmovable),
            Direction::Release => self.state().release_nic(nic, bridge, &host, &unmovable),
        };
        planned.map_err(|error| refusal::bridge(&error))
    }
}

/// Puts the host back when the trial's time is over. The guard does the same, and the first of the two
/// succeeds.
fn watch(unlocked: &Unlocked, file: &TrialFile) -> std::io::Result<()> {
    let Some((trial, mark)) = file.read(unlocked)? else { return Ok(()) };
    let file = Arc::new(file.clone());
    let over = move |unlocked: &mut Unlocked| {
        while file.goes_on(unlocked, mark) {
            let left = trial.left();
            if left.is_zero() {
                return put_back_alone(unlocked, &file);
            }
            unlocked.sleep(guard::LOOK.min(left));
        }
        Ok(())
    };
    let run = move || {
        if let Err(error) = over(&mut Unlocked::of_this_thread()) {
            tracing::error!("a NIC's move on trial: {error:#}");
        }
    };
    std::thread::Builder::new().name("trial".into()).spawn(run).map(drop)
}

/// Puts the host back with sockets of its own, because a request may be using the Controller's.
fn put_back_alone(unlocked: &mut Unlocked, file: &TrialFile) -> anyhow::Result<()> {
    let kernel = Kernel::here()?;
    file.hold(unlocked)?.map(|held: Held| held.put_back_by(unlocked, &kernel));
    Ok(())
}

/// Refuses a network on a link that may be gone in a minute, because the network would be gone with it.
pub(super) fn check_not_on_trial(trial: Option<&Move>, link: &IfName) -> Result<(), Refusal> {
    match trial.filter(|moved| *link == moved.nic || *link == moved.bridge) {
        Some(moved) => Err(on_trial(&moved.bridge)),
        None => Ok(()),
    }
}

fn on_trial(bridge: &IfName) -> Refusal {
    Refusal::new(
        refused::Code::MoveOnTrial,
        About::parent(bridge),
        format!("a NIC's move into or out of the bridge `{bridge}` is on trial"),
        Some(
            Remedy::from("keep it first, with: ")
                .and_run("ashore bridge confirm")
                .and("; or wait until it is put back"),
        ),
    )
}

fn no_trial(error: &(impl ToString + ?Sized)) -> Refusal {
    let message =
        format!("nothing was moved, because the way back could not be secured: {}", error.to_string());
    Refusal::new(refused::Code::TrialNotSecured, About::default(), message, None)
}

fn no_carrier(moved: &Move) -> Refusal {
    let message = format!("`{}` does not come up; everything was put back", moved.to());
    Refusal::new(refused::Code::MovePutBack, About::parent(moved.to()), message, None)
}

fn silent_after(moved: &Move, router: std::net::IpAddr) -> Refusal {
    Refusal::new(
        refused::Code::MovePutBack,
        About::address(router).on(moved.to()),
        format!(
            "the router {router} did not answer on `{}` within {} s, and everything was put back",
            moved.to(),
            AFTER.as_secs()
        ),
        Some(
            Remedy::from("look for a firewall on this host that drops frames crossing a bridge: ")
                .and_run("nft list ruleset"),
        ),
    )
}

fn put_back_meanwhile() -> Refusal {
    Refusal::of(
        refused::Code::MovePutBack,
        "the trial's time ended before the move was complete, and everything was put back",
        "allow more time with --timeout",
    )
}
