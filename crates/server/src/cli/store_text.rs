//! The store, as a person reads it.

use std::fmt::Write;

use crate::api::{PrunedView, StoreView};

pub(super) fn stats(store: &StoreView) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:18}{value}");
    };
    for counted in store.jobs.iter().filter(|counted| counted.count > 0) {
        line(&format!("jobs {}", counted.state), counted.count.to_string());
    }
    line("jobs in all", store.jobs.iter().map(|counted| counted.count).sum::<u64>().to_string());
    line("deliveries", store.deliveries.to_string());
    line("changes known", store.changes.to_string());
    for (name, time) in [("oldest delivery", &store.oldest), ("newest delivery", &store.newest)] {
        if let Some(time) = time {
            line(name, time.clone());
        }
    }
    if let Some(bytes) = store.bytes {
        line("on disk", size(bytes));
    }
    if let Some(schema) = store.schema {
        line("schema", schema.to_string());
    }
    text
}

pub(super) fn pruned(pruned: &PrunedView) -> String {
    let done = if pruned.dry_run { "would remove" } else { "removed" };
    let runs = pruned.runs.map_or(String::new(), |runs| format!(", {runs} directories of runs"));
    format!("{done} {} jobs, {} deliveries{runs}\n", pruned.jobs, pruned.deliveries)
}

/// A size for people: `12.3 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut rest = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if rest < 1_024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{rest:.1} {unit}") };
        }
        rest /= 1_024.0;
    }
    format!("{rest:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (7 << 40, "7.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
