//! The bytes of a request and of its reply. One connection carries one of each. No I/O, and everything is bounded:
//! whoever reads first takes a head of fixed length, which says how much follows.
//!
//! A request is `ASHP`, the version as one byte, and the length of the payload as a `u32`; the payload is records of
//! a tag, a length as a `u32`, and bytes. At root's socket, the network namespace's descriptor, if there is one, comes with
//! the first byte. At the socket for everybody nothing but bytes may come: there the namespace is known by the numbers of
//! its file. A reply is `ASHP`, the version, the exit code as an `i32`, the lengths of standard output and standard
//! error as `u32`s, and both. All numbers are little-endian.

use std::fmt;

#[cfg(test)]
mod tests;

/// What a request and a reply begin with.
const MAGIC: [u8; 4] = *b"ASHP";
/// The version of the protocol.
const VERSION: u8 = 1;

/// The maximum length of a call's standard input, in bytes.
pub const STDIN_MAX: usize = 1 << 20;
/// The maximum length of what another plugin has answered, in bytes.
pub const DELEGATED_MAX: usize = 32 << 10;
/// The maximum length of a request without its head, in bytes.
pub const PAYLOAD_MAX: usize = STDIN_MAX + DELEGATED_MAX + (64 << 10);
/// The maximum number of a request's records.
pub const RECORDS_MAX: usize = 64;
/// The maximum length of each of a reply's outputs, in bytes.
pub const OUTPUT_MAX: usize = 1 << 20;

/// The length of a request's head, in bytes.
pub const REQUEST_HEAD: usize = 9;
/// The length of a reply's head, in bytes.
pub const REPLY_HEAD: usize = 17;

/// What the daemon prints where another plugin that chooses addresses must give none back: a container may have one that
/// the call does not say. No runtime sees it.
pub const STAYS: &[u8] = b"stays";

/// What the name of each environment variable begins with.
pub const VARIABLES: &[u8] = b"CNI_";

const NAME: u8 = 1;
const ARGUMENT: u8 = 2;
const VARIABLE: u8 = 3;
const STDIN: u8 = 4;
const UNOPENED: u8 = 5;
const DELEGATED: u8 = 6;
const DELEGATES: u8 = 7;
const OPENED: u8 = 8;

const ANSWER: &str = "another plugin's answer";

/// A call as it was made, without the network namespace's descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The file name by which the program was called.
    pub name: Vec<u8>,
    /// The arguments, in order.
    pub arguments: Vec<Vec<u8>>,
    /// The environment variables whose names begin with [`VARIABLES`], as name and value.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// The standard input.
    pub stdin: Vec<u8>,
    /// The device and inode numbers of the file that was opened as the network namespace that the call names.
    pub opened: Option<(u64, u64)>,
    /// Why the network namespace that the call names could not be opened.
    pub unopened: Option<String>,
    /// What is known of the plugin that chooses the addresses, if the caller's configuration names another one.
    pub delegated: Option<Delegated>,
}

/// What is known of another plugin that chooses the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegated {
    /// It is not executed yet: may it be?
    ToCome,
    /// What it has answered.
    Answer(Vec<u8>),
}

/// What the program prints, and how it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The exit code, from 0 to 255.
    pub code: i32,
    /// The standard output.
    pub stdout: Vec<u8>,
    /// The standard error.
    pub stderr: Vec<u8>,
}

/// The beginning of a reply: the exit code, and how much follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHead {
    code: i32,
    stdout: usize,
    stderr: usize,
}

/// Why bytes are no request or reply, or why one cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// It begins with something else.
    NotOurs,
    /// It is of another version of the protocol.
    Version(u8),
    /// Something is longer than it may be.
    TooLong {
        /// What it is.
        what: &'static str,
        /// The maximum length in bytes.
        most: usize,
    },
    /// A request has more records than it may have.
    TooManyRecords,
    /// It ends too early.
    Truncated,
    /// There is more than the head says.
    Trailing,
    /// A record has an unknown tag.
    UnknownTag(u8),
    /// There are two records, or two environment variables, where there can be one.
    Repeated(&'static str),
    /// An environment variable is not one of CNI's, or has no value.
    NoVariable,
    /// The reason why a namespace could not be opened is not UTF-8.
    NotText,
    /// No process can end with this exit code.
    ExitCode(i32),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotOurs => f.write_str("it does not begin with ASHP"),
            WireError::Version(version) => {
                write!(f, "it is of version {version} of the protocol, not {VERSION}")
            }
            WireError::TooLong { what, most } => write!(f, "{what} is longer than {most} bytes"),
            WireError::TooManyRecords => write!(f, "it has more than {RECORDS_MAX} records"),
            WireError::Truncated => f.write_str("it ends too early"),
            WireError::Trailing => f.write_str("it is longer than it says"),
            WireError::UnknownTag(tag) => write!(f, "it has a record with the unknown tag {tag}"),
            WireError::Repeated(what) => write!(f, "it has {what} twice"),
            WireError::NoVariable => f.write_str("it has an environment entry that is not CNI's"),
            WireError::NotText => f.write_str("it has a reason that is no text"),
            WireError::ExitCode(code) => write!(f, "no process ends with the exit code {code}"),
        }
    }
}

impl std::error::Error for WireError {}

impl Request {
    /// The length of the payload that follows a request's head.
    pub fn payload_length(head: &[u8; REQUEST_HEAD]) -> Result<usize, WireError> {
        let mut rest = Rest(head);
        rest.begin()?;
        bounded("the request", rest.length()?, PAYLOAD_MAX)
    }

    /// Reads a request's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        bounded("the request", payload.len(), PAYLOAD_MAX)?;
        let mut request = Request::default();
        let (mut name, mut stdin) = (None, None);
        let mut rest = Rest(payload);
        let mut records = 0;
        while !rest.0.is_empty() {
            records += 1;
            if records > RECORDS_MAX {
                return Err(WireError::TooManyRecords);
            }
            let [tag] = rest.array()?;
            let length = rest.length()?;
            let bytes = rest.take(length)?;
            match tag {
                NAME => once(&mut name, bytes.to_vec(), "its name")?,
                ARGUMENT => request.arguments.push(bytes.to_vec()),
                VARIABLE => request.environment.push(variable(bytes, &request.environment)?),
                STDIN => {
                    bounded("standard input", bytes.len(), STDIN_MAX)?;
                    once(&mut stdin, bytes.to_vec(), "standard input")?;
                }
                OPENED => {
                    let mut numbers = Rest(bytes);
                    let opened = (u64::from_le_bytes(numbers.array()?), u64::from_le_bytes(numbers.array()?));
                    if !numbers.0.is_empty() {
                        return Err(WireError::Trailing);
                    }
                    once(&mut request.opened, opened, "a file")?;
                }
                UNOPENED => {
                    let why = String::from_utf8(bytes.to_vec()).map_err(|_| WireError::NotText)?;
                    once(&mut request.unopened, why, "a reason")?;
                }
                DELEGATED => {
                    bounded(ANSWER, bytes.len(), DELEGATED_MAX)?;
                    once(&mut request.delegated, Delegated::Answer(bytes.to_vec()), ANSWER)?;
                }
                DELEGATES => {
                    bounded(ANSWER, bytes.len(), 0)?;
                    once(&mut request.delegated, Delegated::ToCome, ANSWER)?;
                }
                other => return Err(WireError::UnknownTag(other)),
            }
        }
        request.name = name.unwrap_or_default();
        request.stdin = stdin.unwrap_or_default();
        Ok(request)
    }

    /// The bytes of the request, with its head.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        bounded("standard input", self.stdin.len(), STDIN_MAX)?;
        let delegated = self.delegated.as_ref().map(|delegated| match delegated {
            Delegated::ToCome => (DELEGATES, &[][..]),
            Delegated::Answer(answer) => (DELEGATED, answer.as_slice()),
        });
        bounded(ANSWER, delegated.map_or(0, |(_, bytes)| bytes.len()), DELEGATED_MAX)?;
        let entries: Vec<Vec<u8>> =
            self.environment.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
        let mut records: Vec<(u8, &[u8])> = vec![(NAME, &self.name)];
        records.extend(self.arguments.iter().map(|argument| (ARGUMENT, argument.as_slice())));
        records.extend(entries.iter().map(|entry| (VARIABLE, entry.as_slice())));
        records.push((STDIN, &self.stdin));
        let opened = self.opened.map(|(dev, ino)| [dev.to_le_bytes(), ino.to_le_bytes()].concat());
        records.extend(opened.iter().map(|numbers| (OPENED, numbers.as_slice())));
        records.extend(self.unopened.iter().map(|why| (UNOPENED, why.as_bytes())));
        records.extend(delegated);
        if records.len() > RECORDS_MAX {
            return Err(WireError::TooManyRecords);
        }
        let length = records.iter().map(|(_, bytes)| 5 + bytes.len()).sum();
        bounded("the request", length, PAYLOAD_MAX)?;
        let mut encoded = Vec::with_capacity(REQUEST_HEAD + length);
        begin(&mut encoded);
        push_length(&mut encoded, length);
        for (tag, bytes) in records {
            encoded.push(tag);
            push_length(&mut encoded, bytes.len());
            encoded.extend(bytes);
        }
        Ok(encoded)
    }

    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let found = self.environment.iter().find(|(there, _)| there == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }
}

impl ReplyHead {
    /// Reads a reply's head.
    pub fn decode(head: &[u8; REPLY_HEAD]) -> Result<Self, WireError> {
        let mut rest = Rest(head);
        rest.begin()?;
        let code = exit_code(i32::from_le_bytes(rest.array()?))?;
        let stdout = bounded("standard output", rest.length()?, OUTPUT_MAX)?;
        let stderr = bounded("standard error", rest.length()?, OUTPUT_MAX)?;
        Ok(ReplyHead { code, stdout, stderr })
    }

    /// How many bytes follow.
    pub fn rest(self) -> usize {
        self.stdout + self.stderr
    }
}

impl Reply {
    /// The reply with this head, of the bytes that follow it.
    pub fn decode(head: ReplyHead, mut rest: Vec<u8>) -> Result<Self, WireError> {
        match rest.len() {
            length if length < head.rest() => return Err(WireError::Truncated),
            length if length > head.rest() => return Err(WireError::Trailing),
            _ => {}
        }
        let stderr = rest.split_off(head.stdout);
        Ok(Reply { code: head.code, stdout: rest, stderr })
    }

    /// The bytes of the reply, with its head.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        exit_code(self.code)?;
        bounded("standard output", self.stdout.len(), OUTPUT_MAX)?;
        bounded("standard error", self.stderr.len(), OUTPUT_MAX)?;
        let mut encoded = Vec::with_capacity(REPLY_HEAD + self.stdout.len() + self.stderr.len());
        begin(&mut encoded);
        encoded.extend(self.code.to_le_bytes());
        push_length(&mut encoded, self.stdout.len());
        push_length(&mut encoded, self.stderr.len());
        encoded.extend(&self.stdout);
        encoded.extend(&self.stderr);
        Ok(encoded)
    }
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    fn length(&mut self) -> Result<usize, WireError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn begin(&mut self) -> Result<(), WireError> {
        if self.array()? != MAGIC {
            return Err(WireError::NotOurs);
        }
        match self.array()? {
            [VERSION] => Ok(()),
            [other] => Err(WireError::Version(other)),
        }
    }
}

fn begin(encoded: &mut Vec<u8>) {
    encoded.extend(MAGIC);
    encoded.push(VERSION);
}

/// Every length was compared with its bound, which fits.
fn push_length(encoded: &mut Vec<u8>, length: usize) {
    encoded.extend((length as u32).to_le_bytes());
}

fn bounded(what: &'static str, length: usize, most: usize) -> Result<usize, WireError> {
    if length > most { Err(WireError::TooLong { what, most }) } else { Ok(length) }
}

fn exit_code(code: i32) -> Result<i32, WireError> {
    if (0..=255).contains(&code) { Ok(code) } else { Err(WireError::ExitCode(code)) }
}

fn once<T>(place: &mut Option<T>, value: T, what: &'static str) -> Result<(), WireError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(WireError::Repeated(what)),
    }
}

fn variable(entry: &[u8], before: &[(Vec<u8>, Vec<u8>)]) -> Result<(Vec<u8>, Vec<u8>), WireError> {
    let equals = entry.iter().position(|byte| *byte == b'=').ok_or(WireError::NoVariable)?;
    let (name, value) = (&entry[..equals], &entry[equals + 1..]);
    if !name.starts_with(VARIABLES) {
        return Err(WireError::NoVariable);
    }
    if before.iter().any(|(there, _)| there == name) {
        return Err(WireError::Repeated("an environment variable"));
    }
    Ok((name.to_vec(), value.to_vec()))
}
