//! Transmission 4.1's JSON-RPC 2.0 form of the same methods: snake case, `params`, error objects.
//!
//! The answer 409 does not yet carry `X-Transmission-Rpc-Version`, so that clients which know both forms go on with
//! the legacy one.

use super::answers::AnswerTurn;
use super::error::Code;
use super::limits::{ANSWER_SMALL_BYTES, BATCH_ANSWER_BYTES_MAX};
use super::requests::RequestError;
use super::server::Server;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Requests in one batch.
const BATCH_MAX: usize = 100;

/// Names of the legacy form whose snake case does not lead back to them by a rule.
const LEGACY_NAMES: &[&str] = &[
    "activityDate",
    "addedDate",
    "alt-speed-down",
    "alt-speed-enabled",
    "alt-speed-time-begin",
    "alt-speed-time-day",
    "alt-speed-time-enabled",
    "alt-speed-time-end",
    "alt-speed-up",
    "bandwidthPriority",
    "bannedPeers",
    "blocklist-enabled",
    "blocklist-url",
    "corruptEver",
    "dateCreated",
    "default-trackers",
    "delete-local-data",
    "desiredAvailable",
    "doneDate",
    "download-dir",
    "download-queue-enabled",
    "download-queue-size",
    "downloadDir",
    "downloadLimit",
    "downloadLimited",
    "downloadedEver",
    "editDate",
    "errorString",
    "etaIdle",
    "file-count",
    "fileStats",
    "files-unwanted",
    "files-wanted",
    "hashString",
    "haveUnchecked",
    "haveValid",
    "honorsSessionLimits",
    "idle-seeding-limit",
    "idle-seeding-limit-enabled",
    "incomplete-dir",
    "incomplete-dir-enabled",
    "isFinished",
    "isPrivate",
    "isStalled",
    "leftUntilDone",
    "magnetLink",
    "manualAnnounceTime",
    "maxConnectedPeers",
    "metadataPercentComplete",
    "peer-limit",
    "peer-limit-global",
    "peer-limit-per-torrent",
    "peer-port",
    "peersConnected",
    "peersFrom",
    "peersGettingFromUs",
    "peersSendingToUs",
    "percentComplete",
    "percentDone",
    "pieceCount",
    "pieceSize",
    "primary-mime-type",
    "priority-high",
    "priority-low",
    "priority-normal",
    "queue-stalled-enabled",
    "queue-stalled-minutes",
    "queuePosition",
    "rateDownload",
    "rateUpload",
    "recheckProgress",
    "rename-partial-files",
    "secondsDownloading",
    "secondsSeeding",
    "seed-queue-enabled",
    "seed-queue-size",
    "seedIdleLimit",
    "seedIdleMode",
    "seedRatioLimit",
    "seedRatioLimited",
    "seedRatioMode",
    "sizeWhenDone",
    "speed-limit-down",
    "speed-limit-down-enabled",
    "speed-limit-up",
    "speed-limit-up-enabled",
    "start-added-torrents",
    "startDate",
    "torrentFile",
    "totalSize",
    "trackerAdd",
    "trackerList",
    "trackerRemove",
    "trackerReplace",
    "trackerStats",
    "trash-original-torrent-files",
    "uploadLimit",
    "uploadLimited",
    "uploadRatio",
    "uploadedEver",
    "webseedsSendingToUs",
    "download-dir-free-space",
    "config-dir",
    "rpc-version",
    "rpc-version-minimum",
    "rpc-version-semver",
    "session-id",
    "dht-enabled",
    "lpd-enabled",
    "pex-enabled",
    "utp-enabled",
    "tcp-enabled",
    "port-forwarding-enabled",
    "peer-port-random-on-start",
    "blocklist-size",
    "cache-size-mb",
    "script-torrent-added-enabled",
    "script-torrent-added-filename",
    "script-torrent-done-enabled",
    "script-torrent-done-filename",
    "script-torrent-done-seeding-enabled",
    "script-torrent-done-seeding-filename",
    "anti-brute-force-enabled",
    "anti-brute-force-threshold",
    "webSeeds",
    "creationDate",
];

/// Arguments whose legacy name depends on the method: torrents and the session write these differently.
const BY_METHOD: &[(&str, &str, &str)] = &[
    ("torrent-get", "download_dir", "downloadDir"),
    ("torrent-add", "download_dir", "download-dir"),
    ("session-get", "download_dir", "download-dir"),
    ("session-set", "download_dir", "download-dir"),
    ("torrent-get", "sequential_download", "sequential_download"),
];

#[derive(Deserialize)]
struct Call {
    jsonrpc: String,
    method: String,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
}

/// An id that is null is still an id.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Whether a body is of this form rather than the legacy one.
pub(super) fn is_request(body: &[u8]) -> bool {
    // Both forms are objects; only this one names its version, or is a batch.
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace());
    match start.map(|start| body[start]) {
        Some(b'[') => true,
        Some(b'{') => serde_json::from_slice::<Marker>(body).is_ok_and(|marker| marker.jsonrpc.is_some()),
        _ => false,
    }
}

#[derive(Deserialize)]
struct Marker {
    #[serde(default)]
    jsonrpc: Option<serde::de::IgnoredAny>,
}

impl Server {
    /// Answers a request or a batch; `None` when there is nothing to answer.
    pub(super) async fn call_2(
        &self,
        request: Result<Value, RequestError>,
        turn: &AnswerTurn<'_>,
    ) -> Option<Vec<u8>> {
        match request {
            Err(why) => Some(failure(Value::Null, Code::ParseError, &why.to_string())),
            Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > BATCH_MAX => {
                Some(failure(Value::Null, Code::InvalidRequest, "a batch has 1 to 100 requests"))
            }
            Ok(Value::Array(calls)) => self.batch(calls, turn).await,
            Ok(call) => self.call_one(call, turn).await,
        }
    }

    async fn batch(&self, calls: Vec<Value>, turn: &AnswerTurn<'_>) -> Option<Vec<u8>> {
        let mut answers = Vec::new();
        for call in calls {
            let answer = match answers.len() > BATCH_ANSWER_BYTES_MAX {
                true => call.get("id").map(|id| {
                    let why = "the answers of this batch are too large together: ask this by itself";
                    failure(id.clone(), Code::Refused, why)
                }),
                false => self.call_one(call, turn).await,
            };
            if let Some(answer) = answer {
                answers.push(if answers.is_empty() { b'[' } else { b',' });
                answers.extend_from_slice(&answer);
            }
        }
        if answers.is_empty() {
            return None;
        }
        answers.push(b']');
        Some(answers)
    }

    async fn call_one(&self, call: Value, turn: &AnswerTurn<'_>) -> Option<Vec<u8>> {
        let known_id = call.get("id").cloned().unwrap_or(Value::Null);
        let call: Call = match serde_json::from_value(call) {
            Ok(call) => call,
            Err(error) => return Some(failure(known_id, Code::InvalidRequest, &error.to_string())),
        };
        if call.jsonrpc != "2.0" {
            return Some(failure(known_id, Code::InvalidRequest, "jsonrpc is \"2.0\""));
        }
        let method = call.method.replace('_', "-");
        let arguments = legacy_arguments(&method, call.params);
        let outcome = self.answer_to(&method, arguments, turn).await;
        let id = call.id?;
        Some(match outcome {
            // Much of it is turned into this form beside this thread.
            Ok(text) if text.len() > ANSWER_SMALL_BYTES => {
                tokio::task::spawn_blocking(move || success(id, &text, &method)).await.ok()?
            }
            Ok(text) => success(id, &text, &method),
            Err(error) => failure(id, error.code(), &error.to_string()),
        })
    }
}

fn success(id: Value, text: &[u8], method: &str) -> Vec<u8> {
    let arguments: Value = serde_json::from_slice(text).unwrap_or_default();
    written(&json!({"jsonrpc": "2.0", "result": modern(arguments, method), "id": id}))
}

fn failure(id: Value, code: Code, detail: &str) -> Vec<u8> {
    let message = code.name().unwrap_or(detail);
    written(&json!({
        "jsonrpc": "2.0",
        "error": {"code": code as i32, "message": message, "data": {"error_string": detail}},
        "id": id
    }))
}

fn written(answer: &Value) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_default()
}

/// The legacy names by their snake case.
fn legacy_names() -> &'static HashMap<String, &'static str> {
    static NAMES: OnceLock<HashMap<String, &'static str>> = OnceLock::new();
    NAMES.get_or_init(|| LEGACY_NAMES.iter().map(|name| (snake(name), *name)).collect())
}

fn legacy(method: &str, name: &str) -> String {
    let by_method = BY_METHOD.iter().find(|(of, snake, _)| *of == method && *snake == name);
    let found = by_method.map(|(_, _, legacy)| *legacy).or_else(|| legacy_names().get(name).copied());
    found.unwrap_or(name).to_owned()
}

/// The arguments under their legacy names, with the values of `fields` too.
pub(super) fn legacy_arguments(method: &str, params: Map<String, Value>) -> Map<String, Value> {
    let mut arguments = Map::new();
    for (name, mut value) in params {
        match (name.as_str(), &mut value) {
            ("fields", Value::Array(fields)) => {
                for field in fields.iter_mut() {
                    if let Value::String(text) = field {
                        *text = legacy(method, text);
                    }
                }
            }
            ("ids", Value::String(word)) if word == "recently_active" => *word = "recently-active".to_owned(),
            ("encryption", Value::String(word)) if word == "allowed" => *word = "tolerated".to_owned(),
            _ => {}
        }
        arguments.insert(legacy(method, &name), value);
    }
    arguments
}

/// An answer in snake case, with the values that differ between the forms.
pub(super) fn modern(value: Value, method: &str) -> Value {
    match value {
        Value::Array(items) => {
            // The first row of a table names its columns.
            let table = method == "torrent-get" && matches!(items.first(), Some(Value::Array(_)));
            let mut items: Vec<Value> = items.into_iter().map(|item| modern(item, method)).collect();
            if let Some(Value::Array(names)) = items.first_mut().filter(|_| table) {
                for name in names {
                    if let Value::String(text) = name {
                        *text = snake(text);
                    }
                }
            }
            Value::Array(items)
        }
        Value::Object(fields) => {
            let modern_field = |(name, value): (String, Value)| {
                let value = match (name.as_str(), value) {
                    ("wanted", Value::Array(flags)) => flags
                        .into_iter()
                        .map(|flag| Value::Bool(flag != json!(0) && flag != json!(false)))
                        .collect(),
                    ("encryption", Value::String(word)) if word == "tolerated" => json!("allowed"),
                    (_, value) => modern(value, method),
                };
                (snake(&name), value)
            };
            Value::Object(fields.into_iter().map(modern_field).collect())
        }
        other => other,
    }
}

/// A name in snake case.
pub(super) fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before_is_capital = true;
    for letter in name.chars() {
        match letter {
            '-' => {
                out.push('_');
                before_is_capital = true;
            }
            capital if capital.is_ascii_uppercase() => {
                if !before_is_capital {
                    out.push('_');
                }
                out.push(capital.to_ascii_lowercase());
                before_is_capital = true;
            }
            other => {
                out.push(other);
                before_is_capital = false;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for (old, new) in [
            ("hashString", "hash_string"),
            ("peer-limit", "peer_limit"),
            ("isUTP", "is_utp"),
            ("primary-mime-type", "primary_mime_type"),
            ("total_size", "total_size"),
        ] {
            assert_eq!(snake(old), new);
        }
        for name in LEGACY_NAMES {
            let back = legacy_names()[&snake(name)];
            // The session and torrents share a few: those are decided by the method.
            assert!(
                back == *name || BY_METHOD.iter().any(|(_, new, _)| *new == snake(name)),
                "{name} {back}"
            );
        }
        assert_eq!(legacy("torrent-get", "download_dir"), "downloadDir");
        assert_eq!(legacy("session-set", "download_dir"), "download-dir");
    }

    #[test]
    fn forms_are_told_apart() {
        assert!(is_request(br#" {"jsonrpc":"2.0","method":"x"}"#) && is_request(b"[]"));
        assert!(!is_request(br#"{"method":"session-get"}"#) && !is_request(b"") && !is_request(b"{"));
    }
}
