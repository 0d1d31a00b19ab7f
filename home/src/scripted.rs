//! A DHCP server that the test scripts, for misbehaviour that no real server can be made to show.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ashore_kernel::PacketSocket;
use ashore_lab::Machine;
use ashore_wire::dhcp4::{CLIENT_PORT, Message, Op, SERVER_PORT, code};
use ashore_wire::{Mac, filter};

use super::frames::What;

/// The server's address, which is that of the lab's router.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);

/// A message from a client.
#[derive(Debug, Clone)]
pub struct Question {
    pub what: What,
    pub message: Message,
    pub at: Instant,
}

/// An answer, and the delay after which the server sends it.
#[derive(Debug, Clone)]
pub struct Answer {
    payload: Vec<u8>,
    to: Ipv4Addr,
    after: Duration,
    frame: Option<Frame>,
}

/// How to send an answer as a raw frame, where the server's kernel would not send it like this.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// The client's MAC and address. `None` for a broadcast.
    pub client: Option<(Mac, Ipv4Addr)>,
    pub source: Ipv4Addr,
    pub port: u16,
    /// Whether the UDP checksum is present.
    pub summed: bool,
    /// Whether the frame has a priority tag (VLAN 0).
    pub priority: bool,
    /// The number of bytes after the packet.
    pub trailer: usize,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame { client: None, source: ROUTER, port: SERVER_PORT, summed: true, priority: false, trailer: 0 }
    }
}

/// Returns the answers to a question.
type Script = Box<dyn FnMut(&Question) -> Vec<Answer> + Send>;

/// The server. It runs until it is dropped.
pub struct Scripted {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    heard: Mutex<Vec<Question>>,
    over: AtomicBool,
}

/// A reply that a script builds.
#[derive(Debug, Clone)]
pub struct Reply(Message);

impl Question {
    fn reply(&self, kind: u8, ip: Ipv4Addr) -> Reply {
        let mut message = Message { op: Op::Reply, yiaddr: ip, ..self.message.clone() };
        message.options = ashore_wire::dhcp4::Options::default();
        message.options.set(code::MESSAGE_TYPE, [kind]);
        message.options.set(code::SERVER_ID, ROUTER.octets());
        Reply(message)
    }

    fn lease(&self, kind: u8, ip: Ipv4Addr, seconds: u32) -> Reply {
        let reply = self.reply(kind, ip).with(code::LEASE_TIME, seconds.to_be_bytes());
        reply.with(code::SUBNET_MASK, [255, 255, 255, 0]).with(code::ROUTER, ROUTER.octets())
    }

    pub fn offer(&self, ip: Ipv4Addr, seconds: u32) -> Reply {
        self.lease(2, ip, seconds)
    }

    pub fn ack(&self, ip: Ipv4Addr, seconds: u32) -> Reply {
        self.lease(5, ip, seconds)
    }

    pub fn nak(&self) -> Reply {
        self.reply(6, Ipv4Addr::UNSPECIFIED)
    }

    /// The answer of a correct server: an OFFER to a DISCOVER, and an ACK to every REQUEST.
    pub fn good(&self, ip: Ipv4Addr, seconds: u32) -> Option<Reply> {
        match self.what {
            What::Discover => Some(self.offer(ip, seconds)),
            What::Select | What::Reboot | What::Renew | What::Rebind => Some(self.ack(ip, seconds)),
            _ => None,
        }
    }
}

impl Reply {
    pub fn with(mut self, code: u8, bytes: impl Into<Vec<u8>>) -> Reply {
        self.0.options.set(code, bytes);
        self
    }

    pub fn without(mut self, code: u8) -> Reply {
        let mut rest = ashore_wire::dhcp4::Options::default();
        for other in self.0.options.codes().filter(|other| *other != code) {
            rest.set(other, self.0.options.get(other).unwrap_or_default());
        }
        self.0.options = rest;
        self
    }

    pub fn changed(mut self, change: impl FnOnce(&mut Message)) -> Reply {
        change(&mut self.0);
        self
    }

    /// Sends at once: by unicast if the client has an address, otherwise by broadcast.
    pub fn now(self) -> Answer {
        self.after(Duration::ZERO)
    }

    pub fn after(self, after: Duration) -> Answer {
        let to = if self.0.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { self.0.ciaddr };
        Answer { payload: self.0.encode(), to, after, frame: None }
    }
}

impl Answer {
    /// A broadcast of arbitrary bytes.
    pub fn garbage(payload: impl Into<Vec<u8>>) -> Answer {
        Answer { payload: payload.into(), to: Ipv4Addr::BROADCAST, after: Duration::ZERO, frame: None }
    }

    /// Truncates the payload to its first bytes.
    pub fn cut(mut self, length: usize) -> Answer {
        self.payload.truncate(length);
        self
    }

    /// Removes the padding at the end.
    pub fn short(mut self) -> Answer {
        while self.payload.last() == Some(&code::PAD) {
            self.payload.pop();
        }
        self
    }

    /// Adds padding.
    pub fn padded(mut self, by: usize) -> Answer {
        self.payload.resize(self.payload.len() + by, code::PAD);
        self
    }

    /// Sends the answer as a raw frame.
    pub fn in_frame(self, frame: Frame) -> Answer {
        Answer { frame: Some(frame), ..self }
    }

    /// Sends the answer by broadcast, whatever the client asked for.
    pub fn for_all(self) -> Answer {
        Answer { to: Ipv4Addr::BROADCAST, ..self }
    }
}

/// The Internet checksum (RFC 1071). All parts but the last must have even length.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = pairs.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

impl Frame {
    fn around(&self, payload: &[u8], mac: Mac) -> Vec<u8> {
        let (to_mac, to) = self.client.unwrap_or((Mac::BROADCAST, Ipv4Addr::BROADCAST));
        let (source, to) = (self.source.octets(), to.octets());
        let short = |number: usize| (number as u16).to_be_bytes();
        let length = short(8 + payload.len());
        let ports = [self.port.to_be_bytes(), CLIENT_PORT.to_be_bytes()].concat();
        let mut udp = [&ports[..], &length, &[0, 0], payload].concat();
        if self.summed {
            let sum = checksum(&[&source, &to, &[0, 17], &length, &udp]);
            udp[6..8].copy_from_slice(&sum);
        }
        let mut ip =
            [&[0x45, 0][..], &short(20 + udp.len()), &[0, 0, 0, 0, 64, 17, 0, 0], &source, &to].concat();
        let sum = checksum(&[&ip]);
        ip[10..12].copy_from_slice(&sum);
        let tag: &[u8] = if self.priority { &[0x81, 0, 0xe0, 0] } else { &[] };
        [&to_mac.0[..], &mac.0, tag, &[8, 0], &ip, &udp, &vec![0xee; self.trailer]].concat()
    }
}

impl Scripted {
    /// Starts the server on the lab's router.
    pub fn on(router: &Machine, script: impl FnMut(&Question) -> Vec<Answer> + Send + 'static) -> Scripted {
        // The socket that receives a question tells whether it was broadcast.
        let open = |ip: Ipv4Addr| {
            let socket =
                router.inside(|| UdpSocket::bind(SocketAddrV4::new(ip, SERVER_PORT))).unwrap().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.set_broadcast(true).unwrap();
            socket
        };
        let sockets = [(open(Ipv4Addr::BROADCAST), Ipv4Addr::BROADCAST), (open(ROUTER), ROUTER)];
        // No route leads to the broadcast address.
        nix::sys::socket::setsockopt(
            &sockets[1].0,
            nix::sys::socket::sockopt::BindToDevice,
            &std::ffi::OsString::from("eth0"),
        )
        .unwrap();
        let host = router.kernel().observe(&[]).unwrap().host;
        let nic = host.link(&"eth0".parse().unwrap()).unwrap();
        let wire = PacketSocket::open(router.namespace(), nic.index, &filter::dhcp4_to_client()).unwrap();
        let mac = nic.mac.unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            heard: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let served = shared.clone();
        let thread = std::thread::spawn(move || served.serve(&sockets, &wire, mac));
        Scripted { shared, thread: Some(thread) }
    }

    /// Replaces the script.
    pub fn now_answers(&self, script: impl FnMut(&Question) -> Vec<Answer> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// All questions so far.
    pub fn heard(&self) -> Vec<Question> {
        self.shared.heard.lock().unwrap().clone()
    }

    pub fn count(&self, what: What) -> usize {
        self.heard().iter().filter(|question| question.what == what).count()
    }

    #[track_caller]
    pub fn wait_for(&self, what: What) {
        let before = self.count(what);
        super::eventually(&format!("{what:?} is asked"), || self.count(what) > before);
    }

    /// Asserts that a client asked no more than a patient one: five questions at once, and one more every two
    /// seconds.
    #[track_caller]
    pub fn assert_no_storm(&self) {
        let heard = self.heard();
        let (Some(first), Some(last)) = (heard.first(), heard.last()) else { return };
        let most = 5 + (last.at - first.at).as_secs() / 2;
        let whats: Vec<_> = heard.iter().map(|question| (question.what, question.at - first.at)).collect();
        assert!(heard.len() as u64 <= most, "{} questions: {whats:?}", heard.len());
    }
}

impl Shared {
    fn serve(&self, sockets: &[(UdpSocket, Ipv4Addr); 2], wire: &PacketSocket, mac: Mac) {
        let mut due: Vec<(Instant, Answer)> = Vec::new();
        let mut buffer = [0; 1500];
        while !self.over.load(Ordering::Relaxed) {
            let now = Instant::now();
            for (socket, to) in sockets {
                while let Ok(length) = socket.recv(&mut buffer) {
                    let Some(message) = Message::decode(&buffer[..length]) else { continue };
                    let question = Question { what: What::of(&message, *to), message, at: now };
                    let answers = (self.script.lock().unwrap())(&question);
                    self.heard.lock().unwrap().push(question);
                    due.extend(answers.into_iter().map(|answer| (now + answer.after, answer)));
                }
            }
            due.retain(|(at, answer)| {
                if let Some(frame) = answer.frame.filter(|_| *at <= now) {
                    wire.send(&frame.around(&answer.payload, mac)).unwrap();
                } else if *at <= now {
                    // The client may no longer have the address.
                    let _ = sockets[1].0.send_to(&answer.payload, SocketAddrV4::new(answer.to, CLIENT_PORT));
                }
                *at > now
            });
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            for question in self.heard() {
                eprintln!("the server was asked: {:?} {:?}", question.what, question.message);
            }
        }
    }
}
