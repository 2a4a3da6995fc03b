//! Code of Hugging Face that libraries below ms-swift fetch by themselves.

use crate::class::Class;
use crate::flags::{Flag, Flags};
use crate::hub::Hub;
use crate::mistake::Mistake;
use crate::permissions::Permissions;

/// Packages of a Python environment that decide where the code of an attention comes from.
///
/// Asked for `flash_attention_2` without `flash_attn`, transformers has the package `kernels`, if it is there, fetch
/// `kernels-community/flash-attn2` from Hugging Face, and runs it (`FLASH_ATTN_KERNEL_FALLBACK`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    names: Vec<&'static str>,
}

impl Packages {
    /// Names of the distributions that count.
    pub const ASKED: [&str; 3] = ["kernels", "flash-attn", "flash-attn-3"];

    /// Reads those of [`Self::ASKED`] that are installed; other names say nothing.
    pub fn of<'n>(installed: impl IntoIterator<Item = &'n str>) -> Self {
        let known = |name: &str| Self::ASKED.into_iter().find(|asked| *asked == name);
        Self { names: installed.into_iter().filter_map(known).collect() }
    }

    /// Returns true if nothing is fetched for an attention that this package has.
    fn have(&self, package: &str) -> bool {
        !self.names.contains(&"kernels") || self.names.contains(&package)
    }
}

/// The mistake of a checked config whose attention would be code that nobody allowed.
///
/// A run that is kept from Hugging Face fetches none, whatever is installed.
#[must_use]
pub fn look_at_kernels(config: &Flags, recipe: &Flags, packages: &Packages) -> Option<Mistake> {
    if config.hub.is_none() || config.may_take_kernels || is_kept_from_hugging_face(config, recipe) {
        return None;
    }
    let is_ours_to_say = |flag: &&Flag| !recipe.iter().any(|other| other.name == flag.name);
    config.iter().filter(is_ours_to_say).find_map(|flag| {
        let value = flag.values.first().filter(|_| is_attention(flag.name))?;
        let (package, kernel) = kernel(value)?;
        let what = format!(
            "`{}`: `{value}` is refused: `{package}` is not installed where it runs, and `kernels` would fetch `{kernel}` \
             from Hugging Face, which is code; install `{package}`, or have the recipe's `models` name \
             `hf:kernels-community/*`",
            flag.name
        );
        (!packages.have(package)).then_some(Mistake { line: flag.line, what })
    })
}

/// Returns true if a run has nothing to ask of Hugging Face, so that it can be kept from it.
///
/// The loader of ModelScope's data sets is that of Hugging Face too, and refuses to work offline; and what the recipe
/// adds beyond what a config may, or as its own attention, is for its author to know.
pub(crate) fn is_kept_from_hugging_face(config: &Flags, recipe: &Flags) -> bool {
    let is_of_a_hub = |flag: &Flag| {
        Class::of(flag.name) == Some(Class::Data) && flag.values.iter().any(|value| !value.starts_with('/'))
    };
    let is_beyond = |flag: &Flag| {
        is_attention(flag.name) || matches!(Class::of(flag.name), None | Some(Class::Refused(_)))
    };
    config.hub == Some(Hub::ModelScope)
        && !config.may_take_kernels
        && !config.iter().any(is_of_a_hub)
        && !recipe.iter().any(|flag| is_of_a_hub(flag) || is_beyond(flag))
}

/// Returns true if the recipe's `models` let pass the kernels that transformers may fetch.
pub(crate) fn may_be_taken(permissions: &Permissions) -> bool {
    KERNELS.iter().any(|(_, kernel)| permissions.model(kernel, Hub::HuggingFace).is_ok())
}

fn is_attention(key: &str) -> bool {
    key.ends_with("attn_impl")
}

/// The package that has an attention, and the kernel that stands in for it.
fn kernel(attention: &str) -> Option<(&'static str, &'static str)> {
    match attention {
        "flash_attn" | "flash_attention_2" => Some(KERNELS[0]),
        "flash_attention_3" => Some(KERNELS[1]),
        _ => None,
    }
}

const KERNELS: [(&str, &str); 2] =
    [("flash-attn", "kernels-community/flash-attn2"), ("flash-attn-3", "kernels-community/vllm-flash-attn3")];
