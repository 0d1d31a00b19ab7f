//! Podman, by netavark's plugin protocol (netavark 1.6 to 1.17, `plugin-API.md`): `create` with the network,
//! `setup` and `teardown` with the network, the container and the path of its network namespace, all as JSON on
//! standard input.
//!
//! The Podman of a user other than root makes the same calls. For him there is one request ([`Request::OfUser`]), which
//! joins networks that root has made and allowed to him, and makes none.
//!
//! Podman tells nobody that it removes a network, nor that it rejects one that `create` has answered. So each
//! `setup` has the network made again if it is missing.

use std::path::Path;

use ashore_core::api::reply::Reply;
use ashore_core::api::request::{Request, TearDown, UserCall};
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::name::{EndpointName, IfName};
use ashore_core::net::remedy::{Front, with_remedy};
use ashore_core::net::text::Shown;
use ashore_core::rules::attach::{self, AttachSpec};
use ashore_core::rules::create::NetworkSpec;
use ashore_plug::wire;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::caller::{Caller, Handle, check_id};

mod attachment;
mod network;

use attachment::Attachment;
use network::Described;

/// How long a `setup` may take, in seconds. Podman holds one lock for all containers meanwhile.
const PATIENCE: u32 = 15;

/// Answers a call of netavark's, or of Podman's.
pub(super) fn answer(call: &wire::Request, caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    let arguments: Vec<&[u8]> = call.arguments.iter().map(Vec::as_slice).collect();
    let answered = match arguments.as_slice() {
        [b"create"] => create(&call.stdin, caller, handle),
        [b"setup", netns] => setup(call, netns, caller, handle),
        [b"teardown", _] => return tear_down(&call.stdin, caller, handle),
        other => {
            let shown: Vec<String> = other.iter().map(|argument| Shown(argument).to_string()).collect();
            Err(format!("netavark's call `{}` is not known", shown.join(" ")).into())
        }
    };
    match answered {
        Ok(Said { answer, warnings }) => said(0, Some(&answer), &warnings),
        // A second key makes Podman reject the answer as malformed.
        Err(Failed(why)) => {
            said(1, Some(&json!({ "error": format!("ashore: {}", Shown(why.as_bytes())) })), &[])
        }
    }
}

/// What is printed.
struct Said {
    answer: Value,
    /// Podman shows standard error to its user, also of a call that succeeds.
    warnings: Vec<String>,
}

/// Why a call fails, for Podman's user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed(String);

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Failed(why)
    }
}

fn said(code: i32, answer: Option<&Value>, warnings: &[String]) -> wire::Reply {
    let lines = warnings.iter().map(|warning| format!("ashore: {}\n", Shown(warning.as_bytes())));
    wire::Reply {
        code,
        stdout: answer.map_or_else(Vec::new, |answer| answer.to_string().into_bytes()),
        stderr: lines.collect::<String>().into_bytes(),
    }
}

/// Carries out what root's Podman asks for, or that of another user. A refusal is told in the words of who asked.
fn ask(handle: Handle<'_>, caller: &Caller, call: UserCall) -> Result<Reply, Failed> {
    let (request, front) = match (&caller.user, call) {
        (Some(user), call) => (Request::OfUser { user: user.clone(), call }, Front::Rootless),
        (None, UserCall::FindNetwork(network)) => (Request::FindNetwork(*network), Front::Podman),
        (None, UserCall::SetUp { network, attach }) => (Request::SetUp { network, attach }, Front::Podman),
        (None, UserCall::TearDown(gone)) => (Request::TearDown(gone), Front::Podman),
    };
    match handle(request) {
        Reply::Refused(refusal) => Err(Failed(with_remedy(&refusal.message, refusal.remedy.as_ref(), front))),
        reply => Ok(reply),
    }
}

fn parse<T: DeserializeOwned>(stdin: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(stdin)
        .map_err(|error| Failed(format!("netavark's call cannot be parsed: {error}")))
}

fn unexpected(reply: &Reply) -> Failed {
    Failed(format!("the daemon's reply does not match the request: {reply:?}"))
}

fn create(stdin: &[u8], caller: &Caller, handle: Handle<'_>) -> Result<Said, Failed> {
    let described: Described = parse(stdin)?;
    match ask(handle, caller, UserCall::FindNetwork(Box::new(described.spec_for(caller)?)))? {
        Reply::Created { network, warnings } => Ok(Said { answer: described.filled(&network), warnings }),
        other => Err(unexpected(&other)),
    }
}

fn setup(call: &wire::Request, netns: &[u8], caller: &Caller, handle: Handle<'_>) -> Result<Said, Failed> {
    use std::os::unix::ffi::OsStrExt;
    let attachment: Attachment = parse(&call.stdin)?;
    let network = attachment.network.spec_for(caller)?;
    if caller.user.is_some() {
        // The namespace is looked for among those of all processes. That is not for whom the network is not allowed.
        let asked = NetworkSpec { gateways: Vec::new(), ..network.clone() };
        ask(handle, caller, UserCall::FindNetwork(Box::new(asked)))?;
    }
    let netns = caller.opened(Path::new(std::ffi::OsStr::from_bytes(netns)), call.unopened.as_deref())?;
    let choices = attachment.choices()?;
    check_id("container", &attachment.container_id)?;
    let attach = AttachSpec {
        network: network.name.clone(),
        name: EndpointName::of_container(&attachment.container_name),
        netns: netns.path,
        ips: choices.ips,
        mac: choices.mac,
        ifname: choices.ifname,
        default_route: choices.default_route,
        own_routes: choices.own_routes,
        unaddressed: choices.unaddressed,
        only_requested: false,
        wishes: choices.wishes,
        caller: Some(attach::Caller {
            engine: EngineKind::Podman,
            container: attachment.container_id.clone(),
            patience: Some(PATIENCE),
            user: caller.user.clone(),
            opened: Some(netns.file),
        }),
    };
    let call = UserCall::SetUp { network: Box::new(network), attach: Box::new(attach) };
    match ask(handle, caller, call)? {
        Reply::SetUp { endpoint, mac } => {
            let note = attachment.note_of_ports(&endpoint);
            let answer = attachment.answer(&endpoint, mac);
            Ok(Said { answer, warnings: endpoint.warnings.into_iter().chain(note).collect() })
        }
        other => Err(unexpected(&other)),
    }
}

/// Takes a container off a network. This always succeeds: Podman would never call again, and not stop the
/// container.
fn tear_down(stdin: &[u8], caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    let request = || {
        let attachment: Attachment = parse(stdin)?;
        let ifname: IfName = attachment.ifname()?;
        let request = TearDown {
            engine: EngineKind::Podman,
            network: attachment.network.id.clone(),
            network_name: attachment.network.name()?,
            container: attachment.container_id,
            ifname: Some(ifname),
        };
        ask(handle, caller, UserCall::TearDown(request))
    };
    match request() {
        Ok(Reply::Done { warnings }) => said(0, None, &warnings),
        Ok(other) => said(0, None, &[unexpected(&other).0]),
        Err(Failed(why)) => said(0, None, &[why]),
    }
}

#[cfg(test)]
mod tests;
