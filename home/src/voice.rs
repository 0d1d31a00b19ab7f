//! ARP and neighbour discovery messages that a test sends from a machine on the LAN.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ashore_kernel::{PacketSocket, wait_readable};
use ashore_lab::{Machine, World};
use ashore_wire::arp::{Arp, Operation};
use ashore_wire::conflict::{announcement, probe_frame};
use ashore_wire::filter::Instruction;
use ashore_wire::{Heard, Mac, filter, heard};

/// A packet socket on a machine's NIC.
pub struct Voice(PacketSocket);

impl Voice {
    pub fn of(machine: &Machine) -> Voice {
        Voice(socket(machine, "eth0"))
    }

    /// Announces that a MAC has an address.
    pub fn claims(&self, mac: Mac, ip: IpAddr) {
        self.0.send(&announcement(mac, ip)).unwrap();
    }

    /// Sends an arbitrary frame.
    pub fn says(&self, frame: &[u8]) {
        self.0.send(frame).unwrap();
    }

    /// The messages from others since the last call.
    pub fn heard(&self) -> Vec<Heard> {
        let (mut buffer, mut all) = ([0; 2048], Vec::new());
        while let Ok(Some(frame)) = self.0.receive(&mut buffer) {
            all.extend(heard(frame));
        }
        all
    }

    /// Probes for an address on behalf of a MAC.
    pub fn looks_for(&self, mac: Mac, ip: IpAddr) {
        self.0.send(&probe_frame(mac, ip)).unwrap();
    }
}

/// A machine that answers what it hears, or sends all the time, until this is dropped.
pub struct Answering {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// Answers each frame of ARP or neighbour discovery with the frame that `answer` returns, if any.
    pub fn by(
        machine: &Machine,
        link: &str,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Answering {
        Answering::on(socket(machine, link), answer)
    }

    /// Answers each frame of whatever protocol.
    pub fn all_by(
        machine: &Machine,
        link: &str,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Answering {
        let all = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x4_0000 };
        Answering::on(socket_for(machine, link, &[all]), answer)
    }

    fn on(socket: PacketSocket, answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Answering {
        let mut buffer = [0; 2048];
        Answering::again_and_again(move || {
            wait_readable(&[socket.as_fd()], Some(Duration::from_millis(20))).unwrap();
            while let Ok(Some(frame)) = socket.receive(&mut buffer) {
                if let Some(answer) = answer(frame) {
                    socket.send(&answer).unwrap();
                }
            }
        })
    }

    fn again_and_again(mut act: impl FnMut() + Send + 'static) -> Answering {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                act();
            }
        });
        Answering { over, thread: Some(thread) }
    }

    /// Announces addresses for a MAC many times a second, unasked, and probes for them.
    pub fn flood(machine: &Machine, mac: Mac, ips: Vec<IpAddr>) -> Answering {
        let voice = Voice::of(machine);
        Answering::again_and_again(move || {
            for ip in &ips {
                voice.claims(mac, *ip);
                voice.looks_for(mac, *ip);
            }
            std::thread::sleep(Duration::from_millis(30));
        })
    }

    /// Announces an address for a MAC all the time.
    pub fn insisting(machine: &Machine, mac: Mac, ip: IpAddr) -> Answering {
        let voice = Voice::of(machine);
        Answering::again_and_again(move || {
            voice.claims(mac, ip);
            std::thread::sleep(Duration::from_micros(200));
        })
    }

    /// Answers for a MAC each ARP request for an IPv4 address for which `is_had` is true.
    pub fn that_has(
        machine: &Machine,
        mac: Mac,
        is_had: impl Fn(IpAddr) -> bool + Send + 'static,
    ) -> Answering {
        Answering::by(machine, "eth0", move |frame| {
            let asked = Arp::parse(frame).filter(|arp| {
                let is_question = arp.operation == Operation::Request;
                is_question && arp.sender_ip != arp.target_ip && is_had(arp.target_ip.into())
            })?;
            let answer = Arp {
                operation: Operation::Reply,
                sender_mac: mac,
                sender_ip: asked.target_ip,
                target_mac: asked.sender_mac,
                target_ip: asked.sender_ip,
            };
            Some(answer.broadcast_frame().to_vec())
        })
    }

    /// A switch that sends a machine's frames back to it.
    pub fn echo_of(world: &World, machine: &Machine) -> Answering {
        Answering::by(world.switch(), &format!("p-{}", machine.name()), |frame| Some(frame.to_vec()))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

fn socket(machine: &Machine, link: &str) -> PacketSocket {
    socket_for(machine, link, &filter::arp_and_ndp())
}

fn socket_for(machine: &Machine, link: &str, filter: &[Instruction]) -> PacketSocket {
    let host = machine.kernel().observe(&[]).unwrap().host;
    let link = host.link(&link.parse().unwrap()).unwrap().index;
    PacketSocket::open(machine.namespace(), link, filter).unwrap()
}
