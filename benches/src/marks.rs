//! Whether a mark is reached.

/// Tells whether a mark is reached.
#[expect(clippy::print_stdout, reason = "the figures are what a benchmark is for")]
#[must_use]
pub fn mark(name: &str, is_reached: bool) -> bool {
    println!("  {} {name}", if is_reached { "reached:" } else { "MISSED: " });
    is_reached
}

/// The number in the middle, or the mean of the two that are.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len().is_multiple_of(2) {
        true => f64::midpoint(numbers[middle - 1], numbers[middle]),
        false => numbers[middle],
    }
}
