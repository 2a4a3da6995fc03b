use std::fmt;
use std::str::FromStr;

/// What ms-swift is asked to do: the verbs that run unattended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// `swift pt`: pre-training.
    Pt,
    /// `swift sft`: fine-tuning.
    Sft,
    /// `swift rlhf`: DPO, KTO, GRPO and others.
    Rlhf,
    /// `swift export`: merging, quantising.
    Export,
    /// `swift eval`.
    Eval,
    /// `swift deploy`: a server.
    Deploy,
    /// `swift infer`.
    Infer,
    /// `swift sample`.
    Sample,
    /// `swift merge-lora`.
    MergeLora,
    /// `megatron pt`.
    MegatronPt,
    /// `megatron sft`.
    MegatronSft,
    /// `megatron rlhf`.
    MegatronRlhf,
    /// `megatron export`.
    MegatronExport,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 13] = [
        Self::Pt,
        Self::Sft,
        Self::Rlhf,
        Self::Export,
        Self::Eval,
        Self::Deploy,
        Self::Infer,
        Self::Sample,
        Self::MergeLora,
        Self::MegatronPt,
        Self::MegatronSft,
        Self::MegatronRlhf,
        Self::MegatronExport,
    ];

    /// The program that has it: `swift` or `megatron`.
    #[must_use]
    pub fn program(self) -> &'static str {
        if self.is_megatron() { "megatron" } else { "swift" }
    }

    /// Its word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pt | Self::MegatronPt => "pt",
            Self::Sft | Self::MegatronSft => "sft",
            Self::Rlhf | Self::MegatronRlhf => "rlhf",
            Self::Export | Self::MegatronExport => "export",
            Self::Eval => "eval",
            Self::Deploy => "deploy",
            Self::Infer => "infer",
            Self::Sample => "sample",
            Self::MergeLora => "merge-lora",
        }
    }

    /// Whether it is one of Megatron-SWIFT.
    #[must_use]
    pub fn is_megatron(self) -> bool {
        matches!(self, Self::MegatronPt | Self::MegatronSft | Self::MegatronRlhf | Self::MegatronExport)
    }

    /// The verb of `swift` with this word.
    ///
    /// # Errors
    ///
    /// When there is none that runs unattended; the error says which was probably meant.
    pub fn of_swift(word: &str) -> Result<Self, UnknownVerb> {
        Self::of("swift", word)
    }

    /// The verb of `megatron` with this word.
    ///
    /// # Errors
    ///
    /// When there is none; the error says which there are.
    pub fn of_megatron(word: &str) -> Result<Self, UnknownVerb> {
        Self::of("megatron", word)
    }

    fn of(program: &'static str, word: &str) -> Result<Self, UnknownVerb> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.program() == program && verb.word() == word)
            .ok_or_else(|| UnknownVerb { program, word: word.to_owned() })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program(), self.word())
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    /// `sft`, or `megatron sft`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(' ') {
            Some(("megatron", word)) => Self::of_megatron(word),
            Some(("swift", word)) => Self::of_swift(word),
            _ => Self::of_swift(text),
        }
    }
}

/// No verb that runs unattended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{program} {word}` {why}", why = self.why())]
pub struct UnknownVerb {
    program: &'static str,
    word: String,
}

impl UnknownVerb {
    fn why(&self) -> String {
        let all = Verb::ALL.into_iter().filter(|verb| verb.program() == self.program);
        let words: Vec<_> = all.map(|verb| format!("`{}`", verb.word())).collect();
        let there_are = format!("there are {}", words.join(" "));
        match &*self.word {
            // Tutorials use it; ms-swift itself fails with a bare KeyError.
            "train" | "finetune" | "fine-tune" => "does not exist: fine-tuning is `sft`".to_owned(),
            "pretrain" => "does not exist: pre-training is `pt`".to_owned(),
            "dpo" | "kto" | "grpo" | "ppo" | "orpo" | "simpo" | "cpo" | "rm" | "gkd" => {
                format!("does not exist: it is `rlhf` with `rlhf_type: {}`", self.word)
            }
            "web-ui" | "app" | "rollout" => format!("does not run unattended; {there_are}"),
            _ => format!("does not exist; {there_are}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_is_found_by_its_words() {
        for verb in Verb::ALL {
            assert_eq!(verb.to_string().parse(), Ok(verb));
        }
        assert_eq!("sft".parse(), Ok(Verb::Sft));
    }

    #[test]
    fn a_verb_of_tutorials_gets_the_right_name() {
        let told = |word: &str| Verb::of_swift(word).unwrap_err().to_string();
        assert_eq!(told("train"), "`swift train` does not exist: fine-tuning is `sft`");
        assert!(told("dpo").contains("`rlhf` with `rlhf_type: dpo`"));
        assert!(told("web-ui").contains("unattended") && told("x").contains("`merge-lora`"));
        assert!(Verb::of_megatron("eval").unwrap_err().to_string().contains("`pt` `sft` `rlhf` `export`"));
    }
}
