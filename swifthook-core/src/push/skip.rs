/// Tells whether a commit message asks that nothing be run for it
/// (<https://docs.github.com/en/actions/managing-workflow-runs/skipping-workflow-runs>).
#[must_use]
pub fn asks_to_skip(message: &str) -> bool {
    let may_be_marked = message.contains('[');
    may_be_marked && MARKERS.iter().any(|marker| message.contains(marker)) || has_trailer(message)
}

/// Whether the message ends with the trailer `skip-checks: true`. A subject is no trailer.
fn has_trailer(message: &str) -> bool {
    let Some((_, last)) = message.trim_ascii_end().rsplit_once('\n') else {
        return false;
    };
    let trailer = last.split_once(':').map(|(key, value)| (key.trim_ascii(), value.trim_ascii()));
    trailer.is_some_and(|(key, value)| key.eq_ignore_ascii_case("skip-checks") && value == "true")
}

const MARKERS: [&str; 6] =
    ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]", "[skip train]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_count_anywhere_and_the_trailer_only_at_the_end() {
        for (message, skips) in [
            ("tune", false),
            ("", false),
            ("wip [skip ci]", true),
            ("[ci skip] wip", true),
            ("wip\n\nbody [no ci] more", true),
            ("[skip actions]", true),
            ("[actions skip]", true),
            ("[skip train]", true),
            ("skip ci", false),
            ("[skip  ci]", false),
            ("wip\n\n\nskip-checks: true", true),
            ("wip\n\n\nskip-checks:true\n", true),
            ("wip\r\n\r\nCo-authored-by: A <a@example.org>\r\nSkip-Checks: true\r\n", true),
            ("wip\n\nskip-checks: true\nSigned-off-by: A <a@example.org>", false),
            ("wip\n\nskip-checks: false", false),
            ("skip-checks: true", false),
            ("wip\n\nsays skip-checks: true", false),
        ] {
            assert_eq!(asks_to_skip(message), skips, "{message}");
        }
    }
}
