use std::collections::BTreeMap;
use std::path::Path;

/// Flags that were checked against the table of the installed version. Only a check makes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    pub(crate) list: Vec<Flag>,
    /// Variables of the `ENV` of a config that may run code.
    pub(crate) env: BTreeMap<String, String>,
}

/// A flag with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<String>,
    pub(crate) line: Option<usize>,
    /// The files and folders of this machine that it names as models or data.
    pub(crate) paths: Vec<String>,
}

impl Flags {
    /// The flags, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.list.iter()
    }

    /// The files and folders of this machine that are named as models or data, with the line: whoever has a disk looks
    /// whether they are there, before a run is started.
    pub fn paths(&self) -> impl Iterator<Item = (Option<usize>, &Path)> {
        self.list.iter().flat_map(|flag| flag.paths.iter().map(|path| (flag.line, Path::new(path))))
    }

    /// The value of a flag that has one.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let flag = self.list.iter().find(|flag| flag.name == name)?;
        flag.values.first().map(String::as_str)
    }
}

impl Flag {
    /// Its name, without `--`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Its values; more than one only for flags that take a list.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Its arguments.
    ///
    /// One value goes into one argument with its flag, so that it can never be taken for a flag itself. Of several
    /// values, which have to be arguments of their own, the check has seen to it that none begins with `-`.
    pub(crate) fn add_to(&self, argv: &mut Vec<String>) {
        match &*self.values {
            [value] => argv.push(format!("--{}={value}", self.name)),
            values => {
                argv.push(format!("--{}", self.name));
                argv.extend(values.iter().cloned());
            }
        }
    }
}
