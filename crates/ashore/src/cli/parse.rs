//! The values of options, as the user writes them.

use std::net::IpAddr;
use std::path::PathBuf;

use ashore_core::net::name::{EndpointName, NameError};
use ashore_routers::{Policy, System};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nix::unistd::{Group, User};

use super::Wanted;

/// Returns a parser that suggests the nearest valid name for a misspelt one.
pub(super) fn system_parser() -> impl TypedValueParser<Value = Wanted> {
    let names = System::ALL.map(System::name).into_iter().chain(["list"]);
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "list" => Ok(Wanted::List),
        name => name.parse().map(Wanted::For),
    })
}

pub(super) fn policy_parser() -> impl TypedValueParser<Value = Policy> {
    PossibleValuesParser::new(Policy::ALL.map(Policy::name)).try_map(|name| name.parse::<Policy>())
}

pub(crate) fn parse_aux(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = text.split_once('=').ok_or("write it as NAME=IP, such as host=192.168.88.222")?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(format!("`{name}` is not a valid name: use letters, digits, `-`, `_` and `.`"));
    }
    let ip = ip.parse().map_err(|_| format!("`{ip}` is not an IP address"))?;
    Ok((name.to_owned(), ip))
}

/// Parses the name or the id of a user other than root.
pub(super) fn parse_user(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(uid) => Ok(uid),
        Err(_) => match User::from_name(text) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!("there is no user `{text}`")),
            Err(error) => Err(error.to_string()),
        },
    }
    .and_then(|uid| if uid == 0 { Err("root may always".into()) } else { Ok(uid) })
}

/// Parses the name or the id of a group.
pub(super) fn parse_group(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(gid) => Ok(gid),
        Err(_) => match Group::from_name(text) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("there is no group `{text}`")),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// Parses the name of an endpoint that is there. It may be that of a user's container, `UID/NAME`.
pub(super) fn parse_endpoint(text: &str) -> Result<EndpointName, NameError> {
    text.to_owned().try_into()
}

pub(super) fn parse_unix_url(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("only a Unix socket is supported, such as unix:///run/docker.sock".into()),
    }
}

pub(crate) fn parse_yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err("must be yes or no".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aux_addresses_name_what_is_wrong_with_them() {
        assert_eq!(parse_aux("host=192.168.88.222").unwrap().0, "host");
        assert!(parse_aux("host").unwrap_err().contains("NAME=IP"));
        assert!(parse_aux("host=abc").unwrap_err().contains("`abc`"));
        assert!(parse_aux("=10.0.0.1").is_err());
    }
}
