//! Wi-Fi in a world: an access point on the switch, and its clients, with radios that the kernel simulates
//! (`mac80211_hwsim`). Every frame passes mac80211 and hostapd, as with real radios.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ashore_kernel::generic_command;

use crate::engines::Engines;
use crate::ran::Ran;
use crate::world::{Machine, World, WorldError};

/// The network's name.
const SSID: &str = "ashore";

/// How long an access point may take to start, and a client to join.
const PATIENCE: Duration = Duration::from_secs(300);

/// `HWSIM_CMD_NEW_RADIO` of the kernel's `mac80211_hwsim.h`.
const NEW_RADIO: u8 = 4;

/// An open Wi-Fi network. Its access point's `wlan0` is a port of the switch. Dropping it stops the access
/// point.
pub struct Wifi {
    engines: Engines,
    /// The namespace in which all radios are created. Radios that were created in the same namespace hear one
    /// another, wherever they are moved later. It is kept because the ID of a deleted namespace may be
    /// reused.
    air: Machine,
    access_point: Child,
}

impl Wifi {
    /// Starts an access point. It logs to a file in a directory.
    pub fn new(engines: &Engines, world: &World, directory: &Path) -> Result<Self, WorldError> {
        load_simulator(engines)?;
        let air = world.container("air")?;
        new_radio(engines, &air, world.switch())?;
        let (settings, log) = (directory.join("hostapd.conf"), directory.join("hostapd.log"));
        let text =
            format!("interface=wlan0\nbridge=br0\ndriver=nl80211\nssid={SSID}\nhw_mode=g\nchannel=1\n");
        fs::write(&settings, text)?;
        let mut command = world.switch().command(engines.path("usr/sbin/hostapd"))?;
        let said = fs::File::create(&log)?;
        engines.equip(&mut command).arg(&settings).stdin(Stdio::null());
        let access_point = command.stdout(said.try_clone()?).stderr(said).spawn()?;
        let mut wifi = Wifi { engines: engines.clone(), air, access_point };
        wait("the access point started", || {
            let said = fs::read_to_string(&log)?;
            match wifi.access_point.try_wait()? {
                Some(_) => Err(io::Error::other(format!("hostapd ended: {said}")).into()),
                None => Ok(said.contains("AP-ENABLED")),
            }
        })?;
        Ok(wifi)
    }

    /// Creates a `wlan0` on a machine and joins the network with it. The machine is on the LAN from then on.
    pub fn join(&self, machine: &Machine) -> Result<(), WorldError> {
        new_radio(&self.engines, &self.air, machine)?;
        machine.set_up("wlan0", true)?;
        let mut next_try = Instant::now();
        wait("a client joined", || {
            if Instant::now() >= next_try {
                // This fails while an earlier attempt is in progress.
                let _ = run(&self.engines, machine, &format!("iw dev wlan0 connect {SSID}"));
                next_try = Instant::now() + Duration::from_secs(5);
            }
            let links = machine.kernel().observe(&[])?.host.links;
            Ok(links.iter().any(|link| link.name.as_str() == "wlan0" && link.carrier))
        })
    }
}

impl Drop for Wifi {
    fn drop(&mut self) {
        let _ = self.access_point.kill();
        let _ = self.access_point.wait();
    }
}

/// Makes the kernel load the simulator from its module directory. If a process with `CAP_SYS_MODULE` asks for
/// a missing interface, the kernel first tries to load a module of that name (Linux 6.1, `dev_load`).
fn load_simulator(engines: &Engines) -> io::Result<()> {
    Command::new(engines.path("usr/bin/busybox")).args(["ifconfig", "mac80211_hwsim"]).output()?;
    if fs::exists("/sys/module/mac80211_hwsim")? {
        return Ok(());
    }
    Err(io::Error::other("this kernel has no mac80211_hwsim, or cannot load it here"))
}

/// Creates a radio and moves it to a machine, where its interface is `wlan0`.
fn new_radio(engines: &Engines, air: &Machine, machine: &Machine) -> Result<(), WorldError> {
    air.inside(|| generic_command("MAC80211_HWSIM", NEW_RADIO))??;
    let shown = run(engines, air, "iw dev wlan0 info")?;
    let number = shown.split_whitespace().skip_while(|word| *word != "wiphy").nth(1);
    let number = number.ok_or_else(|| io::Error::other(format!("no radio in {shown:?}")))?;
    // iw names a namespace by a process in it.
    let mut inside = machine.command("sleep")?.arg("1000").stdin(Stdio::null()).spawn()?;
    let taken = run(engines, air, &format!("iw phy#{number} set netns {}", inside.id()));
    inside.kill()?;
    inside.wait()?;
    taken.map(|_| ())
}

/// Runs a tool on a machine.
fn run(engines: &Engines, machine: &Machine, line: &str) -> Result<String, WorldError> {
    let mut words = line.split_whitespace();
    let mut command = machine.command(words.next().unwrap_or_default())?;
    let ran = Ran::of(engines.equip(&mut command).args(words))?;
    match ran.code {
        Some(0) => Ok(ran.stdout),
        _ => Err(io::Error::other(format!("`{line}` on {}: {}", machine.name(), ran.stderr)).into()),
    }
}

fn wait(what: &str, mut is: impl FnMut() -> Result<bool, WorldError>) -> Result<(), WorldError> {
    let end = Instant::now() + PATIENCE;
    while !is()? {
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("timed out before {what}")).into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
