//! Consumer and provider routers: one DHCP pool with a first and a last address, and no VLANs.

use crate::lan_pool;
use crate::page::{Page, Parts};
use crate::plan::RouterPlan;
use crate::system::System;

/// Where a box has its pool, and the names of its two fields.
struct Words {
    page: &'static str,
    first: &'static str,
    last: &'static str,
    /// The factory setting.
    factory: &'static str,
}

fn words(system: System) -> Words {
    match system {
        System::FritzBox => Words {
            page: "http://fritz.box > Home Network > Network > Network Settings > more settings > IPv4 Settings (Heimnetz > Netzwerk > \
                   Netzwerkeinstellungen > weitere Einstellungen > IPv4-Einstellungen), DHCP server",
            first: "from (von)",
            last: "to (bis)",
            factory: "The factory setting is 192.168.178.20 to 192.168.178.200: a range between .201 and .254 \
                      needs no change at all.",
        },
        System::Asus => Words {
            page: "LAN > DHCP Server",
            first: "IP Pool Starting Address",
            last: "IP Pool Ending Address",
            factory: "The factory setting is everything, .2 to .254, of 192.168.50.0/24 or 192.168.1.0/24.",
        },
        System::TpLink => Words {
            page: "Advanced > Network > DHCP Server, Address Pool (路由设置 > DHCP 服务器, 地址池); in the Deco app: More > Advanced > \
                   DHCP Server",
            first: "the pool's first field (地址池开始地址, 起始地址; Deco: Start IP)",
            last: "its second (地址池结束地址, 结束地址; Deco: End IP)",
            factory: "The factory setting of Archer is .100 to .199 or .249: a range above that needs no \
                      change.",
        },
        System::Xiaomi => Words {
            page: "http://miwifi.com > 常用设置 > 局域网设置 (Settings > LAN settings), DHCP 服务",
            first: "开始 IP (start IP)",
            last: "结束 IP (end IP)",
            factory: "The factory setting is .5 to .254 of 192.168.31.0/24.",
        },
        System::Huawei => Words {
            page: "更多功能 > 网络设置 > 局域网 (More Functions > Network Settings > LAN), DHCP 服务器",
            first: "起始 IP 地址 (start IP address)",
            last: "结束 IP 地址 (end IP address)",
            factory: "The factory setting is .2 to .254 of 192.168.3.0/24.",
        },
        _ => Words {
            page: "the page with the DHCP server settings (LAN, Local Network, Heimnetz, 局域网, DHCP 服务器)",
            first: "first, start, from; 起始地址, 开始 IP",
            last: "last, end, to; 结束地址, 结束 IP",
            factory: "Some boxes ask for the first address and a count (limit, maximum number of users): the \
                      last address is then the first plus the count, minus one.",
        },
    }
}

pub(super) fn render(plan: &RouterPlan, system: System) -> Parts {
    let (words, mut parts) = (words(system), Parts::default());
    if plan.vlan.is_some() {
        return without_vlans(plan);
    }
    parts.before.note(&format!(
        "Open {}. Write down the two addresses shown there, or take a photo: you need them to undo the change. \
         These steps do not change the box's own address, so its page stays where it is. {}",
        words.page, words.factory
    ));
    for subnet in plan.unknown() {
        lan_pool::first_advice(plan, subnet, &mut parts.lines);
    }
    lan_pool::in_words(plan, words.first, words.last, &mut parts.lines);
    devices(&mut parts.lines);
    parts.away.note("On the same page, enter the two addresses that you wrote down.");
    parts
}

fn devices(page: &mut Page) {
    page.step(
        "A device that already has an address in the range keeps it until its lease ends, about a day. Switch \
         it off and on, and it gets another one. Move fixed assignments (address reservation, 静态地址分配) out of \
         the range.",
    );
}

/// What remains if the network needs a VLAN, which such a box does not have.
fn without_vlans(plan: &RouterPlan) -> Parts {
    let mut parts = Parts::default();
    parts.before.note("Nothing changes on the box, so there is nothing to undo.");
    parts.lines.note(
        "Such a box has no VLANs on the LAN side: it neither tags frames nor routes between VLANs. (A page \
         called VLAN or IPTV is about the provider's line. A guest network is separate, mostly for Wi-Fi, and \
         has no tag on a cable.) Your options:",
    );
    parts.lines.step(
        "Use no VLAN: put the network on the LAN itself, with a range that is clear of the box's \
                      pool. This command then prints the steps:",
    );
    parts.lines.shown("ashore router-config --subnet LAN --ip-range RANGE --for SYSTEM");
    let name = plan.vlan.map_or_else(String::new, |id| format!(" {id}"));
    parts.lines.step(&format!(
        "Use a second router that has VLANs, with its WAN port in the box's LAN and the NAS behind it, tagged \
         in VLAN{name}. A small one with OpenWrt or RouterOS is enough. The containers reach the internet \
         through both. For machines in the box's LAN to reach the containers, the box needs a route to the \
         containers' subnet through that router."
    ));
    parts.lines.step(
        "Use the box as a modem or in bridge mode, and a router with VLANs in its place: `ashore router-config \
         list` shows the routers for which lines are printed.",
    );
    parts.away.note("Nothing was changed, so there is nothing to remove.");
    parts
}
