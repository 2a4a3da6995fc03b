use std::collections::BTreeMap;
use std::path::Path;

use crate::hub::Hub;
use crate::mistake::Mistake;

/// Flags that were checked against the table of the installed version. Only a check makes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    pub(crate) list: Vec<Flag>,
    /// Variables of the `ENV` of a config that may run code.
    pub(crate) env: BTreeMap<String, String>,
    /// The hub that the names were checked for, which the run asks and no other; `None` of a config that may run code.
    pub(crate) hub: Option<Hub>,
    /// Remarks to be told although nothing is wrong.
    pub(crate) notes: Vec<Mistake>,
    /// True if the recipe lets kernels of Hugging Face pass.
    pub(crate) may_take_kernels: bool,
}

/// A flag with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<String>,
    pub(crate) line: Option<usize>,
    /// The files and folders of this machine that it names as models or data.
    pub(crate) locals: Vec<(LocalKind, String)>,
}

/// What a file or folder of this machine is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalKind {
    /// A folder with a model.
    Model,
    /// A folder with an adapter of a model.
    Adapter,
    /// A folder with a checkpoint of Megatron.
    Megatron,
    /// A file or folder with data.
    Data,
}

/// A file or folder of this machine that is named as a model or as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local<'f> {
    /// The line of the config, from 1.
    pub line: Option<usize>,
    /// The key.
    pub key: &'f str,
    /// What it is to be.
    pub kind: LocalKind,
    /// Where it is.
    pub path: &'f Path,
    /// Where else it may be, first: ms-swift takes a value that is the name of a file for that, whatever signs are in it.
    pub before: Option<&'f Path>,
}

impl<'f> Local<'f> {
    /// Where it is on a disk that has some files.
    pub fn found(&self, exists: impl Fn(&Path) -> bool) -> &'f Path {
        let Some(said) = self.before else { return self.path };
        if exists(said) {
            return said;
        }
        let text = said.to_str().unwrap_or_default();
        let without_rows = text.rsplit_once('#').map(|(path, _)| Path::new(path));
        without_rows.filter(|path| exists(path)).unwrap_or(self.path)
    }
}

impl Flags {
    /// The flags, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.list.iter()
    }

    /// What whoever wrote the config is to be told although nothing is wrong: what was set aside, or read otherwise than it
    /// looks.
    pub fn notes(&self) -> impl Iterator<Item = &Mistake> {
        self.notes.iter()
    }

    /// The files and folders of this machine that are named as models or data: whoever has a disk looks whether they are
    /// there, before a run is started.
    pub fn locals(&self) -> impl Iterator<Item = Local<'_>> {
        self.list.iter().flat_map(|flag| {
            flag.locals.iter().map(|(kind, said)| {
                let path = match kind {
                    LocalKind::Data => crate::data_set::path(said),
                    _ => said,
                };
                let before = (path != said).then_some(Path::new(said));
                Local { line: flag.line, key: flag.name, kind: *kind, path: Path::new(path), before }
            })
        })
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
