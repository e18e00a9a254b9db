//! Checks the OpenAPI document against the routes.

use super::*;
use crate::api::openapi::DOCUMENT;

#[tokio::test]
async fn the_openapi_document_describes_every_route_and_no_other() {
    let got = get(shop(), "/api/v1/openapi.json").await;
    assert_eq!((got.status, got.content_type()), (200, "application/json"));
    let document = got.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let mut served: Vec<String> = routes().into_iter().map(|(path, _)| format!("{PREFIX}{path}")).collect();
    let mut sorted = described.clone();
    sorted.sort();
    served.sort();
    assert_eq!(sorted, served);
}

/// The refusal of an unknown parameter lists the known ones; the document has to list the same.
#[tokio::test]
async fn the_openapi_document_describes_every_parameter_and_no_other() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        if item["get"].is_null() {
            continue;
        }
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let mut resolved = Vec::new();
        for parameter in parameters {
            match parameter["$ref"].as_str() {
                Some(reference) => resolved.push(document.pointer(&reference[1..]).expect(reference).clone()),
                None => resolved.push(parameter),
            }
        }
        let names = |place: &str| -> Vec<&str> {
            let here = resolved.iter().filter(|parameter| parameter["in"] == place);
            here.map(|parameter| parameter["name"].as_str().unwrap()).collect()
        };
        for name in names("path") {
            assert!(path.contains(&format!("{{{name}}}")), "{path} {name}");
        }
        let placeholders = path.matches('{').count();
        assert_eq!(names("path").len(), placeholders, "{path}");
        let concrete = path
            .replace("{traceId}", "aa")
            .replace("{service}", "cart")
            .replace("{name}", "a")
            .replace("{spanId}", "0000000000000001");
        let problem = get(shop(), &format!("{concrete}?unknown=1")).await.json();
        let query = names("query");
        let allowed = if query.is_empty() { "no parameters".to_owned() } else { query.join(", ") };
        assert_eq!(problem["allowed"], allowed, "{path}");
    }
}

/// Other parts of the server describe their routes themselves.
#[tokio::test]
async fn parts_of_others_are_added_to_the_document() {
    let part = r##"{ "paths": { "/api/v1/x": { "get": {} } }, "components": { "schemas": { "X": { "type": "null" } } } }"##;
    let config = QueryConfig { more_openapi: vec![part], ..config() };
    let router = router(QueryState::new(Arc::new(shop()), config));
    let request = Request::builder().uri("/api/v1/openapi.json").body(Body::empty()).unwrap();
    let body = to_bytes(router.oneshot(request).await.unwrap().into_body(), usize::MAX).await.unwrap();
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert!(
        document["paths"]["/api/v1/x"]["get"].is_object() && document["paths"]["/api/v1/traces"].is_object()
    );
    let schemas = &document["components"]["schemas"];
    assert!(schemas["X"].is_object() && schemas["Problem"].is_object());
}

/// Every `$ref` resolves, and every required member has a property.
#[test]
fn the_openapi_document_is_coherent() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut waiting = vec![&document];
    while let Some(value) = waiting.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        if let Some(required) = value.get("required").and_then(Value::as_array) {
            for name in required {
                assert!(value["properties"].get(name.as_str().unwrap()).is_some(), "{name}");
            }
        }
        match value {
            Value::Object(members) => waiting.extend(members.values()),
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
}
