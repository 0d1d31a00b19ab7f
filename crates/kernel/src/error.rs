//! Errors that the kernel returned, as readable messages.

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
    /// The system error.
    pub source: io::Error,
}

/// A container's namespace could not be opened, entered or read. The namespace may still exist.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InsideError {
    #[error("it cannot be opened: {}", without_path(.0))]
    Open(NamespaceError),
    #[error("it cannot be entered: {0}")]
    Enter(io::Error),
    #[error("{what} cannot be read: {source}", what = .0.what, source = .0.source)]
    Read(#[from] ObserveError),
}

/// Formats the error without the path, because the caller already shows the path.
fn without_path(error: &NamespaceError) -> String {
    match error {
        NamespaceError::System { source, .. } => source.to_string(),
        NamespaceError::Permission(_) => "permission denied".into(),
        NamespaceError::Missing(_) | NamespaceError::Other(_) => "there is no network namespace".into(),
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
    /// The kernel's error text (extended acknowledgement), if there is one.
    pub kernel_says: Option<String>,
}

impl StepError {
    pub(crate) fn new(step: &Step, nack: Nack) -> Self {
        StepError { step: step.clone(), errno: nack.errno, kernel_says: nack.says }
    }

    /// Whether the kernel does not have what the step needs, or may not load it.
    pub fn is_missing(&self) -> bool {
        self.errno == Errno::EOPNOTSUPP
    }

    /// A remedy for the error. Returns `None` if none is known.
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
                format!("the kernel module {module} is missing or not loaded: modprobe {module}")
            }
            (Errno::EACCES, _) if is_ipv6(&self.step) => {
                format!(
                    "IPv6 is off there: {}sysctl -w net.ipv6.conf.all.disable_ipv6=0",
                    self.step.place().enter()
                )
            }
            (Errno::EPERM | Errno::EACCES, _) => {
                "run the daemon as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN".into()
            }
            (Errno::EBUSY, Some(_)) => {
                "an interface can carry only one of macvlan, ipvlan and bridge: `ip -d link` shows which"
                    .into()
            }
            (Errno::EEXIST, Some(_)) => "a link with that name already exists: `ip link` shows it".into(),
            // The kernel reports this when the child goes up, not when it is created (Linux 6.18).
            (Errno::EADDRINUSE, _) => {
                "another link on this parent has that MAC: `ip -d link` shows it".into()
            }
            (Errno::ENODEV, _) => "the interface is gone: `ip link` lists the interfaces".into(),
            _ => return None,
        })
    }
}

/// Returns whether a step gives a link an IPv6 address or route. The kernel refuses such a step with `EACCES`
/// if IPv6 is disabled, and with `EPERM` if the caller lacks the privilege.
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
