//! The manifests in `contrib/kubernetes`, against the types of the API: a field that none of them has is a mistake.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn every_field_of_every_manifest_is_one_of_the_api() {
    let documents = documents();
    let wrong: Vec<String> = documents
        .iter()
        .flat_map(|(file, document)| lost(document).into_iter().map(move |field| format!("{file}: {field}")))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let kinds: Vec<&str> = documents.iter().map(|(_, document)| document["kind"].as_str().unwrap()).collect();
    for kind in ["Deployment", "Service", "Ingress", "PodDisruptionBudget", "ServiceMonitor", "Role"] {
        assert!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
}

#[test]
fn a_misspelt_field_is_found_wherever_it_is() {
    for (kind, from, to) in [
        ("Deployment", "runAsNonRoot", "runAsNonroot"),
        ("Deployment", "readOnlyRootFilesystem", "readonlyRootFilesystem"),
        ("Deployment", "failureThreshold", "failureTreshold"),
        ("Service", "targetPort", "target_port"),
        ("Ingress", "pathType", "pathtype"),
        ("PodDisruptionBudget", "minAvailable", "minAvaliable"),
        ("ServiceMonitor", "interval", "intervall"),
        ("Role", "resources", "resource"),
    ] {
        let (_, document) = documents().into_iter().find(|(_, document)| document["kind"] == kind).unwrap();
        let misspelt = document.to_string().replace(&format!("\"{from}\""), &format!("\"{to}\""));
        let lost = lost(&serde_json::from_str(&misspelt).unwrap());
        assert!(lost.iter().any(|field| field.contains(to)), "{to} in {kind}: {lost:?}");
    }
}

/// Whoever asks for more than the launcher does gets it refused in a review, and this says what it does.
#[test]
fn the_role_is_what_the_launcher_asks_for() {
    let (_, role) = documents().into_iter().find(|(_, document)| document["kind"] == "Role").unwrap();
    let mut rules: Vec<(String, Value)> = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            rules.push((resource.as_str().unwrap().to_owned(), rule["verbs"].clone()));
        }
    }
    assert_eq!(
        rules,
        [
            ("jobs".to_owned(), json!(["create", "get", "list", "watch", "patch", "delete"])),
            ("pods".to_owned(), json!(["get", "list", "watch", "patch"])),
            ("pods/log".to_owned(), json!(["get"])),
            ("secrets".to_owned(), json!(["create", "get", "list", "update", "delete"])),
        ]
    );
}

/// What receivers and workers must agree on stands in both of their configurations.
#[test]
fn receivers_and_workers_have_the_same_recipes() {
    let (_, config) = documents().into_iter().find(|(_, document)| document["kind"] == "ConfigMap").unwrap();
    let same = |name: &str| {
        let text = config["data"][name].as_str().unwrap();
        text.split_once("# The same in both from here on.\n").unwrap().1.to_owned()
    };
    assert!(same("worker.toml").contains("[[recipe]]"));
    assert_eq!(same("receiver.toml"), same("worker.toml"));
}

/// The fields of a manifest that its kind does not have.
fn lost(document: &Value) -> Vec<String> {
    match document["kind"].as_str().unwrap() {
        "ConfigMap" => lost_by::<ConfigMap>(document),
        "Deployment" => lost_by::<Deployment>(document),
        "Ingress" => lost_by::<Ingress>(document),
        "PersistentVolumeClaim" => lost_by::<PersistentVolumeClaim>(document),
        "PodDisruptionBudget" => lost_by::<PodDisruptionBudget>(document),
        "Role" => lost_by::<Role>(document),
        "RoleBinding" => lost_by::<RoleBinding>(document),
        "Service" => lost_by::<Service>(document),
        "ServiceAccount" => lost_by::<ServiceAccount>(document),
        "ServiceMonitor" => lost_by::<monitor::ServiceMonitor>(document),
        other => panic!("no type for {other}"),
    }
}

/// Reads it as `T`, which passes over what it does not know, and tells what is not there any more.
fn lost_by<T: DeserializeOwned + Serialize>(document: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(document.clone()) {
        Ok(read) => {
            let mut lost = Vec::new();
            compare(document, &serde_json::to_value(read).unwrap(), "", &mut lost);
            lost
        }
        Err(error) => vec![error.to_string()],
    }
}

fn compare(written: &Value, read: &Value, place: &str, lost: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(fields), _) => {
            for (name, value) in fields {
                let place = format!("{place}.{name}");
                match read.get(name) {
                    Some(read) => compare(value, read, &place, lost),
                    None => lost.push(place),
                }
            }
        }
        (Value::Array(items), Value::Array(read)) if items.len() == read.len() => {
            for (index, (item, read)) in items.iter().zip(read).enumerate() {
                compare(item, read, &format!("{place}[{index}]"), lost);
            }
        }
        _ if written == read => {}
        _ => lost.push(format!("{place} is {written} and was read as {read}")),
    }
}

fn documents() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contrib/kubernetes");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        documents.into_iter().map(move |document| (name.clone(), document)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(read).collect()
}

/// As far as it is used here: <https://prometheus-operator.dev/docs/api-reference/api/>
mod monitor {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::SecretKeySelector;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct ServiceMonitor {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: Spec,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Spec {
        selector: LabelSelector,
        endpoints: Vec<Endpoint>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Endpoint {
        port: String,
        path: String,
        interval: String,
        #[serde(default)]
        params: BTreeMap<String, Vec<String>>,
        authorization: Authorization,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Authorization {
        credentials: SecretKeySelector,
    }
}
