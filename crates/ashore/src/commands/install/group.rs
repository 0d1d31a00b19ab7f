//! The group whose members may use the read socket. systemd-sysusers makes it from a file, which also records
//! that Ashore made it: a group that was there before is used, and never removed.

use nix::unistd::Group;

use super::action::Action;
use super::sysusers::{FILE, SYSUSERS, groupdel};
use super::{Host, make_directory, unit};
use crate::client::GROUP;

/// The actions that make the group, if there is none and the host can make it.
pub(super) fn make_actions(host: &Host) -> Vec<Action> {
    let path = host.at(FILE);
    let is_there = exists(host);
    if !host.at(SYSUSERS).exists() || (is_there && !path.exists()) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if !path.exists() {
        actions.extend(path.parent().and_then(make_directory));
        actions.push(Action::Write { path, text: unit::sysusers() });
    }
    // A tree that does not run makes it when it boots.
    if host.is_this() && !is_there {
        actions.push(Action::MakeGroup);
    }
    actions
}

/// The actions that remove the group if Ashore made it, and the descriptions of what is left.
pub(super) fn remove_actions(host: &Host) -> (Vec<Action>, Vec<String>) {
    let (mut actions, mut left) = (Vec::new(), Vec::new());
    let path = host.at(FILE);
    let Ok(text) = std::fs::read_to_string(&path) else { return (actions, left) };
    if !unit::is_untouched(&text) {
        left.push(format!("{}, which was changed since it was written", path.display()));
        return (actions, left);
    }
    if exists(host) {
        if host.is_this() && groupdel().is_some() {
            actions.push(Action::RemoveGroup);
        } else {
            left.push(format!("the group {GROUP}, which `groupdel {GROUP}` removes"));
        }
    }
    actions.push(Action::RemoveFile(path));
    (actions, left)
}

/// Whether the host has the group. If that cannot be found out, the group counts as another's.
fn exists(host: &Host) -> bool {
    if host.is_this() {
        return !matches!(Group::from_name(GROUP), Ok(None));
    }
    let groups = std::fs::read(host.at("/etc/group")).unwrap_or_default();
    groups
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b':').next() == Some(GROUP.as_bytes()))
}
