use std::fs;
use std::path::Path;

use crate::Failure;

/// What a run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) job: String,
    pub(crate) attempt: u64,
    pub(crate) what: Moment,
    /// The number that stands in the commit that it ran.
    pub(crate) number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Another run of its group was alive when it began.
    Overlap,
    Begin,
    End,
}

/// All marks, in the order in which they were left.
pub(crate) fn read(path: &Path) -> Result<Vec<Mark>, Failure> {
    let text = fs::read_to_string(path)?;
    text.lines().map(|line| parse(line).ok_or_else(|| format!("no mark: `{line}`").into())).collect()
}

/// How many runs have ended.
pub(crate) fn count_ends(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.matches(" end ").count())
}

fn parse(line: &str) -> Option<Mark> {
    let mut words = line.split(' ');
    let (job, attempt) = words.next()?.rsplit_once('-')?;
    let what = match words.next()? {
        "overlap" => Moment::Overlap,
        "begin" => Moment::Begin,
        "end" => Moment::End,
        _ => return None,
    };
    let number = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Mark {
        job: job.to_owned(),
        attempt: attempt.parse().ok()?,
        what,
        number,
    })
}
