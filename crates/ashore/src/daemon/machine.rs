//! What tells this machine from others. A copied disk has the same system on other hardware; a new system has another id
//! on the same.

use std::path::Path;

use ashore_core::model::machine::Machine;
use nix::sys::statfs::statfs;

use crate::platform::read;

/// The id of the installed system (machine-id(5)).
const SYSTEM: &str = "/etc/machine-id";
/// The id of the board or of the virtual machine, as its firmware tells it: where there is DMI, on POWER's virtual
/// machines, and on boards with a device tree, such as a Raspberry Pi.
const HARDWARE: [&str; 3] = [
    "/sys/class/dmi/id/product_uuid",
    "/sys/firmware/devicetree/base/vm,uuid",
    "/sys/firmware/devicetree/base/serial-number",
];

/// Those of tmpfs and ramfs (linux/magic.h). A root in memory is the latter if the kernel has no tmpfs.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// This machine.
pub(super) fn this_machine() -> Machine {
    // A system that was not started yet has "uninitialized" there, and one without systemd may have nothing.
    let system = id(SYSTEM)
        .filter(|_| !is_in_memory(Path::new(SYSTEM)))
        .filter(|id| id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()));
    Machine { system, hardware: HARDWARE.into_iter().find_map(id) }
}

/// Whether a file is made anew at every boot: its file system is one in memory. So it is where the root is, as on Unraid,
/// and where systemd has mounted an id for this boot alone over the file (machine-id(5)).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn is_in_memory(path: &Path) -> bool {
    // The kernel has 32 bits for it, and each C library a type of its own.
    statfs(path).is_ok_and(|there| IN_MEMORY.contains(&(there.filesystem_type().0 as u32)))
}

fn id(path: &str) -> Option<String> {
    Path::new(path).exists().then(|| told(&read(path)))?
}

/// An id, in one spelling. Firmware that has none says only zeros or only ones.
fn told(text: &str) -> Option<String> {
    let id = text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_ascii_lowercase();
    let is_only = |digit: char| id.chars().all(|c| c == digit || c == '-');
    (!is_only('0') && !is_only('f')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_no_id_of_a_system() {
        // The kernel has these two mounted wherever the tests run.
        assert!(is_in_memory(Path::new("/dev/shm")) && !is_in_memory(Path::new("/proc/version")));
    }

    #[test]
    fn an_id_is_what_firmware_says_unless_it_says_that_it_has_none() {
        assert_eq!(told("4C4C4544-0042\n").as_deref(), Some("4c4c4544-0042"));
        assert_eq!(told("10000000abcdef01\0").as_deref(), Some("10000000abcdef01"));
        for none in ["", "\n", "00000000-0000-0000", "FFFFFFFF-FFFF", "0000000000000000\0"] {
            assert_eq!(told(none), None, "{none}");
        }
    }
}
