//! Kea's DHCPv6 server.

use std::path::Path;

use ashore_lab::{Engines, Machine};
use serde_json::json;

use super::Server;

impl Server {
    /// Starts the server with leases of two minutes.
    pub fn kea6(engines: &Engines, on: &Machine, directory: &Path, pool: &str) -> Server {
        Server::kea6_with(engines, on, directory, pool, [30, 48, 60, 120])
    }

    /// Starts the server with other times: T1, T2, preferred lifetime and valid lifetime, in seconds.
    pub fn kea6_with(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: &str,
        [renew, rebind, preferred, valid]: [u32; 4],
    ) -> Server {
        let at = super::files(directory, "kea6", on);
        let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
        let subnet = json!({
            "id": 1, "subnet": "fd88::/64", "interface": "eth0", "pools": [{ "pool": pool }],
        });
        let config = json!({ "Dhcp6": {
            // A link-local address cannot be bound while the kernel still runs duplicate address detection on
            // it.
            "interfaces-config": {
                "interfaces": ["eth0"], "service-sockets-max-retries": 100, "service-sockets-retry-wait-time": 100,
            },
            "lease-database": { "type": "memfile", "name": leases, "lfc-interval": 0 },
            "subnet6": [subnet], "preferred-lifetime": preferred, "valid-lifetime": valid,
            "renew-timer": renew, "rebind-timer": rebind,
            // Kea keeps its DUID there.
            "data-directory": directory,
            "loggers": [{ "name": "kea-dhcp6", "severity": "DEBUG", "output_options": [{ "output": log }] }],
        }});
        std::fs::write(&conf, config.to_string()).unwrap();
        let mut command = on.command(engines.path("usr/sbin/kea-dhcp6")).unwrap();
        engines.equip(&mut command).arg("-c").arg(conf).stdout(std::process::Stdio::null());
        command.env("KEA_LOCKFILE_DIR", "none").env("KEA_PIDFILE_DIR", directory);
        command.env("KEA_LOG_FILE_DIR", directory).env("KEA_DHCP_DATA_DIR", directory);
        let child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
        Server { child, leases, log, rows: |_| Vec::new() }
    }
}
