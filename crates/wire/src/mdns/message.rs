//! Messages: the header, questions and records (RFC 1035, 4.1; RFC 6762, 18).
//!
//! Whatever bytes come, reading them costs a bounded time. A message whose frame is broken counts as a whole for
//! nothing. A question or record that is not understood is left out, and the others count: a type that is newer than
//! this program must not keep a peer from an answer.

use super::name::Name;
use super::record::{Data, Record};

/// The longest message (RFC 6762, 17, with the headers of IP and UDP).
pub const LONGEST: usize = 9000;
/// Length of the header.
pub(super) const HEADER: usize = 12;
/// The flag of a response.
const RESPONSE: u16 = 0x8000;
/// The bits of the kind of query, all 0 (RFC 6762, 18.3).
const OPCODE: u16 = 0x7800;
/// The flag of an authoritative answer.
const AUTHORITATIVE: u16 = 0x0400;
/// The flag of a query whose known answers go on in the next message, or of an answer that is cut off.
const TRUNCATED: u16 = 0x0200;
/// Class IN.
const INTERNET: u16 = 1;
/// In a question: any class.
const ANY_CLASS: u16 = 255;
/// The highest bit of a class: in a question the wish for a unicast answer (RFC 6762, 5.4), in a record the
/// cache-flush bit (10.2).
const TOP: u16 = 0x8000;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked for.
    pub name: Name,
    /// The type, or any.
    pub kind: u16,
    /// Whether a unicast answer is wanted.
    pub unicast: bool,
}

/// A record in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The record.
    pub record: Record,
    /// Its lifetime in seconds.
    pub ttl: u32,
    /// Whether it takes the place of what others have said of the name and type.
    pub flush: bool,
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The number by which an ordinary resolver recognises its answer.
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Whether it goes on in another message, or is cut off.
    pub truncated: bool,
    /// The questions.
    pub questions: Vec<Question>,
    /// The answers; in a query those that are known to who asks.
    pub answers: Vec<Said>,
    /// In a probe, the records that are wished for.
    pub authorities: Vec<Said>,
    /// What may be asked next.
    pub additionals: Vec<Said>,
}

impl Message {
    /// Reads a message. `None` if it is broken or too long, or if it is neither a query nor a response. The code of a
    /// response is ignored (RFC 6762, 18.11).
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LONGEST {
            return None;
        }
        let mut reader = Reader { bytes, at: 0 };
        let [id, flags, questions, answers, authorities, additionals] = {
            let mut numbers = [0; 6];
            for number in &mut numbers {
                *number = reader.short()?;
            }
            numbers
        };
        if flags & OPCODE != 0 {
            return None;
        }
        Some(Message {
            id,
            response: flags & RESPONSE != 0,
            truncated: flags & TRUNCATED != 0,
            questions: reader.several(questions, Reader::question)?,
            answers: reader.several(answers, Reader::record)?,
            authorities: reader.several(authorities, Reader::record)?,
            additionals: reader.several(additionals, Reader::record)?,
        })
    }

    /// All records of a response that say something of names.
    pub(super) fn records(&self) -> impl Iterator<Item = &Said> {
        self.answers.iter().chain(&self.authorities).chain(&self.additionals)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn short(&mut self) -> Option<u16> {
        let number = u16::from_be_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
        self.at += 2;
        Some(number)
    }

    fn name(&mut self) -> Option<Name> {
        let (name, after) = Name::read(self.bytes, self.at)?;
        self.at = after;
        Some(name)
    }

    /// Reads so many items, and keeps those that are understood. The message has at least five bytes for each.
    fn several<T>(&mut self, count: u16, read: fn(&mut Self, &mut Vec<T>) -> Option<()>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..count {
            read(self, &mut items)?;
        }
        Some(items)
    }

    /// Reads a question, which is kept if it is understood. `None` if the message is broken.
    fn question(&mut self, kept: &mut Vec<Question>) -> Option<()> {
        let (name, kind, class) = (self.name()?, self.short()?, self.short()?);
        let ours = matches!(class & !TOP, INTERNET | ANY_CLASS);
        kept.extend(ours.then_some(Question { name, kind, unicast: class & TOP != 0 }));
        Some(())
    }

    /// Reads a record, in the same way.
    fn record(&mut self, kept: &mut Vec<Said>) -> Option<()> {
        let (name, kind, class) = (self.name()?, self.short()?, self.short()?);
        let ttl = u32::from(self.short()?) << 16 | u32::from(self.short()?);
        let length = usize::from(self.short()?);
        let start = self.at;
        self.at += length;
        if self.at > self.bytes.len() {
            return None;
        }
        let ours = class & !TOP == INTERNET;
        let data = ours.then(|| Data::read(kind, self.bytes, start, self.at)).flatten();
        kept.extend(data.map(|data| Said { record: Record { name, data }, ttl, flush: class & TOP != 0 }));
        Some(())
    }
}

/// Writes a message piece by piece, and never beyond a size.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    counts: [u16; 4],
    most: usize,
    /// Whether names within SRV and NSEC are compressed too (RFC 6762, 18.14). Ordinary resolvers do not expect it.
    multicast: bool,
    /// Where a name, or the end of one, was written.
    known: Vec<(Vec<u8>, u16)>,
}

/// The sections of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Questions,
    Answers,
    Authorities,
    Additionals,
}

impl Writer {
    /// A query of at most so many bytes. Its number is 0 (RFC 6762, 18.1).
    pub(super) fn query(most: usize) -> Self {
        Writer::new(0, 0, most, true)
    }

    /// A response of at most so many bytes, as multicast DNS has it.
    pub(super) fn response(most: usize) -> Self {
        Writer::new(0, RESPONSE | AUTHORITATIVE, most, true)
    }

    /// A response to an ordinary resolver (RFC 6762, 6.7).
    pub(super) fn legacy(id: u16, most: usize) -> Self {
        Writer::new(id, RESPONSE | AUTHORITATIVE, most, false)
    }

    fn new(id: u16, flags: u16, most: usize, multicast: bool) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend([id, flags].map(u16::to_be_bytes).concat());
        bytes.extend([0; HEADER - 4]);
        Writer { bytes, counts: [0; 4], most, multicast, known: Vec::new() }
    }

    /// Whether nothing was written into the section.
    pub(super) fn has_none(&self, section: Section) -> bool {
        self.counts[section as usize] == 0
    }

    /// Writes all of this or nothing. Returns whether there was room. Sections are written in their order.
    pub(super) fn all(&mut self, write: impl FnOnce(&mut Self)) -> bool {
        let (length, counts, known) = (self.bytes.len(), self.counts, self.known.len());
        write(self);
        let fits = self.bytes.len() <= self.most;
        if !fits {
            self.bytes.truncate(length);
            self.counts = counts;
            self.known.truncate(known);
        }
        fits
    }

    pub(super) fn question(&mut self, question: &Question) {
        self.counts[Section::Questions as usize] += 1;
        self.name(&question.name, true);
        self.short(question.kind);
        self.short(INTERNET | if question.unicast { TOP } else { 0 });
    }

    pub(super) fn record(&mut self, section: Section, record: &Record, ttl: u32, flush: bool) {
        self.counts[section as usize] += 1;
        self.name(&record.name, true);
        self.short(record.kind());
        self.short(INTERNET | if flush { TOP } else { 0 });
        self.bytes.extend(ttl.to_be_bytes());
        let at = self.bytes.len();
        self.short(0);
        match &record.data {
            Data::Ptr(target) => self.name(target, true),
            Data::Srv { priority, weight, port, target } => {
                for number in [priority, weight, port] {
                    self.short(*number);
                }
                self.name(target, self.multicast);
            }
            Data::Nsec(types) => {
                self.name(&record.name, self.multicast);
                self.bytes.extend(types);
            }
            data => self.bytes.extend(data.bytes()),
        }
        let length = (self.bytes.len() - at - 2) as u16;
        self.bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// The message.
    pub(super) fn finish(mut self, truncated: bool) -> Vec<u8> {
        if truncated {
            self.bytes[2..4].copy_from_slice(&(RESPONSE | AUTHORITATIVE | TRUNCATED).to_be_bytes());
        }
        for (at, count) in self.counts.into_iter().enumerate() {
            self.bytes[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        self.bytes
    }

    fn short(&mut self, number: u16) {
        self.bytes.extend(number.to_be_bytes());
    }

    fn name(&mut self, name: &Name, compressed: bool) {
        let mut rest = name.bytes();
        while rest.len() > 1 {
            // Case is kept, so only what is the same byte by byte is written once.
            let there = self.known.iter().find(|(known, _)| compressed && known == rest);
            if let Some((_, at)) = there {
                return self.short(0xc000 | *at);
            }
            if let Ok(at @ 0..0x4000) = u16::try_from(self.bytes.len()) {
                self.known.push((rest.to_vec(), at));
            }
            let (label, after) = rest.split_at(1 + usize::from(rest[0]));
            self.bytes.extend(label);
            rest = after;
        }
        self.bytes.push(0);
    }
}

#[cfg(test)]
mod tests;
