//! Text to count, the same for the same seed.
#![allow(clippy::cast_possible_truncation, reason = "the low bits of a random number are what is wanted")]

/// A generator of numbers that is small, fast and good enough for text.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// The next one, below `limit`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

const SPACES: [&str; 9] = [" ", " ", " ", " ", "  ", "\t", "\x0b", "\x0c", " \t "];

/// A word: common ones are short and come often, and some have capitals or letters beyond ASCII.
fn push_word(text: &mut Vec<u8>, numbers: &mut Numbers) {
    let rank = match numbers.below(4) {
        0 => numbers.below(12),
        1 => numbers.below(300),
        2 => numbers.below(5_000),
        _ => numbers.below(40_000),
    };
    let mut letters = Numbers::new(rank.wrapping_mul(7_919) + 1);
    let capital = numbers.below(6) == 0;
    for index in 0..=((rank + 1).ilog2() + letters.below(5) as u32).max(1) {
        match letters.below(40) {
            0 => text.extend("é".as_bytes()),
            1 => text.extend("Ω".as_bytes()),
            2 => text.push(b'-'),
            other => text.push((if capital && index == 0 { b'A' } else { b'a' }) + (other % 26) as u8),
        }
    }
}

/// About `bytes` of lines of words, the last one ended.
#[must_use]
pub fn lines(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut text = Vec::with_capacity(bytes + 256);
    while text.len() < bytes {
        for _ in 0..numbers.below(14) {
            push_word(&mut text, &mut numbers);
            text.extend(SPACES[numbers.below(SPACES.len() as u64) as usize].as_bytes());
        }
        text.push(b'\n');
    }
    text
}

/// Exactly `bytes` of words with a space between them, and no line end.
#[must_use]
pub fn one_line(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        push_word(&mut text, &mut numbers);
        text.push(b' ');
    }
    text.truncate(bytes);
    text
}

/// Exactly `bytes` of anything at all, line ends among it.
#[must_use]
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    (0..bytes).map(|_| numbers.below(256) as u8).collect()
}

/// Exactly `bytes` of text that starts with `name` as its first word and ends its last line: a file that is a chunk of its own.
#[must_use]
pub fn named(name: &str, seed: u64, bytes: usize) -> Vec<u8> {
    let mut text = format!("{name}\n").into_bytes();
    let rest = bytes.saturating_sub(text.len() + 1);
    text.extend(one_line(seed, rest));
    text.push(b'\n');
    text
}
