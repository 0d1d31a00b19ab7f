//! The remedy of a refusal or a trouble: what the user is to do. Options are values in it, because the command line and
//! Docker have different names for them. The front that was asked spells them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::option::{IP, MAC, NAME, NetworkOption};

/// Who asked, and in whose words the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// The command line, `ashore`.
    CommandLine,
    /// `docker network create`.
    Docker,
    /// A Compose file. Its networks reach Ashore by Docker, whose calls do not say that Compose made them.
    Compose,
    /// `podman network create`.
    Podman,
    /// The network configuration of a CNI runtime.
    Cni,
    /// `podman run` of a user other than root, whose networks root makes on the command line.
    Rootless,
}

impl Front {
    /// All of them.
    pub const ALL: [Front; 6] =
        [Front::CommandLine, Front::Docker, Front::Compose, Front::Podman, Front::Cni, Front::Rootless];

    /// The program of the engine whose words these are. The users of the command line have Docker's most often.
    fn engine(self) -> &'static str {
        match self {
            Front::CommandLine | Front::Docker | Front::Compose => "docker",
            Front::Podman | Front::Rootless => "podman",
            // A CNI runtime has no command for networks.
            Front::Cni => "ashore",
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
    /// An option to give to the IPAM driver too, with its value.
    Ipam(&'static NetworkOption, String),
    /// A command to run. It is the same whoever asked.
    Run(String),
    /// A command of the engine that asked, without the name of its program.
    Engine(String),
    /// Words for the users of these fronts only.
    For(&'static [Front], String),
    /// A remedy for the users of Docker only, whose networks have two drivers.
    InDocker(Remedy),
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

    /// Adds an option to give to the IPAM driver, with its value. The command line gives options to one driver.
    pub fn and_set_ipam(self, option: &'static NetworkOption, value: impl Into<String>) -> Self {
        self.with(Part::Ipam(option, value.into()))
    }

    /// Adds words for the users of the command line only.
    pub fn on_command_line(self, words: impl Into<String>) -> Self {
        self.with(Part::For(&[Front::CommandLine], words.into()))
    }

    /// Adds words for the users of Podman only, whoever they are.
    pub fn in_podman(self, words: impl Into<String>) -> Self {
        self.with(Part::For(&[Front::Podman, Front::Rootless], words.into()))
    }

    /// Adds words for the users of CNI runtimes only.
    pub fn in_cni(self, words: impl Into<String>) -> Self {
        self.with(Part::For(&[Front::Cni], words.into()))
    }

    /// Adds a remedy for the users of Docker only, whose networks have two drivers.
    pub fn in_docker(self, remedy: impl Into<Remedy>) -> Self {
        self.with(Part::InDocker(remedy.into()))
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
        let is_of_container = |option: &NetworkOption| [&NAME, &MAC, &IP].contains(&option);
        let option = |option: &NetworkOption, value: Option<&str>| match front {
            Front::Rootless if is_of_container(option) => option.in_podman(value),
            Front::CommandLine | Front::Rootless => option.on_command_line(value),
            Front::Docker => option.in_docker(value),
            Front::Compose => option.in_compose(value),
            Front::Podman => option.in_podman(value),
            Front::Cni => option.in_cni(value),
        };
        let part = |part: &Part| match part {
            Part::Text(words) | Part::Run(words) => words.clone(),
            Part::Engine(command) => format!("{} {command}", front.engine()),
            Part::Set(name, value) => option(name, value.as_deref()),
            Part::Unset(name) => format!("leave {} out", option(name, None)),
            Part::Ipam(name, value) => match front {
                Front::CommandLine | Front::Rootless => name.on_command_line(Some(value)),
                Front::Docker => name.in_docker_ipam(value),
                Front::Compose => name.in_compose_ipam(value),
                Front::Podman => name.in_podman(Some(value)),
                Front::Cni => name.in_cni(Some(value)),
            },
            Part::For(fronts, words) if fronts.contains(&front) => words.clone(),
            Part::InDocker(remedy) if matches!(front, Front::Docker | Front::Compose) => {
                remedy.spelled(front)
            }
            Part::For(..) | Part::InDocker(_) => String::new(),
        };
        self.0.iter().map(part).collect()
    }

    /// Its commands, as they are typed.
    #[cfg(test)]
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Run(command) => Some(command.as_str()),
            _ => None,
        })
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
        ALL, CLIENT_ID, IPAM_DRIVER, KIND, OWN_HOSTNAME, PARENT, Takes, of_driver, of_ipam, of_podman,
    };

    /// Each option, to give and to leave out, in the words of each front, as in `remedy/spelled.txt`.
    #[test]
    fn each_front_reads_its_own_names() {
        let mut lines = Vec::new();
        for option in ALL.iter().copied().chain([&NAME, &MAC, &IP, &OWN_HOSTNAME, &CLIENT_ID, &IPAM_DRIVER]) {
            let example = match option.flag {
                "aux-address" => "host=192.168.88.9",
                "host-access" => "no",
                "conflict" => "off",
                "subnet" => "192.168.88.0/24",
                _ => "X",
            };
            let give = match option.takes {
                Takes::Value(_) => Remedy::set(option, example),
                Takes::Switch(_) => Remedy::give(option),
            };
            for remedy in [give, Remedy::give(option), Remedy::unset(option)] {
                lines.push(Front::ALL.map(|front| remedy.spelled(front)).join(" | "));
            }
        }
        lines.dedup();
        let written = include_str!("remedy/spelled.txt").lines().skip(1);
        assert_eq!(
            lines,
            written.collect::<Vec<_>>(),
            "the second is remedy/spelled.txt:\n{}",
            lines.join("\n")
        );
    }

    #[test]
    fn what_is_for_one_front_is_read_there_alone() {
        let remedy =
            Remedy::from("a").on_command_line("b").in_docker(Remedy::from("c").and_set(&KIND, "bridge"));
        let said = remedy.in_podman("p").in_cni("i").and_run(" d").and_engine("e");
        assert_eq!(said.spelled(Front::CommandLine), "ab ddocker e");
        assert_eq!(said.spelled(Front::Docker), "ac-o kind=bridge ddocker e");
        assert_eq!(said.spelled(Front::Compose), "ac`kind: bridge` under `driver_opts:` ddocker e");
        assert_eq!(said.spelled(Front::Podman), "ap dpodman e");
        assert_eq!(said.spelled(Front::Cni), "ai dashore e");
        assert_eq!(said.spelled(Front::Rootless), "ap dpodman e");
        let parent = Remedy::default().and_set_ipam(&PARENT, "eth0");
        let spelled = Front::ALL.map(|front| parent.spelled(front));
        let expected = [
            "--parent eth0",
            "--ipam-opt parent=eth0",
            "`parent: eth0` under `ipam:`, `options:`",
            "-o parent=eth0",
            r#"`"parent": "eth0"` under `"ashore"`"#,
            "--parent eth0",
        ];
        assert_eq!(spelled, expected);
    }

    #[test]
    fn no_name_stands_for_two_options() {
        let flags = ALL.iter().map(|option| option.flag);
        for names in
            [flags.collect::<Vec<_>>(), of_driver().collect(), of_ipam().collect(), of_podman().collect()]
        {
            let mut once = names.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), names.len(), "{names:?}");
        }
    }
}
