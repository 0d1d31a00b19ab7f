//! Options of one container's attachment: `--driver-opt` of `docker network connect`, `driver-opt=` of
//! `docker run --network`, and `driver_opts` of a service's network in a compose file. The engine mixes them
//! with labels of its own.

use ashore_core::net::name::IfName;
use ashore_core::net::option::{CLIENT_ID, LABEL, NetworkOption, OWN_HOSTNAME};
use ashore_core::net::published::{Other, Ports, Published};
use ashore_wire::Mac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::engines::running::Version;
use crate::front::given::nearest;

/// These labels are the engine's own (moby, `libnetwork/netlabel`). The MAC that the user chose is six bytes
/// in base64.
const MAC: &str = "com.docker.network.endpoint.macaddress";
const IFNAME: &str = "com.docker.network.endpoint.ifname";
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// All options that `driver-opt` accepts.
pub const KNOWN: [&str; 2] = [IFNAME, SYSCTLS];
/// Options that count before the engine tells of them. Labels stand for them.
const LATE: [&NetworkOption; 2] = [&OWN_HOSTNAME, &CLIENT_ID];
/// The ports that are to be published.
const PORTS: &str = "com.docker.network.portmap";
/// Other labels with this prefix concern only the engine: exposed ports and future ones.
const RESERVED: &str = "com.docker.network.";

/// The first engine version that sets an interface's sysctls.
const SETS_SYSCTLS: Version = Version(27, 0);
/// The first engine version that gives an interface the name that a plugin wants.
const TAKES_NAMES: Version = Version(29, 8);

/// The user's choices for one attachment.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    pub(super) mac: Option<Mac>,
    pub(super) ifname: Option<IfName>,
    pub(super) ports: Ports,
    /// Whether there are sysctls, which the engine reads and sets.
    has_sysctls: bool,
}

impl Attachment {
    pub(super) fn of(options: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| options.get(name).and_then(Value::as_str);
        if let Some(late) = LATE.into_iter().find(|late| options.contains_key(late.key())) {
            let key = late.key();
            return Err(format!(
                "Docker tells of driver-opt={key} only once the container has its address; give it the label {LABEL}{key} \
                 instead: {}",
                late.in_docker(text(key))
            ));
        }
        let of_ours = |name: &&String| !name.starts_with(RESERVED);
        if let Some(unknown) = options.keys().find(of_ours) {
            return Err(format!(
                "there is no option `{unknown}` for a container; did you mean `{}`?",
                nearest(unknown, &KNOWN)
            ));
        }
        let ifname = text(IFNAME).map(|name| name.parse().map_err(|error| format!("{IFNAME}: {error}")));
        Ok(Attachment {
            mac: options.get(MAC).map(mac).transpose()?,
            ifname: ifname.transpose()?,
            ports: options.get(PORTS).map(published).unwrap_or_default(),
            has_sysctls: text(SYSCTLS).is_some(),
        })
    }

    /// Whether the choices depend on the engine's version.
    pub(super) fn depends_on_engine(&self) -> bool {
        self.has_sysctls || self.ifname.is_some()
    }

    /// Fails if the engine would silently ignore a choice.
    pub(super) fn check(&self, engine: Version) -> Result<(), String> {
        if self.has_sysctls && engine < SETS_SYSCTLS {
            return Err(format!(
                "Docker {engine} does not know {SYSCTLS}, which came with {SETS_SYSCTLS}; try: docker run --sysctl net.ipv4.conf.eth0.…"
            ));
        }
        match &self.ifname {
            Some(name) if engine < TAKES_NAMES && !name.as_str().ends_with(|c: char| c.is_ascii_digit()) => {
                Err(format!(
                    "Docker {engine} numbers a plugin's interfaces itself, and accepts a name without a number since {TAKES_NAMES}; try: {IFNAME}={name}0"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The ports of a port map (moby, `libnetwork/types.PortBinding`). What is no port is left out: nothing depends on it.
fn published(map: &Value) -> Ports {
    const UDP: u64 = 17;
    const SCTP: u64 = 132;
    let port = |binding: &Value, key: &str| {
        binding.get(key)?.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
    };
    let one = |binding: &Value| {
        let other = match binding.get("Proto").and_then(Value::as_u64) {
            Some(UDP) => Some(Other::Udp),
            Some(SCTP) => Some(Other::Sctp),
            _ => None,
        };
        Some(Published { host: port(binding, "HostPort"), own: port(binding, "Port")?, other })
    };
    Ports::of(map.as_array().into_iter().flatten().filter_map(one))
}

fn mac(value: &Value) -> Result<Mac, String> {
    let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    let octets: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
    octets.map(Mac).ok_or_else(|| format!("{MAC} is not a MAC of six bytes: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(options: &[(&str, &str)]) -> Attachment {
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), Value::from(*value));
        Attachment::of(&options.iter().map(text).collect()).unwrap()
    }

    #[test]
    fn what_an_engine_would_pass_over_is_refused_by_its_version() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let bare = attachment(&[(IFNAME, "lan")]);
        assert!(bare.check(version("29.7.2")).unwrap_err().contains("ifname=lan0"));
        assert!(bare.check(version("29.8.0")).is_ok() && bare.check(version("30.0.0-rc.1")).is_ok());
        assert!(attachment(&[(IFNAME, "lan0")]).check(version("20.10.24+dfsg1")).is_ok());
        let sysctls = attachment(&[(SYSCTLS, "net.ipv4.conf.IFNAME.forwarding=1")]);
        assert!(sysctls.check(version("26.1.5")).is_err() && sysctls.check(version("27.0.1")).is_ok());
    }

    #[test]
    fn what_comes_too_late_is_refused_with_the_label_that_comes_in_time() {
        let options = [("hostname".to_owned(), Value::from("web"))].into_iter().collect();
        let said = Attachment::of(&options).unwrap_err();
        assert!(said.ends_with("--label ashore.hostname=web"), "{said}");
    }

    #[test]
    fn ports_to_be_published_are_read_and_what_is_none_is_left_out() {
        let map = serde_json::json!([
            { "Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080 },
            { "Proto": 17, "Port": 53, "HostPort": 0 },
            { "Proto": 6, "Port": 70000 }, { "Port": 0 }, 7, null,
        ]);
        let options = |map: Value| [(PORTS.to_owned(), map)].into_iter().collect();
        let shown = |map| -> Vec<String> {
            Attachment::of(&options(map)).unwrap().ports.first.iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(map), ["8080:80", "53/udp"]);
        for odd in [Value::Null, "".into(), serde_json::json!({})] {
            assert_eq!(shown(odd), [""; 0]);
        }
    }

    #[test]
    fn labels_of_the_engines_own_are_left_to_it() {
        let own = [("com.docker.network.portmap", ""), ("com.docker.network.endpoint.to_come", "")];
        assert!(!attachment(&own).depends_on_engine());
    }
}
