//! The remedy of a refusal or a trouble: what the user is to do. Options are values in it, because the command line and
//! Docker have different names for them. The front that was asked spells them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::option::NetworkOption;

/// Who asked, and in whose words the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// The command line, `ashore`.
    CommandLine,
    /// Docker: `docker network create`, or a Compose file.
    Docker,
}

impl Front {
    /// The program of the engine whose words these are. The users of the command line have Docker's most often.
    fn engine(self) -> &'static str {
        match self {
            Front::CommandLine | Front::Docker => "docker",
        }
    }
}

/// A remedy: a sentence with options and commands in it. On the control socket it is text, spelled for the
/// command line.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Remedy(Vec<Part>);

/// A part of a remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Words.
    Text(String),
    /// An option to give, and its value if that is known.
    Set(&'static NetworkOption, Option<String>),
    /// An option to leave out.
    Unset(&'static NetworkOption),
    /// A command to run. It is the same whoever asked.
    Run(String),
    /// A command of the engine that asked, without the name of its program.
    Engine(String),
    /// Words for the users of one front only.
    Only(Front, String),
}

impl Remedy {
    /// A remedy that begins with an option to give, with its value.
    pub fn set(option: &'static NetworkOption, value: &(impl ToString + ?Sized)) -> Self {
        Remedy::default().and_set(option, value)
    }

    /// A remedy that begins with an option to give, whose value the user knows.
    pub fn give(option: &'static NetworkOption) -> Self {
        Remedy::default().and_give(option)
    }

    /// A remedy that begins with an option to leave out.
    pub fn unset(option: &'static NetworkOption) -> Self {
        Remedy::default().and_unset(option)
    }

    /// A remedy that begins with a command to run.
    pub fn run(command: impl Into<String>) -> Self {
        Remedy::default().and_run(command)
    }

    /// Adds words.
    pub fn and(self, words: impl Into<String>) -> Self {
        self.with(Part::Text(words.into()))
    }

    /// Adds an option to give, with its value.
    pub fn and_set(self, option: &'static NetworkOption, value: &(impl ToString + ?Sized)) -> Self {
        self.with(Part::Set(option, Some(value.to_string())))
    }

    /// Adds an option to give, whose value the user knows.
    pub fn and_give(self, option: &'static NetworkOption) -> Self {
        self.with(Part::Set(option, None))
    }

    /// Adds an option to leave out.
    pub fn and_unset(self, option: &'static NetworkOption) -> Self {
        self.with(Part::Unset(option))
    }

    /// Adds a command to run.
    pub fn and_run(self, command: impl Into<String>) -> Self {
        self.with(Part::Run(command.into()))
    }

    /// Adds a command of the engine that asked, without the name of its program. What is known to be one engine's
    /// is a command of that engine, with [`Remedy::and_run`].
    pub fn and_engine(self, command: impl Into<String>) -> Self {
        self.with(Part::Engine(command.into()))
    }

    /// Adds words for the users of one front only.
    pub fn only(self, front: Front, words: impl Into<String>) -> Self {
        self.with(Part::Only(front, words.into()))
    }

    fn with(mut self, part: Part) -> Self {
        self.0.push(part);
        self
    }

    /// Adds another remedy.
    pub fn then(mut self, mut other: Remedy) -> Self {
        self.0.append(&mut other.0);
        self
    }

    /// The same, in the words of one front, whoever asked. A network is created again where it was created.
    pub fn in_words_of(self, front: Front) -> Self {
        let fixed = |part: Part| match part {
            Part::Text(_) | Part::Run(_) => part,
            other => Part::Text(Remedy(vec![other]).spelled(front)),
        };
        Remedy(self.0.into_iter().map(fixed).collect())
    }

    /// Whether it names an option of a network, so that the network has to be created again.
    pub fn has_option(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Set(..) | Part::Unset(_)))
    }

    /// The remedy in the words of the front that was asked.
    pub fn spelled(&self, front: Front) -> String {
        let option = |option: &NetworkOption, value: Option<&str>| match front {
            Front::CommandLine => option.on_command_line(value),
            Front::Docker => option.in_docker(value),
        };
        let part = |part: &Part| match part {
            Part::Text(words) | Part::Run(words) => words.clone(),
            Part::Engine(command) => format!("{} {command}", front.engine()),
            Part::Set(name, value) => option(name, value.as_deref()),
            Part::Unset(name) => format!("leave {} out", option(name, None)),
            Part::Only(of, words) if *of == front => words.clone(),
            Part::Only(..) => String::new(),
        };
        self.0.iter().map(part).collect()
    }

    /// The remedy without its commands, to check the words of a front.
    #[cfg(test)]
    pub(crate) fn without_commands(&self) -> Self {
        Remedy(
            self.0.iter().filter(|part| !matches!(part, Part::Run(_) | Part::Engine(_))).cloned().collect(),
        )
    }
}

/// A message with the remedy, if there is one, in the words of a front.
pub fn with_remedy(message: &impl fmt::Display, remedy: Option<&Remedy>, front: Front) -> String {
    match remedy {
        Some(remedy) => format!("{message}; try: {}", remedy.spelled(front)),
        None => message.to_string(),
    }
}

/// The words of the command line.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled(Front::CommandLine))
    }
}

impl From<&str> for Remedy {
    fn from(words: &str) -> Self {
        Remedy::default().and(words)
    }
}

impl From<String> for Remedy {
    fn from(words: String) -> Self {
        Remedy::default().and(words)
    }
}

impl From<Remedy> for String {
    fn from(remedy: Remedy) -> Self {
        remedy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::option::{
        ALL, DHCP, GVRP, HOST_ACCESS, INTERNAL, IP_RANGE, KIND, PARENT, SUBNET, of_driver, of_ipam,
    };

    #[test]
    fn each_front_reads_its_own_names() {
        let rows = [
            (Remedy::set(&KIND, "bridge"), "--kind bridge", "-o kind=bridge"),
            (Remedy::give(&PARENT), "--parent", "-o parent="),
            (Remedy::set(&HOST_ACCESS, "no"), "--host-access no", "-o host_access=no"),
            (Remedy::give(&IP_RANGE), "--ip-range", "--ip-range"),
            (Remedy::set(&SUBNET, "10.0.0.0/8"), "--subnet 10.0.0.0/8", "--subnet 10.0.0.0/8"),
            (Remedy::unset(&DHCP), "leave --dhcp out", "leave --ipam-opt addressing=dhcp out"),
            (Remedy::unset(&GVRP), "leave --gvrp out", "leave -o gvrp=yes out"),
            (Remedy::give(&INTERNAL), "--internal", "--internal"),
            (Remedy::run("ashore status"), "ashore status", "ashore status"),
            (Remedy::from("a").only(Front::Docker, "b").and("c"), "ac", "abc"),
        ];
        for (remedy, on_command_line, in_docker) in rows {
            assert_eq!(remedy.spelled(Front::CommandLine), on_command_line);
            assert_eq!(remedy.spelled(Front::Docker), in_docker);
        }
    }

    #[test]
    fn no_name_stands_for_two_options() {
        let flags = ALL.iter().map(|option| option.flag);
        for names in [flags.collect::<Vec<_>>(), of_driver().collect(), of_ipam().collect()] {
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len(), "{names:?}");
        }
    }
}
