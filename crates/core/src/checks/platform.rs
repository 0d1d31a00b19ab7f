//! What the host runs on, as far as it matters to frames with other MACs.

use crate::net::remedy::Remedy;

/// What the host runs on. Most hypervisors drop frames of a virtual machine that have other MACs than its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Platform {
    /// A machine of its own, or nothing that is known.
    #[default]
    Machine,
    /// `VMware` `ESXi`, `Workstation` or `Fusion`.
    VMware,
    /// Microsoft Hyper-V.
    HyperV,
    /// Oracle `VirtualBox`.
    VirtualBox,
    /// QEMU, as Proxmox, Unraid and libvirt use it.
    Qemu,
    /// Xen.
    Xen,
    /// Parallels.
    Parallels,
    /// A cloud's machine, whose network knows only the addresses that the cloud has given it.
    Cloud,
}

impl Platform {
    /// By the vendor and product of the firmware (`/sys/class/dmi/id/sys_vendor` and `product_name`).
    pub fn of_firmware(vendor: &str, product: &str) -> Self {
        let all = format!("{vendor} {product}").to_lowercase();
        let known = [
            ("amazon ec2", Platform::Cloud),
            ("google compute", Platform::Cloud),
            ("digitalocean", Platform::Cloud),
            ("hetzner", Platform::Cloud),
            ("vmware", Platform::VMware),
            ("virtualbox", Platform::VirtualBox),
            ("innotek", Platform::VirtualBox),
            ("parallels", Platform::Parallels),
            ("xen", Platform::Xen),
            ("qemu", Platform::Qemu),
            ("kvm", Platform::Qemu),
        ];
        // Microsoft makes machines too.
        if all.starts_with("microsoft") && all.contains("virtual machine") {
            return Platform::HyperV;
        }
        known.into_iter().find(|(word, _)| all.contains(word)).map_or(Platform::Machine, |(_, known)| known)
    }

    /// What drops the frames of containers here, most likely.
    pub(super) fn suspect(self) -> &'static str {
        match self {
            Platform::Machine => {
                "the switch (port security), or the access point that this host is connected by"
            }
            Platform::VMware => "the virtual switch of VMware",
            Platform::HyperV => "the virtual switch of Hyper-V",
            Platform::VirtualBox => "the bridged adapter of VirtualBox",
            Platform::Qemu => "the bridge or the firewall of the hypervisor (Proxmox: the MAC filter)",
            Platform::Xen => "the virtual switch of Xen",
            Platform::Parallels => "the bridged network of Parallels",
            Platform::Cloud => {
                "the network of the cloud, which knows this machine's own MAC and address alone"
            }
        }
    }

    /// What lets them pass.
    pub(super) fn remedy(self) -> Remedy {
        match self {
            Platform::Machine => "turn port security off for this host's port of the switch".into(),
            Platform::VMware => {
                "allow promiscuous mode, MAC address changes and forged transmits for the port \
                                 group of this virtual machine"
                    .into()
            }
            Platform::HyperV => Remedy::from("on the Hyper-V host: ")
                .and_run("Set-VMNetworkAdapter -VMName THIS-MACHINE -MacAddressSpoofing On"),
            Platform::VirtualBox => Remedy::from("on the VirtualBox host, with this machine off: ")
                .and_run("VBoxManage modifyvm THIS-MACHINE --nic-promisc1 allow-all"),
            Platform::Qemu => {
                "on Proxmox, turn the MAC filter off under the machine's Firewall > Options; with \
                               libvirt, leave the filter clean-traffic out and set trustGuestRxFilters"
                    .into()
            }
            Platform::Xen => "allow promiscuous mode for this machine's virtual interface".into(),
            Platform::Parallels => "connect this machine by a bridged network of a cabled adapter".into(),
            Platform::Cloud => {
                "containers cannot have addresses of their own here; publish their ports instead".into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_tells_what_the_host_runs_on() {
        let cases = [
            ("VMware, Inc.", "VMware Virtual Platform", Platform::VMware),
            ("Microsoft Corporation", "Virtual Machine", Platform::HyperV),
            ("Microsoft Corporation", "Surface Pro", Platform::Machine),
            ("innotek GmbH", "VirtualBox", Platform::VirtualBox),
            ("QEMU", "Standard PC (Q35 + ICH9, 2009)", Platform::Qemu),
            ("Red Hat", "KVM", Platform::Qemu),
            ("Amazon EC2", "t3.small", Platform::Cloud),
            ("Xen", "HVM domU", Platform::Xen),
            ("Synology", "DS920+", Platform::Machine),
            ("", "", Platform::Machine),
        ];
        for (vendor, product, platform) in cases {
            assert_eq!(Platform::of_firmware(vendor, product), platform, "{vendor} {product}");
        }
    }
}
