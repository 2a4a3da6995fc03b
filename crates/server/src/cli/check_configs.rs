//! `swifthook check --recipe NAME FILE…`: what a push of these files would be told.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use swifthook_core::PathFilter;
use swifthook_core::text::printable;
use swifthook_msswift::{Config, Flags, Format, Launch, Mistake, Packages, Processes, Rules, Table, Verb};
use swifthook_runner::Uncomposed;

use super::check::CheckArguments;
use super::failure::{complain, mistaken};
use super::{CommonArguments, makes_way, memory};
use crate::config::SwiftRecipe;
use crate::preflight::{Amiss, Ask, Inspected, Wrong, inspect, lacks};
use crate::serve::swift::{Versions, table_of, verb_of};

pub(super) fn run(common: &CommonArguments, name: &str, arguments: &CheckArguments) -> ExitCode {
    let recipe = match SwiftRecipe::load(&common.config, name) {
        Ok(recipe) => recipe,
        Err(mistakes) => return mistaken(&mistakes),
    };
    let args: Vec<_> = recipe.command.iter().skip(2).filter(|arg| arg.fields().next().is_none()).collect();
    let args: Vec<_> = args.iter().map(ToString::to_string).collect();
    let words: Vec<_> = recipe.command.iter().map(ToString::to_string).collect();
    let verb = verb_of(&words).expect("a recipe of ms-swift has a verb");
    let (table, packages) = match table(&recipe, verb, arguments) {
        Ok(table) => table,
        Err(why) => {
            complain(&format!("swifthook: {why}"));
            return ExitCode::from(2);
        }
    };
    let swift = &recipe.swift;
    let rules = Rules { table, verb, trust: swift.trust, permissions: &swift.permissions };
    let packages = packages.as_ref();
    let (format, is_here, looks_into) = (Format::Yaml, !arguments.elsewhere, swift.looks_into);
    let ask = Ask { format, rules, args: &args, packages, is_here, looks_into };
    let (mut count, mut server) = (0, None);
    let mut good = String::new();
    for file in &arguments.files {
        let format = Format::of(&file.to_string_lossy());
        match look(file, Ask { format, ..ask }) {
            Ok(Inspected { config, recipe: args, .. }) if !lacks(verb, &config, &args).is_empty() => {
                let lacking = lacks(verb, &config, &args);
                count += lacking.len();
                for what in lacking {
                    complain(&format!("{}: {what}", shown(file)));
                }
            }
            Ok(Inspected { config, recipe: args, doubts }) => {
                let version = table.version();
                let _ = writeln!(good, "{}: nothing wrong: `{verb}` of ms-swift {version}", shown(file));
                note(&recipe, rules, file, (&config, &args), &doubts);
                let warning = makes_way::of_flags(table, verb, &config, &args);
                if let Some(warning) = warning.filter(|_| recipe.makes_way) {
                    complain(&format!("{}: {warning}", shown(file)));
                }
                let server =
                    server.get_or_insert_with(|| memory::server(common, &recipe, arguments.elsewhere));
                if let Some(warning) = server
                    .as_ref()
                    .and_then(|server| memory::warning(server, &recipe, name, verb, &config, &args))
                {
                    complain(&format!("{}: {warning}", shown(file)));
                }
            }
            Err(wrong) => {
                count += wrong.config.len() + wrong.recipe.len();
                tell(&wrong, file, &common.config, name);
            }
        }
        remark(&recipe, name, file);
    }
    if count > 0 {
        complain(&format!("{count} {}", if count == 1 { "mistake" } else { "mistakes" }));
    }
    match io::Write::write_all(&mut io::stdout(), good.as_bytes()) {
        _ if count > 0 => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn look(file: &Path, ask: Ask<'_>) -> Result<Inspected, Wrong> {
    let whole = |what: String| Wrong { config: vec![Mistake { line: None, what }], ..Wrong::default() };
    let bytes = read(file).map_err(|error| whole(format!("cannot be read: {error}")))?;
    match inspect(&bytes, ask) {
        Ok(inspected) => Ok(inspected),
        Err(Amiss::Wrong(wrong)) => Err(wrong),
        Err(Amiss::NotNow(why)) => Err(whole(why)),
    }
}

/// As a push would be read: a link is none of its files.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let metadata = file.symlink_metadata()?;
    if !metadata.is_file() {
        let what = if metadata.is_symlink() { "a symbolic link" } else { "no regular file" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}")));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(std::fs::File::open(file)?, Config::MOST_BYTES as u64 + 1),
        &mut bytes,
    )?;
    Ok(bytes)
}

/// The flags of the version that is named, or is here, or else is the newest that is known; and what is installed beside it,
/// where it is here.
fn table(
    recipe: &SwiftRecipe,
    verb: Verb,
    arguments: &CheckArguments,
) -> Result<(&'static Table, Option<Packages>), String> {
    if let Some(version) = arguments.ms_swift {
        let named = Table::of(version).map(|table| (table, None));
        return named.ok_or_else(|| {
            let known: Vec<_> = Table::all().iter().map(|table| table.version().to_string()).collect();
            format!("the arguments of ms-swift {version} are not known; known are {}", known.join(", "))
        });
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let path = match &recipe.venv {
        Some(venv) => format!("{}:{path}", venv.join("bin").display()),
        None => path,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    match runtime.block_on(Versions::default().installed(verb.program(), Some(&path), &[])) {
        Ok(installed) => table_of(&installed).map(|table| (table, Some(installed.packages))),
        Err(Uncomposed::Unfit(why)) => {
            let newest = &Table::all()[0];
            complain(&format!(
                "swifthook: {}; so this is what ms-swift {} takes, the newest that is known (`--ms-swift` names another)",
                why.detail,
                newest.version()
            ));
            Ok((newest, None))
        }
        Err(Uncomposed::NotNow(why) | Uncomposed::Waits(_, why)) => Err(why),
    }
}

/// What of it a run would set aside, or read otherwise than it looks.
fn note(
    recipe: &SwiftRecipe,
    rules: Rules<'_>,
    file: &Path,
    (config, args): (&Flags, &Flags),
    doubts: &[Mistake],
) {
    let launch = Launch {
        table: rules.table,
        verb: rules.verb,
        config,
        recipe: args,
        output_dir: "",
        resume: None,
        processes: Processes { per_node: recipe.nproc.get(), ..Processes::default() },
        is_offline: false,
        hub: recipe.swift.permissions.hub,
    };
    let of_env = launch.notes(|name| recipe.env.contains(name));
    for note in config.notes().chain(&of_env).chain(doubts) {
        let line = note.line.map_or(String::new(), |line| format!("{line}:"));
        complain(&format!("{}:{line} note: {}", shown(file), printable(&note.what)));
    }
}

/// Each mistake with its place, so that editors find it.
fn tell(wrong: &Wrong, file: &Path, config: &Path, recipe: &str) {
    for mistake in &wrong.config {
        match mistake.line {
            Some(line) => complain(&format!("{}:{line}: {}", shown(file), printable(&mistake.what))),
            None => complain(&format!("{}: {}", shown(file), printable(&mistake.what))),
        }
    }
    for mistake in &wrong.recipe {
        complain(&format!("{}: args of recipe `{recipe}`: {mistake}", shown(config)));
    }
}

/// A config that the recipe does not look at is no mistake, and yet not what somebody expects.
fn remark(recipe: &SwiftRecipe, name: &str, file: &Path) {
    let Some(each) = &recipe.each else { return };
    let (Ok(filter), Some(path)) = (PathFilter::new([each]), file.to_str()) else { return };
    let path = path.strip_prefix("./").unwrap_or(path);
    if !path.starts_with('/') && !filter.matches(path) {
        complain(&format!(
            "{}: recipe `{name}` trains {each}, and so not this file, if it is called so from the repository's root",
            printable(path)
        ));
    }
}

/// A file by its name, which a push may have given it.
fn shown(file: &Path) -> String {
    printable(&file.to_string_lossy()).into_owned()
}
