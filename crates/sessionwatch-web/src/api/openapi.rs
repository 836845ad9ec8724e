//! The OpenAPI document, generated from the handlers.

use std::sync::OnceLock;

use axum::Json;
use serde_json::{Value, json};
use sessionwatch_app::app::AppError;

use super::{
    super::route_table::Access,
    problem::ProblemDetails,
    routes::{api_route_table, openapi_router},
};

pub(super) async fn get_openapi_document() -> Result<Json<&'static Value>, ProblemDetails> {
    // Built once, as it depends only on the code.
    static OPENAPI_DOCUMENT: OnceLock<Option<Value>> = OnceLock::new();
    let made = OPENAPI_DOCUMENT.get_or_init(|| {
        let document = serde_json::to_value(openapi_router().into_openapi());
        // Kept even if it failed: serializing depends on the code only and would fail again.
        document.map(finish_openapi).ok()
    });
    let unwritable = || AppError::Internal("the OpenAPI document cannot be serialized as JSON");
    Ok(Json(made.as_ref().ok_or_else(unwritable)?))
}

/// Adds what all operations share: security, errors and common headers.
fn finish_openapi(mut document: Value) -> Value {
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "An API token, created in Settings or \
            with `sessionwatch tokens add`." }
    });
    forbid_extra_fields(&mut document);
    // From the route table, so that the document cannot promise a different scope than the one that is checked.
    for route in api_route_table().iter() {
        let operation = &mut document["paths"][&route.path][route.method.as_str().to_lowercase()];
        // The route of this document has no handler annotation.
        if operation.is_null() {
            *operation = json!({ "summary": "This document", "responses": { "200": {
                "description": "OpenAPI 3.1", "content": { "application/json": { "schema": { "type": "object" } } }
            } } });
        }
        let schema = json!({ "$ref": "#/components/schemas/ProblemDetails" });
        let problem = json!({ "application/problem+json": { "schema": schema } });
        operation["responses"]["default"] = json!({ "description": "A problem", "content": problem });
        if let Access::Token(scope) = route.access {
            operation["security"] = json!([{ "token": [scope.name()] }]);
        }
        let parameter = if route.method == "GET" {
            operation["responses"]["304"] = json!({ "description": "Not modified" });
            json!({
                "name": "If-None-Match", "in": "header", "required": false, "schema": { "type": "string" },
                "description": "The `ETag` of an earlier response",
            })
        } else {
            json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
                "description": "A unique key for this request. A retry with the same key gets the first \
                                response; another request with the key gets status 422",
            })
        };
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
    document
}

/// Forbids unknown fields in request bodies. The derived schemas of enum variants do not.
fn forbid_extra_fields(document: &mut Value) {
    let operations = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
    let bodies = operations.filter_map(Value::as_object).flat_map(serde_json::Map::values);
    let named = |operation: &Value| {
        let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
        schema.and_then(|schema| schema.strip_prefix("#/components/schemas/")).map(str::to_owned)
    };
    let names: Vec<String> = bodies.filter_map(named).collect();
    for name in names {
        let variants = document.pointer_mut(&format!("/components/schemas/{name}/oneOf"));
        // Only enums: the derived schemas of structs forbid unknown fields already.
        for variant in variants.and_then(Value::as_array_mut).into_iter().flatten() {
            variant["additionalProperties"] = json!(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sessionwatch_app::app::tokens::TokenScope;

    use super::*;

    #[test]
    fn every_reference_in_the_document_resolves() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(openapi_router().into_openapi()).unwrap();
        let document = finish_openapi(document);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_route_is_declared_once() {
        let declared: Vec<String> =
            api_route_table().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        let distinct: BTreeSet<&String> = declared.iter().collect();
        assert_eq!((declared.len(), distinct.len()), (54, 54));
    }

    #[test]
    fn write_routes_need_more_than_the_read_scope_and_are_audited() {
        for route in api_route_table().iter().filter(|route| route.method != "GET") {
            assert!(
                matches!(route.access, Access::Token(scope) if scope != TokenScope::Read),
                "{}",
                route.path
            );
            // A run changes nothing that the schedule would not change, and may be requested every minute.
            let is_audited = !route.audit_action.is_empty();
            assert!(is_audited || route.path == "/api/v1/runs", "{}", route.path);
        }
    }
}
