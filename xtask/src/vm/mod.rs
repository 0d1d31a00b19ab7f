//! A kernel that has what the machine's own may lack (8021q, ipvlan, bonding, a bridge that
//! filters VLANs): Debian's, booted by qemu in software emulation with this machine's own tree as its root.

mod initramfs;
mod machine;

pub(crate) use machine::{VirtualMachine, shell_line};
