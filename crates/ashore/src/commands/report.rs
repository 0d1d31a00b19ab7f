//! `ashore report`: what somebody needs to know who is to help, as one text that may be shown to everybody.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use ashore_core::api::reply::{Reply, Status};
use ashore_core::api::request::Request;
use serde_json::{Map, Value, json};

use crate::cli::ReportArgs;
use crate::client::{ClientArgs, Failure, ask, print_json};
use crate::out::say;

mod redact;

use redact::Redaction;

/// How much of the log is in it.
const LINES: &str = "200";
/// The programs whose versions matter. Each prints its own without asking its daemon.
const ENGINES: [&str; 5] = ["docker", "podman", "nerdctl", "containerd", "netavark"];

/// What a part of the report is about, and what is known of it.
type Part = (&'static str, Value);

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let status = ask(&args.client, &Request::Status);
    let names = match &status {
        Ok(Reply::Status(status)) if args.no_names => names_of(status),
        _ => Vec::new(),
    };
    let mut redaction = Redaction::new(names);
    let parts = parts(&args.client, status);
    let parts: Vec<Part> = parts.into_iter().map(|(part, value)| (part, redaction.value(value))).collect();
    if args.client.json {
        let parts = parts.into_iter().map(|(part, value)| (part.to_owned(), value));
        return print_json(&Value::Object(parts.collect::<Map<String, Value>>()));
    }
    say!("{}", text(&parts).trim_end());
    Ok(())
}

/// The parts. One that cannot be had says why, because that is what help is needed for.
fn parts(client: &ClientArgs, status: Result<Reply, Failure>) -> Vec<Part> {
    let answer = |answer: Result<Reply, Failure>| match answer {
        Ok(Reply::Status(status)) => json!(status),
        Ok(Reply::Plan(steps) | Reply::PlanMeanwhile { steps, .. }) => {
            json!(steps.iter().map(|step| step.command.as_str()).collect::<Vec<_>>())
        }
        // Everything else of the state is in the status, or is a secret.
        Ok(Reply::State(document)) => {
            Value::Object(document.rows.into_iter().filter(|(key, _)| key.starts_with("pool/")).collect())
        }
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
        ("plan", answer(ask(client, &Request::Plan(None)))),
        ("pools", answer(ask(client, &Request::ExportState))),
        ("log", json!(log())),
    ]
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
    let mut command = Command::new(program);
    let output = command.args(options).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The names that users gave.
fn names_of(status: &Status) -> Vec<String> {
    let networks = status.networks.iter();
    let networks =
        networks.flat_map(|report| [report.network.label().to_owned(), report.network.name.to_string()]);
    networks.chain(status.endpoints.iter().map(|report| report.name.to_string())).collect()
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
    fn the_names_are_those_of_networks_and_endpoints() {
        let names = names_of(&super::super::find::tests::example());
        assert_eq!(names, ["lan", "lan", "iot", "iot", "web", "cam"]);
    }
}
