//! Tokens of a company's own login, signed by a real signer that publishes its keys over HTTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use paddock::domain::Role;
use paddock::settings::OidcSettings;
use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, TestApp};

/// A signer, and where it publishes its keys.
struct Signer {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    up: Arc<Mutex<bool>>,
}

struct Key {
    id: String,
    algorithm: Algorithm,
    signing: EncodingKey,
}

impl Key {
    fn ec(id: &str) -> Self {
        let random = ring::rand::SystemRandom::new();
        let kind = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = ring::signature::EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self {
            id: id.into(),
            algorithm: Algorithm::ES256,
            signing: EncodingKey::from_ec_der(pkcs8.as_ref()),
        }
    }

    fn published(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.id.clone()),
            ..Header::new(self.algorithm)
        };
        encode(&header, claims, &self.signing).unwrap()
    }
}

impl Signer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signer = Self {
            url: url.clone(),
            keys: Arc::default(),
            up: Arc::new(Mutex::new(true)),
        };
        let (keys, up) = (Arc::clone(&signer.keys), Arc::clone(&signer.up));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap_or(0) > 2 {}
                if !*up.lock().unwrap() {
                    continue;
                }
                let body = if head.contains("openid-configuration") {
                    json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
                } else {
                    json!({"keys": *keys.lock().unwrap()})
                };
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _gone = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(body.as_bytes()));
            }
        });
        signer
    }

    fn publish(&self, key: &Key) {
        self.keys.lock().unwrap().push(key.published());
    }

    fn settings(&self) -> OidcSettings {
        serde_json::from_value(json!({"issuer": self.url, "audience": "paddock"})).unwrap()
    }

    fn claims(&self) -> Value {
        let now = chrono::Utc::now().timestamp();
        json!({"iss": self.url, "aud": "paddock", "sub": "alice", "exp": now + 600, "tenant": "acme", "role": "member"})
    }
}

fn with(claims: &Value, changes: &[(&str, Value)]) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

fn app(settings: OidcSettings) -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme", "owner", "acme", None),
        ])
        .with(|all| all.auth.oidc = Some(settings))
        .start()
}

fn client(app: &TestApp, token: &str) -> Client {
    Client::new(app.address, Some(token.to_owned()))
}

#[tokio::test]
async fn a_token_of_the_companys_login_stands_for_its_user_in_its_tenant() {
    let (signer, key) = (Signer::start(), Key::ec("one"));
    signer.publish(&key);
    let app = app(signer.settings());
    let alice = client(&app, &key.sign(&signer.claims()));
    let me = alice.get("/api/v1/me").await.expect(200).body;
    assert_eq!(
        (me["tenant"].as_str(), me["user_id"].as_str(), me["role"].as_str()),
        (Some("acme"), Some("alice"), Some("member"))
    );
    assert_eq!(
        (&me["credential"], &me["key_id"]),
        (&json!("token of alice"), &Value::Null)
    );
    let id = alice.session("alice").await;
    alice
        .post("/api/v1/sessions", &json!({"user_id": "bob"}))
        .await
        .problem(403, "forbidden");
    let bob = client(&app, &key.sign(&with(&signer.claims(), &[("sub", json!("bob"))])));
    bob.get(&format!("/api/v1/sessions/{id}"))
        .await
        .problem(404, "session_not_found");
    // Keys go on beside it.
    app.client_with("acme")
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_and_audited() {
    let (signer, key, strange) = (Signer::start(), Key::ec("one"), Key::ec("one"));
    signer.publish(&key);
    let app = app(signer.settings());
    let now = chrono::Utc::now().timestamp();
    let claims = signer.claims();
    for (token, status, why) in [
        (strange.sign(&claims), 401, "not by the issuer"),
        (Key::ec("two").sign(&claims), 401, "a key that is not published"),
        (
            key.sign(&with(&claims, &[("exp", json!(now - 120))])),
            401,
            "over",
        ),
        (
            key.sign(&with(&claims, &[("nbf", json!(now + 600))])),
            401,
            "not yet",
        ),
        (
            key.sign(&with(&claims, &[("aud", json!("other"))])),
            401,
            "for another",
        ),
        (
            key.sign(&with(&claims, &[("iss", json!("https://evil.example"))])),
            401,
            "of another",
        ),
        (
            key.sign(&with(&claims, &[("role", json!("king"))])),
            401,
            "no role",
        ),
        (
            key.sign(&with(&claims, &[("sub", json!("al ice"))])),
            401,
            "no user's id",
        ),
        (
            key.sign(&with(&claims, &[("tenant", json!("nobody"))])),
            403,
            "no tenant here",
        ),
        (
            key.sign(&with(&claims, &[("tenant", json!(7))])),
            401,
            "no tenant's name",
        ),
        ("eyJhbGciOiJub25lIn0.e30.".to_owned(), 401, "unsigned"),
    ] {
        let answer = client(&app, &token).get("/api/v1/me").await;
        assert_eq!(answer.status, status, "{why}: {}", answer.body);
    }
    // Signed with a shared secret, which is the key that everybody can read.
    let public = signer.keys.lock().unwrap()[0].to_string();
    let header = Header {
        kid: Some("one".into()),
        ..Header::new(Algorithm::HS256)
    };
    let forged = encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
    client(&app, &forged)
        .get("/api/v1/me")
        .await
        .problem(401, "unauthenticated");
    let audit = app
        .client_with("root")
        .get("/api/v1/admin/audit")
        .await
        .expect(200)
        .body;
    assert_eq!(audit["data"][0]["action"], "key_refused");
    let good = client(&app, &key.sign(&claims));
    good.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn claims_are_mapped_as_the_settings_say() {
    let (signer, key) = (Signer::start(), Key::ec("one"));
    signer.publish(&key);
    let mut settings = signer.settings();
    settings.default_tenant = Some("acme".into());
    settings.user_claim = "name".into();
    settings.role_claim = "groups".into();
    settings.roles = [
        ("staff".to_owned(), Role::Reader),
        ("leads".to_owned(), Role::Owner),
    ]
    .into();
    let app = app(settings);
    let base = with(
        &signer.claims(),
        &[("tenant", Value::Null), ("name", json!("alice"))],
    );
    let mut claims = base.clone();
    claims.as_object_mut().unwrap().remove("tenant");
    let role = async |groups: Value| {
        let token = key.sign(&with(&claims, &[("groups", groups)]));
        client(&app, &token).get("/api/v1/me").await
    };
    let reader = role(json!(["staff", "unknown"])).await.expect(200).body;
    assert_eq!(
        (&reader["role"], &reader["user_id"]),
        (&json!("reader"), &json!("alice"))
    );
    let owner = role(json!(["staff", "leads"])).await.expect(200).body;
    assert_eq!(
        (&owner["role"], &owner["user_id"]),
        (&json!("owner"), &Value::Null)
    );
    role(json!("nobody")).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_new_key_of_the_signer_is_fetched_and_one_that_is_away_is_told() {
    let (signer, first) = (Signer::start(), Key::ec("one"));
    *signer.up.lock().unwrap() = false;
    let mut settings = signer.settings();
    settings.keys_ttl = Duration::from_millis(1);
    let app = app(settings);
    let token = first.sign(&signer.claims());
    client(&app, &token)
        .get("/api/v1/me")
        .await
        .problem(503, "issuer_unavailable");
    *signer.up.lock().unwrap() = true;
    signer.publish(&first);
    client(&app, &token).get("/api/v1/me").await.expect(200);
    let second = Key::ec("two");
    signer.publish(&second);
    let rotated = second.sign(&signer.claims());
    client(&app, &rotated).get("/api/v1/me").await.expect(200);
    // What was fetched goes on while the signer is away.
    *signer.up.lock().unwrap() = false;
    client(&app, &token).get("/api/v1/me").await.expect(200);
}
