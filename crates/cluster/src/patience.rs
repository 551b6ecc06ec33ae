//! When to repeat a request.
//!
//! kube's own policy retries everything that was answered with 429, 503 or 504, for minutes: evictions that a
//! disruption budget refuses, requests to a metrics API that does not exist, and watches, whose failure we would not
//! notice. Ours does what kubectl does (client-go's `rest/with_retry.go`): it retries if the API server says when.

use std::time::Duration;

use http::{Request, Response, header::RETRY_AFTER};
use kube::client::Body;
use tower::{BoxError, retry::Policy};

/// The maximum number of retries of one request.
const TIMES: u32 = 5;
/// Whether to wait longer is up to the caller.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    repeated: u32,
}

impl Patience {
    /// How long to wait before the next attempt; `None`: give up.
    fn wait<B>(&mut self, request: &Request<Body>, answer: &Response<B>) -> Option<Duration> {
        let status = answer.status();
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
        if is_watch || !(status.as_u16() == 429 || status.is_server_error()) || self.repeated == TIMES {
            return None;
        }
        let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        let wait = Duration::from_secs(seconds);
        self.repeated += 1;
        (wait <= LONGEST_WAIT).then_some(wait)
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Patience {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        answer: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let wait = self.wait(request, answer.as_ref().ok()?)?;
        Some(tokio::time::sleep(wait))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let body = request.body().try_clone()?;
        let mut copy = Request::new(body);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, after: Option<&str>) -> Response<()> {
        let answer = Response::builder().status(status);
        let answer = after.into_iter().fold(answer, |answer, after| answer.header(RETRY_AFTER, after));
        answer.body(()).unwrap()
    }

    #[test]
    fn a_request_is_made_again_only_if_the_api_server_says_when() {
        let request = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
        let wait = |uri: &str, status, after| Patience::default().wait(&request(uri), &answer(status, after));
        let second = Some(Duration::from_secs(1));
        assert_eq!(wait("/api/v1/pods", 429, Some("1")), second);
        assert_eq!(wait("/api/v1/pods", 503, Some("1")), second);
        // The answer of a disruption budget that refuses, and of one that is still being computed.
        assert_eq!(wait("/api/v1/namespaces/a/pods/b/eviction", 429, None), None);
        assert_eq!(wait("/api/v1/namespaces/a/pods/b/eviction", 429, Some("10")), None);
        assert_eq!(wait("/apis/metrics.k8s.io/v1beta1", 503, None), None);
        assert_eq!(wait("/api/v1/pods", 404, Some("1")), None);
        assert_eq!(wait("/api/v1/pods?&watch=true&timeoutSeconds=60", 429, Some("1")), None);
    }

    #[test]
    fn patience_ends() {
        let mut patience = Patience::default();
        let request = Request::get("/api/v1/pods").body(Body::empty()).unwrap();
        for _ in 0..TIMES {
            assert!(patience.wait(&request, &answer(429, Some("0"))).is_some());
        }
        assert_eq!(patience.wait(&request, &answer(429, Some("0"))), None);
    }
}
