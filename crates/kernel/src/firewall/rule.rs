//! Reads one rule of nftables: what it is about, and what it does (`linux/netfilter/nf_tables.h`).

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::net::family::Family;

use super::register::{Is, Value};
use super::walk::{Does, Of};
use super::xtables::{ESTABLISHED, NEW, UNTRACKED, matched, target};
use super::{By, Packets};
use crate::bytes::{Attributes, text};

pub(super) const NFTA_EXPR_NAME: u16 = 1;
pub(super) const NFTA_EXPR_DATA: u16 = 2;

/// Families of tables.
pub(super) const NFPROTO_IPV4: u8 = 2;
pub(super) const NFPROTO_BRIDGE: u8 = 7;
pub(super) const NFPROTO_IPV6: u8 = 10;

/// A chain or a set: the family of its table, the table and the name.
pub(super) type Key = (u8, Vec<u8>, Vec<u8>);

/// The form in which packets meet rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// As packets, in the chains of the families of IP.
    Packet,
    /// As frames, in those of bridges.
    Frame,
    /// The same, and they are the ARP without which no packet is sent: what is asked, or the answer.
    Arp(Arp),
}

/// What ARP does (RFC 826, `ar$op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arp {
    Asks = 1,
    Answers = 2,
}

/// Reads one rule: its expressions load values into registers, and compare them.
pub(super) struct Reader<'a> {
    packets: &'a Packets,
    carried: Carried,
    chain: &'a Key,
    sets: &'a BTreeMap<Key, BTreeSet<Vec<u8>>>,
    registers: BTreeMap<u32, Value>,
    pub(super) conditions: Vec<Of>,
    /// The sets in which a known value was found.
    pub(super) found_in: BTreeSet<Vec<u8>>,
    pub(super) does: Does<Key>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        packets: &'a Packets,
        carried: Carried,
        chain: &'a Key,
        sets: &'a BTreeMap<Key, BTreeSet<Vec<u8>>>,
    ) -> Self {
        let (registers, conditions, found_in) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Reader { packets, carried, chain, sets, registers, conditions, found_in, does: Does::Nothing }
    }

    pub(super) fn read(mut self, expressions: &[u8]) -> Self {
        for (_, expression) in Attributes::of(expressions) {
            let expression = Attributes::of(expression);
            let name = expression.get(NFTA_EXPR_NAME).map(text).unwrap_or_default();
            self.expression(name, &expression.within(NFTA_EXPR_DATA));
        }
        self
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
        let bridge = |by: &Option<By>| match &self.packets.bridge {
            Some(bridge) if by.is_some() => name(&Some(By { name: bridge.clone(), index: 0 })),
            _ => Value::Unread,
        };
        let is_v4 = self.packets.family() == Family::Ipv4;
        match key {
            // NFT_META_PROTOCOL
            1 => Value::Known(self.protocol()),
            // NFT_META_IIF, _OIF, _IIFNAME, _OIFNAME
            4 => index(&self.packets.into),
            5 => index(&self.packets.out),
            6 => name(&self.packets.into),
            7 => name(&self.packets.out),
            // NFT_META_NFPROTO
            15 if self.carried != Carried::Packet => Value::Known(vec![NFPROTO_BRIDGE]),
            15 => Value::Known(vec![if is_v4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 }]),
            // NFT_META_BRI_IIFNAME, _OIFNAME
            17 => bridge(&self.packets.into),
            18 => bridge(&self.packets.out),
            // NFT_META_LEN
            0 => Value::Any,
            // NFT_META_PRIORITY, _MARK, _SKUID, _SKGID, _L4PROTO, _PKTTYPE, _CPU, _CGROUP
            2 | 3 | 10 | 11 | 16 | 19 | 20 | 23 => Value::Bits,
            _ => Value::Unread,
        }
    }

    /// The protocol, as frames name it (`ETH_P_IP`, `_IPV6`, `_ARP`).
    fn protocol(&self) -> Vec<u8> {
        match (self.carried, self.packets.family()) {
            (Carried::Arp(_), _) => vec![0x08, 0x06],
            (_, Family::Ipv4) => vec![0x08, 0x00],
            (_, Family::Ipv6) => vec![0x86, 0xdd],
        }
    }

    fn state(&self) -> Value {
        // Connections are of IP alone.
        let state = match self.carried {
            Carried::Arp(_) => UNTRACKED,
            _ if self.packets.begin => NEW,
            _ => ESTABLISHED,
        };
        Value::Known(state.to_ne_bytes().to_vec())
    }

    fn payload(&self, data: &Attributes<'_>) -> Value {
        const LINK_HEADER: u32 = 0;
        const NETWORK_HEADER: u32 = 1;
        /// Where a frame has its protocol, behind the MACs.
        const PROTOCOL: (u32, u32) = (12, 2);
        let [base, offset, length] = data.pick([2, 3, 4]).map(|value| value.and_then(number));
        let (Some(base), Some(offset), Some(length)) = (base, offset, length) else { return Value::Unread };
        let bits = u8::try_from(length.saturating_mul(8)).unwrap_or(u8::MAX);
        // Where a packet has its protocol, its source and its destination.
        let (carries, source, destination, longest) = match self.packets.family() {
            Family::Ipv4 => (9, 12, 16, 4),
            Family::Ipv6 => (6, 8, 24, 16),
        };
        match offset {
            at if base == LINK_HEADER && self.carried != Carried::Packet => match (at, length) {
                PROTOCOL => Value::Known(self.protocol()),
                (0 | 6, 6) => Value::Any,
                _ => Value::Unread,
            },
            _ if base != NETWORK_HEADER => Value::Any,
            at => match self.carried {
                Carried::Arp(does) => self.of_arp(does, at, length),
                _ if at == source && length <= longest => Value::Address(self.packets.source, bits),
                _ if at == destination && length <= longest => Value::Address(self.packets.destination, bits),
                _ if (at, length) == (carries, 1) => Value::Bits,
                _ if at + length <= source => Value::Any,
                _ => Value::Unread,
            },
        }
    }

    /// A part of ARP (RFC 826).
    fn of_arp(&self, does: Arp, offset: u32, length: u32) -> Value {
        match (offset, length) {
            (0, 2) => Value::Known(vec![0, 1]),
            (2, 2) => Value::Known(vec![0x08, 0x00]),
            (4, 1) => Value::Known(vec![6]),
            (5, 1) => Value::Known(vec![4]),
            (6, 2) => Value::Known(vec![0, does as u8]),
            (8 | 18, 6) => Value::Any,
            (14, 4) => Value::Address(self.packets.source, 32),
            (24, 4) => Value::Address(self.packets.destination, 32),
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
                let set = named.as_ref().and_then(|set| self.sets.get(set));
                // Elements that are longer are of several values, of which only the first is known here.
                let has = set
                    .filter(|set| set.iter().all(|element| element.len() == bytes.len()))
                    .map(|set| set.contains(&bytes));
                self.found_in.extend(named.filter(|_| has == Some(true)).map(|(_, _, set)| set));
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

/// A number as nftables writes it: big-endian.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}
