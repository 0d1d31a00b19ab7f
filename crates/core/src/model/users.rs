//! Users of the host other than root, and what root allows them: to put containers of their own on a network.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::name::EndpointName;

/// How many containers a user may have on the LAN at a time, on all networks together.
pub const MOST_ENDPOINTS: usize = 16;
/// How many names are remembered of a user, with those of the containers that are there.
pub const MOST_NAMES_OF_USER: usize = 32;

/// A user other than root, as the kernel knows whoever called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub uid: u32,
    /// The ids of the groups that the calling process was in.
    pub groups: Vec<u32>,
}

/// The users who may put containers of their own on a network. Root may always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// The ids of users.
    #[serde(default)]
    pub users: BTreeSet<u32>,
    /// The ids of groups, whose members may.
    #[serde(default)]
    pub groups: BTreeSet<u32>,
}

impl Allowed {
    /// Whether nobody but root may.
    pub fn is_nobody(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// Whether a user may.
    pub fn admits(&self, user: &User) -> bool {
        self.users.contains(&user.uid) || user.groups.iter().any(|group| self.groups.contains(group))
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, more: &Allowed) -> Allowed {
        Allowed { users: &self.users | &more.users, groups: &self.groups | &more.groups }
    }

    /// This without the other.
    #[must_use]
    pub fn without(&self, less: &Allowed) -> Allowed {
        Allowed { users: &self.users - &less.users, groups: &self.groups - &less.groups }
    }
}

impl User {
    /// The id of a container that this user's engine calls by an id. No engine of root's has such a one, and no other
    /// user's.
    pub fn container(&self, id: &str) -> String {
        format!("{}/{id}", self.uid)
    }

    /// Whether a name is of this user's containers.
    pub fn has_name(&self, name: &EndpointName) -> bool {
        name.user() == Some(self.uid)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_admitted_by_his_id_or_by_a_group_and_by_nothing_else() {
        let user = |uid, groups: &[u32]| User { uid, groups: groups.to_vec() };
        let allowed = Allowed { users: [1000].into(), groups: [50].into() };
        assert!(allowed.admits(&user(1000, &[])));
        assert!(allowed.admits(&user(1001, &[7, 50])));
        assert!(!allowed.admits(&user(1001, &[1000])), "a group with the number of a user");
        assert!(!allowed.admits(&user(50, &[])), "a user with the number of a group");
        assert!(!Allowed::default().admits(&user(1000, &[50])));
        assert!(allowed.without(&allowed).is_nobody());
        assert_eq!(Allowed::default().and(&allowed), allowed);
    }
}
