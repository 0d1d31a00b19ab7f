//! Whether a request for a network means one that is there: an engine joins the network of that name that another
//! engine or the command line has made.

use ashore_wire::conflict::Profile;

use super::error::NetworkError;
use super::spec::NetworkSpec;
use crate::model::ipv6::Ipv6Mode;
use crate::model::lease::{Addressing, LeaseOptions};
use crate::model::network::{Network, Subnet};
use crate::net::kind::PortOption;
use crate::net::option::{
    AUX_ADDRESS, BC_LIMIT, BC_QUEUE_LEN, CONFLICT, DHCP, DHCP_ALLOW, DHCP_DENY, FALLBACK, GATEWAY, GVRP,
    HAIRPIN, HOST_ACCESS, HOSTNAME, INTERNAL, IP_RANGE, IPV6, ISOLATED, KIND, LEASE_TIMEOUT, MDNS, MTU,
    NetworkOption, PARENT, REGISTER_NAME, RELEASE, SUBNET, TAGGED, VENDOR_CLASS, VLAN,
};
use crate::net::text::list;
use crate::net::vlan::Membership;

/// The error about an option that differs: what was asked for, and what there is.
type Differs<'a> = dyn Fn(&'static NetworkOption, String, String) -> Result<(), NetworkError> + 'a;

impl Network {
    /// Checks that the network's leases are those that a request asks for.
    fn leases_as(&self, spec: &NetworkSpec, differs: &Differs<'_>) -> Result<(), NetworkError> {
        let (asked, has, usual) = (&spec.leasing, &self.leasing, LeaseOptions::default());
        if asked.release != usual.release && asked.release != has.release {
            return differs(&RELEASE, asked.release.to_string(), has.release.to_string());
        }
        if asked.fallback != usual.fallback && asked.fallback != has.fallback {
            return differs(&FALLBACK, asked.fallback.to_string(), has.fallback.to_string());
        }
        for (option, asked, has) in [
            (&DHCP_ALLOW, &asked.servers.allow, &has.servers.allow),
            (&DHCP_DENY, &asked.servers.deny, &has.servers.deny),
        ] {
            if !asked.is_empty() && asked != has {
                return differs(option, list(asked.iter()), list(has.iter()));
            }
        }
        if asked.register_name && !has.register_name {
            return differs(&REGISTER_NAME, "yes".to_owned(), "no".to_owned());
        }
        for (option, asked, has) in [
            (&HOSTNAME, text(asked.hostname.as_ref()), text(has.hostname.as_ref())),
            (&VENDOR_CLASS, text(asked.vendor_class.as_ref()), text(has.vendor_class.as_ref())),
            (&LEASE_TIMEOUT, text(asked.timeout.as_ref()), text(has.timeout.as_ref())),
        ] {
            if let Some(asked) = asked.filter(|asked| has.as_ref() != Some(asked)) {
                return differs(option, asked, has.unwrap_or_else(|| "the default".to_owned()));
            }
        }
        Ok(())
    }

    /// Checks that this network has all that a request asks for. What the request leaves open is as the network has
    /// it.
    pub fn has_all_of(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let differs = |option: &'static NetworkOption, asked: String, has: String| {
            let network = self.label().to_owned();
            Err(NetworkError::Differs { network, option, asked, has })
        };
        let lower = self.vlan.as_ref().map_or(&self.parent, |vlan| &vlan.lower);
        if let Some(parent) = spec.parent.as_ref().filter(|asked| ![&self.parent, lower].contains(asked)) {
            return differs(&PARENT, parent.to_string(), lower.to_string());
        }
        let vlan = self.vlan.as_ref().map(|vlan| vlan.id);
        if let Some(asked) = spec.vlan.filter(|asked| vlan != Some(*asked)) {
            return differs(&VLAN, asked.to_string(), vlan.map_or("none".to_owned(), |id| id.to_string()));
        }
        if let Some(kind) = spec.kind.filter(|asked| *asked != self.kind) {
            return differs(&KIND, kind.to_string(), self.kind.to_string());
        }
        let nets = || list(self.subnets.iter().map(|subnet| subnet.net));
        if let Some(net) =
            spec.subnets.iter().find(|net| self.subnets.iter().all(|subnet| subnet.net != net.trunc()))
        {
            return differs(&SUBNET, net.to_string(), nets());
        }
        let ranges = || list(self.subnets.iter().map(Subnet::pool));
        if let Some(range) =
            spec.ranges.iter().find(|range| self.subnets.iter().all(|subnet| subnet.pool() != **range))
        {
            return differs(&IP_RANGE, range.to_string(), ranges());
        }
        let gateways = || self.subnets.iter().filter_map(|subnet| subnet.gateway);
        if let Some(gateway) = spec.gateways.iter().find(|asked| gateways().all(|there| there != **asked)) {
            return differs(&GATEWAY, gateway.to_string(), list(gateways()));
        }
        let aux = || self.subnets.iter().flat_map(|subnet| &subnet.aux);
        if let Some((name, ip)) = spec.aux.iter().find(|(name, ip)| aux().all(|there| there != (name, ip))) {
            return differs(
                &AUX_ADDRESS,
                format!("{name}={ip}"),
                list(aux().map(|(name, ip)| format!("{name}={ip}"))),
            );
        }
        if spec.addressing == Addressing::Dhcp && self.addressing != Addressing::Dhcp {
            return differs(&DHCP, "dhcp".to_owned(), "a range".to_owned());
        }
        self.leases_as(spec, &differs)?;
        if spec.ipv6 != Ipv6Mode::default() && spec.ipv6 != self.ipv6 {
            return differs(&IPV6, spec.ipv6.to_string(), self.ipv6.to_string());
        }
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        if let Some(asked) = spec.host_access.filter(|asked| *asked != self.host_access) {
            return differs(&HOST_ACCESS, yes(asked), yes(self.host_access));
        }
        if spec.internal && !self.internal {
            return differs(&INTERNAL, yes(true), yes(false));
        }
        if spec.conflict != Profile::default() && spec.conflict != self.conflict {
            return differs(&CONFLICT, spec.conflict.to_string(), self.conflict.to_string());
        }
        let has_gvrp = self.vlan.as_ref().is_some_and(|vlan| vlan.gvrp);
        for (option, asked, has) in [
            (&MDNS, spec.mdns, self.mdns),
            (&GVRP, spec.gvrp, has_gvrp),
            (&TAGGED, spec.tagged, self.membership == Membership::TAGGED),
            (&ISOLATED, spec.port.contains(&PortOption::Isolated), self.port.contains(&PortOption::Isolated)),
            (&HAIRPIN, spec.port.contains(&PortOption::Hairpin), self.port.contains(&PortOption::Hairpin)),
        ] {
            if asked && !has {
                return differs(option, yes(true), yes(false));
            }
        }
        let number = |number: Option<i64>| number.map_or("the default".to_owned(), |n| n.to_string());
        for (option, asked, has) in [
            (&MTU, spec.mtu.map(i64::from), self.mtu.map(i64::from)),
            (&BC_QUEUE_LEN, spec.bc_queue_len.map(i64::from), self.bc_queue_len.map(i64::from)),
            (&BC_LIMIT, spec.bc_limit.map(i64::from), self.bc_limit.map(i64::from)),
        ] {
            if asked.is_some() && asked != has {
                return differs(option, number(asked), number(has));
            }
        }
        Ok(())
    }
}

fn text(value: Option<&impl ToString>) -> Option<String> {
    value.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> NetworkSpec {
        serde_json::from_str(&format!(r#"{{"name":"lan"{more}}}"#)).unwrap()
    }

    #[test]
    fn what_is_left_open_is_as_the_network_has_it_and_the_rest_must_be_the_same() {
        let whole = r#","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.32/28"],"gateways":["192.168.88.1"],"aux":[["host","192.168.88.9"]]"#;
        let network = spec(whole).network().unwrap();
        assert_eq!(network.has_all_of(&spec("")), Ok(()));
        assert_eq!(network.has_all_of(&spec(whole)), Ok(()));
        for (asked, option) in [
            (r#","parent":"eth1""#, &PARENT),
            (r#","vlan":20"#, &VLAN),
            (r#","kind":"bridge""#, &KIND),
            (r#","subnets":["192.168.88.0/24","192.168.89.0/24"]"#, &SUBNET),
            (r#","ranges":["192.168.88.64/28"]"#, &IP_RANGE),
            (r#","gateways":["192.168.88.254"]"#, &GATEWAY),
            (r#","aux":[["host","192.168.88.8"]]"#, &AUX_ADDRESS),
            (r#","addressing":"dhcp""#, &DHCP),
            (r#","leasing":{"release":"on_stop"}"#, &RELEASE),
            (r#","leasing":{"fallback":"range"}"#, &FALLBACK),
            (r#","leasing":{"servers":{"allow":["192.168.88.1"],"deny":[]}}"#, &DHCP_ALLOW),
            (r#","leasing":{"servers":{"allow":[],"deny":["192.168.88.1"]}}"#, &DHCP_DENY),
            (r#","leasing":{"hostname":"web"}"#, &HOSTNAME),
            (r#","leasing":{"register_name":true}"#, &REGISTER_NAME),
            (r#","leasing":{"vendor_class":"nas"}"#, &VENDOR_CLASS),
            (r#","leasing":{"timeout":30}"#, &LEASE_TIMEOUT),
            (r#","host_access":false"#, &HOST_ACCESS),
            (r#","mdns":true"#, &MDNS),
            (r#","internal":true"#, &INTERNAL),
            (r#","mtu":1400"#, &MTU),
            (r#","bc_limit":-1"#, &BC_LIMIT),
            (r#","tagged":true"#, &TAGGED),
            (r#","port":["isolated"]"#, &ISOLATED),
        ] {
            match network.has_all_of(&spec(asked)) {
                Err(NetworkError::Differs { option: named, .. }) => assert_eq!(named, option, "{asked}"),
                other => panic!("{asked}: {other:?}"),
            }
        }
    }
}
