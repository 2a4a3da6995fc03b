//! The output of containers, with the time of each line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::store::Stream;

#[derive(Default)]
pub(super) struct Logs {
    of_pods: Mutex<HashMap<String, Arc<Log>>>,
}

/// The output of one container.
pub(super) struct Log {
    text: watch::Sender<Text>,
}

#[derive(Default)]
struct Text {
    /// As it is sent: each line with its time in front.
    bytes: Vec<u8>,
    /// Where each line begins, and its time.
    lines: Vec<(usize, String)>,
    is_over: bool,
}

impl Logs {
    pub(super) fn begin(&self, uid: &str) -> Arc<Log> {
        let log = Arc::new(Log { text: watch::Sender::default() });
        self.of_pods.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), log.clone());
        log
    }

    pub(super) fn of(&self, uid: &str) -> Option<Arc<Log>> {
        self.of_pods.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }
}

impl Log {
    pub(super) fn write(&self, piece: &[u8]) {
        let time = k8s_openapi::jiff::Timestamp::now().to_string();
        self.text.send_modify(|text| {
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                if text.bytes.last().is_none_or(|last| *last == b'\n') {
                    text.lines.push((text.bytes.len(), time.clone()));
                    text.bytes.extend_from_slice(format!("{time} ").as_bytes());
                }
                text.bytes.extend_from_slice(line);
            }
        });
    }

    /// All of it, without the times.
    pub(super) fn text(&self) -> String {
        let text = self.text.borrow();
        let lines = text.bytes.split_inclusive(|byte| *byte == b'\n').map(String::from_utf8_lossy);
        lines.map(|line| line.split_once(' ').map_or(String::new(), |(_, rest)| rest.to_owned())).collect()
    }

    pub(super) fn end(&self) {
        self.text.send_modify(|text| text.is_over = true);
    }

    /// Sends what there is since a time, which counts by whole seconds; and what comes, if it is to follow.
    pub(super) fn send(self: Arc<Self>, since: &str, follow: bool, stream: Stream) {
        let mut text = self.text.subscribe();
        let mut sent = {
            let text = text.borrow_and_update();
            let second = since.get(..19).unwrap_or_default();
            let first = text.lines.iter().find(|(_, time)| &time[..19] >= second);
            first.map_or(if second.is_empty() { 0 } else { text.bytes.len() }, |(begin, _)| *begin)
        };
        tokio::spawn(async move {
            loop {
                let (piece, is_over) = {
                    let text = text.borrow_and_update();
                    (Bytes::copy_from_slice(&text.bytes[sent..]), text.is_over)
                };
                sent += piece.len();
                if (!piece.is_empty() && stream.send(Ok(piece)).is_err()) || is_over || !follow {
                    return;
                }
                tokio::select! {
                    changed = text.changed() => if changed.is_err() { return },
                    () = stream.closed() => return,
                }
            }
        });
    }
}
