//! Each operation of a contract has a route, and each route of a protocol is in its
//! contract. axum has no list of its routes, except in its debug output.

use std::collections::BTreeMap;

use axum::Router;
use resnet_server::http::protocol::Protocols;
use resnet_server::http::routes;

use super::ask::ready;
use super::examples::{CONTRACTS, Contract};

/// Methods by path; none where a route accepts all of them.
type Routes = BTreeMap<String, Vec<String>>;

/// What answers paths that are no routes of the protocol.
const FALLBACKS: [&str; 1] = ["/v2/{*path}"];

/// The routes of a router, but not those of its fallback.
fn table(router: &Router) -> Routes {
    let text = format!("{router:?}");
    let (text, _) = text.split_once(", fallback_router:").unwrap();
    let (endpoints, paths) = text.split_once("node: Node {").unwrap();
    let mut methods = BTreeMap::new();
    for endpoint in endpoints.split("RouteId(").skip(1) {
        let (id, rest) = endpoint.split_once("): MethodRouter(").unwrap();
        let (_, allow) = rest.rsplit_once("allow_header: ").unwrap();
        let allowed = allow
            .strip_prefix("Bytes(b\"")
            .and_then(|allow| allow.split_once('"'))
            .map_or("", |(allowed, _)| allowed);
        let names = allowed
            .split(',')
            .filter(|name| !name.is_empty() && *name != "HEAD");
        let names: Vec<String> = names.map(str::to_lowercase).collect();
        methods.insert(id.to_owned(), names);
    }
    let mut routes = Routes::new();
    for path in paths.split("RouteId(").skip(1) {
        let (id, path) = path.split_once("): \"").unwrap();
        let (path, _) = path.split_once('"').unwrap();
        routes.insert(path.to_owned(), methods[id].clone());
    }
    assert_eq!(routes.len(), methods.len(), "{text}");
    routes
}

/// Whether a path of a contract is that of a route. A parameter of the route is one of
/// the path, or a part of a segment with one, as in `{name}:predict`.
fn matches(route: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in route.split('/') {
        let Some(found) = segments.next() else {
            return false;
        };
        match expected.starts_with('{') {
            true if expected.starts_with("{*") => return true,
            true if found.contains('{') => {}
            false if expected == found => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

/// The routes of both listeners of a server with these protocols.
async fn of(protocols: &Protocols) -> [Routes; 2] {
    let (serving, _) = ready().await;
    let public = routes::public(serving.clone(), protocols);
    [table(&public), table(&routes::admin(serving, protocols))]
}

/// The routes of a contract's protocols, without and with the native ones.
async fn own_and_all(contract: &Contract) -> (Vec<(String, String)>, [Routes; 2]) {
    let mut listeners = of(&contract.protocols()).await;
    let mut native = [Routes::new(), Routes::new()];
    if contract.file != "openapi.yaml" {
        native = of(&Protocols::parse("native").unwrap()).await;
    }
    if contract.file.ends_with("containers.yaml") {
        // The paths of Vertex AI win over all others, which are its router's fallback.
        let [public, _] = of(&Protocols::parse("sagemaker").unwrap()).await;
        listeners[0].extend(public);
    }
    let mut own = Vec::new();
    for (routes, native) in listeners.iter().zip(&native) {
        for (path, methods) in routes {
            let other = native.get(path);
            if methods.is_empty() {
                own.push((path.clone(), String::new()));
            }
            let new = methods
                .iter()
                .filter(|method| other.is_none_or(|other| !other.contains(method)));
            own.extend(new.map(|method| (path.clone(), method.clone())));
        }
    }
    own.retain(|(path, _)| !FALLBACKS.contains(&path.as_str()));
    (own, listeners)
}

#[tokio::test]
async fn contracts_and_routes_are_the_same() {
    for contract in CONTRACTS.iter() {
        let (own, listeners) = own_and_all(contract).await;
        assert!(!own.is_empty(), "{}", contract.file);
        for (route, method) in own {
            let mut operations = contract.operations();
            let described = operations
                .any(|o| matches(&route, o.path) && (method.is_empty() || method == o.method));
            assert!(described, "{} lacks {method} {route}", contract.file);
        }
        for operation in contract.operations() {
            let (path, method) = (operation.path, operation.method.to_owned());
            let served = listeners.iter().flatten().any(|(route, methods)| {
                matches(route, path)
                    && !FALLBACKS.contains(&route.as_str())
                    && (methods.is_empty() || methods.contains(&method))
            });
            assert!(served, "{}: no route for {method} {path}", contract.file);
        }
    }
}
