//! A machine that advertises itself as a router and never sends the same advertisement twice.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ashore_kernel::PacketSocket;
use ashore_lab::Machine;
use ashore_wire::filter::arp_and_ndp;

/// The time between two advertisements.
const PAUSE: Duration = Duration::from_millis(50);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Advertises until it is dropped.
pub struct Advertiser {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u16>>,
}

impl Advertiser {
    /// Starts to advertise from a machine's `eth0`, twenty times a second. Each advertisement has another
    /// prefix with a lifetime of two seconds and another name server. They alternate between "the best
    /// router" and "no router".
    pub fn start(on: &Machine) -> Advertiser {
        let host = on.kernel().observe(&[]).unwrap().host;
        let link = host.link(&"eth0".parse().unwrap()).unwrap();
        let (index, mac) = (link.index, link.mac.unwrap());
        let socket = PacketSocket::open(on.namespace(), index, &arp_and_ndp()).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = std::thread::spawn(move || {
            let mut number: u16 = 0;
            // The last advertisement says that it is no router.
            while !ended.load(Ordering::Relaxed) || number.is_multiple_of(2) {
                number += 1;
                socket.send(&frame(mac.0, mac.link_local(), number)).unwrap();
                std::thread::sleep(PAUSE);
            }
            number
        });
        Advertiser { over, thread: Some(thread) }
    }

    /// Stops and returns how many advertisements were sent.
    pub fn end(mut self) -> u16 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Advertiser {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// A router advertisement (RFC 4861, 4.2) with the prefix and the name server number `number`.
fn frame(mac: [u8; 6], source: Ipv6Addr, number: u16) -> Vec<u8> {
    let net = Ipv6Addr::new(0xfd00, 0xbad, 0, number, 0, 0, 0, 0);
    let lifetime: u16 = if number.is_multiple_of(2) { 1800 } else { 0 };
    let mut said = vec![134, 0, 0, 0, 64, 0x08];
    said.extend(lifetime.to_be_bytes());
    said.extend([0; 8]);
    said.extend([3, 4, 64, 0xc0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0]);
    said.extend(net.octets());
    said.extend([25, 3, 0, 0, 0, 0, 0, 2]);
    said.extend(net.octets());
    let length = said.len() as u16;
    let mut sum: u32 = u32::from(length) + 58;
    let words = [&source.octets()[..], &ALL_NODES.octets(), &said].concat();
    sum += words.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    said[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(mac);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(said);
    frame
}
