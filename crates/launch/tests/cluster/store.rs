//! The objects, their versions, and who watches them.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};

use super::faults::Faults;
use super::now;

/// The kinds of objects that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Job,
    Pod,
    Secret,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
        }
    }

    pub(super) fn version(self) -> &'static str {
        if self == Self::Job { "batch/v1" } else { "v1" }
    }
}

/// Where the bytes of a stream go.
pub(super) type Stream = UnboundedSender<Result<Bytes, io::Error>>;

#[derive(Default)]
pub(crate) struct Store {
    version: u64,
    identities: u64,
    objects: BTreeMap<(Kind, String), Value>,
    history: VecDeque<Event>,
    /// Up to which version the history is forgotten.
    forgotten: u64,
    watches: Vec<Watch>,
    /// Watches that were broken, and whose listeners may not know yet.
    broken: Vec<Stream>,
    /// Of logs, which end by themselves.
    pub(super) streams: Vec<WeakUnboundedSender<Result<Bytes, io::Error>>>,
    pub(super) faults: Faults,
    /// Whether pods of Jobs that somebody deletes count for nothing.
    pub(super) is_forgetful: bool,
    /// Every object as it was made.
    pub(super) made: Vec<(Kind, Value)>,
}

struct Event {
    version: u64,
    kind: Kind,
    what: &'static str,
    object: Value,
}

struct Watch {
    kind: Kind,
    selector: String,
    stream: Stream,
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object)
    }

    pub(crate) fn create(&mut self, kind: Kind, mut object: Value) -> Result<Value, Refused> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        check_name(&name)?;
        check_labels(&object)?;
        if self.get(kind, &name).is_some() {
            return Err(Refused::conflict(
                "AlreadyExists",
                format!("{} \"{name}\" already exists", kind.name()),
            ));
        }
        self.identities += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.identities));
        object["metadata"]["creationTimestamp"] = json!(now());
        object["metadata"]["namespace"] = json!("default");
        if kind == Kind::Secret {
            encode(&mut object);
        }
        self.made.push((kind, object.clone()));
        Ok(self.put(kind, &name, object, "ADDED"))
    }

    /// Replaces an object, unless it is not of the version that the new one was made from.
    pub(crate) fn replace(&mut self, kind: Kind, name: &str, mut object: Value) -> Result<Value, Refused> {
        let old = self.get(kind, name).ok_or_else(|| Refused::not_found(kind, name))?;
        let (told, is) = (&object["metadata"]["resourceVersion"], &old["metadata"]["resourceVersion"]);
        if !told.is_null() && told != is {
            return Err(Refused::conflict("Conflict", format!("the object has been modified: {name}")));
        }
        if kind == Kind::Job && object["spec"]["template"] != old["spec"]["template"] {
            return Err(Refused::invalid("spec.template: field is immutable"));
        }
        check_labels(&object)?;
        for field in ["uid", "creationTimestamp", "deletionTimestamp"] {
            let is = old["metadata"][field].clone();
            if !is.is_null() {
                object["metadata"][field] = is;
            }
        }
        let mut old = old.clone();
        old["metadata"]["resourceVersion"] = object["metadata"]["resourceVersion"].clone();
        if old == object {
            return Ok(self.get(kind, name).cloned().unwrap_or_default());
        }
        let object = self.put(kind, name, object, "MODIFIED");
        self.remove_if_due(kind, name);
        Ok(object)
    }

    /// <https://www.rfc-editor.org/rfc/rfc7386>
    pub(crate) fn merge(&mut self, kind: Kind, name: &str, patch: &Value) -> Result<Value, Refused> {
        let mut object = self.get(kind, name).cloned().ok_or_else(|| Refused::not_found(kind, name))?;
        merge(&mut object, patch);
        self.replace(kind, name, object)
    }

    /// As the API server deletes: `options` are those of the request.
    pub(crate) fn delete(&mut self, kind: Kind, name: &str, options: &Value) -> Result<Value, Refused> {
        let mut object = self.get(kind, name).cloned().ok_or_else(|| Refused::not_found(kind, name))?;
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return Err(Refused::conflict(
                "Conflict",
                "the UID in the precondition is of another object".to_owned(),
            ));
        }
        if kind == Kind::Job && options["propagationPolicy"] == "Foreground" {
            push_finalizer(&mut object, FOREGROUND);
        }
        let runs = kind == Kind::Pod
            && !object["spec"]["nodeName"].is_null()
            && !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let grace = options["gracePeriodSeconds"]
            .as_u64()
            .or(object["spec"]["terminationGracePeriodSeconds"].as_u64())
            .unwrap_or(30);
        if runs {
            let before = object["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(u64::MAX);
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace.min(before));
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(now());
        }
        let object = self.put(kind, name, object, "MODIFIED");
        if !runs || grace == 0 {
            self.remove_if_due(kind, name);
        }
        Ok(object)
    }

    /// Removes an object whose deletion waits for nothing any more.
    pub(super) fn remove_if_due(&mut self, kind: Kind, name: &str) {
        let Some(object) = self.get(kind, name) else { return };
        let has_finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        let runs = kind == Kind::Pod
            && !object["spec"]["nodeName"].is_null()
            && object["metadata"]["deletionGracePeriodSeconds"] != 0
            && !matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if !object["metadata"]["deletionTimestamp"].is_null() && !has_finalizers && !runs {
            self.remove(kind, name);
        }
    }

    /// Removes an object at once.
    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        let Some(mut object) = self.objects.remove(&(kind, name.to_owned())) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(kind, "DELETED", object);
    }

    /// What a list answers.
    pub(super) fn list(&self, kind: Kind, selector: &str) -> Value {
        let items: Vec<&Value> = self.all(kind).filter(|object| is_chosen(object, selector)).collect();
        json!({
            "apiVersion": kind.version(),
            "kind": format!("{}List", kind.name()),
            "metadata": { "resourceVersion": self.version.to_string() },
            "items": items,
        })
    }

    /// Begins to tell of changes after a version; refused if those after it are forgotten in part.
    pub(super) fn watch(
        &mut self,
        kind: Kind,
        selector: &str,
        after: u64,
        stream: Stream,
    ) -> Result<(), Refused> {
        if after < self.forgotten {
            let message = format!("too old resource version: {after} ({})", self.forgotten);
            return Err(Refused { code: 410, reason: "Expired", message });
        }
        for event in self.history.iter().filter(|event| event.kind == kind && event.version > after) {
            if is_chosen(&event.object, selector) {
                let _ = stream.send(Ok(line(event.what, &event.object)));
            }
        }
        self.watches.push(Watch { kind, selector: selector.to_owned(), stream });
        Ok(())
    }

    pub(super) fn watches(&self) -> usize {
        let all = self.watches.iter().map(|watch| &watch.stream).chain(&self.broken);
        all.filter(|stream| !stream.is_closed()).count()
    }

    /// Tells all watches how far they are.
    pub(crate) fn bookmark(&mut self) {
        self.watches.retain(|watch| !watch.stream.is_closed());
        for watch in &self.watches {
            let mark = json!({
                "apiVersion": watch.kind.version(), "kind": watch.kind.name(),
                "metadata": { "resourceVersion": self.version.to_string(), "creationTimestamp": null },
            });
            let _ = watch.stream.send(Ok(line("BOOKMARK", &mark)));
        }
    }

    /// Ends one watch in good order, as when its time is over.
    pub(super) fn end_watch(&mut self, stream: &Stream) {
        self.watches.retain(|watch| !watch.stream.same_channel(stream));
    }

    /// Ends all watches in good order, as it does now and then.
    pub(crate) fn end_watches(&mut self) {
        self.watches.clear();
    }

    /// Breaks whatever is being sent.
    pub(crate) fn break_streams(&mut self) {
        let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let logs = self.streams.drain(..).filter_map(|stream| stream.upgrade());
        logs.for_each(|log| drop(log.send(broken())));
        for watch in self.watches.drain(..) {
            let _ = watch.stream.send(broken());
            self.broken.push(watch.stream);
        }
    }

    pub(crate) fn forget_history(&mut self) {
        self.history.clear();
        self.forgotten = self.version;
    }

    fn put(&mut self, kind: Kind, name: &str, mut object: Value, what: &'static str) -> Value {
        self.version += 1;
        object["apiVersion"] = json!(kind.version());
        object["kind"] = json!(kind.name());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert((kind, name.to_owned()), object.clone());
        self.tell(kind, what, object.clone());
        object
    }

    fn tell(&mut self, kind: Kind, what: &'static str, object: Value) {
        self.watches.retain(|watch| !watch.stream.is_closed());
        for watch in
            self.watches.iter().filter(|watch| watch.kind == kind && is_chosen(&object, &watch.selector))
        {
            let _ = watch.stream.send(Ok(line(what, &object)));
        }
        self.history.push_back(Event { version: self.version, kind, what, object });
    }
}

impl Refused {
    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        Self { code: 404, reason: "NotFound", message: format!("{} \"{name}\" not found", kind.name()) }
    }

    pub(super) fn conflict(reason: &'static str, message: String) -> Self {
        Self { code: 409, reason, message }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: 422, reason: "Invalid", message: message.into() }
    }
}

fn line(what: &str, object: &Value) -> Bytes {
    let mut text = serde_json::to_vec(&json!({ "type": what, "object": object })).unwrap();
    text.push(b'\n');
    text.into()
}

/// Labels that are equal, and no other selector.
fn is_chosen(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| {
        let (label, value) = part.split_once('=').expect("a selector of equal labels");
        object["metadata"]["labels"][label] == value
    })
}

fn check_name(name: &str) -> Result<(), Refused> {
    let is_plain = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "-.".contains(character)
    };
    match !name.is_empty() && name.len() <= 63 && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(Refused::invalid(format!("metadata.name: Invalid value: \"{name}\""))),
    }
}

fn check_labels(object: &Value) -> Result<(), Refused> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    for (label, value) in labels {
        let value = value.as_str().unwrap_or_default();
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if value.len() > 63 || !value.chars().all(is_plain) {
            return Err(Refused::invalid(format!("metadata.labels: Invalid value: {label}={value}")));
        }
    }
    Ok(())
}

fn encode(secret: &mut Value) {
    use base64::Engine as _;
    let Some(texts) = secret["stringData"].as_object().cloned() else { return };
    for (name, text) in texts {
        let text = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        secret["data"][name] = json!(text);
    }
    secret.as_object_mut().unwrap().remove("stringData");
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(name)),
            value => merge(&mut target[name.as_str()], value),
        }
    }
}

pub(super) fn push_finalizer(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    if finalizers.is_null() {
        *finalizers = json!([]);
    }
    let all = finalizers.as_array_mut().unwrap();
    if !all.iter().any(|one| one == finalizer) {
        all.push(json!(finalizer));
    }
}

pub(super) const FOREGROUND: &str = "foregroundDeletion";
