/// The places of something that is started within something, and those that it may write to.
pub(in crate::serve) struct Places {
    pub(in crate::serve) run_dir: String,
    pub(in crate::serve) output_dir: String,
    /// The folder that it starts in.
    pub(in crate::serve) working_dir: String,
    /// The folder that it finds as `/tmp`; `None` for none.
    pub(in crate::serve) tmp: Option<String>,
    pub(in crate::serve) writes: Vec<String>,
    /// Something that it reads beside what everybody may: a checkpoint to go on from.
    pub(in crate::serve) reads: Option<String>,
    /// True where it is to have GPUs.
    pub(in crate::serve) has_gpus: bool,
}

impl Places {
    /// Those of an attempt.
    pub(in crate::serve) fn of_a_run(
        run_dir: &str,
        output_dir: &str,
        checkpoint: Option<&str>,
        has_gpus: bool,
    ) -> Self {
        let tree = format!("{run_dir}/tree");
        Self {
            run_dir: run_dir.to_owned(),
            output_dir: output_dir.to_owned(),
            tmp: Some(format!("{run_dir}/tmp")),
            writes: vec![tree.clone(), output_dir.to_owned(), format!("{run_dir}/progress.jsonl")],
            working_dir: tree,
            reads: checkpoint.map(str::to_owned),
            has_gpus,
        }
    }

    /// Those of a program that is asked something before there is an attempt.
    pub(in crate::serve) fn of_a_question(run_dir: &str, output_dir: &str) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            output_dir: output_dir.to_owned(),
            working_dir: "/".to_owned(),
            tmp: None,
            writes: Vec::new(),
            reads: None,
            has_gpus: false,
        }
    }
}
