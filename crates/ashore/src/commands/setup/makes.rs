//! Who makes the network, and the command that does.

use std::path::Path;
use std::process::Command;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use ashore_core::net::name::NetworkName;
use ashore_core::net::text::Word;

use super::{Choice, Found};
use crate::cli::Maker;
use crate::client::{ClientArgs, Failure, ask, unexpected};
use crate::engines::running::{OLDEST_DOCKER, OLDEST_PODMAN, Version};
use crate::messages::message;
use crate::out::{complain, one_line};

impl Maker {
    /// Whether its program is here.
    pub(super) fn is_there(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = self.to_string();
        std::env::split_paths(&path)
            .any(|directory: std::path::PathBuf| Path::new(&directory).join(&program).is_file())
    }

    /// The version of its program, and the oldest that can make the network, if it is older than that. What cannot be
    /// found out stands in nobody's way.
    pub(super) fn too_old(self) -> Option<(Version, Version)> {
        let oldest = match self {
            Maker::Docker => OLDEST_DOCKER,
            Maker::Podman => OLDEST_PODMAN,
            Maker::Ashore => return None,
        };
        let program = self.to_string();
        let told = Command::new(&program).arg("--version").output().ok()?;
        let has = Version::told_by(&program, &String::from_utf8_lossy(&told.stdout))?;
        (has < oldest).then_some((has, oldest))
    }

    /// The words of the command that makes the network.
    pub(super) fn words(self, choice: &Choice, found: &Found) -> Vec<String> {
        let mut words: Vec<String> = [&self.to_string(), "network", "create"].map(String::from).into();
        let mut say = |all: &[&str]| words.extend(all.iter().map(|word| (*word).to_owned()));
        let (subnet, parent) = (found.subnet.to_string(), found.parent.to_string());
        let driver_option = format!("parent={parent}");
        match self {
            Maker::Docker => say(&["-d", "ashore", "--ipam-driver", "ashore", "-o", &driver_option]),
            Maker::Podman => say(&["-d", "ashore", "-o", &driver_option]),
            Maker::Ashore => {}
        }
        if choice.dhcp {
            match self {
                Maker::Docker => say(&["--ipam-opt", "addressing=dhcp"]),
                Maker::Podman => say(&["--ipam-driver", "dhcp"]),
                Maker::Ashore => say(&["--dhcp", "--parent", &parent]),
            }
            if self == Maker::Podman {
                words.push(choice.name.to_string());
                return words;
            }
        }
        say(&["--subnet", &subnet]);
        if let Some(range) = found.range.filter(|_| !choice.dhcp) {
            say(&["--ip-range", &range.to_string()]);
        }
        if let Some(router) = found.router {
            say(&["--gateway", &router.to_string()]);
        }
        words.push(choice.name.to_string());
        words
    }

    /// The command, to be read and typed: each word as a shell takes it, because an interface may have any name.
    pub(super) fn command(self, choice: &Choice, found: &Found) -> String {
        let words = self.words(choice, found);
        words.iter().map(|word| Word(word.as_bytes()).to_string()).collect::<Vec<_>>().join(" ")
    }

    /// The command for a first container with an address of one's own choice.
    pub(super) fn first(self, choice: &Choice, found: &Found) -> String {
        // The last address of a subnet is its broadcast address.
        let near_end =
            |range: ashore_core::net::range::Range| range.nth_around(range.len().saturating_sub(2));
        let ip = found.range.filter(|_| !choice.dhcp).map(near_end);
        let fixed = ip.map(|ip| format!("--ip {ip} ")).unwrap_or_default();
        let name = &choice.name;
        match self {
            Maker::Docker | Maker::Podman => {
                format!("{self} run -d --name web --network {name} {fixed}nginx")
            }
            Maker::Ashore => {
                format!("ip netns add web && ashore attach {name} --netns /run/netns/web {fixed}")
                    .trim()
                    .to_owned()
            }
        }
    }
}

/// Makes the network. Returns the name by which it is known at once: Docker tells the name of a network a moment
/// later, and its id first.
pub(super) fn make(client: &ClientArgs, choice: &Choice, found: &Found) -> Result<NetworkName, Failure> {
    if choice.maker == Maker::Ashore {
        return match ask(client, &Request::CreateNetwork(choice.spec(found)))? {
            Reply::Created { warnings, .. } => {
                for warning in &warnings {
                    complain!("ashore: {}", one_line(warning));
                }
                Ok(choice.name.clone())
            }
            other => Err(unexpected(&other)),
        };
    }
    let words = choice.maker.words(choice, found);
    let (program, words) = words.split_first().expect("a command has a program");
    let made = Command::new(program).args(words).output();
    let made = made.map_err(|error| {
        let error = error.to_string();
        Failure::NotAsExpected(message!("setup-cannot-run", program = program.as_str(), error = error))
    })?;
    if made.status.success() {
        let id = String::from_utf8_lossy(&made.stdout).trim().get(..12).and_then(|id| id.parse().ok());
        return Ok(id.filter(|_| choice.maker == Maker::Docker).unwrap_or_else(|| choice.name.clone()));
    }
    let said = String::from_utf8_lossy(&made.stderr);
    let said = one_line(said.trim());
    Err(Failure::NotAsExpected(message!("setup-not-made", program = program.as_str(), said = said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_no_name_for_code() {
        let found = Found {
            parent: "$(id)".parse().unwrap(),
            subnet: "192.168.88.0/24".parse().unwrap(),
            router: None,
            host: None,
            servers: Vec::new(),
            range: None,
            networks: Vec::new(),
        };
        let choice = Choice { maker: Maker::Docker, name: "lan".parse().unwrap(), dhcp: false };
        assert!(choice.maker.words(&choice, &found).contains(&"parent=$(id)".to_owned()));
        let command = choice.maker.command(&choice, &found);
        assert_eq!(
            command,
            "docker network create -d ashore --ipam-driver ashore -o 'parent=$(id)' --subnet 192.168.88.0/24 lan"
        );
    }
}
