//! What every request and answer is wrapped in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Header that carries the session id: an answer 409 names it, each request after that repeats it.
pub const SESSION_ID_HEADER: &str = "X-Transmission-Session-Id";

/// `result` of an answer to a request that worked.
pub const SUCCESS: &str = "success";

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Which method.
    pub method: String,
    /// Its arguments by name.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Comes back in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Value>,
}

/// An answer. It travels with status 200 also when the method failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`SUCCESS`], or what went wrong.
    pub result: String,
    /// Always there, empty when there is nothing to say.
    #[serde(default)]
    pub arguments: Value,
    /// As in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Value>,
}

impl Response {
    /// An answer that says what went wrong.
    pub fn failure(why: impl Into<String>) -> Response {
        Response { result: why.into(), arguments: Value::Object(Map::new()), tag: None }
    }

    /// Whether the method worked.
    pub fn is_success(&self) -> bool {
        self.result == SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_tag_may_be_missing() {
        let request: Request = serde_json::from_str(r#"{"method":"session-get"}"#).unwrap();
        assert!(request.arguments.is_empty() && request.tag.is_none());
        assert!(serde_json::from_str::<Request>(r#"{"method":"x","arguments":[]}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"arguments":{}}"#).is_err());
    }

    #[test]
    fn an_answer_always_has_arguments() {
        let text = serde_json::to_string(&Response::failure("no")).unwrap();
        assert_eq!(text, r#"{"result":"no","arguments":{}}"#);
    }
}
