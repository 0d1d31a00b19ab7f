//! A stand-in for an OpenWrt router's shell: the part of `uci` that scripts use, on its own files, with
//! staged changes separate from committed ones. No Debian package has the real `uci`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ashore_lab::Ran;

/// Each configuration is a file of lines `section.option=value`. The values of a list are separated by
/// blanks.
const UCI: &str = r#"#!/bin/sh
# uci [-q] VERB ...
[ "$1" != -q ] || shift
verb=$1; shift
file=${1%%.*}
key=${1%%=*}; key=${key#*.}
value=${1#*=}
at() { if [ -e "$OWN/staged/$file" ]; then echo "$OWN/staged/$file"; else echo "$OWN/config/$file"; fi; }
staged() { [ -e "$OWN/staged/$file" ] || cp "$OWN/config/$file" "$OWN/staged/$file"; echo "$OWN/staged/$file"; }
section() { awk -v s="${key%.*}=" 'index($0, s) == 1 { there = 1 } END { exit !there }' "$(at)"; }
has() { awk -v k="$key=" 'index($0, k) == 1 { there = 1 } END { exit !there }' "$(at)"; }
case $verb in
  changes) for f in "$OWN"/staged/*; do [ ! -e "$f" ] || diff "$OWN/config/${f##*/}" "$f" || true; done ;;
  show) awk -v f="$file." '{ at = index($0, "="); k = substr($0, 1, at - 1); v = substr($0, at + 1);
      print f k "=" (k ~ /\./ && !(k ~ /^@[^.]*$/) ? "\047" v "\047" : v) }' "$(at)" ;;
  get) has || exit 1; awk -v k="$key=" 'index($0, k) == 1 { print substr($0, length(k) + 1) }' "$(at)" ;;
  set|add_list)
    case $key in
      *.*) section || { echo "uci: no section for $1" >&2; exit 1; } ;;
    esac
    if [ $verb = add_list ] && has; then value="$(awk -v k="$key=" 'index($0, k) == 1 { print substr($0, length(k) + 1) }' "$(at)") $value"; fi
    f=$(staged)
    awk -v k="$key=" 'index($0, k) != 1' "$f" > "$f.new"; echo "$key=$value" >> "$f.new"; mv "$f.new" "$f" ;;
  delete) has || exit 1; f=$(staged)
    awk -v k="$key" 'index($0, k "=") != 1 && index($0, k ".") != 1' "$f" > "$f.new"; mv "$f.new" "$f" ;;
  commit) [ ! -e "$OWN/staged/$file" ] || mv "$OWN/staged/$file" "$OWN/config/$file" ;;
  revert) rm -f "$OWN/staged/$file" ;;
  *) echo "uci: $verb" >&2; exit 1 ;;
esac
"#;

/// The factory configuration of the firmware of 2023 and later.
pub const FACTORY: [(&str, &str); 3] = [
    (
        "network",
        "@device[0]=device\n@device[0].name=br-lan\n@device[0].type=bridge\n@device[0].ports=lan1 lan2\nlan=interface\n\
         lan.device=br-lan\nlan.proto=static\nlan.ipaddr=192.168.88.1\nlan.netmask=255.255.255.0\nwan=interface\n\
         wan.device=wan\nwan.proto=dhcp\n",
    ),
    ("dhcp", "lan=dhcp\nlan.interface=lan\nlan.start=100\nlan.limit=150\n"),
    (
        "firewall",
        "@zone[0]=zone\n@zone[0].name=lan\n@zone[0].network=lan\n@zone[1]=zone\n@zone[1].name=wan\n",
    ),
];

/// A router: its files in a directory, and a bridge `br-lan` with ports.
pub struct OpenWrt {
    own: tempfile::TempDir,
}

impl OpenWrt {
    pub fn new() -> OpenWrt {
        let own = tempfile::tempdir().unwrap();
        let router = OpenWrt { own };
        for directory in ["bin", "config", "staged", "root", "net/br-lan/brif", "net/wlan0/phy80211"] {
            std::fs::create_dir_all(router.at(directory)).unwrap();
        }
        for port in ["lan1", "lan2", "wlan0"] {
            std::fs::write(router.at(&format!("net/br-lan/brif/{port}")), "").unwrap();
        }
        for (file, text) in FACTORY {
            std::fs::write(router.at(&format!("config/{file}")), text).unwrap();
        }
        let service = "#!/bin/sh\necho \"$*\" >> \"$OWN/services\"\n";
        let ipcalc = "#!/bin/sh\nip=${1%/*}; echo NETWORK=${ip%.*}.0 PREFIX=24\n";
        for (tool, text) in [("uci", UCI), ("service", service), ("ipcalc.sh", ipcalc)] {
            router.install(tool, text);
        }
        router
    }

    pub fn install(&self, tool: &str, text: &str) {
        let path = self.at("bin").join(tool);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn at(&self, path: &str) -> std::path::PathBuf {
        self.own.path().join(path)
    }

    /// Appends lines to a configuration.
    pub fn add(&self, file: &str, lines: &str) {
        let path = self.at(&format!("config/{file}"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text + lines).unwrap();
    }

    /// Pastes an output into the router's shell. A wait of minutes lasts until `trial_ends`, or until the router is
    /// gone.
    pub fn paste(&self, output: &str) -> Ran {
        let own = self.own.path().display().to_string();
        let until_over = format!("until [ -e {own}/over ]; do [ -e {own}/bin ] || exit 0; sleep 0.1; done");
        let text = output
            .replace("/tmp/", &format!("{own}/"))
            .replace("/sys/class/net", &format!("{own}/net"))
            .replace("/etc/config", &format!("{own}/config"))
            .replace("/root/", &format!("{own}/root/"))
            .replace("sleep 180", &until_over);
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(text).stdin(Stdio::null());
        shell.env("OWN", &own).env("PATH", format!("{own}/bin:{path}"));
        Ran::of(&mut shell).unwrap()
    }

    /// Ends the wait for a confirmation of all that was pasted.
    pub fn trial_ends(&self) {
        std::fs::write(self.at("over"), "").unwrap();
    }

    /// A configuration as committed.
    pub fn config(&self, file: &str) -> BTreeMap<String, String> {
        pairs(&std::fs::read_to_string(self.at(&format!("config/{file}"))).unwrap())
    }

    pub fn option(&self, file: &str, key: &str) -> String {
        self.config(file).get(key).cloned().unwrap_or_default()
    }

    /// Returns whether the committed files have the factory content, in any order.
    pub fn has_what_it_was_made_with(&self) -> bool {
        FACTORY.iter().all(|(file, text)| self.config(file) == pairs(text))
    }

    /// Returns whether all files are byte for byte the factory content, with nothing staged.
    pub fn is_untouched(&self) -> bool {
        let same = |(file, text): &(&str, &str)| {
            std::fs::read_to_string(self.at(&format!("config/{file}"))).unwrap() == *text
        };
        FACTORY.iter().all(same) && is_empty(&self.at("staged"))
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
