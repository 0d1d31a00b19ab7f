//! Whether the container engines answer.

use super::Facts;
use crate::api::about::About;
use crate::api::diagnosis::Finding;
use crate::api::trouble::{Code, Trouble};
use crate::net::remedy::Remedy;

const CHECK: &str = "engine";

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let of = |(engine, unreachable): (&&'static str, &Option<String>)| match unreachable {
        Some(trouble) => Finding::trouble(CHECK, unreachable_engine(engine, trouble)),
        None => Finding::fine(CHECK, About::default(), format!("{engine} answers")),
    };
    let old = facts.asked.old_engines.iter().map(|(engine, versions)| too_old(engine, versions));
    facts.asked.engines.iter().map(of).chain(old).collect()
}

fn too_old(engine: &str, (has, oldest): &(String, String)) -> Finding {
    let message = format!(
        "{engine} is of version {has}, and Ashore was tried on {oldest} and newer: its networks may not work"
    );
    let remedy = Some(Remedy::from(format!("upgrade {engine}")));
    Finding::trouble(CHECK, Trouble::new(Code::EngineTooOld, About::default(), message, remedy))
}

/// That an engine's API cannot be reached.
pub fn unreachable_engine(engine: &str, why: &str) -> Trouble {
    let message = format!(
        "the API of {engine} cannot be reached, so names of containers are not known and cannot keep their addresses: {why}"
    );
    let remedy = Remedy::run("systemctl status docker")
        .and(" shows whether it runs; another socket is given with ")
        .and_run("ashore daemon --docker-host unix://SOCKET");
    Trouble::new(Code::EngineUnreachable, About::default(), message, Some(remedy))
}
