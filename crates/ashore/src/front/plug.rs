//! What `ashore-plug` carries: the call of netavark or of a CNI runtime, in its words, to a request and back.

use ashore_core::net::text::Shown;
use ashore_plug::wire;

use super::caller::{Caller, Handle};
use super::{cni, podman};

/// Answers a call.
pub(crate) fn answer(call: &wire::Request, caller: &Caller, handle: Handle<'_>) -> wire::Reply {
    if is_cni(call) { cni::answer(call, caller, handle) } else { podman::answer(call, caller, handle) }
}

/// What a call is for, as it says so itself.
pub(crate) fn command(call: &wire::Request) -> Shown<'_> {
    let cni = if is_cni(call) { call.variable("CNI_COMMAND") } else { None };
    Shown(cni.or(call.arguments.first().map(Vec::as_slice)).unwrap_or_default())
}

/// netavark says by its arguments what it wants, whatever the environment has.
fn is_cni(call: &wire::Request) -> bool {
    call.arguments.is_empty() && call.variable("CNI_COMMAND").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_of_by_what_it_asks_for() {
        let call = |arguments: &[&[u8]], cni: Option<&[u8]>| {
            let environment = cni.map(|command| (b"CNI_COMMAND".to_vec(), command.to_vec()));
            let call = wire::Request {
                name: b"ashore".to_vec(),
                arguments: arguments.iter().map(|argument| argument.to_vec()).collect(),
                environment: environment.into_iter().collect(),
                stdin: Vec::new(),
                opened: None,
                unopened: None,
                delegated: None,
            };
            command(&call).to_string()
        };
        assert_eq!(call(&[b"setup", b"/run/netns/a"], None), "setup");
        // A runtime of CNI's may have started Podman.
        assert_eq!(call(&[b"teardown", b"/run/netns/a"], Some(b"ADD")), "teardown");
        assert_eq!(call(&[], Some(b"DEL")), "DEL");
        assert_eq!(call(&[], None), "");
        assert_eq!(call(&[b"a\nb"], None), r"a\x0ab");
    }
}
