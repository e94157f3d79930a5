//! Medians and quartiles.

/// The middle of some numbers, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The distance between the quartiles.
    pub iqr: f64,
}

/// The spread of some numbers; not a number where there are none.
#[must_use]
pub fn spread(mut numbers: Vec<f64>) -> Spread {
    numbers.sort_by(f64::total_cmp);
    let quartile = |quarters| quantile(&numbers, quarters);
    Spread { median: quartile(2), iqr: quartile(3) - quartile(1) }
}

/// The number at so many quarters of the sorted ones, linear between neighbours.
fn quantile(sorted: &[f64], quarters: usize) -> f64 {
    let place = sorted.len().saturating_sub(1) * quarters;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place / 4), at(place / 4 + 1));
    let between = match place % 4 {
        0 => 0.0,
        1 => 0.25,
        2 => 0.5,
        _ => 0.75,
    };
    low + (high - low) * between
}
