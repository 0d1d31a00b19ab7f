//! Wi-Fi in a world: an access point on the switch, and clients of it, by radios that the kernel makes up
//! (`mac80211_hwsim`). Every frame goes through mac80211 and hostapd as on air.

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

/// What the network is called.
const SSID: &str = "ashore";

/// How long an access point may take to start, and a client to find it.
const PATIENCE: Duration = Duration::from_secs(60);

/// `HWSIM_CMD_NEW_RADIO` of the kernel's `mac80211_hwsim.h`.
const NEW_RADIO: u8 = 4;

/// An open Wi-Fi network: its access point's `wlan0` is a port of the switch. Dropped, the access point is switched off.
pub struct Wifi {
    engines: Engines,
    /// Radios hear one another that were made in one namespace, wherever they have gone since; and numbers of namespaces
    /// that are no more are given to others.
    air: Machine,
    access_point: Child,
}

impl Wifi {
    /// Switches an access point on. It logs to a file in a directory.
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
        wait("the access point starts", || {
            let said = fs::read_to_string(&log)?;
            match wifi.access_point.try_wait()? {
                Some(_) => Err(io::Error::other(format!("hostapd ended: {said}")).into()),
                None => Ok(said.contains("AP-ENABLED")),
            }
        })?;
        Ok(wifi)
    }

    /// Gives a machine a `wlan0`, and has it join the network: from then on it is on the LAN.
    pub fn join(&self, machine: &Machine) -> Result<(), WorldError> {
        new_radio(&self.engines, &self.air, machine)?;
        machine.set_up("wlan0", true)?;
        let mut next_try = Instant::now();
        wait("a client joins", || {
            if Instant::now() >= next_try {
                // It fails while an earlier try is under way.
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

/// Has the kernel load the simulator, from where it finds its modules: somebody with `CAP_SYS_MODULE` who asks for an
/// interface that there is not is answered after a module of that name was looked for (Linux 6.1, `dev_load`).
fn load_simulator(engines: &Engines) -> io::Result<()> {
    Command::new(engines.path("usr/bin/busybox")).args(["ifconfig", "mac80211_hwsim"]).output()?;
    if fs::exists("/sys/module/mac80211_hwsim")? {
        return Ok(());
    }
    Err(io::Error::other("this kernel has no mac80211_hwsim, or may not load it here"))
}

/// Makes a radio and takes it to a machine, where its interface is `wlan0`.
fn new_radio(engines: &Engines, air: &Machine, machine: &Machine) -> Result<(), WorldError> {
    air.inside(|| generic_command("MAC80211_HWSIM", NEW_RADIO))??;
    let shown = run(engines, air, "iw dev wlan0 info")?;
    let number = shown.split_whitespace().skip_while(|word| *word != "wiphy").nth(1);
    let number = number.ok_or_else(|| io::Error::other(format!("no radio in {shown:?}")))?;
    // A namespace is told to iw by a process that is in it.
    let mut inside = machine.command("sleep")?.arg("1000").stdin(Stdio::null()).spawn()?;
    let taken = run(engines, air, &format!("iw phy#{number} set netns {}", inside.id()));
    inside.kill()?;
    inside.wait()?;
    taken.map(|_| ())
}

/// Runs one of the tools on a machine.
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
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not in time: {what}")).into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
