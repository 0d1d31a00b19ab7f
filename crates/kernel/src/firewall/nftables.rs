//! The rules of nftables, which iptables-nft makes too (`linux/netfilter/nf_tables.h`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ashore_core::net::family::Family;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::register::{Is, Value};
use super::walk::{Does, Of, met, walk};
use super::xtables::{ESTABLISHED, NEW, all_of, matched, target};
use super::{By, Fate, Packets, Rules};
use crate::bytes::{Attributes, Messages, text, u8_at};

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's type, and its messages.
const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM + 4;
const GET_RULE: u16 = SUBSYSTEM + 7;
const GET_ELEMENTS: u16 = SUBSYSTEM + 13;
const GET_GENERATION: u16 = SUBSYSTEM + 16;

/// `NLM_F_REQUEST`, with `NLM_F_ACK` or `NLM_F_DUMP`. Either has an end.
const ONE: u16 = 0x5;
const ALL: u16 = 0x301;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// How many bytes of rules are read. A host that has more has them for tens of thousands of containers.
const MOST: usize = 16 << 20;

/// A chain or a set: the family of its table, the table and the name.
pub(super) type Key = (u8, Vec<u8>, Vec<u8>);

/// All chains of the families of IP.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    bases: Vec<Base>,
    /// The expressions of each rule, in order.
    rules: BTreeMap<Key, Vec<Vec<u8>>>,
    /// What is in the sets that rules look values up in, by the family, the table and the set. Those with ranges are left
    /// out.
    sets: BTreeMap<Key, BTreeSet<Vec<u8>>>,
}

#[derive(Debug, Clone)]
struct Base {
    key: Key,
    hook: u32,
    accepts: bool,
}

/// Reads the chains and rules of this thread's namespace.
pub(super) fn read() -> io::Result<Tables> {
    match settled(generation, read_once) {
        // The kernel has no netfilter, or no nftables.
        Err(error)
            if [Errno::EPROTONOSUPPORT, Errno::EINVAL]
                .map(|no| Some(no as i32))
                .contains(&error.raw_os_error()) =>
        {
            Ok(Tables::default())
        }
        read => read,
    }
}

/// Reads what takes several dumps, as it was in one moment. Each change of the rules begins another generation, and
/// another try.
fn settled<T>(
    mut generation: impl FnMut() -> io::Result<u32>,
    mut read: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let before = generation()?;
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What is gone since is no trouble either.
            read if generation()? == before => return read,
            _ => {}
        }
    }
    Err(io::Error::other("its rules changed while they were read"))
}

fn connected() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Which generation of rules is in force.
fn generation() -> io::Result<u32> {
    const NFTA_GEN_ID: u16 = 1;
    let mut found = None;
    ask(&connected()?, (GET_GENERATION, ONE), (0, &[]), |_, attributes| {
        found = found.or(attributes.get(NFTA_GEN_ID).and_then(number));
    })?;
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_once() -> io::Result<Tables> {
    const NFTA_CHAIN_TABLE: u16 = 1;
    const NFTA_CHAIN_NAME: u16 = 3;
    const NFTA_CHAIN_HOOK: u16 = 4;
    const NFTA_CHAIN_POLICY: u16 = 5;
    const NFTA_HOOK_HOOKNUM: u16 = 1;
    const NFTA_RULE_TABLE: u16 = 1;
    const NFTA_RULE_CHAIN: u16 = 2;
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    const NF_ACCEPT: u32 = 1;
    let socket = connected()?;
    let mut tables = Tables::default();
    let key = |family: u8, attributes: &Attributes<'_>, table: u16, chain: u16| {
        let is_ip = [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6].contains(&family);
        let name = |kind: u16| attributes.get(kind).map(|value| text(value).to_vec());
        Some((family, name(table)?, name(chain)?)).filter(|_| is_ip)
    };
    ask(&socket, (GET_CHAIN, ALL), (0, &[]), |family, attributes| {
        let hook = attributes.within(NFTA_CHAIN_HOOK).get(NFTA_HOOK_HOOKNUM).and_then(number);
        let key = key(family, attributes, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
        if let (Some(key), Some(hook)) = (key, hook) {
            let accepts = attributes.get(NFTA_CHAIN_POLICY).and_then(number).is_none_or(|is| is == NF_ACCEPT);
            tables.bases.push(Base { key, hook, accepts });
        }
    })?;
    if tables.bases.is_empty() {
        return Ok(tables);
    }
    ask(&socket, (GET_RULE, ALL), (0, &[]), |family, attributes| {
        if let Some(key) = key(family, attributes, NFTA_RULE_TABLE, NFTA_RULE_CHAIN) {
            let expressions = attributes.get(NFTA_RULE_EXPRESSIONS).unwrap_or_default().to_vec();
            tables.rules.entry(key).or_default().push(expressions);
        }
    })?;
    tables.sets = tables.looked_up().filter_map(|set| Some((set.clone(), elements(&set)?))).collect();
    Ok(tables)
}

/// The elements of a set. `None` if they cannot be read, if there are ranges among them, or if there are many: those are
/// addresses, such as of a list of attackers.
fn elements((family, table, set): &Key) -> Option<BTreeSet<Vec<u8>>> {
    /// How many bytes of a set are read.
    const MOST_OF_SET: usize = 256 * 1024;
    const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
    const NFTA_SET_ELEM_LIST_SET: u16 = 2;
    const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
    const NFTA_SET_ELEM_KEY: u16 = 1;
    const NFTA_SET_ELEM_FLAGS: u16 = 3;
    const NFTA_DATA_VALUE: u16 = 1;
    let (mut found, mut has_ranges) = (BTreeSet::new(), false);
    let named = [(NFTA_SET_ELEM_LIST_TABLE, table.as_slice()), (NFTA_SET_ELEM_LIST_SET, set.as_slice())];
    // A socket of its own, because what is left unread must be no answer to the next question.
    let socket = connected().ok()?;
    let read = ask_for(&socket, MOST_OF_SET, (GET_ELEMENTS, ALL), (*family, &named), |_, attributes| {
        for (_, element) in attributes.within(NFTA_SET_ELEM_LIST_ELEMENTS) {
            let element = Attributes::of(element);
            has_ranges |= element.get(NFTA_SET_ELEM_FLAGS).is_some();
            found.extend(element.within(NFTA_SET_ELEM_KEY).get(NFTA_DATA_VALUE).map(<[u8]>::to_vec));
        }
    });
    (read.is_ok() && !has_ranges).then_some(found)
}

/// Asks for one object, or for all of a kind, of a family or of all, which texts name more closely.
fn ask(
    socket: &Socket,
    what: (u16, u16),
    of: (u8, &[(u16, &[u8])]),
    each: impl FnMut(u8, &Attributes<'_>),
) -> io::Result<()> {
    ask_for(socket, MOST, what, of, each)
}

/// The same, for at most so many bytes.
fn ask_for(
    socket: &Socket,
    most: usize,
    (kind, flags): (u16, u16),
    (family, named): (u8, &[(u16, &[u8])]),
    mut each: impl FnMut(u8, &Attributes<'_>),
) -> io::Result<()> {
    /// The dump is of a moment in which the rules changed.
    const NLM_F_DUMP_INTR: u16 = 0x10;
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    let mut request = vec![0; 4];
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, 0, 0, 0]);
    for (attribute, text) in named {
        // The header, the text and the zero that ends it.
        let length = u16::try_from(text.len() + 5).map_err(|_| io::ErrorKind::InvalidInput)?;
        request.extend(length.to_ne_bytes());
        request.extend(attribute.to_ne_bytes());
        request.extend(*text);
        request.push(0);
        request.resize(request.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    socket.send(&request, 0)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut read = 0;
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        read += buffer.len();
        let mut messages = Messages::of(&buffer);
        for message in messages.by_ref() {
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => return Ok(message.code()?),
                _ if message.flags & NLM_F_DUMP_INTR != 0 => return Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    let family = u8_at(message.body, 0).unwrap_or_default();
                    each(family, &Attributes::after(4, message.body));
                }
            }
        }
        if messages.is_cut_off() || read > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

impl Tables {
    /// The sets in which rules look values up.
    fn looked_up(&self) -> impl Iterator<Item = Key> {
        /// More are those of programs that make a set for each of thousands of things.
        const MOST_SETS: usize = 64;
        const NFTA_LOOKUP_SET: u16 = 1;
        let of_rule = |(family, table, _): &Key, rule: &[u8]| {
            let lookups = Attributes::of(rule).map(|(_, expression)| Attributes::of(expression));
            let lookups = lookups.filter(|one| one.get(NFTA_EXPR_NAME).map(text) == Some(b"lookup"));
            let names = lookups.filter_map(|one| one.within(NFTA_EXPR_DATA).get(NFTA_LOOKUP_SET));
            names.map(|name| (*family, table.clone(), text(name).to_vec())).collect::<Vec<_>>()
        };
        let all = self.rules.iter().flat_map(|(key, rules)| rules.iter().map(move |rule| (key, rule)));
        let named: BTreeSet<Key> = all.flat_map(|(key, rule)| of_rule(key, rule)).collect();
        named.into_iter().take(MOST_SETS)
    }

    /// What becomes of packets in each chain with their hook.
    pub(super) fn fates(&self, packets: &Packets) -> Vec<Fate> {
        let rules = |key: &Key| self.rules(key, packets);
        let bases = self.bases(packets);
        bases.map(|base| walk(base.key.clone(), &rules).fate(base.accepts, || base.named())).collect()
    }

    /// What packets meet in each chain with their hook.
    pub(super) fn met(&self, packets: &Packets) -> Vec<Vec<(Of, Does<Key>)>> {
        let rules = |key: &Key| self.rules(key, packets);
        self.bases(packets).map(|base| met(base.key.clone(), &rules)).collect()
    }

    fn rules(&self, key: &Key, packets: &Packets) -> Vec<(Of, Does<Key>)> {
        let all = self.rules.get(key).map_or(&[][..], Vec::as_slice);
        all.iter().map(|rule| Reader::new(packets, key, &self.sets).rule(rule)).collect()
    }

    fn bases(&self, packets: &Packets) -> impl Iterator<Item = &Base> {
        let (hook, own) = match packets.family() {
            Family::Ipv4 => (packets.hook as u32, NFPROTO_IPV4),
            Family::Ipv6 => (packets.hook as u32, NFPROTO_IPV6),
        };
        self.bases.iter().filter(move |base| base.hook == hook && [own, NFPROTO_INET].contains(&base.key.0))
    }
}

impl Base {
    fn named(&self) -> Rules {
        let (family, table, chain) = &self.key;
        let family = match *family {
            NFPROTO_IPV4 => "ip",
            NFPROTO_IPV6 => "ip6",
            _ => "inet",
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Rules::Nftables { family, table: text(table), chain: text(chain) }
    }
}

/// Reads one rule: its expressions load values into registers, and compare them.
struct Reader<'a> {
    packets: &'a Packets,
    chain: &'a Key,
    sets: &'a BTreeMap<Key, BTreeSet<Vec<u8>>>,
    registers: BTreeMap<u32, Value>,
    conditions: Vec<Of>,
    does: Does<Key>,
}

impl<'a> Reader<'a> {
    fn new(packets: &'a Packets, chain: &'a Key, sets: &'a BTreeMap<Key, BTreeSet<Vec<u8>>>) -> Self {
        let (registers, conditions, does) = (BTreeMap::new(), Vec::new(), Does::Nothing);
        Reader { packets, chain, sets, registers, conditions, does }
    }

    fn rule(mut self, expressions: &[u8]) -> (Of, Does<Key>) {
        for (_, expression) in Attributes::of(expressions) {
            let expression = Attributes::of(expression);
            let name = expression.get(NFTA_EXPR_NAME).map(text).unwrap_or_default();
            self.expression(name, &expression.within(NFTA_EXPR_DATA));
        }
        (all_of(self.conditions), self.does)
    }

    fn expression(&mut self, name: &[u8], data: &Attributes<'_>) {
        match name {
            b"meta" => self.load(data, [1, 2], Self::meta),
            b"ct" => self.load(data, [1, 2], |this, key| match key {
                0 => this.state(),
                _ => Value::Bits,
            }),
            b"payload" => {
                let value = self.payload(data);
                self.set(data.get(1), value);
            }
            b"fib" | b"rt" | b"exthdr" | b"socket" | b"numgen" | b"hash" | b"osf" | b"xfrm" | b"tunnel" => {
                // Which of their attributes is the register differs. What compares it finds nothing, which is not understood.
                self.registers.clear();
            }
            b"bitwise" => self.bitwise(data),
            b"cmp" => {
                let of = self.compare(data).unwrap_or(Of::Unread);
                self.conditions.push(of);
            }
            b"range" => {
                let of = self.compare_beside(data.get(1));
                self.conditions.push(of);
            }
            b"lookup" => self.lookup(data),
            b"immediate" => self.immediate(data),
            b"match" => {
                let [name, revision, info] = data.pick([1, 2, 3]);
                let (name, revision) = (name.map(text).unwrap_or_default(), revision.and_then(number));
                self.conditions.push(matched(
                    name,
                    revision.unwrap_or_default(),
                    info.unwrap_or_default(),
                    self.packets,
                ));
            }
            b"target" => self.does = target(data.get(1).map(text).unwrap_or_default()),
            b"reject" => self.does = Does::Drop,
            // Another address or port is given to those that are accepted.
            b"nat" | b"masq" | b"redir" => self.does = Does::Accept,
            b"limit" | b"quota" | b"connlimit" => self.conditions.push(Of::Some),
            // NFTA_DYNSET_EXPR and NFTA_DYNSET_EXPRESSIONS: a limit for each element.
            b"dynset" if data.get(7).or(data.get(10)).is_some() => self.conditions.push(Of::Some),
            // NFTA_OBJREF_IMM_TYPE: a counter and a helper are no condition, a limit and a quota are.
            b"objref" if !matches!(data.get(1).and_then(number), Some(1 | 3)) => {
                self.conditions.push(Of::Some);
            }
            b"counter" | b"log" | b"last" | b"notrack" | b"objref" | b"dynset" | b"byteorder"
            | b"flow_offload" => {}
            _ => self.does = Does::Unread,
        }
    }

    /// Loads what a key of an expression stands for. An expression without a register to load sets something.
    fn load(
        &mut self,
        data: &Attributes<'_>,
        [register, key]: [u16; 2],
        value: impl Fn(&Self, u32) -> Value,
    ) {
        if let Some(key) = data.get(key).and_then(number) {
            let value = value(self, key);
            self.set(data.get(register), value);
        }
    }

    fn set(&mut self, register: Option<&[u8]>, value: Value) {
        if let Some(register) = register.and_then(number) {
            self.registers.insert(register, value);
        }
    }

    fn get(&self, register: Option<&[u8]>) -> Value {
        let register = register.and_then(number);
        register.and_then(|at| self.registers.get(&at)).cloned().unwrap_or(Value::Unread)
    }

    fn meta(&self, key: u32) -> Value {
        let index =
            |by: &Option<By>| Value::Known(by.as_ref().map_or(0, |by| by.index).to_ne_bytes().to_vec());
        let name = |by: &Option<By>| {
            let mut name = by.as_ref().map_or_else(Vec::new, |by| by.name.as_str().as_bytes().to_vec());
            name.resize(16, 0);
            Value::Known(name)
        };
        let is_v4 = self.packets.family() == Family::Ipv4;
        match key {
            // NFT_META_PROTOCOL
            1 => Value::Known(if is_v4 { vec![0x08, 0x00] } else { vec![0x86, 0xdd] }),
            // NFT_META_IIF, _OIF, _IIFNAME, _OIFNAME
            4 => index(&self.packets.into),
            5 => index(&self.packets.out),
            6 => name(&self.packets.into),
            7 => name(&self.packets.out),
            // NFT_META_NFPROTO
            15 => Value::Known(vec![if is_v4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 }]),
            // NFT_META_LEN
            0 => Value::Any,
            // NFT_META_PRIORITY, _MARK, _SKUID, _SKGID, _L4PROTO, _PKTTYPE, _CPU, _CGROUP
            2 | 3 | 10 | 11 | 16 | 19 | 20 | 23 => Value::Bits,
            _ => Value::Unread,
        }
    }

    fn state(&self) -> Value {
        Value::Known(if self.packets.begin { NEW } else { ESTABLISHED }.to_ne_bytes().to_vec())
    }

    fn payload(&self, data: &Attributes<'_>) -> Value {
        const NETWORK_HEADER: u32 = 1;
        let [base, offset, length] = data.pick([2, 3, 4]).map(|value| value.and_then(number));
        let (Some(base), Some(offset), Some(length)) = (base, offset, length) else { return Value::Unread };
        let bits = u8::try_from(length.saturating_mul(8)).unwrap_or(u8::MAX);
        let (source, destination, longest) = match self.packets.family() {
            Family::Ipv4 => (12, 16, 4),
            Family::Ipv6 => (8, 24, 16),
        };
        match offset {
            _ if base != NETWORK_HEADER => Value::Any,
            at if at == source && length <= longest => Value::Address(self.packets.source, bits),
            at if at == destination && length <= longest => Value::Address(self.packets.destination, bits),
            at if at + length <= source => Value::Any,
            _ => Value::Unread,
        }
    }

    fn bitwise(&mut self, data: &Attributes<'_>) {
        let value = |kind: u16| data.within(kind).get(1).unwrap_or_default();
        let is_plain = data.get(6).and_then(number).unwrap_or_default() == 0;
        let source = self.get(data.get(1));
        let masked = if is_plain { source.masked(value(4), value(5)) } else { Value::Unread };
        self.set(data.get(2), masked);
    }

    fn compare(&self, data: &Attributes<'_>) -> Option<Of> {
        let is = match number(data.get(2)?)? {
            0 => Is::Equal,
            1 => Is::Other,
            _ => Is::Beside,
        };
        Some(self.get(data.get(1)).compared(is, data.within(3).get(1)?))
    }

    fn compare_beside(&self, register: Option<&[u8]>) -> Of {
        self.get(register).compared(Is::Beside, &[])
    }

    /// In a set of ports are some ports. Of addresses it is not understood which of their net are in a set.
    fn lookup(&mut self, data: &Attributes<'_>) {
        let value = self.get(data.get(2));
        let is_map = data.get(3).is_some();
        let inverted = data.get(5).and_then(number).unwrap_or_default() != 0;
        match value {
            Value::Any if !is_map => self.conditions.push(if inverted { Of::All } else { Of::Some }),
            Value::Bits if !is_map => self.conditions.push(if inverted { Of::Unread } else { Of::Some }),
            _ if is_map => self.does = Does::Unread,
            Value::Known(bytes) => {
                let (family, table, _) = self.chain;
                let named = data.get(1).map(|name| (*family, table.clone(), text(name).to_vec()));
                let set = named.and_then(|set| self.sets.get(&set));
                // Elements that are longer are of several values, of which only the first is known here.
                let has = set
                    .filter(|set| set.iter().all(|element| element.len() == bytes.len()))
                    .map(|set| set.contains(&bytes));
                self.conditions.push(match has {
                    Some(has) if has != inverted => Of::All,
                    Some(_) => Of::None,
                    None => Of::Unread,
                });
            }
            _ => self.conditions.push(Of::Unread),
        }
    }

    fn immediate(&mut self, data: &Attributes<'_>) {
        const VERDICT: u16 = 2;
        let verdict = data.within(2).within(VERDICT);
        let Some(code) = verdict.get(1).and_then(number) else {
            let value = data.within(2).get(1).map_or(Value::Unread, |bytes| Value::Known(bytes.to_vec()));
            return self.set(data.get(1), value);
        };
        let to = verdict.get(2).map(|name| {
            let (family, table, _) = self.chain;
            (*family, table.clone(), text(name).to_vec())
        });
        self.does = match (code.cast_signed(), to) {
            (0, _) => Does::Drop,
            (1, _) => Does::Accept,
            (-1, _) => Does::Nothing,
            (-3, Some(to)) => Does::Jump(to),
            (-4, Some(to)) => Does::Goto(to),
            (-5, _) => Does::Return,
            _ => Does::Unread,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_change_while_they_are_read_are_read_again_and_not_for_ever() {
        // The generations before and after each try.
        for (generations, reads) in [
            (vec![1, 1], Ok(1)),
            (vec![1, 2, 2, 2], Ok(2)),
            (vec![1, 2, 3, 4, 4, 4], Ok(3)),
            (vec![1, 2, 3, 4, 5, 6], Err("its rules changed while they were read")),
        ] {
            let (mut of, mut tries) = (generations.clone().into_iter(), 0);
            let read = settled(
                || Ok(of.next().unwrap()),
                || {
                    tries += 1;
                    Ok(tries)
                },
            );
            assert_eq!(
                read.map_err(|error| error.to_string()),
                reads.map_err(str::to_owned),
                "{generations:?}"
            );
        }
        let mut tries = 0;
        let read = settled(
            || Ok(1),
            || {
                tries += 1;
                if tries == 1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(tries) }
            },
        );
        assert_eq!(read.unwrap(), 2, "the kernel says of a dump itself that it is of several moments");
        let denied = settled(|| Ok(1), || Err::<(), _>(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(denied.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
