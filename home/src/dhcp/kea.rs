//! Kea, ISC's newer server. With `lfc-interval` other than 0, Kea exits where its cleaner `/usr/sbin/kea-lfc`
//! is not installed (2.2).

use std::path::Path;

use ashore_lab::{Engines, Machine};
use serde_json::json;

use super::{Row, Server, Setup};

pub(super) fn serve(engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    let at = super::files(directory, "kea", on);
    let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
    let (first, last) = setup.pool;
    let reserved = setup.reserved.iter().map(|(mac, ip)| json!({ "hw-address": mac, "ip-address": ip }));
    let mut subnet = json!({
        "id": 1,
        "subnet": format!("{}/24", setup.subnet()),
        "pools": [{ "pool": format!("{first} - {last}") }],
        "reservations": reserved.collect::<Vec<_>>(),
        "option-data": [{ "name": "routers", "data": setup.router() }],
        "valid-lifetime": setup.seconds,
    });
    if let Some((renew, rebind)) = setup.renewal {
        (subnet["renew-timer"], subnet["rebind-timer"]) = (renew.into(), rebind.into());
    }
    let config = json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": ["eth0"] },
        "lease-database": { "type": "memfile", "name": leases, "lfc-interval": 0 },
        "authoritative": true,
        "subnet4": [subnet],
        "loggers": [{ "name": "kea-dhcp4", "severity": "DEBUG", "output_options": [{ "output": log }] }],
    }});
    std::fs::write(&conf, config.to_string()).unwrap();
    let mut command = on.command(engines.path("usr/sbin/kea-dhcp4")).unwrap();
    engines.equip(&mut command).arg("-c").arg(conf).stdout(std::process::Stdio::null());
    command.env("KEA_LOCKFILE_DIR", "none").env("KEA_PIDFILE_DIR", directory);
    command.env("KEA_LOG_FILE_DIR", directory).env("KEA_DHCP_DATA_DIR", directory);
    Server::start(command, on, leases, log, rows)
}

/// Comma-separated values under a heading, only ever appended: address, MAC, client identifier, lifetime,
/// expiry, …, name, state. A released lease has lifetime 0. A state other than 0 means declined or reclaimed.
fn rows(table: &[u8]) -> Vec<Row> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split(',').collect();
        let [ip, mac, client_id, lifetime, _, _, _, _, name, state, ..] = words.as_slice() else {
            return None;
        };
        let holds = *lifetime != "0" && *state == "0";
        let [ip, mac, name, client_id] = [ip, mac, name, client_id].map(|word| (*word).to_owned());
        Some((Row { mac, ip, name, client_id }, holds))
    };
    super::last_of_each(String::from_utf8_lossy(table).lines().skip(1).filter_map(row))
}
