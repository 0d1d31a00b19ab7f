//! `ashore report`: what somebody needs to know who is to help, as one text that may be shown to everybody.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ashore_core::api::diagnosis::Complaint;
use ashore_core::api::reply::Reply;
use ashore_core::api::request::Request;
use serde_json::{Map, Value, json};

use crate::cli::ReportArgs;
use crate::client::{ClientArgs, Failure, ask, print_json};
use crate::out::{complain, say};

mod redact;

use redact::Redaction;

/// How much of the log is in it.
const LINES: &str = "200";
/// The programs whose versions matter. Each prints its own without asking its daemon.
const ENGINES: [&str; 5] = ["docker", "podman", "nerdctl", "containerd", "netavark"];

/// How long a program may take.
const LONGEST: Duration = Duration::from_secs(5);
/// The members of objects that hold names.
const NAMES: [&str; 9] =
    ["name", "network", "endpoint", "label", "hostname", "domain", "search", "vendor_class", "tagged_as"];
/// The members of objects in which names are those of links.
const LINKS: [&str; 3] = ["seen", "home", "pending"];

/// What a part of the report is about, and what is known of it.
type Part = (&'static str, Value);

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let client = &args.client;
    let (status, state) = (ask(client, &Request::Status), ask(client, &Request::ExportState));
    let found = diagnosis(client);
    let known = [
        // What was found last may have the names of containers that are gone.
        if let Ok(Reply::Diagnosis(found)) = &found { json!(found) } else { Value::Null },
        if let Ok(Reply::Status(status)) = &status { json!(status) } else { Value::Null },
        if let Ok(Reply::State(document)) = &state { json!(document.rows) } else { Value::Null },
    ];
    let mut ids = Vec::new();
    for known in &known {
        redact::hidden(known, &mut ids);
    }
    let names = if args.no_names { names_of(&known) } else { Vec::new() };
    if args.no_names && status.is_err() {
        complain!("ashore: the daemon does not tell the names, so they stay in its log");
    }
    let mut redaction = Redaction::new(names, ids);
    let parts = parts(client, status, state, found);
    let parts: Vec<Part> = parts.into_iter().map(|(part, value)| (part, redaction.value(value))).collect();
    if client.json {
        let parts = parts.into_iter().map(|(part, value)| (part.to_owned(), value));
        return print_json(&Value::Object(parts.collect::<Map<String, Value>>()));
    }
    say!("{}", text(&parts).trim_end());
    Ok(())
}

/// The parts. One that cannot be had says why, because that is what help is needed for.
fn parts(
    client: &ClientArgs,
    status: Result<Reply, Failure>,
    state: Result<Reply, Failure>,
    found: Result<Reply, Failure>,
) -> Vec<Part> {
    let answer = |answer: Result<Reply, Failure>| match answer {
        Ok(Reply::Status(status)) => json!(status),
        Ok(Reply::Plan(steps) | Reply::PlanMeanwhile { steps, .. }) => {
            json!(steps.iter().map(|step| step.command.as_str()).collect::<Vec<_>>())
        }
        // Everything else of the state is in the status, or is a secret.
        Ok(Reply::State(document)) => {
            Value::Object(document.rows.into_iter().filter(|(key, _)| key.starts_with("pool/")).collect())
        }
        Ok(Reply::Diagnosis(diagnosis)) => json!(diagnosis),
        Ok(Reply::Done { .. }) => json!("nothing was looked for since the daemon started"),
        Ok(_) => Value::Null,
        Err(failure) => json!(failure.to_string()),
    };
    vec![
        ("ashore", json!(env!("CARGO_PKG_VERSION"))),
        ("kernel", json!(file("/proc/sys/kernel/osrelease"))),
        ("system", json!(file("/etc/os-release").lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")))),
        (
            "engines",
            json!(
                ENGINES.into_iter().filter_map(|engine| printed(engine, &["--version"])).collect::<Vec<_>>()
            ),
        ),
        ("status", answer(status)),
        ("doctor", answer(found)),
        ("plan", answer(ask(client, &Request::Plan(None)))),
        ("pools", answer(state)),
        ("log", json!(log())),
    ]
}

/// What the doctor finds. Who may only read, and so cannot ask the LAN, gets what it found last.
fn diagnosis(client: &ClientArgs) -> Result<Reply, Failure> {
    match ask(client, &Request::Diagnose(Complaint::default())) {
        Err(Failure::Privilege(_)) => ask(client, &Request::LastDiagnosis),
        answered => answered,
    }
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The log without the host's name.
fn log() -> Vec<String> {
    let options =
        ["--unit", "ashore", "--lines", LINES, "--output", "short-iso", "--no-hostname", "--no-pager"];
    let log = printed("journalctl", &options).unwrap_or_else(|| "there is no journalctl".to_owned());
    log.lines().map(str::to_owned).collect()
}

/// What a program prints. Returns `None` if it is not there.
fn printed(program: &str, options: &[&str]) -> Option<String> {
    printed_within(program, options, LONGEST)
}

/// What a program prints within a time. One that takes longer is ended: a report is wanted where things hang.
fn printed_within(program: &str, options: &[&str], longest: Duration) -> Option<String> {
    let mut command = Command::new(program);
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut output = child.stdout.take()?;
    let (done, all) = mpsc::channel();
    // It is left alone if a program that the child has started holds the pipe.
    std::thread::spawn(move || {
        let mut text = Vec::new();
        _ = output.read_to_end(&mut text);
        _ = done.send(text);
    });
    let text = all.recv_timeout(longest);
    // It has closed its output, or has had its time.
    _ = child.kill();
    _ = child.wait();
    let late = || format!("{program} printed nothing within {} s", longest.as_secs());
    Some(text.map_or_else(|_| late(), |text| String::from_utf8_lossy(&text).trim().to_owned()))
}

/// The names that users gave, in what the daemon tells, and the host's.
fn names_of(known: &[Value]) -> Vec<String> {
    let mut names = vec![file("/proc/sys/kernel/hostname")];
    for known in known {
        names_in("", known, &mut names);
    }
    // A user knows the container `UID/NAME` as `NAME`.
    let own: Vec<String> =
        names.iter().filter_map(|name| name.split_once(['/', '@'])).map(|(_, own)| own.to_owned()).collect();
    names.extend(own);
    names.retain(|name| !name.is_empty());
    names
}

fn names_in(of: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(name) if NAMES.contains(&of) => names.push(name.clone()),
        Value::Array(items) => items.iter().for_each(|item| names_in(of, item, names)),
        Value::Object(members) => {
            for (key, member) in members {
                // A name that nothing bears at present is in its row's key alone.
                if key.starts_with("identity/") {
                    names.extend(key.rsplit('/').next().map(str::to_owned));
                }
                if !LINKS.contains(&key.as_str()) {
                    names_in(key, member, names);
                }
                if of == "aux" {
                    names.push(key.clone());
                }
            }
        }
        _ => {}
    }
}

/// The report as Markdown, which issue trackers show.
fn text(parts: &[Part]) -> String {
    let mut text = String::new();
    for (part, value) in parts {
        let written = match value {
            Value::String(line) => writeln!(text, "{part}: {line}\n"),
            Value::Array(lines) if lines.iter().all(Value::is_string) => {
                let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                writeln!(text, "{part}:\n\n```\n{}\n```\n", lines.join("\n"))
            }
            other => writeln!(
                text,
                "{part}:\n\n```json\n{}\n```\n",
                serde_json::to_string_pretty(other).unwrap_or_default()
            ),
        };
        written.expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_text_for_an_issue_tracker() {
        let parts = [
            ("ashore", json!("1.0")),
            ("plan", json!(["ip link", "ip addr"])),
            ("status", json!({"pid": 1})),
        ];
        let expected = "ashore: 1.0\n\nplan:\n\n```\nip link\nip addr\n```\n\nstatus:\n\n```json\n{\n  \"pid\": 1\n}\n```\n\n";
        assert_eq!(text(&parts), expected);
    }

    #[test]
    fn the_names_are_those_of_networks_and_endpoints_and_what_tells_them() {
        let names = names_of(&[json!(super::super::find::tests::example())]);
        for name in ["web", "cam", "job", "lan", "iot"] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        let rows = json!({
            "identity/lan/1000@db": {"lease": {"domain": "home.arpa", "search": ["a.example"]}},
            "identity/lan/nas": {},
            "network/lan": {
                "engine": {"name": "Front"},
                "leasing": {"hostname": "host1", "vendor_class": "acme"},
                "subnets": [{"aux": {"printer": "192.168.88.9"}}],
            },
            "endpoint/lan/1000@db": {"name": "1000/db", "seen": {"name": "eth0"}},
        });
        let names = names_of(&[rows]);
        for name in
            ["1000/db", "1000@db", "db", "nas", "home.arpa", "a.example", "Front", "host1", "acme", "printer"]
        {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name == "eth0"), "{names:?}");
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for() {
        let said = printed_within("sleep", &["60"], Duration::from_millis(100)).unwrap();
        assert!(said.contains("sleep printed nothing within"), "{said}");
        // One that has gone away may have left the pipe to another.
        let said = printed_within("sh", &["-c", "sleep 60 & echo x"], Duration::from_millis(100)).unwrap();
        assert!(said.contains("sh printed nothing within"), "{said}");
        assert_eq!(printed_within("echo", &["1.0"], LONGEST).as_deref(), Some("1.0"));
        assert_eq!(printed("no-such-program", &[]), None);
    }
}
