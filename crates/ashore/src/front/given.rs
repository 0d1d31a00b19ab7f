//! The options of a network that an engine's user gave by `-o`: those of the built-in drivers, and Ashore's own.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use ashore_core::net::kind::{LinkKind, PortOption};
use ashore_core::net::name::NetworkName;
use ashore_core::net::option::{self, NetworkOption};
use ashore_core::net::text::Word;
use ashore_core::rules::create::NetworkSpec;

use crate::usage::typed::{meant_by_option, meant_by_value};

/// The options that were given, each by one of its names.
pub(super) struct Given<'a>(Vec<(&'a str, String)>);

impl<'a> Given<'a> {
    /// Takes options of which each has a known name.
    pub(super) fn of(given: Vec<(&'a str, String)>, known: &[&str]) -> Result<Self, String> {
        match given.iter().find(|(key, _)| !known.contains(key)) {
            None => Ok(Given(given)),
            Some((unknown, value)) if option::of_ipam().any(|name| name == *unknown) => {
                let line = option::under("`ipam:`, `options:`", unknown, Some(value.as_str()));
                let given = format!("{unknown}={value}");
                Err(format!(
                    "`{unknown}` is an option of the IPAM driver; try: --ipam-opt {}, in a Compose file {line}",
                    Word::of(&given)
                ))
            }
            Some((unknown, _)) => {
                Err(format!("there is no option `{unknown}`; {}", meant_or_all(unknown, known)))
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, text)| text.as_str())
    }

    /// The network that the options describe, without what an engine says otherwise.
    pub(super) fn spec(&self, name: NetworkName) -> Result<NetworkSpec, String> {
        let isolated = self.switch(&option::ISOLATED)?.then_some(PortOption::Isolated);
        let hairpin = self.switch(&option::HAIRPIN)?.then_some(PortOption::Hairpin);
        Ok(NetworkSpec {
            parent: self.value(&option::PARENT)?,
            vlan: self.value(&option::VLAN)?,
            gvrp: self.switch(&option::GVRP)?,
            kind: self.kind()?,
            ipv6: self.value(&option::IPV6)?.unwrap_or_default(),
            host_access: self.yes(&option::HOST_ACCESS)?,
            mdns: self.switch(&option::MDNS)?,
            internal: self.switch(&option::INTERNAL)?,
            conflict: self.value(&option::CONFLICT)?.unwrap_or_default(),
            mtu: self.value(&option::MTU)?,
            bc_queue_len: self.value(&option::BC_QUEUE_LEN)?,
            bc_limit: self.value(&option::BC_LIMIT)?,
            port: isolated.into_iter().chain(hairpin).collect::<BTreeSet<_>>(),
            tagged: self.switch(&option::TAGGED)?,
            ..NetworkSpec::named(name)
        })
    }

    pub(super) fn value<T: FromStr>(&self, option: &NetworkOption) -> Result<Option<T>, String>
    where
        T::Err: Display,
    {
        self.read(option.of_driver().chain(option.of_ipam()), str::parse)
    }

    pub(super) fn yes(&self, option: &NetworkOption) -> Result<Option<bool>, String> {
        self.read(option.of_driver().chain(option.of_ipam()), crate::cli::parse_yes_no)
    }

    fn switch(&self, option: &NetworkOption) -> Result<bool, String> {
        self.yes(option).map(Option::unwrap_or_default)
    }

    /// Reads the option that was given by one of these names.
    pub(super) fn read<T, E: Display>(
        &self,
        mut names: impl Iterator<Item = &'static str>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        let given = names.find_map(|name| Some((name, self.text(name)?)));
        let read = |(name, text)| parse(text).map_err(|error| unread(name, text, &error));
        given.map(read).transpose()
    }

    /// The link kind, if it is given, by the built-in drivers' options or by Ashore's own.
    fn kind(&self) -> Result<Option<LinkKind>, String> {
        let names = ["kind", "macvlan_mode", "ipvlan_mode", "mode"];
        let given: Vec<(&str, &str)> =
            names.into_iter().filter_map(|name| Some((name, self.text(name)?))).collect();
        let (name, text, kind) = match given.as_slice() {
            [] => return Ok(None),
            [("kind", kind)] => ("kind", *kind, (*kind).to_owned()),
            [("kind", "macvlan"), (name @ ("macvlan_mode" | "mode"), mode)]
            | [(name @ "macvlan_mode", mode)] => (*name, *mode, format!("macvlan:{mode}")),
            [("kind", "ipvlan"), (name @ ("ipvlan_mode" | "mode"), mode)]
            | [(name @ "ipvlan_mode", mode)] => (*name, *mode, format!("ipvlan:{mode}")),
            // The modes of the two have no name in common.
            [("mode", mode @ ("l2" | "l3" | "l3s"))] => ("mode", *mode, format!("ipvlan:{mode}")),
            [("mode", mode)] => ("mode", *mode, format!("macvlan:{mode}")),
            several => {
                let names: Vec<String> = several.iter().map(|(name, _)| format!("-o {name}=")).collect();
                return Err(format!("the link kind is given twice; keep one of {}", names.join(" and ")));
            }
        };
        kind.parse::<LinkKind>().map(Some).map_err(|error| unread(name, text, &error))
    }
}

/// Says that a value cannot be read, and which one was meant.
fn unread(name: &str, text: &str, error: &impl Display) -> String {
    let meant = meant_by_value(&format!("--{name}"), text);
    let remedy = meant.map_or_else(String::new, |meant| format!("; try: -o {name}={meant}"));
    format!("-o {name}={text}: {error}{remedy}")
}

/// What helps whoever has given an option that is none: the one that was meant, or all that there are.
pub(super) fn meant_or_all(unknown: &str, known: &[&str]) -> String {
    let meant = meant_by_option(unknown)
        .filter(|meant| known.iter().any(|name| meant.split('=').next() == Some(name)));
    match meant.or_else(|| crate::nearest::nearest(unknown, known.iter().copied())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// The known name that is most similar to an unknown one.
pub(super) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> &'a str {
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other))).copied().unwrap_or_default()
}
