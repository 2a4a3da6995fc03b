use crate::hub::Hub;

/// A data set as ms-swift's command line has it: `hf::id:subset1/subset2#count`, of which only the id, or in its place
/// a path, has to be there.
///
/// See `DatasetSyntax` in ms-swift, which takes the whole for a path first if there is such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataSet<'v> {
    /// The hub of its prefix, which beats `use_hf` and `USE_HF`.
    pub(crate) hub: Option<Hub>,
    /// The id, or a path.
    pub(crate) name: &'v str,
    /// Rows that it is to have, if it says so.
    pub(crate) rows: Option<u64>,
}

/// The path in a value that names one, without subsets and a number of rows.
pub(crate) fn path(value: &str) -> &str {
    let path = value.rsplit_once('#').map_or(value, |(path, _)| path);
    path.split_once(':').map_or(path, |(path, _)| path)
}

impl<'v> DataSet<'v> {
    /// Reads it, or says what is wrong.
    pub(crate) fn read(value: &'v str) -> Result<Self, String> {
        let (hub, value) = match value.split_once("::") {
            Some((prefix, rest)) => match Hub::of_prefix(&prefix.to_ascii_lowercase()) {
                Some(hub) => (Some(hub), rest),
                None => return Err("before `::` stands a hub: `hf` or `ms`".to_owned()),
            },
            None => (None, value),
        };
        let (value, rows) = match value.rsplit_once('#') {
            Some((value, count)) => (value, Some(counted(count)?)),
            None => (value, None),
        };
        match value.split_once(':') {
            Some((name, subsets)) => {
                let is_plain = |part: &str| crate::allowed::is_word(part) && part != "." && part != "..";
                let is_plain = subsets.split('/').all(is_plain);
                is_plain
                    .then_some(Self { hub, name, rows })
                    .ok_or_else(|| "its subsets are no plain names".to_owned())
            }
            None => Ok(Self { hub, name: value, rows }),
        }
    }
}

/// More rows than a data set has are made by repeating it, so that the number alone can fill a disk.
fn counted(count: &str) -> Result<u64, String> {
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    match count.parse::<u64>() {
        Ok(count) if is_number && count <= MOST_ROWS => Ok(count),
        _ => Err(format!("after `#` stands a number of rows, from 0 to {MOST_ROWS}")),
    }
}

/// Most rows that the counts of one config may add up to.
pub(crate) const MOST_ROWS: u64 = 10_000_000;
