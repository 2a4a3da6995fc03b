use std::fmt;
use std::str::FromStr;

/// A hub of models and data sets. An id means nothing without one: `acme/x` may be anybody's on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hub {
    /// <https://modelscope.cn>, which ms-swift asks unless it is told otherwise.
    #[default]
    ModelScope,
    /// <https://huggingface.co>.
    HuggingFace,
}

impl Hub {
    /// Every hub.
    pub const ALL: [Self; 2] = [Self::ModelScope, Self::HuggingFace];

    /// The word for it in a recipe.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ModelScope => "modelscope",
            Self::HuggingFace => "huggingface",
        }
    }

    /// The prefix for it in a pattern (`hf:Qwen/*`), and, with two colons, in ms-swift's names of data sets.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::ModelScope => "ms",
            Self::HuggingFace => "hf",
        }
    }

    pub(crate) fn of_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hub| hub.prefix() == prefix)
    }

    /// The hub that arguments `--name=value` of a recipe say by `use_hf`; `None` if they do not, or not plainly.
    #[must_use]
    pub fn of_arguments<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Option<Self> {
        let said = |argument: &str| {
            let (name, value) = argument.strip_prefix("--")?.split_once('=')?;
            let hub = match &*value.to_ascii_lowercase() {
                "true" | "yes" | "t" | "y" | "1" => Self::HuggingFace,
                "false" | "no" | "f" | "n" | "0" => Self::ModelScope,
                _ => return None,
            };
            (name.replace('-', "_") == "use_hf").then_some(hub)
        };
        arguments.into_iter().find_map(|argument| said(argument.as_ref()))
    }

    /// The hub for a value of ms-swift's `use_hf`.
    pub(crate) fn of_use_hf(value: &str) -> Self {
        if value == "true" { Self::HuggingFace } else { Self::ModelScope }
    }
}

/// Writes the name for people.
impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ModelScope => "ModelScope",
            Self::HuggingFace => "Hugging Face",
        })
    }
}

impl FromStr for Hub {
    type Err = UnknownHub;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|hub| hub.word() == text).ok_or_else(|| UnknownHub(text.to_owned()))
    }
}

/// No hub that ms-swift knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no hub is called `{0}`: there are `modelscope` and `huggingface`")]
pub struct UnknownHub(String);
