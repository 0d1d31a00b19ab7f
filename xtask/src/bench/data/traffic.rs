//! Traffic between two namespaces: streams, round trips and small packets. Every loop ends with its time, and
//! no call waits longer than [`PATIENCE`].

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ashore_kernel::Namespace;

use super::processor::{self, OfMachine};

/// The port of the service.
pub(super) const PORT: u16 = 7001;
/// How long one call may wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this time a datagram is lost, and counts as answered after so long.
const LOST: Duration = Duration::from_millis(200);
/// How many bytes one write has.
const CHUNK: usize = 128 << 10;
/// The size in bytes of a message whose round trip is measured, and of a small packet.
const SMALL: usize = 64;
/// The largest number of round trips, so that their times fit into memory.
const MOST: usize = 4_000_000;

/// From a client to a service.
pub(super) struct Path<'a> {
    /// Where the client's sockets are opened.
    pub(super) from: &'a Namespace,
    /// The address that the client uses.
    pub(super) to: SocketAddr,
    /// Where the service's sockets are opened.
    pub(super) service: &'a Namespace,
}

/// Who sends the stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    ToService,
    FromService,
}

/// What became of a stream.
pub(super) struct Streamed {
    bytes: f64,
    took: Duration,
    /// The processor time of the sending thread.
    pub(super) sender: Duration,
    /// The processor time of the receiving thread.
    pub(super) receiver: Duration,
    pub(super) machine: OfMachine,
}

impl Streamed {
    pub(super) fn gigabits_per_second(&self) -> f64 {
        self.bytes * 8e-9 / self.took.as_secs_f64()
    }

    /// Processor time in milliseconds for each gigabyte.
    pub(super) fn per_gigabyte(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e3 / (self.bytes * 1e-9)
    }
}

/// Round-trip times, in ascending order.
pub(super) struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    fn of(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        times.sort_unstable();
        ensure!(times.first().is_some_and(|shortest| *shortest < LOST), "nothing is answered");
        Ok(RoundTrips(times))
    }

    /// The time within which this many of a hundred are answered, in microseconds.
    pub(super) fn micros(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e6
    }
}

impl Path<'_> {
    /// Opens a TCP connection. Returns the client's end and the service's.
    fn connect(&self) -> anyhow::Result<(TcpStream, TcpStream)> {
        let any = (Ipv4Addr::UNSPECIFIED, PORT);
        let listener = self.service.run(|| TcpListener::bind(any))?.context("cannot listen")?;
        let near = self.from.run(|| TcpStream::connect_timeout(&self.to, PATIENCE))?;
        let near = near.with_context(|| format!("cannot connect to {}", self.to))?;
        let far = accept(&listener)?;
        // Docker's own proxy would answer from an address of its own, where its rules are missing.
        ensure!(far.peer_addr()? == near.local_addr()?, "a proxy is between client and service");
        for end in [&near, &far] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
        }
        Ok((near, far))
    }

    /// Sends by TCP as fast as it goes.
    pub(super) fn stream(&self, direction: Direction, lasting: Duration) -> anyhow::Result<Streamed> {
        let (near, far) = self.connect()?;
        let (source, sink) = match direction {
            Direction::ToService => (near, far),
            Direction::FromService => (far, near),
        };
        let (before, begun) = (OfMachine::until_now()?, Instant::now());
        let (sender, (bytes, receiver)) = scope(|scope| {
            let sink = scope.spawn(move || drain(sink));
            let sent = pour(&source, begun + lasting);
            // Even after an error this ends the sink.
            let _ = source.shutdown(Shutdown::Write);
            let received = joined(sink)?;
            Ok::<_, anyhow::Error>((sent?, received))
        })?;
        let took = begun.elapsed();
        let machine = OfMachine::until_now()?.since(before);
        ensure!(bytes > 0.0, "nothing arrived");
        Ok(Streamed { bytes, took, sender, receiver, machine })
    }

    /// Sends small messages by TCP, each when the one before has been answered.
    pub(super) fn tcp_round_trips(&self, lasting: Duration) -> anyhow::Result<RoundTrips> {
        let (near, far) = self.connect()?;
        let times = scope(|scope| {
            let service = scope.spawn(move || return_stream(far));
            let times = ask_stream(&near, Instant::now() + lasting);
            let _ = near.shutdown(Shutdown::Both);
            joined(service)?;
            Ok::<_, anyhow::Error>(times?)
        })?;
        RoundTrips::of(times)
    }

    /// Opens the client's UDP socket and the service's.
    fn datagrams(&self) -> anyhow::Result<(UdpSocket, UdpSocket)> {
        let bind = |at: &Namespace, port: u16| at.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let far = bind(self.service, PORT)?.context("cannot bind")?;
        let near = bind(self.from, 0)??;
        near.connect(self.to)?;
        near.set_read_timeout(Some(LOST))?;
        near.set_write_timeout(Some(LOST))?;
        far.set_read_timeout(Some(Duration::from_millis(50)))?;
        far.set_write_timeout(Some(LOST))?;
        Ok((near, far))
    }

    /// Sends small datagrams, each when the one before has been answered or is lost.
    pub(super) fn udp_round_trips(&self, lasting: Duration) -> anyhow::Result<RoundTrips> {
        let (near, far) = self.datagrams()?;
        let over = AtomicBool::new(false);
        let times = scope(|scope| {
            let service = scope.spawn(|| return_datagrams(&far, &over));
            let times = ask_datagrams(&near, Instant::now() + lasting);
            over.store(true, Ordering::Relaxed);
            joined(service)?;
            Ok::<_, anyhow::Error>(times?)
        })?;
        RoundTrips::of(times)
    }

    /// Sends small datagrams as fast as it goes. Returns how many of them the service receives in a second.
    pub(super) fn small_packets(&self, lasting: Duration) -> anyhow::Result<f64> {
        let (near, far) = self.datagrams()?;
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let (received, took) = scope(|scope| {
            let service = scope.spawn(|| count_datagrams(&far, &over));
            let (message, end) = ([0; SMALL], begun + lasting);
            while Instant::now() < end {
                // A full queue takes no more packets, and that is what is measured.
                let _ = near.send(&message);
            }
            let took = begun.elapsed();
            over.store(true, Ordering::Relaxed);
            Ok::<_, anyhow::Error>((joined(service)?, took))
        })?;
        ensure!(received > 0, "nothing arrived");
        Ok(f64::from(received) / took.as_secs_f64())
    }
}

/// Waits for the next connection. The standard library's `accept` would wait forever.
fn accept(listener: &TcpListener) -> anyhow::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                bail!("the connection does not arrive")
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Writes until the time is over. Returns the thread's processor time.
fn pour(mut to: &TcpStream, end: Instant) -> anyhow::Result<Duration> {
    let (chunk, before) = (vec![0; CHUNK], processor::of_this_thread()?);
    while Instant::now() < end {
        to.write_all(&chunk)?;
    }
    Ok(processor::of_this_thread()?.saturating_sub(before))
}

/// Reads to the end. Returns the number of bytes and the thread's processor time.
fn drain(mut from: TcpStream) -> anyhow::Result<(f64, Duration)> {
    let (mut chunk, before) = (vec![0; CHUNK], processor::of_this_thread()?);
    let mut bytes = 0.0;
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok((bytes, processor::of_this_thread()?.saturating_sub(before))),
            length => bytes += f64::from(length as u32),
        }
    }
}

/// Sends every message back until the client closes the connection.
fn return_stream(mut client: TcpStream) -> anyhow::Result<()> {
    let mut message = [0; SMALL];
    loop {
        match client.read_exact(&mut message) {
            Ok(()) => client.write_all(&message)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask_stream(mut service: &TcpStream, end: Instant) -> io::Result<Vec<Duration>> {
    let (mut message, mut times) = ([0; SMALL], Vec::new());
    while Instant::now() < end && times.len() < MOST {
        let begun = Instant::now();
        service.write_all(&message)?;
        service.read_exact(&mut message)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Whether a socket has only waited in vain. Some systems call this a timeout.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends every datagram back to where it came from.
fn return_datagrams(service: &UdpSocket, over: &AtomicBool) -> anyhow::Result<()> {
    let mut message = [0; SMALL];
    while !over.load(Ordering::Relaxed) {
        match service.recv_from(&mut message) {
            Ok((length, client)) => drop(service.send_to(&message[..length], client)?),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn ask_datagrams(service: &UdpSocket, end: Instant) -> io::Result<Vec<Duration>> {
    let (mut message, mut times) = ([0; SMALL], Vec::new());
    for number in 0..MOST as u32 {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        message[..4].copy_from_slice(&number.to_be_bytes());
        service.send(&message)?;
        let mut answer = [0; SMALL];
        loop {
            match service.recv(&mut answer) {
                Ok(SMALL) if answer[..4] == message[..4] => times.push(begun.elapsed()),
                // The answer to an earlier message that has counted as lost.
                Ok(_) if begun.elapsed() < LOST => continue,
                Ok(_) => times.push(LOST),
                Err(error) if is_silence(&error) => times.push(LOST),
                Err(error) => return Err(error),
            }
            break;
        }
    }
    Ok(times)
}

/// Counts datagrams until the time is over. What is in the queue then was received in time.
fn count_datagrams(service: &UdpSocket, over: &AtomicBool) -> anyhow::Result<u32> {
    let (mut message, mut count) = ([0; SMALL], 0);
    loop {
        match service.recv(&mut message) {
            Ok(_) => count += 1,
            Err(error) if is_silence(&error) && over.load(Ordering::Relaxed) => return Ok(count),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
