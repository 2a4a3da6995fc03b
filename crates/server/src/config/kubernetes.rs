//! `[[launcher]]` of the kind `kubernetes`.

use std::collections::BTreeMap;

use swifthook_launch::{KubernetesSettings, PodCheckout, PodToleration, PodVolume, Tools, VolumeSource};

use super::launcher::image;
use super::reader::{Fields, Node, Wrong};

pub(super) fn kubernetes(fields: &Fields<'_>) -> KubernetesSettings {
    let default = KubernetesSettings::default();
    let name = |key| fields.get(key).and_then(|node| node.read(object_name));
    let names = |key| fields.get(key).map(|node| node.read_items(object_name)).unwrap_or_default();
    let tools = fields.need("tools", "`tools = { image = \"registry.example.org/swifthook@sha256:…\" }`");
    let number = |key, default| fields.or(key, default, |node| identity(&node));
    KubernetesSettings {
        namespace: name("namespace").unwrap_or(default.namespace),
        owner: name("owner").unwrap_or(default.owner),
        tools: tools.and_then(|node| read_tools(&node)).unwrap_or(default.tools),
        claim: name("claim"),
        image: None,
        pull_secrets: names("pull_secrets"),
        service_account: name("service_account"),
        queue: name("queue"),
        priority_class: name("priority_class"),
        runtime_class: name("runtime_class"),
        node_selector: fields
            .get("node_selector")
            .map(|node| texts(&node, "`node_selector`"))
            .unwrap_or_default(),
        tolerations: fields
            .get("tolerations")
            .map(|node| node.items().iter().filter_map(toleration).collect())
            .unwrap_or_default(),
        resources: fields.get("resources").map(|node| quantities(&node)).unwrap_or_default(),
        gpu_resource: fields.or("gpu_resource", default.gpu_resource, |node| node.text().map(str::to_owned)),
        shared_memory: fields.get("shared_memory").and_then(|node| node.read(quantity)),
        volumes: fields
            .get("volumes")
            .map(|node| node.items().iter().filter_map(volume).collect())
            .unwrap_or_default(),
        checkout: fields.get("checkout").and_then(|node| checkout(&node)),
        user: (number("user", default.user.0), number("group", default.user.1)),
        place: default.place,
    }
}

fn read_tools(node: &Node<'_>) -> Option<Tools> {
    let fields = node.fields("`tools`")?;
    let image = fields.need("image", "`image = \"registry.example.org/swifthook@sha256:…\"`");
    let program = fields.or("program", "swifthook".to_owned(), |node| node.text().map(str::to_owned));
    fields.finish();
    Some(Tools { image: image?.text()?.to_owned(), program })
}

/// The repositories are filled in when they are read.
fn checkout(node: &Node<'_>) -> Option<PodCheckout> {
    let default = PodCheckout::default();
    let fields = node.fields("`checkout`")?;
    let checkout = PodCheckout {
        image: fields.get("image").and_then(|node| node.read(image)).map(|image| image.to_string()),
        secret: fields.get("secret").and_then(|node| node.read(object_name)),
        memory: fields.or("memory", default.memory, |node| node.read(quantity)),
        repositories: default.repositories,
    };
    fields.finish();
    Some(checkout)
}

fn toleration(node: &Node<'_>) -> Option<PodToleration> {
    let fields = node.fields("a toleration")?;
    let text = |key| fields.get(key).and_then(|node| node.text()).map(str::to_owned);
    let effect = fields.get("effect").and_then(|node| node.read(effect));
    let toleration = PodToleration { key: text("key"), value: text("value"), effect };
    fields.finish();
    Some(toleration)
}

fn effect(text: &str) -> Result<String, Wrong> {
    match text {
        "NoSchedule" | "PreferNoSchedule" | "NoExecute" => Ok(text.to_owned()),
        other => Err(Wrong::new(format!("no taint has the effect `{other}`"))
            .instead("`NoSchedule`, `PreferNoSchedule` or `NoExecute`; without it, all of them")),
    }
}

fn volume(node: &Node<'_>) -> Option<PodVolume> {
    let fields = node.fields("a volume")?;
    let source = |key, of: fn(String) -> VolumeSource| fields.get(key)?.read(object_name).map(of);
    let sources = [
        source("claim", VolumeSource::Claim),
        source("secret", VolumeSource::Secret),
        source("config_map", VolumeSource::ConfigMap),
        fields.get("node").and_then(|node| node.read(absolute)).map(VolumeSource::Node),
        fields
            .get("empty")
            .and_then(|node| node.flag())
            .filter(|is_empty| *is_empty)
            .map(|_| VolumeSource::Empty),
    ];
    let mut told = sources.into_iter().flatten();
    let (first, second) = (told.next(), told.next());
    if first.is_none() || second.is_some() {
        let all = "one of `claim`, `secret`, `config_map`, `node` and `empty = true`";
        node.wrong(Wrong::new("a volume has one source").instead(all));
    }
    let name = fields.need("name", "`name = \"models\"`").and_then(|node| {
        let name = node.read(object_name)?;
        if OUR_VOLUMES.contains(&&*name) {
            node.wrong(
                Wrong::new(format!("every pod has a volume `{name}` already")).instead("another name"),
            );
        }
        Some(name)
    });
    let path = fields.need("path", "`path = \"/models\"`").and_then(|node| node.read(absolute));
    let read_only = fields.or("read_only", false, |node| node.flag());
    fields.finish();
    Some(PodVolume { name: name?, source: first?, path: path?, read_only })
}

fn texts(node: &Node<'_>, place: &str) -> BTreeMap<String, String> {
    let Some(fields) = node.fields(place) else { return BTreeMap::new() };
    let entries = fields.entries().into_iter();
    entries.filter_map(|(key, _, node)| Some((key.to_owned(), node.text()?.to_owned()))).collect()
}

fn quantities(node: &Node<'_>) -> BTreeMap<String, String> {
    let Some(fields) = node.fields("`resources`") else { return BTreeMap::new() };
    let entries = fields.entries().into_iter();
    entries.filter_map(|(key, _, node)| Some((key.to_owned(), node.read(quantity)?))).collect()
}

/// As Kubernetes writes amounts: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn quantity(text: &str) -> Result<String, Wrong> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let is_unit = matches!(
        &text[digits.len()..],
        "" | "m" | "k" | "M" | "G" | "T" | "P" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi"
    );
    let is_number = digits.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0);
    if is_unit && is_number && digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("not an amount: `{text}`")).instead("for example `8`, `500m`, `64Gi`"))
}

/// As objects of a cluster are called.
fn object_name(text: &str) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let (first, last) = (text.bytes().next(), text.bytes().last());
    if text.len() > 63 || !is_edge(first) || !is_edge(last) || !text.bytes().all(is_plain) {
        return Err(Wrong::new(format!("not the name of an object: `{text}`"))
            .instead("small letters, digits, `-` and `.`, at most 63 of them"));
    }
    Ok(text.to_owned())
}

fn absolute(text: &str) -> Result<String, Wrong> {
    if text.starts_with('/') && text.len() > 1 {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("not an absolute path: `{text}`")).instead("for example `/models`"))
}

/// A user or group that is not root.
fn identity(node: &Node<'_>) -> Option<u32> {
    let number = node.number::<i64>()?;
    let identity = u32::try_from(number).ok().filter(|number| *number > 0);
    if identity.is_none() {
        node.wrong(
            Wrong::new(format!("a run is not started as {number}")).instead("a number above 0, such as 1000"),
        );
    }
    identity
}

const OUR_VOLUMES: [&str; 7] = ["swifthook", "asked", "runs", "shm", "code", "checkout-tmp", "git"];
