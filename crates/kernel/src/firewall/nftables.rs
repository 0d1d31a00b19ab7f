//! The rules of nftables, which iptables-nft makes too (`linux/netfilter/nf_tables.h`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ashore_core::net::family::Family;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::rule::{
    Arp, Carried, Key, NFPROTO_BRIDGE, NFPROTO_IPV4, NFPROTO_IPV6, NFTA_EXPR_DATA, NFTA_EXPR_NAME, Reader,
    number,
};
use super::walk::{Does, Of, met, walk};
use super::xtables::all_of;
use super::{Apart, At, Fate, Hook, Packets, Rules};
use crate::bytes::{Attributes, Messages, text, u8_at};

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's type, and its messages.
const SUBSYSTEM: u16 = 10 << 8;
const GET_TABLE: u16 = SUBSYSTEM + 1;
const GET_CHAIN: u16 = SUBSYSTEM + 4;
const GET_RULE: u16 = SUBSYSTEM + 7;
const GET_ELEMENTS: u16 = SUBSYSTEM + 13;
const GET_GENERATION: u16 = SUBSYSTEM + 16;

/// `NLM_F_REQUEST`, with `NLM_F_ACK` or `NLM_F_DUMP`. Either has an end.
const ONE: u16 = 0x5;
const ALL: u16 = 0x301;

const NFPROTO_INET: u8 = 1;

/// How many bytes of rules are read. A host that has more has them for tens of thousands of containers.
const MOST: usize = 16 << 20;

/// The hooks of a bridge that a frame passes before and after all others (`NF_BR_PRE_ROUTING`, `_POST_ROUTING`).
const BEFORE: u32 = 0;
const AFTER: u32 = 4;

/// All chains of the families of IP and of bridges.
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
    const NFTA_TABLE_NAME: u16 = 1;
    const NFTA_TABLE_FLAGS: u16 = 2;
    const DORMANT: u32 = 1;
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
        let is_read = [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_BRIDGE].contains(&family);
        let name = |kind: u16| attributes.get(kind).map(|value| text(value).to_vec());
        Some((family, name(table)?, name(chain)?)).filter(|_| is_read)
    };
    // No packet meets what is in them.
    let mut dormant = BTreeSet::new();
    ask(&socket, (GET_TABLE, ALL), (0, &[]), |family, attributes| {
        let flags = attributes.get(NFTA_TABLE_FLAGS).and_then(number).unwrap_or_default();
        let name = attributes.get(NFTA_TABLE_NAME).filter(|_| flags & DORMANT != 0);
        dormant.extend(name.map(|name| (family, text(name).to_vec())));
    })?;
    ask(&socket, (GET_CHAIN, ALL), (0, &[]), |family, attributes| {
        let hook = attributes.within(NFTA_CHAIN_HOOK).get(NFTA_HOOK_HOOKNUM).and_then(number);
        let key = key(family, attributes, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME);
        let key = key.filter(|(family, table, _)| !dormant.contains(&(*family, table.clone())));
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

    /// What becomes of packets that cross a bridge in each chain of bridges that they pass.
    pub(super) fn fates_of_frames(&self, packets: &Packets) -> Vec<(At, Fate)> {
        let hooks: &[u32] = match packets.hook {
            Hook::Input => &[BEFORE, Hook::Input as u32],
            Hook::Forward => &[BEFORE, Hook::Forward as u32, AFTER],
            Hook::Output => &[Hook::Output as u32, AFTER],
        };
        let crossed =
            self.bases.iter().filter(|base| base.key.0 == NFPROTO_BRIDGE && hooks.contains(&base.hook));
        let fates = crossed.flat_map(|base| {
            let mut there = packets.clone();
            // Where they come from, or go to, is not known yet or not any more.
            let at = match base.hook {
                BEFORE => At::Before,
                AFTER => At::After,
                _ => At::Within,
            };
            match at {
                At::Before => there.out = None,
                At::Within => {}
                At::After => there.into = None,
            }
            let carried: &[Carried] = match packets.family() {
                Family::Ipv4 => &[Carried::Frame, Carried::Arp(Arp::Asks), Carried::Arp(Arp::Answers)],
                Family::Ipv6 => &[Carried::Frame],
            };
            let fate = |carried: &Carried| {
                let rules = |key: &Key| self.rules_of(key, &there, *carried);
                (at, walk(base.key.clone(), &rules).fate(base.accepts, || base.named()))
            };
            carried.iter().map(fate).collect::<Vec<_>>()
        });
        fates.collect()
    }

    /// Where rules that packets of one kind meet are about them, and not about those of another.
    pub(super) fn tells_apart(&self, one: &Packets, other: &Packets) -> BTreeSet<Apart> {
        let met = RefCell::new(BTreeSet::new());
        for base in self.bases(one) {
            let rules = |key: &Key| {
                met.borrow_mut().insert(key.clone());
                self.rules(key, one)
            };
            walk(base.key.clone(), &rules);
        }
        let mut apart = BTreeSet::new();
        for key in met.into_inner() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (family, table) = (family_named(key.0), text(&key.1));
            for rule in self.rules.get(&key).into_iter().flatten() {
                let read = |packets| Reader::new(packets, Carried::Packet, &key, &self.sets).read(rule);
                let (of_one, of_other) = (read(one), read(other));
                let (about_one, about_other) = (all_of(of_one.conditions), all_of(of_other.conditions));
                if about_one == about_other {
                    continue;
                }
                // A set without a name has one of nftables' own making, and cannot be added to.
                let named =
                    of_one.found_in.difference(&of_other.found_in).find(|set| !set.starts_with(b"__"));
                let table = table.clone();
                apart.insert(match named {
                    Some(set) => Apart::Set(family, table, text(set)),
                    None if about_one == Of::None && matches!(of_one.does, Does::Accept | Does::Nothing) => {
                        continue;
                    }
                    None => Apart::Rule(family, table),
                });
            }
        }
        apart
    }

    fn rules(&self, key: &Key, packets: &Packets) -> Vec<(Of, Does<Key>)> {
        self.rules_of(key, packets, Carried::Packet)
    }

    fn rules_of(&self, key: &Key, packets: &Packets, carried: Carried) -> Vec<(Of, Does<Key>)> {
        let all = self.rules.get(key).map_or(&[][..], Vec::as_slice);
        let read = |rule: &Vec<u8>| Reader::new(packets, carried, key, &self.sets).read(rule);
        all.iter().map(read).map(|read| (all_of(read.conditions), read.does)).collect()
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
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Rules::Nftables { family: family_named(*family), table: text(table), chain: text(chain) }
    }
}

fn family_named(family: u8) -> &'static str {
    match family {
        NFPROTO_IPV4 => "ip",
        NFPROTO_IPV6 => "ip6",
        NFPROTO_BRIDGE => "bridge",
        _ => "inet",
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
