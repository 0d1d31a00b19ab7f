//! Renders the plan as text: which renderer prints it, and what all of them have in common.

use ipnet::IpNet;

use crate::page::{Page, Parts};
use crate::plan::{RouterPlan, is_private};
use crate::system::System;
use crate::{around, boxes, controllers, kea, lan_pool, linux, menus, openwrt, routeros, switch, vyos};

impl RouterPlan {
    /// Renders the configuration for a system: comments, and lines to paste. It has three parts: how to come
    /// back, the lines, and how to remove them.
    pub fn render(&self, system: System) -> String {
        let mut page = Page::default();
        self.head(system, &mut page);
        let parts = self.parts(system);
        for (title, part) in [
            ("1. Before: how to come back", &parts.before),
            ("2. The lines", &parts.lines),
            ("3. To take it away again", &parts.away),
        ] {
            debug_assert!(!part.is_empty(), "{}: {title}", system.name());
            page.gap();
            page.line(format_args!("# --- {title} ---"));
            page.append(part);
        }
        around::render(self, system, &mut page);
        self.foot(&mut page);
        page.into_text()
    }

    fn parts(&self, system: System) -> Parts {
        if self.vlan.is_none() && system != System::Switch && lan_pool::is_clear(self) {
            return lan_pool::nothing_to_do(self);
        }
        match system {
            System::Consumer
            | System::FritzBox
            | System::Asus
            | System::TpLink
            | System::Xiaomi
            | System::Huawei => boxes::render(self, system),
            System::UniFi | System::Omada | System::Ikuai => controllers::render(self, system),
            System::OpenWrt => openwrt::render(self),
            System::RouterOs => routeros::render(self),
            System::OpnSense => menus::render(self, menus::Menus::OpnSense),
            System::PfSense => menus::render(self, menus::Menus::PfSense),
            System::Vyos => vyos::render(self),
            System::Networkd => linux::render(self, linux::Links::Networkd),
            System::Ifupdown => linux::render(self, linux::Links::Ifupdown),
            System::Netplan => linux::render(self, linux::Links::Netplan),
            System::NetworkManager => linux::render(self, linux::Links::NetworkManager),
            System::Dnsmasq => linux::dnsmasq_alone(self),
            System::Kea => kea::render(self),
            System::Switch => switch::render(self),
        }
    }

    fn head(&self, system: System, page: &mut Page) {
        page.note(&format!("{}.", system.about()));
        let what = self.vlan.map_or_else(|| "The untagged LAN".to_owned(), |id| format!("VLAN {id}"));
        let of = self.network.as_ref().map_or_else(String::new, |network| format!(", network {network}"));
        page.note(&format!("{what}{of}."));
        for subnet in &self.subnets {
            let ashore = if subnet.leased {
                "Ashore takes leases from it".to_owned()
            } else {
                format!("Ashore hands out {}", subnet.range)
            };
            let guessed = if subnet.router_guessed { " (a guess: set it with --gateway)" } else { "" };
            page.note(&format!(
                "{}: the router has {}{guessed}, {ashore}, {}.",
                subnet.net,
                subnet.router,
                lan_pool::said(subnet)
            ));
        }
        if let Some(policy) = self.policy.filter(|_| system.has_firewall()) {
            page.note(&format!("Firewall {policy}: {}.", policy.about()));
        }
        if let Some(held_to) = system.held_to() {
            page.note(&format!(
                "Not tested on such a system. Written from {held_to}. Menus change from release to release."
            ));
        }
        for warning in self.warnings() {
            page.note(&warning);
        }
    }

    /// The warnings that the user should read first. What they point out is not always a mistake.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for subnet in self.subnets.iter().filter(|_| self.vlan.is_some()) {
            match subnet.net {
                IpNet::V4(net) if !is_private(subnet) => warnings.push(format!(
                    "{net} is public. Unless it is yours, the hosts on the internet with these addresses \
                     become unreachable. Private subnets are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16."
                )),
                IpNet::V6(net) if !is_private(subnet) => warnings.push(format!(
                    "{net} is public. A prefix that the provider delegates may change: let the router assign \
                     it, and give the containers an additional prefix from fd00::/8."
                )),
                _ => {}
            }
            if !subnet.is_v4() && !subnet.is_advertised() {
                warnings.push(format!(
                    "{} is no /64, so the router does not advertise it, and no host chooses an address in it. \
                     Containers get their address and gateway from Ashore.",
                    subnet.net
                ));
            }
        }
        warnings
    }

    /// Prints the command that creates the network, for users who have not created it.
    fn foot(&self, page: &mut Page) {
        if self.network.is_some() {
            return;
        }
        page.gap();
        page.note(if self.subnets.iter().any(|subnet| subnet.router_guessed) {
            "On the NAS, if eth0 is its interface. Add --gateway with the router's address; without it, \
             containers reach only the LAN:"
        } else {
            "On the NAS, if eth0 is its interface:"
        });
        page.shown(format_args!("ashore network create {} --parent eth0{}", self.name, self.options()));
    }
}
