//! The lines on the control socket. Each is a request or a reply as JSON, in an envelope with the versions of
//! the protocol and of the sender. A client from before there were envelopes sends the bare request, and gets
//! the bare reply.

use std::collections::BTreeMap;

use ashore_core::api::envelope::{Envelope, Head, PROTOCOL};
use ashore_core::api::refusal::{self, Refusal};
use ashore_core::api::reply::{EndpointReport, NetworkReport, PlannedStep, Reply, Status};
use ashore_core::api::request::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The maximum length of what is quoted of a line from outside, in characters.
const QUOTED: usize = 200;
/// How a line with an envelope begins.
const BEGIN: &[u8] = b"{\"protocol\":";
/// What helps if only the versions differ, not the protocols.
const ONE_VERSION: &str =
    "use a client and a daemon of the same version; after an upgrade: systemctl restart ashore";

/// Client and daemon are of versions that do not understand each other.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct OtherVersion {
    /// Both versions.
    message: String,
    /// Which one to upgrade or to restart.
    pub(crate) hint: String,
}

/// The form in which a client asked, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Bare,
    Enveloped,
}

fn own() -> Head {
    Head { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The line of a request.
pub(crate) fn request_line(request: &Request) -> serde_json::Result<Vec<u8>> {
    line(&Envelope::new(own(), request))
}

/// The line of a reply.
pub(crate) fn reply_line(form: Form, reply: &Reply) -> serde_json::Result<Vec<u8>> {
    match (form, reply) {
        (Form::Bare, Reply::Status(status)) => line(&in_sentences(status)),
        // Such a client knows no other kind of plan.
        (Form::Bare, Reply::PlanMeanwhile { steps, .. }) => line(&BTreeMap::from([("plan", steps)])),
        (Form::Bare, _) => line(reply),
        (Form::Enveloped, _) => line(&Envelope::new(own(), reply)),
    }
}

/// The status for a client that knows no envelope. To such a client a trouble is a sentence.
#[derive(Serialize)]
struct InSentences<'a> {
    version: &'a str,
    pid: u32,
    networks: &'a [NetworkReport],
    endpoints: &'a [EndpointReport],
    pending: &'a [PlannedStep],
    troubles: Vec<String>,
}

fn in_sentences(status: &Status) -> BTreeMap<&'static str, InSentences<'_>> {
    let Status { version, pid, networks, endpoints, pending, troubles } = status;
    let troubles = troubles.iter().map(ToString::to_string).collect();
    let status = InSentences { version, pid: *pid, networks, endpoints, pending, troubles };
    BTreeMap::from([("status", status)])
}

fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the line of a request.
pub(crate) fn read_request(line: &[u8]) -> (Form, Result<Request, Refusal>) {
    let invalid = |message: String, hint: &str| Refusal::of(refusal::Code::OtherVersion, message, hint);
    let Some(client) = head(line) else {
        let request = serde_json::from_slice(line).map_err(|error| {
            let message = format!("cannot parse the request: {}", quoted(&error.to_string()));
            invalid(message, "the client may be of another version than the daemon")
        });
        return (Form::Bare, request);
    };
    let request = if client.protocol == PROTOCOL {
        body(line).map_err(|error| {
            let (daemon, client) = (own().version, quoted(&client.version));
            let message = format!(
                "the daemon (Ashore {daemon}) does not know this request of the client (Ashore {client}): {error}"
            );
            invalid(message, ONE_VERSION)
        })
    } else {
        let (message, hint) = apart(&client, &own());
        Err(invalid(message, &hint))
    };
    (Form::Enveloped, request)
}

/// Refuses the line of a request that is longer than it may be, of which only the beginning was read.
pub(crate) fn too_long(begin: &[u8], longest: u64) -> (Form, Result<Request, Refusal>) {
    let form = if begin.starts_with(BEGIN) { Form::Enveloped } else { Form::Bare };
    let refusal = Refusal::of(
        refusal::Code::RequestTooLong,
        format!("the request is longer than {longest} bytes"),
        "the largest request is a state to be imported; `ashore forget` makes it smaller",
    );
    (form, Err(refusal))
}

/// Reads the line of the reply to a request in an envelope.
pub(crate) fn read_reply(line: &[u8]) -> Result<Reply, OtherVersion> {
    let ours = own();
    let Some(daemon) = head(line) else {
        // Only a daemon that does not know envelopes answers without one: that it cannot parse the request.
        return Err(if serde_json::from_slice::<Reply>(line).is_ok() {
            let (message, hint) = apart(&ours, &Head { protocol: 0, version: String::new() });
            OtherVersion { message, hint }
        } else {
            OtherVersion {
                message: format!(
                    "what answers is not a daemon that Ashore {} understands: {}",
                    ours.version,
                    quoted(&String::from_utf8_lossy(line))
                ),
                hint: "see what listens at --socket or ASHORE_SOCKET; if it is Ashore's daemon: systemctl \
                       restart ashore"
                    .to_owned(),
            }
        });
    };
    if daemon.protocol != PROTOCOL {
        let (message, hint) = apart(&ours, &daemon);
        return Err(OtherVersion { message, hint });
    }
    body(line).map_err(|error| OtherVersion {
        message: format!(
            "the client (Ashore {}) does not understand the answer of the daemon (Ashore {}): {error}",
            ours.version,
            quoted(&daemon.version)
        ),
        hint: ONE_VERSION.to_owned(),
    })
}

fn head(line: &[u8]) -> Option<Head> {
    serde_json::from_slice(line).ok()
}

fn body<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let envelope: Result<Envelope<T>, _> = serde_json::from_slice(line);
    envelope.map(|envelope| envelope.body).map_err(|error| quoted(&error.to_string()))
}

/// Says that client and daemon speak different protocols, and what helps.
fn apart(client: &Head, daemon: &Head) -> (String, String) {
    let named = |who, head: &Head| match head.protocol {
        // There was no protocol 0: this stands for a program that knows no envelope.
        0 => format!("the {who} is of an earlier version"),
        protocol => format!("the {who} is Ashore {} (protocol {protocol})", quoted(&head.version)),
    };
    let message = format!("{}, but {}", named("client", client), named("daemon", daemon));
    let hint = if client.protocol > daemon.protocol {
        "upgrade the daemon; if its program is upgraded already, restart it: systemctl restart ashore"
            .to_owned()
    } else {
        format!("upgrade the client to the daemon's version, Ashore {}", quoted(&daemon.version))
    };
    (message, hint)
}

/// What came from outside, escaped and not too long.
fn quoted(text: &str) -> String {
    let mut shown: String = text.trim_end().chars().take(QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().count() > QUOTED {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use ashore_core::api::about::About;
    use ashore_core::api::trouble::{Code, Trouble};
    use serde_json::{Value, json};

    use super::*;

    fn refused(line: &str) -> (Form, Refusal) {
        let (form, request) = read_request(line.as_bytes());
        (form, request.expect_err(line))
    }

    #[test]
    fn a_request_and_its_reply_go_through_their_envelopes() {
        let line = request_line(&Request::Status).unwrap();
        assert_eq!(read_request(&line), (Form::Enveloped, Ok(Request::Status)));
        assert!(line.starts_with(b"{\"protocol\":1,\"version\":\""), "{}", String::from_utf8_lossy(&line));
        assert!(line.starts_with(BEGIN));
        let reply = Reply::Done { warnings: Vec::new() };
        assert_eq!(read_reply(&reply_line(Form::Enveloped, &reply).unwrap()).unwrap(), reply);
    }

    #[test]
    fn a_bare_request_is_answered_by_a_bare_reply() {
        assert_eq!(read_request(b"\"status\"\n"), (Form::Bare, Ok(Request::Status)));
        let reply = Reply::Done { warnings: Vec::new() };
        assert_eq!(reply_line(Form::Bare, &reply).unwrap(), b"{\"done\":{\"warnings\":[]}}\n");
        for line in ["", "\"dance\"", "{}", "[]", "{\"protocol\":\"one\"}", "{\"protocol\":-1}", "\u{0}"] {
            let (form, refusal) = refused(line);
            assert!(form == Form::Bare && refusal.message.starts_with("cannot parse"), "{line}: {refusal}");
        }
    }

    #[test]
    fn a_client_without_envelopes_is_told_troubles_in_sentences() {
        let remedy = Some("ip link set dev eth0 up".into());
        let trouble = Trouble::new(Code::ParentDown, About::default(), "`eth0` is down", remedy);
        let (networks, endpoints, pending) = (Vec::new(), Vec::new(), Vec::new());
        let status =
            Status { version: "1".into(), pid: 7, networks, endpoints, pending, troubles: vec![trouble] };
        let status = Reply::Status(status);
        let bare: Value = serde_json::from_slice(&reply_line(Form::Bare, &status).unwrap()).unwrap();
        assert_eq!(bare["status"]["pid"], 7);
        assert_eq!(bare["status"]["troubles"], json!(["`eth0` is down; try: ip link set dev eth0 up"]));
        // A daemon and a client that have envelopes, and do not mean the same by troubles, are named.
        let line = reply_line(Form::Enveloped, &status).unwrap();
        assert_eq!(read_reply(&line).unwrap(), status);
        let mut earlier: Value = serde_json::from_slice(&line).unwrap();
        earlier["body"]["status"]["troubles"] = json!(["`eth0` is down"]);
        let failure = read_reply(&serde_json::to_vec(&earlier).unwrap()).unwrap_err();
        assert!(failure.to_string().contains("does not understand the answer"), "{failure}");
    }

    #[test]
    fn a_client_without_envelopes_is_told_the_plan_alone() {
        let trouble = Trouble::new(Code::Busy, About::default(), "busy", None);
        let plan = Reply::PlanMeanwhile { steps: Vec::new(), trouble };
        assert_eq!(reply_line(Form::Bare, &plan).unwrap(), b"{\"plan\":[]}\n");
        assert_eq!(read_reply(&reply_line(Form::Enveloped, &plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn another_protocol_is_named_with_both_versions_and_what_helps() {
        let own = env!("CARGO_PKG_VERSION");
        for (line, hint) in [
            (r#"{"protocol":2,"version":"99.1","body":"dance"}"#, "upgrade the daemon"),
            (r#"{"protocol":2,"version":"99.1"}"#, "systemctl restart ashore"),
            (r#"{"version":"99.1","order":{"dance":1},"protocol":0}"#, "upgrade the client"),
        ] {
            let (form, refusal) = refused(line);
            assert_eq!(form, Form::Enveloped);
            assert!(refusal.message.contains(&format!("Ashore {own} (protocol 1)")), "{refusal}");
            assert!(refusal.remedy.unwrap().to_string().contains(hint), "{line}");
        }
        for (line, hint) in [
            (r#"{"protocol":2,"version":"99.1","body":{"refused":1}}"#, "upgrade the client"),
            (r#"{"protocol":2,"version":"99.1"}"#, "Ashore 99.1"),
        ] {
            let failure = read_reply(line.as_bytes()).unwrap_err();
            let said = failure.to_string();
            for words in ["Ashore 99.1 (protocol 2)", &format!("Ashore {own} (protocol 1)")] {
                assert!(said.contains(words), "{said}");
            }
            assert!(failure.hint.contains(hint), "{line}");
        }
    }

    #[test]
    fn an_unknown_request_or_reply_of_the_same_protocol_names_both_versions() {
        let (_, refusal) = refused(r#"{"protocol":1,"version":"1.9","body":"dance"}"#);
        assert!(refusal.message.contains("Ashore 1.9") && refusal.message.contains("`dance`"), "{refusal}");
        let failure = read_reply(br#"{"protocol":1,"version":"1.9","body":"dance"}"#).unwrap_err();
        assert!(failure.to_string().contains("Ashore 1.9"), "{failure}");
    }

    #[test]
    fn an_earlier_daemon_is_known_by_its_bare_answer() {
        let answer = br#"{"refused":{"kind":"invalid","message":"cannot parse the request: x","hint":null}}"#;
        let failure = read_reply(answer).unwrap_err();
        assert!(failure.to_string().contains("the daemon is of an earlier version"), "{failure}");
        assert!(failure.hint.contains("systemctl restart ashore"));
        let stranger = read_reply(b"SSH-2.0-\x1b[2J\n").unwrap_err().to_string();
        assert!(stranger.contains("SSH-2.0-\\u{1b}[2J") && !stranger.contains("cannot parse"), "{stranger}");
    }

    #[test]
    fn what_is_quoted_is_short() {
        let long = "x".repeat(1_000_000);
        for line in [
            format!("\"{long}\""),
            format!(r#"{{"protocol":1,"version":"{long}","body":"{long}"}}"#),
            format!(r#"{{"protocol":9,"version":"{long}"}}"#),
        ] {
            let said = refused(&line).1.message;
            assert!(said.len() < 1000, "{}", said.len());
        }
    }
}
