//! Which of several hosts has an address. Today each host is alone, and has what it wants. Where hosts share a
//! store of their addresses, a claim is a compare-and-swap there, and so no two hosts choose one address.

use std::net::IpAddr;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::net::name::{EndpointName, NetworkName};

use crate::unlocked::Unlocked;

/// Where an address is claimed for a name before the LAN is asked for it. An address that a DHCP server gives is
/// not claimed: the server knows whom it has given it to.
pub(super) trait Claims: Send + Sync {
    /// Whether other hosts take part. Only then an address is claimed that the LAN was asked for ahead.
    fn are_shared(&self) -> bool;

    /// Claims an address for a name on a network. A claim of the same name holds already.
    fn claim(
        &self,
        unlocked: &Unlocked,
        name: &EndpointName,
        network: &NetworkName,
        ip: IpAddr,
    ) -> Result<(), Unclaimed>;

    /// Gives up a claim on an address that was not taken. It must not wait, because it may be called under the lock.
    fn release(&self, ip: IpAddr);
}

/// Why an address could not be claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(test), expect(dead_code, reason = "no store is shared yet"))]
pub(super) enum Unclaimed {
    #[error("{ip} is held by an endpoint on the host `{host}`")]
    HeldBy { ip: IpAddr, host: String },
    #[error("it cannot be found out whether another host has {ip}: {why}")]
    Unreachable { ip: IpAddr, why: String },
}

impl From<Unclaimed> for Refusal {
    fn from(unclaimed: Unclaimed) -> Self {
        let (code, ip, remedy) = match &unclaimed {
            Unclaimed::HeldBy { ip, .. } => {
                (Code::AddressHeld, *ip, "choose another address, or remove it there")
            }
            Unclaimed::Unreachable { ip, .. } => {
                (Code::NotWritten, *ip, "try again when the store that the hosts share can be reached")
            }
        };
        let about = About { address: Some(ip), ..About::default() };
        Refusal::of(code, unclaimed.to_string(), remedy).about(about)
    }
}

/// A host that shares its addresses with no other.
pub(super) struct Local;

impl Claims for Local {
    fn are_shared(&self) -> bool {
        false
    }

    fn claim(&self, _: &Unlocked, _: &EndpointName, _: &NetworkName, _: IpAddr) -> Result<(), Unclaimed> {
        Ok(())
    }

    fn release(&self, _: IpAddr) {}
}

/// A claim on an address. If it is dropped, it is given up, unless the address was taken.
pub(super) struct Claimed<'a>(Option<(&'a dyn Claims, IpAddr)>);

impl<'a> Claimed<'a> {
    pub(super) fn new(claims: &'a dyn Claims, ip: IpAddr) -> Self {
        Claimed(Some((claims, ip)))
    }

    /// The address was taken. The claim lasts as long as the name has the address.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if let Some((claims, ip)) = self.0.take() {
            claims.release(ip);
        }
    }
}
