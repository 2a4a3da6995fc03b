use crate::allowed::{Allowed, ODD, is_id, is_path};
use crate::data_set::DataSet;
use crate::fetches::Fetches;
use crate::hub::Hub;
use crate::revision::Revisions;

/// Names that a recipe lets a pushed config use, under [`Trust::Data`](crate::Trust::Data).
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// The hub whose ids stand without a hub, in the recipe and in the config; unless it is set, ModelScope.
    pub hub: Option<Hub>,
    /// Models and adapters. Each is code: ms-swift runs what stands beside the weights.
    pub models: Allowed,
    /// Data sets on the machine that trains.
    pub data: Allowed,
    /// Data sets on a hub. Each is code: ms-swift runs the script of a data set that has one.
    pub hub_data: Allowed,
    /// Branches and tags of models on a hub.
    pub revisions: Revisions,
}

impl Permissions {
    /// The hub of ids without a hub.
    pub(crate) fn bare(&self) -> Hub {
        self.hub.unwrap_or_default()
    }

    /// Checks that a run may take from this hub what stands without a hub in its config; the error says why not.
    pub(crate) fn hub(&self, hub: Hub) -> Result<(), String> {
        let bare = self.bare();
        if hub == bare || [&self.models, &self.hub_data].iter().any(|allowed| allowed.names(hub, bare)) {
            return Ok(());
        }
        Err(format!(
            "no pattern of the recipe names {hub}, as `{}:Qwen/*` would; the recipe's hub is {bare}",
            hub.prefix()
        ))
    }

    /// Checks that a model or adapter may be named; the error says why not.
    pub(crate) fn model(&self, value: &str, hub: Hub) -> Result<(), String> {
        match value {
            _ if is_path(value) => self.models.path(value),
            _ if is_id(value) => self.models.id(value, hub, self.bare()),
            _ => Err(ODD.to_owned()),
        }
    }

    /// Checks that a file or folder of the machine may be named as data; the error says why not.
    pub(crate) fn file(&self, value: &str) -> Result<(), String> {
        if !is_path(value) {
            return Err("it is no absolute path without `..`, and nothing else is read here".to_owned());
        }
        self.data.path(value)
    }

    /// Returns true if the recipe names exactly this data set of ModelScope, and not only as one of many.
    pub(crate) fn names_literally(&self, value: &str, hub: Hub) -> bool {
        DataSet::read(value).is_ok_and(|DataSet { hub: named, name, .. }| {
            let hub = named.unwrap_or(hub);
            hub == Hub::ModelScope && is_id(name) && self.hub_data.has_literally(name, hub, self.bare())
        })
    }

    /// Checks that a data set may be named; the error says why not.
    pub(crate) fn data_set(&self, value: &str, hub: Hub, fetches: &Fetches) -> Result<(), String> {
        let path = crate::data_set::path(value);
        // A file whose name has such signs: ms-swift takes it for that, if it is there, and else for what stands before them.
        if value.starts_with('/') && DataSet::read(value).is_err() && self.data.path_with_signs(value) {
            return self.data.path(path);
        }
        let DataSet { hub: named, name, .. } = DataSet::read(value)?;
        if is_path(name) && named.is_none() {
            return self.data.path(name);
        }
        if !is_id(name) {
            return Err(ODD.to_owned());
        }
        let hub = named.unwrap_or(hub);
        // A short name is allowed as itself, or as what it stands for.
        let id = match fetches.data_set(name, hub) {
            Some(id) if !self.hub_data.has_literally(name, hub, self.bare()) => id,
            _ => name,
        };
        self.hub_data
            .id(id, hub, self.bare())
            .map_err(|why| format!("a data set of a hub is code, and needs the recipe's `hub_data`: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    #[test]
    fn ids_and_roots_are_matched_as_a_whole() {
        let models = Allowed::models(["Qwen/*", "/models/**", "/data/*.jsonl"]).unwrap();
        let permissions = Permissions { models, ..Permissions::default() };
        for good in ["Qwen/Qwen3-8B", "/models/a/b", "/models/a/", "/data/x.jsonl"] {
            assert_eq!(permissions.model(good, Hub::ModelScope), Ok(()), "{good}");
        }
        for bad in [
            "evil/Qwen3",
            "Qwen",
            "Qwen/../evil",
            "Qwen/a/b",
            "./Qwen/x",
            "~/x",
            "/models/../etc/x",
            "/models//x",
            "/models/x//",
            "/models/./x",
            "/data/a/x.jsonl",
            "/models/x\n",
            "../models/x",
            "",
            "/",
            "-x",
            "Qwen/-x",
            "Qwen/x:y",
            "https://example.com/x",
            "file:///models/x",
            "hf::Qwen/x",
        ] {
            assert!(permissions.model(bad, Hub::ModelScope).is_err(), "{bad}");
        }
        let none = Permissions::default();
        assert!(none.model("Qwen/x", Hub::ModelScope).unwrap_err().contains("allows none"));
    }

    #[test]
    fn a_folder_may_be_written_with_a_slash_at_its_end() {
        let data = Allowed::files(["/data/", "/more/*/"]).unwrap();
        let permissions = Permissions { data, ..Permissions::default() };
        for good in ["/data", "/data/", "/data/x.jsonl", "/data/a/b/", "/more/a", "/more/a/x.jsonl"] {
            assert_eq!(permissions.file(good), Ok(()), "{good}");
        }
        for bad in ["/database", "/data//", "/data/../x", "/more", "/more/", "/"] {
            assert!(permissions.file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn data_sets_may_have_a_hub_subsets_and_a_count() {
        let permissions = Permissions {
            data: Allowed::files(["/data/**"]).unwrap(),
            hub_data: Allowed::data_sets(["acme/*", "hf:acme/*"]).unwrap(),
            ..Permissions::default()
        };
        let look = |value| permissions.data_set(value, Hub::ModelScope, Table::all()[0].fetches());
        for good in ["acme/x", "hf::acme/x:default/en#500", "MS::acme/x", "/data/a.jsonl#10", "/data/d:sub"] {
            assert_eq!(look(good), Ok(()), "{good}");
        }
        for file_with_signs in ["/data/2026-12-01T10:00:00.jsonl", "/data/a:b c.jsonl", "/data/a#b#c.jsonl"] {
            assert_eq!(look(file_with_signs), Ok(()), "{file_with_signs}");
        }
        for bad in [
            "evil/x",
            "x::acme/x",
            "::acme/x",
            "acme/x#",
            "acme/x#1x",
            "acme/x#+1",
            "/data/a:../../etc",
            "/data/a/../b:c#d",
            "/data/a:..",
            "/data/a:../../etc#b#c",
            "/etc/a::b",
            "/data/../x",
            "acme/x: y",
            "acme/x:",
            "data.jsonl",
            "hf::/etc/x",
            "hf::/data/x",
            "hf::ms::acme/x",
        ] {
            assert!(look(bad).is_err(), "{bad}");
        }
    }
}
