//! Seeded text of any size: the same bytes for the same numbers, on every machine.
//!
//! Words are made from syllables: the more frequent, the shorter. The frequency of the word of rank k falls as 1/k, as in human
//! language (Zipf), by integer arithmetic alone. Each word comes at least once.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// A line ends after the word with which it reaches so many bytes.
const LINE_BYTES: usize = 80;
/// Consonants and vowels whose pairs are the syllables.
const CONSONANTS: &[u8; 21] = b"bcdfghjklmnpqrstvwxyz";
const VOWELS: &[u8; 5] = b"aeiou";
/// Syllables that there are.
const SYLLABLES: u64 = 105;
/// Words of one to four syllables.
const DISTINCT_MAX: u64 = SYLLABLES + SYLLABLES.pow(2) + SYLLABLES.pow(3) + SYLLABLES.pow(4);

/// A text to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Corpus {
    bytes: u64,
    distinct: u64,
    seed: u64,
    output: PathBuf,
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    bytes: u64,
    words: u64,
    distinct: u64,
    lines: u64,
    crc32: u32,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, words, distinct, lines, crc32 } = self;
        write!(f, "{bytes} bytes, {words} words, {distinct} distinct, {lines} lines, crc32 {crc32:08x}")
    }
}

impl Corpus {
    /// From the command's arguments.
    pub(crate) fn from_args(args: &[String]) -> anyhow::Result<Self> {
        let (mut bytes, mut distinct, mut seed, mut output) = (None, None, None, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            let number = || {
                value.replace('_', "").parse::<u64>().with_context(|| format!("{arg}: `{value}` is not a whole number"))
            };
            match arg.as_str() {
                "--bytes" => bytes = Some(number()?),
                "--distinct" => distinct = Some(number()?),
                "--seed" => seed = Some(number()?),
                "--output" => output = Some(PathBuf::from(value)),
                other => bail!("`{other}` is none of --bytes, --distinct, --seed and --output"),
            }
        }
        let missing = |name| move || format!("{name} is missing");
        Ok(Self {
            bytes: bytes.with_context(missing("--bytes"))?,
            distinct: distinct.with_context(missing("--distinct"))?,
            seed: seed.with_context(missing("--seed"))?,
            output: output.with_context(missing("--output"))?,
        })
    }

    /// Writes it.
    pub(crate) fn write(&self) -> anyhow::Result<Written> {
        let at = || format!("failed to write {}", self.output.display());
        let file = File::create(&self.output).with_context(at)?;
        let mut out = Out { file, crc: crc32fast::Hasher::new(), buffer: Vec::with_capacity(BUFFER_BYTES), flushed: 0 };
        let (words, lines) = self.generate(&mut out)?;
        out.flush().with_context(at)?;
        Ok(Written { bytes: out.flushed, words, distinct: self.distinct, lines, crc32: out.crc.finalize() })
    }

    /// Fills `out` with exactly `self.bytes` bytes; returns words and lines.
    fn generate(&self, out: &mut Out) -> anyhow::Result<(u64, u64)> {
        ensure!((1..=DISTINCT_MAX).contains(&self.distinct), "--distinct is not from 1 to {DISTINCT_MAX}");
        let once: u64 = bytes_of_each_once(self.distinct);
        ensure!(self.bytes > once, "{} distinct words need at least {} bytes; raise --bytes", self.distinct, once + 1);
        let mut random = fastrand::Rng::with_seed(self.seed);
        let syllables = syllables(&mut random);
        let octaves = octaves(self.distinct);
        // A sweep through all words, spread over the first half where there is room, so that each comes once.
        let stride = (self.bytes / once / 2).clamp(1, 64);
        let (mut words, mut lines, mut line_bytes, mut swept, mut left) = (0, 0, 0, 0, self.bytes);
        loop {
            let rank = if swept < self.distinct && words % stride == 0 {
                swept += 1;
                swept - 1
            } else {
                zipf(random.u64(..), octaves).min(self.distinct - 1)
            };
            let word = Word::of(rank, &syllables);
            let with_end = word.bytes as u64 + 1;
            if left < with_end {
                break;
            }
            line_bytes += word.bytes + 1;
            let ends = line_bytes >= LINE_BYTES || left == with_end;
            word.push(&mut out.buffer, if ends { b'\n' } else { b' ' });
            if ends {
                (lines, line_bytes) = (lines + 1, 0);
            }
            words += 1;
            left -= with_end;
            if out.buffer.len() >= BUFFER_BYTES - size_of::<u128>() {
                out.flush().with_context(|| format!("failed to write {}", self.output.display()))?;
            }
        }
        // What is left is too short for the word that came: white space is no word.
        if left > 0 {
            out.buffer.extend((1..left).map(|_| b' '));
            out.buffer.push(b'\n');
            lines += 1;
        }
        Ok((words, lines))
    }
}

/// The file, with the checksum of what went into it.
struct Out {
    file: File,
    crc: crc32fast::Hasher,
    buffer: Vec<u8>,
    flushed: u64,
}

impl Out {
    fn flush(&mut self) -> std::io::Result<()> {
        self.crc.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Every syllable as two bytes, the first letter in the lower one, in an order of its seed's own.
fn syllables(random: &mut fastrand::Rng) -> Vec<u16> {
    let pairs = CONSONANTS.iter().flat_map(|first| VOWELS.iter().map(|second| u16::from_le_bytes([*first, *second])));
    let mut syllables: Vec<_> = pairs.collect();
    random.shuffle(&mut syllables);
    syllables
}

/// A word in one register: its first letter in the lowest byte.
struct Word {
    letters: u128,
    bytes: usize,
}

impl Word {
    /// The word of rank `rank`, from 0: bijective numeration, so that no two ranks give the same word.
    fn of(mut rank: u64, syllables: &[u16]) -> Self {
        let mut word = Self { letters: 0, bytes: 0 };
        loop {
            let digit = usize::try_from(rank % SYLLABLES).unwrap_or_default();
            let syllable = syllables.get(digit).copied().unwrap_or_default();
            word.letters |= u128::from(syllable) << (8 * word.bytes);
            word.bytes += 2;
            match (rank / SYLLABLES).checked_sub(1) {
                Some(rest) => rank = rest,
                None => return word,
            }
        }
    }

    /// Appends it and `end`. Copies a whole register and takes back what is too much: a copy of known length is one instruction.
    fn push(&self, buffer: &mut Vec<u8>, end: u8) {
        let length = buffer.len() + self.bytes + 1;
        buffer.extend_from_slice(&(self.letters | u128::from(end) << (8 * self.bytes)).to_le_bytes());
        buffer.truncate(length);
    }
}

/// Bytes of all words once, with a byte between them.
fn bytes_of_each_once(distinct: u64) -> u64 {
    let (mut left, mut of_length, mut length, mut bytes) = (distinct, SYLLABLES, 2, 0);
    while left > 0 {
        let count = left.min(of_length);
        bytes += count * (length + 1);
        left -= count;
        of_length *= SYLLABLES;
        length += 2;
    }
    bytes
}

/// The logarithm of `distinct + 1` to base 2, linear between powers, with 32 bits behind the point.
fn octaves(distinct: u64) -> u64 {
    let beyond = distinct + 1;
    let whole = u64::from(beyond.ilog2());
    (whole << 32) + (((beyond - (1 << whole)) << 32) >> whole)
}

/// A rank from 0, from a random number: each octave of ranks is as likely as the next.
fn zipf(random: u64, octaves: u64) -> u64 {
    let product = u128::from(random) * u128::from(octaves);
    let exponent = u64::try_from(product >> 64).unwrap_or(u64::MAX);
    let (whole, fraction) = (exponent >> 32, exponent & 0xffff_ffff);
    (1 << whole) - 1 + ((fraction << whole) >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn text(bytes: u64, distinct: u64, seed: u64) -> (Written, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("corpus");
        let written = Corpus { bytes, distinct, seed, output: output.clone() }.write().unwrap();
        (written, std::fs::read(output).unwrap())
    }

    fn counts(text: &[u8]) -> BTreeMap<&[u8], u64> {
        let mut counts = BTreeMap::new();
        for word in text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            *counts.entry(word).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_text_has_the_bytes_words_lines_and_checksum_that_are_told() {
        for (bytes, distinct) in [(5, 1), (1_000, 7), (100_003, 2_000), (3_000_001, 30_000)] {
            let (written, text) = text(bytes, distinct, 42);
            let counts = counts(&text);
            let found = Written {
                bytes: text.len() as u64,
                words: counts.values().sum(),
                distinct: counts.len() as u64,
                lines: text.iter().filter(|byte| **byte == b'\n').count() as u64,
                crc32: crc32fast::hash(&text),
            };
            assert_eq!(written, found);
            assert_eq!((found.bytes, found.distinct, text.last()), (bytes, distinct, Some(&b'\n')));
            assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES + 10));
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_text_and_another_seed_another() {
        assert_eq!(text(50_000, 500, 1), text(50_000, 500, 1));
        assert_ne!(text(50_000, 500, 1).0.crc32, text(50_000, 500, 2).0.crc32);
    }

    #[test]
    fn the_text_of_a_seed_stays_what_it_is_between_versions() {
        assert_eq!(
            text(100_000, 1_000, 7).0.to_string(),
            "100000 bytes, 26992 words, 1000 distinct, 1228 lines, crc32 059776c2"
        );
    }

    #[test]
    fn frequencies_fall_as_in_language() {
        let (_, text) = text(2_000_000, 4_000, 3);
        let mut counts: Vec<_> = counts(&text).into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let share = |ranks: usize| counts.iter().take(ranks).sum::<u64>() as f64 / counts.iter().sum::<u64>() as f64;
        assert!((0.05..0.12).contains(&share(1)), "{}", share(1));
        assert!((0.4..0.7).contains(&share(100)), "{}", share(100));
    }

    #[test]
    fn ranks_cover_their_range_and_no_more() {
        for distinct in [1, 2, 3, 104, 105, 4_095, 4_096, 500_000] {
            let octaves = octaves(distinct);
            assert_eq!(zipf(0, octaves), 0);
            let last = zipf(u64::MAX, octaves);
            assert!((distinct - 1..=distinct).contains(&last) || distinct < 3, "{distinct}: {last}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_met_are_refused_with_what_would_do() {
        let corpus = |bytes, distinct| Corpus { bytes, distinct, seed: 1, output: "/dev/null".into() };
        let error = corpus(15, 5).write().unwrap_err().to_string();
        assert_eq!(error, "5 distinct words need at least 16 bytes; raise --bytes");
        assert!(corpus(16, 5).write().is_ok());
        assert!(corpus(1 << 40, 0).write().is_err());
        assert!(corpus(1 << 40, DISTINCT_MAX + 1).write().is_err());
    }

    #[test]
    fn arguments_are_read_and_what_is_wrong_with_them_is_named() {
        let read = |text: &str| Corpus::from_args(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let corpus = read("--bytes 4_294_967_296 --distinct 500000 --seed 1 --output f").unwrap();
        assert_eq!(corpus, Corpus { bytes: 1 << 32, distinct: 500_000, seed: 1, output: "f".into() });
        for (wrong, named) in [
            ("--bytes 1 --distinct 1 --seed 1", "--output is missing"),
            ("--bytes -1", "--bytes: `-1` is not a whole number"),
            ("--bits 1", "`--bits` is none"),
            ("--seed", "--seed needs a value"),
        ] {
            assert!(read(wrong).unwrap_err().to_string().starts_with(named), "{wrong}");
        }
    }
}
