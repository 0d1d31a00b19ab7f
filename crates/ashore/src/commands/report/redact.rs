//! Takes out of a text what tells whose it is: half of each MAC, public addresses, and names if that is wanted. What
//! was the same before is the same after, so that the text can still be understood.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value;

/// Members of JSON objects that identify a machine in a form of their own, or are secrets.
const HIDDEN: &[&str] = &["seed", "duid", "client_id"];

/// What is taken out, and what stands in its place.
pub(super) struct Redaction {
    /// Names, the longest first: one may be a part of another.
    names: Vec<(String, String)>,
    /// Public addresses, in the order in which they were found.
    public: Vec<IpAddr>,
}

impl Redaction {
    /// Takes out these names too.
    pub(super) fn new(mut names: Vec<String>) -> Self {
        names.sort();
        names.dedup();
        let mut names: Vec<(String, String)> =
            names.into_iter().enumerate().map(|(at, name)| (name, format!("name-{}", at + 1))).collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Redaction { names, public: Vec::new() }
    }

    /// The same value without what is taken out.
    pub(super) fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(key, member)| {
                        let hidden = HIDDEN.contains(&key.as_str());
                        let member = if hidden { Value::String("…".into()) } else { self.value(member) };
                        (self.text(&key), member)
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// The same text without what is taken out.
    pub(super) fn text(&mut self, text: &str) -> String {
        let mut redacted = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            redacted.push_str(&self.word(word));
            let next = after.chars().next().map_or(0, char::len_utf8);
            redacted.push_str(&after[..next]);
            rest = &after[next..];
        }
        redacted
    }

    /// A word, which may end with the stop or the colon of a sentence.
    fn word(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(['.', ':', '-']);
        let end = &word[bare.len()..];
        if let Some((_, instead)) = self.names.iter().find(|(name, _)| name == bare) {
            return format!("{instead}{end}");
        }
        if let Some(masked) = masked_mac(bare) {
            return format!("{masked}{end}");
        }
        // `fd88::` ends with colons of its own.
        let (address, end) = match word.parse::<IpAddr>() {
            Ok(ip) => (Some(ip), ""),
            Err(_) => (bare.parse::<IpAddr>().ok(), end),
        };
        match address {
            Some(ip) if is_public(ip) => format!("{}{end}", self.public(ip)),
            Some(IpAddr::V6(ip)) => format!("{}{end}", masked_interface(ip)),
            _ => self.parts(bare) + end,
        }
    }

    /// A word in which a name or a range of addresses may be a part: `ashore:lan:web`, `192.0.2.1-192.0.2.9`.
    fn parts(&mut self, word: &str) -> String {
        for separator in [':', '-'] {
            let Some((first, last)) = word.split_once(separator) else { continue };
            if separator == '-' && first.parse::<IpAddr>().is_err() {
                continue;
            }
            return format!("{}{separator}{}", self.word(first), self.word(last));
        }
        word.to_owned()
    }

    fn public(&mut self, ip: IpAddr) -> String {
        let known = self.public.iter().position(|known| *known == ip);
        let at = known.unwrap_or_else(|| {
            self.public.push(ip);
            self.public.len() - 1
        });
        let family = if ip.is_ipv4() { 4 } else { 6 };
        format!("<public IPv{family} {}>", at + 1)
    }
}

/// Whether a character can be in an address, a MAC or a name.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_')
}

/// A MAC, or a longer row of bytes such as a client identifier, without its last three bytes. The first three are the
/// maker's, or what Ashore derives them from.
fn masked_mac(word: &str) -> Option<String> {
    let separator = if word.contains(':') { ':' } else { '-' };
    let bytes: Vec<&str> = word.split(separator).collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|c| c.is_ascii_hexdigit());
    if bytes.len() < 6 || !bytes.iter().all(is_byte) {
        return None;
    }
    let kept = bytes[..bytes.len() - 3].iter().copied();
    Some(kept.chain(["xx"; 3]).collect::<Vec<_>>().join(&separator.to_string()))
}

/// An address that is not public. If a MAC is in it (RFC 4291, appendix A), the last three bytes of that are masked.
fn masked_interface(ip: Ipv6Addr) -> String {
    let octets = ip.octets();
    if octets[11..13] != [0xff, 0xfe] {
        return ip.to_string();
    }
    let text = ip.to_string();
    let mut groups: Vec<&str> = text.split(':').collect();
    groups.truncate(groups.len().saturating_sub(2));
    format!("{}:fexx:xxxx", groups.join(":"))
}

/// Whether an address belongs to somebody on the internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_reserved = first == 0 || first >= 224;
            let is_of_nobody = ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared;
            // A mask is written like an address.
            !(is_of_nobody || is_reserved || is_mask(u32::from(ip)))
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}

fn is_mask(bits: u32) -> bool {
    bits.leading_ones() + bits.trailing_zeros() >= 32 && bits.leading_ones() >= 8
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redacted(text: &str) -> String {
        Redaction::new(Vec::new()).text(text)
    }

    #[test]
    fn the_last_three_bytes_of_a_mac_are_masked() {
        assert_eq!(redacted("address ca:1c:c5:2e:05:6b."), "address ca:1c:c5:xx:xx:xx.");
        assert_eq!(
            redacted("id 01:ca:1c:c5:2e:05:6b, CA-1C-C5-2E-05-6B"),
            "id 01:ca:1c:c5:xx:xx:xx, CA-1C-C5-xx-xx-xx"
        );
        assert_eq!(redacted("fe80::c81c:c5ff:fe2e:56b/64"), "fe80::c81c:c5ff:fexx:xxxx/64");
    }

    #[test]
    fn public_addresses_are_masked_and_the_same_stays_the_same() {
        let text = "via 203.0.113.7 and 2001:db8::5/64, then 203.0.113.7: 198.51.100.1-198.51.100.9";
        assert_eq!(
            redacted(text),
            "via <public IPv4 1> and <public IPv6 2>/64, then <public IPv4 1>: <public IPv4 3>-<public IPv4 4>"
        );
    }

    #[test]
    fn what_every_lan_has_stays() {
        for text in [
            "192.168.88.192/27 10.0.0.1 172.16.0.9 100.64.0.1 169.254.1.1 127.0.0.1 0.0.0.0 255.255.255.0 224.0.0.1",
            "fd88::5/64 fe80::1 :: ff02::1 fd88::",
            "2026-11-29T23:10:05+0000 ashored[4711]: shim-eth0 is up: eth0.200, version 1.2.3",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn names_are_replaced_where_they_are_whole() {
        let names = ["lan", "web", "web-2"].map(str::to_owned).to_vec();
        let mut redaction = Redaction::new(names);
        assert_eq!(
            redaction.text("`web` on lan: ashore:lan:web-2, /run/netns/web, the webcam on the LAN"),
            "`name-2` on name-1: ashore:name-1:name-3, /run/netns/name-2, the webcam on the LAN"
        );
        let value = redaction.value(json!({"web": ["lan", 1], "seed": "secret", "mac": "ca:1c:c5:2e:05:6b"}));
        assert_eq!(value, json!({"name-2": ["name-1", 1], "seed": "…", "mac": "ca:1c:c5:xx:xx:xx"}));
    }
}
