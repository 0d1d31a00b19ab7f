//! The LAN's DHCP server: real ones, on the lab's router or on another machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ashore_lab::{Engines, Machine};

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    leases: PathBuf,
    log: PathBuf,
}

/// What a server has handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub mac: String,
    pub ip: String,
    pub name: String,
    pub client_id: String,
}

impl Server {
    /// dnsmasq with a pool, and whatever else it is told. It does not ping before it offers, which takes three seconds.
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

    /// The same, as it is by itself.
    pub fn dnsmasq_that_pings(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: &str,
        options: &[&str],
    ) -> Server {
        let at = |file: &str| directory.join(format!("dnsmasq-{}.{file}", on.name()));
        let (leases, log) = (at("leases"), at("log"));
        let mut command = on.command(engines.path("usr/sbin/dnsmasq")).unwrap();
        engines.equip(&mut command).args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
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
        Server { child: command.stdin(Stdio::null()).spawn().unwrap(), leases, log }
    }

    /// busybox's, whose leases may be as short as ten seconds.
    pub fn udhcpd(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: (&str, &str),
        seconds: u32,
    ) -> Server {
        Self::udhcpd_on("eth0", engines, on, directory, pool, seconds)
    }

    /// The same by another interface. The router is the first address of the pool's subnet.
    pub fn udhcpd_on(
        interface: &str,
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: (&str, &str),
        seconds: u32,
    ) -> Server {
        let at = |file: &str| directory.join(format!("udhcpd-{}-{interface}.{file}", on.name()));
        let (subnet, _) = pool.0.rsplit_once('.').unwrap();
        let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
        std::fs::write(&leases, "").unwrap();
        let text = format!(
            "start {}\nend {}\ninterface {interface}\nlease_file {}\nmin_lease 10\nauto_time 1\npidfile {}\n\
             option subnet 255.255.255.0\noption router {subnet}.1\noption lease {seconds}\n",
            pool.0,
            pool.1,
            leases.display(),
            at("pid").display()
        );
        std::fs::write(&conf, text).unwrap();
        let mut command = on.command(engines.path("bin/busybox")).unwrap();
        let said = std::fs::File::create(&log).unwrap();
        let command = command.args(["udhcpd", "-f"]).arg(conf).stdin(Stdio::null()).stdout(Stdio::null());
        Server { child: command.stderr(said).spawn().unwrap(), leases, log }
    }

    /// Kea.
    pub fn kea(engines: &Engines, on: &Machine, directory: &Path, pool: &str) -> Server {
        let subnet = serde_json::json!({ "id": 1, "subnet": "192.168.88.0/24", "pools": [{ "pool": pool }] });
        Server::kea_of(4, engines, on, directory, &serde_json::json!({ "subnet4": [subnet] }))
    }

    /// Kea's DHCPv6 server, with leases of two minutes.
    pub fn kea6(engines: &Engines, on: &Machine, directory: &Path, pool: &str) -> Server {
        Server::kea6_with(engines, on, directory, pool, [30, 48, 60, 120])
    }

    /// The same with other times: T1, T2, the preferred lifetime, and the valid one.
    pub fn kea6_with(
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        pool: &str,
        [renew, rebind, preferred, valid]: [u32; 4],
    ) -> Server {
        let subnet = serde_json::json!({
            "id": 1, "subnet": "fd88::/64", "interface": "eth0", "pools": [{ "pool": pool }],
        });
        let more = serde_json::json!({
            "subnet6": [subnet], "preferred-lifetime": preferred, "valid-lifetime": valid,
            "renew-timer": renew, "rebind-timer": rebind,
            // Where it keeps its DUID.
            "data-directory": directory,
        });
        Server::kea_of(6, engines, on, directory, &more)
    }

    /// Without `lfc-interval` it ends where its cleaner, `/usr/sbin/kea-lfc`, is not installed (2.2).
    fn kea_of(
        version: u8,
        engines: &Engines,
        on: &Machine,
        directory: &Path,
        more: &serde_json::Value,
    ) -> Server {
        let at = |file: &str| directory.join(format!("kea{version}-{}.{file}", on.name()));
        let (leases, log, conf) = (at("leases"), at("log"), at("conf"));
        let logger = format!("kea-dhcp{version}");
        let mut config = serde_json::json!({
            // A link-local address cannot be listened at while the kernel is still looking whether it is another's.
            "interfaces-config": {
                "interfaces": ["eth0"], "service-sockets-max-retries": 100, "service-sockets-retry-wait-time": 100,
            },
            "lease-database": { "type": "memfile", "name": leases, "lfc-interval": 0 },
            "loggers": [{ "name": logger, "severity": "DEBUG", "output_options": [{ "output": log }] }],
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = serde_json::json!({ format!("Dhcp{version}"): config });
        std::fs::write(&conf, config.to_string()).unwrap();
        let mut command = on.command(engines.path(&format!("usr/sbin/{logger}"))).unwrap();
        let command = engines.equip(&mut command).arg("-c").arg(conf).stdout(Stdio::null());
        command.env("KEA_LOCKFILE_DIR", "none").env("KEA_PIDFILE_DIR", directory);
        command.env("KEA_LOG_FILE_DIR", directory).env("KEA_DHCP_DATA_DIR", directory);
        Server { child: command.stdin(Stdio::null()).spawn().unwrap(), leases, log }
    }

    /// Ends it, and what it has written down is gone.
    pub fn forget(self) {
        let leases = self.leases.clone();
        drop(self);
        std::fs::remove_file(leases).unwrap();
    }

    /// A lease is renewed within the time that it lasts.
    pub fn renews(&self, when: &str) {
        let acks = || std::fs::read_to_string(&self.log).unwrap().matches("sending ACK").count();
        let before = acks();
        super::eventually(&format!("it is renewed {when}"), || acks() > before + 1);
    }

    /// The server's own table.
    pub fn rows(&self) -> Vec<Row> {
        let text = std::fs::read_to_string(&self.leases).unwrap_or_default();
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, mac, ip, name, client_id] = words.as_slice() else { return None };
            let [mac, ip, name, client_id] = [mac, ip, name, client_id].map(|word| (*word).to_owned());
            Some(Row { mac, ip, name, client_id })
        };
        text.lines().filter_map(row).collect()
    }

    /// The same as it is written.
    pub fn table(&self) -> String {
        std::fs::read_to_string(&self.leases).unwrap()
    }

    /// Whether it has said that it is there.
    pub fn is_ready(&self) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains("DHCP, IP range")
    }

    /// How often it has heard or said a message.
    pub fn count(&self, message: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!(" {message}("))).count()
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
