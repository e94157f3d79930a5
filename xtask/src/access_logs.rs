//! Seeded access logs of several servers: the same bytes for the same numbers, on every machine.
//!
//! Each server has a folder of its own, `server-1` and so on, with its log of 25 hours as logrotate leaves it: the oldest third of the
//! lines in `access.log.2.zst`, the next in `access.log.1.gz`, the latest in `access.log`. The first hour belongs to the day before.
//!
//! A line is Apache's combined format with the time that the answer took, in microseconds, behind it (`%D`). One line in
//! [`BROKEN_ONE_IN`] is broken, in one of three ways: cut off, with a number that is none, with a byte that is not UTF-8.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Of so many lines one is broken.
const BROKEN_ONE_IN: u32 = 100;
/// Seconds that a log covers: the last hour of one day, and the next day.
const SPAN_SECONDS: u64 = 25 * 3_600;
/// The level of zstd, its default.
const ZSTD_LEVEL: i32 = 3;
/// Servers at most: their number is part of an address.
const SERVERS_MAX: u64 = 250;

/// What is asked for: the first part of the path, how often out of 100, and the microseconds that an answer takes at least.
const PATHS: [(&str, u32, u32); 7] = [
    ("static", 40, 300),
    ("search", 20, 20_000),
    ("cart", 15, 4_000),
    ("account", 10, 6_000),
    ("checkout", 6, 15_000),
    ("login", 5, 8_000),
    ("favicon.ico", 4, 150),
];

/// How the server answers, and how often out of 100.
const STATUSES: [(u16, u32); 5] = [(200, 86), (304, 6), (404, 5), (500, 2), (503, 1)];

/// The logs to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AccessLogs {
    servers: u64,
    lines: u64,
    seed: u64,
    output: PathBuf,
}

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    files: u64,
    lines: u64,
    truncated: u64,
    bad_numbers: u64,
    not_utf8: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, lines, truncated, bad_numbers, not_utf8 } = self;
        let broken = self.broken();
        write!(f, "{files} files, {lines} lines, {broken} of them broken: ")?;
        write!(f, "{truncated} cut off, {bad_numbers} with a number that is none, {not_utf8} not UTF-8")
    }
}

impl Written {
    /// Lines that nobody can read.
    pub(crate) const fn broken(&self) -> u64 {
        self.truncated + self.bad_numbers + self.not_utf8
    }
}

impl AccessLogs {
    /// From the command's arguments.
    pub(crate) fn from_args(args: &[String]) -> anyhow::Result<Self> {
        let (mut servers, mut lines, mut seed, mut output) = (None, None, None, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            let number = || {
                value.replace('_', "").parse::<u64>().with_context(|| format!("{arg}: `{value}` is not a whole number"))
            };
            match arg.as_str() {
                "--servers" => servers = Some(number()?),
                "--lines" => lines = Some(number()?),
                "--seed" => seed = Some(number()?),
                "--output" => output = Some(PathBuf::from(value)),
                other => bail!("`{other}` is none of --servers, --lines, --seed and --output"),
            }
        }
        let missing = |name| move || format!("{name} is missing");
        Ok(Self {
            servers: servers.with_context(missing("--servers"))?,
            lines: lines.with_context(missing("--lines"))?,
            seed: seed.with_context(missing("--seed"))?,
            output: output.with_context(missing("--output"))?,
        })
    }

    /// Writes them.
    pub(crate) fn write(&self) -> anyhow::Result<Written> {
        ensure!((1..=SERVERS_MAX).contains(&self.servers), "--servers is 1 to {SERVERS_MAX}");
        let mut written = Written::default();
        for server in 1..=self.servers {
            let folder = self.output.join(format!("server-{server}"));
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
            self.write_server(server, &folder, &mut written)?;
        }
        Ok(written)
    }

    fn write_server(&self, server: u64, folder: &Path, written: &mut Written) -> anyhow::Result<()> {
        let mut log =
            Log { random: fastrand::Rng::with_seed(self.seed.wrapping_add(server)), server, line: Vec::new() };
        let thirds = [("access.log.2.zst", 0), ("access.log.1.gz", 1), ("access.log", 2)];
        for (name, third) in thirds {
            let mut text = Vec::new();
            for index in self.lines * third / 3..self.lines * (third + 1) / 3 {
                // As even as whole seconds allow, without a product that could overflow.
                let second = u64::try_from(u128::from(index) * u128::from(SPAN_SECONDS) / u128::from(self.lines))?;
                log.next(second, written);
                text.extend_from_slice(&log.line);
                text.push(b'\n');
            }
            let path = folder.join(name);
            let at = || format!("failed to write {}", path.display());
            fs::write(&path, packed(text, name).with_context(at)?).with_context(at)?;
            written.files += 1;
        }
        Ok(())
    }
}

/// The text as the ending of its file's name says.
fn packed(text: Vec<u8>, name: &str) -> std::io::Result<Vec<u8>> {
    match name.rsplit_once('.') {
        Some((_, "zst")) => zstd::encode_all(text.as_slice(), ZSTD_LEVEL),
        Some((_, "gz")) => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&text)?;
            encoder.finish()
        }
        _ => Ok(text),
    }
}

/// A server's log, line by line.
struct Log {
    random: fastrand::Rng,
    server: u64,
    line: Vec<u8>,
}

impl Log {
    /// Makes the line of a second, counted from the start of the log, without its end.
    fn next(&mut self, second: u64, written: &mut Written) {
        let random = &mut self.random;
        let (path, _, micros_least) = drawn(random, &PATHS, |it| it.1);
        let (status, _) = drawn(random, &STATUSES, |it| it.1);
        // Twice as long half as often, and evenly between.
        let octave = random.u64(..).trailing_zeros().min(10);
        let micros = u64::from(micros_least) << octave;
        let micros = micros + random.u64(..micros);
        let (day, clock) = if second < 3_600 { (23, second + 23 * 3_600) } else { (24, second - 3_600) };
        let (hour, minute, second) = (clock / 3_600, clock / 60 % 60, clock % 60);
        let (client, item, bytes) = (random.u8(1..=254), random.u32(..10_000), random.u32(200..60_000));
        let line = format!(
            "203.0.113.{client} - - [{day}/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET /{path}/{item} HTTP/1.1\" \
             {status} {bytes} \"https://server-{}.example/\" \"Mozilla/5.0 (X11; Linux x86_64)\" {micros}",
            self.server
        );
        self.line = line.into_bytes();
        written.lines += 1;
        if self.random.u32(..BROKEN_ONE_IN) == 0 {
            self.spoil(written);
        }
    }

    /// Breaks the line.
    fn spoil(&mut self, written: &mut Written) {
        let last_space = self.line.iter().rposition(|byte| *byte == b' ').unwrap_or_default();
        match self.random.u8(..3) {
            0 => {
                // Somewhere before the time that the answer took: what is left of a number would still be one.
                self.line.truncate(self.random.usize(1..=last_space));
                written.truncated += 1;
            }
            1 => {
                self.line.insert(last_space + 2, b'x');
                written.bad_numbers += 1;
            }
            _ => {
                let path = self.line.iter().position(|byte| *byte == b'/').unwrap_or_default();
                self.line.insert(path + 1, 0xff);
                written.not_utf8 += 1;
            }
        }
    }
}

/// One of several, each as often out of 100 as it says.
fn drawn<T: Copy + Default>(random: &mut fastrand::Rng, all: &[T], share: impl Fn(&T) -> u32) -> T {
    let mut left = random.u32(..100);
    let found = all.iter().find(|it| match left.checked_sub(share(it)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    found.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn write(servers: u64, lines: u64, seed: u64) -> (Written, BTreeMap<String, Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let written = AccessLogs { servers, lines, seed, output: folder.path().to_owned() }.write().unwrap();
        let mut files = BTreeMap::new();
        for server in fs::read_dir(folder.path()).unwrap() {
            for file in fs::read_dir(server.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
        (written, files)
    }

    fn unpacked(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        if name.ends_with(".gz") {
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).unwrap();
        } else if name.ends_with(".zst") {
            text = zstd::decode_all(bytes).unwrap();
        } else {
            text = bytes.to_owned();
        }
        text
    }

    #[test]
    fn every_server_has_its_lines_in_three_files_and_one_in_a_hundred_is_broken() {
        let (written, files) = write(3, 20_000, 1);
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names[..3], ["server-1/access.log", "server-1/access.log.1.gz", "server-1/access.log.2.zst"]);
        let texts: Vec<Vec<u8>> = files.iter().map(|(name, bytes)| unpacked(name, bytes)).collect();
        let lines: Vec<&[u8]> =
            texts.iter().flat_map(|it| it.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n')).collect();
        assert_eq!((written.files, written.lines, lines.len()), (9, 60_000, 60_000));
        assert_eq!(lines.iter().filter(|it| std::str::from_utf8(it).is_err()).count() as u64, written.not_utf8);
        let last = |line: &[u8]| line.rsplit(|byte| *byte == b' ').next().unwrap().to_owned();
        let spoilt =
            lines.iter().filter(|it| last(it).first().is_some_and(u8::is_ascii_digit) && last(it).contains(&b'x'));
        assert_eq!(spoilt.count() as u64, written.bad_numbers);
        assert!((500..700).contains(&written.broken()), "{written}");
        assert!([written.truncated, written.bad_numbers, written.not_utf8].iter().all(|it| *it > 150), "{written}");
        let days = |day: &str| lines.iter().filter(|it| String::from_utf8_lossy(it).contains(day)).count();
        assert!((2_300..2_400).contains(&days("[23/Nov/2026:23:")), "the hour before: {}", days("[23/Nov/2026:23:"));
    }

    #[test]
    fn the_same_numbers_give_the_same_logs_and_other_seeds_and_servers_others() {
        let (written, files) = write(2, 900, 7);
        assert_eq!((&written, &files), (&write(2, 900, 7).0, &write(2, 900, 7).1));
        assert_ne!(files, write(2, 900, 8).1);
        assert_ne!(files["server-1/access.log"], files["server-2/access.log"]);
    }

    #[test]
    fn the_logs_of_a_seed_stay_what_they_are_between_versions() {
        let (written, files) = write(1, 3_000, 7);
        assert_eq!(
            written.to_string(),
            "3 files, 3000 lines, 27 of them broken: 16 cut off, 9 with a number that is none, 2 not UTF-8"
        );
        let latest = String::from_utf8_lossy(&files["server-1/access.log"]);
        assert_eq!(
            (latest.len(), latest.lines().last()),
            (
                150_603,
                Some(
                    "203.0.113.2 - - [24/Nov/2026:23:59:30 +0000] \"GET /cart/104 HTTP/1.1\" 200 56207 \
                     \"https://server-1.example/\" \"Mozilla/5.0 (X11; Linux x86_64)\" 5532"
                )
            )
        );
    }

    #[test]
    fn arguments_are_read_and_what_is_wrong_with_them_is_named() {
        let read = |text: &str| AccessLogs::from_args(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let logs = read("--servers 3 --lines 10_000 --seed 1 --output d").unwrap();
        assert_eq!(logs, AccessLogs { servers: 3, lines: 10_000, seed: 1, output: "d".into() });
        for (wrong, named) in [
            ("--servers 3 --lines 1 --seed 1", "--output is missing"),
            ("--lines -1", "--lines: `-1` is not a whole number"),
            ("--bytes 1", "`--bytes` is none"),
            ("--seed", "--seed needs a value"),
        ] {
            assert!(read(wrong).unwrap_err().to_string().starts_with(named), "{wrong}");
        }
        assert!(read("--servers 0 --lines 1 --seed 1 --output /nowhere").unwrap().write().is_err());
    }
}
