//! What the parsers of the RPC promise for every input: no panic, bounds kept, and what was accepted comes back the same
//! when it is written and read again. The fuzz targets and the test over their corpus both call these.

use super::qbt::form::{FIELDS_MAX, Form};
use super::{base64, jsonrpc, requests};
use ringseed_api::{
    AddArgs, CreateArgs, CreationsArgs, FreeSpaceArgs, GetArgs, Group, IdsArgs, LocationArgs, RemoveArgs,
    RenameArgs, Request, SessionSetArgs, SetArgs,
};
use ringseed_handle::Blocklist;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Debug;

/// What holds for any bytes.
type Promise = fn(&[u8]);

/// All invariants by the name of their target, which is that of the folder in `engine/fuzz/corpus`.
pub const ALL: [(&str, Promise); 5] = [
    ("legacy", legacy),
    ("json_rpc", json_rpc),
    ("form", form),
    ("base64", base64),
    ("blocklist", blocklist),
];

/// A request of Transmission's legacy form survives being written, and so do the arguments of every method.
pub fn legacy(data: &[u8]) {
    // The bounds are looked at before the text is known to be JSON.
    requests::read(data);
    let Ok(request) = serde_json::from_slice::<Request>(data) else { return };
    same(&request);
    all_arguments(&request.arguments);
}

fn all_arguments(arguments: &Map<String, Value>) {
    let value = Value::Object(arguments.clone());
    arguments_of::<AddArgs>(&value);
    arguments_of::<GetArgs>(&value);
    arguments_of::<SetArgs>(&value);
    arguments_of::<IdsArgs>(&value);
    arguments_of::<RemoveArgs>(&value);
    arguments_of::<LocationArgs>(&value);
    arguments_of::<RenameArgs>(&value);
    arguments_of::<SessionSetArgs>(&value);
    arguments_of::<FreeSpaceArgs>(&value);
    arguments_of::<Group>(&value);
    arguments_of::<CreateArgs>(&value);
    arguments_of::<CreationsArgs>(&value);
}

fn arguments_of<T: DeserializeOwned + Serialize + PartialEq + Debug>(arguments: &Value) {
    if let Ok(read) = serde_json::from_value::<T>(arguments.clone()) {
        same(&read);
    }
}

fn same<T: DeserializeOwned + Serialize + PartialEq + Debug>(read: &T) {
    let text = serde_json::to_string(read).expect("what was read can be written");
    serde_json::from_str::<T>(&text).expect("what was written can be read");
    // Not by way of the text: reading a fraction may change its last bit.
    let value = serde_json::to_value(read).expect("what was read can be written");
    let again: T = serde_json::from_value(value).expect("what was written can be read");
    assert_eq!(*read, again, "{text}");
}

/// Names of the JSON-RPC form lead to legacy ones and back, and no argument is made up on the way.
pub fn json_rpc(data: &[u8]) {
    let of_this_form = jsonrpc::is_request(data);
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    assert!(!of_this_form || value.is_object() || value.is_array());
    let Value::Object(call) = value else { return };
    let method = call.get("method").and_then(Value::as_str).unwrap_or_default().replace('_', "-");
    let Some(Value::Object(params)) = call.get("params") else { return };
    let arguments = jsonrpc::legacy_arguments(&method, params.clone());
    assert!(arguments.len() <= params.len());
    all_arguments(&arguments);
    let modern = jsonrpc::modern(Value::Object(arguments), &method);
    let fields = modern.as_object().expect("an object stays one");
    assert!(fields.len() <= params.len());
    for name in fields.keys() {
        assert_eq!(jsonrpc::snake(name), *name);
    }
}

/// A form holds no more than was sent. The first line of the input is the content type, the second the query.
pub fn form(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (content_type, query) = (text(), text());
    let body = lines.next().unwrap_or_default();
    let Ok(form) = Form::read(Some(&query), &content_type, body) else { return };
    assert!(form.len() <= FIELDS_MAX);
    assert!(form.files.iter().map(Vec::len).sum::<usize>() <= body.len());
}

/// What is decoded has one proper text, and every content has one.
pub fn base64(data: &[u8]) {
    assert_eq!(base64::decode(&base64::encode(data)).as_deref(), Some(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(bytes) = base64::decode(text) {
        assert!(bytes.len() <= text.len());
        assert_eq!(base64::decode(&base64::encode(&bytes)), Some(bytes));
    }
}

/// A list is read or refused. It never has more rules than lines, unless it is packed or binary.
pub fn blocklist(data: &[u8]) {
    let Ok(list) = Blocklist::parse(data) else { return };
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    let packed = [&[0x1f, 0x8b][..], b"PK", b"\xff\xff\xff\xffP2B"];
    assert!(list.rules() <= lines || packed.iter().any(|magic| data.starts_with(magic)));
    assert!(list.malformed().lines <= lines || packed.iter().any(|magic| data.starts_with(magic)));
}
