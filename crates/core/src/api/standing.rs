//! What keeps an existing network off the LAN at present.

use crate::api::about::About;

use crate::api::trouble::{Code, Trouble};
use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::model::ownership::EngineKind;
use crate::net::family::Family;
use crate::net::kind::LinkKind;
use crate::net::link::Tag;
use crate::net::observed::{Link, ObservedKind, View};
use crate::net::option::{AUX_ADDRESS, HOST_ACCESS};
use crate::net::remedy::Remedy;
use crate::net::text::list;
use crate::rules::create::{NetworkError, loose_reverse_path};

impl Network {
    /// What is wrong with the parent as it is now. A missing parent is reported elsewhere.
    pub fn trouble_of_parent(&self, host: &View) -> Option<Trouble> {
        let parent = host.link(self.lower_device(host))?;
        let about = About { parent: Some(parent.name.clone()), ..About::network(self) };
        let off = |why: &dyn std::fmt::Display| format!("network `{}` is off the LAN: {why}", self.label());
        if let Err(error) = self.check_parent(host) {
            let code = match error {
                NetworkError::ParentDown(_) => Some(Code::ParentDown),
                NetworkError::ParentIsPort { .. } => Some(Code::ParentIsPort),
                NetworkError::BridgeFilters { .. } => Some(Code::VlanNotOnBridge),
                _ => None,
            };
            if let Some(code) = code {
                let instead = self.took_parent(parent, host).map(|instead| {
                    Remedy::run(format!(
                        "ashore network move {} --parent {}",
                        self.word(),
                        instead.name.word()
                    ))
                });
                let remedy = instead.or_else(|| Some(error.remedy()?.in_words_of(self.front())));
                return Some(Trouble::new(code, about, off(&error), remedy));
            }
        }
        let why = no_carrier(parent, host)?;
        Some(Trouble::new(Code::NoCarrier, about, off(&why), None))
    }

    /// That the network's addresses are of another LAN than the one its parent is on now. If the host has no
    /// address on the parent, nothing can be said.
    pub fn trouble_of_subnets(&self, host: &View) -> Option<Trouble> {
        let parent = self.hosts_own(host).filter(|parent| parent.up)?;
        // The addresses that a DHCP server leases are not checked.
        let handed_out = Network { subnets: self.handed_out().cloned().collect(), ..self.clone() };
        let mut families = [Family::Ipv4, Family::Ipv6].into_iter();
        let (family, error) = families.find_map(|family| {
            Some((family, handed_out.check_subnets_of_parent(host, parent, family).err()?))
        })?;
        let (label, word, engine) = (self.label(), self.word(), self.ownership().engine());
        let message =
            format!("network `{label}` hands out addresses that nothing on the LAN can reach: {error}");
        let remedy = if let Some(program) = engine.map(EngineKind::program) {
            Remedy::from("if the LAN has other addresses now, create the network again with that subnet: ")
                .and_run(format!("{program} network rm {word}"))
                .and(", ")
                .and_run(format!("{program} network create …"))
        } else {
            let mut now =
                host.addresses_of(parent).filter(|there| !there.link_scope).map(|there| there.net.trunc());
            let now = now.find(|net| Family::of(net.addr()) == family);
            let now = now.map_or_else(|| "CIDR".to_owned(), |net| net.to_string());
            let command = format!("ashore network move {word} --subnet {now} --ip-range RANGE --reconnect");
            Remedy::from("if the LAN has other addresses now: ").and_run(command)
        };
        let about = About { parent: Some(parent.name.clone()), ..About::network(self) };
        Some(Trouble::new(Code::OtherLan, about, message, Some(remedy)))
    }

    /// That the host does not answer endpoints' ARP requests for its address through the shim, which does not
    /// have that address.
    pub fn trouble_of_arp(&self, host: &View) -> Option<Trouble> {
        /// Values of `arp_ignore` (Linux, `ip-sysctl`). 1: answer only for addresses of the receiving link.
        /// 2: the same, and only to askers in the same subnet. 8: answer nothing.
        const NOT_FOR_OTHERS: [i32; 3] = [1, 2, 8];
        let parent = self.hosts_own(host).filter(|_| self.uses_shim())?;
        let shim = host.tagged(&Tag::Shim(parent.name.clone())).and_then(|shim| shim.arp_ignore);
        let value = host.arp_ignore.max(shim).filter(|value| NOT_FOR_OTHERS.contains(value))?;
        let by_shim = |subnet: &&Subnet| {
            subnet.net.addr().is_ipv4()
                && !subnet.aux.contains_key(HOST_AUX)
                && host.host_address(parent, &subnet.net).is_some()
        };
        // An ipvlan endpoint sends no such request.
        self.subnets.iter().find(by_shim).filter(|_| matches!(self.kind, LinkKind::Macvlan(_)))?;
        let message = format!(
            "endpoints of network `{}` do not reach this host: net.ipv4.conf.all.arp_ignore is {value}, so the host does not answer \
             through the shim for the address of `{}`",
            self.label(),
            parent.name
        );
        let remedy = Remedy::run("sysctl -w net.ipv4.conf.all.arp_ignore=0")
            .and(" (and =1 for single interfaces), or ")
            .then(self.anew(Remedy::set(&AUX_ADDRESS, "host=")));
        let about = About { parent: Some(parent.name.clone()), ..About::network(self) };
        Some(Trouble::new(Code::ArpIgnored, about, message, Some(remedy)))
    }
}

impl Network {
    /// That the host drops what endpoints send to it, because it came by another link than the way back.
    pub fn trouble_of_reverse_path(&self, host: &View) -> Option<Trouble> {
        let parent = self.hosts_own(host)?;
        let error = self.check_answers_pass(host, parent).err()?;
        let message = format!("endpoints of network `{}` do not reach this host: {error}", self.label());
        // The larger of the two values counts, so that 2 for the link is enough.
        let remedy = Remedy::run(loose_reverse_path(&parent.name))
            .and(", or ")
            .then(self.anew(Remedy::set(&HOST_ACCESS, "no")));
        let about = About { parent: Some(parent.name.clone()), ..About::network(self) };
        Some(Trouble::new(Code::ReversePath, about, message, Some(remedy)))
    }
}

/// Why no frame can leave through a link that is up. Returns `None` if frames can.
fn no_carrier(link: &Link, host: &View) -> Option<String> {
    let (name, facing) = (&link.name, host.facing(link));
    if link.kind == ObservedKind::Bridge {
        let cut = !facing.is_empty() && facing.iter().all(|port| !port.carrier);
        let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
        return cut.then(|| format!("no link of the bridge `{name}` to the LAN has a carrier: {names}"));
    }
    if link.carrier {
        return None;
    }
    if facing.iter().any(|one| one.index == link.index) {
        return Some(format!(
            "its parent `{name}` has no carrier: the cable is out, or its other end is off"
        ));
    }
    let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
    Some(format!(
        "its parent `{name}` has no carrier: the cables of {names} are out, or their other ends are off"
    ))
}
