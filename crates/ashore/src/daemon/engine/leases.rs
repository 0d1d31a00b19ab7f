//! Leases: got for an endpoint that is about to be, and followed for as long as it is there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ashore_core::allocate::AddressError;
use ashore_core::attach::Wish;
use ashore_core::endpoint::{Endpoint, Source};
use ashore_core::lease::LeaseRecord;
use ashore_core::network::Network;
use ashore_core::observed::View;
use ashore_core::request::{Refusal, Reply, Reservation};
use ashore_core::state::{Change, EndpointKey};
use ashore_core::step::Family;
use ashore_core::{EndpointName, IfName};
use ashore_wire::conflict::Profile;
use ashore_wire::dhcp4::Loss;
use ipnet::IpNet;

use super::{Engine, Inner, Locked, all_netns};
use crate::daemon::lan::{Acquired, Wanted, Word, Words};
use crate::daemon::{random, refusal};

/// How long somebody waits for a lease: DISCOVERs after 0 and 4 s, a server that pings for 3 s before it offers, and a pause of
/// 10 s after an address that turned out to be another's.
const PATIENCE: Duration = Duration::from_secs(15);

impl Engine {
    /// Gets a lease for an endpoint to be, with the lock let go.
    pub(super) fn acquire<'a>(
        &'a self,
        inner: Locked<'a>,
        network: &Network,
        endpoint: &Endpoint,
        wish: Option<Ipv4Addr>,
        host: &View,
    ) -> Result<(Locked<'a>, Acquired<'a>), Refusal> {
        let wanted = Wanted::of(inner.state(), network, endpoint, host);
        let wanted = wanted.ok_or_else(|| refusal::no_mac(&network.parent))?;
        self.lan.follow(inner.state(), host);
        drop(inner);
        let is_free = |ip| self.is_free(network, &wanted.key, ip);
        let acquired = self.lan.acquire(Wanted { wish, ..wanted.clone() }, PATIENCE, is_free)?;
        let got = acquired.record().lease.address.addr();
        match wish.filter(|wish| *wish != got) {
            None => Ok((self.lock(), acquired)),
            Some(ip) => {
                let (got, mac) = (got.into(), wanted.mac);
                Err(refusal::attach(&AddressError::NotLeased { ip: ip.into(), got, mac }.into()))
            }
        }
    }

    /// Reserves an address of the LAN's DHCP server for a container of an engine's.
    pub(super) fn reserve_lease(
        &self,
        inner: Locked<'_>,
        wish: &Reservation,
        network: &Network,
        name: Option<EndpointName>,
        shim: &mut Option<IfName>,
    ) -> Result<Reply, Refusal> {
        // A server knows a container whose name is not known by an identity of its own.
        let nobody =
            || format!("unnamed-{:08x}", random() as u32).parse().expect("letters and digits are a name");
        let asked_as = name.clone().unwrap_or_else(nobody);
        let (draft, observed) = loop {
            let observed = inner.observe(&[])?;
            let usable = inner.state().usable_network(&network.name, &observed.host);
            usable.map_err(|error| refusal::attach(&error))?;
            if inner.brings_parent(network, &observed)? {
                continue;
            }
            let mac = Wish { name: &asked_as, ips: &[], mac: None, lease: None };
            let mac = inner.state().choose_mac(network, &mac, &observed.host);
            let mac = mac.map_err(|error| refusal::attach(&error))?;
            let draft = inner.reserved(network, Some(asked_as.clone()), wish.pool.net, false);
            let draft = Endpoint { mac, ..draft };
            if !self.brings_shim(&inner, network, &draft, &observed)? {
                break (draft, observed);
            }
            *shim = Some(network.parent.clone());
        };
        let asked = wish.ip.and_then(as_v4);
        let (mut inner, acquired) = self.acquire(inner, network, &draft, asked, &observed.host)?;
        let record = acquired.record().clone();
        let address = IpNet::from(record.lease.address);
        let reserved = Endpoint {
            mac: draft.mac,
            source: Source::Lease,
            lease: Some(Box::new(record)),
            ..inner.reserved(network, name, address, false)
        };
        let name = reserved.name.clone();
        inner.commit(vec![Change::PutEndpoint(reserved)])?;
        acquired.keep(name);
        self.follow(&inner, &observed);
        Ok(Reply::Address(address))
    }

    /// Whether an address that a server gave is nobody's: no other endpoint's, not the host's, no other machine's.
    fn is_free(&self, network: &Network, key: &EndpointKey, ip: Ipv4Addr) -> Result<bool, Refusal> {
        let ip = IpAddr::from(ip);
        let taken = {
            let inner = self.lock();
            let holder = inner.state().holder(ip);
            let others = holder.is_some_and(|holder| (&holder.network, &holder.name) != (&key.0, &key.1));
            others || inner.held.contains(&ip) || inner.observe(&[])?.host.has_address(ip)
        };
        if taken || network.conflict == Profile::Off {
            return Ok(!taken);
        }
        let probed = self.lan.probe(&network.parent, &[ip], network.conflict);
        probed.map_err(|deaf| refusal::deaf(&[ip], &deaf, refusal::CONFLICT_OFF))?;
        Ok(!self.lan.on_lan().contains_key(&ip))
    }

    /// Says where the words of leases go that nobody waits for.
    pub(crate) fn hear_of_leases(&self, words: Words) {
        self.lan.tell(words);
    }

    /// Follows leases for ever.
    pub(crate) fn follow_leases(&self, words: &Receiver<(EndpointKey, Word)>) {
        while let Ok((key, word)) = words.recv() {
            let done = match word {
                Word::Good(record) => self.has_lease(&key, Some(record)),
                Word::Lost(loss) => {
                    tracing::warn!(network = %key.0, name = %key.1, "its lease is lost: {}", said(&loss));
                    self.has_lease(&key, None)
                }
                Word::Probe(ip) => self.look_for_leased(&key, ip),
            };
            if let Err(refusal) = done {
                tracing::error!(network = %key.0, name = %key.1, "{refusal}");
            }
        }
    }

    /// The server has given it another address. One that cannot be looked for now is not used.
    fn look_for_leased(&self, key: &EndpointKey, ip: Ipv4Addr) -> Result<(), Refusal> {
        let Some(network) = self.lock().state().networks.get(&key.0).cloned() else { return Ok(()) };
        let free = self.is_free(&network, key, ip);
        self.lan.settle(key, ip, *free.as_ref().unwrap_or(&false));
        free.map(|_| ())
    }

    /// Writes down what became of a lease, and brings the container's link in line.
    fn has_lease(&self, key: &EndpointKey, record: Option<LeaseRecord>) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let Some(before) = inner.state().endpoints.get(key).cloned() else { return Ok(()) };
        let endpoint = with_lease(&before, record);
        inner.commit(vec![Change::PutEndpoint(endpoint.clone())])?;
        let on_link = |endpoint: &Endpoint| {
            let lease = endpoint.lease.as_ref().map(|record| &record.lease);
            lease.map(|lease| (lease.address, lease.routes.clone(), lease.mtu))
        };
        if on_link(&before) == on_link(&endpoint) {
            return Ok(());
        }
        tracing::info!(network = %key.0, name = %key.1, addresses = ?endpoint.addresses, "its lease has changed");
        let netns = all_netns(inner.state());
        let observed = inner.observe(&netns)?;
        let observed = inner.carry_out(&observed, &netns)?;
        self.follow(&inner, &observed);
        if before.addresses != endpoint.addresses {
            self.lan.announce(inner.state(), &endpoint);
        }
        Ok(())
    }
}

impl Inner {
    /// The address that is asked of a server.
    pub(super) fn wished(network: &Network, ips: &[IpAddr]) -> Option<Ipv4Addr> {
        ips.iter().copied().find_map(as_v4).filter(|_| network.leases(Family::Ipv4))
    }
}

fn as_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// An endpoint with another lease than before, or with none any more.
fn with_lease(before: &Endpoint, record: Option<LeaseRecord>) -> Endpoint {
    let (mut lost, mut addresses): (Vec<IpNet>, Vec<IpNet>) =
        before.addresses.iter().partition(|net| net.addr().is_ipv4());
    lost.extend(&before.lost);
    if let Some(record) = &record {
        let own = IpNet::from(record.lease.address);
        lost.retain(|net| *net != own);
        addresses.insert(0, own);
    }
    lost.sort_unstable();
    lost.dedup();
    Endpoint { addresses, lost, lease: record.map(Box::new), ..before.clone() }
}

fn said(loss: &Loss) -> String {
    match loss {
        Loss::Refused(None) => "its server says that it is void".into(),
        Loss::Refused(Some(why)) => format!("its server says that it is void ({why:?})"),
        Loss::Expired => "it ended, and no server renewed it".into(),
        Loss::Taken => "another machine has the address".into(),
        Loss::Released => "it was given back".into(),
    }
}
