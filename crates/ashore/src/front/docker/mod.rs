//! Docker's plugin protocol, version 1: HTTP POST of JSON to a Unix socket, as a network driver and an IPAM
//! driver (moby, `libnetwork/docs/remote.md` and `ipam.md`).

use std::net::IpAddr;

use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::reply::Reply;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::remedy::{Front, with_remedy};
use ashore_core::net::text::Shown;
use serde_json::{Value, json};

mod attachment;
mod creations;
mod driver;
mod ipam;
mod options;
mod reserved;
pub(crate) mod server;
mod unanswered;

pub use attachment::KNOWN as ATTACHMENT_OPTIONS;

/// A parsed call of the engine.
#[derive(Debug)]
pub struct Call {
    /// The request to the daemon, or `None` for a call that is answered without it.
    pub stage: Option<EngineCall>,
    /// The form of the answer.
    shape: Shape,
    /// The user's choices for the container. Not every engine lets a plugin choose them.
    attachment: attachment::Attachment,
}

impl Call {
    fn new(stage: Option<EngineCall>, shape: Shape) -> Self {
        Call { stage, shape, attachment: attachment::Attachment::default() }
    }
}

/// The fields of an answer.
#[derive(Debug)]
enum Shape {
    /// A constant answer.
    Fixed(Value),
    /// The pool.
    Pool,
    /// The reserved address.
    Address,
    /// The interface's fields that the engine left empty.
    Interface { mac_given: bool },
    /// Where the link is, and what belongs to it.
    Join,
}

impl Call {
    /// Marks the call as one that was made before, at `began` in seconds since 1970, and whose answer was
    /// lost. All calls but these two give the same answer a second time.
    fn is_repeated(&mut self, began: u64) {
        match &mut self.stage {
            Some(EngineCall::Reserve(requested)) => requested.asked_before = Some(began),
            Some(EngineCall::OpenPool(requested)) => requested.repeated = true,
            _ => {}
        }
    }
}

/// Parses a call.
///
/// # Errors
/// A sentence for the engine's user.
pub fn call(path: &str, body: &[u8]) -> Result<Call, String> {
    let method = path.trim_start_matches('/');
    match method.split_once('.') {
        Some(("Plugin", "Activate")) => {
            // An engine that starts activates its plugins again.
            Ok(Call::new(Some(EngineCall::Begin(EngineKind::Docker)), Shape::Fixed(implements())))
        }
        Some(("NetworkDriver", name)) => driver::call(name, body),
        Some(("IpamDriver", name)) => ipam::call(name, body),
        _ => Err(format!("`{method}` is not a call that Ashore supports")),
    }
}

fn implements() -> Value {
    json!({ "Implements": ["NetworkDriver", "IpamDriver"] })
}

/// The answer to a call.
pub fn answer(call: &Call, reply: Option<Reply>) -> Result<Value, String> {
    match (&call.shape, reply) {
        (_, Some(Reply::Refused(refusal))) => {
            Err(with_remedy(&refusal.message, refusal.remedy.as_ref(), Front::Docker))
        }
        (Shape::Fixed(value), _) => Ok(value.clone()),
        (Shape::Pool, Some(Reply::Pool { key, told })) => {
            Ok(json!({ "PoolID": key, "Pool": told, "Data": {} }))
        }
        (Shape::Address, Some(Reply::Address(address))) => Ok(json!({ "Address": address, "Data": {} })),
        (Shape::Address, Some(Reply::Gateway { address, guarded })) => {
            Ok(json!({ "Address": ipam::gateway(address, guarded), "Data": {} }))
        }
        // What the engine has given must not be returned to it.
        (Shape::Interface { mac_given: false }, Some(Reply::Prepared { mac: Some(mac) })) => {
            Ok(json!({ "Interface": { "MacAddress": mac } }))
        }
        (Shape::Interface { .. }, Some(Reply::Prepared { .. })) => Ok(json!({})),
        (Shape::Join, Some(Reply::Joined { link, ifname, gateways, on_link })) => {
            Ok(driver::joined(&link, ifname.as_ref(), &gateways, &on_link))
        }
        (_, other) => Err(format!("the daemon's reply does not match the request: {other:?}")),
    }
}

/// An error in the form that the engine expects. Its two kinds of drivers use different field names.
pub fn error(path: &str, message: &str) -> Value {
    let field = if path.contains("IpamDriver") { "Error" } else { "Err" };
    json!({ field: format!("ashore: {}", Shown(message.as_bytes())) })
}

/// Parses a call's body. The engine leaves the body out when it repeats some calls.
fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| match body {
        [] => "the call has no body".to_owned(),
        _ => format!("the call cannot be parsed: {error}"),
    })
}

/// Parses a value that the engine writes as text. Returns `None` for an empty text.
fn given<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{what} {text:?}: {error}"))
}

/// Parses an address with or without a prefix, because the engine writes both. A gateway may come in the
/// IPv4-mapped form in which it was told to the engine.
fn address(what: &str, text: &str) -> Result<Option<IpAddr>, String> {
    let ip: Option<IpAddr> = given(what, text.split('/').next().unwrap_or_default())?;
    Ok(ip.map(|ip| ip.to_canonical()))
}
