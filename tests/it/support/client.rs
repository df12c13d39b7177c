//! A client that holds every answer against the OpenAPI document.

use std::net::SocketAddr;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::contract;
use super::sse::Stream;

/// A client of one server, with or without a credential.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) raw: String,
}

impl Answer {
    /// The answer, if its status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// The answer's problem, if it is this one.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        self
    }

    /// The answer, if it says this of itself: as a problem, or as a dialect says it.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        if self.body.get("code").is_some() {
            return self.problem(status, code);
        }
        assert_eq!(self.status.as_u16(), status, "{}", self.raw);
        assert!(
            self.raw.contains("\"detail\":") || self.raw.contains("\"error\":"),
            "{}",
            self.raw
        );
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{field}` in {}", self.body))
            .to_owned()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: Option<String>) -> Self {
        // Whichever test is first; the clients of all want one, though they speak no TLS.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            http,
            base: format!("http://{address}"),
            key,
        }
    }

    /// What it sends with, for what is not this server.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// A new session of the user; its id.
    pub(crate) async fn session(&self, user: &str) -> String {
        self.session_with(&json!({"user_id": user})).await
    }

    pub(crate) async fn session_with(&self, body: &Value) -> String {
        self.post("/api/v1/sessions", body)
            .await
            .expect(201)
            .text("session_id")
    }

    /// Sends a message and waits for what comes back.
    pub(crate) async fn ask(&self, session: &str, message: &str) -> Answer {
        self.post(
            "/api/v1/chat",
            &json!({"session_id": session, "message": message}),
        )
        .await
    }

    /// Sends a message; the answer's text.
    pub(crate) async fn answer(&self, session: &str, message: &str) -> String {
        self.ask(session, message).await.expect(200).text("text")
    }

    /// Sends a message and follows what comes back.
    pub(crate) async fn stream(&self, session: &str, message: &str) -> Stream {
        let body = json!({"session_id": session, "message": message});
        self.open("/api/v1/chat/stream", &body).await
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, path: &str, body: &Value) -> Stream {
        let response = self.request(Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        Stream::of(response)
    }
}

/// Reads an answer, and holds it against the document.
pub(crate) async fn read(response: Response) -> Answer {
    let path = response.url().path().to_owned();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let answer = Answer {
        status,
        headers,
        body,
        raw: String::from_utf8_lossy(&bytes).into_owned(),
    };
    contract::check(&path, &answer);
    answer
}
