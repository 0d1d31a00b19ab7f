//! What the kernel refused, in words that a person can use.

use std::fmt;
use std::io;

use ashore_core::net::step::Step;
use nix::errno::Errno;

use crate::netlink::Nack;
use crate::netns::NamespaceError;

/// The kernel's state could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's network state could not be read ({what}): {source}")]
pub struct ObserveError {
    /// What was being read.
    pub what: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// A container's namespace could not be opened, entered or read: it may be there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsideError {
    #[error("it cannot be opened: {}", without_path(.0))]
    Open(NamespaceError),
    #[error("it cannot be entered: {0}")]
    Enter(io::Error),
    #[error("{what} cannot be read: {source}", what = .0.what, source = .0.source)]
    Read(#[from] ObserveError),
}

/// Whoever shows it says where it is.
fn without_path(error: &NamespaceError) -> String {
    match error {
        NamespaceError::System { source, .. } => source.to_string(),
        NamespaceError::Permission(_) => "this user may not".into(),
        NamespaceError::Missing(_) | NamespaceError::Other(_) => "it is not there".into(),
    }
}

impl InsideError {
    pub(crate) fn errno(&self) -> Errno {
        let source = match self {
            InsideError::Open(NamespaceError::System { source, .. })
            | InsideError::Enter(source)
            | InsideError::Read(ObserveError { source, .. }) => source,
            InsideError::Open(_) => return Errno::EACCES,
        };
        source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
    }
}

/// A step that the kernel refused.
#[derive(Debug, Clone)]
pub struct StepError {
    /// The step.
    pub step: Step,
    /// The kernel's error number.
    pub errno: Errno,
    /// The kernel's own words, where it has some.
    pub kernel_says: Option<String>,
}

impl StepError {
    pub(crate) fn new(step: &Step, nack: Nack) -> Self {
        StepError { step: step.clone(), errno: nack.errno, kernel_says: nack.says }
    }

    /// What helps, where that is known.
    pub fn hint(&self) -> Option<String> {
        let kind = match &self.step {
            Step::AddLink { link, .. } => match link.kind {
                ashore_core::net::link::LinkType::Ipvlan { .. } => Some("ipvlan"),
                ashore_core::net::link::LinkType::Vlan { .. } => Some("8021q"),
                ashore_core::net::link::LinkType::Macvlan { .. } => Some("macvlan"),
                ashore_core::net::link::LinkType::Veth { .. } => Some("veth"),
                ashore_core::net::link::LinkType::Bridge => Some("bridge"),
            },
            _ => None,
        };
        Some(match (self.errno, kind) {
            (Errno::EOPNOTSUPP, Some(module)) => {
                format!("this kernel has no {module} or has not loaded it: modprobe {module}")
            }
            (Errno::EACCES, _) if is_ipv6(&self.step) => {
                format!("IPv6 is off there: {}sysctl -w net.ipv6.conf.all.disable_ipv6=0", self.step.place().enter())
            }
            (Errno::EPERM | Errno::EACCES, _) => "run the daemon as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN".into(),
            (Errno::EBUSY, Some(_)) => {
                "an interface carries one of macvlan, ipvlan and bridge: `ip -d link` shows what is on the parent".into()
            }
            (Errno::EEXIST, Some(_)) => "a link of that name is in the way: `ip link` shows it".into(),
            // A child of a parent is told so when it goes up, not when it is made (Linux 6.18).
            (Errno::EADDRINUSE, _) => "another link on this parent has that MAC: `ip -d link` shows it".into(),
            (Errno::ENODEV, _) => "the interface has gone meanwhile: `ip link` shows what there is".into(),
            _ => return None,
        })
    }
}

/// Whether a step gives a link an IPv6 address or route, which the kernel refuses with `EACCES` where IPv6 is disabled, and
/// for want of a privilege with `EPERM`.
fn is_ipv6(step: &Step) -> bool {
    match step {
        Step::AddAddress { address, .. } => address.net.addr().is_ipv6(),
        Step::SetRoute { route, .. } => route.to.addr().is_ipv6(),
        _ => false,
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {} ({:?})", self.step, self.errno.desc(), self.errno)?;
        match &self.kernel_says {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StepError {}
