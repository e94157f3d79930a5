//! Windows: where a chunk may end.
//!
//! A window is a function over two neighbouring items that says whether they belong to different windows. Cutters aim at the same
//! sizes with it and without: it moves a cut forward to the next place that it allows, so that consecutive items of one window
//! are in one chunk. What is cut is decided on the master, once; a worker sees an ordinary chunk.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use elastic_flow_wire::batch::EMPTY_ROWS_MAX;
use elastic_flow_wire::codec::DATA_BYTES_MAX;

use super::SourceError;
use crate::text::Text;

/// The largest chunk that a window makes where the data itself travels: the largest payload in one piece. In a range, whose numbers
/// count 8 bytes each, a window reaches at most so far beyond the size that was aimed at.
pub const WINDOW_BYTES_MAX: u64 = DATA_BYTES_MAX as u64;

/// What the lines of a file are, for a window.
pub(super) const LINES: &str = "lines, which are [u8]";

/// A function under a name that says where a chunk may end.
///
/// It is over items of one type: over `[u8]` for lines of files and of standard input, which are handed to it without their line
/// end, over `u64` for ranges, else over the items of the iterator. One over `[u8]` takes iterators of [`Text`], `String` and
/// `Vec<u8>`, too.
///
/// ```
/// use elastic_flow_dataflow::source::Window;
///
/// // A line starts with its time: 2024-05-01T13:37:00
/// let by_hour = Window::new("by_hour", |before: &[u8], after: &[u8]| before.get(..13) != after.get(..13));
/// let lines = by_hour.over_lines().ok_or("not over lines")?;
/// assert!(lines.ends_between(b"2024-05-01T13:59:59 GET /", b"2024-05-01T14:00:00 GET /"));
/// assert!(!lines.ends_between(b"2024-05-01T13:37:00 GET /", b"2024-05-01T13:59:59 GET /"));
/// assert!(by_hour.over_items::<u64>().is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone)]
pub struct Window {
    name: Arc<str>,
    over: &'static str,
    /// A [`TypedWindow`] over that type.
    typed: Arc<dyn Any + Send + Sync>,
}

impl Window {
    /// A window that ends between `before` and `after` where `ends(before, after)` is true.
    ///
    /// The same two items have to give the same answer each time; a panic fails the step.
    #[must_use]
    pub fn new<T: ?Sized + 'static>(name: &str, ends: impl Fn(&T, &T) -> bool + Send + Sync + 'static) -> Self {
        let name: Arc<str> = name.into();
        let typed = TypedWindow { name: Arc::clone(&name), ends: Arc::new(ends) };
        Self { name, over: type_name::<T>(), typed: Arc::new(typed) }
    }

    /// The name that it is registered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the items that it is over.
    #[must_use]
    pub const fn over(&self) -> &'static str {
        self.over
    }

    /// The function, if it is over the lines of a text.
    #[must_use]
    pub fn over_lines(&self) -> Option<TypedWindow<[u8]>> {
        self.exactly()
    }

    /// The function, if it is over items of `T`, or over bytes where `T` is a string of them.
    #[must_use]
    pub fn over_items<T: 'static>(&self) -> Option<TypedWindow<T>> {
        self.exactly().or_else(|| {
            let lines = self.over_lines().filter(|_| is_bytes::<T>())?;
            let ends = move |before: &T, after: &T| match (bytes_of(before), bytes_of(after)) {
                (Some(before), Some(after)) => lines.ends_between(before, after),
                // No such item: its type was looked at.
                _ => false,
            };
            Some(TypedWindow { name: Arc::clone(&self.name), ends: Arc::new(ends) })
        })
    }

    fn exactly<T: ?Sized + 'static>(&self) -> Option<TypedWindow<T>> {
        self.typed.downcast_ref::<TypedWindow<T>>().cloned()
    }

    /// The error for a source, by its name, that gives something else.
    pub(super) fn misfit(&self, source: String, gives: &'static str) -> SourceError {
        SourceError::WindowType { window: self.name().to_owned(), over: self.over, name: source, gives }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("name", &self.name).field("over", &self.over).finish_non_exhaustive()
    }
}

/// Whether a window ends between two neighbours.
type Ends<T> = dyn Fn(&T, &T) -> bool + Send + Sync;

/// A [`Window`] whose type is known.
pub struct TypedWindow<T: ?Sized> {
    name: Arc<str>,
    ends: Arc<Ends<T>>,
}

impl<T: ?Sized> TypedWindow<T> {
    /// Whether a window ends between these two, so that a chunk may.
    #[must_use]
    pub fn ends_between(&self, before: &T, after: &T) -> bool {
        (self.ends)(before, after)
    }

    /// The error for a window of the source `name` that is too long: it goes on from the `unit` that is number `at`.
    #[must_use]
    pub fn too_long(&self, name: String, unit: &'static str, at: u64) -> SourceError {
        SourceError::WindowTooLong { window: (*self.name).to_owned(), name, unit, at, limit_bytes: WINDOW_BYTES_MAX }
    }
}

impl<T: ?Sized> Clone for TypedWindow<T> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), ends: Arc::clone(&self.ends) }
    }
}

impl<T: ?Sized> fmt::Debug for TypedWindow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedWindow").field("name", &self.name).field("over", &type_name::<T>()).finish_non_exhaustive()
    }
}

/// Whether an encoded batch is larger than a window may make it. Items that take no byte are bounded by their number.
pub(super) const fn is_too_large(bytes: u64, items: u64) -> bool {
    bytes > WINDOW_BYTES_MAX || (items > EMPTY_ROWS_MAX && items > bytes)
}

fn is_bytes<T: 'static>() -> bool {
    [TypeId::of::<Text>(), TypeId::of::<String>(), TypeId::of::<Vec<u8>>()].contains(&TypeId::of::<T>())
}

fn bytes_of<T: 'static>(item: &T) -> Option<&[u8]> {
    let item: &dyn Any = item;
    let text = item.downcast_ref::<Text>().map(Text::as_bytes);
    text.or_else(|| item.downcast_ref::<String>().map(String::as_bytes))
        .or_else(|| item.downcast_ref::<Vec<u8>>().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_serves_items_of_its_type_and_no_other() {
        let numbers = Window::new("tens", |before: &u64, after: &u64| before / 10 != after / 10);
        let typed = numbers.over_items::<u64>().unwrap();
        assert!(typed.ends_between(&9, &10) && !typed.ends_between(&10, &11));
        assert!(numbers.over_items::<u32>().is_none() && numbers.over_lines().is_none());
        assert_eq!((numbers.name(), numbers.over()), ("tens", "u64"));
    }

    #[test]
    fn a_window_over_bytes_serves_lines_and_every_string_of_bytes() {
        fn by_letter(before: &[u8], after: &[u8]) -> bool {
            before.first() != after.first()
        }
        let window = Window::new("by_letter", by_letter);
        assert!(window.over_lines().unwrap().ends_between(b"ab", b"ba"));
        let texts = window.over_items::<Text>().unwrap();
        assert!(texts.ends_between(&"ab".into(), &"ba".into()) && !texts.ends_between(&"ab".into(), &"aa".into()));
        let strings = window.over_items::<String>().unwrap();
        assert!(strings.ends_between(&"ab".into(), &"ba".into()) && !strings.ends_between(&"ab".into(), &"aa".into()));
        let bytes = window.over_items::<Vec<u8>>().unwrap();
        assert!(bytes.ends_between(&b"ab".into(), &b"ba".into()) && !bytes.ends_between(&b"ab".into(), &b"aa".into()));
        assert!(window.over_items::<u8>().is_none());
    }
}
