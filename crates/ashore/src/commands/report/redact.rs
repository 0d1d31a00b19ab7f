//! Takes out of a text what tells whose it is: half of each MAC, public addresses, DHCP identifiers, and names if that
//! is wanted. What was the same before is the same after, so that the text can still be understood.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use serde_json::Value;

/// Members of JSON objects that identify a machine in a form of their own, or are secrets.
const HIDDEN: &[&str] = &["seed", "duid", "client_id"];
/// Such members of leases: the client's identifier and the DHCPv6 server's.
const HIDDEN_IN_LEASES: &[(&str, &str)] = &[("lease", "id"), ("lease6", "id"), ("lease6", "server")];
/// How systemd's names of interfaces begin that end with a MAC.
const NAMED_BY_MAC: &[&str] = &["enx", "wlx", "wwx", "slx", "ibx"];
/// A shorter identifier could be anything else.
const SHORTEST_ID: usize = "01:02:03:04".len();

/// What is taken out, and what stands in its place.
pub(super) struct Redaction {
    /// What is replaced, by its first character, the longest first: one may be a part of another.
    names: BTreeMap<char, Vec<(String, String)>>,
    /// Public addresses, in the order in which they were found.
    public: Vec<IpAddr>,
}

/// What a part of a text is that is masked.
enum Found {
    /// Bytes in hexadecimal: a MAC, or a DHCP identifier.
    Bytes,
    Address(IpAddr),
    /// The name of an interface with a MAC, of which the last three bytes are masked.
    Named,
}

impl Redaction {
    /// Takes out these names too, and these identifiers.
    pub(super) fn new(mut names: Vec<String>, ids: Vec<String>) -> Self {
        names.sort();
        names.dedup();
        let numbered = names.into_iter().enumerate().map(|(at, name)| (name, format!("name-{}", at + 1)));
        let hidden = ids.into_iter().filter(|id| id.len() >= SHORTEST_ID).map(|id| (id, "…".to_owned()));
        let mut by_first: BTreeMap<char, Vec<(String, String)>> = BTreeMap::new();
        for (name, instead) in numbered.chain(hidden) {
            if let Some(first) = name.chars().next() {
                by_first.entry(first).or_default().push((name, instead));
            }
        }
        for names in by_first.values_mut() {
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
        Redaction { names: by_first, public: Vec::new() }
    }

    /// The same value without what is taken out.
    pub(super) fn value(&mut self, value: Value) -> Value {
        self.member("", value)
    }

    /// The same member of an object without what is taken out.
    fn member(&mut self, of: &str, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.member(of, item)).collect(),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(key, member)| {
                        let hidden = is_hidden(of, &key);
                        let member =
                            if hidden { Value::String("…".into()) } else { self.member(&key, member) };
                        (self.text(&key), member)
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    /// The same text without what is taken out.
    pub(super) fn text(&mut self, text: &str) -> String {
        let found = found(text);
        let mut spans = found.iter().peekable();
        let (mut redacted, mut at) = (String::new(), 0);
        while let Some(next) = text[at..].chars().next() {
            while spans.next_if(|(span, _)| span.start < at).is_some() {}
            if let Some((name, instead)) = self.name_at(text, at, &found) {
                redacted.push_str(instead);
                at += name.len();
            } else if let Some((span, what)) = spans.next_if(|(span, _)| span.start == at) {
                redacted.push_str(&self.masked(&text[span.clone()], what));
                at = span.end;
            } else {
                redacted.push(next);
                at += next.len_utf8();
            }
        }
        redacted
    }

    /// The longest name that stands there by itself. A part of an address or a MAC is no name.
    fn name_at(&self, text: &str, at: usize, found: &[(Range<usize>, Found)]) -> Option<&(String, String)> {
        let first = text[at..].chars().next()?;
        let touches = |one: Option<char>, other: Option<char>| {
            one.is_some_and(char::is_alphanumeric) && other.is_some_and(char::is_alphanumeric)
        };
        if touches(text[..at].chars().next_back(), Some(first)) {
            return None;
        }
        self.names.get(&first)?.iter().find(|(name, _)| {
            let end = at + name.len();
            text[at..].starts_with(name.as_str())
                && !touches(name.chars().next_back(), text[end..].chars().next())
                && found.iter().all(|(span, _)| {
                    (span.end <= at || end <= span.start) || (at <= span.start && span.end <= end)
                })
        })
    }

    fn masked(&mut self, text: &str, what: &Found) -> String {
        match what {
            Found::Bytes => masked_bytes(text),
            Found::Named => format!("{}xxxxxx", &text[..text.len() - 6]),
            Found::Address(ip) if is_public(*ip) => self.public(*ip),
            Found::Address(IpAddr::V6(ip)) => masked_interface(*ip),
            Found::Address(IpAddr::V4(_)) => text.to_owned(),
        }
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

/// Whether the member of an object is left out.
fn is_hidden(of: &str, key: &str) -> bool {
    HIDDEN.contains(&key) || HIDDEN_IN_LEASES.contains(&(of, key))
}

/// The identifiers that are left out of a value. The log may have them too.
pub(super) fn hidden(value: &Value, ids: &mut Vec<String>) {
    hidden_in("", value, ids);
}

fn hidden_in(of: &str, value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| hidden_in(of, item, ids)),
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(id) if is_hidden(of, key) => ids.push(id.clone()),
                    other => hidden_in(key, other, ids),
                }
            }
        }
        _ => {}
    }
}

/// The parts of a text that are masked whatever they are called, the first one first.
fn found(text: &str) -> Vec<(Range<usize>, Found)> {
    let mut found = Vec::new();
    let mut at = 0;
    for run in text.split_inclusive(|c: char| !is_part(c)) {
        in_word(run.trim_end_matches(|c: char| !is_part(c)), at, &mut found);
        at += run.len();
    }
    found
}

/// Finds them in a word that begins there, and that may end with the stop or the colon of a sentence.
fn in_word(word: &str, at: usize, found: &mut Vec<(Range<usize>, Found)>) {
    let bare = word.trim_end_matches(['.', ':', '-']);
    let mut add = |len: usize, what| found.push((at..at + len, what));
    if is_bytes(bare) {
        return add(bare.len(), Found::Bytes);
    }
    // `fd88::` ends with colons of its own.
    if let Ok(ip) = word.parse() {
        return add(word.len(), Found::Address(ip));
    }
    if let Ok(ip) = bare.parse() {
        return add(bare.len(), Found::Address(ip));
    }
    // An address, a MAC or a range of addresses may be a part: `ashore:lan:web`, `192.0.2.1-192.0.2.9`.
    for separator in ['-', ':'] {
        let Some((first, last)) = bare.split_once(separator) else { continue };
        if separator == '-' && first.parse::<IpAddr>().is_err() {
            continue;
        }
        in_word(first, at, found);
        return in_word(last, at + first.len() + 1, found);
    }
    named_by_mac(bare, at, found);
}

/// Finds names of interfaces that end with a MAC, such as `enx001122aabbcc`.
fn named_by_mac(word: &str, at: usize, found: &mut Vec<(Range<usize>, Found)>) {
    let mut start = at;
    for part in word.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mac = NAMED_BY_MAC.iter().find_map(|begin| part.strip_prefix(begin));
        if mac.is_some_and(|mac| mac.len() == 12 && mac.bytes().all(|c| c.is_ascii_hexdigit())) {
            found.push((start..start + part.len(), Found::Named));
        }
        start += part.len() + 1;
    }
}

/// Whether a character can be in an address, a MAC or a name.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_')
}

/// Whether a word is a MAC, or a longer row of bytes such as a client identifier.
fn is_bytes(word: &str) -> bool {
    let bytes: Vec<&str> = word.split(separator(word)).collect();
    let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|c| c.is_ascii_hexdigit());
    bytes.len() >= 6 && bytes.iter().all(is_byte)
}

fn separator(word: &str) -> char {
    if word.contains(':') { ':' } else { '-' }
}

/// A MAC without its last three bytes, also behind the `01` that makes it a client identifier. The first three are the
/// maker's, or what Ashore derives them from. Nothing is left of any other row of bytes.
fn masked_bytes(word: &str) -> String {
    let separator = separator(word);
    let bytes: Vec<&str> = word.split(separator).collect();
    if bytes.len() > 6 && !(bytes.len() == 7 && bytes[0] == "01") {
        return "…".to_owned();
    }
    let kept = bytes[..bytes.len() - 3].iter().copied();
    kept.chain(["xx"; 3]).collect::<Vec<_>>().join(&separator.to_string())
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
        Redaction::new(Vec::new(), Vec::new()).text(text)
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
        let text = "via 203.0.113.7 and 2001:db8::5/64, then 203.0.113.7: 198.51.100.1-198.51.100.9 2001:db8::1-2001:db8::9";
        assert_eq!(
            redacted(text),
            "via <public IPv4 1> and <public IPv6 2>/64, then <public IPv4 1>: <public IPv4 3>-<public IPv4 4> \
             <public IPv6 5>-<public IPv6 6>"
        );
    }

    #[test]
    fn what_every_lan_has_stays() {
        for text in [
            "192.168.88.192/27 10.0.0.1 172.16.0.9 100.64.0.1 169.254.1.1 127.0.0.1 0.0.0.0 255.255.255.0 224.0.0.1",
            "fd88::5/64 fe80::1 :: ff02::1 fd88::",
            "enx0011 enx001122aabbcg 001122aabbcc",
            "2026-11-29T23:10:05+0000 ashored[4711]: shim-eth0 is up: eth0.200, version 1.2.3",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn names_are_replaced_where_they_are_whole() {
        let names = ["lan", "web", "web-2"].map(str::to_owned).to_vec();
        let mut redaction = Redaction::new(names, Vec::new());
        assert_eq!(
            redaction.text("`web` on lan: ashore:lan:web-2, /run/netns/web, the webcam on the LAN"),
            "`name-2` on name-1: ashore:name-1:name-3, /run/netns/name-2, the webcam on the LAN"
        );
        let value = redaction.value(json!({"web": ["lan", 1], "seed": "secret", "mac": "ca:1c:c5:2e:05:6b"}));
        assert_eq!(value, json!({"name-2": ["name-1", 1], "seed": "…", "mac": "ca:1c:c5:xx:xx:xx"}));
    }

    #[test]
    fn identifiers_are_left_out_also_of_a_log() {
        let state = json!({
            "lease": {"id": "77:65:62:2d:61", "mac": "ca:1c:c5:2e:05:6b", "server": "192.168.88.1"},
            "lease6": {"id": "ff:00:00:00:01:00:02:aa:bb", "server": "00:04:11:22:33:44:55"},
            "engine": {"id": "4711"},
        });
        let mut ids = Vec::new();
        hidden(&state, &mut ids);
        let mut redaction = Redaction::new(Vec::new(), ids);
        assert_eq!(
            redaction.value(state),
            json!({
                "lease": {"id": "…", "mac": "ca:1c:c5:xx:xx:xx", "server": "192.168.88.1"},
                "lease6": {"id": "…", "server": "…"},
                "engine": {"id": "4711"},
            })
        );
        assert_eq!(
            redaction.text("client 77:65:62:2d:61: ff:00:00:00:01:00:02:aa:bb, ff:00:00:00:01:00:02:aa:cc."),
            "client …: …, …."
        );
    }

    #[test]
    fn an_interface_that_is_named_by_its_mac_is_masked() {
        assert_eq!(
            redacted("enx001122aabbcc, (wlx001122aabbcc.200) via:enx001122aabbcc:"),
            "enx001122xxxxxx, (wlx001122xxxxxx.200) via:enx001122xxxxxx:"
        );
    }

    #[test]
    fn names_with_any_characters_are_replaced_and_no_part_of_an_address_is_one() {
        let names = ["1000/web", "web", "my lan", "lan", "ca", "203", "home.arpa", "name", "10.0.0.1-web"];
        let mut redaction = Redaction::new(names.map(str::to_owned).to_vec(), Vec::new());
        let text = "1000/web on my lan, web.home.arpa, ca:1c:c5:2e:05:6b 203.0.113.7 port:ca:1c:c5:2e:05:6b \
                    10.0.0.1-web lan_ca";
        assert_eq!(
            redaction.text(text),
            "name-2 on name-7, name-9.name-5, ca:1c:c5:xx:xx:xx <public IPv4 1> port:ca:1c:c5:xx:xx:xx \
             name-1 name-6_name-4"
        );
    }
}
