//! A run as seen by a browser and by Prometheus: `/`, `/status`, `/metrics`, `/healthz`; and steered by whoever has the
//! token, by POST to `/command`.
//!
//! Off unless asked for. Reading needs no token, so the address ought to be one that only operators reach; at
//! a loopback address, a browser that was led here under another name is turned away.

mod metrics;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Secret;
use crate::control::socket::{Answer, respond};
use crate::control::{Control, Status};
use crate::error::{Error, Result};
use crate::progress::{Phase, Progress};

const PAGE: &str = include_str!("dashboard.html");

/// The page has its style and its script in itself, and asks nobody but this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

struct Shared {
    progress: Progress,
    control: Control,
    token: Option<Secret>,
    loopback: bool,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads the token of those who may steer.
///
/// # Errors
/// Refused when the file cannot be read, is empty, or can be read by others.
pub fn read_token(path: &Path) -> Result<Secret> {
    let trouble =
        |what: &str| Error::refused(format!("--http-token-file {}: {what}", path.display()));
    let about = std::fs::metadata(path).map_err(|e| trouble("cannot be read").caused_by(e))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(trouble("other users may read it").remedy("chmod 600 it."));
    }
    let text = std::fs::read_to_string(path).map_err(|e| trouble("cannot be read").caused_by(e))?;
    match text.trim() {
        "" => Err(trouble("is empty").remedy("Put a long random word in it.")),
        token => Ok(Secret::new(token)),
    }
}

impl Http {
    /// Serves at an address.
    ///
    /// # Errors
    /// Refused when the address cannot be had.
    pub async fn serve(
        address: SocketAddr,
        token: Option<Secret>,
        progress: &Progress,
        control: &Control,
    ) -> Result<Http> {
        let trouble = || Error::refused(format!("--http {address} cannot be listened at"));
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| trouble().caused_by(e).remedy("Give another address or port."))?;
        let address = listener.local_addr().map_err(|e| trouble().caused_by(e))?;
        let loopback = address.ip().is_loopback();
        if !loopback {
            tracing::warn!(%address, "everybody who reaches this address can see the run");
        }
        let shared = Arc::new(Shared {
            progress: progress.clone(),
            control: control.clone(),
            token,
            loopback,
        });
        let app = Router::new()
            .route("/", get(page))
            .route("/healthz", get(health))
            .route("/status", get(status))
            .route("/metrics", get(scrape))
            .route("/command", post(command))
            .layer(from_fn_with_state(shared.clone(), guard))
            .with_state(shared);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the HTTP server has ended");
            }
        });
        Ok(Http { address, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Turns away browsers that were led to a loopback address under another name, and sets what every answer has.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.loopback && !names_loopback(request.headers()) {
        return (StatusCode::FORBIDDEN, "this is not the name of this server\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

async fn page() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE)
}

/// Whether the run goes on, or has come to its end.
async fn health(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.progress.snapshot().phase {
        Phase::Done => "done\n",
        _ => "ok\n",
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(Status::of(&shared.progress, &shared.control))
}

async fn scrape(State(shared): State<Arc<Shared>>) -> Response {
    let status = Status::of(&shared.progress, &shared.control);
    match metrics::encode(&status) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn command(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let no = |code: StatusCode, why: &str| (code, Json(Answer::no(why))).into_response();
    let Some(token) = &shared.token else {
        return no(StatusCode::FORBIDDEN, "steering by HTTP needs --http-token-file");
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(token.expose().as_bytes())) {
        return no(StatusCode::UNAUTHORIZED, "the token is not right");
    }
    let answer = respond(&body, "HTTP", &shared.progress, &shared.control);
    let code = if answer.ok { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut response = Json(answer).into_response();
    *response.status_mut() = code;
    response.map(Body::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered_at_a_loopback_address() {
        let with = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a header"));
            names_loopback(&headers)
        };
        for right in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "127.3.2.1"] {
            assert!(with(right), "{right}");
        }
        for wrong in ["example.org", "example.org:8080", "127.0.0.1.example.org", "10.0.0.1:80", ""]
        {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!names_loopback(&HeaderMap::new()));
    }
}
