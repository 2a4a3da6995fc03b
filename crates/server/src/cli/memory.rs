//! What `swifthook check` says of the memory of GPUs: what a job would be warned of. Earlier runs are known to a server that
//! runs, and nothing is said without one: a store is opened by whoever serves, and not for this.

use form_urlencoded::Serializer;
use swifthook_msswift::{Flags, Verb};

use super::CommonArguments;
use super::reach::Reach;
use crate::api::{GpuMemoryAnswer, GpuMemoryQuestion};
use crate::config::SwiftRecipe;
use crate::serve::workload;

/// Whom to ask, where the recipe has GPUs and this is the machine that trains.
pub(super) fn server(common: &CommonArguments, recipe: &SwiftRecipe, is_elsewhere: bool) -> Option<Reach> {
    (recipe.gpus.is_some() && !is_elsewhere).then(|| Reach::only_a_server(common)).flatten()
}

/// Why a run of these flags may have too little; `None` also where nobody can tell.
pub(super) fn warning(
    server: &Reach,
    recipe: &SwiftRecipe,
    name: &str,
    verb: Verb,
    config: &Flags,
    args: &Flags,
) -> Option<String> {
    let request = recipe.gpus.as_ref()?;
    let (gpus, processes) = (usize::try_from(request.count).ok()?, recipe.nproc.get());
    let workload = workload::of_swift(&recipe.repository, name, verb, config, args, gpus, processes)?;
    let question = GpuMemoryQuestion {
        workload: serde_json::to_string(&workload).ok()?,
        request: serde_json::to_string(request).ok()?,
        launcher: recipe.launcher.clone(),
    };
    let query = Serializer::new(String::new())
        .append_pair("workload", &question.workload)
        .append_pair("request", &question.request)
        .append_pair("launcher", &question.launcher)
        .finish();
    let answer: GpuMemoryAnswer = server.read(&format!("/api/v1/gpu-memory?{query}")).ok()?;
    answer.warning
}
