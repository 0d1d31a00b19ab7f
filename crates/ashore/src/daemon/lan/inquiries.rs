//! What DHCPv6 servers tell besides addresses. It is asked once on each parent whose routers say that there
//! is more to know (the O flag). It is not asked for each container, because servers tell all machines of a
//! LAN the same, and containers come and go.
//!
//! The host asks, from the link that faces the LAN and its containers: the shim or the parent itself. The
//! host's kernel answers the server's neighbour solicitation for the link-local address, and a packet socket
//! receives the answer. So nothing is asked if the host has no IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ashore_core::model::state::State;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Standing, View};
use ashore_kernel::boottime;
use ashore_wire::Mac;
use ashore_wire::dhcp6::{Checksum, Config, Datagram, Dns, Duid, Inquiry, Message, Told};
use ashore_wire::slaac::{Lasting, Offer};

use super::{Send, Tap};
use crate::daemon::random;

/// All links on which servers are asked.
#[derive(Default)]
pub(super) struct Inquiries {
    links: BTreeMap<IfName, Inquiring>,
}

struct Inquiring {
    inquiry: Inquiry,
    /// The MAC and address to ask from. `None` while frames cannot pass or there is no address.
    from: Option<(Mac, Ipv6Addr)>,
    /// The last answer.
    dns: Dns,
}

impl Inquiries {
    /// Updates on which parents a server is asked, by what the routers there say, and from which address.
    pub(super) fn follow(
        &mut self,
        state: &State,
        host: &View,
        ears: &BTreeMap<IfName, Tap>,
        offer: impl Fn(&IfName) -> Offer,
    ) {
        let asking = state.networks.values().filter(|network| network.inquires(&offer(&network.parent)));
        let parents: BTreeSet<&IfName> = asking.map(|network| &network.parent).collect();
        self.links.retain(|parent, _| parents.contains(parent));
        for parent in parents {
            let link = host.link(parent);
            let tap = ears.get(parent).filter(|_| link.is_some_and(|link| link.up && link.carrier));
            let from = tap.and_then(|tap| Some((tap.mac, link_local(host, tap.shim.unwrap_or(tap.parent))?)));
            let Some(inquiring) = self.links.get_mut(parent) else {
                let inquiring = from.and_then(|_| Some(Inquiring::new(link?.mac?, from)));
                self.links.extend(inquiring.map(|inquiring| (parent.clone(), inquiring)));
                continue;
            };
            match (inquiring.from, from) {
                (None, Some(_)) => inquiring.inquiry.link_up(boottime()),
                (Some(_), None) => inquiring.inquiry.link_down(),
                _ => {}
            }
            inquiring.from = from;
        }
    }

    /// The parents on which answers arrive.
    pub(super) fn parents(&self) -> impl Iterator<Item = &IfName> {
        self.links.keys()
    }

    /// Adds the servers' answers on a parent to the routers' offer. The answers come first (RFC 8106, 5.3.1).
    pub(super) fn add_to(&self, parent: &IfName, offer: Offer) -> Offer {
        let Some(Inquiring { dns, .. }) = self.links.get(parent) else { return offer };
        // An answer holds until a different one arrives.
        let told = Lasting(None);
        let servers = dns.servers.iter().map(|server| (*server, told));
        let domains = dns.search.iter().map(|domain| (domain.clone(), told));
        Offer {
            dns: servers.chain(offer.dns).collect(),
            search: domains.chain(offer.search).collect(),
            ..offer
        }
    }

    /// Does what is due. Returns the time until the next action, and the parents on which the answer has
    /// changed.
    pub(super) fn turn(&mut self, send: &Send) -> (Option<Duration>, Vec<IfName>) {
        let (now, mut wait, mut news): (_, Option<Duration>, _) = (boottime(), None, Vec::new());
        for (parent, inquiring) in &mut self.links {
            let until = loop {
                match inquiring.inquiry.poll(now) {
                    Told::Wait(until) => break until,
                    // A question that cannot be sent is treated like one that is lost.
                    Told::Send(question) => {
                        let said = inquiring.from.map(|(mac, ip)| send(parent, &question.frame(mac, ip)));
                        if let Some(Err(error)) = said {
                            tracing::debug!(%parent, "cannot send to a DHCPv6 server: {error}");
                        }
                    }
                    Told::Dns(dns) if dns == inquiring.dns => {}
                    Told::Dns(dns) => {
                        tracing::info!(%parent, servers = ?dns.servers, search = ?dns.search, "DNS configuration received from a DHCPv6 server");
                        inquiring.dns = dns;
                        news.push(parent.clone());
                    }
                }
            };
            wait = wait.into_iter().chain(until.map(|until| until.saturating_duration_since(now))).min();
        }
        (wait, news)
    }

    /// Handles a frame that a parent received.
    pub(super) fn hear(&mut self, parent: &IfName, frame: &[u8]) {
        let Some(inquiring) = self.links.get_mut(parent) else { return };
        let Some(datagram) = Datagram::to_client(frame, Checksum::Partial) else { return };
        let Some(message) = Message::decode(datagram.payload) else { return };
        if inquiring.from.is_none_or(|(_, ip)| ip != datagram.destination) {
            return;
        }
        if let Err(ignored) = inquiring.inquiry.receive(boottime(), &message) {
            tracing::debug!(%parent, from = %datagram.source, "a DHCPv6 message is ignored: {ignored}");
        }
    }
}

impl Inquiring {
    fn new(mac: Mac, from: Option<(Mac, Ipv6Addr)>) -> Self {
        let inquiry = Inquiry::new(Config::new(duid(mac), 1), boottime(), random());
        Inquiring { inquiry, from, dns: Dns::default() }
    }
}

/// The host's usable link-local address on a link: neither tentative nor a duplicate.
fn link_local(host: &View, link: u32) -> Option<Ipv6Addr> {
    let on_link = host.addresses.iter().filter(|there| there.index == link);
    let steady = on_link.filter(|there| there.standing != Standing::Unsteady);
    steady.map(|there| there.net.addr()).find_map(|ip| match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
        _ => None,
    })
}

/// The DUID of the host, derived from the MAC of its NIC (RFC 8415, 11.4). It need not be stored, because no
/// lease depends on it.
fn duid(mac: Mac) -> Duid {
    let bytes = [&[0, 3, 0, 1][..], &mac.0].concat();
    Duid::try_from(bytes).expect("ten bytes are a DUID")
}
