//! The API server's door: requests to answers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::faults::Fault;
use super::store::{Kind, Refused, Store, Stream};
use super::{Cluster, Sent};

pub(super) async fn answer(cluster: Cluster, request: Request<Body>) -> Result<Response<Sent>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.map_err(io::Error::other)?;
    let path = parts.uri.path().to_owned();
    let fault = cluster.change(|store| match store.faults.is_cut_off {
        true => Fault::Lost,
        false => (store.faults.next)(parts.method.as_str(), &path),
    });
    match fault {
        Fault::Lost => return Err(io::ErrorKind::ConnectionRefused.into()),
        Fault::Refused(code, after) => {
            let reason = if code == 429 { "TooManyRequests" } else { "InternalError" };
            let message = "refused by the plan of the test".to_owned();
            return Ok(refused(&Refused { code, reason, message }, after));
        }
        Fault::None | Fault::Unanswered => {}
    }
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let answer = route(&cluster, &parts.method, &path, &query, &body);
    if fault == Fault::Unanswered {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(answer.unwrap_or_else(|error| refused(&error, 0)))
}

fn route(
    cluster: &Cluster,
    method: &Method,
    path: &str,
    query: &Query,
    body: &Bytes,
) -> Result<Response<Sent>, Refused> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (kind, rest) = match parts.as_slice() {
        ["apis", "batch", "v1", "namespaces", "default", "jobs", rest @ ..] => (Kind::Job, rest),
        ["api", "v1", "namespaces", "default", "pods", rest @ ..] => (Kind::Pod, rest),
        ["api", "v1", "namespaces", "default", "secrets", rest @ ..] => (Kind::Secret, rest),
        _ => return Err(unknown(path)),
    };
    let read = || {
        serde_json::from_slice::<Value>(body).map_err(|error| Refused {
            code: 400,
            reason: "BadRequest",
            message: error.to_string(),
        })
    };
    let done = |object: Value| Ok(json_answer(200, &object));
    match (method.as_str(), rest) {
        ("POST", []) => Ok(json_answer(201, &cluster.change(|store| store.create(kind, read()?))?)),
        ("GET", []) if query.is("watch") => watch(cluster, kind, query),
        ("GET", []) => done(cluster.store().list(kind, query.get("labelSelector"))),
        ("GET", [name]) => done(cluster.object(kind, name).ok_or_else(|| Refused::not_found(kind, name))?),
        ("PUT", [name]) => done(cluster.change(|store| store.replace(kind, name, read()?))?),
        ("PATCH", [name]) => done(cluster.change(|store| store.merge(kind, name, &read()?))?),
        ("DELETE", [name]) => {
            let options = if body.is_empty() { json!({}) } else { read()? };
            done(cluster.change(|store| store.delete(kind, name, &options))?)
        }
        ("GET", [name, "log"]) if kind == Kind::Pod => log(cluster, name, query),
        _ => Err(unknown(path)),
    }
}

fn watch(cluster: &Cluster, kind: Kind, query: &Query) -> Result<Response<Sent>, Refused> {
    let (stream, answer) = stream();
    let after = query.get("resourceVersion").parse().unwrap_or(0);
    let begun = cluster
        .change(|store: &mut Store| store.watch(kind, query.get("labelSelector"), after, stream.clone()));
    if let Err(error) = begun {
        // The real one has begun to answer by then: what it refuses is an event.
        let event = json!({ "type": "ERROR", "object": status(&error, 0) });
        let _ = stream.send(Ok(format!("{event}\n").into()));
        return Ok(answer);
    }
    let seconds = query.get("timeoutSeconds").parse().unwrap_or(290);
    let (ending, stream) = (cluster.clone(), stream.downgrade());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if let Some(stream) = stream.upgrade() {
            ending.change(|store| store.end_watch(&stream));
        }
    });
    Ok(answer)
}

fn log(cluster: &Cluster, pod: &str, query: &Query) -> Result<Response<Sent>, Refused> {
    let object = cluster.object(Kind::Pod, pod).ok_or_else(|| Refused::not_found(Kind::Pod, pod))?;
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let log = cluster.inner.logs.of(uid).ok_or_else(|| Refused {
        code: 400,
        reason: "BadRequest",
        message: format!("container in pod {pod} is waiting to start"),
    })?;
    let (stream, answer) = stream();
    cluster.change(|store| store.streams.push(stream.downgrade()));
    assert!(query.is("timestamps"), "lines without a time are not given here");
    log.send(query.get("sinceTime"), query.is("follow"), stream);
    Ok(answer)
}

fn stream() -> (Stream, Response<Sent>) {
    let (stream, mut received) = mpsc::unbounded_channel::<Result<Bytes, io::Error>>();
    let frames = futures_util::stream::poll_fn(move |context| {
        received.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    });
    (stream, Response::new(StreamBody::new(frames).boxed_unsync()))
}

fn json_answer(code: u16, object: &Value) -> Response<Sent> {
    let body = Full::new(Bytes::from(serde_json::to_vec(object).unwrap())).map_err(|never| match never {});
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(body.boxed_unsync()).unwrap()
}

fn refused(error: &Refused, after: u32) -> Response<Sent> {
    json_answer(error.code, &status(error, after))
}

fn status(error: &Refused, after: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": error.code, "reason": error.reason, "message": error.message,
        "details": { "retryAfterSeconds": after },
    })
}

fn unknown(path: &str) -> Refused {
    Refused { code: 404, reason: "NotFound", message: format!("the server could not find {path}") }
}

struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn is(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }
}
