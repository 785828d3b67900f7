//! An introspection endpoint of the demo identity provider (RFC 7662): it knows tokens, and whom it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::idp::{Endpoint, Idp};
use crate::server::{Answer, Request};

/// How a client must identify itself at the endpoint (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// `authorization: Basic` with this id and secret.
    Basic(String, String),
    /// `client_id` and `client_secret` in the form.
    Post(String, String),
}

/// An endpoint that answers per token. It says 401 to whoever does not identify as its client, and 400 to what is no
/// introspection request.
#[derive(Debug, Clone)]
pub struct Introspector {
    endpoint: Arc<Endpoint>,
    client: Client,
    tokens: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Introspector {
    /// An endpoint at `path` of `idp` that knows no token yet.
    pub fn at(idp: &Idp, path: &str, client: Client) -> Self {
        let introspector = Self { endpoint: idp.endpoint(path), client, tokens: Arc::default() };
        introspector.serve();
        introspector
    }

    /// Answers as it should, after [`Endpoint::set_answer`] and the like have made it fail.
    pub fn serve(&self) {
        let (client, tokens) = (self.client.clone(), Arc::clone(&self.tokens));
        self.endpoint.handle(move |request| answer(request, &client, &lock(&tokens)));
    }

    /// Makes `token` active, with these members in the answer beside `active`.
    pub fn activate(&self, token: &str, claims: Value) {
        lock(&self.tokens).insert(token.to_owned(), claims);
    }

    /// Makes `token` inactive, as every token is that was never made active.
    pub fn revoke(&self, token: &str) {
        lock(&self.tokens).remove(token);
    }

    /// The endpoint, to make it slow, broken or silent.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The requests that were about `token`, answered or not.
    pub fn questions(&self, token: &str) -> Vec<Request> {
        let mut requests = self.endpoint.requests();
        requests.retain(|request| form(&request.body).get("token").is_some_and(|asked| asked == token));
        requests
    }
}

/// The fields of a form in `application/x-www-form-urlencoded`.
pub fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (form_decode(name), form_decode(value))).collect()
}

fn answer(request: &Request, client: &Client, tokens: &BTreeMap<String, Value>) -> Answer {
    let form = form(&request.body);
    if !is_client(request, &form, client) {
        return Answer::json(401, &json!({"error": "invalid_client"}));
    }
    let is_form = request.header("content-type") == Some("application/x-www-form-urlencoded");
    let (true, true, Some(token)) = (request.method == "POST", is_form, form.get("token")) else {
        return Answer::json(400, &json!({"error": "invalid_request"}));
    };
    let Some(claims) = tokens.get(token) else { return Answer::json(200, &json!({"active": false})) };
    let mut members = claims.as_object().cloned().unwrap_or_else(Map::new);
    members.insert("active".to_owned(), json!(true));
    Answer::json(200, &Value::Object(members))
}

fn is_client(request: &Request, form: &BTreeMap<String, String>, client: &Client) -> bool {
    match client {
        Client::Basic(id, secret) => {
            let pair = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
            let pair = pair.and_then(|pair| STANDARD.decode(pair).ok()).and_then(|pair| String::from_utf8(pair).ok());
            let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
            pair.is_some_and(|(i, s)| form_decode(i) == *id && form_decode(s) == *secret)
        }
        Client::Post(id, secret) => form.get("client_id") == Some(id) && form.get("client_secret") == Some(secret),
    }
}

fn form_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let code = digit(rest.next()).zip(digit(rest.next())).map(|(high, low)| high * 16 + low);
                bytes.push(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_reads_back() {
        let fields = form(b"token=a%2Bb+c%26&client_id=g%C3%A4&empty=");
        assert_eq!(fields["token"], "a+b c&");
        assert_eq!((fields["client_id"].as_str(), fields["empty"].as_str()), ("g\u{e4}", ""));
    }
}
