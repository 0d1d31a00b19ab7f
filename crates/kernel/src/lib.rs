//! The kernel side of Ashore. This is the only crate with privileges and with `unsafe` code. It contains no
//! policy.
//!
//! [`Kernel::observe`] reads the current state. [`Kernel::apply`] performs steps and undoes them. [`Watch`]
//! reports that something changed. All calls block, so a caller that must not wait uses a thread. Only
//! short-lived threads enter a namespace, so the caller's own namespace never changes. A socket stays in the
//! namespace where it was opened.

mod apply;
mod bytes;
mod clock;
mod cookie;
mod error;
mod firewall;
mod genetlink;
mod group;
mod held;
mod holders;
mod kernel;
mod known_routes;
mod known_views;
mod listen_fds;
mod lock;
mod message;
mod mountinfo;
mod netlink;
mod netns;
mod nsfs;
mod numbered;
mod observe;
mod packet;
mod passed;
mod ports;
mod process;
pub mod read;
mod sandbox;
mod taken_in;
mod unmovable;
mod walk;
mod watch;

pub use apply::{OnError, Outcome};
pub use clock::{Alarm, asleep, boottime};
pub use cookie::this_boot;
pub use error::{ObserveError, StepError};
pub use firewall::{Apart, At, By, Fate, Firewall, Hook, Packets, Rules, bridged_pass_hooks};
pub use genetlink::generic_command;
pub use group::GroupSocket;
pub use holders::Holders;
pub use kernel::Kernel;
pub use listen_fds::{ListenFdsError, inherited_listeners};
pub use lock::{LockError, NamespaceLock};
pub use netns::{Found, Namespace, NamespaceError};
pub use nix::errno::Errno;
pub use numbered::Lives;
pub use packet::{PacketSocket, Waker, wait_readable};
pub use passed::{end, peer_groups, peer_uid, read_bare, receive, take_no_descriptors};
pub use ports::has_dhcp_server;
pub use process::{
    EndSignals, InNamespace, in_own_session, is_in_users_namespace, kill_with_parent, raise_descriptor_limit,
    share_memory,
};
pub use sandbox::{SandboxError, enter_sandbox};
pub use watch::Watch;
