//! The LAN's DHCP server: real servers, on the lab's router or on another machine.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ashore_lab::{Engines, Machine};

mod dnsmasq;
mod isc;
mod kea;
mod kea6;
pub mod relay;
mod udhcpd;

/// A server that runs until it is dropped. Its table stays for the next server of its kind on the same
/// machine.
pub struct Server {
    child: Child,
    leases: PathBuf,
    log: PathBuf,
    rows: fn(&[u8]) -> Vec<Row>,
}

/// One entry in a server's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub mac: String,
    pub ip: String,
    /// Empty if the client sent no name.
    pub name: String,
    /// Empty if the server identifies clients by MAC only.
    pub client_id: String,
}

/// The server software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    Dnsmasq,
    Kea,
    Isc,
    Udhcpd,
}

/// The configuration of a server, in the terms that all servers share.
#[derive(Debug, Clone)]
pub struct Setup {
    /// First and last address, in a /24 whose first address is the router.
    pub pool: (Ipv4Addr, Ipv4Addr),
    /// The lease time. dnsmasq needs at least two minutes, busybox's udhcpd at least ten seconds.
    pub seconds: u32,
    /// T1 and T2 in seconds, where they differ from the defaults for this lease time.
    pub renewal: Option<(u32, u32)>,
    /// Reservations: the address for each MAC.
    pub reserved: Vec<(String, Ipv4Addr)>,
    /// The server's own address, where a relay is between the server and the pool's subnet.
    pub beyond_relay: Option<Ipv4Addr>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            pool: ([192, 168, 88, 100].into(), [192, 168, 88, 120].into()),
            seconds: 120,
            renewal: None,
            reserved: Vec::new(),
            beyond_relay: None,
        }
    }
}

impl Setup {
    fn subnet(&self) -> Ipv4Addr {
        subnet_of(self.pool.0)
    }

    fn router(&self) -> Ipv4Addr {
        let [a, b, c, _] = self.pool.0.octets();
        [a, b, c, 1].into()
    }
}

fn subnet_of(ip: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = ip.octets();
    [a, b, c, 0].into()
}

impl Brand {
    pub const ALL: [Brand; 4] = [Brand::Dnsmasq, Brand::Kea, Brand::Isc, Brand::Udhcpd];

    pub fn name(self) -> &'static str {
        match self {
            Brand::Dnsmasq => "dnsmasq",
            Brand::Kea => "Kea",
            Brand::Isc => "ISC dhcpd",
            Brand::Udhcpd => "udhcpd",
        }
    }

    /// Starts a server on a machine's `eth0`.
    pub fn serve(self, engines: &Engines, on: &Machine, directory: &Path, setup: &Setup) -> Server {
        match self {
            Brand::Dnsmasq => dnsmasq::serve(engines, on, directory, setup),
            Brand::Kea => kea::serve(engines, on, directory, setup),
            Brand::Isc => isc::serve(engines, on, directory, setup),
            Brand::Udhcpd => udhcpd::serve(engines, on, directory, setup),
        }
    }
}

impl Server {
    /// Starts the server and waits until it listens.
    fn start(
        mut command: Command,
        on: &Machine,
        leases: PathBuf,
        log: PathBuf,
        rows: fn(&[u8]) -> Vec<Row>,
    ) -> Server {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut server = Server { child, leases, log, rows };
        crate::eventually("the server listens", || {
            assert_eq!(server.child.try_wait().unwrap(), None, "the server has ended");
            has_server_port(on)
        });
        server
    }

    /// The server's own table.
    pub fn rows(&self) -> Vec<Row> {
        (self.rows)(&std::fs::read(&self.leases).unwrap_or_default())
    }

    /// The table's file as text.
    pub fn table(&self) -> String {
        std::fs::read_to_string(&self.leases).unwrap()
    }

    /// The rows of the clients that sent this name.
    pub fn rows_of(&self, name: &str) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.name == name).collect()
    }

    /// Kills the server and deletes its table.
    pub fn lose_table(self) {
        let leases = self.leases.clone();
        drop(self);
        std::fs::remove_file(leases).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Returns whether a process on a machine has one of the DHCP server ports 67 and 547, or a raw `ICMPv6` socket
/// (protocol 58) as a router has.
fn has_server_port(on: &Machine) -> bool {
    let has = |table: &str, port: &str| {
        let path = format!("/proc/thread-self/net/{table}");
        let sockets = on.inside(|| std::fs::read_to_string(path)).unwrap().unwrap_or_default();
        sockets.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|own| own.ends_with(port)))
    };
    has("udp", ":0043") || has("udp6", ":0223") || has("raw6", ":003A")
}

/// The paths of a server's files for a machine, by file ending.
fn files<'a>(directory: &'a Path, server: &str, on: &Machine) -> impl Fn(&str) -> PathBuf + use<'a> {
    let name = format!("{server}-{}", on.name());
    move |ending| directory.join(format!("{name}.{ending}"))
}

/// Keeps the last row for each address, if that row holds. For servers that only append to their table.
fn last_of_each(rows: impl IntoIterator<Item = (Row, bool)>) -> Vec<Row> {
    let mut last = std::collections::BTreeMap::new();
    for (row, holds) in rows {
        last.insert(row.ip.clone(), Some(row).filter(|_| holds));
    }
    last.into_values().flatten().collect()
}
