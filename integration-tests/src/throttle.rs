//! A slow line: a TCP proxy that passes bytes at a set rate, and holds its two ends back rather than keep what is too much.
//!
//! ```text
//!   dials ──▶ listener ─┬─ down: far end to dialler ─┐  each way has one rate, which all connections share in turn
//!                       └─ up: dialler to far end ───┘
//! ```
#![allow(clippy::expect_used, reason = "a test tool: without the line there is no test")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use elastic_flow_clock::{Clock, Mono, SystemClock};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that are passed at once, at most: all that the proxy itself ever holds of a connection's way.
const PIECE_BYTES: usize = 8 * 1024;
/// Pieces a second, at least, so that a connection does not wait long for its turn, nor the end for a connection.
const PIECES_A_SECOND_MIN: u64 = 20;
/// Buffers of the sockets, asked of the system: small, so that what is sent and has not passed stays with its sender.
const SOCKET_BYTES: usize = 64 * 1024;
/// Time for the far end to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A line with a set rate. Dropping it breaks its connections and joins its threads.
#[derive(Debug)]
pub struct SlowLine {
    address: SocketAddr,
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug)]
struct Line {
    far: SocketAddr,
    down: Way,
    up: Way,
    /// Bytes a second, each way; 0 for as many as there are.
    rate: AtomicU64,
    ended: AtomicBool,
    clock: SystemClock,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    free_at: Mutex<Mono>,
    passed_bytes: AtomicU64,
}

impl SlowLine {
    /// A line from a port of `host` to `far`, at `rate` bytes a second each way.
    ///
    /// # Panics
    /// The system gives no port or no thread, or `host` is no address.
    #[must_use]
    pub fn start(host: &str, far: SocketAddr, rate: u64) -> Self {
        let host = SocketAddr::new(host.parse().expect("a numeric address"), 0);
        let listener = listen(host).expect("a port");
        let address = listener.local_addr().expect("a port has an address");
        let line = Arc::new(Line {
            far,
            down: Way::default(),
            up: Way::default(),
            rate: AtomicU64::new(rate),
            ended: AtomicBool::new(false),
            clock: SystemClock::new(),
        });
        let shared = Arc::clone(&line);
        let serve = move || serve(&shared, &listener);
        let thread = thread::Builder::new().name("slow line".to_owned()).spawn(serve).expect("a thread");
        Self { address, line, thread: Some(thread) }
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing is held back.
    pub fn lift(&self) {
        self.line.rate.store(0, Ordering::Relaxed);
    }

    /// Bytes that have passed from the far end to those who dialled.
    #[must_use]
    pub fn down_bytes(&self) -> u64 {
        self.line.down.passed_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.line.ended.store(true, Ordering::Release);
        // Wakes the listener, which breaks what is connected; whether that succeeds shows in the join alone.
        TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BYTES)?;
    Ok(socket)
}

/// Connections that are accepted have the buffers of their listener.
fn listen(host: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(host)?;
    socket.bind(&host.into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

fn dial(far: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(far)?;
    socket.connect_timeout(&far.into(), CONNECT_TIMEOUT)?;
    Ok(socket.into())
}

fn serve(line: &Line, listener: &TcpListener) {
    let mut ends: Vec<Arc<TcpStream>> = Vec::new();
    thread::scope(|scope| {
        for near in listener.incoming() {
            if line.ended.load(Ordering::Acquire) {
                break;
            }
            // A far end that is away shows at the near one as a connection that ends at once.
            let Ok((near, far)) = near.and_then(|near| Ok((near, dial(line.far)?))) else { continue };
            near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).ok();
            let (near, far) = (Arc::new(near), Arc::new(far));
            ends.extend([Arc::clone(&near), Arc::clone(&far)]);
            let (near_too, far_too) = (Arc::clone(&near), Arc::clone(&far));
            scope.spawn(move || pass(line, &line.down, &far, &near));
            scope.spawn(move || pass(line, &line.up, &near_too, &far_too));
        }
        for end in &ends {
            end.shutdown(Shutdown::Both).ok();
        }
    });
}

/// Passes one way of a connection to its end; if that is a failure, the other way ends too.
fn pass(line: &Line, way: &Way, from: &TcpStream, to: &TcpStream) {
    if pass_all(line, way, from, to).is_err() {
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
    }
}

fn pass_all(line: &Line, way: &Way, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let rate = line.rate.load(Ordering::Relaxed);
        let most =
            if rate == 0 { PIECE_BYTES as u64 } else { (rate / PIECES_A_SECOND_MIN).clamp(1, PIECE_BYTES as u64) };
        let most = usize::try_from(most).unwrap_or(PIECE_BYTES);
        let read = from.read(&mut piece[..most])?;
        if read == 0 {
            return to.shutdown(Shutdown::Write);
        }
        if let Some(nanos) = (read as u64 * 1_000_000_000).checked_div(rate) {
            way.wait_turn(&line.clock, Duration::from_nanos(nanos));
        }
        to.write_all(&piece[..read])?;
        way.passed_bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

impl Way {
    /// Waits until the way is free, and takes it for so long.
    fn wait_turn(&self, clock: &SystemClock, takes: Duration) {
        let now = clock.now();
        let turn = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free_at).max(now);
            *free_at = turn + takes;
            turn
        };
        thread::sleep(turn.since(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A far end that sends so many bytes to whoever comes, and then listens until they hang up.
    fn sender(bytes: usize) -> (SocketAddr, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&vec![7; bytes]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard
        });
        (address, thread)
    }

    #[test]
    fn bytes_pass_both_ways_and_no_faster_than_the_rate() {
        let (bytes, rate) = (200_000, 1_000_000);
        let (far, thread) = sender(bytes);
        let line = SlowLine::start("127.0.0.1", far, rate);
        let clock = SystemClock::new();
        let start = clock.now();
        let mut near = TcpStream::connect(line.address()).unwrap();
        near.write_all(b"hello").unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).unwrap();
        // The last piece passes when its turn begins.
        let least = Duration::from_secs_f64((bytes - PIECE_BYTES) as f64 / rate as f64);
        assert!(clock.now().since(start) >= least);
        assert_eq!((heard, thread.join().unwrap()), (vec![7; bytes], b"hello".to_vec()));
        assert_eq!(line.down_bytes(), bytes as u64);
    }

    #[test]
    fn a_line_that_goes_takes_its_connections_with_it() {
        let (far, thread) = sender(100_000);
        // A hundred seconds' worth.
        let line = SlowLine::start("127.0.0.1", far, 1_000);
        let mut near = TcpStream::connect(line.address()).unwrap();
        near.read_exact(&mut [0]).unwrap();
        drop(line);
        let mut rest = Vec::new();
        // Cut off, in whatever order the system tells of it.
        near.read_to_end(&mut rest).ok();
        assert!(rest.len() < 50_000, "{} bytes came", rest.len());
        drop(near);
        // It had sent all into the buffers, or fails at that: either way its thread has ended.
        thread.join().ok();
    }
}
