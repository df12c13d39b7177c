//! What is counted and measured of requests, in Prometheus' terms. Routes are told by their templates, so that the labels are
//! bounded whatever clients ask for.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: from a read to a turn of half an hour that a client waits for.
const BOUNDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 1800.0,
];

/// A request's method and route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

/// The same, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: String,
    status: u16,
}

/// Counts and measures over all requests of a server. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<Answer, Counter>,
    took: Family<Route, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
        }
    }
}

impl HttpMetrics {
    /// Makes them part of what is told.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_requests",
            "Requests; by method, template of the route (`unmatched`: none), and status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request",
            "From a request's head until its answer's head: streams and sockets last longer; by method and template of the route",
            Unit::Seconds,
            self.took.clone(),
        );
    }

    pub(super) fn answered(
        &self,
        method: &Method,
        route: Option<String>,
        status: StatusCode,
        took: Duration,
    ) {
        let method = name_of(method);
        let route = route.unwrap_or_else(|| "unmatched".to_owned());
        self.took
            .get_or_create(&Route {
                method,
                route: route.clone(),
            })
            .observe(took.as_secs_f64());
        let status = status.as_u16();
        self.requests
            .get_or_create(&Answer {
                method,
                route,
                status,
            })
            .inc();
    }
}

/// A method that clients make up is `OTHER`.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
