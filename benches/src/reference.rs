//! The same work by hand: a master and two processes of one thread each, over loopback sockets.
//!
//! The master hands out stretches of the input, one at a time for each worker, until there is none left; then each worker sends
//! what it has, and the master merges. The word count reads 1 MiB at a time into memory that is used again, lowers it in place, and
//! looks each word up as borrowed bytes in a hash table that stores the hashes. There is no checksum, no retry and no account:
//! this is what those cost is measured against.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, bail, ensure};
use elastic_flow::clock::{Clock, SystemClock};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// The first argument of a process that is a master by hand.
pub const MASTER: &str = "reference-master";
/// The first argument of a process that is its worker.
pub const WORKER: &str = "reference-worker";

const WORKERS: usize = 2;
/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a stretch of text.
const TEXT_STRETCH_BYTES: u64 = 4 << 20;
/// Numbers of a stretch of a range.
const RANGE_STRETCH: u64 = 8 << 20;
/// Bytes of a request, and of a reply: about those of a task for one empty chunk.
const ECHO_BYTES: usize = 128;

/// The first `map` of the sum.
#[inline]
#[must_use]
pub const fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The `filter` of the sum: seven of eight.
#[inline]
#[must_use]
pub const fn is_kept(number: &u64) -> bool {
    *number & 0x7000 != 0
}

/// The second `map` of the sum: what is left of a number does not overflow its sum.
#[inline]
#[must_use]
pub const fn narrow(number: u64) -> u64 {
    number >> 40
}

/// Runs a process of the reference; `args` begin with [`MASTER`] or [`WORKER`].
///
/// # Errors
/// The arguments are wrong, or the system fails.
pub fn main(args: &[String]) -> anyhow::Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [MASTER, "words", file] => master_of_words(file),
        [MASTER, "sum", end] => master_of_sum(end.parse()?),
        [MASTER, "echo", requests, in_flight] => master_of_echoes(requests.parse()?, in_flight.parse()?),
        [WORKER, "words", master, file] => work_on_words(&connect(master)?, Path::new(file)),
        [WORKER, "sum", master] => work_on_sum(&connect(master)?),
        [WORKER, "echo", master] => echo(&connect(master)?),
        other => bail!("{other:?} is no process of the reference"),
    }
}

fn connect(master: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(master).with_context(|| format!("failed to connect to {master}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Two worker processes, connected.
struct Workers {
    children: Vec<Child>,
    streams: Vec<TcpStream>,
}

impl Workers {
    fn start(job: &str, input: Option<&str>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let program = std::env::current_exe()?;
        let start = |_| Command::new(&program).args([WORKER, job, &address]).args(input).spawn();
        let children = (0..WORKERS).map(start).collect::<io::Result<_>>()?;
        let accept = |_| {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let streams = (0..WORKERS).map(accept).collect::<io::Result<_>>()?;
        Ok(Self { children, streams })
    }

    /// Speaks with all of them at once, in a thread each.
    fn each<T: Send>(&self, speak: impl Fn(&TcpStream) -> io::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
        thread::scope(|scope| {
            let speak = &speak;
            let threads: Vec<_> = self.streams.iter().map(|stream| scope.spawn(move || speak(stream))).collect();
            threads
                .into_iter()
                .map(|it| Ok(it.join().map_err(|_| anyhow::anyhow!("the thread of a worker panicked"))??))
                .collect()
        })
    }

    fn finish(self) -> anyhow::Result<()> {
        drop(self.streams);
        for mut child in self.children {
            ensure!(child.wait()?.success(), "a worker failed");
        }
        Ok(())
    }
}

/// Hands out stretches of `0..end` for as long as there are any; a last, empty one says that there is none.
fn hand_out(mut stream: &TcpStream, next: &AtomicU64, stretch: u64, end: u64) -> io::Result<()> {
    loop {
        let from = next.fetch_add(stretch, Ordering::Relaxed).min(end);
        let to = from.saturating_add(stretch).min(end);
        let mut borders = [0; 16];
        let (first, second) = borders.split_at_mut(8);
        first.copy_from_slice(&from.to_le_bytes());
        second.copy_from_slice(&to.to_le_bytes());
        stream.write_all(&borders)?;
        if from == to {
            return Ok(());
        }
        stream.read_exact(&mut [0])?;
    }
}

/// Works on stretches until there is none left.
fn take(mut stream: &TcpStream, mut work: impl FnMut(u64, u64) -> io::Result<()>) -> io::Result<()> {
    loop {
        let (from, to) = (read_u64(stream)?, read_u64(stream)?);
        if from == to {
            return Ok(());
        }
        work(from, to)?;
        stream.write_all(&[1])?;
    }
}

fn read_u64(mut from: impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

fn master_of_words(file: &str) -> anyhow::Result<()> {
    let length = std::fs::metadata(file).with_context(|| format!("failed to read {file}"))?.len();
    let workers = Workers::start("words", Some(file))?;
    let next = AtomicU64::new(0);
    let tables = workers.each(|stream| {
        hand_out(stream, &next, TEXT_STRETCH_BYTES, length)?;
        let mut table = vec![0; usize::try_from(read_u64(stream)?).map_err(io::Error::other)?];
        (&mut &*stream).read_exact(&mut table)?;
        Ok(table)
    })?;
    workers.finish()?;
    let mut words = WordTable::default();
    for table in tables {
        words.merge(&table)?;
    }
    Ok(say(format_args!("{} {}", words.distinct(), words.all()))?)
}

fn work_on_words(mut stream: &TcpStream, path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let (mut words, mut block) = (WordTable::default(), Vec::new());
    take(stream, |from, to| words.count(&file, from, to, &mut block))?;
    let table = words.to_bytes();
    stream.write_all(&(table.len() as u64).to_le_bytes())?;
    Ok(stream.write_all(&table)?)
}

/// Words with their counts.
#[derive(Debug, Default)]
pub struct WordTable {
    table: HashTable<Word>,
    /// The words, one behind the other.
    bytes: Vec<u8>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Word {
    hash: u64,
    start: usize,
    length: usize,
    count: u64,
}

impl Word {
    fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }
}

impl WordTable {
    /// Different words.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.table.len() as u64
    }

    /// All words.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.table.iter().map(|word| word.count).sum()
    }

    /// How often a word was there.
    #[must_use]
    pub fn get(&self, word: &[u8]) -> u64 {
        let hash = self.hash(word);
        self.table.find(hash, |known| known.of(&self.bytes) == word).map_or(0, |known| known.count)
    }

    /// Counts the words of the lines that begin in `from..to`. A line begins at the start of the file and behind each 0x0A.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&mut self, file: &File, from: u64, to: u64, block: &mut Vec<u8>) -> io::Result<()> {
        let mut at = if from == 0 { 0 } else { behind_line(file, from - 1)? };
        let end = behind_line(file, to - 1)?;
        block.clear();
        while at < end {
            let kept = block.len();
            let fresh = BLOCK_BYTES.min(usize::try_from(end - at).unwrap_or(BLOCK_BYTES));
            block.resize(kept + fresh, 0);
            let read = block.get_mut(kept..).unwrap_or_default();
            file.read_exact_at(read, at)?;
            read.make_ascii_lowercase();
            at += fresh as u64;
            let whole = if at == end { block.len() } else { memchr::memrchr(b'\n', block).map_or(0, |it| it + 1) };
            for word in block.get(..whole).unwrap_or_default().split(is_space).filter(|word| !word.is_empty()) {
                self.add(word, 1);
            }
            block.drain(..whole);
        }
        Ok(())
    }

    #[inline]
    fn hash(&self, word: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(word);
        hasher.finish()
    }

    #[inline]
    fn add(&mut self, word: &[u8], count: u64) {
        let hash = self.hash(word);
        let Self { table, bytes, .. } = self;
        match table.entry(hash, |known| known.hash == hash && known.of(bytes) == word, |known| known.hash) {
            Entry::Occupied(mut known) => known.get_mut().count += count,
            Entry::Vacant(room) => {
                room.insert(Word { hash, start: bytes.len(), length: word.len(), count });
                bytes.extend_from_slice(word);
            }
        }
    }

    /// Each word as its count, its length and its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * self.table.len() + self.bytes.len());
        for word in &self.table {
            out.extend_from_slice(&word.count.to_le_bytes());
            out.extend_from_slice(&(word.length as u64).to_le_bytes());
            out.extend_from_slice(word.of(&self.bytes));
        }
        out
    }

    /// Adds what another one gave as bytes.
    ///
    /// # Errors
    /// The bytes end within a word.
    pub fn merge(&mut self, mut table: &[u8]) -> io::Result<()> {
        while !table.is_empty() {
            let (count, length) = (read_u64(&mut table)?, read_u64(&mut table)?);
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let (word, rest) = table.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            self.add(word, count);
            table = rest;
        }
        Ok(())
    }
}

#[inline]
const fn is_space(byte: &u8) -> bool {
    matches!(*byte, b' ' | b'\t'..=b'\r')
}

/// The place behind the first 0x0A at `from` or later; the file's end where there is none.
fn behind_line(file: &File, mut from: u64) -> io::Result<u64> {
    let mut bytes = [0; 4096];
    loop {
        let length = file.read_at(&mut bytes, from)?;
        if let Some(place) = memchr::memchr(b'\n', bytes.get(..length).unwrap_or_default()) {
            return Ok(from + place as u64 + 1);
        }
        if length == 0 {
            return Ok(from);
        }
        from += length as u64;
    }
}

fn master_of_sum(end: u64) -> anyhow::Result<()> {
    let workers = Workers::start("sum", None)?;
    let next = AtomicU64::new(0);
    let sums = workers.each(|stream| {
        hand_out(stream, &next, RANGE_STRETCH, end)?;
        read_u64(stream)
    })?;
    workers.finish()?;
    Ok(say(format_args!("{}", sums.iter().sum::<u64>()))?)
}

fn work_on_sum(mut stream: &TcpStream) -> anyhow::Result<()> {
    let mut sum = 0;
    take(stream, |from, to| {
        sum += (from..to).map(spread).filter(is_kept).map(narrow).sum::<u64>();
        Ok(())
    })?;
    Ok(stream.write_all(&sum.to_le_bytes())?)
}

/// Prints how many replies came, and after how many nanoseconds, the start of the processes not included.
fn master_of_echoes(requests: u64, in_flight: u64) -> anyhow::Result<()> {
    let workers = Workers::start("echo", None)?;
    let clock = SystemClock::new();
    let start = clock.now();
    let left = AtomicU64::new(requests);
    let replies = workers.each(|mut stream| {
        let more = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let mut bytes = [1; ECHO_BYTES];
        let (mut open, mut done) = (0, 0);
        loop {
            while open < in_flight && more() {
                stream.write_all(&bytes)?;
                open += 1;
            }
            if open == 0 {
                return Ok(done);
            }
            stream.read_exact(&mut bytes)?;
            (open, done) = (open - 1, done + 1);
        }
    })?;
    let nanos = clock.now().since(start).as_nanos();
    workers.finish()?;
    Ok(say(format_args!("{} {nanos}", replies.iter().sum::<u64>()))?)
}

/// Sends everything back until the other side closes.
fn echo(mut stream: &TcpStream) -> anyhow::Result<()> {
    let mut bytes = [0; ECHO_BYTES];
    loop {
        match stream.read_exact(&mut bytes) {
            Ok(()) => stream.write_all(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
