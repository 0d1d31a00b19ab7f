//! dnsmasq, the server of most home routers. It is the LAN's DNS server as well.

use std::path::Path;

use ashore_lab::{Engines, Machine};

use super::{Row, Server, Setup};

impl Server {
    /// Starts dnsmasq with a pool and further options. It does not ping an address before it offers it, which
    /// takes three seconds.
    pub fn dnsmasq(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: &str,
        options: &[&str],
    ) -> Server {
        let options = [&["--no-ping"], options].concat();
        Server::dnsmasq_that_pings(engines, on, directory, pool, &options)
    }

    /// Starts dnsmasq with its default behaviour: it pings an address before it offers it.
    pub fn dnsmasq_that_pings(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: &str,
        options: &[&str],
    ) -> Server {
        let at = super::files(directory, "dnsmasq", on);
        let (leases, log) = (at("leases"), at("log"));
        let mut command = on.command(engines.path("usr/sbin/dnsmasq")).unwrap();
        engines.equip(&mut command).args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--group=root",
            "--dhcp-authoritative",
            "--log-dhcp",
            "--interface=eth0",
            "--bind-interfaces",
        ]);
        command.arg(format!("--log-facility={}", log.display()));
        command.arg(format!("--pid-file={}", at("pid").display()));
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        command.arg(format!("--dhcp-range={pool}")).args(options);
        Server::start(command, on, leases, log, rows)
    }

    /// How often dnsmasq has logged a message that it received or sent.
    pub fn count(&self, message: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!(" {message}("))).count()
    }
}

pub(super) fn serve(engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
    let (first, last) = setup.pool;
    let pool = format!("{first},{last},255.255.255.0,{}", setup.seconds);
    let mut options = vec![format!("--dhcp-option=option:router,{}", setup.router())];
    // The domain in which its DNS knows its clients.
    options.extend(["--domain=lan", "--local=/lan/"].map(str::to_owned));
    if let Some((renew, rebind)) = setup.renewal {
        options.extend([format!("--dhcp-option=58,{renew}"), format!("--dhcp-option=59,{rebind}")]);
    }
    options.extend(setup.reserved.iter().map(|(mac, ip)| format!("--dhcp-host={mac},{ip}")));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Server::dnsmasq(engines, on, directory, &pool, &options)
}

/// A line for each lease: expiry, MAC, address, name or `*`, client identifier or `*`.
fn rows(table: &[u8]) -> Vec<Row> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, mac, ip, name, client_id] = words.as_slice() else { return None };
        let [mac, ip] = [mac, ip].map(|word| (*word).to_owned());
        let [name, client_id] = [name, client_id].map(|word| word.trim_matches('*').to_owned());
        Some(Row { mac, ip, name, client_id })
    };
    String::from_utf8_lossy(table).lines().filter_map(row).collect()
}
