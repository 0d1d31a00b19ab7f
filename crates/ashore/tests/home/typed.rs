//! The lab's router as somebody administers it: what `ashore router-config` prints is typed into a shell of it, and the
//! programs that it is for are Debian's own.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ashore_lab::{Engines, Machine};

/// A router on which something was typed, with its DHCP server running. Dropped, all of it ends; what the kernel was told
/// stays with the machine.
pub struct Typed {
    shell: Child,
}

/// What an installed Debian has, and a namespace has not: a directory `/etc` of its own with what the packages bring, a
/// `/run` and a `/sys` of its own, and an init system, whose part the test has.
const INSTALLED: &str = r#"
mount -t tmpfs tmpfs "$OWN"
mkdir "$OWN/upper" "$OWN/work" "$OWN/bin"
mount -t overlay overlay -o "lowerdir=$TOOLS/etc:/etc,upperdir=$OWN/upper,workdir=$OWN/work" /etc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /etc/network/interfaces.d /etc/dnsmasq.d
echo 'source /etc/network/interfaces.d/*' > /etc/network/interfaces
printf '#!/bin/sh\nexit 0\n' > "$OWN/bin/systemctl"
chmod +x "$OWN/bin/systemctl"
PATH="$OWN/bin:$PATH"
"#;

/// The DHCP server with what is in its directory, as Debian starts it. It does not look for a free address by pinging, which
/// takes three seconds for each.
const DNSMASQ: &str = "exec dnsmasq --keep-in-foreground --conf-dir=/etc/dnsmasq.d --no-ping --user=root --group=root \
                       --dhcp-leasefile=\"$OWN/leases\" --pid-file=\"$OWN/pid\" --no-resolv";

impl Typed {
    /// Types a script on a machine, each line of which has to succeed, and starts the DHCP server. `before` is what the
    /// administrator had there already.
    pub fn on(machine: &Machine, engines: &Engines, directory: &Path, before: &str, script: &str) -> Typed {
        let own = directory.join(format!("typed-{}", machine.name()));
        std::fs::create_dir_all(&own).unwrap();
        let text = format!("{INSTALLED}\n{before}\n{script}\necho typed\n{DNSMASQ}\n");
        let mut command = machine.command("unshare").unwrap();
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-e",
            "-u",
            "-c",
            &text,
        ]);
        command.env("OWN", &own).env("TOOLS", engines.path("/"));
        let log = directory.join("typed.log");
        let log_file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut shell = engines.equip(&mut command).spawn().unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines().map_while(Result::ok);
        let typed = Typed { shell };
        let done = lines.into_iter().any(|line| line == "typed");
        assert!(done, "{script}\n{}", std::fs::read_to_string(&log).unwrap());
        typed
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Asks the DHCP server of a machine's LAN for one address, each time as another client, and returns what it gives.
pub fn dhcp_gives(machine: &Machine, engines: &Engines, directory: &Path, wanted: IpAddr) -> IpAddr {
    let script = directory.join("bound");
    std::fs::write(&script, "#!/bin/sh\n[ \"$1\" != bound ] || echo \"$ip\"\n").unwrap();
    let mut chmod = Command::new("chmod");
    assert!(chmod.arg("+x").arg(&script).status().unwrap().success());
    let IpAddr::V4(number) = wanted else { panic!("{wanted} is no address of DHCP's") };
    let mut udhcpc = machine.command(engines.path("usr/bin/busybox")).unwrap();
    udhcpc.args(["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "2", "-C"]);
    udhcpc.args(["-x", &format!("0x3d:00{:08x}", u32::from(number)), "-r", &wanted.to_string(), "-s"]);
    let output = udhcpc.arg(&script).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let given = text.lines().find_map(|line| line.parse().ok());
    given.unwrap_or_else(|| panic!("no lease: {text}{}", String::from_utf8_lossy(&output.stderr)))
}
