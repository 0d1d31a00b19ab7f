//! CNI runtimes, by the CNI specification 1.1.0, 1.0.0, 0.4.0 and 0.3.1: the command and the container in environment
//! variables, the network configuration as JSON on standard input.
//!
//! An attachment is a container and a link of one network configuration. Several configurations may put containers on
//! one network of Ashore's, so the container's id is kept together with the configuration's name.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::request::{Attachment, KeepSetUp, Request, SetUpCheck};
use ashore_core::model::lease::Addressing;
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::IfName;
use ashore_core::net::remedy::Front;
use ashore_core::net::text::Shown;
use ashore_core::rules::attach::{self, AttachSpec};
use ashore_core::rules::create::NetworkSpec;
use ashore_plug::wire::{self, Delegated, STAYS};
use serde_json::{Value, json};

use super::caller::{Caller, Handle, Opened, check_id};
use crate::client::{UNPRIVILEGED, exit_code_of};

mod config;
mod container;
mod ipam;
mod nerdctl;
mod nothing;
mod options;
mod result;
mod status;

use config::{Asked, Config, Version};
use container::{Arguments, Wishes};
use ipam::{Choice, Chosen, Role};

/// CNI's error codes.
mod code {
    /// The version is not supported.
    pub(super) const VERSION: u32 = 1;
    /// The configuration has something that is not supported.
    pub(super) const UNSUPPORTED: u32 = 2;
    /// The container is unknown or gone: nothing is to be cleaned up.
    pub(super) const UNKNOWN: u32 = 3;
    /// An environment variable is missing or invalid.
    pub(super) const ENVIRONMENT: u32 = 4;
    /// The input cannot be decoded.
    pub(super) const UNDECODED: u32 = 6;
    /// The configuration is invalid.
    pub(super) const CONFIG: u32 = 7;
    /// Try again later.
    pub(super) const LATER: u32 = 11;
    /// STATUS: no container can be attached.
    pub(super) const UNAVAILABLE: u32 = 50;
    /// STATUS: no container can be attached, and those that are have limited connectivity.
    pub(super) const LIMITED: u32 = 51;
    /// From here on they are Ashore's own: its exit codes.
    pub(super) const OWN: u32 = 100;
}

/// Why a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    code: u32,
    why: String,
    /// What helps.
    details: String,
}

impl Failed {
    fn new(code: u32, why: impl Into<String>) -> Self {
        Failed { code, why: why.into(), details: String::new() }
    }

    /// The same with what helps.
    fn try_this(self, remedy: impl Into<String>) -> Self {
        Failed { details: format!("try: {}", remedy.into()), ..self }
    }
}

/// An error of Ashore's own with the code of a refusal.
impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            Code::NoNamespace => code::UNKNOWN,
            Code::LeaseBusy | Code::AddressBeingTaken => code::LATER,
            _ => code::OWN + u32::from(exit_code_of(refusal.kind)),
        };
        let failed = Failed::new(code, refusal.message);
        match refusal.remedy {
            Some(remedy) => failed.try_this(remedy.spelled(Front::Cni)),
            None => failed,
        }
    }
}

/// What a call that succeeds prints.
#[derive(Default)]
struct Said {
    answer: Option<Value>,
    warnings: Vec<String>,
    /// Whether a plugin that chooses addresses must give none back.
    stays: bool,
}

/// Answers a call of a CNI runtime.
pub(super) fn answer(call: &wire::Request, caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    let asked = Call { made: call, caller, handle };
    match asked.answer() {
        Ok(Said { answer, warnings, stays }) => {
            let lines = warnings.iter().map(|warning| format!("ashore: {}\n", Shown(warning.as_bytes())));
            wire::Reply {
                code: 0,
                stdout: match answer {
                    Some(answer) => answer.to_string().into_bytes(),
                    None if stays => STAYS.to_vec(),
                    None => Vec::new(),
                },
                stderr: lines.collect::<String>().into_bytes(),
            }
        }
        Err(Failed { code, why, details }) => {
            let error = json!({
                "cniVersion": Config::version_of_answer(&call.stdin).as_str(),
                "code": code,
                "msg": format!("ashore: {}", Shown(why.as_bytes())),
                "details": Shown(details.as_bytes()).to_string(),
            });
            wire::Reply { code: 1, stdout: error.to_string().into_bytes(), stderr: Vec::new() }
        }
    }
}

/// A call, with who made it.
struct Call<'a> {
    made: &'a wire::Request,
    caller: &'a Caller,
    handle: Handle<'a>,
}

impl Call<'_> {
    fn answer(&self) -> Result<Said, Failed> {
        if let Some(user) = &self.caller.user {
            return Err(Failed::new(
                code::OWN + u32::from(UNPRIVILEGED),
                format!("{user} may not attach containers by CNI; only root can"),
            ));
        }
        match self.text("CNI_COMMAND")?.as_str() {
            "ADD" => self.add(),
            "DEL" => self.del(),
            "CHECK" => self.check(),
            "GC" => self.gc(),
            "STATUS" => self.status(),
            "VERSION" => Ok(Said {
                answer: Some(Version::all(&self.made.stdin)),
                warnings: Vec::new(),
                ..Said::default()
            }),
            other => Err(Failed::new(code::ENVIRONMENT, format!("unknown CNI_COMMAND: {other}"))),
        }
    }

    /// Carries out a request.
    fn ask(&self, request: Request) -> Result<Reply, Failed> {
        match (self.handle)(request) {
            Reply::Refused(refusal) => Err(refusal.into()),
            reply => Ok(reply),
        }
    }

    /// An environment variable that has to be there.
    fn text(&self, name: &str) -> Result<String, Failed> {
        match self.made.variable(name).filter(|value| !value.is_empty()) {
            None => {
                Err(Failed::new(code::ENVIRONMENT, format!("the environment variable {name} is missing")))
            }
            Some(value) => String::from_utf8(value.to_vec())
                .map_err(|_| Failed::new(code::ENVIRONMENT, format!("{name}={} is no text", Shown(value)))),
        }
    }

    /// The container's id, by which the runtime knows it.
    fn container(&self) -> Result<String, Failed> {
        let id = self.text("CNI_CONTAINERID")?;
        if config::is_word(&id) {
            check_id("container", &id).map_err(|why| Failed::new(code::ENVIRONMENT, why))?;
            return Ok(id);
        }
        Err(Failed::new(
            code::ENVIRONMENT,
            format!(
                "CNI_CONTAINERID={id}: use letters, digits, `_`, `.` and `-`, starting with a letter or digit"
            ),
        ))
    }

    fn ifname(&self) -> Result<IfName, Failed> {
        let name = self.text("CNI_IFNAME")?;
        name.parse().map_err(|error| Failed::new(code::ENVIRONMENT, format!("CNI_IFNAME={name}: {error}")))
    }

    /// A path by which the container's namespace can be opened, and the one that the runtime named.
    fn netns(&self) -> Result<(Opened, String), Failed> {
        let shown = self.text("CNI_NETNS")?;
        let path = Path::new(OsStr::from_bytes(shown.as_bytes()));
        let opened = self.caller.opened(path, self.made.unopened.as_deref());
        Ok((opened.map_err(|why| Failed::new(code::UNKNOWN, why))?, shown))
    }

    /// The attachment's container: its id is unique with the configuration's name.
    fn of(config: &Config, container: &str) -> String {
        format!("{}/{container}", config.name)
    }

    fn attachment(config: &Config, container: &str, ifname: IfName) -> Attachment {
        Attachment { engine: EngineKind::Cni, container: Self::of(config, container), ifname }
    }

    fn add(&self) -> Result<Said, Failed> {
        let (container, ifname) = (self.container()?, self.ifname()?);
        self.text("CNI_NETNS")?;
        let config = Config::parse(&self.made.stdin)?;
        let program = String::from_utf8_lossy(&self.made.name).into_owned();
        let asked = config.asked(&program)?;
        if asked.role != Role::Addresses && config.previous().is_some() {
            return Err(Failed::new(
                code::UNSUPPORTED,
                "prevResult: another plugin of the list made a link before; Ashore has to be the first",
            ));
        }
        let arguments = Arguments::parse(self.made.variable("CNI_ARGS").unwrap_or_default())?;
        let Wishes { ips, mac, lease: wishes } = config.wishes(&arguments, asked.role)?;
        let chosen = match self.chosen(asked.role)? {
            Choice::None => None,
            Choice::Made(chosen) => Some(chosen),
            Choice::ToCome => return self.may_be_chosen_for(Self::attachment(&config, &container, ifname)),
        };
        let (network, mut warnings) = self.network(&asked, chosen.as_ref())?;
        let (netns, sandbox) = self.netns()?;
        let data = Path::new(nerdctl::DATA);
        let attach = AttachSpec {
            network: network.name.clone(),
            name: container::identity(asked.identity.as_ref(), &arguments, &container, data)?,
            netns: netns.path,
            // The other plugin was told what is wished.
            ips: chosen.as_ref().map_or(ips, |chosen| chosen.ips.iter().map(|(net, _)| net.addr()).collect()),
            mac: mac.filter(|_| asked.role != Role::Addresses),
            ifname: ifname.clone(),
            default_route: asked.default_route && chosen.is_none(),
            own_routes: chosen
                .as_ref()
                .map(|chosen| chosen.own_routes(asked.default_route))
                .unwrap_or_default(),
            unaddressed: false,
            only_requested: chosen.is_some(),
            wishes,
            caller: Some(attach::Caller {
                engine: EngineKind::Cni,
                container: Self::of(&config, &container),
                patience: None,
                user: None,
                opened: Some(netns.file),
            }),
        };
        let network = Box::new(NetworkSpec::named(network.name));
        let attach = Box::new(attach);
        let request = match asked.role {
            Role::Link | Role::LinkOnly => Request::SetUp { network, attach },
            Role::Addresses => Request::Lend { network, attach },
        };
        match self.ask(request)? {
            Reply::SetUp { endpoint, mac } => {
                warnings.extend(endpoint.warnings.iter().cloned());
                let (version, chosen, dns) = (config.version, chosen.as_ref(), config.dns());
                let answer = result::Answer { version, endpoint: &endpoint, chosen, dns };
                let answer = match asked.role {
                    Role::Link | Role::LinkOnly => answer.with_link(&ifname, &sandbox, mac),
                    Role::Addresses => answer.without_link(),
                };
                Ok(Said { answer: Some(answer), warnings, ..Said::default() })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// What the plugin has chosen that the configuration names for that.
    fn chosen(&self, role: Role) -> Result<Choice, Failed> {
        match (self.made.delegated.as_ref(), role) {
            (None, Role::Link | Role::Addresses) => Ok(Choice::None),
            // The two have read different configurations.
            (Some(_), Role::Link | Role::Addresses) => Err(Failed::new(
                code::CONFIG,
                "ipam: `ashore-plug` has found another plugin than the daemon; write it once and without escapes",
            )),
            (Some(Delegated::ToCome), Role::LinkOnly) => Ok(Choice::ToCome),
            (Some(Delegated::Answer(answer)), Role::LinkOnly) => Chosen::parse(answer).map(Choice::Made),
            (None, Role::LinkOnly) => Err(Failed::new(
                code::CONFIG,
                "ipam.type: `ashore-plug` has not found it; write it without escapes",
            )),
        }
    }

    /// Whether another plugin may choose addresses for a container: its failure would make it give back those of one
    /// that is attached.
    fn may_be_chosen_for(&self, of: Attachment) -> Result<Said, Failed> {
        let (netns, sandbox) = self.netns()?;
        let ifname = of.ifname.clone();
        match (self.handle)(Request::CheckSetUp(SetUpCheck { of, netns: netns.path, ips: Vec::new() })) {
            Reply::Refused(refusal) if refusal.code == Code::NoEndpoint => {
                Ok(Said { stays: refusal.about.endpoint.is_some(), ..Said::default() })
            }
            Reply::Refused(refusal) if refusal.code != Code::StepUndone => Err(refusal.into()),
            // It is attached, if not as it should be.
            _ => {
                let there = format!("{sandbox} has a link `{ifname}` of this container already");
                Err(Refusal::new(Code::IfnameTaken, About::default(), there, None).into())
            }
        }
    }

    /// The network that a configuration means. It is made if it is not there, unless the configuration names one of
    /// Ashore's and says nothing else of it.
    fn network(&self, asked: &Asked, chosen: Option<&Chosen>) -> Result<(Network, Vec<String>), Failed> {
        let there = match (self.handle)(Request::InspectNetwork { network: asked.network.name.clone() }) {
            Reply::Network(network) => Some(network),
            _ => None,
        };
        let mut spec = asked.network.clone();
        if let Some(chosen) = chosen.filter(|_| there.is_none() && spec.subnets.is_empty()) {
            spec.subnets.extend(chosen.ips.iter().map(|(net, _)| net.trunc()));
            spec.gateways.extend(chosen.ips.iter().filter_map(|(_, gateway)| *gateway));
        }
        let request = || {
            if asked.is_named_only {
                Request::InspectNetwork { network: asked.network.name.clone() }
            } else {
                Request::FindNetwork(spec.clone())
            }
        };
        let reply = match (self.handle)(request()) {
            // Another container of the network has come at the same time, and has made it.
            Reply::Refused(refusal) if refusal.code == Code::NetworkExists => self.ask(request())?,
            Reply::Refused(refusal) => return Err(refusal.into()),
            reply => reply,
        };
        let (network, warnings) = match reply {
            Reply::Network(network) => (network, Vec::new()),
            Reply::Created { network, warnings } => (network, warnings),
            other => return Err(unexpected(&other)),
        };
        if asked.role == Role::Addresses && network.addressing == Addressing::Dhcp {
            return Err(Failed::new(
                code::UNSUPPORTED,
                format!(
                    "network `{}` has leases, which are renewed by a link that Ashore makes",
                    network.label()
                ),
            )
            .try_this("`\"type\": \"ashore\"`, or a network with a range"));
        }
        let nets = chosen.into_iter().flat_map(|chosen| &chosen.ips).map(|(net, _)| net);
        for net in nets {
            let subnet = network.subnet_of(net.addr()).map(|subnet| subnet.net);
            if let Some(subnet) = subnet.filter(|subnet| *subnet != net.trunc()) {
                return Err(Failed::new(
                    code::CONFIG,
                    format!(
                        "the IPAM plugin has chosen {net}, and network `{}` has {subnet}",
                        network.label()
                    ),
                )
                .try_this("give both the same subnet"));
            }
        }
        Ok((network, warnings))
    }

    /// Takes a container off. Everything that may be gone by now is done without.
    fn del(&self) -> Result<Said, Failed> {
        let (container, ifname) = (self.container()?, self.ifname()?);
        let config = Config::parse_leniently(&self.made.stdin)?;
        let request = Request::TakeOff(Self::attachment(&config, &container, ifname));
        // A runtime whose DEL failed could not remove the container.
        match self.ask(request) {
            Ok(Reply::Done { warnings }) => Ok(Said { answer: None, warnings, ..Said::default() }),
            Ok(other) => Ok(Said { answer: None, warnings: vec![unexpected(&other).why], ..Said::default() }),
            Err(failed) => Ok(Said { answer: None, warnings: vec![failed.why], ..Said::default() }),
        }
    }

    fn check(&self) -> Result<Said, Failed> {
        let (container, ifname) = (self.container()?, self.ifname()?);
        self.text("CNI_NETNS")?;
        let config = Config::parse(&self.made.stdin)?;
        config.allows("CHECK", Version::V040)?;
        let Some(previous) = config.previous() else {
            return Err(Failed::new(
                code::CONFIG,
                "prevResult is missing: CHECK needs what ADD has answered",
            ));
        };
        let (netns, sandbox) = self.netns()?;
        let ips: Vec<IpAddr> = result::addresses_of(previous, &ifname, &sandbox)?;
        self.ask(Request::CheckSetUp(SetUpCheck {
            of: Self::attachment(&config, &container, ifname),
            netns: netns.path,
            ips,
        }))
        .map_err(|failed| match failed.code - failed.code.min(code::OWN) {
            // There is no such endpoint.
            4 => Failed { code: code::UNKNOWN, ..failed },
            _ => failed,
        })?;
        Ok(Said::default())
    }

    fn gc(&self) -> Result<Said, Failed> {
        let config = Config::parse(&self.made.stdin)?;
        config.allows("GC", Version::V110)?;
        let keep = config.valid_attachments()?;
        let keep = keep.into_iter().map(|(container, ifname)| (Self::of(&config, &container), ifname));
        let request = KeepSetUp { engine: EngineKind::Cni, of: Self::of(&config, ""), keep: keep.collect() };
        match self.ask(Request::KeepSetUp(request))? {
            // Each warning is of a container that is there yet.
            Reply::Done { warnings } => {
                let stays = !warnings.is_empty() && self.made.delegated.is_some();
                Ok(Said { answer: None, warnings, stays })
            }
            other => Err(unexpected(&other)),
        }
    }

    fn status(&self) -> Result<Said, Failed> {
        let config = Config::parse(&self.made.stdin)?;
        config.allows("STATUS", Version::V110)?;
        let program = String::from_utf8_lossy(&self.made.name).into_owned();
        let asked = config.asked(&program)?;
        status::check(&asked, &|request| self.ask(request))?;
        Ok(Said::default())
    }
}

fn unexpected(reply: &Reply) -> Failed {
    Failed::new(code::OWN + 1, format!("the daemon's reply does not match the request: {reply:?}"))
}

#[cfg(test)]
mod tests;
