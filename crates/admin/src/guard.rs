//! What every request passes before its handler: Host, Origin, token; and the headers of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ::metrics::counter;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use elastic_flow_queue::Caller;

use crate::error::Refusal;
use crate::token::{Role, Tokens};

/// What a guard needs to know of its listener.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Where the listener is bound.
    pub(crate) local: SocketAddr,
    /// Names by which it may be addressed beside its IP address and, on loopback, `localhost`.
    pub(crate) hosts: Vec<String>,
    /// Whether `/metrics` takes no token beyond loopback either.
    pub(crate) metrics_open: bool,
    /// The tokens; none where there is no secret, so that only open paths answer. Replaced while requests come.
    pub(crate) tokens: Arc<RwLock<Option<Tokens>>>,
}

/// The middleware.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let mut response = match guard.admit(request.method(), request.uri(), request.headers()) {
        Ok(role) => {
            // Whoever was let in with a token, for the handlers that tell the master to do something.
            let peer = request.extensions_mut().remove::<Peer>();
            if let (Some(role), Some(Peer(address))) = (role, peer) {
                request.extensions_mut().insert(Caller::remote(role.caller(), address.to_string()));
            }
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The other end of a request's connection; its listener puts it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What a path takes to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// Nothing on loopback, or if `admin.metrics_open`; else the token of this role or a stronger one.
    OpenOnLoopback(Role),
    /// The token of this role or a stronger one.
    Token(Role),
}

/// What a request takes to be answered.
pub(crate) fn access(method: &Method, path: &str) -> Access {
    match path {
        "/livez" | "/readyz" => Access::Open,
        "/metrics" => Access::OpenOnLoopback(Role::Read),
        _ if path.starts_with("/api/v1/workers/") && *method == Method::POST => Access::Token(Role::Admin),
        _ if matches!(*method, Method::GET | Method::HEAD) => Access::Token(Role::Read),
        _ => Access::Token(Role::Submit),
    }
}

impl Guard {
    /// Whether a request may go on, and with which role; none for what is open.
    fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Option<Role>, Refusal> {
        self.check_host(uri, headers)?;
        self.check_origin(headers)?;
        let Some(needed) = self.role_needed(method, uri.path()) else { return Ok(None) };
        let Some(held) = self.role_held(headers) else {
            counter!("elastic_flow_auth_failures_total", "reason" => "token").increment(1);
            return Err(Refusal::unauthorized());
        };
        if held < needed {
            counter!("elastic_flow_auth_failures_total", "reason" => "role").increment(1);
            let message = format!("the {held} token does not allow this: it takes the {needed} token");
            return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
        }
        Ok(Some(held))
    }

    /// The role that a request takes; none for what is open.
    fn role_needed(&self, method: &Method, path: &str) -> Option<Role> {
        match access(method, path) {
            Access::Open => None,
            Access::OpenOnLoopback(_) if self.local.ip().is_loopback() || self.metrics_open => None,
            Access::OpenOnLoopback(role) | Access::Token(role) => Some(role),
        }
    }

    fn role_held(&self, headers: &HeaderMap) -> Option<Role> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let known = tokens.as_ref()?.known(token.trim())?;
        if known.old {
            counter!("elastic_flow_old_key_uses_total", "by" => "token").increment(1);
        }
        Some(known.role)
    }

    /// A browser that was lured here by a name of an attacker's choosing sends that name: only our own are answered.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|value| value.to_str().ok());
        let authority_agrees = uri.authority().is_none_or(|authority| Some(authority.as_str()) == host);
        match host {
            Some(host) if hosts.next().is_none() && authority_agrees && self.is_ours(host) => Ok(()),
            _ => Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                format!(
                    "this server is not that host: ask for {}, or name the host in admin.hosts of its configuration",
                    self.local
                ),
            )),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let ours =
            origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).is_some_and(|o| self.is_ours(o));
        if ours && origins.next().is_none() {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "requests from pages of another origin are refused"))
    }

    /// Whether `host[:port]` names this listener. An IP address cannot be rebound by a name server, so any will do where the
    /// listener is bound to all of them.
    fn is_ours(&self, authority: &str) -> bool {
        let Some((host, port)) = split_authority(authority) else { return false };
        if port.is_some_and(|port| port != self.local.port()) {
            return false;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let bound = self.local.ip();
        match host.parse::<IpAddr>() {
            Ok(ip) => ip == bound || bound.is_unspecified() || (bound.is_loopback() && ip.is_loopback()),
            Err(_) => {
                let local_name =
                    (bound.is_loopback() || bound.is_unspecified()) && host.eq_ignore_ascii_case("localhost");
                local_name || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => match authority.find(':') {
            Some(colon) => authority.split_at_checked(colon)?,
            None => (authority, ""),
        },
    };
    match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        None if rest.is_empty() => Some((host, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;
    use elastic_flow_wire::Secret;

    fn secret() -> Secret {
        Secret::from_bytes([9; 32])
    }

    fn guard(local: &str) -> Guard {
        Guard {
            local: local.parse().expect("an address"),
            hosts: vec!["yam1".to_owned()],
            metrics_open: false,
            tokens: Arc::new(RwLock::new(Some(Tokens::derive(&secret())))),
        }
    }

    fn admit(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let map = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect();
        match guard.admit(&method.parse().unwrap(), &path.parse().unwrap(), &map) {
            Ok(_) => 200,
            Err(refusal) => refusal.into_response().status().as_u16(),
        }
    }

    fn bearer(role: Role) -> String {
        format!("Bearer {}", Token::derive(&secret(), role).expose())
    }

    #[test]
    fn only_names_of_the_listener_are_answered() {
        let local = guard("127.0.0.1:7118");
        for host in
            ["127.0.0.1:7118", "127.0.0.1", "localhost:7118", "LOCALHOST", "[::1]:7118", "yam1:7118", "localhost."]
        {
            assert_eq!(admit(&local, "GET", "/livez", &[("host", host)]), 200, "{host}");
        }
        for host in
            ["evil.example", "evil.example:7118", "127.0.0.1:80", "127.0.0.1:", "[::1", "10.0.0.1:7118", "", "a:b:7118"]
        {
            assert_eq!(admit(&local, "GET", "/livez", &[("host", host)]), 421, "{host}");
        }
        assert_eq!(admit(&local, "GET", "/livez", &[]), 421);
        assert_eq!(admit(&local, "GET", "/livez", &[("host", "localhost"), ("host", "localhost")]), 421);
        assert_eq!(admit(&local, "GET", "http://evil.example/livez", &[("host", "localhost")]), 421);
        assert_eq!(admit(&guard("0.0.0.0:7118"), "GET", "/livez", &[("host", "10.0.0.1:7118")]), 200);
        assert_eq!(admit(&guard("10.0.0.1:7118"), "GET", "/livez", &[("host", "localhost:7118")]), 421);
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let local = guard("127.0.0.1:7118");
        let host = ("host", "127.0.0.1:7118");
        assert_eq!(admit(&local, "GET", "/livez", &[host, ("origin", "http://127.0.0.1:7118")]), 200);
        for origin in
            ["http://evil.example", "null", "https://127.0.0.1:7118", "http://127.0.0.1:7119", "127.0.0.1:7118"]
        {
            assert_eq!(admit(&local, "GET", "/livez", &[host, ("origin", origin)]), 403, "{origin}");
        }
    }

    #[test]
    fn a_token_allows_what_its_role_does() {
        let local = guard("127.0.0.1:7118");
        let host = ("host", "localhost");
        let case = |method, path, role: Option<Role>| match role.map(bearer) {
            Some(bearer) => admit(&local, method, path, &[host, ("authorization", &bearer)]),
            None => admit(&local, method, path, &[host]),
        };
        assert_eq!(case("GET", "/api/v1/steps", None), 401);
        assert_eq!(case("GET", "/api/v1/steps", Some(Role::Read)), 200);
        assert_eq!(case("POST", "/api/v1/steps", Some(Role::Read)), 403);
        assert_eq!(case("POST", "/api/v1/steps/1/cancel", Some(Role::Submit)), 200);
        assert_eq!(case("DELETE", "/api/v1/steps", Some(Role::Read)), 403);
        assert_eq!(case("POST", "/api/v1/steps", Some(Role::Admin)), 200);
        assert_eq!(case("POST", "/api/v1/workers/yam2/drain", Some(Role::Submit)), 403);
        assert_eq!(case("POST", "/api/v1/workers/yam2/drain", Some(Role::Admin)), 200);
        assert_eq!(case("GET", "/nowhere", None), 401);
        assert_eq!(admit(&local, "GET", "/api/v1/steps", &[host, ("authorization", "Bearer 00")]), 401);
        let basic = bearer(Role::Read).replace("Bearer", "Basic");
        assert_eq!(admit(&local, "GET", "/api/v1/steps", &[host, ("authorization", &basic)]), 401);
    }

    #[test]
    fn other_tokens_are_in_force_once_they_are_replaced() {
        let local = guard("127.0.0.1:7118");
        let next = Secret::from_bytes([10; 32]);
        let status = |secret: &Secret| {
            let bearer = format!("Bearer {}", Token::derive(secret, Role::Read).expose());
            admit(&local, "GET", "/api/v1/steps", &[("host", "localhost"), ("authorization", &bearer)])
        };
        let put = |tokens| *local.tokens.write().unwrap() = Some(tokens);
        assert_eq!((status(&secret()), status(&next)), (200, 401));
        put(Tokens::derive(&next).with_old(Some(&secret())));
        assert_eq!((status(&secret()), status(&next)), (200, 200));
        put(Tokens::derive(&next));
        assert_eq!((status(&secret()), status(&next)), (401, 200));
    }

    #[test]
    fn metrics_are_open_on_loopback_alone() {
        let beyond = guard("10.0.0.1:7118");
        let host = ("host", "10.0.0.1:7118");
        assert_eq!(admit(&guard("127.0.0.1:7118"), "GET", "/metrics", &[("host", "localhost")]), 200);
        assert_eq!(admit(&beyond, "GET", "/metrics", &[host]), 401);
        assert_eq!(admit(&beyond, "GET", "/metrics", &[host, ("authorization", &bearer(Role::Read))]), 200);
        assert_eq!(admit(&Guard { metrics_open: true, ..beyond }, "GET", "/metrics", &[host]), 200);
    }
}
