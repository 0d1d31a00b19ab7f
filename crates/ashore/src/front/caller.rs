//! Who makes a call that `ashore-plug` carries, and the network namespace that came with it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::model::users::User;
use ashore_core::net::link::Netns;
use ashore_core::net::text::Shown;
use ashore_kernel::{Holders, Namespace};

/// Who called, as the kernel knows it, and what came with the call.
pub(crate) struct Caller {
    /// The user, if it is one other than root.
    pub(crate) user: Option<User>,
    /// The network namespace that the caller has opened, or why what it passed is none.
    pub(crate) netns: Result<Option<Named>, String>,
}

/// The network namespace that a caller has opened, as the call says.
pub(crate) enum Named {
    /// Root has passed it.
    Passed(Namespace),
    /// A user says that its file has these numbers of device and inode.
    Numbers(u64, u64),
}

/// The network namespace that a caller has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// A path by which this process reaches it.
    pub(crate) path: PathBuf,
    /// The numbers of its file, which stay its own as long as this is here.
    pub(crate) file: (u64, u64),
    /// It stays open until the call is answered.
    held: Namespace,
}

/// How long an engine's id of a container or network may be, in bytes. Engines have 64 digits, or add a word.
pub(super) const LONGEST_ID: usize = 192;

/// Checks an engine's id of a container or a network. It is kept, shown, and compared with the ids of others.
pub(super) fn check_id(what: &str, id: &str) -> Result<(), String> {
    let is_word = id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    match id.len() {
        length if length > LONGEST_ID => {
            Err(format!("the id of the {what} is {length} bytes long; at most {LONGEST_ID} fit"))
        }
        _ if is_word => Ok(()),
        _ => Err(format!("the id `{}` of the {what} is no word", Shown(id.as_bytes()))),
    }
}

/// Carries out a request.
pub(crate) type Handle<'a> = &'a dyn Fn(Request) -> Reply;

impl Caller {
    /// The namespace that the caller has opened, by a path that leads there. The caller's own path may lead elsewhere
    /// here, or nowhere: a container engine that runs without privileges has mounts of its own. No path that a user
    /// other than root has chosen is followed.
    pub(crate) fn opened(&self, path: &Path, unopened: Option<&str>) -> Result<Opened, String> {
        let shown = Shown(path.as_os_str().as_bytes());
        if let Some(why) = unopened {
            return Err(format!("the network namespace {shown} cannot be opened: {why}"));
        }
        let passed = self.netns.as_ref().map_err(Clone::clone)?;
        let passed =
            passed.as_ref().ok_or_else(|| format!("the network namespace {shown} was not passed"))?;
        let numbers = match passed {
            Named::Passed(passed) => passed.file(),
            Named::Numbers(dev, ino) => (*dev, *ino),
        };
        let leads = |path: &Path| {
            let held = Namespace::open(path).ok().filter(|found| found.file() == numbers)?;
            Some(Opened { path: path.to_owned(), file: numbers, held })
        };
        if self.user.is_none()
            && let Some(opened) = leads(path)
        {
            return Ok(opened);
        }
        let holders = Holders::look();
        let netns = Netns::new(path.to_owned(), numbers.0, numbers.1);
        // The caller's own descriptors end with it.
        let lasts = |path: &&Path| path.parent().is_none_or(|parent| !parent.ends_with("fd"));
        let mut lasting = holders.paths_of(&netns).filter(lasts);
        let found = lasting.find_map(leads).or_else(|| holders.paths_of(&netns).find_map(leads));
        let opened = found.ok_or_else(|| {
            let unseen = holders.unseen().filter(|_| self.user.is_none());
            let unseen = unseen.map_or_else(String::new, |why| format!(": {why}"));
            format!("the daemon does not reach the network namespace {shown} of its caller{unseen}")
        })?;
        match &self.user {
            None => Ok(opened),
            Some(user) => opened.of_user(user),
        }
    }
}

impl Opened {
    /// This, if a user has made it. What the user said counts for nothing: this is what the daemon has opened itself.
    fn of_user(self, user: &User) -> Result<Self, String> {
        match self.held.is_of_user(user.uid) {
            Ok(true) => Ok(self),
            Ok(false) => Err(format!(
                "the network namespace is not of a user namespace that {user} has made; only such a one may be attached"
            )),
            Err(error) => Err(format!("whose the network namespace is cannot be told: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_word_of_bounded_length() {
        for id in ["a828", "k8s.io-a828", &"f".repeat(LONGEST_ID)] {
            assert_eq!(check_id("container", id), Ok(()), "{id}");
        }
        for id in ["", "1000/a828", "../x", "-x", "a b", "a\u{1b}[2J", "\u{e4}", &"f".repeat(LONGEST_ID + 1)]
        {
            assert!(check_id("container", id).is_err(), "{id:?}");
        }
    }
}
