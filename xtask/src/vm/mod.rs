//! A kernel with features that this machine's own kernel may lack (8021q, ipvlan, bonding, a bridge that
//! filters VLANs). It is Debian's kernel, booted by qemu in software emulation, with this machine's own tree
//! as its root.

mod initramfs;
mod machine;

pub(crate) use machine::{VirtualMachine, shell_line};
