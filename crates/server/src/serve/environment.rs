//! The environment of a run: nothing of ours but what is listed here and in the recipe.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Missing, Recipe, Run, Value};

/// The environment of a run, with the values of the moment.
///
/// # Errors
///
/// When a value that stands outside the configuration is not there.
pub(super) fn of(
    run: &Run,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Missing> {
    // An image has programs and a home of its own.
    let always: &[&str] = if run.image.is_some() { &ALWAYS[2..] } else { &ALWAYS };
    let passed = always.iter().copied().chain(run.pass_env.iter().map(String::as_str));
    let mut env: BTreeMap<_, _> =
        passed.filter_map(|name| Some((name.to_owned(), variable(name)?))).collect();
    // Else what a script printed before it hung, or was killed, is in no log.
    env.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
    if let Some(venv) = &run.venv {
        use_venv(&mut env, venv);
    }
    // Set to 1 it still means torchrun, so for one process it is not there. A config of ms-swift has more to say of it.
    if run.nproc.get() > 1 {
        env.insert("NPROC_PER_NODE".to_owned(), run.nproc.to_string());
    }
    for (name, value) in &run.env {
        let value = match value {
            Value::Text(text) => text.clone(),
            Value::Outside(place) => place.value(variable)?,
        };
        env.insert(name.clone(), value);
    }
    Ok(env)
}

/// From now on the programs of a Python environment come first.
pub(super) fn use_venv(env: &mut BTreeMap<String, String>, venv: &Path) {
    let programs = venv.join("bin").display().to_string();
    let path = env.get("PATH").map_or(programs.clone(), |path| format!("{programs}:{path}"));
    env.insert("PATH".to_owned(), path);
    env.insert("VIRTUAL_ENV".to_owned(), venv.display().to_string());
}

/// What the recipe sets that is no secret.
pub(super) fn visible(run: &Run) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::Text(text) => Some((name.clone(), text.clone())),
        Value::Outside(_) => None,
    };
    run.env.iter().filter_map(text).collect()
}

/// The values of the moment that stand outside the configuration: what no log shows. Very short ones are no secrets,
/// and would make other text unreadable.
pub(super) fn hidden(recipes: &[Recipe], variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let values = recipes.iter().flat_map(|recipe| recipe.run.env.values());
    let mut values: Vec<_> = values
        .filter_map(|value| match value {
            Value::Outside(place) => place.value(variable).ok(),
            Value::Text(_) => None,
        })
        .filter(|value| value.len() >= SHORTEST_HIDDEN)
        .collect();
    // A value that holds another goes first, or the rest of it would be left.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    values
}

const SHORTEST_HIDDEN: usize = 6;
const ALWAYS: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Outside;

    fn run() -> Run {
        Run {
            command: Vec::new(),
            file: None,
            swift: None,
            checkout: swifthook_core::Checkout::default(),
            venv: None,
            uv: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            image: None,
            nodes: NonZeroU32::MIN,
            nproc: NonZeroU32::MIN,
            limits: swifthook_core::RunLimits::default(),
            isolation: None,
            launcher: "local".into(),
            grace: std::time::Duration::from_secs(60),
            timeout: None,
        }
    }

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "PATH" => "/bin",
            "HOME" => "/root",
            "GITHUB_WEBHOOK_SECRET" => "correct horse battery staple 2026",
            "HF_HOME" => "/hf",
            "TOKEN" => "hf_abc",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn pairs(run: &Run) -> Vec<String> {
        of(run, &variable).unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_run_in_an_image_has_its_programs_and_home() {
        let in_image = Run { image: Some("x".into()), pass_env: vec!["HF_HOME".into()], ..run() };
        assert_eq!(
            of(&in_image, &variable).unwrap().into_keys().collect::<Vec<_>>(),
            ["HF_HOME", "PYTHONUNBUFFERED"]
        );
    }

    #[test]
    fn nothing_is_handed_on_that_is_not_listed() {
        assert_eq!(pairs(&run()), ["HOME=/root", "PATH=/bin", "PYTHONUNBUFFERED=1"]);
        let passing = Run { pass_env: vec!["HF_HOME".into(), "ABSENT".into()], ..run() };
        assert_eq!(pairs(&passing), ["HF_HOME=/hf", "HOME=/root", "PATH=/bin", "PYTHONUNBUFFERED=1"]);
    }

    #[test]
    fn a_python_environment_comes_first_and_the_recipe_has_the_last_word() {
        let recipe = Run {
            venv: Some(PathBuf::from("/opt/swift")),
            env: [
                ("HOME".to_owned(), Value::Text("/tmp".into())),
                ("PYTHONUNBUFFERED".to_owned(), Value::Text(String::new())),
                ("HF_TOKEN".to_owned(), Value::Outside(Outside::Variable("TOKEN".into()))),
            ]
            .into(),
            ..run()
        };
        assert_eq!(
            pairs(&recipe),
            [
                "HF_TOKEN=hf_abc",
                "HOME=/tmp",
                "PATH=/opt/swift/bin:/bin",
                "PYTHONUNBUFFERED=",
                "VIRTUAL_ENV=/opt/swift"
            ]
        );
    }

    #[test]
    fn a_value_that_is_not_there_is_an_error_and_not_empty() {
        let recipe = Run {
            env: [("A".to_owned(), Value::Outside(Outside::Variable("ABSENT".into())))].into(),
            ..run()
        };
        assert_eq!(
            of(&recipe, &variable).unwrap_err().to_string(),
            "`env:ABSENT` cannot be read: it is not set"
        );
    }
}
