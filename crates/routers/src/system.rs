//! The supported systems, and what the user has to know about each.

/// A system for which configuration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Any consumer or provider router with one DHCP pool and no VLANs.
    Consumer,
    /// AVM's FRITZ!Box.
    FritzBox,
    /// ASUS.
    Asus,
    /// TP-Link's Archer and Deco.
    TpLink,
    /// Xiaomi and Redmi.
    Xiaomi,
    /// Huawei and Honor.
    Huawei,
    /// Ubiquiti's `UniFi` gateways.
    UniFi,
    /// TP-Link's Omada gateways.
    Omada,
    /// iKuai.
    Ikuai,
    /// OpenWrt with DSA.
    OpenWrt,
    /// MikroTik RouterOS 7.
    RouterOs,
    /// OPNsense, in its menus.
    OpnSense,
    /// pfSense, in its menus.
    PfSense,
    /// VyOS 1.4 and 1.5.
    Vyos,
    /// A Linux router with systemd-networkd, dnsmasq and nftables.
    Networkd,
    /// A Linux router with ifupdown, dnsmasq and nftables.
    Ifupdown,
    /// A Linux router with netplan, dnsmasq and nftables.
    Netplan,
    /// A Linux router with `NetworkManager`, dnsmasq and nftables.
    NetworkManager,
    /// The DHCP server dnsmasq alone, as in a Pi-hole.
    Dnsmasq,
    /// The DHCP server Kea alone.
    Kea,
    /// A managed switch, in general terms.
    Switch,
}

impl System {
    /// All systems, in the order in which they are listed.
    pub const ALL: [System; 21] = [
        System::Consumer,
        System::FritzBox,
        System::Asus,
        System::TpLink,
        System::Xiaomi,
        System::Huawei,
        System::UniFi,
        System::Omada,
        System::Ikuai,
        System::OpenWrt,
        System::RouterOs,
        System::OpnSense,
        System::PfSense,
        System::Vyos,
        System::Networkd,
        System::Ifupdown,
        System::Netplan,
        System::NetworkManager,
        System::Dnsmasq,
        System::Kea,
        System::Switch,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            System::Consumer => "consumer",
            System::FritzBox => "fritzbox",
            System::Asus => "asus",
            System::TpLink => "tp-link",
            System::Xiaomi => "xiaomi",
            System::Huawei => "huawei",
            System::UniFi => "unifi",
            System::Omada => "omada",
            System::Ikuai => "ikuai",
            System::OpenWrt => "openwrt",
            System::RouterOs => "routeros",
            System::OpnSense => "opnsense",
            System::PfSense => "pfsense",
            System::Vyos => "vyos",
            System::Networkd => "systemd-networkd",
            System::Ifupdown => "ifupdown",
            System::Netplan => "netplan",
            System::NetworkManager => "networkmanager",
            System::Dnsmasq => "dnsmasq",
            System::Kea => "kea",
            System::Switch => "switch",
        }
    }

    /// Describes what is printed for the system.
    pub fn about(self) -> &'static str {
        match self {
            System::Consumer => {
                "Any consumer or provider router with one DHCP pool and no VLANs: steps in words"
            }
            System::FritzBox => "FRITZ!Box: the steps in its menus",
            System::Asus => "ASUS: the steps in its menus",
            System::TpLink => "TP-Link Archer and Deco: the steps in their menus",
            System::Xiaomi => "Xiaomi and Redmi (小米路由器): the steps in their menus",
            System::Huawei => "Huawei and Honor (华为路由器): the steps in their menus",
            System::UniFi => "UniFi gateways: the steps in the menus of UniFi Network",
            System::Omada => "TP-Link Omada gateways: the steps in the controller's menus",
            System::Ikuai => "iKuai (爱快): the steps in its menus",
            System::OpenWrt => {
                "OpenWrt 23.05 and later, also as iStoreOS, ImmortalWrt and GL.iNet: a shell script, and the clicks in LuCI"
            }
            System::RouterOs => "MikroTik RouterOS 7: commands for its terminal",
            System::OpnSense => "OPNsense: the steps in its menus",
            System::PfSense => "pfSense 2.7 and later: the steps in its menus",
            System::Vyos => "VyOS 1.5 and 1.4: commands for its configuration mode",
            System::Networkd => "A Linux router with systemd-networkd, dnsmasq and nftables: a shell script",
            System::Ifupdown => "A Linux router with ifupdown, dnsmasq and nftables: a shell script",
            System::Netplan => "A Linux router with netplan, dnsmasq and nftables: a shell script",
            System::NetworkManager => {
                "A Linux router with NetworkManager, dnsmasq and nftables: a shell script"
            }
            System::Dnsmasq => "dnsmasq as the DHCP server, also inside Pi-hole: lines for its configuration",
            System::Kea => "Kea as the DHCP server: an entry for its configuration",
            System::Switch => "A managed switch, in general terms",
        }
    }

    /// Returns whether the system is between VLAN and LAN and filters.
    pub(super) fn has_firewall(self) -> bool {
        !self.is_box() && !matches!(self, System::Dnsmasq | System::Kea | System::Switch)
    }

    /// Returns whether the system is a router without VLANs.
    pub(super) fn is_box(self) -> bool {
        matches!(
            self,
            System::Consumer
                | System::FritzBox
                | System::Asus
                | System::TpLink
                | System::Xiaomi
                | System::Huawei
        )
    }

    /// Returns whether the system has the ports towards the NAS.
    pub(super) fn has_ports(self) -> bool {
        matches!(
            self,
            System::OpenWrt
                | System::RouterOs
                | System::Vyos
                | System::UniFi
                | System::Omada
                | System::Switch
        )
    }

    /// What the output was written from. Returns `None` if the output was tested on such a system.
    pub(super) fn held_to(self) -> Option<&'static str> {
        Some(match self {
            System::Consumer => "manuals of several makers, as of 2025",
            System::FritzBox => "AVM's help for FRITZ!OS 7 and 8, as of 2025",
            System::Asus | System::TpLink | System::Xiaomi | System::Huawei | System::Ikuai => {
                "the usual names of its pages, as of 2025, without a manual of the maker"
            }
            System::UniFi => "Ubiquiti's help for virtual networks of UniFi Network 9, as of 2025",
            System::Omada => "TP-Link's user guide for the Omada controller, 5.12, as of 2023",
            System::OpenWrt => {
                "OpenWrt's documentation and scripts, 23.05 to 24.10, as of 2026, and tested only with a \
                 stand-in for uci"
            }
            System::RouterOs => "MikroTik's documentation of RouterOS 7, as of 2025",
            System::OpnSense => "OPNsense's documentation, 26.1, as of 2026",
            System::PfSense => "Netgate's documentation of pfSense 2.7 and 2.8, as of 2025",
            System::Vyos => "VyOS's documentation of 1.4 and 1.5, as of 2024",
            System::Switch => "what 802.1Q and several makers' manuals say",
            System::Networkd
            | System::Ifupdown
            | System::Netplan
            | System::NetworkManager
            | System::Dnsmasq
            | System::Kea => return None,
        })
    }
}
