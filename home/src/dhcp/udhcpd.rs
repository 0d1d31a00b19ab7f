//! busybox's udhcpd, the server of small routers. It identifies clients by MAC only. Its leases may be as
//! short as ten seconds.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use ashore_lab::{Engines, Machine};
use ashore_wire::Mac;

use super::{Row, Server, Setup};

impl Server {
    pub fn udhcpd(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: (&str, &str),
        seconds: u32,
    ) -> Server {
        Self::udhcpd_on("eth0", engines, on, directory, pool, seconds)
    }

    /// Starts udhcpd on another interface.
    pub fn udhcpd_on(
        interface: &str,
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: (&str, &str),
        seconds: u32,
    ) -> Server {
        let pool = (pool.0.parse().unwrap(), pool.1.parse().unwrap());
        serve_on(interface, engines, on, directory, &Setup { pool, seconds, ..Setup::default() })
    }

    /// Waits until a lease is renewed, within the time that it lasts.
    pub fn renews(&self, when: &str) {
        let acks = || std::fs::read_to_string(&self.log).unwrap().matches("sending ACK").count();
        let before = acks();
        crate::eventually(&format!("it is renewed {when}"), || acks() > before + 1);
    }
}

pub(super) fn serve(engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    serve_on("eth0", engines, on, directory, setup)
}

fn serve_on(interface: &str, engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    let at = super::files(directory, &format!("udhcpd-{interface}"), on);
    let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
    // Without the file, udhcpd logs an error each time it looks.
    std::fs::File::options().create(true).append(true).open(&leases).unwrap();
    let mut text = format!(
        "start {}\nend {}\ninterface {interface}\nlease_file {}\nmin_lease 10\nauto_time 1\npidfile {}\n\
         option subnet 255.255.255.0\noption router {}\noption lease {}\n",
        setup.pool.0,
        setup.pool.1,
        leases.display(),
        at("pid").display(),
        setup.router(),
        setup.seconds
    );
    if let Some((renew, rebind)) = setup.renewal {
        // udhcpd has no names for these options, so they are given by number and bytes.
        writeln!(text, "option 0x3a {renew:08x}\noption 0x3b {rebind:08x}").unwrap();
    }
    for (mac, ip) in &setup.reserved {
        writeln!(text, "static_lease {mac} {ip}").unwrap();
    }
    std::fs::write(&conf, text).unwrap();
    let mut command = on.command(engines.path("bin/busybox")).unwrap();
    let said = std::fs::File::options().create(true).append(true).open(&log).unwrap();
    command.args(["udhcpd", "-f"]).arg(conf).stdout(std::process::Stdio::null()).stderr(said);
    Server::start(command, on, leases, log, rows)
}

/// The time at which the file was written, then 36 bytes for each lease: the seconds left at that time,
/// address, MAC, name, and two bytes of padding (`struct dyn_lease` of busybox 1.35). A declined address has
/// no MAC.
fn rows(table: &[u8]) -> Vec<Row> {
    let (_, leases) = table.split_at_checked(8).unwrap_or_default();
    let row = |lease: &[u8; 36]| {
        let left = u32::from_be_bytes(*lease.first_chunk()?);
        let ip = Ipv4Addr::from(*lease[4..].first_chunk::<4>()?);
        let mac = Mac(*lease[8..].first_chunk()?);
        let name = String::from_utf8_lossy(&lease[14..34]).trim_end_matches('\0').to_owned();
        let row = Row { mac: mac.to_string(), ip: ip.to_string(), name, client_id: String::new() };
        (left > 0 && mac != Mac([0; 6])).then_some(row)
    };
    leases.as_chunks::<36>().0.iter().filter_map(row).collect()
}
