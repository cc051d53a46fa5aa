//! From the bytes of a request to what it asks: its bounds are looked at before anything is taken into memory.

use super::jsonrpc;
use super::limits::{JSON_DEPTH_MAX, JSON_PLAIN_BYTES_MAX, JSON_TEXT_BYTES_MAX, JSON_VALUES_MAX};
use ringseed_api::Request;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Why a request is not looked at. Nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// It is not JSON, or not of its form.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// A text other than the one argument that may be large.
    #[error("a text of more than {JSON_TEXT_BYTES_MAX} bytes: only metainfo may be that long")]
    LongText,
    /// Lists in lists in lists.
    #[error("lists and objects are nested deeper than {JSON_DEPTH_MAX}")]
    TooDeep,
    /// More values than a request needs.
    #[error("more than {JSON_VALUES_MAX} values: name fewer torrents or files at once")]
    TooManyValues,
    /// More bytes than a request needs.
    #[error("more than {JSON_PLAIN_BYTES_MAX} bytes beside metainfo")]
    TooLong,
}

/// The one argument that may be large: a torrent file in base64.
const LARGE_ARGUMENT: &[u8] = b"metainfo";

/// A request in one of the two forms.
pub(super) enum Asked {
    /// Transmission's legacy form, or why it is none.
    Legacy(Result<Request, RequestError>),
    /// JSON-RPC 2.0: a call or a batch, or why it is none.
    JsonRpc(Result<Value, RequestError>),
}

/// Reads a body. This takes up to half a second for the largest: not on a thread that others wait for.
pub(super) fn read(body: &[u8]) -> Asked {
    let bounded = check(body);
    if jsonrpc::is_request(body) {
        let value = bounded.and_then(|()| parse::<Value>(body)).map(|mut value| {
            let calls = match &mut value {
                Value::Array(calls) => calls.as_mut_slice(),
                call => std::slice::from_mut(call),
            };
            for params in calls.iter_mut().filter_map(|call| call.get_mut("params")?.as_object_mut()) {
                name_each_once(params);
            }
            value
        });
        return Asked::JsonRpc(value);
    }
    Asked::Legacy(bounded.and_then(|()| parse::<Request>(body)).map(|mut request| {
        name_each_once(&mut request.arguments);
        request
    }))
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, RequestError> {
    Ok(serde_json::from_slice(body)?)
}

/// Leaves each id in a list once.
fn name_each_once(arguments: &mut Map<String, Value>) {
    let Some(Value::Array(ids)) = arguments.get_mut("ids") else { return };
    let (mut numbers, mut texts) = (HashSet::new(), HashSet::new());
    ids.retain(|id| match id {
        Value::Number(number) => number.as_i64().is_none_or(|number| numbers.insert(number)),
        Value::String(text) => texts.insert(text.clone()),
        _ => true,
    });
}

/// Whether a text that may be JSON keeps the bounds of a request.
///
/// # Errors
/// Which one it breaks.
fn check(text: &[u8]) -> Result<(), RequestError> {
    let (mut depth, mut values, mut large_bytes) = (0usize, 0usize, 0usize);
    // The last text, and the one before a colon: the name of the value that follows.
    let (mut last, mut name) = (&text[..0], &text[..0]);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let start = at;
                while let Some(byte) = text.get(at)
                    && *byte != b'"'
                {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                last = &text[start..at.min(text.len())];
                at += 1;
                if last.len() > JSON_TEXT_BYTES_MAX {
                    if name != LARGE_ARGUMENT {
                        return Err(RequestError::LongText);
                    }
                    large_bytes += last.len();
                }
                name = &text[..0];
            }
            b':' => {
                (name, values) = (last, values + 1);
            }
            b',' => values += 1,
            b'{' | b'[' => {
                (depth, values, name) = (depth + 1, values + 1, &text[..0]);
                if depth > JSON_DEPTH_MAX {
                    return Err(RequestError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if values > JSON_VALUES_MAX {
            return Err(RequestError::TooManyValues);
        }
    }
    match text.len() - large_bytes > JSON_PLAIN_BYTES_MAX {
        true => Err(RequestError::TooLong),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(body: &str) -> Result<Request, RequestError> {
        match read(body.as_bytes()) {
            Asked::Legacy(request) => request,
            Asked::JsonRpc(_) => panic!("another form"),
        }
    }

    #[test]
    fn only_a_torrent_file_may_be_large() {
        let long = "A".repeat(JSON_TEXT_BYTES_MAX + 1);
        let add =
            |name: &str| legacy(&format!(r#"{{"method":"torrent-add","arguments":{{"{name}": "{long}"}}}}"#));
        assert_eq!(add("metainfo").unwrap().arguments["metainfo"].as_str().unwrap().len(), long.len());
        for name in ["filename", "labels", "metainf\\u006f", &long] {
            assert!(matches!(add(name), Err(RequestError::LongText)), "{name:.20}");
        }
        let list = legacy(&format!(r#"{{"method":"x","arguments":{{"metainfo":["{long}"]}}}}"#));
        assert!(matches!(list, Err(RequestError::LongText)));
        // Many texts that are not too long each.
        let half = &long[..JSON_TEXT_BYTES_MAX / 2];
        let many =
            format!(r#"{{"method":"x","arguments":{{"a":[{}"b"]}}}}"#, format!(r#""{half}","#).repeat(40));
        assert!(matches!(legacy(&many), Err(RequestError::TooLong)));
    }

    #[test]
    fn lists_and_depth_are_bounded() {
        let ids = |count: usize, id: &str| {
            legacy(&format!(
                r#"{{"method":"torrent-get","arguments":{{"ids":[{}1]}}}}"#,
                format!("{id},").repeat(count)
            ))
        };
        // Each torrent is named once, however often it was.
        assert_eq!(ids(100_000, "1").unwrap().arguments["ids"], serde_json::json!([1]));
        assert_eq!(ids(100_000, r#""ab""#).unwrap().arguments["ids"], serde_json::json!(["ab", 1]));
        assert!(matches!(ids(JSON_VALUES_MAX, "1"), Err(RequestError::TooManyValues)));
        let nested = |depth| {
            format!(r#"{{"method":"x","arguments":{{"a":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(legacy(&nested(JSON_DEPTH_MAX - 2)).is_ok());
        assert!(matches!(legacy(&nested(JSON_DEPTH_MAX - 1)), Err(RequestError::TooDeep)));
        let objects =
            format!(r#"{{"method":"x","arguments":{{{}"z":1}}}}"#, r#""a":1,"#.repeat(JSON_VALUES_MAX));
        assert!(matches!(legacy(&objects), Err(RequestError::TooManyValues)));
    }

    #[test]
    fn the_newer_form_has_the_same_bounds() {
        let call = |ids: String| {
            let call =
                format!(r#"{{"jsonrpc":"2.0","method":"torrent_get","params":{{"ids":[{ids}]}},"id":1}}"#);
            [call.clone(), format!("[{call},{call}]")].map(|body| match read(body.as_bytes()) {
                Asked::JsonRpc(value) => value,
                Asked::Legacy(_) => panic!("another form"),
            })
        };
        let [one, batch] = call("2,2,2".to_owned());
        assert_eq!(one.unwrap()["params"]["ids"], serde_json::json!([2]));
        assert_eq!(batch.unwrap()[1]["params"]["ids"], serde_json::json!([2]));
        for value in call(format!("{}1", "1,".repeat(JSON_VALUES_MAX))) {
            assert!(matches!(value, Err(RequestError::TooManyValues)));
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_the_parser() {
        for body in ["", "\"", "\"\\", "{\"a", "}}}}", "]", "{\"method\":\"x\\\"}", "\u{e9}"] {
            assert!(legacy(body).is_err(), "{body}");
        }
        let text = r#"{"method":"x","arguments":{"a":"b\\","c":"\"[{\\\"","d":[1,{"e":null}]}}"#;
        assert!(legacy(text).is_ok());
    }
}
