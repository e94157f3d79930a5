//! Words of a byte string: maximal runs of bytes that are not ASCII white space.

/// Whether `byte` is ASCII white space: space, `\t`, `\n`, `\v`, `\f` or `\r`.
#[inline]
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// The words of `bytes`, in order. No word is empty; bytes that are not white space stay as they are, invalid UTF-8 included.
///
/// ```
/// let found: Vec<&[u8]> = elastic_flow_dataflow::text::words(b" to be\x0bor\r\n").collect();
/// assert_eq!(found, [b"to".as_slice(), b"be", b"or"]);
/// ```
#[inline]
#[must_use]
pub const fn words(bytes: &[u8]) -> Words<'_> {
    Words { rest: bytes }
}

/// What [`words`] gives.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|&byte| !is_space(byte))?;
        let (_, from_start) = self.rest.split_at_checked(start)?;
        let end = from_start.iter().position(|&byte| is_space(byte)).unwrap_or(from_start.len());
        let (word, rest) = from_start.split_at_checked(end)?;
        self.rest = rest;
        Some(word)
    }
}

/// Lowers ASCII letters of byte strings, with room that it uses again.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    long: Vec<u8>,
}

/// Up to this many bytes are lowered on the stack.
const SHORT_BYTES_MAX: usize = 32;

impl Lowering {
    /// Calls `f` with the lowered `bytes`.
    #[inline]
    pub(crate) fn with<R>(&mut self, bytes: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
        let mut short = [0_u8; SHORT_BYTES_MAX];
        if let Some(lowered) = short.get_mut(..bytes.len()) {
            for (to, from) in lowered.iter_mut().zip(bytes) {
                *to = from.to_ascii_lowercase();
            }
            return f(lowered);
        }
        self.long.clear();
        self.long.extend_from_slice(bytes);
        self.long.make_ascii_lowercase();
        f(&self.long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_what_a_split_on_white_space_leaves(bytes in proptest::collection::vec(prop_oneof![
            Just(b' '), Just(b'\t'), Just(b'\n'), Just(0x0b), Just(0x0c), Just(b'\r'), any::<u8>(), b'a'..=b'z',
        ], 0..200)) {
            let spaces = b" \t\n\x0b\x0c\r";
            let expected: Vec<&[u8]> = bytes.split(|byte| spaces.contains(byte)).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(words(&bytes).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn lowering_equals_the_standard_librarys(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut lowering = Lowering::default();
            prop_assert_eq!(lowering.with(&bytes, <[u8]>::to_vec), bytes.to_ascii_lowercase());
        }
    }
}
