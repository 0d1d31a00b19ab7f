//! Calls that `ashore-plug` carries: netavark's and those of CNI runtimes.

use ashore_core::api::request::Request as Asked;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::text::is_printable;
use ashore_core::rules::attach::AttachSpec;
use ashore_plug::wire::{Delegated, Reply, Request};
use ashore_program::front::stand_in::{NETNS, answer};
use serde_json::{Map, Value};

/// A call of netavark's. The first byte selects one, the rest is its standard input.
pub fn netavark(bytes: &[u8]) {
    let Some((first, stdin)) = bytes.split_first() else { return };
    let arguments = [vec!["create"], vec!["setup", NETNS], vec!["teardown", NETNS]];
    let arguments = &arguments[usize::from(*first) % arguments.len()];
    let call = Request {
        name: b"ashore".to_vec(),
        arguments: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
        stdin: stdin.to_vec(),
        ..Request::default()
    };
    let (said, asked) = answer(&call);
    check(&said);
    if arguments[0] == "teardown" {
        assert_eq!((said.code, said.stdout.len()), (0, 0), "Podman would never call again");
    } else if said.code != 0 {
        let error: Map<String, Value> = serde_json::from_slice(&said.stdout).expect("an error is an object");
        assert!(error.len() == 1 && error["error"].is_string(), "a second key is malformed to Podman");
    }
    for request in &asked {
        check_request(request);
        match request {
            Asked::FindNetwork(spec) => {
                assert_eq!(spec.engine.as_ref().map(|engine| engine.kind), Some(EngineKind::Podman));
            }
            Asked::SetUp { attach, .. } => check_attach(attach, EngineKind::Podman),
            Asked::TearDown(gone) => assert_eq!(gone.engine, EngineKind::Podman),
            other => panic!("netavark's calls ask for nothing else: {other:?}"),
        }
    }
}

/// A call of a CNI runtime. The first byte selects the command, and whether there is another plugin. `CNI_ARGS`, what another plugin has chosen, and the
/// configuration follow, with zeros between.
pub fn cni(bytes: &[u8]) {
    const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];
    let Some((first, rest)) = bytes.split_first() else { return };
    let command = COMMANDS[usize::from(*first) % COMMANDS.len()];
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default().to_vec();
    let (args, delegated, stdin) = (part(), part(), part());
    let delegated = match first / 6 % 3 {
        0 => (!delegated.is_empty()).then_some(Delegated::Answer(delegated)),
        1 => Some(Delegated::ToCome),
        _ => Some(Delegated::Answer(delegated)),
    };
    let is_to_come = delegated == Some(Delegated::ToCome);
    let variables = [
        ("CNI_COMMAND", command.as_bytes()),
        ("CNI_CONTAINERID", b"c1"),
        ("CNI_NETNS", NETNS.as_bytes()),
        ("CNI_IFNAME", b"eth0"),
        ("CNI_ARGS", &args),
    ];
    let call = Request {
        name: b"ashore".to_vec(),
        environment: variables.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).to_vec(),
        stdin,
        delegated,
        ..Request::default()
    };
    let (said, asked) = answer(&call);
    check(&said);
    let answered = serde_json::from_slice::<Map<String, Value>>(&said.stdout);
    match (command, said.code) {
        ("ADD", 0) if is_to_come => {
            assert!(
                (said.stdout.is_empty() || said.stdout == ashore_plug::wire::STAYS)
                    && !asked.iter().any(attaches),
                "nothing is attached yet"
            );
        }
        ("ADD", 0) => {
            assert!(answered.expect("an answer is an object")["ips"].is_array());
            assert!(asked.iter().any(attaches), "an ADD that succeeds attaches");
        }
        (_, 0) if !matches!(command, "ADD" | "VERSION") => assert!(said.stdout.is_empty()),
        (_, code) => {
            let answered = answered.expect("an answer is an object");
            assert!(answered["cniVersion"].is_string());
            assert_eq!(code != 0, answered.contains_key("code") && answered.contains_key("msg"));
        }
    }
    for request in &asked {
        check_request(request);
        match request {
            Asked::FindNetwork(spec) => assert!(spec.engine.is_none()),
            Asked::SetUp { attach, .. } | Asked::Lend { attach, .. } => check_attach(attach, EngineKind::Cni),
            Asked::TakeOff(gone) => assert!(gone.container.ends_with("/c1")),
            Asked::CheckSetUp(check) => assert_eq!(check.netns, std::path::Path::new(NETNS)),
            // What the ids of all networks begin with would take everything off.
            Asked::KeepSetUp(keep) => assert!(keep.of.len() > 1 && keep.of.ends_with('/')),
            Asked::InspectNetwork { .. } | Asked::Status => {}
            Asked::Plan(Some(change)) => assert!(matches!(**change, Asked::CreateNetwork(_))),
            other => panic!("CNI's calls ask for nothing else: {other:?}"),
        }
    }
}

fn attaches(asked: &Asked) -> bool {
    matches!(asked, Asked::SetUp { .. } | Asked::Lend { .. })
}

/// What is said can be sent, and a terminal shows it as it is.
fn check(said: &Reply) {
    said.encode().expect("an answer is bounded");
    let text = |output| std::str::from_utf8(output).expect("an answer is text");
    // An answer to a call that succeeds is for the engine to read, and has the engine's own words again.
    let stdout = if said.code == 0 { "" } else { text(&said.stdout) };
    for shown in [stdout, text(&said.stderr)] {
        assert!(shown.chars().all(|c| is_printable(c) || c == '\n'), "{shown:?}");
    }
}

/// A request is one that the control socket would accept.
fn check_request(request: &Asked) {
    let written = serde_json::to_vec(request).expect("a request can be written");
    assert_eq!(serde_json::from_slice::<Asked>(&written).expect("and read again"), *request);
}

fn check_attach(attach: &AttachSpec, engine: EngineKind) {
    assert_eq!(attach.netns, std::path::Path::new(NETNS), "only the namespace that was passed");
    assert_eq!(attach.caller.as_ref().map(|caller| caller.engine), Some(engine));
}
