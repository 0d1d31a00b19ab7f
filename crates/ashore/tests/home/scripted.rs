//! A DHCP server of the lab's own, which misbehaves as a test tells it: for what no real one can be made to do.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ashore_lab::Machine;
use ashore_wire::dhcp4::{CLIENT_PORT, Message, Op, SERVER_PORT, code};

use super::frames::What;

/// The server's own address, that of the lab's router.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 88, 1);

/// What a client has asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub what: What,
    pub message: Message,
    pub at: Instant,
}

/// What the server sends, and how long after the question.
#[derive(Debug, Clone)]
pub struct Answer {
    payload: Vec<u8>,
    to: Ipv4Addr,
    after: Duration,
}

/// What it answers to a question.
type Script = Box<dyn FnMut(&Question) -> Vec<Answer> + Send>;

/// Runs until it is dropped.
pub struct Scripted {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    script: Mutex<Script>,
    heard: Mutex<Vec<Question>>,
    over: AtomicBool,
}

/// A reply that is being made up.
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

    /// An OFFER to a DISCOVER, and an ACK to every REQUEST: what a good server says.
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

    /// To whoever asked: where it is if it has an address, and to all otherwise.
    pub fn now(self) -> Answer {
        self.after(Duration::ZERO)
    }

    pub fn after(self, after: Duration) -> Answer {
        let to = if self.0.ciaddr.is_unspecified() { Ipv4Addr::BROADCAST } else { self.0.ciaddr };
        Answer { payload: self.0.encode(), to, after }
    }
}

impl Answer {
    /// Bytes that make no sense, to everybody.
    pub fn garbage(payload: impl Into<Vec<u8>>) -> Answer {
        Answer { payload: payload.into(), to: Ipv4Addr::BROADCAST, after: Duration::ZERO }
    }

    /// The first bytes of it alone.
    pub fn cut(mut self, length: usize) -> Answer {
        self.payload.truncate(length);
        self
    }

    /// To everybody, whatever the client asked for.
    pub fn for_all(self) -> Answer {
        Answer { to: Ipv4Addr::BROADCAST, ..self }
    }
}

impl Scripted {
    /// Starts it on the lab's router.
    pub fn on(router: &Machine, script: impl FnMut(&Question) -> Vec<Answer> + Send + 'static) -> Scripted {
        // By which of the two a question comes tells whether it was for all.
        let open = |ip: Ipv4Addr| {
            let socket =
                router.inside(|| UdpSocket::bind(SocketAddrV4::new(ip, SERVER_PORT))).unwrap().unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.set_broadcast(true).unwrap();
            socket
        };
        let sockets = [(open(Ipv4Addr::BROADCAST), Ipv4Addr::BROADCAST), (open(ROUTER), ROUTER)];
        // No route leads to everybody.
        nix::sys::socket::setsockopt(
            &sockets[1].0,
            nix::sys::socket::sockopt::BindToDevice,
            &std::ffi::OsString::from("eth0"),
        )
        .unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            heard: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let served = shared.clone();
        let thread = std::thread::spawn(move || served.serve(&sockets));
        Scripted { shared, thread: Some(thread) }
    }

    /// From now on it answers otherwise.
    pub fn now_answers(&self, script: impl FnMut(&Question) -> Vec<Answer> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// All that it was asked.
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

    /// Nobody was asked more than a client with some patience asks: five questions at once, and one every two seconds.
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
    fn serve(&self, sockets: &[(UdpSocket, Ipv4Addr); 2]) {
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
                if *at <= now {
                    // Whom it is for may be gone from where it was.
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
