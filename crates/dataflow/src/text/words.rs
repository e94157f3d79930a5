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

impl<'a> Words<'a> {
    #[inline]
    fn next_span(&mut self) -> Option<Span<'a>> {
        let start = self.rest.iter().position(|&byte| !is_space(byte))?;
        let (_, tail) = self.rest.split_at_checked(start)?;
        let len = tail.iter().position(|&byte| is_space(byte)).unwrap_or(tail.len());
        self.rest = tail.get(len..).unwrap_or_default();
        Some(Span { tail, len })
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_span().map(Span::bytes)
    }
}

/// A byte string with what stands behind it: copies of fixed length are cheaper than exact ones, and may take bytes from there.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    tail: &'a [u8],
    len: usize,
}

impl<'a> Span<'a> {
    /// The first `len` bytes of `tail`.
    #[inline]
    #[must_use]
    pub const fn new(tail: &'a [u8], len: usize) -> Self {
        Self { tail, len }
    }

    /// All of `bytes`.
    #[inline]
    #[must_use]
    pub const fn whole(bytes: &'a [u8]) -> Self {
        Self { tail: bytes, len: bytes.len() }
    }

    /// The byte string itself.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.tail.get(..self.len).unwrap_or(self.tail)
    }
}

/// Folds the words of `bytes`.
#[inline]
pub(crate) fn fold_spans<A>(bytes: &[u8], acc: A, f: &mut impl FnMut(A, Span<'_>) -> A) -> A {
    let mut words = words(bytes);
    let mut acc = acc;
    while let Some(span) = words.next_span() {
        acc = f(acc, span);
    }
    acc
}

/// Lowers ASCII letters of byte strings, with room that it uses again.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    long: Vec<u8>,
}

/// Up to this many bytes are lowered on the stack, all at once.
const SHORT_BYTES_MAX: usize = 32;

impl Lowering {
    /// Calls `f` with the lowered bytes of `span`.
    #[inline]
    pub(crate) fn with<R>(&mut self, span: Span<'_>, f: impl FnOnce(Span<'_>) -> R) -> R {
        if span.len <= SHORT_BYTES_MAX
            && let Some(chunk) = span.tail.first_chunk::<SHORT_BYTES_MAX>()
        {
            let mut lowered = *chunk;
            lowered.make_ascii_lowercase();
            return f(Span { tail: &lowered, len: span.len });
        }
        self.long.clear();
        self.long.extend_from_slice(span.bytes());
        self.long.make_ascii_lowercase();
        f(Span::whole(&self.long))
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
        fn lowering_equals_the_standard_librarys(bytes in proptest::collection::vec(any::<u8>(), 0..100), len in 0_usize..100) {
            let len = len.min(bytes.len());
            let mut lowering = Lowering::default();
            let lowered = lowering.with(Span::new(&bytes, len), |span| span.bytes().to_vec());
            prop_assert_eq!(lowered, bytes[..len].to_ascii_lowercase());
        }
    }
}
