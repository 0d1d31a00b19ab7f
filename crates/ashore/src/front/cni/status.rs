//! STATUS: whether a container could be attached now.

use ashore_core::api::refusal::Refusal;
use ashore_core::api::reply::{NetworkReport, Reply, Status};
use ashore_core::api::request::Request;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::lease::Addressing;
use ashore_core::net::remedy::Front;

use super::config::Asked;
use super::ipam::Role;
use super::{Failed, code, unexpected};

/// Checks that the network is there or could be made, that its parent is up and that it has a free address.
pub(super) fn check(asked: &Asked, ask: &dyn Fn(Request) -> Result<Reply, Failed>) -> Result<(), Failed> {
    let status = match ask(Request::Status)? {
        Reply::Status(status) => status,
        other => return Err(unexpected(&other)),
    };
    let name = &asked.network.name;
    let is_it =
        |report: &&NetworkReport| report.network.name == *name || report.network.label() == name.as_str();
    match status.networks.iter().find(is_it) {
        Some(report) => check_network(asked, report, &status),
        None if asked.is_named_only => {
            Err(Failed::new(code::UNAVAILABLE, format!("there is no network `{name}`"))
                .try_this(format!("ashore network create {name} …")))
        }
        None => {
            let made = Request::Plan(Some(Box::new(Request::CreateNetwork(asked.network.clone()))));
            ask(made).map(drop).map_err(|failed| Failed { code: code::UNAVAILABLE, ..failed })
        }
    }
}

fn check_network(asked: &Asked, report: &NetworkReport, status: &Status) -> Result<(), Failed> {
    let network = &report.network;
    if let Err(error) = network.has_all_of(&asked.network) {
        return Err(Failed { code: code::UNAVAILABLE, ..Refusal::from(&error).into() });
    }
    if let Some(trouble) = status.troubles.iter().find(|trouble| cuts_off(trouble, report)) {
        let failed = Failed::new(code::LIMITED, trouble.message.clone());
        return Err(match &trouble.remedy {
            Some(remedy) => failed.try_this(remedy.spelled(Front::Cni)),
            None => failed,
        });
    }
    // Another plugin says whether it has an address.
    if network.addressing == Addressing::Dhcp || asked.role == Role::LinkOnly {
        return Ok(());
    }
    for is_v6 in [false, true] {
        let mut free = report.free.iter().filter(|(net, _)| net.addr().is_ipv6() == is_v6).peekable();
        if free.peek().is_some() && free.all(|(_, free)| *free == 0) {
            let family = if is_v6 { "IPv6" } else { "IPv4" };
            let name = network.label();
            return Err(Failed::new(
                code::UNAVAILABLE,
                format!("every {family} address of network `{name}` is taken"),
            ));
        }
    }
    Ok(())
}

/// Whether a trouble keeps a network's containers from the LAN.
fn cuts_off(trouble: &Trouble, report: &NetworkReport) -> bool {
    let network = &report.network;
    let is_its = trouble.about.network.as_deref() == Some(network.label())
        || trouble.about.parent.as_ref().is_some_and(|parent| *parent == network.parent);
    is_its
        && matches!(
            trouble.code,
            Code::ParentMissing
                | Code::ParentDown
                | Code::ParentIsPort
                | Code::NoCarrier
                | Code::VlanNotOnBridge
                | Code::BridgeUnfiltered
        )
}
