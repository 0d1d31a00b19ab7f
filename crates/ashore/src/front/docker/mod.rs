//! Docker's plugin protocol, version 1: HTTP POST of JSON to a Unix socket, as a network driver and an IPAM driver
//! (moby, `libnetwork/docs/remote.md` and `ipam.md`).

use std::net::IpAddr;

use ashore_core::api::engine_call::EngineCall;
use ashore_core::api::reply::Reply;
use ashore_core::net::text::Shown;
use serde_json::{Value, json};

mod api;
mod attachment;
mod busy;
mod creations;
mod driver;
mod engine;
mod follow;
mod handle;
mod ipam;
mod lists;
mod options;
pub(crate) mod owner;
mod reconnect;
mod reserved;
mod running;
pub(crate) mod server;
mod silence;
pub(crate) mod turns;
mod unanswered;
mod version;

pub use attachment::KNOWN as ATTACHMENT_OPTIONS;
pub use options::KNOWN as NETWORK_OPTIONS;

/// One call of the engine's, understood.
#[derive(Debug)]
pub struct Call {
    /// What is asked of the daemon; some calls are answered without it.
    pub stage: Option<EngineCall>,
    /// How the answer looks.
    shape: Shape,
    /// What the user chose for the container, which not every engine lets a plugin choose.
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
    /// These.
    Fixed(Value),
    /// The pool.
    Pool,
    /// The reserved address.
    Address,
    /// The interface's fields that came empty.
    Interface { mac_given: bool },
    /// Where the link is and what belongs to it.
    Join,
}

impl Call {
    /// Says that it was made before, in seconds since 1970, and its answer lost. All but these two answer a second time
    /// what they answered the first.
    fn is_repeated(&mut self, began: u64) {
        match &mut self.stage {
            Some(EngineCall::Reserve(requested)) => requested.asked_before = Some(began),
            Some(EngineCall::OpenPool(requested)) => requested.repeated = true,
            _ => {}
        }
    }
}

/// Understands a call.
///
/// # Errors
/// A sentence for the engine's user.
pub fn call(path: &str, body: &[u8]) -> Result<Call, String> {
    let method = path.trim_start_matches('/');
    match method.split_once('.') {
        Some(("Plugin", "Activate")) => {
            // A started engine activates its plugins anew.
            Ok(Call::new(Some(EngineCall::Begin), Shape::Fixed(implements())))
        }
        Some(("NetworkDriver", name)) => driver::call(name, body),
        Some(("IpamDriver", name)) => ipam::call(name, body),
        _ => Err(format!("`{method}` is no call that Ashore knows")),
    }
}

fn implements() -> Value {
    json!({ "Implements": ["NetworkDriver", "IpamDriver"] })
}

/// The answer to a call.
pub fn answer(call: &Call, reply: Option<Reply>) -> Result<Value, String> {
    match (&call.shape, reply) {
        (_, Some(Reply::Refused(refusal))) => Err(match &refusal.hint {
            None => refusal.message,
            Some(hint) => format!("{}; try: {hint}", refusal.message),
        }),
        (Shape::Fixed(value), _) => Ok(value.clone()),
        (Shape::Pool, Some(Reply::Pool { key, told })) => {
            Ok(json!({ "PoolID": key, "Pool": told, "Data": {} }))
        }
        (Shape::Address, Some(Reply::Address(address))) => Ok(json!({ "Address": address, "Data": {} })),
        (Shape::Address, Some(Reply::Gateway { address, guarded })) => {
            Ok(json!({ "Address": ipam::gateway(address, guarded), "Data": {} }))
        }
        // What the engine gave must not be given back.
        (Shape::Interface { mac_given: false }, Some(Reply::Prepared { mac: Some(mac) })) => {
            Ok(json!({ "Interface": { "MacAddress": mac } }))
        }
        (Shape::Interface { .. }, Some(Reply::Prepared { .. })) => Ok(json!({})),
        (Shape::Join, Some(Reply::Joined { link, ifname, gateways, on_link })) => {
            Ok(driver::joined(&link, ifname.as_ref(), &gateways, &on_link))
        }
        (_, other) => Err(format!("the daemon gave an answer to another question: {other:?}")),
    }
}

/// An error as the engine reads it: its two kinds of drivers have different names for it.
pub fn error(path: &str, message: &str) -> Value {
    let field = if path.contains("IpamDriver") { "Error" } else { "Err" };
    json!({ field: format!("ashore: {}", Shown(message.as_bytes())) })
}

/// A call's body. The engine leaves it out when it repeats some calls.
fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| match body {
        [] => "the call has no body".to_owned(),
        _ => format!("the call does not read: {error}"),
    })
}

/// A value that the engine writes as text, and as an empty text where there is none.
fn given<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>, String>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{what} {text:?}: {error}"))
}

/// An address with or without a prefix, which the engine writes now so and now so; a router's may come as it was told.
fn address(what: &str, text: &str) -> Result<Option<IpAddr>, String> {
    let ip: Option<IpAddr> = given(what, text.split('/').next().unwrap_or_default())?;
    Ok(ip.map(|ip| ip.to_canonical()))
}
