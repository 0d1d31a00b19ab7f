//! ISC's dhcpd, common on older routers and on servers.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use ashore_lab::{Engines, Machine};

use super::{Row, Server, Setup};

impl Server {
    /// Starts dhcpd on another interface than `eth0`.
    pub fn isc_on(
        interface: &str,
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        setup: &Setup,
    ) -> Server {
        serve_on(interface, engines, on, directory, setup)
    }
}

pub(super) fn serve(engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    serve_on("eth0", engines, on, directory, setup)
}

fn serve_on(interface: &str, engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    let at = super::files(directory, "isc", on);
    let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
    // dhcpd does not start without the file.
    std::fs::File::options().create(true).append(true).open(&leases).unwrap();
    let ((first, last), seconds) = (setup.pool, setup.seconds);
    let mut text = format!(
        "authoritative;\nping-check false;\nddns-update-style none;\n\
         min-lease-time {seconds};\ndefault-lease-time {seconds};\nmax-lease-time {seconds};\n\
         subnet {} netmask 255.255.255.0 {{ range {first} {last}; option routers {}; }}\n",
        setup.subnet(),
        setup.router()
    );
    if let Some((renew, rebind)) = setup.renewal {
        writeln!(text, "option dhcp-renewal-time {renew};\noption dhcp-rebinding-time {rebind};").unwrap();
    }
    // dhcpd does not listen on an interface for whose subnet it has no declaration.
    if let Some(own) = setup.beyond_relay {
        writeln!(text, "subnet {} netmask 255.255.255.0 {{ }}", super::subnet_of(own)).unwrap();
    }
    for (n, (mac, ip)) in setup.reserved.iter().enumerate() {
        writeln!(text, "host reserved-{n} {{ hardware ethernet {mac}; fixed-address {ip}; }}").unwrap();
    }
    std::fs::write(&conf, text).unwrap();
    let mut command = on.command(engines.path("usr/sbin/dhcpd")).unwrap();
    let said = std::fs::File::options().create(true).append(true).open(&log).unwrap();
    command.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(conf).arg("-lf").arg(&leases).arg(interface);
    command.stdout(Stdio::null()).stderr(said);
    Server::start(command, on, leases, log, rows)
}

/// A block for each lease, and blocks are only ever appended: `lease IP { … binding state active; hardware
/// ethernet MAC; … }`. A host with a fixed address has no block.
fn rows(table: &[u8]) -> Vec<Row> {
    let text = String::from_utf8_lossy(table);
    let row = |block: &str| {
        let (ip, rest) = block.split_once(" {")?;
        let (body, _) = rest.split_once("\n}")?;
        let said = |key: &str| {
            let mut lines = body.lines().filter_map(|line| line.trim().strip_suffix(';'));
            lines
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_default()
                .trim_matches([' ', '"'])
                .to_owned()
        };
        let (mac, name, client_id) = (said("hardware ethernet"), said("client-hostname"), said("uid"));
        Some((Row { mac, ip: ip.to_owned(), name, client_id }, said("binding state") == "active"))
    };
    super::last_of_each(text.split("\nlease ").skip(1).filter_map(row))
}
