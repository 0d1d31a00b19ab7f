//! The machine that has the state. Two machines with one state give containers of one name the same MAC.

use serde::{Deserialize, Serialize};

use crate::model::identity::Seed;

/// What tells this machine from others, as the machine says it. What cannot be read is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The id of the system that is installed on it. A copy of the disk has the same.
    pub system: Option<String>,
    /// The id of the board, or of the virtual machine. Other disks do not change it.
    pub hardware: Option<String>,
}

/// The same as it is remembered: by hashes that only the state's own seed makes. A machine's id is confidential
/// (machine-id(5)), and an exported state may be anywhere. A random id does not follow from half a hash. One of few that
/// are possible, such as a serial number, is found by trying them all: the seed is in the same document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of the system's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Hash>,
    /// Of the hardware's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hash>,
}

/// A hash, written as 16 hexadecimal digits. It is half as long as an id, so that many ids have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(u64);

impl Seed {
    /// The fingerprint of a machine in the state that has this seed.
    pub fn fingerprint(&self, machine: &Machine) -> Fingerprint {
        let hash = |what: &[u8], id: &Option<String>| {
            let [a, b, c, d, e, f, g, h, ..] = self.hash(&[b"machine", what, id.as_ref()?.as_bytes()]);
            Some(Hash(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
        };
        Fingerprint {
            system: hash(b"system", &machine.system),
            hardware: hash(b"hardware", &machine.hardware),
        }
    }
}

impl Fingerprint {
    /// What another machine must have changed for this to be its fingerprint, in words. Empty if both may be of one
    /// machine. What is not known of one of them says nothing.
    pub fn differences(&self, other: &Fingerprint) -> Vec<&'static str> {
        let differ = |one: Option<Hash>, other: Option<Hash>| one.zip(other).is_some_and(|(a, b)| a != b);
        let of_system = differ(self.system, other.system).then_some("the id of the system (/etc/machine-id)");
        let of_hardware = differ(self.hardware, other.hardware).then_some("the id of the hardware");
        of_system.into_iter().chain(of_hardware).collect()
    }

    /// With what the other one knows and this one does not.
    #[must_use]
    pub fn completed(&self, other: &Fingerprint) -> Fingerprint {
        Fingerprint { system: self.system.or(other.system), hardware: self.hardware.or(other.hardware) }
    }
}

impl From<Hash> for String {
    fn from(Hash(number): Hash) -> String {
        format!("{number:016x}")
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_hash = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hash.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.map(Hash).ok_or("a machine's hash is 16 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(system: &str, hardware: &str) -> Machine {
        let known = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        Machine { system: known(system), hardware: known(hardware) }
    }

    #[test]
    fn machines_are_told_apart_by_what_is_known_of_both() {
        let seed = Seed([7; 16]);
        let of = |system, hardware| seed.fingerprint(&machine(system, hardware));
        let differ = |one: &Fingerprint, other: &Fingerprint| one.differences(other).len();
        assert_eq!(differ(&of("a", "x"), &of("a", "x")), 0);
        // A copied disk in another machine, a new system on the same one, and both.
        assert_eq!(of("a", "x").differences(&of("a", "y")), ["the id of the hardware"]);
        assert_eq!(of("a", "x").differences(&of("b", "x")), ["the id of the system (/etc/machine-id)"]);
        assert_eq!(differ(&of("a", "x"), &of("b", "y")), 2);
        // An id that is not known, or that was not when the state was written, is no difference.
        for (system, hardware) in [("", "x"), ("a", ""), ("", "")] {
            assert_eq!(differ(&of("a", "x"), &of(system, hardware)), 0);
            assert_eq!(of(system, hardware).completed(&of("a", "x")), of("a", "x"));
        }
        assert_eq!(of("a", "x").completed(&of("b", "y")), of("a", "x"));
        // The same text says something else in the other place, and in another state.
        assert_ne!(of("a", "").system, of("", "a").hardware);
        assert_ne!(of("a", ""), Seed([8; 16]).fingerprint(&machine("a", "")));
    }

    #[test]
    fn a_fingerprint_is_read_as_it_was_written_and_nothing_else_is() {
        let print = Seed([7; 16]).fingerprint(&machine("a", ""));
        let json = serde_json::to_string(&print).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), print);
        for wrong in ["", "+00000000000000f", "00000000000000000", "zz00000000000000"] {
            let json = serde_json::json!({ "system": wrong });
            assert!(serde_json::from_value::<Fingerprint>(json).is_err(), "{wrong}");
        }
    }
}
